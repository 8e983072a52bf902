"""The shipped scenario partition-heal in its variants: equal soon after the heal, at hardly more than what was missing.

docs/simulator.md has the figures of more seeds and sizes.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.scenario import load

CONVERGENCE_MS_MAX: Final = 10_000.0
REPAIR_RATIO_MAX: Final = 1.2
"""Sent for repair, by what was missing, at values of 400 bytes."""
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "10 s": {"faults.0.for_s": 10.0},
    "three ways": {"faults.0.for_s": 60.0, "faults.0.sides": 3},
    "one way": {"faults.0.for_s": 60.0, "faults.0.one_way": True},
    "a bridge that flaps": {
        "faults.0.for_s": 60.0,
        "faults.0.bridges": 1,
        "faults.0.bridge_flap_s": 5.0,
        "publish.changes": 600,  # until the end, or nothing is missing there
    },
}


def heal(seed: int, **options: Any) -> tuple[float, float]:
    """How long after the heal all were equal, in ms, and what it took by what was missing."""
    result = simulate(load("partition-heal", options | {"measure.idle_s": 0.0}), seed).result
    assert result.violations == []
    assert result.delivered_fraction == 1.0
    assert result.convergence_ms is not None
    assert result.repair is not None
    assert result.repair.missing_bytes > 0, "the partition has kept nothing from anybody: it is no test"
    return result.convergence_ms, result.repair.bytes / result.repair.missing_bytes


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_partition_heals_fast_and_cheaply(variant: str) -> None:
    convergence_ms, ratio = heal(0, **VARIANTS[variant])
    assert convergence_ms <= CONVERGENCE_MS_MAX
    assert ratio <= REPAIR_RATIO_MAX


@pytest.mark.slow
def test_many_neighbours_that_offer_the_same_do_not_all_send_it() -> None:
    # Each node gets what it lacks from one of its eight neighbours, though all have it within a round trip.
    convergence_ms, ratio = heal(1, nodes=100, **VARIANTS["three ways"])
    assert convergence_ms <= CONVERGENCE_MS_MAX
    assert ratio <= REPAIR_RATIO_MAX


@pytest.mark.slow
def test_an_hour_apart_heals_as_fast() -> None:
    convergence_ms, ratio = heal(0)
    assert convergence_ms <= CONVERGENCE_MS_MAX
    assert ratio <= REPAIR_RATIO_MAX
