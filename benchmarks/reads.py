"""What a read costs a program that runs the agent in its own process, beside the bound of 1 µs.

One agent with its journal on a disk, opened as a program opens it. Reads are timed in a thread of their own, in
batches so short that the clock's own cost is shared out and most are not interrupted; first while nothing happens, then
while changes are published at the agent, as many as --changes-per-s says or the machine can. Signing,
verifying, writing and making snapshots is all in this process too, and takes its turns with the reading thread, which
sleeps between two batches: one that never does would leave the trio thread a turn every 5 ms.
A bare look-up in a dict, in the same loop, is what Python itself takes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter, perf_counter_ns, sleep
from typing import Any, Final

import trio

from gossipconf import Agent, Bound
from gossipconf.cli.operate import init, pki
from gossipconf.cli.target import ADMIN_KEY, NODES
from gossipconf.trust.keys import Signer, load_signer

DESCRIPTION: Final = "what a read costs in the agent's own process, while nothing happens and while changes come"

BOUND_NS: Final = 1_000
READS_IN_BATCH: Final = 100
"""20 µs: far above the clock's own cost, far below the 5 ms after which Python lets another thread run."""
PAUSE_S: Final = 0.0005
"""Between two batches."""
PUBLISHING_MAX: Final = 64
"""Publishes under way at once: they share commits."""
ENTRIES_AT_ONCE: Final = 1_000
SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Limits:
    """Two of the keys, bound."""

    k0: int
    k1: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--keys", type=int, default=10_000, help="keys with a value (default: %(default)s)")
    parser.add_argument("--reads", type=int, default=300_000, help="reads of each kind (default: %(default)s)")
    parser.add_argument(
        "--changes-per-s", type=int, default=100, help="changes published meanwhile (default: %(default)s)"
    )
    parser.add_argument("--values-per-change", type=int, default=10, help="values in each (default: %(default)s)")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where the disk is (default: the system's temporary)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of quiet and of busy reads."""
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="gossipconf-reads-", dir=options.directory) as directory:
        home = Path(directory) / "cluster"
        with contextlib.redirect_stdout(io.StringIO()):  # what they would tell a person
            init.init(home, name="reads")
            pki.make_node("n", listen="127.0.0.1:0", join=[], cluster=home)
        figures = trio.run(_measure, home / NODES / "n", load_signer(home / ADMIN_KEY), options)
    return {
        "benchmark": "reads",
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": round(load_before, 2),
        "keys": options.keys,
        "bound_ns": BOUND_NS,
        **figures,
    }


async def _measure(settings: Path, signer: Signer, options: argparse.Namespace) -> dict[str, Any]:
    keys = [f"app/k{number}" for number in range(options.keys)]
    async with Agent.open(settings, environment={}) as agent:
        for begin in range(0, len(keys), ENTRIES_AT_ONCE):
            await agent.publish(dict.fromkeys(keys[begin : begin + ENTRIES_AT_ONCE], 30), signer=signer)
        await agent.publish({"app/tree": {"a": 1, "b": [1, 2], "c": "x"}}, signer=signer)
        bound = agent.bind(Limits, "app")
        batches = max(1, options.reads // READS_IN_BATCH)
        quiet = await trio.to_thread.run_sync(partial(_all_kinds, agent, bound, keys, batches))
        publisher = _Publisher(agent, signer, keys[2:], options.changes_per_s, options.values_per_change)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.run)
            busy = await trio.to_thread.run_sync(partial(_all_kinds, agent, bound, keys, batches))
            nursery.cancel_scope.cancel()
    return {
        "quiet": quiet,
        "busy": {
            "changes_per_s": round(publisher.per_s()),
            "values_per_s": round(publisher.per_s() * options.values_per_change),
            **busy,
        },
    }


class _Publisher:
    """Publishes one change after the other, evenly, as fast as it is told and the machine can."""

    def __init__(self, agent: Agent, signer: Signer, keys: Sequence[str], per_s: int, values: int) -> None:
        self._values = values
        self._agent, self._signer, self._keys, self._pace_s = agent, signer, keys, 1 / per_s
        self._published = 0
        self._begin_s = self._end_s = perf_counter()

    def per_s(self) -> float:
        """Changes that were on the disk and readable, a second."""
        return self._published / (self._end_s - self._begin_s)

    async def run(self) -> None:
        """Publish for ever."""
        limiter = trio.Semaphore(PUBLISHING_MAX)
        self._begin_s = perf_counter()
        async with trio.open_nursery() as nursery:
            due_s = trio.current_time()
            for number in range(1_000_000_000):
                due_s += self._pace_s
                await trio.sleep_until(due_s)
                await limiter.acquire()
                nursery.start_soon(self._publish, number, limiter)

    async def _publish(self, number: int, limiter: trio.Semaphore) -> None:
        try:
            first = number * self._values
            values = {self._keys[one % len(self._keys)]: number for one in range(first, first + self._values)}
            await self._agent.publish(values, signer=self._signer)
        finally:
            limiter.release()
        self._published += 1
        self._end_s = perf_counter()


def _all_kinds(agent: Agent, bound: Bound[Limits], keys: Sequence[str], batches: int) -> dict[str, Any]:
    rng = Random(SEED)
    chosen = [rng.choice(keys) for _ in range(READS_IN_BATCH)]
    bare = dict.fromkeys(keys, 30)
    return {
        "get_int": _figures(lambda key: agent.get(key, int), chosen, batches),
        "get_bytes": _figures(lambda key: agent.get(key, bytes), chosen, batches),
        "get_of_a_tree": _figures(lambda key: agent.get("app/tree", dict), chosen, batches),
        "get_default": _figures(lambda key: agent.get("app/none", int, 3), chosen, batches),
        "bound_value": _figures(lambda key: bound.value, chosen, batches),
        "bare_dict": _figures(lambda key: bare[key], chosen, batches),
    }


def _figures(read: Callable[[str], object], keys: Sequence[str], batches: int) -> dict[str, Any]:
    """Median and 99th percentile over batches of the time of one read, and the share of batches within the bound."""
    took_ns = []
    for _ in range(batches):
        begin_ns = perf_counter_ns()
        for key in keys:
            read(key)
        took_ns.append((perf_counter_ns() - begin_ns) / len(keys))
        sleep(PAUSE_S)
    took_ns.sort()
    within = sum(one <= BOUND_NS for one in took_ns) / batches
    return {
        "median_ns": round(statistics.median(took_ns)),
        "p99_ns": round(took_ns[math.ceil(batches * 0.99) - 1]),
        "within_bound": round(within, 4),
    }
