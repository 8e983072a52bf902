"""Concurrent edits in a three-way partition, healed in every order.

One key that everybody edits, and changes of overlapping sets of keys, on three sides that
publish twice each. Whatever the order of the heals: the same state everywhere, every loser
visible as a sibling, and nothing gone from history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.model.version import Version, live, versions_of, winner
from gossipconf.protocol.events import ConflictClosed, ConflictOpened
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.world import World
from tests.strategies import cluster, signer

SIDES = (("a", "b"), ("c", "d"), ("e", "f"))
NAMES = tuple(name for side in SIDES for name in side)
SETTLE_S = 90.0
"""Above the longest wait of any retry in the protocol."""

SETS = (("all", "ab", "ac"), ("all", "ab", "bc"), ("all", "ac", "bc"))
"""The keys that each side writes in one change: one is everybody's, each other one is two sides'."""

PAIRS = ((0, 1), (0, 2), (1, 2))
ORDERS = ((), *((pair,) for pair in PAIRS), *permutations(PAIRS, 2), *permutations(PAIRS, 3))
"""Which two sides can talk, step by step, before all can: every order of heals, and some that break again."""


def groups(pair: tuple[int, int]) -> list[tuple[str, ...]]:
    (apart,) = {0, 1, 2} - set(pair)
    return [SIDES[pair[0]] + SIDES[pair[1]], SIDES[apart]]


def settle(world: World, parts: Iterable[Sequence[str]]) -> None:
    """Until everybody in each part holds the same."""

    def is_so() -> bool:
        return all(len({world.hosts[name].node.root for name in part}) == 1 for part in parts)

    assert world.run_until(is_so, SETTLE_S)
    world.run(1.0)
    assert is_so()


def edits(world: World, round_: int) -> list[Change]:
    """Each side publishes one change of its keys, at the first of its nodes."""
    made = []
    for number, (side, keys) in enumerate(zip(SIDES, SETS, strict=True)):
        value = f"side {number}, round {round_}".encode()
        made.append(world.publish(side[0], signer("alice"), [put(key, value) for key in keys])[1])
        world.run(0.5)
    return made


def slots_of(world: World, name: str) -> dict[str, tuple[Version, ...]]:
    slots = world.hosts[name].node.replica.live.slots()
    return {key: versions for (key, _), versions in slots.items() if not key.startswith("_")}


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: " then ".join(f"{a}+{b}" for a, b in order) or "at once")
def test_every_order_of_heals_ends_in_the_same_state(order: Sequence[tuple[int, int]]) -> None:
    world = World(cluster(), seed=7)
    for name in NAMES:
        world.add(name, [other for other in NAMES if other != name])
    _, base = world.publish("a", signer("bob"), [put(key, b"base") for key in ("all", "ab", "ac", "bc")])
    settle(world, [NAMES])

    world.partition(*SIDES)
    world.run(1.0)
    published = [base, *edits(world, 1), *edits(world, 2)]
    settle(world, SIDES)
    for pair in order:
        world.heal()
        world.partition(*groups(pair))
        settle(world, groups(pair))
    world.heal()
    settle(world, [NAMES])

    every = [version for change in published for version in versions_of(change)]
    expected = {key: live(one for one in every if one.entry.key == key) for key in ("all", "ab", "ac", "bc")}
    assert [len(expected[key]) for key in ("all", "ab", "ac", "bc")] == [3, 2, 2, 2]
    assert {one.entry.value for one in expected["all"]} == {f"side {side}, round 2".encode() for side in range(3)}
    for name in NAMES:
        found = slots_of(world, name)
        assert {key: set(versions) for key, versions in found.items()} == expected, "every loser is visible"
        assert all(versions[0] == winner(versions) for versions in found.values())
    # Of two siblings both stay; what is replaced is in the history of whoever had it.
    for change in published:
        for version in versions_of(change):
            homes = NAMES if change is base else SIDES[published.index(change) % 3 - 1]
            for name in homes:
                assert version in expected[version.entry.key] or version.id in world.hosts[name].disk.retired
    assert all(told(world, name, ConflictOpened) == expected.keys() for name in NAMES)

    world.publish("f", signer("bob"), [put(key, b"settled") for key in expected])
    settle(world, [NAMES])
    for name in NAMES:
        assert {key: [one.entry.value for one in found] for key, found in slots_of(world, name).items()} == {
            key: [b"settled"] for key in expected
        }
        assert told(world, name, ConflictClosed) == expected.keys()
        retired = world.hosts[name].disk.retired
        assert all(one.id in retired for siblings in expected.values() for one in siblings), "nobody has forgotten one"
    assert list(violations(world)) == []


def told(world: World, name: str, kind: type[ConflictOpened | ConflictClosed]) -> set[str]:
    """The keys of which a node has told its owner such a thing."""
    return {key for _, event in world.hosts[name].events if isinstance(event, kind) for key, _ in event.slots}


def test_the_state_is_the_same_after_every_order() -> None:
    """Not only equal among the nodes of one world: one order's outcome is every order's."""
    outcomes = set()
    for order in (ORDERS[0], ORDERS[4], ORDERS[-1]):
        world = World(cluster(), seed=7)
        for name in NAMES:
            world.add(name, [other for other in NAMES if other != name])
        settle(world, [NAMES])
        world.partition(*SIDES)
        edits(world, 1)
        for pair in order:
            world.heal()
            world.partition(*groups(pair))
            settle(world, groups(pair))
        world.heal()
        settle(world, [NAMES])
        found = slots_of(world, "a")
        outcomes.add(tuple((key, tuple(one.entry.value for one in found[key])) for key in sorted(found)))
    assert len(outcomes) == 1
