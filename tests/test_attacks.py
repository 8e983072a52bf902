"""The attacks of The Update Framework's list against real nodes: what the attacker holds, and what happens.

Here are those that concern a whole node and are tested nowhere else; the table in
docs/security.md leads to the others.
"""

from __future__ import annotations

import copy
import dataclasses
from random import Random

import pytest

from gossipconf.model.change import Change, Writer, signed_bytes
from gossipconf.model.clock import Clock
from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.model.errors import Rejected
from gossipconf.model.hashing import GENESIS_TAG, SNAPSHOT_TAG
from gossipconf.model.limits import FORK_BRANCHES_MAX, SEQ_MAX, TIME_MS_MAX
from gossipconf.protocol.events import ChangeRejected, ForkFound, PolicyAccepted, PolicyFork
from gossipconf.protocol.messages import Push
from gossipconf.protocol.overlay import FAULTS_MAX
from gossipconf.trust.cluster import Cluster, found_cluster, sign_policy
from gossipconf.trust.floor import Floor
from gossipconf.trust.policy import POLICY_PREFIX, Policy, policy_key
from gossipconf.trust.signing import Reservation, sign_change
from tests.protocol.test_void import give, restarted, values
from tests.protocol.wire import Bench, Tapped, change, second_policy
from tests.strategies import NOW_MS, ROLES, ROOTS, cluster, keys, signed, signer

LIMIT = "shop/limit"
NEW_ROOTS = ("new-1", "new-2", "new-3")
SETTLE_S = 20.0
"""What a world of four nodes needs at most to become equal."""


def push(bench: Bench, *changes: Change, by: str = "mallory") -> None:
    """Let a peer push changes, in bytes as they travel, over one link."""
    link = bench.connect(by)
    bench.tell(link, *(Push(1, 0, 0, one.encode()) for one in changes))
    bench.write()


def refused(bench: Bench, one: Change, words: str) -> None:
    """A peer pushes ``one``; the node tells why it does not want it, and nothing of its state has moved."""
    before, told = bench.node.root, len(bench.events(ChangeRejected))
    push(bench, one)
    reasons = [event.reason for event in bench.events(ChangeRejected)][told:]
    assert len(reasons) == 1
    assert words in reasons[0]
    assert bench.node.root == before
    assert one.id not in bench.disk.changes


def settle(world: Tapped) -> None:
    """Until what was published is on its disk, has gone out, and all hold the same."""
    world.run(1.0)
    assert world.run_until(world.converged, SETTLE_S)


def policy(version: int, *by: str, seq: int = 1, names: int | None = None, **fields: object) -> Change:
    """A policy like the first, with ``fields`` otherwise, signed by these keys, whoever they are."""
    made = dataclasses.replace(Policy(version, keys(*ROOTS), 2, ROLES), **fields)
    entry = Entry(policy_key(version), made.encode(), ValueType.BYTES)
    return signed([entry], *by, seq=seq, policy=version - 1 if names is None else names, incarnation=bytes([seq] * 8))


def elsewhere(salt: int = 7) -> Cluster:
    """Another cluster of the same people: same name, roots, roles and threshold."""
    roots = [signer(name) for name in ROOTS]
    return found_cluster("vectors", roots, ROLES, threshold=2, now_ms=NOW_MS, salt=bytes([salt] * 16))


# -- fast-forward ---------------------------------------------------------------------------------


def seen_by(writer: Writer) -> Clock:
    """A vector that claims all numbers that ``writer`` will ever have."""
    return ((writer.id, SEQ_MAX),)


@pytest.mark.parametrize("field", ["seq", "time", "seen", "all"])
def test_fast_forward(field: str) -> None:
    """Held: the key of an admin of `shop`, and a peer's place. Number, time and vector of a change are as high as they
    go, so that nobody could come after it. The other admin's next publish replaces it all the same, at every node."""
    world = Tapped("a", "b", "c", "d")
    world.run(3.0)
    honest = world.publish_value("a", LIMIT, "1")
    settle(world)
    seen = seen_by(honest.header.writer) if field in ("seen", "all") else ()
    forged = signed(
        [Entry(LIMIT, b"mine", seen=seen)],
        "carol",
        seq=SEQ_MAX if field in ("seq", "all") else 1,
        time_ms=TIME_MS_MAX if field in ("time", "all") else NOW_MS,
    )
    world.inject("d", forged)
    assert world.run_until(lambda: all(world.node(name).replica.live.stored(forged.id) for name in "abcd"), SETTLE_S)
    world.publish_value("a", LIMIT, "2")
    settle(world)
    for name in "abcd":
        (winner,) = world.node(name).replica.live.slot((LIMIT, ""))
        assert winner.entry.value == b"2", "no conflict is left either"


# -- rollback -------------------------------------------------------------------------------------


def test_rollback_by_the_network() -> None:
    """Held: a peer's place, and all that was ever signed. Old changes come again, and after a restart once more.
    Whoever has met what replaced them does not go back, and writes nothing."""
    old = change("old", LIMIT)
    new = signed([Entry(LIMIT, b"new", seen=old.versions[0].clock)], "bob", seq=1)
    bench = Bench()
    push(bench, old, new)
    root = bench.node.root
    for one in (bench, restarted(bench)):
        push(one, old)
        push(one, old.restrict(()))
        assert values(one, LIMIT) == [b"new"]
        assert one.node.root == root
        assert old.id not in one.disk.changes


def test_rollback_by_a_restored_disk() -> None:
    """Held: a backup of a node's disk, which is put back. The node serves what is on it until its first peer, and then
    what all have; what it publishes next has a writer of its own, and replaces nothing that it has not met."""
    world = Tapped("a", "b", "c", "d")
    world.run(3.0)
    first = world.publish_value("d", LIMIT, "1")
    settle(world)
    backup = copy.deepcopy(world.hosts["d"].disk)
    world.publish_value("d", LIMIT, "2")
    settle(world)
    world.crash("d")
    world.hosts["d"].disk = backup
    backup.lose_power()
    world.partition(["a", "b", "c"], ["d"])
    world.start("d")
    world.run(1.0)
    assert [one.entry.value for one in world.node("d").replica.live.slot((LIMIT, ""))] == [b"1"]
    alone = world.publish_value("d", LIMIT, "3")
    assert alone.header.writer != first.header.writer
    world.heal()
    settle(world)
    for name in "abcd":
        live = {one.entry.value for one in world.node(name).replica.live.slot((LIMIT, ""))}
        assert live == {b"2", b"3"}, "a conflict that everybody sees; number 2 is not lost"
        assert not world.events_of(name, ForkFound)


# -- arbitrary install, mix-and-match, replay -----------------------------------------------------


def test_arbitrary_install() -> None:
    """Held: a valid node certificate and a key that no policy names, or an admin's of another prefix."""
    bench = Bench()
    refused(bench, change("x", LIMIT, by="mallory"), "does not know")
    refused(bench, change("x", "pay/limit", by="carol"), "it may write under: shop")
    refused(bench, change("x", "_nodes/m", by="carol"), "keys that begin with _ are the system's")


def test_mix_and_match_of_parts() -> None:
    """Held: a peer's place, and two changes of one admin that are each two entries. Entries, headers and signatures of
    the one with those of the other are nothing."""
    one = signed([put("shop/a", b"1"), put("shop/b", b"1")], "carol", seq=1)
    other = signed([put("shop/a", b"2"), put("shop/b", b"2")], "carol", seq=2)
    bench = Bench()
    mixed = (one.entries[0], other.entries[1])
    for made in (
        dataclasses.replace(one, entries=mixed),
        dataclasses.replace(other, header=one.header),
        dataclasses.replace(one, signature=other.signature),
    ):
        before = bench.node.root
        with pytest.raises(Rejected):
            bench.node.replica.receive(bench.node.replica.decode(made.encode()), "mallory")
        assert bench.node.root == before
    push(bench, one, other)
    assert {*values(bench, "shop/a")} == {*values(bench, "shop/b")} == {b"1", b"2"}


def test_replay_in_another_cluster() -> None:
    """Held: all changes and policies of a cluster whose name, roots, roles and keys are the same (a staging one).
    None of them is taken by the other, not even with its id written over."""
    staging, bench = elsewhere(), Bench()
    foreign = signed([put(LIMIT, b"99")], "carol", cluster_id=staging.genesis.cluster_id)
    for one in (foreign, staging.policies[0]):
        before = bench.node.root
        push(bench, one)
        assert bench.node.root == before
        assert "cluster" in bench.events(ChangeRejected)[-1].reason
    home = cluster().genesis.cluster_id
    header = dataclasses.replace(foreign.header, cluster=home)
    refused(bench, dataclasses.replace(foreign, header=header), "does not verify")


def test_a_peer_of_another_cluster() -> None:
    """Held: a certificate that any PKI for both clusters has issued. Its hello names the other cluster."""
    bench = Bench()
    link = bench.connect("mallory", hello=False)
    bench.tell(link, bench.hello("mallory", cluster=elsewhere().genesis.cluster_id))
    assert "cluster" in (bench.closed(link) or "")


@pytest.mark.parametrize("tag", [b"", SNAPSHOT_TAG, GENESIS_TAG], ids=["none", "snapshot", "genesis"])
def test_domain_confusion(tag: bytes) -> None:
    """Held: signatures that an admin's key has made of something else: of the bare id, as an ssh-agent may be asked
    for, or under the tag of another kind."""
    honest = change("1", LIMIT, by="carol")
    bench = Bench()
    confused = signer("carol").sign(tag + honest.id)
    refused(bench, dataclasses.replace(honest, signature=confused), "does not verify")
    assert signed_bytes(honest.id) != tag + honest.id


@pytest.mark.parametrize("key", [bytes(32), bytes([1, *bytes(31)]), b"\xff" * 32], ids=["zero", "one", "no point"])
def test_algorithm_confusion(key: bytes) -> None:
    """Held: a peer's place. Writers whose keys are points of small order or none at all, for which signatures of
    anything could be made: no policy names them, and there is no field that says which algorithm is meant."""
    honest = change("1", LIMIT, by="carol")
    header = dataclasses.replace(honest.header, writer=Writer(key, bytes(8)))
    refused(Bench(), dataclasses.replace(honest, header=header, signature=key + bytes(32)), "does not know")


# -- policies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [("alice",), ("root-1",), ("root-1", "alice", "bob"), ("mallory", "root-1")])
def test_an_unauthorised_policy(by: tuple[str, ...]) -> None:
    """Held: an admin's key for everything, one root of the two that must sign, or both of these."""
    bench = Bench()
    refused(bench, policy(2, *by), "root")
    assert bench.node.replica.policy_version == 1


def test_no_role_reaches_policies() -> None:
    """Held: the key of a role whose prefix is `_policy` itself, which careless roots have given it."""
    roots = [signer(name) for name in ROOTS]
    careless = dataclasses.replace(ROLES[1], prefixes=(POLICY_PREFIX,))
    made = found_cluster("careless", roots, [careless], threshold=2, now_ms=NOW_MS, salt=bytes(16))
    bench = Bench(of=made)
    entry = Entry(policy_key(2), Policy(2, keys("carol"), 1, (careless,)).encode(), ValueType.BYTES)
    refused(bench, signed([entry], "carol", cluster_id=made.genesis.cluster_id), "has the signatures of 0 of 3 roots")


def test_policy_rollback() -> None:
    """Held: a peer's place, all policies that ever were, and the disk's cluster file. Policy 1 again, or a cluster file
    that ends there, brings back no rights; nor does a journal's word which policies were accepted."""
    bench = Bench()
    head = sign_policy(
        cluster().chain(),
        Policy(2, keys(*ROOTS), 2, ROLES[1:], floors=(Floor(signer("bob").public, "", 1),)),
        [signer(name) for name in ROOTS[:2]],
        now_ms=NOW_MS,
        reservation=Reservation(b"policies", 2),
    )
    push(bench, head)
    assert bench.node.replica.policy_version == 2
    again = restarted(bench)  # with the cluster file of the first policy
    for one in (bench, again):
        push(one, cluster().policies[0])
        push(one, change("x", LIMIT, by="bob"))
        assert one.node.replica.policy_version == 2
        assert values(one, LIMIT) == []
    refused(again, change("x", LIMIT, by="bob", policy=2), "does not know")


def test_signatures_of_old_roots() -> None:
    """Held: all root keys of a policy that has been replaced. They sign no policy 3. A second policy 2 of theirs moves
    nobody who has met the first; it is an alarm, and without the new roots nothing settles it in the thief's favour."""
    rotated = policy(2, *ROOTS[:2], roots=keys(*NEW_ROOTS))
    thiefs = policy(2, *ROOTS[:2], seq=2, roots=keys("thief"), threshold=1)
    bench = Bench()
    push(bench, rotated)
    refused(bench, policy(3, *ROOTS, seq=3), "has the signatures of 0 of 3 roots")
    push(bench, thiefs)
    assert [event.version for event in bench.events(PolicyAccepted)] == [1, 2]
    assert [event.version for event in bench.events(PolicyFork)] == [2]
    assert bench.node.replica.chain.head.roots == keys(*NEW_ROOTS)
    settled = {"settles": (thiefs.id, rotated.id), "roots": keys("thief"), "threshold": 1}
    refused(bench, policy(3, "thief", *ROOTS, seq=4, **settled), "of one policy between which it decides")
    refused(bench, policy(3, "thief", seq=5, roots=keys("thief"), threshold=1), "does not know")
    give(bench, policy(3, "new-1", "new-2", "thief", seq=6, settles=(rotated.id, thiefs.id), roots=keys(*NEW_ROOTS)))
    assert bench.node.replica.policy_version == 3
    assert not bench.node.replica.chain.is_disputed(2)


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_policy_fork_gives_nobody_leave_to_forge(is_settled: bool) -> None:
    """Held: a peer's place, in a cluster whose roots have once signed two policies 2. A peer that has met the other one
    first is not blamed for what that allows. Forged signatures are blamed on their sender as ever, so the link ends."""
    zoo = dataclasses.replace(ROLES[1], name="zoo", keys=keys("zoe"), prefixes=("zoo",))
    first, second = policy(2, *ROOTS[:2]), policy(2, *ROOTS[:2], seq=2, roles=(*ROLES, zoo))
    bench = Bench()
    push(bench, first, second)
    if is_settled:
        push(bench, policy(3, *ROOTS[:2], seq=3, settles=(first.id, second.id)))
        assert not bench.node.replica.chain.is_disputed(2)
    link = bench.connect("honest")
    for number in range(1, 3 * FAULTS_MAX):
        bench.tell(link, Push(1, 0, 0, change(str(number), "zoo/a", by="zoe", seq=number, policy=2).encode()))
    assert bench.closed(link) is None
    link = bench.connect("liar")
    for number in range(1, 3 * FAULTS_MAX):
        honest = change(str(number), LIMIT, by="carol", seq=number, policy=2)
        bench.tell(link, Push(1, 0, 0, dataclasses.replace(honest, signature=bytes(64)).encode()))
    assert "does not verify" in (bench.closed(link) or "")


# -- fork flooding --------------------------------------------------------------------------------


def test_fork_flooding() -> None:
    """Held: an admin's key. Hundreds of changes with one number: eight are kept, the same at every node, in whatever
    order they come; the disk does not grow, the fork is told, and nobody else's values are touched."""
    branches = [change(str(number), f"shop/{number}", by="carol") for number in range(300)]
    other = change("alive", "shop/other")
    roots = set()
    for seed in range(2):
        bench = Bench()
        Random(seed).shuffle(branches)
        push(bench, other, *branches)
        roots.add(bench.node.root)
        assert values(bench, "shop/other") == [b"alive"]
        kept = [one for one in branches if one.id in bench.disk.changes]
        assert sorted(one.id for one in kept) == sorted(one.id for one in branches)[:FORK_BRANCHES_MAX]
        assert bench.events(ForkFound)
    assert len(roots) == 1


def test_a_flood_of_forks_drives_out_changes_of_its_own_writer_only() -> None:
    """Held: an admin's key. Branches of a number that its owner has used can push the owner's change out (security.md
    says so); the owner's next start is another writer, which they do not reach."""
    owners = sorted((change(str(number), LIMIT, by="carol") for number in range(20)), key=lambda one: one.id)
    after = signed([put("shop/after", b"1")], "carol", incarnation=b"restart.")
    bench = Bench()
    push(bench, owners[-1], after)
    assert len(values(bench, LIMIT)) == 1
    push(bench, *owners[:FORK_BRANCHES_MAX])
    assert owners[-1].id not in bench.disk.changes
    assert values(bench, "shop/after") == [b"1"]


# -- key compromise -------------------------------------------------------------------------------


def test_a_compromised_agent_lends_its_admins_nothing() -> None:
    """Held: an agent through which admins publish. What it hands out to be signed is judged by whoever signs, so it can
    waste a number and no more; and it has no key with which anything could be signed."""
    bench = Bench()
    reserved = bench.node.replica.reserve(signer("carol").public, [(LIMIT, "")])
    header = dataclasses.replace(change("x", LIMIT, by="carol").header, seq=reserved.seq)
    forged = sign_change(header, change("x", LIMIT, by="carol").entries, signer("mallory"))
    refused(bench, forged, "does not verify")


def test_a_second_policy_gives_no_right_back_dated() -> None:
    """Held: a key that policy 2 lets in. It names policy 1, which did not know it, or policy 3, which nobody has."""
    bench = Bench()
    push(bench, second_policy())
    refused(bench, change("x", LIMIT, by="zoe", policy=1), "does not know")
    push(bench, change("x", LIMIT, by="zoe", policy=2))
    assert values(bench, LIMIT) == [b"x"]
    before = bench.node.root
    push(bench, change("y", LIMIT, by="zoe", policy=3, seq=2))
    assert bench.node.root == before
