"""Small runs for the tests of curves, pictures and reports."""

from __future__ import annotations

from typing import Any, Final

from gossipconf_sim.run.play import Run, simulate
from gossipconf_sim.scenario.scenario import Scenario, from_values

SHORT: Final[dict[str, Any]] = {"idle_s": 0.5, "samples": 40, "settle_s": 0.5}
ZONES: Final = [
    {"name": "eu/a", "latitude": 50.0, "longitude": 8.0, "weight": 2},
    {"name": "eu/b", "latitude": 48.0, "longitude": 2.0},
    {"name": "us<1>", "latitude": 40.0, "longitude": -74.0},
]
PARTITION: Final = {"kind": "partition", "at_s": 0.5, "for_s": 300.0}
UNHEALED: Final[dict[str, Any]] = {
    "nodes": 5,
    "publish": {"changes": 3},
    "network": {"latency_ms": [1000, 1000]},
    "measure": {"heal_limit_s": 0, "idle_s": 0.1, "settle_s": 10.0},
}
"""A scenario that ends before its changes can have arrived: a violation that is true."""


def scenario(**values: Any) -> Scenario:
    """A scenario that is over soon."""
    values = {"nodes": 12, "publish": {"changes": 6}, "measure": SHORT} | values
    return from_values("small", {"description": "Small & <quick>."} | values)


def play(seed: int = 0, **values: Any) -> Run:
    """Run `scenario`."""
    return simulate(scenario(**values), seed)
