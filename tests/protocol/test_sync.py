"""Sync: what a comparison costs, what is found, what ends a session, and how often one begins.

Worlds of two or three hosts, whose links are made by hand, count messages and bytes;
a single node with a scripted peer shows what a peer that lies or falls silent can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, put
from gossipconf.model.limits import FORK_BRANCHES_MAX, SYNC_BATCH_BYTES, SYNC_BUDGET_BYTES
from gossipconf.protocol.events import ChangeRejected, PolicyAccepted, Synced
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import (
    Batch,
    Check,
    Checked,
    Given,
    Hinted,
    Hints,
    Message,
    Push,
    Root,
    Told,
    Walk,
    Walked,
    Want,
    WantPolicies,
)
from gossipconf.protocol.overlay import FAULTS_MAX
from gossipconf.protocol.sync import (
    COMPARE_S,
    IN_FLIGHT_S,
    PATIENCE_S,
    REPLY_LIMIT_S,
    RETRY_CAP_S,
    RETRY_FIRST_S,
    SESSION_LIMIT_S,
)
from gossipconf.store.hash_tree import DEPTH_MAX, FANOUT, Inner, Leaf
from gossipconf_sim.checkers import violations
from gossipconf_sim.world import Physics
from tests.protocol.wire import Bench, Sent, Tapped, change, second_policy
from tests.strategies import signed, signer

ANSWERS = (Hinted, Walked, Given, Checked)
QUICK = Physics(disk_s=(0.0, 0.0))


def pair(seed: int = 0) -> Tapped:
    """Two hosts that share one change and have no link."""
    world = Tapped("a", "b", seed=seed, dials=False, physics=QUICK)
    for name in ("a", "b"):
        world.inject(name, change("shared", "base"))
    world.run(0.01)
    return world


def sync_messages(world: Tapped, since_s: float) -> list[Sent]:
    return [one for one in world.sent if one.at_s >= since_s and one.message.CLASS is FrameClass.SYNC]


def join(world: Tapped, limit_s: float = 5.0) -> list[Sent]:
    """Link `a` and `b`, wait until they are equal and idle; the sync messages that it took."""
    begin_s = world.now_s
    world.wire("a", "b")
    assert world.run_until(world.converged, limit_s), "no convergence"
    world.run(1.0)
    assert list(violations(world)) == []
    return sync_messages(world, begin_s)


def kinds(messages: Iterable[Sent]) -> list[str]:
    return [type(one.message).__name__ for one in messages]


def give(world: Tapped, name: str, changes: Iterable[Change]) -> None:
    for one in changes:
        world.inject(name, one)
    world.run(0.01)


def payload(changes: Iterable[Change]) -> int:
    return sum(len(one.encode()) for one in changes)


# -- cost -----------------------------------------------------------------------------------------


def test_equal_stores_compare_with_two_roots() -> None:
    world = pair()
    messages = join(world)
    assert kinds(messages) == ["Root", "Root"]
    assert sum(one.bytes for one in messages) <= 64


def test_a_regular_comparison_of_equal_stores_is_one_root() -> None:
    world = pair()
    join(world)
    begin_s = world.now_s
    world.run(10 * COMPARE_S)
    messages = sync_messages(world, begin_s)
    assert {one.sender for one in messages} == {"b"}, "only the leader compares"
    assert set(kinds(messages)) == {"Root"}
    assert 8 <= len(messages) <= 14


@pytest.mark.parametrize("writers", [1, 20])
@pytest.mark.parametrize("missing", [1, 10, 100])
@pytest.mark.parametrize("side", ["a", "b"])
def test_what_one_side_lacks_costs_little_more_than_itself(missing: int, writers: int, side: str) -> None:
    world = pair()
    lacked = []
    for number in range(missing):
        writer = number % writers
        lacked.append(change("v" * 100, f"k{number}", seq=number // writers + 1, incarnation=b"writer%02d" % writer))
    give(world, side, lacked)
    messages = join(world)
    active = len(world.node("a").replica.live.frontier(1_000)[0])
    # What the follower lacks it names by writer again: 21 bytes each, beside the leader's frontier.
    named_again = 0 if side == "a" else min(missing, writers)
    total = sum(one.bytes for one in messages)
    assert "Walk" not in kinds(messages)
    assert total <= 1.05 * payload(lacked) + 24 * active + 21 * named_again + 128


def test_large_sequence_numbers_cost_28_bytes_a_writer() -> None:
    """A number above 2^32 is encoded in 9 bytes: the frontier entry then has 28."""
    world = pair()
    lacked = [change(key=f"k{one}", seq=(1 << 62) + one, incarnation=b"writer%02d" % one) for one in range(50)]
    give(world, "a", lacked)
    give(world, "b", lacked)
    missing = change("new", "new", seq=(1 << 62) + 100, incarnation=b"writer00")
    give(world, "a", [missing])
    messages = join(world)
    active = len(world.node("a").replica.live.frontier(1_000)[0])
    total = sum(one.bytes for one in messages)
    assert total <= 1.05 * payload([missing]) + 28 * active + 128


@pytest.mark.parametrize("missing", [1, 10, 100])
def test_what_the_follower_has_comes_within_one_round_trip_after_hints(missing: int) -> None:
    world = pair()
    give(world, "a", [change("v" * 100, f"k{number}", seq=number + 1) for number in range(missing)])
    assert kinds(join(world)) == ["Root", "Root", "Hints", "Batch", "Hinted"]


def test_both_sides_missing_is_one_round_trip_and_a_check() -> None:
    world = pair()
    lacked = {
        name: [change("v" * 50, f"{name}{one}", seq=one + 1, incarnation=name.encode() * 8) for one in range(10)]
        for name in ("a", "b")
    }
    for name, changes in lacked.items():
        give(world, name, changes)
    messages = join(world)
    assert kinds(messages) == ["Root", "Root", "Hints", "Batch", "Hinted", "Batch", "Check", "Checked"]
    both = payload([*lacked["a"], *lacked["b"]])
    assert sum(one.bytes for one in messages) <= 1.05 * both + 24 * 4 + 128


def test_the_cost_of_a_difference_does_not_grow_with_the_store() -> None:
    costs = []
    for size in (0, 400):
        world = pair()
        shared = [change(key=f"s{one}", seq=one + 1, incarnation=b"shared__") for one in range(size)]
        give(world, "a", [*shared, change("new", "new", incarnation=b"new_____")])
        give(world, "b", shared)
        costs.append(sum(one.bytes for one in join(world)))
    assert costs[1] - costs[0] <= 28, "one more writer in the frontier"


# -- amounts --------------------------------------------------------------------------------------


def large(count: int, size: int, first: int = 1) -> list[Change]:
    return [change("v" * size, f"large{one}", seq=one + first) for one in range(count)]


@pytest.mark.parametrize("side", ["a", "b"])
def test_more_than_a_budget_is_resumed(side: str) -> None:
    world = pair()
    lacked = large(30, 100_000)
    give(world, side, lacked)
    messages = join(world)
    assert kinds(messages).count("Hints") >= 3
    assert "Walk" not in kinds(messages)
    assert sum(one.bytes for one in messages) <= 1.05 * payload(lacked) + 1_000
    longest_between_questions = between = 0
    for one in messages:
        between = 0 if isinstance(one.message, Hints | Check) else between + one.bytes
        longest_between_questions = max(longest_between_questions, between)
    assert longest_between_questions <= SYNC_BUDGET_BYTES + 2_000


def test_batches_are_bounded() -> None:
    world = pair()
    give(world, "a", large(100, 2_000))
    batches = [one for one in join(world) if isinstance(one.message, Batch)]
    assert len(batches) >= 3
    assert all(one.bytes <= SYNC_BATCH_BYTES + 1_000 for one in batches)


@pytest.mark.parametrize("side", ["a", "b"])
def test_more_than_a_budget_behind_a_hole_is_walked_to(side: str) -> None:
    """Neither frontier shows them, so the walk must bring all, in pieces."""
    world = pair()
    lacked = large(40, 100_000)
    last = change("last", "last", seq=1_000)
    give(world, side, [*lacked, last])
    give(world, {"a": "b", "b": "a"}[side], [last])
    messages = join(world, 60.0)
    assert sum(one.bytes for one in messages) <= 1.05 * payload(lacked) + 20_000
    ended = world.events_of("b", Synced)
    assert [one.equal for one in ended] == [True]


# -- holes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", ["a", "b"])
def test_holes_that_frontiers_do_not_show_are_found_by_the_walk(holder: str) -> None:
    world = pair()
    changes = [change(key=f"k{seq}", seq=seq) for seq in range(1, 6)]
    give(world, holder, changes)
    give(world, {"a": "b", "b": "a"}[holder], changes[4:])
    messages = join(world)
    assert "Walk" in kinds(messages)
    assert [one.walked for one in world.events_of("b", Synced)] == [True]


def test_holes_on_both_sides_of_a_large_set() -> None:
    world = pair()
    changes = [change(key=f"k{seq}", seq=seq) for seq in range(1, 301)]
    give(world, "a", [one for one in changes if one.header.seq % 10 != 1])
    give(world, "b", [one for one in changes if one.header.seq % 10 != 2])
    join(world)
    assert len(world.node("a").replica.live) == len(changes) + 2, "and the policy, and the shared one"
    assert [one.equal for one in world.events_of("b", Synced)] == [True]


def test_a_lost_entry_of_a_kept_change_comes_back() -> None:
    """Each side has another half of one change."""
    world = pair()
    whole = signed([put(f"k{number}", b"1") for number in range(6)], "alice")
    give(world, "a", [whole.restrict((0, 1, 2))])
    give(world, "b", [whole.restrict((3, 4, 5))])
    join(world)
    assert len(world.node("a").replica.live) == 6 + 2


# -- policies -------------------------------------------------------------------------------------


def of_policy_2(key: str = "zoo/x", seq: int = 1) -> Change:
    return change("2", key, seq=seq, by="zoe", policy=2)


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_policy_comes_before_what_names_it(side: str) -> None:
    world = pair()
    give(world, side, [second_policy(), *(of_policy_2(f"zoo/{seq}", seq) for seq in range(1, 4))])
    messages = join(world)
    other = {"a": "b", "b": "a"}[side]
    assert world.node(other).replica.policy_version == 2
    assert world.events_of(other, PolicyAccepted)[-1] == PolicyAccepted(2)
    assert not isinstance(messages[-1].message, WantPolicies)
    assert world.events_of(other, ChangeRejected) == []


def test_the_walk_too_gives_policies_first() -> None:
    """Frontiers are equal, so that only the walk shows what is missing."""
    for holder, other in (("a", "b"), ("b", "a")):
        world = pair()
        give(world, holder, [second_policy(), *(of_policy_2(f"zoo/{seq}", seq) for seq in range(1, 30))])
        root_key = second_policy().header.writer
        for writer in (root_key.id, of_policy_2().writer_id):
            world.node(other).replica.live._highest[writer] = 1_000  # as if met and voided since
        world.node(holder).replica.live._highest.update(world.node(other).replica.live._highest)
        join(world)
        assert world.node(other).replica.policy_version == 2


def test_a_pushed_change_fetches_its_policy() -> None:
    world = pair()
    join(world)
    give(world, "a", [second_policy()])  # injected, so it is not pushed
    world.publish("a", signer("zoe"), [put("zoo/x", b"1")])
    assert world.run_until(world.converged, 0.2), "long before the next comparison"
    assert [one.sender for one in world.since(0, WantPolicies)] == ["b"]
    assert world.node("b").replica.policy_version == 2


