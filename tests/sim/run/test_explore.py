"""Random scenarios: the same for a seed, all of them valid, and what they have found stays found."""

from __future__ import annotations

import pytest

from gossipconf_sim.hostile.byzantine import BEHAVIOURS
from gossipconf_sim.run.explore import explore, random_scenario
from gossipconf_sim.run.play import Run
from gossipconf_sim.scenario.faults import FAULTS
from gossipconf_sim.scenario.scenario import Scenario

FOUND = {
    165: "a walk asked for some entries of a change, and its follower applied these and not the rest",
    277: "the same, among honest nodes, for three seconds",
    398: "the same, with a liar about",
    432: "what had superseded the rest of a change came a second later: repair, and no breach of atomicity",
    1023: "uplinks that cannot carry what is published do not heal in time: the scenario was too much",
    1230: "a flood of invented addresses kept nodes from dialling those that a partition had taken",
    3_118_898_937: "nodes that crashed before their first addresses were saved knew only a seed that was gone for good",
}
"""Seeds that once broke an invariant, and why."""
LONG = {1230}
"""Those of them that take half a minute."""
FOUND_STAGED = {
    297: "what had superseded the rest of a change was a thief's, and came a second later",
    426: "the host of a seed was removed for good, and nobody else could be found",
    510: "roots who did not know what they had signed signed two first epochs of one prefix",
    550: "the same",
}
"""The same of seeds with epochs staged."""


@pytest.mark.parametrize("seed", range(12))
def test_the_first_seeds_are_clean(seed: int) -> None:
    assert explore(seed).violations == ()


@pytest.mark.parametrize("seed", [pytest.param(one, marks=pytest.mark.slow) if one in LONG else one for one in FOUND])
def test_what_was_found_is_mended(seed: int) -> None:
    assert explore(seed).violations == ()


@pytest.mark.parametrize("seed", FOUND_STAGED)
def test_what_was_found_with_epochs_is_mended(seed: int) -> None:
    assert explore(seed, staged=True).violations == ()


def test_a_seed_says_everything() -> None:
    assert random_scenario(7) == random_scenario(7)
    assert random_scenario(7) != random_scenario(8)


def test_everything_is_drawn_sooner_or_later() -> None:
    drawn = [random_scenario(seed) for seed in range(400)]
    assert {fault.KIND for one in drawn for fault in one.faults} == set(FAULTS)
    assert {one.behaviour for scenario in drawn for one in scenario.hostile} == set(BEHAVIOURS)
    assert {one.start for one in drawn} == {"joined", "cold"}
    assert any(one.zones for one in drawn)
    assert any(one.network.bandwidth_mbit_s for one in drawn)


def test_an_exception_is_a_finding_with_its_place() -> None:
    def broken(scenario: Scenario, seed: int) -> Run:
        raise KeyError("what a node forgot")

    (words,) = explore(3, broken).violations
    assert words.startswith("raised: KeyError: 'what a node forgot' (test_explore.py:")
