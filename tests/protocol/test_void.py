"""Floors: what is void is as if it had never been received, in whatever order everything comes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gossipconf.model.change import Change
from gossipconf.model.clock import join
from gossipconf.model.entry import Entry, Operation
from gossipconf.model.errors import Rejected
from gossipconf.model.limits import FORK_BRANCHES_MAX
from gossipconf.model.version import Version, live
from gossipconf.protocol.environment import Recall
from gossipconf.protocol.events import PublishFailed, Voided
from gossipconf.protocol.node import Restored
from gossipconf.protocol.replica import SAVED_POLICIES, decode_saved_policies
from gossipconf.protocol.void import QUARANTINED_MAX
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import sign_policy
from gossipconf.trust.floor import Floor, keeping
from gossipconf.trust.policy import Policy
from gossipconf.trust.signing import Reservation
from gossipconf_sim.run.checkers import violations
from tests.protocol.wire import Bench, Tapped, change
from tests.strategies import NOW_MS, ROLES, ROOTS, cluster, signed, signer


def floored(chain: PolicyChain, *floors: Floor) -> Change:
    """The next policy, with the same rights and these floors; the chain accepts it."""
    head = chain.head
    policy = Policy(head.version + 1, head.roots, head.threshold, ROLES, floors=floors)
    made = sign_policy(
        chain,
        policy,
        [signer(name) for name in ROOTS[:2]],
        now_ms=NOW_MS,
        reservation=Reservation(b"policies", policy.version),
    )
    chain.accept(made)
    return made


def give(bench: Bench, *changes: Change) -> None:
    """Let changes arrive; what is refused is refused. Disk and history answer at once."""
    for one in changes:
        try:
            bench.node.replica.receive(one, "peer")
        except Rejected:
            continue
        settle(bench)


def settle(bench: Bench) -> None:
    bench.write()
    for recall in bench.drain(Recall):
        retired = {data: Change.decode(data, cluster().genesis.cluster_id) for data in bench.disk.retired.values()}
        found = [
            data
            for data, one in retired.items()
            if recall.everything
            or one.id in recall.change_ids
            or any(version.slot in recall.slots for version in one.versions)
        ]
        bench.node.recalled(bench.now(), found)
        settle(bench)


def restarted(bench: Bench) -> Bench:
    """The same node after kill -9, with its disk."""
    cluster_id = cluster().genesis.cluster_id
    retired = [Change.decode(data, cluster_id) for data in reversed(bench.disk.retired.values())]
    restored = Restored(
        changes=tuple(Change.decode(data, cluster_id) for data in bench.disk.changes.values()),
        retired_headers=tuple({one.id: one.restrict(()) for one in retired}.values()),
        accepted_policies=decode_saved_policies(bench.disk.meta.get(SAVED_POLICIES)),
    )
    fresh = Bench(bench.node.identity.node_id, restored=restored)
    fresh.disk = bench.disk
    for persist in fresh.write():  # what the start has written before the disk was there
        fresh.disk.write(persist.ops)
    return fresh


def values(bench: Bench, key: str) -> list[bytes | None]:
    return [version.entry.value for version in bench.node.replica.live.slot((key, ""))]


def versions_of(bench: Bench) -> list[Version]:
    return [version for versions in bench.node.replica.live.slots().values() for version in versions]


def headers_below(victim: Change, by: str) -> list[Change]:
    """As many bare headers as a fork has branches, with the writer and number of ``victim`` and smaller ids."""
    header = victim.header
    made: list[Change] = []
    for guess in range(10_000):
        one = change(str(guess), by=by, seq=header.seq, incarnation=header.writer.incarnation)
        if one.id < victim.id:
            made.append(one.restrict(()))
        if len(made) == FORK_BRANCHES_MAX:
            return made
    raise AssertionError("no change has so small an id")


# -- one thing at a time --------------------------------------------------------------------------


def by_bob(*kept: Version, policy_max: int = 1, prefix: str = "") -> Floor:
    """A floor about the key of `bob`, which was stolen."""
    return Floor(signer("bob").public, prefix, policy_max, keeping(kept))


def test_what_a_floor_does_not_keep_is_void_before_it_and_after_it() -> None:
    chain = cluster().chain()
    known, early, late = (change(key, key, seq=seq, by="bob") for seq, key in enumerate("abc", 1))
    other = change("x", "d")
    bench = Bench()
    give(bench, known, early, other)
    give(bench, floored(chain, by_bob(*known.versions)), late)
    assert [values(bench, key) for key in "abcd"] == [[b"a"], [], [], [b"x"]]
    assert [event.versions for event in bench.events(Voided)] == [early.versions, late.versions]
    assert {early.versions[0].id, late.versions[0].id} <= bench.disk.retired.keys(), "they can be listed"
    assert early.id not in bench.disk.changes
    again = len(bench.events(Voided))
    give(bench, late, early)
    assert len(bench.events(Voided)) == again, "and cost nothing when they come once more"


def test_what_the_void_had_superseded_comes_back_from_history_and_from_peers() -> None:
    chain = cluster().chain()
    good = change("good", "a")
    bad = signed([Entry("a", b"bad", seen=good.versions[0].clock)], "bob", seq=7)
    floor = floored(chain, by_bob())
    with_history, without = Bench("m"), Bench("n")
    for bench in (with_history, without):
        give(bench, good, bad)
        assert values(bench, "a") == [b"bad"]
    without.disk.retired.clear()
    for bench in (with_history, without):
        give(bench, floor)
    assert (values(with_history, "a"), values(without, "a")) == ([b"good"], [])
    give(without, good)
    assert with_history.node.root == without.node.root


def test_a_policy_and_a_back_dated_fork_are_told_apart_by_their_ids() -> None:
    """The thief signs another change with a number that the owner of the key has used, naming an old policy."""
    chain = cluster().chain()
    known = change("known", "a", by="bob")
    forged = change("forged", "a", by="bob")
    bench, other = Bench("m"), Bench("n")
    floor = floored(chain, by_bob(*known.versions))
    give(bench, known, forged, floor)
    give(other, floor, forged, known)
    for one in (bench, other):
        assert values(one, "a") == [b"known"]
        assert one.node.replica.live.forks() == {}
    assert bench.node.root == other.node.root


def test_what_a_thief_has_pushed_out_of_a_fork_comes_back_from_history() -> None:
    """Eight bare headers with the owner's number void his change, everywhere; the floor keeps it, and voids them."""
    known = change("known", "a", by="bob")
    bench, other = Bench("m"), Bench("n")
    for one in (bench, other):
        give(one, known, *headers_below(known, "bob"))
        assert values(one, "a") == []
    floor = floored(cluster().chain(), by_bob(*known.versions))
    give(bench, floor)
    give(other, floor, known)
    assert values(bench, "a") == [b"known"]
    assert bench.node.root == other.node.root == restarted(bench).node.root


def test_a_change_of_which_nothing_is_valid_still_counts_as_a_branch() -> None:
    """A floor about a prefix cannot say of a bare header that it is void; so no header is, whatever came first."""
    chain = cluster().chain()
    voided = change("voided", "b/c", by="bob")
    rival = change("rival", "a", by="bob")
    floor = floored(chain, by_bob(prefix="b"))
    first, last = Bench("m"), Bench("n")
    give(first, voided, floor, rival)
    give(last, floor, rival, voided)
    assert first.node.root == last.node.root
    assert len(first.node.replica.live.forks()) == 1


def test_a_later_floor_reinstates() -> None:
    chain = cluster().chain()
    lost = change("lost", "a", by="bob")
    bench = Bench()
    give(bench, lost, floored(chain, by_bob()))
    assert values(bench, "a") == []
    give(bench, floored(chain, by_bob(*lost.versions)))
    assert values(bench, "a") == [b"lost"]


def test_a_floor_about_a_prefix_leaves_the_rest_of_a_change() -> None:
    chain = cluster().chain()
    both = signed([Entry("a", b"1"), Entry("b/c", b"2")], "bob")
    bench = Bench()
    give(bench, both, floored(chain, by_bob(prefix="b")))
    assert (values(bench, "a"), values(bench, "b/c")) == ([b"1"], [])
    assert values(restarted(bench), "a") == [b"1"]


def test_one_about_all_that_names_an_old_policy_collects_tombstones() -> None:
    chain = cluster().chain()
    first = change("1", "a")
    tombstone = signed([Entry("a", None, operation=Operation.DELETE, seen=first.versions[0].clock)], "alice", seq=2)
    kept = change("1", "b", seq=3)
    bench, late = Bench("m"), Bench("n")
    give(bench, first, tombstone, kept)
    floor = floored(chain, Floor(b"", "", 1, keeping(kept.versions)))
    give(bench, floor)
    give(late, first, floor)
    for one in (bench, late):
        assert [version.entry.key for version in versions_of(one) if version.entry.key[0] != "_"] == (
            ["b"] if one is bench else []
        )
    give(late, kept, tombstone)
    assert late.node.root == bench.node.root


def test_whoever_publishes_under_an_old_policy_is_told_to_sign_again() -> None:
    chain = cluster().chain()
    bench = Bench()
    give(bench, floored(chain, Floor(b"", "", 1)))
    bench.node.publish(bench.now(), 1, change("late"))
    (failed,) = bench.events(PublishFailed)
    assert "sign again under policy 2" in str(failed.error)


def test_a_publish_that_a_floor_overtakes_on_the_way_to_the_disk_fails() -> None:
    chain = cluster().chain()
    bench = Bench()
    late = change("late", seq=5)
    bench.node.publish(bench.now(), 1, late)
    bench.node.replica.receive(floored(chain, Floor(b"", "", 1)), "peer")
    settle(bench)
    (failed,) = bench.events(PublishFailed)
    assert "sign again" in str(failed.error)
    assert late.id not in bench.disk.changes
    assert late.versions[0].id in bench.disk.retired


def test_a_thief_fills_neither_the_disk_nor_the_log() -> None:
    chain = cluster().chain()
    bench = Bench()
    give(bench, floored(chain, by_bob()))
    bench.node.replica._void._quarantined = QUARANTINED_MAX - 1
    give(bench, *(change(str(seq), "a", seq=seq, by="bob") for seq in range(1, 5)))
    assert len(bench.disk.retired) == len(bench.events(Voided)) == 1


# -- any order ------------------------------------------------------------------------------------

KEYS = ("a", "b", "b/c")
BRANCHES_MADE_MAX = 6
"""Fewer than of one fork are kept: which are pushed out is tested elsewhere."""


class Floored(RuleBasedStateMachine):
    """Three nodes, an owner of keys, a thief with one of them, and roots that declare floors.

    In the end everything has reached every node, in another order at each; then all hold what the definition says.
    """

    @initialize()
    def begin(self) -> None:
        self.chain = cluster().chain()
        self.nodes = [Bench(f"n{number}") for number in range(3)]
        self.changes: list[Change] = []
        self.policies: list[Change] = []
        self.seqs = {"alice": 0, "bob": 0}

    def bench(self, number: int) -> Bench:
        return self.nodes[number]

    def made(self, number: int, by: str, seq: int, slots: list[str], *, blind: bool, delete: bool) -> Change:
        live_set = self.bench(number).node.replica.live
        policy = self.bench(number).node.replica.policy_version
        writer = change(by=by).writer_id
        entries = []
        for key in slots:
            seen = () if blind else join(version.clock for version in live_set.slot((key, "")))
            seen = tuple((name, place) for name, place in seen if name != writer or place < seq)
            value = f"{by} {len(self.changes)}".encode()
            entries.append(
                Entry(key, None, operation=Operation.DELETE, seen=seen) if delete else Entry(key, value, seen=seen)
            )
        return signed(entries, by, seq=seq, policy=policy, time_ms=NOW_MS + len(self.changes))

    @rule(
        number=st.integers(0, 2),
        by=st.sampled_from(("alice", "bob")),
        slots=st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True),
        blind=st.booleans(),
        delete=st.booleans(),
    )
    def publish(self, number: int, by: str, slots: list[str], blind: bool, delete: bool) -> None:
        self.seqs[by] += 1
        self.changes.append(self.made(number, by, self.seqs[by], slots, blind=blind, delete=delete))
        give(self.bench(number), self.changes[-1])

    @precondition(lambda self: self.seqs["bob"])
    @rule(number=st.integers(0, 2), slot=st.sampled_from(KEYS), blind=st.booleans(), data=st.data())
    def fork(self, number: int, slot: str, blind: bool, data: st.DataObject) -> None:
        seq = data.draw(st.integers(1, self.seqs["bob"]))
        writer = change(by="bob").writer_id
        if sum((one.writer_id, one.header.seq) == (writer, seq) for one in self.changes) < BRANCHES_MADE_MAX:
            self.changes.append(self.made(number, "bob", seq, [slot], blind=blind, delete=False))
            give(self.bench(number), self.changes[-1])

    @precondition(lambda self: self.changes)
    @rule(number=st.integers(0, 2), data=st.data())
    def deliver(self, number: int, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.changes))
        some = data.draw(st.sets(st.sampled_from([index for index, _ in one.entries])))
        give(self.bench(number), one.restrict(some))

    @rule(
        number=st.integers(0, 2),
        by=st.sampled_from(("alice", "bob", "")),
        prefix=st.sampled_from(("", "b")),
        back=st.integers(0, 1),
        data=st.data(),
    )
    def declare(self, number: int, by: str, prefix: str, back: int, data: st.DataObject) -> None:
        """The roots see what one node has, and keep what they choose."""
        give(self.bench(number), *self.policies)
        seen = [one for one in versions_of(self.bench(number)) if one.entry.key[0] != "_"]
        kept = data.draw(st.sets(st.sampled_from(seen))) if seen else ()
        policy_max = max(0, self.chain.head.version - back)
        key = signer(by).public if by else b""
        self.policies.append(floored(self.chain, Floor(key, prefix, policy_max, keeping(kept))))
        give(self.bench(number), self.policies[-1])

    @rule(number=st.integers(0, 2))
    def learn_policies(self, number: int) -> None:
        give(self.bench(number), *self.policies)

    @rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        self.nodes[number] = restarted(self.bench(number))

    def teardown(self) -> None:
        if not hasattr(self, "nodes"):
            return
        expected = self.expected()
        for number, bench in enumerate(self.nodes):
            give(bench, *self.policies)
            shuffled = list(self.changes)
            Random(number).shuffle(shuffled)
            give(bench, *shuffled)
            found = {version.id for version in versions_of(bench) if version.entry.key[0] != "_"}
            assert found == expected
        assert len({bench.node.root for bench in self.nodes}) == 1
        again = [restarted(bench) for bench in self.nodes]
        assert {bench.node.root for bench in again} == {bench.node.root for bench in self.nodes}

    def expected(self) -> set[bytes]:
        """By the definition: of all that was ever made and is not void, what nothing else supersedes."""
        valid = [one for made in self.changes for one in made.versions if not self.chain.floors.is_void(one)]
        return {version.id for version in live(valid)}


TestFloored = Floored.TestCase
TestFloored.settings = settings(max_examples=60, stateful_step_count=25)


# -- in a cluster ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_thief_in_one_partition_and_a_revocation_in_the_other_agree_after_the_heal(seed: int) -> None:
    """`bob` has published; then his key is used by a thief on one side, while the roots cut it off on the other."""
    names = [f"n{number}" for number in range(6)]
    world = Tapped(*names, seed=seed)
    assert world.run_until(world.converged, 10.0)
    good = world.publish_value("n0", "good", "1", by="bob")
    before = world.publish_value("n1", "replaced", "right")
    world.run(3.0)
    world.partition(names[:3], names[3:])
    world.run(1.0)
    stolen = [world.publish_value("n4", key, "wrong", by="bob") for key in ("replaced", "new", "good")]
    forged = signed([Entry("forged", b"x")], "bob", seq=good.header.seq, incarnation=good.header.writer.incarnation)
    world.inject("n5", forged)
    unseen = world.publish_value("n3", "unseen", "2")
    world.run(2.0)
    chain = cluster().chain()
    policy = floored(chain, by_bob(*good.versions))
    world.submit("n0", policy)
    world.run(2.0)
    world.crash("n5")
    world.heal()
    world.start("n5")
    assert world.run_until(lambda: world.converged() and world.node("n5").replica.policy_version == 2, 10.0)
    world.run(5.0)
    assert world.converged()
    assert list(violations(world)) == []
    for name in names:
        live_set = world.node(name).replica.live
        assert {key for key, _ in live_set.slots() if key[0] != "_"} == {"good", "replaced", "unseen"}
        (left,) = live_set.slot(("replaced", ""))
        assert left.change_id == before.id
        assert live_set.stored(unseen.id) is not None
        assert live_set.forks() == {}
    for name, one in (("n4", stolen[0]), ("n4", stolen[1]), ("n4", stolen[2]), ("n5", forged)):
        assert one.versions[0].id in world.hosts[name].disk.retired, "what the thief has made can be listed"
