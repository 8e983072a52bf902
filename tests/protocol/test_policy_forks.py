"""Policy forks: the roots have signed two successors of one policy; what nodes do until a third policy settles it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import permutations
from random import Random

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, ValueType
from gossipconf.model.errors import BadSignature, NotAuthorised, UnknownPolicy, WrongCluster
from gossipconf.protocol.events import PolicyAccepted, PolicyFork, PublishFailed
from gossipconf.protocol.messages import Batch
from gossipconf.protocol.overlay import FAULTS_MAX
from gossipconf.trust.floor import Floor
from gossipconf.trust.policy import Policy, Role, policy_key
from gossipconf.trust.signing import approve
from gossipconf_sim.run.checkers import violations
from tests.protocol.test_void import give, headers_below, restarted, settle, values
from tests.protocol.wire import Bench, Tapped, change
from tests.strategies import ROLES, ROOTS, keys, signed, signer

ROOT_KEYS = keys(*ROOTS)
ZOO = Role("zoo", keys("zoe"), ("zoo",))
YARD = Role("yard", keys("yan"), ("yard",))


def policy_change(version: int, *roles: Role, by: Sequence[str] = ROOTS[:2], seq: int = 1, **fields: object) -> Change:
    """A policy with the usual roles and these, signed by these roots; the first root's incarnation is its own."""
    policy = dataclasses.replace(Policy(version, ROOT_KEYS, 2, (*ROLES, *roles)), **fields)
    entry = Entry(policy_key(version), policy.encode(), ValueType.BYTES)
    return signed([entry], *by, seq=seq, policy=version - 1, incarnation=bytes([version, seq] * 4))


X = policy_change(2, ZOO)
Y = policy_change(2, YARD, seq=2, floors=(Floor(signer("bob").public, "", 1),))
X3 = policy_change(3, ZOO, seq=3)
"""An ordinary successor, of the first as it was meant."""
SETTLED = policy_change(3, ZOO, YARD, seq=4, settles=(Y.id, X.id))

BY_ZOE = signed([Entry("zoo/a", b"z")], "zoe", policy=2)
BY_YAN = signed([Entry("yard/a", b"y")], "yan", policy=2)
BY_BOB = change("old", "b", by="bob")
BY_ALICE = signed([Entry("a", b"1")], "alice", policy=2)


def test_the_first_is_kept_and_the_other_raises_an_alarm() -> None:
    bench = Bench()
    give(bench, X, Y, BY_ZOE, BY_YAN)
    assert [event.version for event in bench.events(PolicyFork)] == [2]
    assert (values(bench, "zoo/a"), values(bench, "yard/a")) == ([b"z"], [])
    assert bench.node.replica.chain.is_disputed(2)


def test_what_settles_a_fork_comes_into_force_where_either_was() -> None:
    for first, second in ((X, Y), (Y, X)):
        bench = Bench()
        give(bench, BY_BOB, first, second, BY_ZOE, BY_YAN, SETTLED, BY_ZOE, BY_YAN)
        assert [event.version for event in bench.events(PolicyAccepted)][-1] == 3
        assert not bench.node.replica.chain.is_disputed(2)
        assert (values(bench, "zoo/a"), values(bench, "yard/a"), values(bench, "b")) == ([], [b"y"], [])
        again = restarted(bench)
        assert again.node.root == bench.node.root
        assert again.node.replica.chain.accepted == bench.node.replica.chain.accepted


@pytest.mark.slow
def test_whatever_comes_first_all_end_with_the_same() -> None:
    """Each is delivered again afterwards, as sync does with what somebody lacks."""
    everything = (X, Y, X3, SETTLED, BY_ZOE, BY_YAN, BY_BOB)
    roots = set()
    for order in permutations(everything):
        bench = Bench()
        give(bench, *order)
        for _ in range(3):
            give(bench, *everything, BY_ALICE)
        roots.add(bench.node.root)
        assert bench.node.replica.chain.head.settles
        assert values(bench, "a") == [b"1"]
    assert len(roots) == 1


def test_a_floor_of_the_policy_that_lost_voids_nothing_any_more() -> None:
    bench = Bench()
    give(bench, BY_BOB, Y)
    assert values(bench, "b") == []
    give(bench, X, policy_change(3, ZOO, seq=5, settles=(X.id, Y.id)))
    assert values(bench, "b") == [b"old"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_node_takes_its_own_disk_again_of_whose_changes_a_settlement_allows_less(replaced: bool) -> None:
    """Most of a change stays. What does not is no longer on the disk among what is judged at a start, whether it died
    by the settlement or had been replaced before."""
    narrow = Role("zoo", keys("zoe"), ("zoo/a", "zoo/b"))
    wide, less = policy_change(2, ZOO), policy_change(2, narrow, seq=2)
    three = signed([Entry(f"zoo/{key}", b"1") for key in "abc"], "zoe", policy=2)
    newer = signed([Entry("zoo/c", b"2", seen=three.versions[2].clock)], "alice", seq=2)
    bench = Bench()
    give(bench, wide, three, *([newer] if replaced else []), less)
    give(bench, policy_change(3, seq=4, settles=(less.id, wide.id)))
    assert [values(bench, f"zoo/{key}") for key in "abc"] == [[b"1"], [b"1"], [b"2"] if replaced else []]
    assert restarted(bench).node.root == bench.node.root


def test_what_comes_after_a_settlement_is_in_force_wherever_it_came_first() -> None:
    """Policy 4 names a number. Where it has followed the policy 3 that lost, it follows the one that has won."""
    fourth = policy_change(4, ZOO, YARD, seq=6)
    chains = set()
    for order in ((X, X3, fourth, Y, SETTLED), (Y, X, SETTLED, fourth, X3)):
        bench = Bench()
        give(bench, *order)
        give(bench, X3)
        for one in (bench, restarted(bench)):
            chains.add((one.node.replica.chain.accepted[1:], one.node.root))
    ((accepted, _),) = chains
    assert accepted == (Y.id, SETTLED.id, fourth.id)


def test_a_publish_that_a_settlement_overtakes_on_the_way_to_the_disk_fails() -> None:
    bench = Bench()
    give(bench, X, Y)
    late = signed([Entry("zoo/a", b"late")], "zoe", policy=2, seq=5)
    bench.node.publish(bench.now(), 1, late)
    bench.node.replica.receive(SETTLED, "peer")
    settle(bench)
    (failed,) = bench.events(PublishFailed)
    assert isinstance(failed.error, NotAuthorised)
    assert values(bench, "zoo/a") == []
    assert late.versions[0].id in bench.disk.retired, "it can be listed, and signed anew"
    assert restarted(bench).node.root == bench.node.root


def test_held_a_key_of_no_root_its_approval_spoils_no_settlement() -> None:
    """A bare header may bear any known key's approval; joined to the policy it would make of it what no node takes."""
    header = approve(SETTLED, signer("alice")).restrict(())
    full = approve(SETTLED, signer(ROOTS[2])).restrict(())
    for order in ((SETTLED, header, full), (header, full, SETTLED, full), (full, SETTLED, header, full)):
        bench = Bench()
        give(bench, X, Y, *order)
        policy = bench.node.replica.live.part(SETTLED.id)
        assert policy is not None
        assert {key for key, _ in policy.signatures()} == set(ROOT_KEYS)
        assert restarted(bench).node.root == bench.node.root


def test_held_a_key_of_one_branch_its_approval_voids_nothing_that_both_allow() -> None:
    bench, other = Bench("m"), Bench("n")
    give(bench, X, Y, approve(BY_ALICE, signer("zoe")), SETTLED)
    give(other, Y, X, BY_ALICE, SETTLED)
    assert values(bench, "a") == [b"1"]
    assert bench.node.root == other.node.root == restarted(bench).node.root


def test_held_the_wire_a_policy_fork_excuses_what_another_branch_allows_and_no_forgery() -> None:
    forged = [dataclasses.replace(BY_ALICE, signature=bytes([number]) * 64) for number in range(FAULTS_MAX)]
    for refused, is_closed in (([BY_YAN] * FAULTS_MAX, False), (forged, True)):
        bench = Bench()
        link = bench.connect("p")
        give(bench, X, Y)
        bench.tell(link, Batch(tuple(one.encode() for one in refused)))
        assert (bench.closed(link) is not None) == is_closed


def test_it_needs_the_thresholds_of_both() -> None:
    """Whoever has got the new roots of one branch cannot speak for those of the other."""
    theirs = policy_change(2, seq=7, roots=keys("new-1", "new-2", "new-3"))
    settles = (theirs.id, X.id)
    for by in (("new-1", "new-2"), ROOTS[:2], ("new-1", *ROOTS[:2]), ("new-1", "new-2", ROOTS[0])):
        bench = Bench()
        give(bench, X, theirs)
        with pytest.raises(NotAuthorised, match=r"\d of 3 roots of one policy between which it decides"):
            bench.node.replica.chain.judge(policy_change(3, by=by, seq=8, settles=settles))
    both = policy_change(3, by=("new-1", "new-2", *ROOTS[:2]), seq=8, settles=settles)
    bench.node.replica.chain.judge(both)
    with pytest.raises(NotAuthorised, match="which is no root"):
        bench.node.replica.chain.judge(
            policy_change(3, by=("new-1", "new-2", *ROOTS[:2], "alice"), seq=8, settles=settles)
        )


def test_held_one_root_key_no_fork_pushes_out_the_policies_that_it_has_written() -> None:
    """A bare header needs the signature of one known key. Nobody asks it for a threshold, as it takes no effect."""
    forged = headers_below(X, ROOTS[0])
    roots = set()
    for order in ((X, BY_ZOE, *forged), (*forged, X, BY_ZOE), (*forged[:4], X, *forged[4:], BY_ZOE)):
        bench = Bench()
        give(bench, *order)
        again = restarted(bench)
        for one in (bench, again):
            assert [policy.id for policy in one.node.replica.policies_after(1)] == [X.id]
            assert one.node.replica.policy_version == 2
            assert values(one, "zoo/a") == [b"z"]
            assert len(one.node.replica.live.forks()) == 1
            roots.add(one.node.root)
    assert len(roots) == 1


@pytest.mark.parametrize("successor", [None, 3])
def test_held_the_keys_of_former_roots_nobody_settles_between_others_what_is_in_force(successor: int | None) -> None:
    """The roots were replaced, since their keys were stolen. The thief signs two rivals of the policy that says so,
    with roots of his own, and a policy that settles between these two."""
    rotated = policy_change(2, roots=keys("new-1", "new-2", "new-3"), seq=9)
    rivals = [policy_change(2, *roles, roots=keys("thief-1", "thief-2"), seq=10) for roles in ((), (ZOO,))]
    coup = policy_change(3, by=("thief-1", "thief-2"), seq=11, settles=tuple(sorted(one.id for one in rivals)))
    after = policy_change(3, by=("new-1", "new-2"), roots=keys("new-1", "new-2", "new-3"), seq=12)
    bench = Bench()
    give(bench, rotated, *([after] if successor else []), *rivals, coup)
    assert bench.node.replica.chain.accepted[1] == rotated.id
    assert bench.node.replica.policy_version == (successor or 2)
    give(bench, after)
    assert bench.node.replica.policy_version == 3
    again = restarted(bench)
    assert again.node.replica.chain.accepted[1:] == (rotated.id, after.id)
    assert again.node.root == bench.node.root


def test_what_was_set_aside_can_still_be_verified() -> None:
    """So that it can be listed: an agent's word for it is not enough."""
    bench = Bench()
    give(bench, X, Y, SETTLED)
    chain = bench.node.replica.chain
    assert [policy.roles[-1].name for policy in chain.set_aside(2)] == ["zoo"]
    with pytest.raises(NotAuthorised):
        chain.judge(BY_ZOE)
    chain.judge_as_set_aside(BY_ZOE)
    with pytest.raises(NotAuthorised, match="does not know"):
        chain.judge_as_set_aside(BY_YAN)
    with pytest.raises(NotAuthorised, match="no policy 1 was set aside"):
        chain.judge_as_set_aside(BY_BOB)
    with pytest.raises(BadSignature):
        chain.judge_as_set_aside(dataclasses.replace(BY_ZOE, signature=BY_YAN.signature))
    with pytest.raises(WrongCluster):
        chain.judge_as_set_aside(signed([Entry("zoo/a", b"z")], "zoe", policy=2, cluster_id=bytes(32)))


def test_it_waits_for_the_policies_that_it_settles() -> None:
    bench = Bench()
    give(bench, X)
    with pytest.raises(UnknownPolicy, match="of which one is not here yet"):
        bench.node.replica.chain.judge(SETTLED)


def story(rng: Random) -> tuple[list[Change], list[Change]]:
    """Policies 2 to 4, of which two are forked and some have floors, and changes and bare approvals that meet them."""

    def perhaps(prefix: str, policy_max: int, by: str = "") -> tuple[Floor, ...]:
        return (Floor(signer(by).public if by else b"", prefix, policy_max),) if rng.random() < 0.5 else ()

    ours = policy_change(2, ZOO, floors=perhaps("b", 1, "bob"))
    theirs = policy_change(2, YARD, Role("zoo", keys("zoe"), ("zoo/a", "zoo/b")), seq=2, floors=perhaps("", 1, "bob"))
    settles = tuple(one.id for one in rng.sample((ours, theirs), 2))
    third = policy_change(3, ZOO, seq=3, floors=perhaps("a", 2))
    settled = policy_change(3, ZOO, YARD, seq=4, settles=settles, floors=perhaps("a", 2))
    fourth = policy_change(4, ZOO, seq=7, floors=perhaps("", 3, "bob"))
    three = signed([Entry(f"zoo/{key}", b"1") for key in "abc"], "zoe", policy=2)
    mine = signed([Entry("a", b"1"), Entry("b", b"2", seen=BY_BOB.versions[0].clock)], "alice", policy=2, seq=9)
    branches = [
        signed([Entry("zoo/b", bytes([n]), seen=three.versions[1].clock)], "zoe", policy=2, seq=2) for n in (1, 2)
    ]
    over = [signed([Entry("zoo/a", b"2", seen=three.versions[0].clock)], "alice", policy=n, seq=n) for n in (1, 2, 3)]
    approved = [
        (mine, "zoe"),
        (mine, "bob"),
        (three, "alice"),
        (ours, "alice"),
        (settled, "alice"),
        (settled, ROOTS[2]),
    ]
    changes = [BY_BOB, BY_YAN, three, mine, *branches, *over, *(approve(one, signer(by)) for one, by in approved)]
    return [ours, theirs, third, settled, fourth], changes


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_in_parts_and_between_restarts_all_end_with_the_same(seed: int) -> None:
    rng = Random(seed)
    policies, changes = story(rng)
    benches = [Bench(f"n{number}") for number in range(3)]
    for number in range(3):
        for one in rng.sample([*policies, *changes], rng.randrange(len(changes))):
            give(benches[number], one.restrict([index for index, _ in one.entries if rng.random() < 0.8]))
            if rng.random() < 0.1:
                root = benches[number].node.root
                benches[number] = restarted(benches[number])
                assert benches[number].node.root == root
    give(benches[0], *policies, *policies)
    for one in changes:
        give(rng.choice(benches), one)
    for _ in range(4):  # as sync does, in both directions and from each to each
        for source, other in permutations(benches, 2):
            replica = source.node.replica
            give(other, *replica.policies_after(0), *list(replica.live.parts()))
    assert len({bench.node.replica.chain.accepted for bench in benches}) == 1
    assert len({bench.node.root for bench in [*benches, *map(restarted, benches)]}) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_fork_made_in_two_partitions_is_settled_in_a_cluster(seed: int) -> None:
    names = [f"n{number}" for number in range(6)]
    world = Tapped(*names, seed=seed)
    world.run(5.0)
    world.partition(names[:3], names[3:])
    world.submit("n0", X)
    world.submit("n5", Y)
    assert world.run_until(lambda: all(world.node(name).replica.policy_version == 2 for name in names), 20.0)
    zoe = world.publish("n1", signer("zoe"), [Entry("zoo/a", b"z")])[1]
    yan = world.publish("n4", signer("yan"), [Entry("yard/a", b"y")])[1]
    world.run(2.0)
    world.heal()
    world.run(10.0)
    assert all(world.node(name).replica.chain.is_disputed(2) for name in names)
    assert all(world.events_of(name, PolicyFork) for name in names)
    world.submit("n2", SETTLED)
    assert world.run_until(lambda: all(world.node(name).replica.policy_version == 3 for name in names), 10.0)
    assert world.run_until(world.converged, 10.0)
    assert list(violations(world)) == []
    for name in names:
        live_set = world.node(name).replica.live
        assert live_set.stored(yan.id) is not None
        assert live_set.stored(zoe.id) is None, "the policy in force knows no such writer"
        assert not world.node(name).replica.chain.is_disputed(2)
