"""Explore: random scenarios with random faults, each from one seed, all checkers on.

Small clusters and short runs, many of them: what breaks an invariant nearly always does
so with a handful of nodes. A seed says everything: the scenario and the run.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from gossipconf.protocol.views import LINKS_MAX

from ..hostile.byzantine import BEHAVIOURS
from ..scenario.faults import FAULTS
from ..scenario.scenario import Scenario, from_values
from ..scenario.staging import Staging
from .play import simulate

NODES_MAX: Final = 12
"""Faults between few nodes meet each other most often, and a seed takes seconds."""
SPAN_S: Final = 20.0
"""In which publishes and faults come: longer than a silent link lives, so that nodes notice."""
UPLOAD_S: Final = 30.0
"""In which every uplink can send every value to all peers once."""
HEAL_LIMIT_S: Final = 180.0
"""The design gives ten seconds for a partition alone; several faults at once, with retries at their longest waits
of half a minute one after the other, take longer. A run that does not heal in this time never does."""

STAGED_SHARE: Final = 0.15
"""Of the seeds; more would cost the others time."""
KINDS: Final = tuple(kind for kind in FAULTS if kind != Staging.KIND)
"""Faults that are drawn; epochs are staged besides."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one seed; no violations is what is hoped for."""

    seed: int
    nodes: int
    events: int
    violations: tuple[str, ...]


def random_scenario(seed: int, *, staged: bool = False) -> Scenario:
    """The scenario of ``seed``. ``staged``: epochs of a strict prefix are staged in it, as in some they are anyway."""
    rng = Random(f"explore/{seed}")
    nodes = rng.randint(1, NODES_MAX)
    values: dict[str, Any] = {
        "description": "Random conditions, publishes and faults.",
        "nodes": nodes,
        "seeds": rng.randint(1, 3),
        "start": rng.choice(("joined", "cold")),
        "network": _network(rng),
        "hosts": _hosts(rng),
        "publish": _publish(rng),
        "measure": {
            "settle_s": rng.choice((0.0, 2.0)),
            "join_limit_s": rng.choice((0.0, 30.0)),
            "heal_limit_s": HEAL_LIMIT_S,
            "idle_s": 1.0,
            "check_every_s": rng.choice((0.0, 2.0)),
            "samples": 1,
        },
        "faults": [_fault(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))],
    }
    values["faults"] += _staging(Random(f"explore/{seed}/staging"), staged=staged)
    _widen(values["network"], values["publish"])
    _keep_disks(values["faults"])
    if rng.random() < 0.3:
        values["preload"] = {"keys": rng.randint(1, 50), "on": rng.choice(("all", "seeds"))}
    if rng.random() < 0.4:
        values["zones"] = [{"name": f"z{number}"} for number in range(rng.randint(1, 3))]
    if nodes > 3 and rng.random() < 0.3:
        share = rng.choice((1 / nodes, 0.3))
        behaviour = rng.choice(BEHAVIOURS)
        values["hostile"] = [{"behaviour": behaviour, "share": share}]
    return from_values(f"explore-{seed}", values)


def explore(seed: int, run: Callable[..., Any] = simulate, *, staged: bool = False) -> Finding:
    """Play the scenario of ``seed``. An exception out of the code under test is a finding like any other."""
    scenario = random_scenario(seed, staged=staged)
    try:
        result = run(scenario, seed).result
    except Exception as error:  # whatever it is, it is told, and the other seeds go on
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"raised: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return Finding(seed, scenario.nodes, 0, (words,))
    return Finding(seed, result.nodes, result.events, tuple(result.violations))


def _network(rng: Random) -> dict[str, Any]:
    values: dict[str, Any] = {"latency_ms": sorted((_log(rng, 0.1, 100), _log(rng, 0.1, 100)))}
    values["jitter"] = [1.0, rng.choice((1.0, 1.15, 3.0, 20.0))]
    if rng.random() < 0.3:
        values["loss"] = round(rng.uniform(0, 0.3), 3)
    if rng.random() < 0.2:
        values["duplicate"] = round(rng.uniform(0, 0.3), 3)
    if rng.random() < 0.2:
        values["resets_per_link_per_h"] = round(_log(rng, 1, 1000), 3)
    if rng.random() < 0.2:
        values["bandwidth_mbit_s"] = round(_log(rng, 0.3, 100), 3)
    return values


def _hosts(rng: Random) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if rng.random() < 0.3:
        values["disk_ms"] = sorted((_log(rng, 0.1, 200), _log(rng, 0.1, 200)))
    if rng.random() < 0.2:
        values["processing_us"] = round(_log(rng, 10, 2_000), 1)
    if rng.random() < 0.3:
        values["clock_skew_ms"] = round(_log(rng, 1, 10_000_000), 1)
    if rng.random() < 0.2:
        values["zone_labels"] = False
    return values


def _publish(rng: Random) -> dict[str, Any]:
    changes = rng.randint(0, 40)
    keys = rng.randint(1, 10)
    return {
        "changes": changes,
        "every_ms": SPAN_S * 1000 / max(changes, 1) * rng.choice((0.02, 0.5, 1.0)),
        "origins": rng.choice(("all", "all", "one")),
        "keys": keys,
        "entries": rng.randint(1, min(keys, 4)),
        "value_bytes": rng.choice((1, 100, 100, 40_000)),
        "deletes": rng.choice((0.0, 0.3)),
    }


def _widen(network: dict[str, Any], publish: dict[str, Any]) -> None:
    """Uplinks that can carry what is published over all links: who is sent more than fits does not heal in time."""
    if "bandwidth_mbit_s" in network:
        bits = 8 * publish["changes"] * publish["entries"] * publish["value_bytes"] * LINKS_MAX
        network["bandwidth_mbit_s"] = max(network["bandwidth_mbit_s"], bits / UPLOAD_S / 1e6)


def _keep_disks(faults: list[dict[str, Any]]) -> None:
    """Where some are gone for good nobody loses a disk: who knows only a seed that is gone finds nobody, and nobody can
    be blamed for it. Nor where epochs are staged: who has lost its disk needs a new name there."""
    gone = any(fault["kind"] == "crash" and not fault["down_s"] for fault in faults)
    if gone or any(fault["kind"] == "staging" for fault in faults):
        for fault in faults:
            if "empty_disk" in fault:
                fault["empty_disk"] = False


def _fault(rng: Random) -> dict[str, Any]:
    """Any fault, at any time, with options drawn from what is allowed and interesting."""
    kind = rng.choice(KINDS)
    values: dict[str, Any] = {"kind": kind, "at_s": round(rng.uniform(0, SPAN_S), 3)}
    for_s = round(_log(rng, 0.1, 60), 3)
    share = round(rng.uniform(0, 1), 3)
    match kind:
        case "partition":
            values |= {"for_s": for_s, "sides": rng.randint(2, 3), "by_zone": rng.random() < 0.3}
            values |= {"silent": rng.random() < 0.5, "one_way": rng.random() < 0.3}
            values |= {"bridges": rng.choice((0, 0, 1)), "flap_s": rng.choice((0.0, 0.0, round(_log(rng, 0.5, 10), 3)))}
        case "crash":
            values |= {"share": share, "down_s": rng.choice((0.0, for_s)), "machine": rng.random() < 0.5}
            values["empty_disk"] = rng.random() < 0.3
        case "churn":
            values |= {"for_s": for_s, "share_per_min": round(_log(rng, 0.1, 20), 3), "down_s": _log(rng, 0.01, 20)}
            values |= {"machine": rng.random() < 0.5, "empty_disk": rng.random() < 0.2}
        case "rolling-restart":
            values |= {"every_s": round(_log(rng, 0.01, 5), 3), "down_s": round(_log(rng, 0.01, 20), 3), "share": share}
        case "bad-network":
            values |= {"for_s": for_s, "loss": round(rng.uniform(0, 0.6), 3), "drop": rng.choice((0.0, 0.05, 0.5))}
            values |= {"duplicate": rng.choice((0.0, 0.3)), "latency_factor": rng.choice((1.0, 10.0))}
            values["resets"] = rng.choice((0.0, 0.5, 1.0))
        case "fork":
            values |= {"forks": rng.randint(1, 3), "branches": rng.randint(2, 12)}
        case "theft":
            values |= {"changes": rng.randint(1, 8), "for_s": round(_log(rng, 0.5, 30), 3)}
        case "slow-reader":
            values |= {"for_s": for_s, "share": share, "read_kib_s": round(_log(rng, 0.5, 100), 3)}
        case "slow-disk":
            values |= {"for_s": for_s, "share": share, "factor": round(_log(rng, 2, 1000), 1)}
        case _:
            values |= {"for_s": for_s, "share": share}
    return values


def _staging(rng: Random, *, staged: bool) -> list[dict[str, Any]]:
    """Epochs that are staged meanwhile, or nothing. From a generator of its own: a seed's other draws stay what they
    were."""
    if rng.random() > STAGED_SHARE and not staged:
        return []
    return [
        {
            "kind": Staging.KIND,
            "at_s": round(rng.uniform(0, SPAN_S / 4), 3),
            "stages": rng.randint(1, 12),
            "every_s": round(_log(rng, 0.3, 5), 3),
            "rivals": rng.choice((0.0, 0.5, 1.0)),
            "members": rng.choice((1.0, 0.6)),
            "remove": rng.choice((0, 0, 1, 2)),
        }
    ]


def _log(rng: Random, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(low * (high / low) ** rng.random())
