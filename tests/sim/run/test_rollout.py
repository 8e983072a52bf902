"""A bad canary at a pace: how many have it when the limit of votes is reached, and that then nobody reads it."""

from __future__ import annotations

import pytest

from gossipconf_sim.run.play import simulate
from gossipconf_sim.run.result import Rollout
from gossipconf_sim.scenario.scenario import load

SMALL = {
    "nodes": 100,
    "canary.percent": 50.0,
    "canary.over_s": 500.0,
    "canary.notice_s": [1.0, 3.0],
    "canary.for_s": 150.0,
}
"""Ten seconds from one to the next who joins, as far as chance has it."""


def rollout(seed: int = 0, **overrides) -> Rollout:
    result = simulate(load("canary", overrides), seed).result
    assert result.violations == []
    assert result.canary is not None
    return result.canary


@pytest.mark.parametrize("seed", range(5))
def test_at_a_pace_few_have_it_when_the_limit_is_reached_and_nobody_after_that(seed: int) -> None:
    found = rollout(seed, **SMALL)
    assert found.limit_s is not None
    assert 0.03 <= found.applied_at_limit <= 0.06
    assert found.applied == found.applied_at_limit
    assert found.votes >= 3
    assert found.halted == 1.0
    assert found.halt_ms is not None
    assert found.halt_ms.max < 100


def test_at_once_all_of_them_have_it_before_anybody_complains() -> None:
    found = rollout(**(SMALL | {"canary.over_s": 0.0}))
    assert found.applied_at_limit == found.applied
    assert 0.35 <= found.applied <= 0.65, "within three deviations of a half"
    assert found.halted == 1.0


def test_votes_below_the_limit_hold_nothing_off() -> None:
    found = rollout(**(SMALL | {"canary.halt_after": 200, "canary.over_s": 0.0}))
    assert found.limit_s is None
    assert found.halted == 0.0
    assert found.votes == round(100 * found.applied)


def test_there_is_no_canary_where_none_is_asked_for() -> None:
    assert simulate(load("canary", {"nodes": 3, "canary.percent": 0.0})).result.canary is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_of_a_thousand_nodes_at_most_one_in_a_hundred_has_it(seed: int) -> None:
    found = rollout(seed)
    assert found.share_intended == 0.05
    assert found.limit_s is not None
    assert found.applied_at_limit <= 0.01
    assert found.applied <= 0.01
    assert found.halted == 1.0
