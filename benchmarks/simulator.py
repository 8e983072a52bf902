"""How fast the simulator runs the shipped protocol, and how much memory a node takes.

The bound beside it is a bare heap of events that do nothing: what any simulator of this
design in Python could reach at most, measured in the same run on the same machine. Each
size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from time import perf_counter
from typing import Any, Final

DESCRIPTION: Final = "events a second and memory of `gossipconf-sim run lan`, beside a bare heap of events"

BARE_EVENTS: Final = 500_000
"""Enough for a tenth of a second's precision."""
BARE_WAITING: Final = 10_000
"""Events in the heap at any time: about what a run of a thousand nodes has."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--nodes", default="1000,10000", help="sizes, separated by commas (default: %(default)s)")
    parser.add_argument("--changes", type=int, default=50, help="changes in each run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all sizes, and of the bound before and after them."""
    before = bare_events_per_s()
    runs = [_run(int(nodes), options.changes, options.seed) for nodes in options.nodes.split(",")]
    after = bare_events_per_s()
    return {
        "benchmark": "simulator",
        "python": platform.python_version(),
        "bare_heap_events_per_s": [round(before), round(after)],
        "runs": runs,
    }


def bare_events_per_s() -> float:
    """Events that do nothing but plan the next one."""
    from gossipconf_sim.world.schedule import Schedule  # noqa: PLC0415 - the other half of this file needs none of it

    schedule = Schedule()

    def again() -> None:
        schedule.later(1.0, again)

    for number in range(BARE_WAITING):
        schedule.at(number / BARE_WAITING, again)
    begin_s = perf_counter()
    schedule.run(BARE_EVENTS / BARE_WAITING)
    return schedule.events_run / (perf_counter() - begin_s)


def _run(nodes: int, changes: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "gossipconf_sim.cli", "run", "lan", "--nodes", str(nodes), "--seed", str(seed)]
    command += ["--set", f"publish.changes={changes}", "--json", "-"]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    kept = ("nodes", "changes", "violations", "events", "virtual_s", "wall_s", "events_per_s", "peak_rss_mib")
    return {key: result[key] for key in kept} | {"kib_per_node": round(result["peak_rss_mib"] * 1024 / nodes, 1)}
