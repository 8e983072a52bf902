"""Broadcast inside a zone: pushed to a depth, then announced and pulled; hops, copies and moments exactly as given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, takewhile
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.entry import Entry, put
from gossipconf.protocol.broadcast import CATCH_UP_S, FLOODED_SHARE, SLOW_S, WAITING_BYTES_MAX, WAITING_MAX
from gossipconf.protocol.environment import Send
from gossipconf.protocol.events import Applied, ChangeRejected
from gossipconf.protocol.fields import DIGESTS_MAX
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.keepalive import QUIET_S
from gossipconf.protocol.messages import (
    HOPS_MAX,
    Announce,
    Batch,
    Ping,
    Pull,
    Push,
    Root,
    WantPolicies,
    digest_of,
    encode_message,
)
from gossipconf.protocol.news import KEPT_S
from gossipconf.protocol.overlay import FAULTS_MAX
from gossipconf.protocol.pulls import (
    DOUBTS_COUNTED,
    FLOOD_S,
    LATE_GAIN,
    LATE_SHARE,
    MEETING_S,
    PULLS_MAX,
    RETRY_RTTS,
    RETRY_S,
    RETRY_SLACK_S,
    RTT_UNKNOWN_S,
    UNDER_WAY_MAX,
)
from gossipconf.protocol.sync import RETRY_FIRST_S
from gossipconf.protocol.tuning import LAN
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from tests.protocol.wire import Bench, Tapped, change, second_policy
from tests.strategies import signed

ONE_WAY_S = 0.0005
EVEN = NetworkConditions(latency_ms=(1000 * ONE_WAY_S, 1000 * ONE_WAY_S), jitter=(1, 1))
AT_ONCE = HostConditions(disk_ms=(0, 0))
"""Every message takes equally long, so that hops are steps."""


def depth(degree: int, zone_nodes: int) -> int:
    """How deep a flood over links of one zone may go: as far as it covers no more than FLOODED_SHARE of the zone."""
    covered = [sum(degree * (degree - 1) ** shell for shell in range(hops)) for hops in range(1, HOPS_MAX + 1)]
    return max(1, sum(1 for _ in takewhile(lambda count: count <= FLOODED_SHARE * zone_nodes, covered)))


# -- over links exactly as given ------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """What one change, published by the first of some nodes, has cost, and when each node had it."""

    world: Tapped
    names: Sequence[str]
    begin_s: float

    def pushes(self) -> list[Push]:
        return [one.message for one in self.world.since(self.begin_s, Push) if isinstance(one.message, Push)]

    def count(self, kind: type[Announce | Pull]) -> int:
        return len(self.world.since(self.begin_s, kind))

    def steps(self) -> list[int]:
        """After how many one-way delays each node had it."""
        had_s = [
            next(
                at_s for at_s, event in self.world.hosts[name].events if at_s > self.begin_s and type(event) is Applied
            )
            for name in self.names[1:]
        ]
        return [round((at_s - self.begin_s) / ONE_WAY_S) for at_s in had_s]

    def duplicates(self) -> int:
        return sum(self.world.node(name).broadcast.duplicates for name in self.names)

    def payloads_of(self, one: str, other: str) -> int:
        """How often the change has crossed this link."""
        sent = self.world.since(self.begin_s, Push)
        return sum({push.sender, push.receiver} == {one, other} for push in sent)


def spread(count: int, edges: Sequence[tuple[int, int]]) -> Spread:
    """Let nodes with these links, who know of each other, spread one change."""
    names = [f"n{number}" for number in range(count)]
    world = Tapped(*names, dials=False, acquainted=True, network=EVEN, hosts=AT_ONCE)
    for one, other in edges:
        world.wire(names[one], names[other])
    world.run(1.0)
    begin_s = world.now_s
    world.publish_value(names[0], "news", "1")
    world.run(0.2)
    assert world.converged()
    return Spread(world, names, begin_s)


def test_in_a_full_mesh_everybody_gets_one_copy_after_one_hop() -> None:
    count = 6
    assert depth(count - 1, count) == 1
    done = spread(count, list(combinations(range(count), 2)))
    assert [push.hops for push in done.pushes()] == [1] * (count - 1)
    assert done.steps() == [1] * (count - 1)
    assert done.count(Announce) == (count - 1) * (count - 2), "each tells all but the first"
    assert (done.count(Pull), done.duplicates()) == (0, 0)


def test_in_a_line_each_link_is_crossed_once() -> None:
    """Pushed over the first, and then announced, asked for and given: one hop, and three times its delay."""
    assert depth(2, 5) == 1
    done = spread(5, [(number, number + 1) for number in range(4)])
    assert [push.hops for push in done.pushes()] == [1, 2, 3, 4]
    assert done.steps() == [1, 4, 7, 10]
    assert (done.count(Announce), done.count(Pull), done.duplicates()) == (3, 3, 0)
    assert done.world.events_of("n4", Applied)[-1].source == "n3"


def test_in_a_ring_it_goes_both_ways_and_no_link_carries_it_twice() -> None:
    count = 7
    assert depth(2, count) == 2
    done = spread(count, [(number, (number + 1) % count) for number in range(count)])
    assert [push.hops for push in done.pushes()] == [1, 1, 2, 2, 3, 3]
    assert [push.zone_hops for push in done.pushes()] == [0, 0, 1, 1, HOPS_MAX, HOPS_MAX]
    assert done.steps() == [1, 2, 5, 5, 2, 1]
    assert (done.count(Pull), done.duplicates()) == (2, 0)
    assert done.payloads_of("n3", "n4") == 0, "where both ways meet they only tell each other"


@settings(max_examples=30)
@given(st.integers(2, 9), st.integers(0, 12), st.integers(0, 2**32))
def test_over_any_links_every_pull_is_answered_once(count: int, more: int, seed: int) -> None:
    rng = Random(seed)
    tree = [(rng.randrange(number), number) for number in range(1, count)]
    extra = rng.sample(list(combinations(range(count), 2)), min(more, count * (count - 1) // 2))
    edges = list(dict.fromkeys([*tree, *extra]))
    done = spread(count, edges)
    pushes = done.pushes()
    assert done.duplicates() == len(pushes) - (count - 1)
    pulled = [push for push in pushes if push.zone_hops == HOPS_MAX]
    assert len(pulled) == done.count(Pull), "each is asked for once, and given"
    for one, other in edges:
        assert done.payloads_of(f"n{one}", f"n{other}") <= 2, "twice only if both send at the same time"


# -- one node among scripted peers ----------------------------------------------------------------

RTT_S = 0.002


def among(*names: str, zone_nodes: int = 0, measured: bool = True) -> tuple[Bench, list[int]]:
    """A node with near peers, and that it knows of ``zone_nodes`` nodes in its zone, itself included."""
    bench = Bench(seeds=[f"x{number}:1" for number in range(zone_nodes - len(names) - 1)])
    links = [bench.connect(name) for name in names]
    if measured:
        bench.wait(RTT_S)
        for link in links:
            bench.answer(link, 0.0)
    for link in links:
        bench.said(link)
    assert bench.node.overlay.zone_nodes == max(zone_nodes, len(names) + 1)
    return bench, links


def push(data: bytes, *, hops: int = 1, zone: int = 0, zone_hops: int = 0) -> Push:
    return Push(hops, zone, zone_hops, data)


DATA = change().encode()
DIGEST = digest_of(DATA)
RETRY_AFTER_S = RETRY_RTTS * RTT_S + RETRY_S
A_MOMENT_S = 1e-6


def spoken(bench: Bench, link: int) -> list[object]:
    """What was pushed, announced and pulled on a link."""
    return [one for one in bench.said(link) if isinstance(one, Push | Announce | Pull)]


@pytest.mark.parametrize("zone_nodes", [4, 12, 40, 200, 1_000])
@pytest.mark.parametrize("degree", [2, 3, 6, 8])
def test_a_push_goes_as_deep_as_it_brings_few_duplicates(degree: int, zone_nodes: int) -> None:
    zone_nodes = max(zone_nodes, degree + 1)
    names = [f"p{number}" for number in range(degree)]
    limit = depth(degree, zone_nodes)
    for zone_hops in (0, limit - 2, limit - 1, HOPS_MAX):
        if zone_hops < 0:
            continue
        bench, links = among(*names, zone_nodes=zone_nodes)
        bench.tell(links[0], push(DATA, hops=3, zone_hops=zone_hops))
        goes_on = zone_hops + 1 < limit
        told = Push(4, 0, zone_hops + 1, DATA) if goes_on else Announce((DIGEST,))
        assert [spoken(bench, link) for link in links] == [[], *[[told]] * (degree - 1)]


def test_what_is_published_here_is_pushed_to_all_near_peers() -> None:
    bench, links = among("a", "b", "c")
    bench.node.publish(bench.now(), 1, change())
    bench.write()
    assert [spoken(bench, link) for link in links] == [[Push(1, 0, 0, DATA)]] * 3


def test_what_is_forwarded_to_many_is_encoded_once() -> None:
    for zone_hops in (0, HOPS_MAX):
        bench, links = among(*(f"p{number}" for number in range(5)), zone_nodes=200)
        bench.drain(Send)
        bench.tell(links[0], push(DATA, zone_hops=zone_hops))
        sent = [one for one in bench.drain(Send) if one.frame_class is FrameClass.BROADCAST]
        assert [one.link for one in sent] == links[1:]
        assert all(one.message is sent[0].message for one in sent)


def test_the_first_copy_is_forwarded_before_it_is_on_disk_and_copies_are_counted() -> None:
    bench, (source, other) = among("a", "z", zone_nodes=20)
    bench.tell(source, push(DATA, hops=3))
    assert spoken(bench, other) == [Push(4, 0, 1, DATA)]
    bench.tell(other, push(DATA, hops=9))
    bench.tell(source, push(DATA, hops=3))
    assert (spoken(bench, other), spoken(bench, source)) == ([], [])
    assert bench.node.broadcast.duplicates == 2


def test_hops_stop_at_their_limit() -> None:
    bench, (source, other) = among("a", "z", zone_nodes=20)
    bench.tell(source, push(DATA, hops=HOPS_MAX))
    assert [one.hops for one in bench.said(other, Push)] == [HOPS_MAX]


def test_what_is_superseded_on_arrival_is_not_forwarded() -> None:
    bench, (source, other) = among("a", "z", zone_nodes=20)
    old = change("1")
    new = signed([Entry("a", b"2", seen=((old.writer_id, 1),))], "bob")
    bench.tell(source, push(new.encode()))
    assert len(spoken(bench, other)) == 1
    bench.tell(source, push(old.encode()))
    assert spoken(bench, other) == []
    assert bench.closed(source) is None
    bench.tell(other, Announce((digest_of(old.encode()),)), Pull((digest_of(old.encode()),)))
    assert spoken(bench, other) == [], "neither fetched again nor given"


def test_what_came_by_sync_is_neither_pushed_nor_fetched() -> None:
    bench, (source, other) = among("a", "z")
    bench.tell(source, Batch((DATA,)))
    bench.tell(other, Announce((DIGEST,)))
    bench.wait(1.0)
    assert spoken(bench, other) == []
    bench.tell(other, push(DATA))
    assert bench.node.broadcast.duplicates == 1


def test_who_is_known_to_have_it_is_told_nothing() -> None:
    bench, (source, announcer, pusher, other) = among("a", "b", "c", "d", zone_nodes=20)
    waiting = change(policy=2, by="zoe", key="zoo/1").encode()
    bench.tell(announcer, Announce((DIGEST,)))
    bench.tell(pusher, push(waiting))
    for link in (source, announcer, pusher, other):
        bench.said(link)
    bench.tell(source, push(DATA))
    assert [len(spoken(bench, link)) for link in (announcer, pusher, other)] == [0, 1, 1]


# -- announced and pulled -------------------------------------------------------------------------


def test_what_is_announced_is_pulled_at_once_and_what_is_here_is_not() -> None:
    bench, (source, other) = among("a", "b")
    bench.tell(source, push(DATA))
    spoken(bench, other)
    unknown = [digest_of(b"%d" % number) for number in range(3)]
    bench.tell(other, Announce((unknown[0], DIGEST, *unknown[1:])))
    assert spoken(bench, other) == [Pull(tuple(unknown))]


def test_a_pulled_change_is_announced_and_not_pushed_further() -> None:
    bench, (source, other) = among("a", "z", zone_nodes=200)
    bench.tell(source, Announce((DIGEST,)))
    bench.tell(source, push(DATA, hops=5, zone_hops=HOPS_MAX))
    assert spoken(bench, other) == [Announce((DIGEST,))]
    bench.tell(other, Pull((DIGEST,)))
    assert spoken(bench, other) == [Push(6, 0, HOPS_MAX, DATA)]


def test_while_a_pull_runs_others_who_have_it_are_not_asked() -> None:
    bench, (first, second) = among("a", "b")
    bench.tell(first, Announce((DIGEST,)))
    bench.tell(second, Announce((DIGEST,)))
    assert (spoken(bench, first), spoken(bench, second)) == ([Pull((DIGEST,))], [])
    bench.wait(RETRY_AFTER_S - A_MOMENT_S)
    assert spoken(bench, second) == []
    bench.wait(2 * A_MOMENT_S)
    assert spoken(bench, second) == [Pull((DIGEST,))], "after a round trip and a little"


def test_what_comes_in_time_is_not_asked_for_again() -> None:
    bench, (first, second) = among("a", "b")
    bench.tell(first, Announce((DIGEST,)))
    bench.tell(second, Announce((DIGEST,)))
    bench.wait(RTT_S)
    bench.tell(first, push(DATA, zone_hops=HOPS_MAX))
    for link in (first, second):
        bench.said(link)
    bench.wait(1.0)
    assert (spoken(bench, first), spoken(bench, second)) == ([], [])


def test_a_slower_link_is_given_more_time() -> None:
    bench, (first, second) = among("a", "b")
    for after_s in (RTT_S, 3 * RTT_S):
        bench.node.overlay.keepalive.ping(bench.links()[0])
        bench.answer(first, after_s)
    link = bench.links()[0]
    assert link.rtt_s is not None
    bench.tell(first, Announce((DIGEST,)))
    bench.tell(second, Announce((DIGEST,)))
    bench.wait(RETRY_RTTS * (link.rtt_s + 4 * link.rtt_dev_s) + RETRY_S - A_MOMENT_S)
    assert spoken(bench, second) == []
    bench.wait(2 * A_MOMENT_S)
    assert spoken(bench, second) == [Pull((DIGEST,))]


def test_one_that_is_not_measured_yet_is_given_the_time_of_nearly_all() -> None:
    bench, (first, second) = among("a", "b", measured=False)
    bench.tell(first, Announce((DIGEST,)))
    bench.tell(second, Announce((DIGEST,)))
    bench.wait(RTT_UNKNOWN_S - A_MOMENT_S)
    assert spoken(bench, second) == []
    bench.wait(2 * A_MOMENT_S)
    assert spoken(bench, second) == [Pull((DIGEST,))]


def test_after_so_many_pulls_it_is_left_to_sync() -> None:
    bench, (first, second) = among("a", "b")
    bench.tell(first, Announce((DIGEST,)))
    bench.tell(second, Announce((DIGEST,)))
    bench.wait(2 * PULLS_MAX * RETRY_AFTER_S)
    pulls = [spoken(bench, link) for link in (first, second)]
    assert pulls == [[Pull((DIGEST,))] * (PULLS_MAX // 2)] * 2, "each in turn"
    assert [bench.said(link, Root) for link in (first, second)] == [[], []]
    bench.wait(RETRY_FIRST_S)
    shown = [bench.said(link, Root) for link in (first, second)]
    assert shown == [[Root(bench.node.root, 1)], []], "whose turn it would be is shown the root"
    bench.wait(10.0)
    assert [spoken(bench, link) for link in (first, second)] == [[], []]


def test_who_announces_it_later_is_asked_once_more() -> None:
    bench, (first, second) = among("a", "b")
    bench.tell(first, Announce((DIGEST,)))
    bench.wait(2 * PULLS_MAX * RETRY_AFTER_S)
    assert len(spoken(bench, first)) == PULLS_MAX
    bench.tell(second, Announce((DIGEST,)))
    bench.wait(1.0)
    assert (spoken(bench, first), spoken(bench, second)) == ([], [Pull((DIGEST,))])


def test_a_pull_from_a_peer_that_is_lost_goes_to_the_next_and_else_ends() -> None:
    bench, (first, second) = among("a", "b")
    bench.tell(first, Announce((DIGEST,)))
    bench.tell(second, Announce((DIGEST,)))
    bench.lose(first)
    bench.wait(RETRY_AFTER_S + A_MOMENT_S)
    assert spoken(bench, second) == [Pull((DIGEST,))]
    bench.lose(second)
    bench.wait(1.0)
    third = bench.connect("c")
    bench.said(third)
    bench.tell(third, Announce((DIGEST,)))
    assert spoken(bench, third) == [Pull((DIGEST,))]


@pytest.mark.parametrize("zone_hops", [0, HOPS_MAX])
def test_who_says_nothing_after_a_push_is_asked_whether_it_lives_and_not_after_an_announcement(zone_hops: int) -> None:
    bench, (source, other) = among("a", "b", zone_nodes=20)
    bench.tell(source, push(DATA, zone_hops=zone_hops))
    bench.wait(QUIET_S)
    assert bench.said(other, Ping) == []
    bench.wait(2.5 * LAN.refill_s)
    assert (len(bench.said(other, Ping)), bench.said(source, Ping)) == (int(zone_hops == 0), [])


def test_a_peer_that_does_not_answer_is_asked_after_others_until_it_brings_something() -> None:
    bench, (silent, good) = among("a", "b")
    bench.tell(silent, Announce((DIGEST,)))
    bench.tell(good, Announce((DIGEST,)))
    bench.wait(RETRY_AFTER_S + A_MOMENT_S)
    bench.tell(good, push(DATA, zone_hops=HOPS_MAX))
    for link in (silent, good):
        bench.said(link)
    later = [change(key=f"k{seq}", seq=seq).encode() for seq in range(2, 5)]
    second, _, fourth = (Announce((digest_of(data),)) for data in later)
    bench.tell(silent, second)
    assert len(spoken(bench, silent)) == 1, "nobody else has it yet"
    bench.tell(good, second)
    assert spoken(bench, good) == [Pull(second.digests)], "at once, and not after the silent one's time"
    bench.tell(good, push(later[0], zone_hops=HOPS_MAX))
    bench.tell(silent, push(later[1]))
    for link in (silent, good):
        bench.said(link)
    bench.tell(silent, fourth)
    bench.tell(good, fourth)
    assert (len(spoken(bench, silent)), spoken(bench, good)) == (1, []), "it has brought something new"


def late_pulls() -> int:
    """How many pulls in a row must come late before a zone is flooded."""
    shares = accumulate(range(1_000), lambda share, _: share + LATE_GAIN * (1 - share), initial=0.0)
    return next(count for count, share in enumerate(shares) if share > LATE_SHARE)


@pytest.mark.parametrize("zone", ["", "there"])
def test_much_that_a_new_peer_knows_is_left_to_the_first_sync(zone: str) -> None:
    bench = Bench(zone="here" if zone else "")
    link = bench.connect("other", zone=zone)
    bench.said(link)
    digests = tuple(digest_of(b"%d" % number) for number in range(UNDER_WAY_MAX + 1))
    bench.tell(link, Announce(digests))
    bench.wait(MEETING_S - 0.01)
    assert bench.said(link, Pull) == []
    bench.wait(0.02)
    assert bench.said(link, Pull) == [Pull(digests)]


def test_little_that_a_new_peer_knows_is_pulled_at_once_and_so_is_much_that_an_old_one_does() -> None:
    bench, (link, _) = among("a", "b")
    few = tuple(digest_of(b"few %d" % number) for number in range(UNDER_WAY_MAX))
    bench.tell(link, Announce(few))
    assert bench.said(link, Pull) == [Pull(few)]
    bench.wait(MEETING_S + 0.01)
    many = tuple(digest_of(b"many %d" % number) for number in range(UNDER_WAY_MAX + 1))
    bench.said(link, Pull)
    bench.tell(link, Announce(many))
    assert Pull(many) in bench.said(link, Pull)


def test_where_many_pulls_come_late_a_change_is_pushed_to_all_for_a_while() -> None:
    assert DOUBTS_COUNTED < late_pulls() <= 2 * DOUBTS_COUNTED - 1, "two peers that never answer are enough, one is not"
    bench, (source, other, *withholding) = among("a", "z", "w", "x")
    bench.tell(source, push(change(key="k1", seq=1).encode(), zone_hops=3))
    assert [type(one) for one in spoken(bench, other)] == [Announce]
    for number, link in enumerate(withholding):
        bench.tell(source, push(change(key=f"k{number}", seq=2 + number).encode(), zone_hops=3))
        assert [one for one in spoken(bench, other) if isinstance(one, Push)] == []
        bench.tell(link, Announce((digest_of(link.to_bytes(8, "big")),)))
        bench.wait(PULLS_MAX * (RETRY_AFTER_S + RETRY_SLACK_S))
    bench.said(other)
    bench.tell(source, push(change(key="k4", seq=40).encode(), zone_hops=3))
    assert [type(one) for one in spoken(bench, other)] == [Push]
    bench.wait(1.0)
    for _ in range(round(2 * FLOOD_S)):
        bench.wait(0.5)
        for link in (source, other, *withholding):
            bench.tell(link, Ping(1))
            bench.said(link)
    bench.tell(source, push(change(key="k5", seq=50).encode(), zone_hops=3))
    assert [type(one) for one in spoken(bench, other)] == [Announce]


def test_the_answer_of_whoever_was_asked_tells_a_round_trip_and_nobody_elses() -> None:
    bench, (asked, other) = among("a", "b")
    before = [link.rtt_s for link in bench.links()]
    bench.tell(asked, Announce((DIGEST,)))
    bench.wait(RTT_S / 2)
    bench.tell(other, push(DATA, zone_hops=HOPS_MAX))
    assert [link.rtt_s for link in bench.links()] == before
    second = change(key="b", seq=2).encode()
    bench.tell(asked, Announce((digest_of(second),)))
    bench.wait(RTT_S / 2)
    bench.tell(asked, push(second, zone_hops=HOPS_MAX))
    assert [link.rtt_least_s for link in bench.links()] == pytest.approx([RTT_S / 2, RTT_S])


def test_only_what_is_held_is_given() -> None:
    bench, (source, other) = among("a", "b")
    bench.tell(source, push(DATA))
    bench.said(other)
    bench.tell(other, Pull((digest_of(b"unknown"), DIGEST)))
    assert spoken(bench, other) == [Push(2, 0, HOPS_MAX, DATA)]
    bench.now_s += KEPT_S + 1.0
    bench.tell(source, push(change("2", "b", seq=2).encode()))
    bench.said(other)
    bench.tell(other, Pull((DIGEST,)))
    assert spoken(bench, other) == [], "it is no news any more: sync has it"


# -- new links and slow ones ----------------------------------------------------------------------


def test_a_new_peer_is_told_what_came_lately_the_newest_first() -> None:
    bench, (source,) = among("a")
    data = [change(key=f"k{seq}", seq=seq).encode() for seq in range(1, 4)]
    for one in data:
        bench.tell(source, push(one))
        bench.wait(CATCH_UP_S / 2 - A_MOMENT_S)
        bench.tell(source, Ping(1))
    late = bench.connect("z")
    assert spoken(bench, late) == [Announce(tuple(map(digest_of, data[:0:-1])))]
    bench.wait(CATCH_UP_S)
    assert spoken(bench, bench.connect("y")) == []


def test_a_new_peer_is_told_no_more_than_fits() -> None:
    bench, (source,) = among("a")
    for seq in range(1, DIGESTS_MAX + 10):
        bench.tell(source, push(change(key=f"k{seq}", seq=seq).encode()))
    (told,) = spoken(bench, bench.connect("z"))
    assert isinstance(told, Announce)
    assert len(told.digests) == DIGESTS_MAX
    assert told.digests[0] == digest_of(change(key=f"k{DIGESTS_MAX + 9}", seq=DIGESTS_MAX + 9).encode())


def test_a_peer_whose_queue_was_full_is_told_only_for_a_while() -> None:
    bench, (source, slow, other) = among("a", "b", "c", zone_nodes=200)
    bench.node.dropped(bench.now(), slow, FrameClass.BROADCAST)
    bench.tell(source, push(DATA))
    assert (spoken(bench, slow), spoken(bench, other)) == ([Announce((DIGEST,))], [Push(2, 0, 1, DATA)])
    bench.tell(slow, Pull((DIGEST,)))
    assert spoken(bench, slow) == [Push(2, 0, HOPS_MAX, DATA)], "it takes what it can"
    bench.wait(SLOW_S)
    for link in (source, slow, other):
        bench.tell(link, Ping(1))
        bench.said(link)
    bench.tell(source, push(later := change(key="b", seq=2).encode()))
    assert spoken(bench, slow) == [Push(2, 0, 1, later)]


# -- what is not relayed --------------------------------------------------------------------------


def test_invalid_pushes_are_not_relayed_and_close_the_link_at_last() -> None:
    bench, (source, other) = among("a", "z")
    bad = [
        change(by="mallory").encode(),  # nobody
        change(key="pay/x", by="carol").encode(),  # somebody, elsewhere
        change().encode()[:-1],  # cut
        b"\xc0",  # no change
        change(cluster_id=bytes(32)).encode(),  # another cluster's
        change("before").encode().replace(b"before", b"behind"),  # altered
    ]
    for data in bad:
        bench.tell(source, push(data))
    assert len(bench.events(ChangeRejected)) == len(bad)
    assert bench.closed(source) is None
    for seq in range(FAULTS_MAX - len(bad)):
        bench.tell(source, push(change(by="mallory", seq=seq + 2).encode()))
    assert f"{FAULTS_MAX} invalid messages" in (bench.closed(source) or "")
    assert spoken(bench, other) == []
    assert bench.closed(other) is None
    assert len(bench.node.replica.live) == 1


def test_what_was_refused_is_not_pulled_again() -> None:
    bench, (source, other) = among("a", "z")
    bad = change(by="mallory").encode()
    bench.tell(source, Announce((digest_of(bad),)))
    assert spoken(bench, source) == [Pull((digest_of(bad),))]
    bench.tell(source, push(bad, zone_hops=HOPS_MAX))
    bench.tell(other, Announce((digest_of(bad),)))
    bench.wait(1.0)
    assert (spoken(bench, source), spoken(bench, other)) == ([], [])
    bench.tell(other, push(bad))
    assert len(bench.events(ChangeRejected)) == 2, "whoever pushes it has done so"


def test_a_part_of_a_change_is_no_push() -> None:
    bench, (source, _) = among("a", "z")
    part = signed([put("a", b"1"), put("b", b"1")], "alice").restrict((0,))
    bench.tell(source, push(part.encode()))
    assert "parts belong to sync" in (bench.closed(source) or "")
    assert bench.node.replica.live.slot(("a", "")) == ()


# -- waiting for a policy -------------------------------------------------------------------------


def of_policy_2(number: int = 1, size: int = 1) -> bytes:
    return change("v" * size, f"zoo/{number}", seq=number, by="zoe", policy=2).encode()


def test_a_change_waits_for_its_policy_and_goes_on_when_that_comes() -> None:
    bench, (source, other) = among("a", "z", zone_nodes=20)
    bench.tell(source, push(of_policy_2()))
    assert bench.said(source) == [WantPolicies(1)]
    bench.tell(other, push(of_policy_2()))
    assert bench.node.broadcast.duplicates == 1, "a copy of what waits"
    bench.tell(source, Announce((digest_of(of_policy_2()),)))
    assert (bench.said(source), bench.said(other)) == ([], [])
    third = bench.connect("c")
    bench.said(third)
    bench.tell(source, Batch((second_policy().encode(),)))
    assert bench.node.replica.live.slot(("zoo/1", ""))
    assert spoken(bench, third) == [Push(2, 0, 1, of_policy_2())]
    assert spoken(bench, other) == [], "it has it"
    assert bench.events(ChangeRejected) == []


def test_what_waits_is_judged_when_its_policy_comes() -> None:
    bench, (source, other) = among("a", "z")
    bench.tell(source, push(change(by="mallory", policy=2).encode()))
    bench.tell(source, Batch((second_policy().encode(),)))
    assert len(bench.events(ChangeRejected)) == 1
    assert spoken(bench, other) == []


def test_what_waits_is_dropped_with_its_link() -> None:
    bench, (source, other) = among("a", "z")
    bench.tell(source, push(of_policy_2()))
    bench.lose(source)
    bench.tell(other, Batch((second_policy().encode(),)))
    assert bench.node.replica.live.slot(("zoo/1", "")) == ()
    bench.tell(other, push(of_policy_2()))
    assert bench.node.replica.live.slot(("zoo/1", "")), "dropped, not remembered as seen"


def test_what_waits_is_bounded_in_number_and_bytes() -> None:
    bench, (source, _) = among("a", "z")
    for number in range(1, WAITING_MAX + 20):
        bench.tell(source, push(of_policy_2(number)))
    bench.tell(source, Batch((second_policy().encode(),)))
    assert len(bench.node.replica.live.under("zoo")) == WAITING_MAX

    bench, (source, _) = among("a", "z")
    size = 1_000_000
    for number in range(1, 30):
        bench.tell(source, push(of_policy_2(number, size)))
    bench.tell(source, Batch((second_policy().encode(),)))
    assert len(bench.node.replica.live.under("zoo")) == WAITING_BYTES_MAX // (size + 200)


def test_a_copy_costs_a_hash_and_no_decoding_while_it_is_news() -> None:
    bench, (source, other) = among("a", "z")
    data = encode_message(push(DATA))
    bench.node.received(bench.now(), source, data)
    decoded = 0

    def counted(one: bytes, *rest: object) -> object:
        nonlocal decoded
        decoded += 1
        raise AssertionError

    bench.node.replica.decode = counted  # type: ignore[assignment,method-assign]
    bench.node.received(bench.now(), other, data)
    assert (decoded, bench.node.broadcast.duplicates) == (0, 1)
    del bench.node.replica.decode
    bench.now_s += KEPT_S + 1.0
    bench.tell(source, push(change("2", "b", seq=2).encode()))
    bench.said(other)
    bench.tell(other, push(DATA))
    assert bench.node.broadcast.duplicates == 1, "forgotten, so it is decoded again"
    assert spoken(bench, source) == [], "and found to be known"
