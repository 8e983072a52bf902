"""Checkpoints of what a node holds: with approvals, forks, floors and settled policy forks the set stays the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import permutations
from random import Random

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, put
from gossipconf.model.errors import Rejected
from gossipconf.model.hashing import CONTENTS_TAG, tagged_hash
from gossipconf.protocol.environment import Environment
from gossipconf.protocol.replica import Replica
from gossipconf.protocol.tuning import LAN
from gossipconf.store.checkpoint import Checkpoint, Sealed, seal
from gossipconf.store.live_set import LiveSet
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.floor import Floor, keeping
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.snapshot import sign_snapshot
from tests.protocol.test_policy_forks import YARD, ZOO, policy_change
from tests.protocol.test_void import give, values
from tests.protocol.wire import Bench, change
from tests.strategies import NOW_MS, cluster, keys, signed, signer

HOUR_MS = 3_600_000
KEEPER = signer("keeper")
KEEPERS = Role("keepers", keys("keeper"), ("",), ("snapshot",))


def policy(version: int, *roles: Role, seq: int = 1, **fields: object) -> Change:
    """A policy under which `keeper` may sign snapshots."""
    return policy_change(version, KEEPERS, *roles, seq=seq, **fields)


def sealed(bench: Bench) -> Sealed:
    """All that a node holds, as a file."""
    replica = bench.node.replica
    made = seal(replica.live.parts(), replica.chain, KEEPER, time_ms=NOW_MS, expires_ms=NOW_MS + HOUR_MS)
    return Sealed.decode(made.encode())


def opened(file: Sealed, *known: Change) -> tuple[Checkpoint, PolicyChain]:
    """As an empty disk opens it whose cluster file has these policies too; and what its chain is then."""
    chain = cluster().chain()
    for one in known:
        chain.judge(one)
        assert chain.accept(one) is not None
    return file.open(chain, NOW_MS, 0), chain


def booted(checkpoint: Checkpoint, chain: PolicyChain) -> Replica:
    replica = Replica(Environment(Random(0), LAN), chain)
    replica.adopt(checkpoint)
    return replica


def check_same(bench: Bench) -> Replica:
    """What is sealed opens to the set that the node holds, and to its chain."""
    checkpoint, chain = opened(sealed(bench))
    live = bench.node.replica.live
    assert checkpoint.live.root == live.root
    assert checkpoint.live.tree.items() == live.tree.items()
    assert checkpoint.live.slots() == live.slots()
    assert checkpoint.live.forks() == live.forks()
    assert chain.accepted == bench.node.replica.chain.accepted == checkpoint.policies
    one_by_one = LiveSet()
    for part, _ in checkpoint.parts:
        one_by_one.add(part, is_branch=not chain.floors.is_branch_void(part))
    assert one_by_one.root == live.root
    replica = booted(checkpoint, chain)
    assert [one.id for one in replica.policies_after(0)] == [one.id for one in bench.node.replica.policies_after(0)]
    return replica


def by_bob(*kept: Change) -> Floor:
    return Floor(signer("bob").public, "", 1, keeping([version for one in kept for version in one.versions]))


def test_who_has_approved_what_is_part_of_it() -> None:
    bench = Bench()
    limit = [put("pay/limit", b"100")]
    give(bench, policy(2), signed(limit, "dave", "erin", policy=2), signed(limit, "dave", "frank", policy=2))
    give(bench, signed([put("pay/a", b"1"), put("pay/b", b"2")], "erin", "frank", policy=2))
    replica = check_same(bench)
    (winner,) = replica.live.slot(("pay/limit", ""))
    stored = replica.live.stored(winner.change_id)
    assert stored is not None
    assert {key for key, _ in stored.approvals} == set(keys("erin", "frank"))


def test_approvals_of_the_branches_of_a_fork() -> None:
    bench = Bench()
    give(bench, policy(2))
    give(bench, *(signed([put("pay/a", bytes([n]))], "dave", "erin", policy=2) for n in range(3)))
    assert len(bench.node.replica.live.forks()) == 1
    check_same(bench)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_a_floor_voids_is_not_in_it_and_what_it_keeps_is(order: Sequence[int]) -> None:
    """The kept change and the void ones have one number; two of the void ones have another in common."""
    kept, forged, early, late = (
        change(name, name, seq=seq, by="bob") for name, seq in zip("abcd", (1, 1, 2, 2), strict=True)
    )
    everything = (kept, forged, early, policy(2, floors=(by_bob(kept),)))
    bench = Bench()
    give(bench, change("x", "x"), *(everything[place] for place in order))
    give(bench, *everything, late)
    assert [values(bench, key) for key in "abcd"] == [[b"a"], [], [], []]
    assert not bench.node.replica.live.forks()
    replica = check_same(bench)
    for one in (forged, early, late):
        assert not replica.receive(one, "peer").is_news


def test_a_floor_about_a_prefix_leaves_bare_headers_of_forks() -> None:
    bench = Bench()
    floor = Floor(b"", "old", 1)
    give(bench, change("1", "old/a"), change("2", "new/a"), policy(2, floors=(floor,)))
    assert values(bench, "new/a") == [b"2"]
    assert len(bench.node.replica.live.forks()) == 1
    check_same(bench)


def test_a_change_of_which_a_floor_voids_an_entry() -> None:
    bench = Bench()
    both = signed([put("old/a", b"1"), put("new/a", b"2")], "bob")
    give(bench, both, policy(2, floors=(Floor(b"", "old", 1),)))
    assert (values(bench, "old/a"), values(bench, "new/a")) == ([], [b"2"])
    check_same(bench)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_a_prefix_reinstates_is_no_branch_of_a_fork_as_long_as_its_header_is_void(order: Sequence[int]) -> None:
    """One number, two changes: a floor keeps one, a later one the entry of the other; then a third counts both."""
    kept, other = change("k", "k", by="bob"), change("v", "p/x", by="bob")
    second = policy(2, floors=(by_bob(kept),))
    third = policy(3, floors=(Floor(b"", "p", 2, keeping(other.versions)),))
    everything = (kept, other, second, third)
    bench = Bench()
    give(bench, *(everything[place] for place in order))
    give(bench, *everything, *everything)
    assert (values(bench, "k"), values(bench, "p/x")) == ([b"k"], [b"v"])
    assert not bench.node.replica.live.forks()
    check_same(bench)
    give(bench, policy(4, floors=(Floor(b"", "", 3, keeping([*kept.versions, *other.versions])),)))
    assert len(bench.node.replica.live.forks()) == 1
    check_same(bench)


def test_two_that_a_prefix_reinstates_are_a_fork_once_both_count() -> None:
    one, two = change("1", "p/x", by="bob"), change("2", "p/y", by="bob")
    versions = [*one.versions, *two.versions]
    bench = Bench()
    give(bench, one, two, policy(2, floors=(by_bob(),)), policy(3, floors=(Floor(b"", "p", 2, keeping(versions)),)))
    give(bench, one, two)
    assert (values(bench, "p/x"), values(bench, "p/y")) == ([b"1"], [b"2"])
    assert not bench.node.replica.live.forks()
    check_same(bench)
    give(bench, policy(4, floors=(Floor(b"", "", 3, keeping(versions)),)))
    assert len(bench.node.replica.live.forks()) == 1
    check_same(bench)


def test_a_later_floor_that_only_the_reader_knows_voids_what_an_older_file_holds() -> None:
    """Held: an old checkpoint, from before a key was stolen and revoked."""
    bench = Bench()
    kept, stolen = change("a", "a", by="bob"), signed([put("b", b"1"), put("c", b"2")], "bob", seq=2)
    give(bench, policy(2), kept, stolen, change("x", "d"))
    file = sealed(bench)
    later = policy(3, floors=(by_bob(kept),))
    checkpoint, chain = opened(file, policy(2), later)
    replica = booted(checkpoint, chain)
    replica.add_policies([*cluster().policies, policy(2), later])
    give(bench, later)
    assert replica.root == bench.node.root
    assert {part.id for part, _ in checkpoint.parts}.isdisjoint({stolen.id})
    assert not replica.receive(stolen, "peer").is_news


def test_what_is_void_is_not_sealed_and_not_taken_from_a_file() -> None:
    """Held: the snapshot key, and an agent that hands out what is void."""
    bench = Bench()
    give(bench, policy(2, floors=(by_bob(),)))
    void = change("b", "b", by="bob")
    chain = bench.node.replica.chain
    with pytest.raises(Rejected, match="'b' that a floor of its policies voids"):
        seal([*bench.node.replica.live.parts(), void], chain, KEEPER, time_ms=NOW_MS, expires_ms=NOW_MS + 1)
    good = sealed(bench)
    contents = good.contents + void.encode()
    live = LiveSet.of([*bench.node.replica.live.parts(), void], is_branch_void=chain.floors.is_branch_void)
    statement = dataclasses.replace(
        good.snapshot.statement, contents=tagged_hash(CONTENTS_TAG, contents), root=live.root
    )
    with pytest.raises(Rejected, match="'b' that a floor of its policies voids"):
        opened(Sealed(sign_snapshot(statement, KEEPER, chain), contents))


# -- policy forks ---------------------------------------------------------------------------------

X = policy(2, ZOO)
Y = policy(2, YARD, seq=2, floors=(by_bob(),))
X3 = policy(3, ZOO, seq=3)
SETTLED = policy(3, ZOO, YARD, seq=4, settles=(Y.id, X.id))
BY_ZOE = signed([Entry("zoo/a", b"z")], "zoe", policy=2)
BY_YAN = signed([Entry("yard/a", b"y")], "yan", policy=2)
BY_BOB = change("old", "b", by="bob")


def settled(*order: Change) -> Bench:
    bench = Bench()
    give(bench, *order)
    for _ in range(3):
        give(bench, X, Y, X3, SETTLED, BY_ZOE, BY_YAN, BY_BOB)
    assert bench.node.replica.chain.head.settles
    return bench


@pytest.mark.parametrize("order", [(X, Y, SETTLED), (Y, X, SETTLED), (X, X3, Y, SETTLED), (BY_BOB, X, BY_ZOE)])
def test_a_settled_policy_fork_is_in_it_with_all_branches(order: Sequence[Change]) -> None:
    bench = settled(*order)
    replica = check_same(bench)
    assert len(replica.live.slot(("_policy/2", ""))) == 2
    assert (values(bench, "zoo/a"), values(bench, "yard/a"), values(bench, "b")) == ([], [b"y"], [])


@pytest.mark.parametrize("known", [(), (X,), (Y,), (X, X3)])
def test_whoever_boots_from_it_has_the_same_policies_in_force_whatever_its_cluster_file_says(
    known: Sequence[Change],
) -> None:
    bench = settled()
    checkpoint, chain = opened(sealed(bench), *known)
    assert chain.accepted == bench.node.replica.chain.accepted
    assert checkpoint.live.root == bench.node.root


def test_an_open_fork_is_neither_sealed_nor_settled_by_a_file() -> None:
    bench = Bench()
    give(bench, X, BY_ZOE)
    file = sealed(bench)
    with pytest.raises(Rejected, match="its policy 2 is another one than is known here: a policy fork"):
        opened(file, Y)
    give(bench, X3)
    with pytest.raises(Rejected, match="its policy 2 is another one than is known here: a policy fork"):
        opened(sealed(bench), Y)
    give(bench, Y)
    with pytest.raises(Rejected, match="a policy fork, which the roots must end first"):
        sealed(bench)


def test_a_policy_that_lies_elsewhere_is_refused() -> None:
    """Held: the snapshot key. The branch that lost comes first, or among what is no policy."""
    bench = settled()
    good = sealed(bench)
    forms = {name: bench.node.replica.live.part(one.id) for name, one in (("x", X), ("y", Y))}
    x, y = (form.encode() for form in forms.values() if form is not None)
    for contents in (good.contents.replace(y + x, x + y), good.contents.replace(x, b"") + x):
        assert contents != good.contents
        statement = dataclasses.replace(good.snapshot.statement, contents=tagged_hash(CONTENTS_TAG, contents))
        with pytest.raises(Rejected):
            opened(Sealed(sign_snapshot(statement, KEEPER, bench.node.replica.chain), contents))


def test_a_merge_gives_a_disk_with_another_branch_the_same_state() -> None:
    bench, other = settled(), Bench("n")
    give(other, X, X3, BY_ZOE)
    checkpoint, _ = opened(sealed(bench))
    other.node.merge(other.now(), checkpoint.parts)
    other.write()
    for _ in range(3):
        give(other, X, Y, X3, SETTLED, BY_ZOE, BY_YAN, BY_BOB)
    assert other.node.root == bench.node.root
    assert isinstance(other.node.replica.chain.head, Policy)
    assert other.node.replica.chain.accepted == bench.node.replica.chain.accepted
