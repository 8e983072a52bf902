"""Presence: who is told of whom, which record is the newer, and how often a node speaks."""

from __future__ import annotations

import dataclasses
from itertools import pairwise, permutations

import pytest

from gossipconf.protocol.events import DuplicateNode
from gossipconf.protocol.messages import PRESENCES_MAX, Ping, Presence, Push, Roster
from gossipconf.protocol.presence import (
    CLOCK_SKEW_MAX_MS,
    FORGET_S,
    MEMBERS_MAX,
    RELAY_S,
    SETTLE_S,
    SILENT_S,
    TELL_MIN_S,
    TELL_S,
    decode_saved_members,
)
from tests.protocol.wire import Bench, Tapped, change


def record(name: str, **fields: object) -> Presence:
    known = Presence(
        node_id=name,
        boot=b"12345678",
        started_ms=1_000,
        count=1,
        zone="eu/a",
        address=f"{name}:1",
        root=bytes(16),
        policy=1,
        versions=1,
        degraded=False,
    )
    return dataclasses.replace(known, **fields)  # type: ignore[arg-type]


def between() -> tuple[Bench, int, int]:
    """A node between two scripted peers, at rest."""
    bench = Bench()
    links = bench.connect("a"), bench.connect("z")
    for link in links:
        bench.said(link)
    return bench, *links


def names(bench: Bench) -> list[str]:
    return [member.presence.node_id for member in bench.node.members()]


def rosters(bench: Bench, link: int) -> list[Presence]:
    return [presence for roster in bench.said(link, Roster) for presence in roster.presences]


def passed_on(bench: Bench, link: int) -> list[Presence]:
    """The records told on ``link`` once what is fresh has been passed on."""
    bench.wait(RELAY_S)
    return rosters(bench, link)


# -- spreading ------------------------------------------------------------------------------------


def test_in_a_line_everybody_hears_of_everybody() -> None:
    hosts = [f"n{number}" for number in range(6)]
    world = Tapped(*hosts, dials=False)
    for one, other in pairwise(hosts):
        world.wire(one, other)
    world.run(1.0)
    for host in hosts:
        assert [member.presence.node_id for member in world.node(host).members()] == [
            one for one in hosts if one != host
        ]
        assert len(world.node(host).presence) == len(hosts)


def test_a_new_root_is_known_to_all_soon_after_a_change() -> None:
    world = Tapped("a", "b", "c", dials=False)
    world.wire("a", "b")
    world.wire("b", "c")
    world.run(2.0)
    world.publish_value("c", "k", "1")
    world.run(SETTLE_S + TELL_MIN_S + 0.1)
    members = world.node("a").members()
    assert {member.presence.root for member in members} == {world.node("a").root}
    assert all(member.presence.versions == 2 for member in members)


def test_news_is_passed_on_once_and_not_back() -> None:
    bench, source, other = between()
    bench.tell(source, Roster((record("x"), record("y"))))
    assert passed_on(bench, other) == [record("x"), record("y")]
    bench.wait(TELL_MIN_S)
    bench.said(source), bench.said(other)
    bench.tell(other, Roster((record("x"), record("y", count=2))))
    assert passed_on(bench, source) == [record("y", count=2)]
    bench.tell(source, Roster((record("x"),)))
    assert (passed_on(bench, source), passed_on(bench, other)) == ([], [])


def test_a_new_peer_is_told_everything_in_pieces() -> None:
    bench, source, _ = between()
    for number in range(PRESENCES_MAX):
        bench.tell(source, Roster((record(f"x{number:03d}"),)))
    link = bench.connect("late")
    told = bench.said(link, Roster)
    assert [len(roster.presences) for roster in told] == [PRESENCES_MAX, 1]
    assert told[0].presences[0].node_id == "m", "oneself first"


def test_a_member_tells_what_it_holds() -> None:
    bench, source, _ = between()
    bench.tell(source, Push(1, 0, 0, change().encode()))
    own = bench.node.presence.own()
    assert (own.root, own.policy, own.versions, own.degraded) == (bench.node.root, 1, 2, False)


def test_addresses_in_hearsay_are_not_dialled() -> None:
    """Presence is not signed: whoever invents members must not make a whole cluster dial third parties."""
    bench, source, _ = between()
    bench.tell(source, Roster((record("x"),)))
    bench.wait(1.0)
    assert "x:1" not in bench.dialled()


# -- which record counts --------------------------------------------------------------------------


def test_of_the_records_of_a_node_the_newest_counts_in_any_order() -> None:
    ordered = [
        record("x", started_ms=1_000, boot=b"zzzzzzzz", count=9),
        record("x", started_ms=2_000, boot=b"aaaaaaaa", count=1),
        record("x", started_ms=2_000, boot=b"aaaaaaaa", count=2),
        record("x", started_ms=2_000, boot=b"bbbbbbbb", count=1),
    ]
    for order in permutations(ordered):
        bench, source, _ = between()
        for presence in order:
            bench.tell(source, Roster((presence,)))
        assert [member.presence for member in bench.node.members()] == [ordered[-1]]


def test_a_restarted_node_replaces_its_old_record() -> None:
    world = Tapped("a", "b", dials=False)
    world.wire("a", "b")
    world.run(30.0)
    before = world.node("a").members()[0].presence
    world.crash("b")
    world.run(1.0)
    world.start("b")
    world.wire("a", "b")
    world.run(1.0)
    after = world.node("a").members()[0].presence
    assert after.boot != before.boot
    assert after.started_ms > before.started_ms
    assert after.count < before.count


def test_ones_own_name_in_the_mouth_of_others() -> None:
    bench, source, other = between()
    own = bench.node.presence.own()
    bench.tell(source, Roster((own, dataclasses.replace(own, count=own.count + 5))))
    earlier = dataclasses.replace(own, boot=b"previous", started_ms=own.started_ms - 1)
    bench.tell(source, Roster((earlier,)))
    assert bench.events(DuplicateNode) == [], "an echo of oneself, or of the time before a restart"
    bench.tell(
        source, Roster((dataclasses.replace(own, boot=b"namesake", started_ms=own.started_ms + 1, address="n:1"),))
    )
    assert bench.events(DuplicateNode) == [DuplicateNode("n:1")]
    assert passed_on(bench, other) == []
    assert "m" not in names(bench)


# -- time -----------------------------------------------------------------------------------------


def test_members_fall_silent_and_are_listed_for_a_day() -> None:
    bench, source, _ = between()
    bench.tell(source, Roster((record("x"),)))
    bench.wait(SILENT_S + 0.1)
    (member,) = bench.node.members()
    assert bench.now_s - member.heard_s > SILENT_S
    bench.wait(FORGET_S - SILENT_S - 1.0)
    assert names(bench) == ["x"]
    bench.wait(2 * TELL_S)
    assert names(bench) == []


def test_a_repeated_record_is_no_sign_of_life() -> None:
    bench, source, _ = between()
    bench.tell(source, Roster((record("x"),)))
    bench.wait(5.0)
    bench.tell(source, Roster((record("x"),)))
    (member,) = bench.node.members()
    assert member.heard_s == 0.0
    bench.tell(source, Roster((record("x", count=2),)))
    assert member.heard_s == 5.0


def test_when_a_member_was_last_equal_is_noted() -> None:
    bench, source, _ = between()
    bench.tell(source, Roster((record("x", root=bench.node.root),)))
    bench.wait(5.0)
    bench.tell(source, Push(1, 0, 0, change().encode()))
    bench.tell(source, Roster((record("x", count=2),)))
    (member,) = bench.node.members()
    assert member.equal_s == 0.0
    bench.wait(1.0)
    bench.tell(source, Roster((record("x", count=3, root=bench.node.root),)))
    assert member.equal_s == 6.0


def told_at(bench: Bench, link: int, duration_s: float, publishes_every_s: float | None) -> list[float]:
    """When the node has told of itself."""
    told = []
    steps = int(duration_s / 0.05)
    for step in range(steps):
        if publishes_every_s is not None and step % max(1, int(publishes_every_s / 0.05)) == 0:
            bench.tell(link, Push(1, 0, 0, change(str(step), f"k{step % 3}", seq=step + 1).encode()))
        bench.tell(link, Roster(()))
        bench.wait(0.05)
        told += [bench.now_s for presence in rosters(bench, link) if presence.node_id == "m"]
    return told


def test_a_quiet_node_tells_of_itself_now_and_then() -> None:
    bench, source, _ = between()
    bench.wait(1.0)  # the first root is settled
    bench.said(source)
    told = told_at(bench, source, 100.0, None)
    assert 100 / (1.25 * TELL_S) - 1 <= len(told) <= 100 / (0.75 * TELL_S) + 1


def test_under_steady_publishing_it_tells_at_most_once_a_second() -> None:
    bench, source, _ = between()
    told = told_at(bench, source, 30.0, 0.1)
    assert len(told) >= 30 / (TELL_MIN_S + SETTLE_S) - 2
    assert all(later - earlier >= TELL_MIN_S - 0.1 for earlier, later in pairwise(told[1:]))


def test_a_burst_is_told_once() -> None:
    bench, source, other = between()
    bench.wait(2.0)
    bench.said(other)
    for seq in range(1, 20):
        bench.tell(source, Push(1, 0, 0, change(key=f"k{seq}", seq=seq).encode()))
    bench.wait(SETTLE_S + 0.01)
    told = [presence for presence in rosters(bench, other) if presence.node_id == "m"]
    assert [presence.root for presence in told] == [bench.node.root]


# -- bounds ---------------------------------------------------------------------------------------


def crowd() -> tuple[Bench, int, int]:
    """A node between two scripted peers that has just heard of one member too many."""
    bench, source, other = between()
    for number in range(MEMBERS_MAX):
        assert not bench.node.presence.is_crowded
        bench.tell(source, Roster((record(f"x{number:02d}"),)))
    assert bench.node.presence.is_crowded
    assert len(passed_on(bench, other)) == MEMBERS_MAX, "the last one too: the neighbours are to know as well"
    return bench, source, other


def test_of_too_many_members_none_is_passed_on_and_only_neighbours_are_new() -> None:
    bench, source, other = crowd()
    bench.tell(source, Roster((record("y"), record("x01", count=2), record("a"))))
    assert passed_on(bench, other) == []
    assert names(bench) == ["a", *(f"x{number:02d}" for number in range(MEMBERS_MAX))]


def test_of_too_many_members_each_tells_only_now_and_then() -> None:
    bench, source, _ = crowd()
    told = told_at(bench, source, 100.0, 0.5)
    assert 100 / (1.25 * TELL_S) - 1 <= len(told) <= 100 / (0.75 * TELL_S) + 1


def test_of_too_many_members_nobody_is_called_silent() -> None:
    """Nobody passes on what they say of themselves: their silence means nothing."""
    bench, source, _ = crowd()
    for said in (Ping(1), Roster((record("a"),)), Ping(2), Ping(3)):
        bench.wait(SILENT_S / 4 + 0.1)
        bench.tell(source, said)
    assert names(bench) == ["a"]
    assert bench.node.presence.is_crowded, "it has known of too many today"
    bench.wait(FORGET_S + 2 * TELL_S)
    assert not bench.node.presence.is_crowded
    assert names(bench) == []


def test_of_too_many_members_those_heard_of_last_are_kept() -> None:
    bench, source, _ = crowd()
    bench.wait(1.0)
    bench.tell(source, Roster((record("a"),)))
    assert len(bench.node.presence) == MEMBERS_MAX + 2
    bench.wait(2 * TELL_S)
    assert len(bench.node.presence) == MEMBERS_MAX + 1
    assert "a" in names(bench)


def test_a_newcomer_learns_at_once_that_there_are_too_many() -> None:
    bench, _, _ = crowd()
    newcomer = Bench("late")
    link = newcomer.connect("m")
    newcomer.tell(link, *bench.said(bench.connect("late"), Roster))
    assert newcomer.node.presence.is_crowded


def test_an_empty_roster_is_no_harm() -> None:
    bench, source, other = between()
    bench.tell(source, Roster(()))
    assert (bench.closed(source), passed_on(bench, other)) == (None, [])


def test_what_comes_within_a_moment_is_passed_on_together() -> None:
    bench, source, other = between()
    bench.said(other)
    bench.tell(source, Roster((record("x"),)))
    bench.wait(RELAY_S / 2)
    bench.tell(other, Roster((record("y"),)))
    bench.tell(source, Roster((record("z"),)))
    bench.wait(RELAY_S / 2)
    for link in (source, other):
        (roster,) = bench.said(link, Roster)
        assert [one.node_id for one in roster.presences] == ["x", "y", "z"]


def test_who_makes_news_of_others_without_end_is_passed_on_once_a_second() -> None:
    bench, liar, other = between()
    for count in range(100):
        bench.tell(liar, Roster((record("x", count=count),)))
        bench.wait(0.03)
    bench.wait(TELL_MIN_S)
    told = [one.count for one in rosters(bench, other) if one.node_id == "x"]
    assert len(told) <= 5, "of a hundred in three seconds"
    assert told[-1] == 99, "and the last of them is not lost"


def test_hearsay_about_who_is_linked_is_not_heard() -> None:
    bench, liar, _ = between()
    bench.connect("z")
    bench.tell(bench._last_link, Roster((record("z", count=1),)))
    bench.tell(liar, Roster((record("z", count=9, stopped=True),)))
    (member,) = [one for one in bench.node.members() if one.presence.node_id == "z"]
    assert not member.presence.stopped
    bench.lose(bench._last_link)
    bench.tell(liar, Roster((record("z", count=9, stopped=True),)))
    (member,) = [one for one in bench.node.members() if one.presence.node_id == "z"]
    assert member.presence.stopped


def test_what_a_node_says_of_itself_prevails_over_hearsay() -> None:
    """A liar that invents a later start for its victim is believed only where the victim is not heard itself."""
    bench, liar, victim = between()
    tomorrow_ms = bench.now().wall_ms + CLOCK_SKEW_MAX_MS
    bench.tell(liar, Roster((record("z", started_ms=tomorrow_ms + 1),)))
    assert bench.node.members() == []
    invented = record("z", started_ms=tomorrow_ms, count=2**50)
    bench.tell(liar, Roster((invented,)))
    assert bench.node.members()[-1].presence == invented
    true = record("z", started_ms=5)
    bench.tell(victim, Roster((true,)))
    assert bench.node.members()[-1].presence == true
    assert true not in passed_on(bench, liar)  # elsewhere it would not count as news


# -- who is gone ----------------------------------------------------------------------------------


def test_a_record_that_is_passed_on_keeps_its_age() -> None:
    bench, source, other = between()
    bench.tell(source, Roster((record("x", age_s=20),)))
    (member,) = [one for one in bench.node.members() if one.presence.node_id == "x"]
    assert bench.now().monotonic_s - member.heard_s == 20
    (relayed,) = [one for one in passed_on(bench, other) if one.node_id == "x"]
    assert relayed.age_s == 20


def test_who_stops_says_so_to_all() -> None:
    world = Tapped("a", "b", "c", dials=False)
    world.wire("a", "b")
    world.wire("b", "c")
    world.run(2.0)
    stopping = world.hosts["c"]
    assert stopping.node is not None
    stopping.node.stop(world._clock(stopping))
    world._settle(stopping)
    world.run(1.0)
    told = {one.presence.node_id: one.presence.stopped for one in world.node("a").members()}
    assert told == {"b": False, "c": True}


def test_a_node_that_restarts_alone_knows_who_is_missing() -> None:
    world = Tapped("a", "b", "c", dials=False)
    world.wire("a", "b")
    world.wire("b", "c")
    world.run(2 * TELL_S)
    for name in ("a", "b", "c"):
        world.crash(name)
    world.start("a")
    members = world.node("a").members()
    assert [(one.presence.node_id, one.remembered) for one in members] == [("b", True), ("c", True)]
    world.start("c")
    world.wire("a", "c")
    world.run(1.0)
    assert [one.remembered for one in world.node("a").members()] == [True, False]


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"\x91\x01", b"\xa1x"])
def test_saved_members_that_cannot_be_read_are_none(data: bytes | None) -> None:
    assert decode_saved_members(data) == ()
