"""Epochs of a strict prefix in the simulator: the invariant holds, a node that breaks it is found, and the figures."""

from __future__ import annotations

from typing import Any

import pytest

from gossipconf.protocol.participant import Standing
from gossipconf_sim.run.explore import explore, random_scenario
from gossipconf_sim.run.play import simulate
from gossipconf_sim.run.result import Result
from gossipconf_sim.scenario.scenario import load

QUIET: dict[str, Any] = {"kind": "staging", "stages": 4, "every_s": 3}


def scenario(nodes: int, *faults: dict[str, Any], **staging: Any) -> Any:
    every_s = QUIET["every_s"] * 1000
    overrides = {"nodes": nodes, "publish.changes": 6, "publish.every_ms": every_s, "measure.idle_s": 0}
    return load("staging", overrides | {"faults": [QUIET | staging, *faults]})


def quiet(nodes: int) -> Result:
    result = simulate(scenario(nodes), 1).result
    assert result.violations == []
    assert result.epochs is not None
    assert (result.epochs.committed, result.epochs.aborted, result.epochs.complete) == (4, 0, 4)
    return result


def test_from_the_last_ack_all_have_switched_within_two_disseminations() -> None:
    """Of the word to all, onto disk here and there: as a publish that all readers see, and one write more."""
    result = quiet(20)
    assert result.epochs is not None
    assert result.epochs.switch_ms is not None
    assert result.visible_ms is not None
    assert result.epochs.switch_ms.max <= 2 * result.visible_ms.p50


@pytest.mark.slow
def test_a_hundred_participants_switch_within_two_deliveries() -> None:
    """There the way to the last node takes longer than the disks."""
    result = quiet(100)
    assert result.epochs is not None
    assert result.epochs.switch_ms is not None
    assert result.last_delivery_ms is not None
    assert result.epochs.switch_ms.max <= 2 * result.last_delivery_ms.p50


def test_rivals_crashes_partitions_and_a_removal_break_nothing() -> None:
    faults = (
        {"kind": "churn", "at_s": 8, "for_s": 10, "share_per_min": 4, "down_s": 2},
        {"kind": "partition", "at_s": 12, "for_s": 9},
    )
    result = simulate(scenario(7, *faults, stages=12, rivals=0.5, members=0.7, remove=1), 3).result
    assert result.violations == []
    assert result.epochs is not None
    assert result.epochs.committed >= 2
    assert result.epochs.aborted >= 1


def test_a_node_that_serves_the_old_epoch_while_it_is_fenced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standing, "served", property(lambda standing: standing.epoch))
    violations = simulate(scenario(7), 1).result.violations
    assert any(one.startswith("together: ") for one in violations)


@pytest.mark.parametrize("seed", range(4))
def test_seeds_in_which_epochs_are_staged_are_clean(seed: int) -> None:
    assert any(fault.KIND == "staging" for fault in random_scenario(seed, staged=True).faults)
    assert explore(seed, staged=True).violations == ()


def test_without_stages_there_are_no_figures_of_them() -> None:
    assert simulate(load("lan", {"nodes": 3, "publish.changes": 2})).result.epochs is None
