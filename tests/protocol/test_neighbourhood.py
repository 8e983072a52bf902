"""The neighbourhood: which links are near, and that near nodes agree on one tag whatever the order of events."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import combinations
from random import Random
from typing import Literal, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.protocol.environment import Environment, Now
from gossipconf.protocol.link import FAR_AGREEING, Link
from gossipconf.protocol.messages import Hello, ZoneTold
from gossipconf.protocol.neighbourhood import FAR_TAGS_MAX, TELL_S, Neighbourhood
from gossipconf.protocol.zone import FAR_RTT_S, NEAR_RTT_S, TAG_MAX, ZoneTag, tag_of

NEAR_S, FAR_S = 0.5 * NEAR_RTT_S, 2 * FAR_RTT_S


def link_to(peer: str, number: int = 1, *, label: str = "") -> Link:
    """A link whose peer has said hello."""
    hello = Hello(1, 1, 0, bytes(32), peer, bytes(8), f"{peer}:1", label, "")
    return Link(number, peer, True, f"{peer}:1", 0.0, 0.0, hello=hello, greeted=True)


@dataclass
class One:
    """A neighbourhood by itself, and what it has told."""

    label: str = ""
    saved: ZoneTag = 0
    told: list[ZoneTag] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = Environment(Random(1))
        self.neighbourhood = Neighbourhood(
            self.environment, self.label, self.saved, lambda told: self.told.append(told.zone)
        )

    @property
    def zone(self) -> ZoneTag:
        return self.neighbourhood.zone

    def meet(self, peer: str, *, label: str = "", tag: ZoneTag = 0, rtts_s: tuple[float, ...] = ()) -> Link:
        """A peer says hello, tells its tag, and then answers pings."""
        link = link_to(peer, label=label)
        self.neighbourhood.greeted(link)
        if tag:
            self.neighbourhood.told(link, tag)
        for rtt_s in rtts_s:
            self.answer(link, rtt_s)
        return link

    def answer(self, link: Link, rtt_s: float) -> None:
        link.measured(rtt_s)
        link.pongs += 1
        self.neighbourhood.measured(link)

    def wait(self, duration_s: float) -> None:
        self.environment.now = Now(self.environment.now.monotonic_s + duration_s, 0)
        self.environment.run_due()


FAR_RTTS_S = (FAR_S,) * FAR_AGREEING

# -- where a peer is ------------------------------------------------------------------------------


def test_labels_of_one_region_are_near_and_others_far_whatever_the_round_trips() -> None:
    one = One("eu/a")
    assert one.zone == tag_of("eu")
    same, other = one.meet("x", label="eu/b"), one.meet("y", label="us/a")
    assert (same.near, other.near) == (True, False)
    assert (same.zone, other.zone) == (tag_of("eu"), tag_of("us"))
    for _ in range(FAR_AGREEING):
        one.answer(same, FAR_S)
        one.answer(other, NEAR_S)
    assert (same.near, other.near) == (True, False)
    assert not one.told, "labels need no telling"


@pytest.mark.parametrize(("mine", "its"), [("", ""), ("eu", ""), ("", "eu")])
def test_without_labels_at_both_ends_round_trips_tell(mine: str, its: str) -> None:
    one = One(mine)
    near, far = one.meet("x", label=its), one.meet("y", label=its)
    assert (near.near, far.near) == (None, None), "unknown"
    one.answer(near, NEAR_S)
    assert near.near is True
    for _ in range(FAR_AGREEING - 1):
        one.answer(far, FAR_S)
        assert far.near is None, "one long round trip alone may have met a busy moment"
    one.answer(far, FAR_S)
    assert far.near is False


def test_the_shortest_round_trip_counts() -> None:
    one = One()
    late = one.meet("x", rtts_s=(FAR_S,) * (FAR_AGREEING - 1))
    one.answer(late, NEAR_S)
    assert late.near is True
    one.answer(late, FAR_S)
    assert late.near is True
    mistaken = one.meet("y", rtts_s=FAR_RTTS_S)
    one.answer(mistaken, NEAR_S)
    assert mistaken.near is True, "the busy moment was a long one"


# -- tags -----------------------------------------------------------------------------------------


def test_a_node_that_knows_nobody_far_has_no_tag() -> None:
    one = One()
    one.meet("x", rtts_s=(NEAR_S,))
    one.meet("y", rtts_s=(FAR_S,) * (FAR_AGREEING - 1))
    one.wait(10 * TELL_S)
    assert (one.zone, one.told) == (0, [])


def test_whoever_meets_somebody_far_draws_a_tag_and_tells_it_once() -> None:
    one = One()
    one.meet("x", rtts_s=FAR_RTTS_S)
    drawn = one.zone
    assert 0 < drawn <= TAG_MAX
    one.meet("y", rtts_s=FAR_RTTS_S)
    assert one.zone == drawn
    one.wait(TELL_S)
    assert one.told == [drawn]


def test_only_the_smallest_of_a_moment_is_told() -> None:
    one = One()
    for tag in (30, 20, 10, 40):
        one.meet(f"p{tag}", tag=tag, rtts_s=(NEAR_S,))
    one.wait(TELL_S)
    assert one.told == [10]


def test_a_tag_is_taken_over_from_near_peers_only() -> None:
    one = One()
    far = one.meet("x", tag=5, rtts_s=FAR_RTTS_S)
    assert one.zone not in (0, 5)
    one.neighbourhood.told(far, 4)
    assert one.zone not in (0, 4)
    near = one.meet("y", rtts_s=(NEAR_S,))
    one.neighbourhood.told(near, 3)
    assert one.zone == 3
    one.neighbourhood.told(near, 9)
    assert (one.zone, near.zone) == (3, 9), "it takes over the smaller one itself"
    one.neighbourhood.told(near, 0)
    assert one.zone == 3


def test_a_tag_told_before_the_peer_is_placed_is_taken_over_when_it_is() -> None:
    """It comes right after the hello, and the first round trip later."""
    one = One()
    link = one.meet("x", tag=7)
    assert one.zone == 0
    one.answer(link, NEAR_S)
    assert one.zone == 7


def test_labelled_nodes_take_over_nothing_and_nothing_is_taken_over_from_them() -> None:
    labelled = One("eu")
    labelled.meet("x", tag=1, rtts_s=(NEAR_S,))
    assert labelled.zone == tag_of("eu")
    one = One()
    near = one.meet("x", label="eu", rtts_s=(NEAR_S,))
    one.neighbourhood.told(near, 1)
    assert (one.zone, near.zone) == (0, tag_of("eu")), "a label is not changed by what is told"


def test_a_restart_keeps_the_tag() -> None:
    one = One(saved=7)
    assert one.zone == 7
    one.meet("x", rtts_s=FAR_RTTS_S)
    assert one.zone == 7
    assert One("eu", saved=7).zone == tag_of("eu"), "the owner has named it meanwhile"


# -- whom to dial in search of near ones ----------------------------------------------------------


def test_a_labelled_node_looks_in_its_own_zone_and_where_the_zone_is_unknown() -> None:
    hood = One("eu").neighbourhood
    assert [hood.may_be_near(tag) for tag in (tag_of("eu"), 0, tag_of("us"))] == [True, True, False]


def test_a_node_without_label_looks_wherever_it_is_not_known_to_be_far() -> None:
    one = One()
    assert one.neighbourhood.may_be_near(5)
    one.meet("x", tag=5, rtts_s=FAR_RTTS_S)
    hood = one.neighbourhood
    assert [hood.may_be_near(tag) for tag in (one.zone, 0, 5, 6)] == [True, True, False, True]
    one.meet("y", tag=5, rtts_s=(NEAR_S,))
    assert one.zone == min(one.zone, 5)


def test_zones_known_to_be_far_are_forgotten_before_they_fill_the_memory() -> None:
    one = One(saved=1)
    far = one.meet("x", rtts_s=FAR_RTTS_S)
    for tag in range(2, 2 + 3 * FAR_TAGS_MAX):
        one.neighbourhood.told(far, tag)
    known = [tag for tag in range(2, 2 + 3 * FAR_TAGS_MAX) if not one.neighbourhood.may_be_near(tag)]
    assert known == list(range(2 + 2 * FAR_TAGS_MAX, 2 + 3 * FAR_TAGS_MAX)), "the latest"


# -- agreement ------------------------------------------------------------------------------------

Pair: TypeAlias = tuple[int, int]
Event: TypeAlias = tuple[str, Pair]
Word: TypeAlias = Literal["hello"] | ZoneTag


class Crowd:
    """Neighbourhoods whose every hello, pong, telling and timer the test orders; each direction of a link keeps the
    order of what is told on it, as TCP does."""

    def __init__(self, saved: list[ZoneTag], links: dict[Pair, bool]) -> None:
        self.links = {(one, other): near for pair, near in links.items() for one, other in (pair, (pair[1], pair[0]))}
        self.queues: dict[Pair, deque[Word]] = {pair: deque(("hello",)) for pair in self.links}
        self.ends = {pair: link_to(f"n{pair[1]}") for pair in self.links}
        self.greeted: dict[Pair, None] = {}
        self.held: list[dict[ZoneTag, None]] = [{tag: None} for tag in saved]
        self.environments = [Environment(Random(number)) for number in range(len(saved))]
        self.nodes = [self.node(number, tag) for number, tag in enumerate(saved)]

    def node(self, number: int, saved: ZoneTag) -> Neighbourhood:
        def tell(told: ZoneTold) -> None:
            for pair in self.greeted:
                if pair[0] == number:
                    self.say(pair, told.zone)

        return Neighbourhood(self.environments[number], "", saved, tell)

    def say(self, pair: Pair, word: Word) -> None:
        """``pair[0]`` says it to ``pair[1]``."""
        self.queues[pair[1], pair[0]].append(word)

    def possible(self) -> list[Event]:
        """What can happen next: at an end of a link something told arrives, or a pong, or a node's timer is due."""
        told: list[Event] = [("told", pair) for pair, queue in self.queues.items() if queue]
        pongs: list[Event] = [("pong", pair) for pair in self.greeted if self.ends[pair].pongs < FAR_AGREEING]
        due = [number for number, one in enumerate(self.environments) if one.next_timer_s is not None]
        return told + pongs + [("timer", (number, number)) for number in due]

    def happen(self, event: Event) -> None:
        kind, pair = event
        number = pair[0]
        node, environment = self.nodes[number], self.environments[number]
        if kind == "timer":
            environment.now = Now(environment.next_timer_s or 0.0, 0)
            environment.run_due()
        elif kind == "pong":
            link = self.ends[pair]
            link.measured(NEAR_S if self.links[pair] else FAR_S)
            link.pongs += 1
            node.measured(link)
        else:
            self.arrive(pair, self.queues[pair].popleft())
        self.held[number][node.zone] = None

    def arrive(self, pair: Pair, word: Word) -> None:
        node, link = self.nodes[pair[0]], self.ends[pair]
        if isinstance(word, int):
            node.told(link, word)
            return
        self.greeted[pair] = None
        node.greeted(link)
        if node.zone:
            self.say(pair, node.zone)

    def neighbourhoods(self) -> list[list[int]]:
        """The nodes that near links connect."""
        found: list[list[int]] = []
        left = dict.fromkeys(range(len(self.nodes)))
        while left:
            reached = [next(iter(left))]
            for number in reached:
                left.pop(number, None)
                reached += [
                    other
                    for (one, other), near in self.links.items()
                    if near and one == number and other not in reached
                ]
            found.append(reached)
        return found


@settings(max_examples=200)
@given(st.data())
def test_all_whom_near_links_connect_agree_on_the_smallest_tag_that_one_of_them_had(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 6), "nodes")
    saved = data.draw(st.lists(st.sampled_from((0, 0, 0, 5, TAG_MAX)), min_size=count, max_size=count), "saved tags")
    kinds = {pair: data.draw(st.sampled_from((None, True, False)), str(pair)) for pair in combinations(range(count), 2)}
    crowd = Crowd(saved, {pair: near for pair, near in kinds.items() if near is not None})
    while events := crowd.possible():
        crowd.happen(events[data.draw(st.integers(0, len(events) - 1), "next")])
    for members in crowd.neighbourhoods():
        held = [tag for number in members for tag in crowd.held[number] if tag]
        knows_far = any(one in members and not near for (one, _), near in crowd.links.items())
        assert bool(held) == (knows_far or any(saved[number] for number in members))
        assert {crowd.nodes[number].zone for number in members} == {min(held, default=0)}
        for pair, link in crowd.ends.items():
            if pair[0] in members:
                assert (link.near, link.zone) == (crowd.links[pair], crowd.nodes[pair[1]].zone)
