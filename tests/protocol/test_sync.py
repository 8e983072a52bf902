"""Sync: what a comparison costs, what is found, what ends a session, and how often one begins.

Worlds of two or three hosts, whose links are made by hand, count messages and bytes;
a single node with a scripted peer shows what a peer that lies or falls silent can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, put
from gossipconf.model.limits import ENTRIES_MAX, FORK_BRANCHES_MAX, SYNC_BATCH_BYTES, SYNC_BUDGET_BYTES
from gossipconf.protocol.events import ChangeRejected, PolicyAccepted, Synced
from gossipconf.protocol.fields import WIDTH_MIN
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import (
    WANTED_ITEMS_MAX,
    WIDTH_MAX,
    Batch,
    Check,
    Checked,
    Given,
    Hinted,
    Hints,
    Message,
    Ping,
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
    BUDGET_LEAST_BYTES,
    BUDGET_STEP,
    IN_FLIGHT_S,
    PATIENCE_S,
    REPLY_LIMIT_S,
    RETRY_CAP_S,
    RETRY_FIRST_S,
    SESSION_LIMIT_S,
)
from gossipconf.protocol.tuning import LAN
from gossipconf.store.hash_tree import DEPTH_MAX, FANOUT
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.run.checkers import violations
from tests.protocol.wire import Bench, Sent, Tapped, change, second_policy
from tests.strategies import signed, signer

ANSWERS = (Hinted, Walked, Given, Checked)
QUICK = HostConditions(disk_ms=(0, 0))


def pair(seed: int = 0) -> Tapped:
    """Two hosts that share one change and have no link."""
    world = Tapped("a", "b", seed=seed, dials=False, hosts=QUICK)
    for name in ("a", "b"):
        world.inject(name, change("shared", "base", incarnation=b"the_base"))
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
    world.run(10 * LAN.compare_s)
    messages = sync_messages(world, begin_s)
    assert {one.sender for one in messages} == {"b"}, "only the leader compares"
    assert set(kinds(messages)) == {"Root"}
    assert 8 <= len(messages) <= 14


def missing_of(count: int, writers: int, name: str = "w") -> list[Change]:
    """So many changes of 100 bytes and so many writers."""
    return [
        change("v" * 100, f"{name}{one}", seq=one // writers + 1, incarnation=f"{name}{one % writers:07}".encode())
        for one in range(count)
    ]


def bound(world: Tapped, lacked: Iterable[Change]) -> float:
    """What a sync may cost once the mismatch is known: 1.05 × payload + 24 × active writers + 128."""
    active = len(world.node("a").replica.live.frontier(1_000)[0])
    return 1.05 * payload(lacked) + 24 * active + 128


@pytest.mark.parametrize(("missing", "writers"), [(1, 1), (10, 1), (10, 10), (100, 1), (100, 7), (100, 100)])
@pytest.mark.parametrize("side", ["a", "b"])
def test_what_one_side_lacks_costs_little_more_than_itself(missing: int, writers: int, side: str) -> None:
    world = pair()
    lacked = missing_of(missing, writers)
    give(world, side, lacked)
    messages = join(world)
    assert kinds(messages).count("Hints") == 1, "one round trip"
    assert "Walk" not in kinds(messages)
    assert sum(one.bytes for one in messages) <= bound(world, lacked), "the two roots included"


@pytest.mark.parametrize(("missing", "writers"), [(1, 1), (10, 1), (50, 50)])
def test_what_both_sides_lack_costs_little_more_than_itself(missing: int, writers: int) -> None:
    world = pair()
    lacked = {"a": missing_of(missing, writers, "a"), "b": missing_of(missing, writers, "b")}
    for name, changes in lacked.items():
        give(world, name, changes)
    messages = join(world)
    assert kinds(messages).count("Hints") == 1, "one round trip"
    assert sum(one.bytes for one in messages) <= bound(world, [*lacked["a"], *lacked["b"]])


@pytest.mark.parametrize("side", ["a", "b"])
def test_more_writers_than_one_budget_holds_changes_of_keep_to_the_bound(side: str) -> None:
    """Each budget repeats the frontier, of nearly as many writers as it may have."""
    world = pair()
    lacked = [change("v" * 2_000, f"k{one}", incarnation=b"w%07d" % one) for one in range(1_000)]
    give(world, side, lacked)
    messages = join(world)
    assert kinds(messages).count("Hints") == 3
    assert "Walk" not in kinds(messages)
    assert sum(one.bytes for one in messages) <= bound(world, lacked)


def test_large_sequence_numbers_keep_to_the_bound_too() -> None:
    """A number above 2^32 is encoded in 9 bytes."""
    world = pair()
    lacked = [change(key=f"k{one}", seq=(1 << 62) + one, incarnation=b"writer%02d" % one) for one in range(50)]
    give(world, "a", lacked)
    give(world, "b", lacked)
    missing = change("new", "new", seq=(1 << 62) + 100, incarnation=b"writer00")
    give(world, "a", [missing])
    messages = join(world)
    active = len(world.node("a").replica.live.frontier(1_000)[0])
    total = sum(one.bytes for one in messages)
    assert total <= 1.05 * payload([missing]) + 24 * active + 128


@pytest.mark.parametrize("missing", [1, 10, 100])
def test_what_the_follower_has_comes_within_one_round_trip_after_hints(missing: int) -> None:
    world = pair()
    give(world, "a", [change("v" * 100, f"k{number}", seq=number + 1) for number in range(missing)])
    first, second, question, *batches, end = kinds(join(world))
    assert (first, second, question, end) == ("Root", "Root", "Hints", "Hinted")
    assert set(batches) == {"Batch"}


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
    assert costs[1] - costs[0] <= 12, "one more writer in the frontier"


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
    lacked = large(60, 200_000)
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


def alike() -> tuple[Change, Change]:
    """Two changes of one entry each, whose ids in the tree begin with the same four bytes."""
    met: dict[bytes, Change] = {}
    for seq in range(1, 20):
        many = signed([Entry(f"{seq}/{number:05d}", b"") for number in range(ENTRIES_MAX)], "alice", seq=seq)
        for index in range(ENTRIES_MAX):
            start = many.version_id(index)[:WIDTH_MIN]
            if met.setdefault(start, many) is not many:
                other = met[start]
                (place,) = (one for one in range(ENTRIES_MAX) if other.version_id(one)[:WIDTH_MIN] == start)
                return other.restrict((place,)), many.restrict((index,))
    raise AssertionError("none among 300,000")


def test_what_a_cut_walk_hides_an_exact_one_finds() -> None:
    """Each side has an item that the other takes for its own."""
    world = pair()
    later = signed([put("later", b"1")], "alice", seq=1_000)  # so that the frontiers show nothing
    for name, one in zip(("a", "b"), alike(), strict=True):
        give(world, name, [one, later])
    messages = join(world)
    assert [one.message.width for one in messages if isinstance(one.message, Walk)] == [WIDTH_MIN, WIDTH_MAX]
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


# -- forks ----------------------------------------------------------------------------------------


def branches(count: int) -> list[Change]:
    """Different changes of one writer and number."""
    return [change(str(number), f"k{number}", incarnation=b"forked__") for number in range(count)]


@pytest.mark.parametrize("count", [2, FORK_BRANCHES_MAX, FORK_BRANCHES_MAX + 4])
def test_forks_end_equal_and_known_to_both(count: int) -> None:
    world = pair()
    every = branches(count)
    give(world, "a", every[: count // 2])
    give(world, "b", every[count // 2 :])
    join(world)
    known = [dict(world.node(name).replica.live.forks()) for name in ("a", "b")]
    assert known[0].keys() == known[1].keys()
    (of_a,) = known[0].values()
    assert list(of_a) == sorted(one.id for one in every)[:FORK_BRANCHES_MAX]


# -- when a session begins ------------------------------------------------------------------------


def linked(*names: str, latency_ms: tuple[float, float] = (0.5, 2.0)) -> Tapped:
    """Hosts with every link between them, at rest."""
    world = Tapped(*names, dials=False, network=NetworkConditions(latency_ms=latency_ms))
    for number, name in enumerate(names):
        for other in names[:number]:
            world.wire(name, other)
    world.run(3.0)
    assert world.converged()
    return world


@pytest.mark.parametrize("spacing_s", [0.02, 0.25])
def test_pushes_in_flight_begin_no_session(spacing_s: float) -> None:
    """Roots are compared in the middle of steady publishing, too, and differ, with nothing lost."""
    world = linked("a", "b", "c", latency_ms=(20, 30))
    begin_s = world.now_s
    for number in range(100):
        world.publish_value("abc"[number % 3], f"k{number % 7}", str(number))
        world.run(spacing_s)
    world.run(4 * LAN.compare_s)
    assert world.converged()
    compared = world.since(begin_s, Root)
    assert compared
    assert len(world.since(begin_s, Hints)) <= 1


def test_a_lost_push_is_repaired_under_steady_publishing() -> None:
    """There is always something in flight, and still the hole is closed soon after the next comparison."""
    world = linked("a", "b")
    world.run(1.0)
    world.inject("a", change("lost", "lost", incarnation=b"lost____"))  # as if its push had been dropped
    begin_s = world.now_s
    number = 0
    while not world.node("b").replica.live.slot(("lost", "")) and world.now_s - begin_s < 60:
        number += 1
        world.publish_value("a", "busy", str(number))
        world.run(0.1)
    assert world.node("b").replica.live.slot(("lost", "")), "PATIENCE_S never ran out"
    assert world.now_s - begin_s <= 1.25 * LAN.compare_s + PATIENCE_S + 2 * IN_FLIGHT_S + 0.2
    assert len(world.since(begin_s, Hints)) <= 2


def test_what_came_by_sync_reaches_third_nodes_at_once() -> None:
    """A chain of hosts: news that was never pushed passes each link long before the regular comparison."""
    world = Tapped("a", "b", "c", "d", dials=False, hosts=QUICK)
    for one, other in (("a", "b"), ("b", "c"), ("c", "d")):
        world.wire(one, other)
    world.run(1.0)
    world.inject("d", change("1", "island", incarnation=b"island__"))
    world.reset_link("c", "d")
    world.run(0.1)
    world.wire("c", "d")
    assert world.run_until(world.converged, 1.5)


# -- a scripted peer ------------------------------------------------------------------------------


def leading(**restored: Sequence[Change]) -> tuple[Bench, int]:
    """A node and its link to a peer that it leads."""
    bench = Bench("m")
    link = bench.connect("a")
    bench.said(link)
    return bench, link


def answering() -> tuple[Bench, int]:
    """A node and its link to a peer that leads."""
    bench = Bench("m")
    link = bench.connect("z")
    bench.said(link)
    return bench, link


OTHER_ROOT = b"another root, 16"


def open_session(bench: Bench, link: int) -> Hints:
    bench.tell(link, Root(OTHER_ROOT, 1))
    (hints,) = bench.said(link, Hints)
    return hints


def withhold(bench: Bench, link: int) -> int:
    """Answer every question politely, with nothing; how many there were."""
    questions = 0
    while asked := [one for one in bench.said(link) if isinstance(one, Hints | Walk | Want | Check)]:
        for message in asked:
            questions += 1
            answer: Message
            match message:
                case Hints():
                    answer = Hinted(message.request, OTHER_ROOT, 1, (), False)
                case Walk():
                    nodes = tuple(Told(prefix, 0, bytes(message.width)) for prefix, _ in message.nodes)
                    answer = Walked(message.request, nodes)
                case Want():
                    answer = Given(message.request, OTHER_ROOT)
                case _:
                    answer = Checked(message.request, OTHER_ROOT, 1)
            bench.tell(link, answer)
    return questions


def test_a_peer_that_withholds_is_tried_ever_less_often() -> None:
    bench, link = leading()
    bench.tell(link, Root(OTHER_ROOT, 1))
    questions = sessions = 0
    minutes = 10
    for _ in range(minutes * 600):
        questions += withhold(bench, link)
        bench.wait(0.1)
        if shown := bench.said(link, Root):
            bench.tell(link, *(Root(OTHER_ROOT, 1) for _ in shown))  # the follower's answer to another root
    sessions = len(bench.events(Synced))
    assert not any(one.equal for one in bench.events(Synced))
    assert questions <= 16 * sessions
    doublings = 6
    assert minutes * 60 / (2 * RETRY_CAP_S) <= sessions <= minutes * 60 / RETRY_CAP_S + doublings


def test_roots_shown_during_a_session_do_not_begin_the_next_one_at_once() -> None:
    """A failed session is followed by its wait, whatever the peer has said meanwhile."""
    bench, link = leading()
    open_session(bench, link)
    for _ in range(20):
        bench.tell(link, Root(OTHER_ROOT, 1))
    bench.tell(link, Hinted(1, OTHER_ROOT, 1, (), False))
    assert withhold(bench, link) > 0
    assert len(bench.events(Synced)) == 1
    bench.wait(RETRY_FIRST_S / 2)
    assert bench.said(link, Hints) == []


def test_a_flood_of_roots_arms_one_timer() -> None:
    bench, link = leading()
    open_session(bench, link)
    withhold(bench, link)
    for _ in range(500):
        bench.tell(link, Root(OTHER_ROOT, 1))
    bench.wait(RETRY_FIRST_S + 0.1)
    assert len(bench.said(link, Root)) <= 2


def test_a_silent_peer_ends_the_session_and_not_the_link() -> None:
    bench, link = leading()
    open_session(bench, link)
    bench.wait(REPLY_LIMIT_S - 0.1)
    assert bench.events(Synced) == []
    bench.wait(0.2)
    (ended,) = bench.events(Synced)
    assert (ended.equal, ended.reason) == (False, "no answer within 10 s")
    assert bench.node.sync.is_idle
    assert bench.closed(link) is None


def test_who_does_not_answer_in_time_is_asked_for_less_and_after_success_for_more() -> None:
    bench, link = leading()
    budgets = []
    for _ in range(6):
        while not (asked := bench.said(link, Hints)):
            bench.tell(link, Root(OTHER_ROOT, 1), Ping(1))
            bench.wait(1.0)
        budgets.append(asked[0].budget)
        for _ in range(int(REPLY_LIMIT_S) + 1):  # it lives, and answers nothing
            bench.tell(link, Ping(1))
            bench.wait(1.0)
    assert budgets == [SYNC_BUDGET_BYTES // 4**step for step in range(5)] + [BUDGET_LEAST_BYTES]
    for _ in range(40):
        bench.tell(link, Ping(1))
        bench.wait(1.0)
    bench.tell(link, Root(OTHER_ROOT, 1))
    (hints,) = bench.said(link, Hints)
    bench.tell(link, Hinted(hints.request, bench.node.root, 1, (), False), Root(OTHER_ROOT, 1))
    (hints,) = bench.said(link, Hints)
    assert hints.budget == BUDGET_STEP * BUDGET_LEAST_BYTES


@pytest.mark.parametrize("slow", ["a", "b"])
def test_a_peer_behind_one_kib_a_second_is_synced(slow: str) -> None:
    """It lacks 60 KB: a minute's worth, of which no answer of the usual size would come in time."""
    world = pair()
    world.hosts[slow].read_bytes_s = 1024.0
    lacked = large(60, 1_000)
    give(world, {"a": "b", "b": "a"}[slow], lacked)
    world.wire("a", "b")
    assert world.run_until(world.converged, 200.0)
    assert sum(one.bytes for one in world.since(0, Batch)) <= 2.5 * payload(lacked)
    assert list(violations(world)) == []


def test_a_silent_peer_does_not_keep_others_waiting() -> None:
    bench, link = leading()
    open_session(bench, link)
    other = bench.connect("b")
    bench.tell(other, Root(OTHER_ROOT, 1))
    assert bench.said(other, Hints) == []
    bench.wait(REPLY_LIMIT_S + 0.1)
    assert len(bench.said(other, Hints)) == 1


def test_a_peer_that_answers_for_ever_does_not_keep_others_waiting() -> None:
    bench, link = leading()
    open_session(bench, link)
    other = bench.connect("b")
    bench.tell(other, Root(OTHER_ROOT, 1))
    for _ in range(int(SESSION_LIMIT_S + REPLY_LIMIT_S)):
        bench.tell(link, Batch(()))
        bench.tell(other, Ping(1))
        bench.wait(1.0)
    assert len(bench.said(other, Hints)) == 1


def test_a_lost_link_ends_the_session() -> None:
    bench, link = leading()
    open_session(bench, link)
    bench.lose(link)
    assert [one.reason for one in bench.events(Synced)] == ["the link was lost"]
    assert bench.node.sync.is_idle


@pytest.mark.parametrize("answer", [Walked(1, ()), Given(1, OTHER_ROOT), Checked(1, OTHER_ROOT, 1)])
def test_an_answer_of_another_kind_is_a_violation(answer: Message) -> None:
    bench, link = leading()
    assert open_session(bench, link).request == 1
    bench.tell(link, answer)
    assert "answers another question" in (bench.closed(link) or "")


def test_late_and_unasked_answers_are_ignored() -> None:
    for bench, link in (leading(), answering()):
        for request in (0, 7):
            bench.tell(link, Walked(request, ()), Given(request, OTHER_ROOT), Checked(request, OTHER_ROOT, 1))
            bench.tell(link, Hinted(request, OTHER_ROOT, 1, (), False))
        assert bench.closed(link) is None
        assert bench.said(link) == []


def test_tree_nodes_that_were_not_asked_for_are_a_violation() -> None:
    for told in (((3,),), ((), ())):
        bench, link = leading()
        hints = open_session(bench, link)
        bench.tell(link, Hinted(hints.request, OTHER_ROOT, 1, (), False))
        (walk,) = bench.said(link, Walk)
        bench.tell(link, Walked(walk.request, tuple(Told(prefix, 0, b"") for prefix in told)))
        assert "not asked for" in (bench.closed(link) or "")


def deep_walk(bench: Bench, link: int, towards: bytes | None, steps: int) -> None:
    """Answer walks as if every node were an inner one whose children all differ; ``towards`` narrows it to one way."""
    hints = open_session(bench, link)
    bench.tell(link, Hinted(hints.request, OTHER_ROOT, 1, (), False))
    for _ in range(steps):
        walks = bench.said(link, Walk)
        if not walks:
            return
        (walk,) = walks
        nodes = []
        for prefix, _ in walk.nodes:
            hashes = [b"%02d" % nibble * 8 for nibble in range(FANOUT)]
            if towards is not None:
                tree = bench.node.replica.live.tree
                way = [nibble for byte in towards for nibble in (byte >> 4, byte & 15)]
                hashes = tree.row(prefix, 1) if len(prefix) < 64 else hashes
                hashes[way[min(len(prefix), 63)]] = b"a different hash"
            nodes.append(Told(prefix, 1, b"".join(digest[: walk.width] for digest in hashes)))
        bench.tell(link, Walked(walk.request, tuple(nodes)))


def test_a_tree_deeper_than_an_id_is_a_violation() -> None:
    """Led along an item that is really here, down to its last nibble and beyond."""
    bench, link = leading()
    (item, *_) = bench.node.replica.live.tree.items()
    deep_walk(bench, link, item, DEPTH_MAX + 2)
    assert bench.closed(link) is not None


def test_a_tree_without_end_is_a_violation() -> None:
    """A peer that answers every tree node with sixteen more fills no memory."""
    bench, link = leading()
    deep_walk(bench, link, None, DEPTH_MAX + 2)
    assert bench.closed(link) is not None


# -- answering ------------------------------------------------------------------------------------


def test_who_asks_for_one_entry_gets_all_that_lives_of_its_change() -> None:
    bench, link = answering()
    entries = [Entry(f"large/{number:04d}", bytes(1_000)) for number in range(3_000)]
    large = signed(entries, "alice")
    bench.node.replica.receive(large, None)
    bench.tell(link, Want(1, (large.version_id(7)[:16],), SYNC_BUDGET_BYTES))
    batch, given = bench.said(link)
    assert batch == Batch((large.encode(),)), "whole, though it is three times the budget"
    assert given == Given(1, bench.node.root)


def test_a_large_change_is_given_once_and_whole() -> None:
    """Its items are asked for, and owed, by the thousand; it is one change all the same."""
    for giver in ("a", "b"):
        world = pair()
        entries = [Entry(f"large/{number:04d}", b"x") for number in range(3 * WANTED_ITEMS_MAX)]
        large = signed(entries, "alice")
        world.inject(giver, large)
        for name in ("a", "b"):  # so that the frontiers name the writer, and only the walk finds what is missing
            world.inject(name, signed([Entry("later", b"x")], "alice", seq=2))
        batches = [one.message for one in join(world) if isinstance(one.message, Batch)]
        assert [data for batch in batches for data in batch.changes] == [large.encode()]


def test_a_large_change_that_names_a_slot_again_and_again_is_given_in_the_end() -> None:
    """Its entries travel one by one, and three of them fill a budget."""
    for giver in ("a", "b"):
        world = pair()
        many = signed([Entry("one", b"%d" % number + bytes(300_000)) for number in range(6)], "alice")
        for index in range(6):
            world.inject(giver, many.restrict((index,)))
        for name in ("a", "b"):
            world.inject(name, signed([Entry("later", b"x")], "alice", seq=2))
        join(world, 60.0)
        sent_bytes = sum(one.bytes for one in world.sent)
        assert world.converged()
        assert sent_bytes < 1.1 * 6 * 300_000


def test_the_follower_answers_every_question_and_keeps_no_state() -> None:
    bench, link = answering()
    root = bench.node.root
    bench.tell(link, Hints(5, OTHER_ROOT, 0, (b"", ()), True, 10_000))
    batch, hinted = bench.said(link)
    assert batch == Batch(tuple(one.encode() for one in bench.cluster.policies)), "the policy, and that once"
    assert hinted == Hinted(5, root, 1, (), False)
    bench.tell(link, Hints(6, root, 1, (b"", ()), True, 1_000), Check(7))
    bench.tell(link, Walk(8, 5, 1, (((), bytes(5)),)), Walk(9, 5, 1, (((), root[:5]),)))
    bench.tell(link, Want(10, (bytes(16),), 1_000), WantPolicies(1), WantPolicies(0))
    same, checked, walked, unwalked, given, policies = bench.said(link)
    assert same == Hinted(6, root, 1, (), False)
    assert checked == Checked(7, root, 1)
    assert walked == Walked(8, (Told((), 0, b"".join(one[:5] for one in bench.node.replica.live.tree.items())),))
    assert unwalked == Walked(9, ())
    assert given == Given(10, root)
    assert policies == Batch(tuple(one.encode() for one in bench.cluster.policies))
    assert bench.node.sync.is_idle


def test_a_budget_is_kept_and_one_change_always_comes() -> None:
    bench, link = answering()
    for one in large(10, 1_000):
        bench.tell(link, Batch((one.encode(),)))
    bench.said(link)
    for budget, expected in ((0, 1), (5_000, 4)):
        bench.tell(link, Hints(1, OTHER_ROOT, 1, (b"", ()), True, budget))
        *batches, hinted = bench.said(link)
        assert hinted.more
        assert sum(len(batch.changes) for batch in batches) == expected


def test_incomplete_hints_are_not_answered_with_writers_that_were_left_out() -> None:
    bench, link = answering()
    bench.tell(link, Batch((change(key="old", incarnation=b"left out").encode(),)))
    bench.said(link)
    bench.tell(link, Hints(1, OTHER_ROOT, 1, (b"w" * 8, (3,)), False, 1_000))
    (hinted,) = bench.said(link)
    assert hinted.lacks == ((0, 3),)


def test_invalid_changes_in_a_batch_are_counted_and_close_the_link() -> None:
    bench, link = answering()
    forged = [change(by="mallory", seq=seq).encode() for seq in range(1, FAULTS_MAX + 5)]
    bench.tell(link, Batch((*forged[:2], change(key="good").encode())))
    assert bench.node.replica.live.slot(("good", "")), "the rest of the batch is taken"
    assert bench.closed(link) is None
    bench.tell(link, Batch(tuple(forged)))
    assert "8 invalid messages" in (bench.closed(link) or "")
    assert len(bench.events(ChangeRejected)) == FAULTS_MAX


def test_a_batch_before_its_policy_asks_for_it() -> None:
    bench, link = answering()
    late = of_policy_2()
    bench.tell(link, Batch((late.encode(),)))
    assert bench.said(link) == [WantPolicies(1)]
    assert bench.events(ChangeRejected) == []
    bench.tell(link, Batch((second_policy().encode(), late.encode())))
    assert bench.node.replica.live.slot(("zoo/x", ""))


def test_pushes_do_not_keep_a_silent_session_open() -> None:
    bench, link = leading()
    open_session(bench, link)
    for seq in range(1, 12):
        bench.tell(link, Push(1, 0, 0, change(str(seq), f"k{seq}", seq=seq).encode()))
        bench.wait(1.0)
    assert [one.reason for one in bench.events(Synced)] == ["no answer within 10 s"]


def test_an_old_inequality_does_not_use_up_the_patience_for_a_new_one() -> None:
    """A follower that has become equal says nothing, so the leader must not count from the last time it differed."""
    bench, link = leading()
    bench.tell(link, Root(bench.node.root, 1))
    for seq in (1, 2):
        bench.tell(link, Push(1, 0, 0, change(str(seq), f"k{seq}", seq=seq).encode()))
        bench.tell(link, Root(OTHER_ROOT, 1))
        assert bench.said(link, Hints) == [], "a push may be in flight"
        bench.wait(IN_FLIGHT_S + 0.01)
        assert len(bench.said(link, Root)) == 1
        for _ in range(4):
            bench.wait(PATIENCE_S)
            bench.tell(link, Ping(1))
        bench.said(link, Root)  # the regular ones of this time
    assert bench.events(Synced) == []
