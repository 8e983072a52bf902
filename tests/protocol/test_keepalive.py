"""Keepalive: what is silent is asked and closed at the exact moment, and who doubts itself waits longer."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.protocol.environment import Environment, Now
from gossipconf.protocol.keepalive import (
    HEALTH_MAX,
    HELLO_LIMIT_S,
    LATE_S,
    QUIET_S,
    SLOW_S,
    URGENT_S,
    Keepalive,
    look_s,
)
from gossipconf.protocol.link import DEVIATION_SMOOTHING, SMOOTHING, Link
from gossipconf.protocol.messages import Hello, Message, Ping
from gossipconf.protocol.tuning import LAN

A_MOMENT_S = 0.001
SILENT_S = LAN.keepalive_s * LAN.silences_max


class Watch:
    """A keepalive by itself. Links are the test's to make, and time its to set."""

    def __init__(self, lively: int = 3) -> None:
        self.environment = Environment(Random(0))
        self.keepalive = Keepalive(self.environment, self.send)
        self.links: list[Link] = []
        self.lively: list[Link] = []
        self.sent: list[tuple[Link, Message]] = []
        self.closed: list[tuple[int, str]] = []
        for _ in range(lively):  # always heard just now, so that it is not alone whoever else falls silent
            self.lively.append(dataclasses.replace(self.link(), heard_s=1e9))
            self.links.clear()

    def send(self, link: Link, message: Message) -> None:
        self.sent.append((link, message))

    def close(self, link: Link, reason: str) -> None:
        link.closing = True
        self.closed.append((link.id, reason))

    @property
    def now_s(self) -> float:
        return self.environment.now.monotonic_s

    def link(self, *, greeted: bool = True) -> Link:
        number = len(self.links) + 1
        hello = Hello(1, 1, 0, bytes(32), f"p{number}", bytes(8), "", "", "") if greeted else None
        link = Link(number, f"p{number}", True, "x:1", self.now_s, self.now_s, hello=hello, greeted=greeted)
        self.links.append(link)
        return link

    def wait(self, duration_s: float) -> None:
        self.environment.now = Now(self.now_s + duration_s, 0)

    def look_after(self, duration_s: float) -> float:
        """Let time pass without a look, then look; when one is due again."""
        self.wait(duration_s)
        return self.look()

    def look(self) -> float:
        return self.keepalive.look([*self.lively, *self.links], self.close)

    def live_for(self, duration_s: float) -> None:
        """Look whenever it is due."""
        end_s = self.now_s + duration_s
        due_s = self.look()
        while due_s + A_MOMENT_S <= end_s:
            due_s = self.look_after(due_s + A_MOMENT_S - self.now_s)
        self.look_after(end_s - self.now_s)

    def asked(self) -> list[int]:
        """The links that were pinged since the last call."""
        sent, self.sent = self.sent, []
        assert all(message == Ping(link.pings) for link, message in sent)
        return [link.id for link, _ in sent]

    def answer(self, link: Link, after_s: float = 0.0) -> None:
        """The peer answers the ping that is out."""
        self.wait(after_s)
        link.heard_s = self.now_s
        self.keepalive.pong(link, link.pings)

    def doubting(self, steps: int) -> Watch:
        """Itself, after so many answers that were late."""
        link = self.link()
        for _ in range(steps):
            self.keepalive.ping(link)
            self.answer(link, SLOW_S + A_MOMENT_S)
        assert self.keepalive.health == steps
        self.links.clear()
        self.sent.clear()
        return self


# -- silence --------------------------------------------------------------------------------------


def test_a_quiet_link_is_pinged_once_and_closed_after_three_silences() -> None:
    watch = Watch()
    link = watch.link()
    watch.live_for(LAN.keepalive_s)
    assert watch.asked() == []
    watch.live_for(2 * A_MOMENT_S)
    assert watch.asked() == [link.id]
    watch.live_for(SILENT_S - LAN.keepalive_s - 4 * A_MOMENT_S)
    assert (watch.asked(), watch.closed) == ([], [])
    watch.live_for(4 * A_MOMENT_S)
    assert watch.closed == [(link.id, f"silent for {SILENT_S:g} s")]
    assert link.lost
    watch.live_for(10 * SILENT_S)
    assert (watch.asked(), len(watch.closed)) == ([], 1)


def test_whoever_answers_is_asked_again_after_the_next_silence() -> None:
    watch = Watch()
    link = watch.link()
    for _ in range(20):
        watch.live_for(LAN.keepalive_s + A_MOMENT_S)
        assert watch.asked() == [link.id]
        watch.answer(link)
    assert watch.closed == []


def test_without_a_hello_it_is_closed_sooner_and_never_pinged() -> None:
    watch = Watch()
    link = watch.link(greeted=False)
    watch.live_for(HELLO_LIMIT_S)
    assert watch.closed == []
    watch.live_for(2 * A_MOMENT_S)
    assert watch.closed == [(link.id, f"no hello within {HELLO_LIMIT_S:g} s")]
    assert not link.lost, "it was never up"
    assert watch.asked() == []


def test_only_the_answer_to_the_latest_ping_tells_a_round_trip() -> None:
    watch = Watch()
    link = watch.link()
    assert not watch.keepalive.pong(link, 0), "nothing was asked"
    watch.keepalive.ping(link)
    watch.keepalive.ping(link)
    assert watch.asked() == [link.id]
    watch.wait(0.25)
    assert not watch.keepalive.pong(link, link.pings + 1)
    assert watch.keepalive.pong(link, link.pings)
    assert not watch.keepalive.pong(link, link.pings), "once"
    assert (link.rtt_s, link.rtt_least_s, link.pongs, link.ping_s) == (0.25, 0.25, 1, None)


def test_round_trips_are_smoothed_as_in_tcp() -> None:
    link = Watch().link()
    link.measured(0.1)
    assert (link.rtt_s, link.rtt_dev_s) == (0.1, 0.0)
    link.measured(0.3)
    assert link.rtt_s == pytest.approx(0.1 + SMOOTHING * 0.2)
    assert link.rtt_dev_s == pytest.approx(DEVIATION_SMOOTHING * 0.2)
    assert link.rtt_least_s == 0.1
    link.measured(0.05)
    assert link.rtt_least_s == 0.05


@given(st.data())
def test_nothing_is_due_before_the_time_that_a_look_tells(data: st.DataObject) -> None:
    watch = Watch().doubting(data.draw(st.integers(0, 2), "health"))
    for _ in range(data.draw(st.integers(1, 3), "links")):
        watch.wait(data.draw(st.sampled_from((0.0, 0.3, 2.0, 4.9, 5.1)), "later"))
        link = watch.link(greeted=data.draw(st.booleans(), "greeted"))
        if link.greeted and data.draw(st.booleans(), "pinged"):
            watch.wait(data.draw(st.sampled_from((0.0, QUIET_S, 2.0)), "pause"))
            watch.keepalive.ping(link, urgent=data.draw(st.booleans(), "urgent"))
    due_s = watch.look()
    while len(watch.closed) < len(watch.links):
        watch.sent.clear()
        done = len(watch.closed)
        between_s = (due_s - watch.now_s) * data.draw(st.floats(0, 1), "between")
        again_s = watch.look_after(between_s)
        assert (watch.sent, len(watch.closed)) == ([], done)
        assert again_s == pytest.approx(due_s)
        waits = any(link.ping_s is not None for link in watch.links if not link.closing)
        due_s = watch.look_after(due_s + A_MOMENT_S - watch.now_s)
        assert watch.sent or len(watch.closed) > done or waits, "then something is, or would be if the answer had come"


# -- what is pushed asks too ----------------------------------------------------------------------


def test_a_peer_that_says_nothing_after_a_push_is_asked_and_waited_for_but_briefly() -> None:
    watch = Watch()
    link = watch.link()
    assert watch.keepalive.pushed(link)
    watch.live_for(QUIET_S)
    assert watch.asked() == [link.id]
    watch.live_for(URGENT_S)
    assert watch.closed == []
    watch.live_for(2 * A_MOMENT_S)
    assert watch.closed == [(link.id, f"no answer within {URGENT_S:g} s")]
    assert link.lost


def test_a_peer_that_says_anything_after_a_push_is_not_asked() -> None:
    watch = Watch()
    link = watch.link()
    watch.keepalive.pushed(link)
    watch.wait(QUIET_S / 2)
    link.heard_s = watch.now_s
    watch.live_for(LAN.keepalive_s)
    assert watch.asked() == []
    assert watch.keepalive.pushed(link), "a sign of life is awaited anew"


def test_many_pushes_ask_once_and_do_not_put_the_end_off() -> None:
    watch = Watch()
    link = watch.link()
    for step in range(10):
        assert watch.keepalive.pushed(link) == (step == 0)
        watch.live_for((QUIET_S + URGENT_S) / 10)
    watch.live_for(4 * A_MOMENT_S)
    assert watch.asked() == [link.id]
    assert len(watch.closed) == 1


def test_an_answer_ends_the_urgency_and_any_word_puts_the_end_off() -> None:
    watch = Watch()
    answered, heard = watch.link(), watch.link()
    for link in (answered, heard):
        watch.keepalive.pushed(link)
    watch.live_for(QUIET_S)
    watch.answer(answered, 0.1)
    watch.live_for(URGENT_S - 0.2)
    heard.heard_s = watch.now_s
    watch.live_for(URGENT_S)
    assert watch.closed == []
    watch.live_for(2 * A_MOMENT_S)
    assert watch.closed == [(heard.id, f"no answer within {URGENT_S:g} s")], "it has still not answered"


def test_a_push_makes_a_ping_that_is_out_urgent() -> None:
    watch = Watch()
    link = watch.link()
    watch.live_for(LAN.keepalive_s + A_MOMENT_S)
    assert watch.asked() == [link.id]
    assert watch.keepalive.pushed(link)
    watch.live_for(QUIET_S)
    assert watch.asked() == []
    watch.live_for(URGENT_S - QUIET_S + 2 * A_MOMENT_S)
    assert len(watch.closed) == 1


# -- most peers silent ----------------------------------------------------------------------------


@pytest.mark.parametrize("health", [0, 2])
def test_whoever_most_peers_have_left_does_not_wait_for_the_others(health: int) -> None:
    """It is cut off, or they are; there is nothing to be lost by looking for others at once."""
    watch = Watch(lively=0).doubting(health)
    watch.lively = []
    for _ in range(4):
        watch.link()
    watch.live_for(LAN.keepalive_s + URGENT_S * (1 + health) + A_MOMENT_S)
    assert watch.closed == []
    watch.live_for(3 * A_MOMENT_S)
    assert [reason for _, reason in watch.closed] == [f"no answer within {URGENT_S * (1 + health):g} s"] * 4


def test_half_of_the_peers_are_not_most() -> None:
    watch = Watch(lively=2)
    for _ in range(2):
        watch.link()
    watch.live_for(SILENT_S - A_MOMENT_S)
    assert watch.closed == []


# -- local health ---------------------------------------------------------------------------------


def test_late_answers_raise_health_and_prompt_ones_lower_it() -> None:
    watch = Watch()
    link = watch.link()
    seen = []
    for after_s in (SLOW_S, SLOW_S + A_MOMENT_S, 2 * SLOW_S, SLOW_S, 0.0, 0.0):
        watch.keepalive.ping(link)
        watch.answer(link, after_s)
        seen.append(watch.keepalive.health)
    assert seen == [0, 1, 2, 1, 0, 0]


def test_health_is_bounded() -> None:
    watch = Watch()
    link = watch.link()
    for _ in range(3 * HEALTH_MAX):
        watch.keepalive.ping(link)
        watch.answer(link, SLOW_S + A_MOMENT_S)
    assert watch.keepalive.health == HEALTH_MAX


@pytest.mark.parametrize("health", [0, 1, HEALTH_MAX])
def test_every_wait_is_longer_by_its_base_for_each_step(health: int) -> None:
    watch = Watch().doubting(health)
    silent, urgent = watch.link(), watch.link()
    begin_s = watch.now_s
    watch.keepalive.pushed(urgent)
    watch.live_for(QUIET_S + URGENT_S * (1 + health))
    assert watch.closed == []
    watch.live_for(4 * A_MOMENT_S)
    assert watch.closed == [(urgent.id, f"no answer within {URGENT_S * (1 + health):g} s")]
    watch.live_for(begin_s + LAN.keepalive_s * (LAN.silences_max + health) - watch.now_s)
    assert len(watch.closed) == 1
    watch.live_for(2 * A_MOMENT_S)
    assert watch.closed[1] == (silent.id, f"silent for {LAN.keepalive_s * (LAN.silences_max + health):g} s")


def test_peers_that_are_gone_raise_no_doubt() -> None:
    """Many may crash at once, and must be missed soon."""
    watch = Watch()
    for _ in range(20):
        watch.link()
    watch.live_for(SILENT_S + A_MOMENT_S)
    assert len(watch.closed) == 20
    assert watch.keepalive.health == 0


def stopped(watch: Watch, duration_s: float) -> None:
    """The process stands still from now until well after its next look was due."""
    due_s = watch.look()
    watch.look_after(due_s + duration_s - watch.now_s)


def test_a_look_that_comes_late_raises_health_and_closes_nobody() -> None:
    watch = Watch()
    links = [watch.link(), watch.link()]
    watch.live_for(LAN.keepalive_s + A_MOMENT_S)
    watch.keepalive.pushed(links[0])
    watch.asked()
    stopped(watch, 100.0)
    assert (watch.keepalive.health, watch.closed) == (1, [])
    watch.live_for(2 * A_MOMENT_S)
    assert watch.asked() == [link.id for link in links], "asked anew"
    watch.live_for(10 * SILENT_S)
    assert len(watch.closed) == 2, "and missed at last if they are gone"


def test_a_look_that_is_hardly_late_raises_nothing() -> None:
    watch = Watch()
    watch.link()
    stopped(watch, LAN.refill_s + LATE_S)
    assert watch.keepalive.health == 0
    stopped(watch, LAN.refill_s + LATE_S + A_MOMENT_S)
    assert watch.keepalive.health == 1


def test_an_answer_from_before_a_stop_tells_no_round_trip() -> None:
    """It has waited here to be read: neither is the way that long, nor as short as from the stop's end."""
    watch = Watch()
    link = watch.link()
    watch.keepalive.ping(link)
    token = link.pings
    stopped(watch, 100.0)
    assert not watch.keepalive.pong(link, token)
    assert link.rtt_s is None


def test_when_a_link_must_be_looked_at() -> None:
    watch = Watch()
    link = watch.link(greeted=False)
    assert look_s(link, 0.0, LAN) == HELLO_LIMIT_S
    link = watch.link()
    assert look_s(link, 0.0, LAN) == LAN.keepalive_s
    link.ping_s, link.heard_s = 6.0, 0.5
    assert look_s(link, 7.0, LAN) == 6.0 + URGENT_S, "it may be alone then"
    assert look_s(link, 10.0, LAN) == 6.0 + LAN.keepalive_s, "or the answer may have come, and it be quiet again"
    assert look_s(link, 12.0, LAN) == 0.5 + SILENT_S
    link.awaited_s = 7.0
    assert look_s(link, 7.0, LAN) == 7.0 + QUIET_S
    link.urgent = True
    assert look_s(link, 7.0, LAN) == 6.0 + URGENT_S
    assert look_s(link, 7.0, LAN, patience=2) == 6.0 + 2 * URGENT_S
