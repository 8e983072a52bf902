"""Presence: who is listed, which record is the newer, who is missed, and what telling costs."""

from __future__ import annotations

import dataclasses
from itertools import combinations, pairwise, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.protocol.comparison import COMPARE_S, SHOW_S
from gossipconf.protocol.events import DuplicateNode
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import (
    BUCKET_DIGEST_BYTES,
    PRESENCES_MAX,
    ROSTER_BUCKETS,
    Goodbye,
    Ping,
    Push,
    Root,
    Roster,
    RosterDigest,
    RosterItems,
    Signs,
)
from gossipconf.protocol.node import Restored
from gossipconf.protocol.presence import (
    CLOCK_SKEW_MAX_MS,
    CROWD_S,
    REFUTE_MIN_S,
    SAVE_S,
    SAVED_MEMBERS,
    SHOW_ROOT_MIN_S,
    SHOW_ROOT_S,
    TELL_MIN_S,
    TIDY_S,
)
from gossipconf.protocol.relay import BEAT_RELAY_S, RELAY_S
from gossipconf.protocol.roster import CROWD_KEPT_MAX, MEMBERS_MAX, UNCONFIRMED_MAX, SavedMembers
from gossipconf.protocol.sighting import AGE_S_MAX, Beat, Beats, Presence, Sighting, Suspicion
from gossipconf.protocol.standing import State
from gossipconf.protocol.suspicion import FORGET_S, beat_s, hearsay_s, pause_s, silence_s, suspicion_s
from gossipconf.protocol.tuning import LAN
from gossipconf_sim.network.cut import Cut
from gossipconf_sim.world.world import World
from tests.protocol.wire import Bench, Tapped, change
from tests.strategies import NOW_MS, cluster

JITTER = 1.25
"""The longest that a jittered pause can be, by its length."""
ROSTER_MESSAGES = (Roster, Signs, RosterDigest, RosterItems)


def record(name: str, **fields: object) -> Presence:
    known = Presence(
        node_id=name,
        boot=b"12345678",
        started_ms=NOW_MS - 1_000_000,
        count=1,
        zone="eu/a",
        address=f"{name}:1",
        root=bytes(16),
        policy=1,
        versions=1,
        degraded=False,
    )
    return dataclasses.replace(known, **fields)  # type: ignore[arg-type]


def told(*presences: Presence, age_s: int = 0, news: bool = True) -> Roster:
    return Roster(tuple(Sighting(one, age_s) for one in presences), news)


def suspected(presence: Presence, age_s: int = 0) -> Signs:
    return Signs((), (Suspicion(presence.tag, age_s),))


def alive(presence: Presence, number: int, *, age_s: int = 0, root: bytes = bytes(16)) -> Signs:
    return Signs((Beats(root, (Beat(presence.tag, number, age_s),)),), ())


def between() -> tuple[Bench, int, int]:
    """A node between two scripted peers, at rest."""
    bench = Bench()
    links = bench.connect("a"), bench.connect("z")
    for link in links:
        bench.said(link)
    return bench, *links


def hold(bench: Bench, *links: int, duration_s: float) -> None:
    """Let time pass while the peers keep their links."""
    end_s = bench.now_s + duration_s
    while bench.now_s < end_s:
        bench.wait(min(LAN.keepalive_s, end_s - bench.now_s))
        for link in links:
            bench.tell(link, Ping(1))


def names(bench: Bench) -> list[str]:
    return [member.name for member in bench.node.members()]


def state(bench: Bench, name: str) -> State:
    (member,) = [one for one in bench.node.members() if one.name == name]
    return bench.node.presence.standing(member, bench.now_s).state


def rosters(bench: Bench, link: int) -> list[Presence]:
    return [one.presence for roster in bench.said(link, Roster) for one in roster.sightings]


def passed_on(bench: Bench, link: int) -> list[Presence]:
    """The records told on ``link`` once what is fresh has been passed on."""
    bench.wait(JITTER * RELAY_S)
    return rosters(bench, link)


def suspicions(bench: Bench, link: int) -> list[bytes]:
    return [one.tag for signs in bench.said(link, Signs) for one in signs.suspicions]


def given_signs(bench: Bench, link: int) -> list[Beat]:
    """Signs of life told on ``link``; not those that only show a state."""
    return [beat for signs in bench.said(link, Signs) for beats in signs.beats for beat in beats.beats if beat.number]


def line(*hosts: str) -> Tapped:
    world = Tapped(*hosts, dials=False)
    for one, other in pairwise(hosts):
        world.wire(one, other)
    return world


def seen_by(world: Tapped, host: str) -> dict[str, str]:
    """How the members stand for a host, by name."""
    board = world.node(host).presence
    now_s = world._clock(world.hosts[host]).monotonic_s
    return {one.name: str(board.standing(one, now_s).state) for one in board.members()}


def bytes_of_presence(world: Tapped, since_s: float) -> int:
    return sum(one.bytes for one in world.since(since_s, *ROSTER_MESSAGES))


# -- who is listed --------------------------------------------------------------------------------


def test_in_a_line_everybody_hears_of_everybody() -> None:
    hosts = [f"n{number}" for number in range(6)]
    world = line(*hosts)
    world.run(3.0)
    for host in hosts:
        assert seen_by(world, host) == dict.fromkeys([one for one in hosts if one != host], "equal")
        assert len(world.node(host).presence) == len(hosts)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 12), st.randoms(use_true_random=False), st.integers(0, 99))
def test_whatever_the_links_and_starts_all_that_are_connected_list_each_other(
    count: int, rng: Random, seed: int
) -> None:
    hosts = [f"n{number:02}" for number in range(count)]
    world = Tapped(seed=seed, dials=False)
    for host in hosts:
        world.add(host, (), start=False)
    for number, host in enumerate(hosts):
        world.start(host)
        if number:
            world.wire(host, rng.choice(hosts[:number]))
        world.run(rng.choice([0.0, 0.01, 0.3, 2.0]))
    world.run(2 * JITTER * COMPARE_S)
    assert len({world.node(host).presence._roster.digest for host in hosts}) == 1
    for host in hosts:
        assert seen_by(world, host) == dict.fromkeys([one for one in hosts if one != host], "equal")


def test_news_is_passed_on_once_and_not_back() -> None:
    bench, source, other = between()
    bench.tell(source, told(record("x"), record("y")))
    assert passed_on(bench, other) == [record("x"), record("y")]
    bench.wait(TELL_MIN_S)
    bench.said(source), bench.said(other)
    bench.tell(other, told(record("x"), record("y", count=2)))
    assert passed_on(bench, source) == [record("y", count=2)]
    bench.tell(source, told(record("x")))
    assert (passed_on(bench, source), passed_on(bench, other)) == ([], [])


def test_what_has_come_over_two_links_goes_back_over_neither() -> None:
    bench, source, other = between()
    third = bench.connect("third")
    bench.said(third)
    bench.tell(source, told(record("x")))
    bench.tell(other, told(record("x")))
    bench.wait(JITTER * RELAY_S)
    assert [rosters(bench, link) for link in (source, other, third)] == [[], [], [record("x")]]


def test_what_comes_within_a_moment_is_passed_on_together() -> None:
    bench, source, other = between()
    third = bench.connect("third")
    bench.said(third)
    bench.tell(source, told(record("x")))
    bench.wait(0.5 * RELAY_S)
    bench.tell(other, told(record("y")))
    bench.wait(RELAY_S)
    (roster,) = bench.said(third, Roster)
    assert [one.presence.node_id for one in roster.sightings] == ["x", "y"]


def test_what_a_comparison_brings_is_not_passed_on_but_shown() -> None:
    bench, source, other = between()
    bench.tell(source, told(record("x"), news=False))
    bench.wait(JITTER * SHOW_S)
    assert rosters(bench, other) == []
    assert [one.digest for one in bench.said(other, RosterDigest)] == [bench.node.presence._roster.digest]


def test_addresses_in_hearsay_are_not_dialled() -> None:
    """Presence is not signed: whoever invents members must not make a whole cluster dial third parties."""
    bench, source, _ = between()
    bench.tell(source, told(record("x")))
    bench.wait(1.0)
    assert "x:1" not in bench.dialled()


def test_labels_are_told() -> None:
    bench, source, other = between()
    labelled = record("x", labels=(("release", "7"), ("service", "shop")))
    bench.tell(source, told(labelled))
    assert passed_on(bench, other) == [labelled]
    assert bench.node.members()[0].presence.labels == (("release", "7"), ("service", "shop"))


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
            bench.tell(source, told(presence))
        assert [member.presence for member in bench.node.members()] == [ordered[-1]]


def test_a_restarted_node_replaces_its_old_record() -> None:
    world = line("a", "b")
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


def test_ones_own_name_in_the_mouth_of_others() -> None:
    bench, source, other = between()
    own = bench.node.presence.own()
    earlier = dataclasses.replace(own, boot=b"previous", started_ms=own.started_ms - 1)
    bench.tell(source, told(own, earlier))
    assert bench.events(DuplicateNode) == [], "an echo of oneself, or of the time before a restart"
    namesake = dataclasses.replace(own, boot=b"namesake", started_ms=own.started_ms + 1, address="n:1")
    bench.tell(source, told(namesake))
    assert bench.events(DuplicateNode) == [DuplicateNode("n:1")]
    assert passed_on(bench, other) == []
    assert "m" not in names(bench)


def test_a_record_of_too_many_tellings_is_no_record() -> None:
    """It would outrank all that the node itself can ever say."""
    bench, source, _ = between()
    started_ms = NOW_MS - 10_000
    possible = 1 + (CLOCK_SKEW_MAX_MS + 10_000) // 1000
    bench.tell(source, told(record("x", started_ms=started_ms, count=possible + 1)))
    assert names(bench) == []
    bench.tell(source, told(record("x", started_ms=started_ms, count=possible)))
    assert names(bench) == ["x"]
    own = bench.node.presence.own()
    bench.tell(source, told(dataclasses.replace(own, count=2**62)))
    bench.wait(2 * REFUTE_MIN_S)
    assert bench.node.presence.own().count == own.count


def test_who_makes_news_of_others_without_end_is_passed_on_once_a_second() -> None:
    bench, liar, other = between()
    for count in range(1, 101):
        bench.tell(liar, told(record("x", count=count)))
        bench.wait(0.03)
    bench.wait(JITTER * TELL_MIN_S)
    counts = [one.count for one in rosters(bench, other) if one.node_id == "x"]
    assert len(counts) <= 5, "of a hundred in three seconds"
    assert counts[-1] == 100, "and the last of them is not lost"


def test_hearsay_about_who_is_linked_is_not_believed_and_comes_to_its_ears() -> None:
    bench, liar, victim = between()
    true, slander = record("z"), record("z", count=9, stopped=True)
    bench.tell(victim, told(true))
    bench.said(victim)
    bench.tell(liar, told(slander))
    assert state(bench, "z") is State.DIFFERS
    assert rosters(bench, victim) == [slander]
    assert slander not in passed_on(bench, liar)
    bench.lose(victim)
    bench.tell(liar, told(slander))
    assert state(bench, "z") is State.STOPPED


def test_what_a_node_says_of_itself_prevails_over_hearsay() -> None:
    """A liar that invents a later start for its victim is believed only where the victim is not heard itself."""
    bench = Bench()
    liar = bench.connect("a")
    tomorrow_ms = bench.now().wall_ms + CLOCK_SKEW_MAX_MS
    bench.tell(liar, told(record("z", started_ms=tomorrow_ms + 1)))
    assert bench.node.members() == []
    invented = record("z", started_ms=tomorrow_ms, count=1)
    bench.tell(liar, told(invented))
    assert bench.node.members()[-1].presence == invented
    victim = bench.connect("z")
    true = record("z", started_ms=5)
    bench.tell(victim, told(true))
    assert bench.node.members()[-1].presence == true
    assert true not in passed_on(bench, liar), "elsewhere it would not count as news"


def test_who_is_spoken_of_falsely_says_what_is_true_with_a_higher_number() -> None:
    bench, liar, other = between()
    hold(bench, liar, other, duration_s=2 * TELL_MIN_S)
    own = bench.node.presence.own()
    bench.tell(liar, told(dataclasses.replace(own, count=own.count + 7, stopped=True)))
    bench.wait(JITTER * RELAY_S)
    for link in (liar, other):
        (refuted,) = rosters(bench, link)
        assert (refuted.node_id, refuted.stopped) == ("m", False)
        assert refuted.count > own.count + 7


def test_slander_without_end_is_refuted_now_and_then() -> None:
    bench, liar, other = between()
    for _ in range(100):
        bench.tell(liar, suspected(bench.node.presence._roster.own))
        bench.wait(0.1)
        bench.tell(other, Ping(1))
    assert 10 / REFUTE_MIN_S - 1 <= len(rosters(bench, other)) <= 10 / REFUTE_MIN_S + 1


# -- states ---------------------------------------------------------------------------------------


def test_a_state_that_was_told_before_the_last_change_is_not_known() -> None:
    bench, source, _ = between()
    before = bench.node.root
    bench.tell(source, told(record("x", root=before), record("y")))
    assert (state(bench, "x"), state(bench, "y")) == (State.EQUAL, State.DIFFERS)
    bench.wait(1.0)
    bench.tell(source, Push(1, 0, 0, change().encode()))
    assert (state(bench, "x"), state(bench, "y")) == (State.UNKNOWN, State.UNKNOWN)
    bench.wait(4.0)
    bench.tell(source, alive(record("x", root=before), 1, root=before))
    bench.tell(source, alive(record("y"), 1, root=bench.node.root))
    assert (state(bench, "x"), state(bench, "y")) == (State.DIFFERS, State.EQUAL)
    lags = [bench.node.presence.standing(one, bench.now_s).lag_s for one in bench.node.members()]
    assert lags == [4.0, None]


def test_a_neighbours_state_is_known_from_sync() -> None:
    bench, source, _ = between()
    bench.tell(source, told(record("a")))
    assert state(bench, "a") is State.DIFFERS
    bench.tell(source, Root(bench.node.root, 1))
    assert state(bench, "a") is State.EQUAL


def test_neighbours_are_shown_a_new_state_soon_and_a_burst_of_them_once() -> None:
    bench, source, other = between()
    bench.wait(JITTER * SHOW_ROOT_S)
    bench.said(source), bench.said(other)
    for seq in range(1, 20):
        bench.tell(source, Push(1, 0, 0, change(key=f"k{seq}", seq=seq).encode()))
        bench.wait(0.05)
    bench.wait(SHOW_ROOT_MIN_S)
    for link in (source, other):
        shown = [beats.root for signs in bench.said(link, Signs) for beats in signs.beats]
        assert shown == [bench.node.root]


def test_at_rest_all_know_the_state_of_all_as_of_the_last_sign_of_life() -> None:
    hosts = ["a", "b", "c", "d"]
    world = line(*hosts)
    world.run(5.0)
    world.publish_value("d", "k", "1")
    world.run(5.0)
    assert seen_by(world, "a") == {"b": "equal", "c": "unknown", "d": "unknown"}
    world.run(JITTER * (beat_s(len(hosts)) + 3 * BEAT_RELAY_S))
    assert seen_by(world, "a") == {"b": "equal", "c": "equal", "d": "equal"}


# -- who is missed --------------------------------------------------------------------------------


def detection_s(links: int, members: int) -> float:
    """How long after a silent crash everybody knows, over so many links."""
    notice_s = LAN.keepalive_s * LAN.silences_max + 2 * JITTER * LAN.refill_s
    return notice_s + pause_s(0) + links * (JITTER * RELAY_S + 0.1) + suspicion_s(members, 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(4, 12), st.integers(0, 99), st.booleans())
def test_who_crashes_is_silent_everywhere_within_the_bound(count: int, seed: int, silent: bool) -> None:
    hosts = [f"n{number:02}" for number in range(count)]
    world = Tapped(*hosts, seed=seed)
    world.run(20.0)
    dead = Random(seed).choice(hosts)
    world.crash(dead, silent=silent)
    world.run(detection_s(3, count))
    for host in hosts:
        if host != dead:
            expected = {one: "silent" if one == dead else "equal" for one in hosts if one != host}
            assert seen_by(world, host) == expected


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(1, 4))
def test_a_lost_link_makes_nobody_silent_who_has_another(seed: int, losses: int) -> None:
    hosts = ["a", "b", "c", "d", "e"]
    world = Tapped(*hosts, seed=seed, dials=False)
    for one, other in pairwise([*hosts, "a"]):
        world.wire(one, other)
    world.run(3.0)
    rng = Random(seed)
    for _ in range(losses):
        wire = rng.choice(list(world.hosts["c"].links.values()))
        world.network.reset(wire, "broken")
        begin_s = world.now_s
        while world.now_s < begin_s + 2 * suspicion_s(5, 0):
            world.run(0.25)
            for host in hosts:
                assert "silent" not in seen_by(world, host).values()
        world.wire("c", next(name for name in ("b", "d", "a") if not _linked(world, "c", name)))
        world.run(2.0)
    assert all(not member.suspected_s for host in hosts for member in world.node(host).members())


def _linked(world: Tapped, one: str, other: str) -> bool:
    return any(link.node_id == other for link in world.node(one).links())


def test_a_lost_peer_is_suspected_after_a_pause_and_silent_after_the_suspicion() -> None:
    bench, victim, other = between()
    bench.tell(victim, told(record("a", boot=b"a_______")))
    bench.lose(victim)
    bench.wait(0.9 * pause_s(0))
    assert suspicions(bench, other) == []
    bench.wait(0.1 * pause_s(0) + JITTER * RELAY_S)
    assert suspicions(bench, other) == [record("a", boot=b"a_______").tag]
    hold(bench, other, duration_s=suspicion_s(2, 0) - JITTER * RELAY_S - 0.1)
    assert state(bench, "a") is not State.SILENT
    hold(bench, other, duration_s=0.2)
    assert state(bench, "a") is State.SILENT


def test_a_node_in_bad_health_waits_longer() -> None:
    bench, victim, other = between()
    bench.node.overlay.keepalive.health = 2
    bench.tell(victim, told(record("a", boot=b"a_______")))
    bench.lose(victim)
    bench.wait(pause_s(1))
    assert suspicions(bench, other) == []
    bench.wait(pause_s(0) + JITTER * RELAY_S)
    assert len(suspicions(bench, other)) == 1
    hold(bench, other, duration_s=suspicion_s(2, 1))
    assert state(bench, "a") is not State.SILENT
    hold(bench, other, duration_s=suspicion_s(2, 0))
    assert state(bench, "a") is State.SILENT


@pytest.mark.parametrize("goodbye", [0, 1, 2])
def test_who_says_goodbye_is_not_missed(goodbye: int) -> None:
    bench, leaver, other = between()
    bench.tell(leaver, told(record("a", boot=b"a_______")))
    bench.tell(leaver, Goodbye(goodbye, "the view is full"))
    bench.lose(leaver)
    bench.wait(3 * pause_s(0))
    assert suspicions(bench, other) == []


def test_who_comes_back_within_the_pause_is_not_missed() -> None:
    bench, victim, other = between()
    bench.tell(victim, told(record("a", boot=b"a_______")))
    bench.lose(victim)
    bench.wait(0.5 * pause_s(0))
    bench.connect("a")
    bench.wait(3 * pause_s(0))
    assert suspicions(bench, other) == []


def test_a_suspicion_spreads_once_and_ends_with_a_newer_record() -> None:
    bench, source, other = between()
    bench.tell(source, told(record("x")))
    bench.tell(source, suspected(record("x")), suspected(record("x")))
    bench.tell(source, suspected(record("unknown")))
    bench.wait(JITTER * RELAY_S)
    assert suspicions(bench, other) == [record("x").tag]
    hold(bench, source, other, duration_s=suspicion_s(4, 0))
    assert state(bench, "x") is State.SILENT
    bench.tell(source, told(record("x", count=2)))
    assert state(bench, "x") is State.DIFFERS
    bench.tell(source, suspected(record("x")))
    assert state(bench, "x") is State.DIFFERS, "that was about the record before"


def test_a_suspicion_about_a_neighbour_is_told_to_it_alone() -> None:
    bench, source, neighbour = between()
    third = bench.connect("third")
    bench.tell(neighbour, told(record("z")))
    passed_on(bench, third)
    bench.said(neighbour)
    bench.tell(source, suspected(record("z"), 3))
    bench.wait(JITTER * RELAY_S)
    assert suspicions(bench, neighbour) == [record("z").tag]
    assert suspicions(bench, third) == []


def test_a_sign_of_life_ends_a_suspicion_that_is_clearly_older() -> None:
    bench, source, other = between()
    bench.tell(source, told(record("x")))
    hold(bench, source, other, duration_s=30.0)
    bench.tell(source, suspected(record("x")))
    bench.tell(source, alive(record("x"), 1, age_s=5))
    hold(bench, source, other, duration_s=15.0)
    assert state(bench, "x") is State.SILENT, "that sign was given before"
    bench.tell(source, alive(record("x"), 2, age_s=12))
    assert state(bench, "x") is State.SILENT, "ages are rounded on the way"
    bench.tell(source, alive(record("x"), 3, age_s=2))
    assert state(bench, "x") is State.DIFFERS


def test_who_stops_says_so_to_all() -> None:
    world = line("a", "b", "c")
    world.run(2.0)
    world.stop("c")
    world.run(1.0)
    assert seen_by(world, "a") == {"b": "equal", "c": "stopped"}
    world.run(60.0)
    assert seen_by(world, "b") == {"a": "equal", "c": "stopped"}


def test_two_halves_miss_each_other_and_find_each_other_again() -> None:
    hosts = [f"n{number}" for number in range(10)]
    sides = {host: number % 2 for number, host in enumerate(hosts)}
    world = Tapped(*hosts)
    world.run(30.0)
    cut = Cut({world.hosts[host].index: side for host, side in sides.items()})
    world.network.cut(cut)
    world.run(detection_s(3, 10))
    for host in hosts:
        assert seen_by(world, host) == {
            one: "equal" if sides[one] == sides[host] else "silent" for one in hosts if one != host
        }
    world.run(2 * hearsay_s(10))
    world.network.mend(cut)
    healed_s = world.now_s
    world.run(60.0)
    for host in hosts:
        assert seen_by(world, host) == dict.fromkeys([one for one in hosts if one != host], "equal")
    assert len({world.node(host).presence._roster.digest for host in hosts}) == 1
    assert bytes_of_presence(world, healed_s) / len(hosts) < 60 * 40 + 10 * 10 * 120, "no storm"


def test_the_last_survivor_knows_that_it_is_alone() -> None:
    world = line("a", "b", "c")
    world.run(5.0)
    world.crash("b")
    world.crash("c")
    world.run(detection_s(1, 3))
    assert seen_by(world, "a")["b"] == "silent"
    world.run(silence_s(3))
    assert seen_by(world, "a") == {"b": "silent", "c": "silent"}


# -- time -----------------------------------------------------------------------------------------


def test_hearsay_falls_silent_without_signs_of_life_and_is_forgotten_soon() -> None:
    bench, source, other = between()
    bench.tell(source, told(record("x")))
    hold(bench, source, other, duration_s=silence_s(2) - 1)
    assert state(bench, "x") is not State.SILENT
    hold(bench, source, other, duration_s=2)
    assert state(bench, "x") is State.SILENT
    hold(bench, source, other, duration_s=hearsay_s(2) - silence_s(2) + JITTER * TIDY_S)
    assert names(bench) == []
    bench.tell(source, told(record("x"), age_s=int(hearsay_s(2)) + 1))
    assert names(bench) == [], "and is not taken again from who still knows it"


def test_who_was_met_is_listed_for_a_day() -> None:
    bench, source, _ = between()
    bench.tell(source, told(record("a", boot=b"a_______")))
    bench.lose(source)
    bench.wait(FORGET_S - 10)
    assert names(bench) == ["a"]
    bench.wait(10 + JITTER * TIDY_S)
    assert names(bench) == []


def test_signs_of_life_are_rarer_among_many() -> None:
    bench, source, other = between()
    many = [record(f"x{number}") for number in range(PRESENCES_MAX)]
    bench.tell(source, told(*many))
    bench.tell(other, told(*many))
    interval_s = beat_s(len(bench.node.presence))
    assert interval_s > beat_s(1)
    own = bench.node.presence._roster.own
    given: list[float] = []
    for number in range(12):
        for one in many:  # they live
            bench.tell(other, alive(one, number + 1))
        end_s = bench.now_s + interval_s / 2
        while bench.now_s < end_s:
            hold(bench, source, other, duration_s=LAN.keepalive_s)
            given += [bench.now_s for beat in given_signs(bench, source) if beat.tag == own.tag]
    gaps = [later - earlier for earlier, later in pairwise(given)]
    slack_s = LAN.keepalive_s + JITTER * BEAT_RELAY_S
    assert gaps
    assert all(0.75 * interval_s - slack_s <= gap <= JITTER * interval_s + slack_s for gap in gaps)


def test_a_sign_of_life_is_passed_on_once_with_its_age_and_not_back() -> None:
    bench, source, other = between()
    third = bench.connect("third")
    bench.tell(source, told(record("x")))
    passed_on(bench, third)
    bench.said(third), bench.said(other)
    bench.tell(source, alive(record("x"), 1, age_s=7), alive(record("x"), 1, age_s=0))
    bench.tell(other, alive(record("x"), 1))
    hold(bench, source, other, third, duration_s=JITTER * BEAT_RELAY_S)
    (relayed,), back, across = (given_signs(bench, link) for link in (third, source, other))
    assert (back, across) == ([], [])
    assert relayed.tag == record("x").tag
    assert 7 + 0.75 * BEAT_RELAY_S - 1 <= relayed.age_s <= 8 + JITTER * BEAT_RELAY_S


def test_a_record_that_is_passed_on_keeps_its_age() -> None:
    bench, source, other = between()
    bench.tell(source, told(record("x"), age_s=20))
    bench.wait(JITTER * RELAY_S)
    (roster,) = bench.said(other, Roster)
    assert roster.sightings[0].age_s == 21, "rounded up"
    (member,) = bench.node.members()
    assert bench.node.presence.standing(member, bench.now_s).heard_age_s == 20 + JITTER * RELAY_S


# -- comparing ------------------------------------------------------------------------------------


def test_equal_rosters_are_compared_with_two_digests() -> None:
    world = line("a", "b", "c")
    world.run(3.0)
    begin_s = world.now_s
    world.wire("a", "c")
    world.run(2.0)
    between_them = [one for one in world.since(begin_s, *ROSTER_MESSAGES) if {one.sender, one.receiver} == {"a", "c"}]
    assert [type(one.message) for one in between_them if not isinstance(one.message, Roster)] == [RosterDigest] * 2


def test_of_different_rosters_only_the_difference_is_sent() -> None:
    world = Tapped("m", "n", "far", dials=False)
    world.wire("m", "n")
    world.run(0.5)
    many = [record(f"x{number:03}") for number in range(300)]
    for name in ("m", "n"):
        board = world.node(name).presence
        (link,) = world.node(name).links()
        for one in many[: 300 if name == "m" else 290]:
            board._take(link, Sighting(one), False)
    begin_s = world.now_s
    for name in ("m", "n"):
        world.node(name).presence._comparison.learned(world.node(name).links()[0], from_it=False)
    world.run(5.0)
    given = [one for sent in world.since(begin_s, Roster) for one in sent.message.sightings]  # type: ignore[union-attr]
    names_given = {one.presence.node_id for one in given} - {"m", "n"}
    assert names_given == {one.node_id for one in many[290:]}
    assert world.node("m").presence._roster.digest == world.node("n").presence._roster.digest


def test_rosters_that_differ_by_suspicions_only_have_other_digests() -> None:
    bench, source, _ = between()
    many = [record(f"x{number}") for number in range(PRESENCES_MAX)]
    bench.tell(source, told(*many))
    digests = {bench.node.presence._roster.digest}
    for one in many:
        bench.tell(source, suspected(one))
        digests.add(bench.node.presence._roster.digest)
    assert len(digests) == PRESENCES_MAX + 1


def test_a_newcomer_is_told_a_large_roster_once() -> None:
    world = Tapped("a", "b", "c", "d", dials=False)
    for one, other in combinations("abc", 2):
        world.wire(one, other)
    world.run(1.0)
    many = [record(f"x{number:04}") for number in range(1_000)]
    for name in "abc":
        board = world.node(name).presence
        for link in world.node(name).links():
            for one in many:
                board._take(link, Sighting(one), False)
    world.run(2.0)
    begin_s = world.now_s
    for name in "abc":
        world.wire("d", name)
    world.run(30.0)
    assert len(world.node("d").presence) == 1_004
    told_d = [
        one.presence.node_id
        for sent in world.since(begin_s, Roster)
        if sent.receiver == "d"
        for one in sent.message.sightings  # type: ignore[union-attr]
    ]
    assert len(told_d) <= 1.25 * 1_000, "of the first peer alone it does not believe so many"


def test_a_lost_roster_is_made_good_by_a_comparison() -> None:
    world = line("a", "b", "c")
    world.run(3.0)
    board = world.node("a").presence
    board._roster.forget(board._roster.get("c"))  # type: ignore[arg-type]
    world.run(JITTER * COMPARE_S + 1.0)
    assert seen_by(world, "a") == {"b": "equal", "c": "equal"}


# -- bounds ---------------------------------------------------------------------------------------


def invent(bench: Bench, link: int, count: int, of: str = "ghost") -> None:
    for first in range(0, count, PRESENCES_MAX):
        some = range(first, min(first + PRESENCES_MAX, count))
        bench.tell(link, told(*(record(f"{of}-{number:05}") for number in some)))


def test_one_peer_fills_a_quarter_of_the_roster_and_no_more() -> None:
    bench, liar, other = between()
    bench.tell(other, told(record("x")))
    invent(bench, liar, 4 * UNCONFIRMED_MAX)
    assert len(bench.node.presence) == 1 + 1 + UNCONFIRMED_MAX
    assert not bench.node.presence.is_crowded
    bench.tell(other, told(record("y")))
    assert "y" in names(bench)


def test_what_two_peers_tell_is_confirmed() -> None:
    bench, source, other = between()
    invent(bench, source, UNCONFIRMED_MAX)
    bench.tell(source, told(record("x")))
    assert "x" not in names(bench)
    invent(bench, other, 1)
    bench.tell(source, told(record("x")))
    assert "x" in names(bench)


def test_invented_members_push_nobody_out_who_was_known_before() -> None:
    bench = Bench()
    links = [bench.connect(f"p{number}") for number in range(8)]
    for number, link in enumerate(links):
        bench.tell(link, told(record(f"p{number}"), record(f"far{number}")))
        bench.tell(links[number - 1], told(record(f"far{number}")))
    known = names(bench)
    bench.wait(1.0)
    for number, link in enumerate(links):
        invent(bench, link, 2 * UNCONFIRMED_MAX, of=f"ghost{number}")
    assert bench.node.presence.is_crowded
    assert len(bench.node.presence) <= CROWD_KEPT_MAX + 1
    assert set(known) <= set(names(bench))
    hold(bench, *links, duration_s=5.0)
    bench.said(links[1])
    bench.tell(links[0], told(record("far1", count=2)))
    assert passed_on(bench, links[1]) == [record("far1", count=2)], "and what they say is still passed on"


def test_a_crowd_ends_after_a_day_and_is_counted_anew() -> None:
    bench = Bench(restored=Restored(members=SavedMembers((), crowded=True)))
    assert bench.node.presence.is_crowded
    link = bench.connect("a")
    bench.tell(link, told(record("a"), record("x")))
    assert names(bench) == ["a"], "only who has a link is new"
    (digest,) = bench.said(link, RosterDigest)
    assert digest.crowded
    bench.wait(JITTER * (CROWD_S + TIDY_S))
    assert not bench.node.presence.is_crowded


def test_a_newcomer_learns_from_its_peers_that_there_are_too_many() -> None:
    bench, first, second = between()
    for link in (first, second):
        bench.tell(link, RosterDigest(bytes(8), bench.node.root, b"", 2_001, True))
    assert bench.node.presence.is_crowded
    bench.lose(first)
    bench.tell(bench.connect("b"), RosterDigest(bytes(8), bench.node.root, b"", 3, False))
    assert not bench.node.presence.is_crowded, "of one half it does not believe it"


def test_a_full_roster_forgets_the_silent_for_the_new() -> None:
    saved = tuple(record(f"old{number:04}") for number in range(MEMBERS_MAX - 1))
    bench = Bench(restored=Restored(members=SavedMembers(saved)))
    link = bench.connect("a")
    bench.tell(link, told(record("a"), record("x"), record("y")))
    assert len(bench.node.presence) <= MEMBERS_MAX + 2
    assert {"a", "x", "y"} <= set(names(bench))
    assert not bench.node.presence.is_crowded


def test_an_empty_roster_is_no_harm() -> None:
    bench, source, other = between()
    bench.tell(source, Roster(()), Signs((), ()), RosterItems((), b""))
    assert (bench.closed(source), passed_on(bench, other)) == (None, [])


# -- cost -----------------------------------------------------------------------------------------


def idle_bytes_s(count: int, *, duration_s: float) -> float:
    """Bytes of presence that a node sends a second, once all give signs of life."""
    world = World(cluster(), 0)
    names = [f"n{number:02}" for number in range(count)]
    for name in names:
        world.add(name, [other for other in names[:4] if other != name])
    world.run(beat_s(count) / 2)
    before = world.network.sent_bytes[FrameClass.ACK]
    world.run(duration_s)
    return (world.network.sent_bytes[FrameClass.ACK] - before) / count / duration_s


@pytest.mark.parametrize("count", [8, 32, 64])
def test_an_idle_node_tells_the_same_few_bytes_whatever_the_number(count: int) -> None:
    assert 10 <= idle_bytes_s(count, duration_s=beat_s(count)) <= 40


# -- saving ---------------------------------------------------------------------------------------


def test_a_node_that_restarts_alone_knows_who_is_missing() -> None:
    world = line("a", "b", "c")
    world.run(2 * SAVE_S)
    for name in ("a", "b", "c"):
        world.crash(name)
    world.start("a")
    assert seen_by(world, "a") == {"b": "silent", "c": "silent"}
    world.start("c")
    world.wire("a", "c")
    world.run(1.0)
    assert seen_by(world, "a") == {"b": "silent", "c": "equal"}


def test_what_is_saved_fits_and_comes_back() -> None:
    bench, source, _ = between()
    bench.tell(source, told(*(record(f"x{number}", zone="z" * 250) for number in range(60))))
    bench.wait(SAVE_S + 1)
    bench.write()
    saved = SavedMembers.decode(bench.disk.meta[SAVED_MEMBERS])
    assert [one.node_id for one in saved.presences] == names(bench)
    huge = SavedMembers(tuple(record(f"x{number}", zone="z" * 250) for number in range(MEMBERS_MAX)))
    again = SavedMembers.decode(huge.encode())
    assert 0 < len(again.presences) < MEMBERS_MAX


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"\x91\x01", b"\xa1x", b"\x92\xc3\x91\xc0"])
def test_saved_members_that_cannot_be_read_are_none(data: bytes | None) -> None:
    assert SavedMembers.decode(data) == SavedMembers()


def test_a_suspicion_as_old_as_can_be_told_does_not_grow_beyond_that() -> None:
    """Else who believes a liar says to honest peers what they close the link for."""
    bench, honest, liar = between()
    ghost = record("ghost", root=bytes([1] * 16))
    suspicion = Roster((Sighting(dataclasses.replace(ghost, count=2), AGE_S_MAX, AGE_S_MAX),))
    bench.tell(liar, told(ghost), suspicion)
    hold(bench, liar, honest, duration_s=5.0)
    bench.said(honest)
    other = RosterDigest(bytes(8), bytes(16), bytes(ROSTER_BUCKETS * BUCKET_DIGEST_BYTES), 1, False)
    for _ in range(2):
        bench.tell(honest, other)
        bench.wait(1.0)
    (ages,) = {
        (one.age_s, one.suspected_age_s)
        for roster in bench.said(honest, Roster)
        for one in roster.sightings
        if one.presence.node_id == "ghost"
    }
    assert ages == (AGE_S_MAX, AGE_S_MAX)
