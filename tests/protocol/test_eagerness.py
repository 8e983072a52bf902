"""Eagerness: outcomes move scores, scores move who is asked, with a gap between asking and taking back."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.encoding import encode
from gossipconf.protocol.eagerness import (
    EAGER_SHARE,
    GAIN,
    GAIN_FIRST,
    GRAFT_ABOVE,
    LEARNED,
    PRUNE_BELOW,
    SCORE_FIRST,
    SCORE_GRAFTED,
    Eagerness,
    decode_learned,
    encode_learned,
    wants_pushes_at_first,
)
from gossipconf.protocol.messages import GRAFT_ZONES_MAX

ZONE, OTHER = 7, 9


def outcomes_until(link: Eagerness, verdict: bool, *, won: bool) -> int:
    """How many equal outcomes lead to a verdict."""
    for count in range(1, 1_000):
        if (said := link.score(ZONE, won=won)) is not None:
            assert said is verdict
            return count
    raise AssertionError("no verdict")


def settled(link: Eagerness, wins: float) -> Eagerness:
    """So many outcomes are behind it that the next ones have the least weight, and its score is ``wins``."""
    while link.scores.get(ZONE) is None or link.scores[ZONE].outcomes < GAIN_FIRST / GAIN:
        link.score(ZONE, won=True)
    link.scores[ZONE].wins = wins
    return link


# -- what this node asks for ----------------------------------------------------------------------


def test_the_first_outcomes_weigh_more() -> None:
    link = Eagerness(True)
    wins = SCORE_FIRST
    for number in range(20):
        gain = max(GAIN, GAIN_FIRST / (1 + number))
        wins += gain * (1 - wins)
        link.score(ZONE, won=True)
        assert link.wins(ZONE) == pytest.approx(wins)
    assert link.wins(OTHER) == SCORE_FIRST


def test_a_link_that_never_wins_is_taken_back_and_one_that_would_win_is_asked() -> None:
    eager = settled(Eagerness(True), 1.0)
    lost = outcomes_until(eager, False, won=False)
    assert (1 - GAIN) ** lost < PRUNE_BELOW <= (1 - GAIN) ** (lost - 1)
    lazy = settled(Eagerness(False), 0.0)
    won = outcomes_until(lazy, True, won=True)
    assert 1 - (1 - GAIN) ** won > GRAFT_ABOVE >= 1 - (1 - GAIN) ** (won - 1)


def test_a_verdict_stands_until_who_gets_it_has_acted() -> None:
    link = settled(Eagerness(True), 0.0)
    assert [link.score(ZONE, won=False) for _ in range(3)] == [False] * 3
    link.asked_for(ZONE, eager=False)
    assert [link.score(ZONE, won=False) for _ in range(3)] == [None] * 3


def test_between_the_levels_nobody_is_moved() -> None:
    """So that chance does not graft and prune the same link in turn."""
    for eager in (True, False):
        link = settled(Eagerness(eager), (PRUNE_BELOW + GRAFT_ABOVE) / 2)
        assert (link.score(ZONE, won=True), link.score(ZONE, won=False)) == (None, None)


def test_who_was_just_grafted_stays_for_some_outcomes() -> None:
    link = settled(Eagerness(False), GRAFT_ABOVE)
    link.asked_for(ZONE, eager=True)
    assert link.wins(ZONE) == SCORE_GRAFTED
    assert outcomes_until(link, False, won=False) > 10
    better = settled(Eagerness(False), 0.9)
    better.asked_for(ZONE, eager=True)
    assert better.wins(ZONE) == 0.9


def test_each_zone_is_learned_by_itself() -> None:
    link = settled(Eagerness(True), 0.0)
    link.asked_for(ZONE, eager=False)
    assert (link.is_asked_for(ZONE), link.is_asked_for(OTHER)) == (False, True)
    assert link.score(OTHER, won=True) is None


def test_a_discredit_counts_as_much_as_a_lost_outcome_of_a_sure_winner() -> None:
    link = settled(Eagerness(True), 1.0)
    assert link.discredit(ZONE) is None
    assert link.wins(ZONE) == pytest.approx(1 - GAIN)
    link.scores[ZONE].wins = PRUNE_BELOW + GAIN / 2
    assert link.discredit(ZONE) is False


@given(st.lists(st.tuples(st.integers(0, 3 * GRAFT_ZONES_MAX), st.booleans()), max_size=300), st.booleans())
def test_however_many_zones_are_named_a_bounded_number_is_learned(told: list[tuple[int, bool]], eager: bool) -> None:
    link = Eagerness(eager)
    for zone, won in told:
        verdict = link.score(zone, won=won)
        if verdict is not None:
            link.asked_for(zone, eager=verdict)
        link.discredit(zone)
    assert len(link.scores) == min(GRAFT_ZONES_MAX, len({zone for zone, _ in told}))


# -- what the peer asks for -----------------------------------------------------------------------


def test_nothing_is_pushed_before_the_peer_asks() -> None:
    link = Eagerness(True)
    assert not link.pushes(ZONE)
    link.asked((ZONE,), eager=True)
    assert (link.pushes(ZONE), link.pushes(OTHER)) == (True, False)
    link.asked((ZONE,), eager=False)
    assert not link.pushes(ZONE)


@pytest.mark.parametrize("eager", [True, False])
def test_who_names_no_zone_means_all_also_those_named_before(eager: bool) -> None:
    link = Eagerness(True)
    link.asked((ZONE,), eager=not eager)
    link.asked((), eager=eager)
    assert (link.pushes(ZONE), link.pushes(OTHER)) == (eager, eager)
    link.asked((ZONE,), eager=not eager)
    assert (link.pushes(ZONE), link.pushes(OTHER)) == (not eager, eager)


def test_zones_that_a_peer_names_fill_no_memory() -> None:
    link = Eagerness(True)
    for first in range(0, 10_000, GRAFT_ZONES_MAX):
        link.asked(range(first, first + GRAFT_ZONES_MAX), eager=True)
    assert len(link.outgoing) == GRAFT_ZONES_MAX
    assert link.pushes(GRAFT_ZONES_MAX - 1)
    assert not link.pushes(GRAFT_ZONES_MAX)
    link.asked((0,), eager=False)
    assert not link.pushes(0), "those that are known can still be taken back"


# -- new links ------------------------------------------------------------------------------------


def test_every_far_link_is_asked_until_some_are_known_to_be_good() -> None:
    rng = Random(0)
    assert all(wants_pushes_at_first(outcomes, 9, rng) for outcomes in range(LEARNED))
    assert all(wants_pushes_at_first(10 * LEARNED, far_links, rng) for far_links in range(2))


def test_later_a_share_of_the_new_ones_is_asked() -> None:
    rng = Random(0)
    asked = sum(wants_pushes_at_first(LEARNED, 2, rng) for _ in range(4_000)) / 4_000
    assert asked == pytest.approx(EAGER_SHARE, abs=0.03)


# -- over a restart -------------------------------------------------------------------------------


def test_what_was_learned_survives_a_restart_and_is_not_shared() -> None:
    learned = Eagerness(True)
    for _ in range(20):
        if learned.score(7, won=False) is False:
            learned.asked_for(7, eager=False)
        learned.score(8, won=True)
    learned.asked([9], eager=True)
    again = decode_learned(encode_learned({"a": learned}))["a"]
    assert (again.eager_in, again.asked_otherwise()) == (True, (7,))
    assert again.wins(8) == pytest.approx(learned.wins(8), abs=0.001)
    assert not again.pushes(9), "what the peer asked for it asks again"
    other = again.afresh()
    other.asked_for(7, eager=True)
    assert again.asked_otherwise() == (7,)


@pytest.mark.parametrize("data", [b"", b"\xc0", encode([["a", True]]), encode([["a", True, [[1, 2, 3]]]])])
def test_what_cannot_be_read_is_learned_again(data: bytes) -> None:
    assert decode_learned(data) == {}
