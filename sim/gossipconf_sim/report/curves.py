"""Curves: what the pictures of a run show, as numbers. Knows no colours and no pages.

Of many changes, a curve shows for each share of the nodes the median, least and
greatest time over the changes until it has been reached, so that a bound, which holds
for each change alone, holds for the median curve too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.views import ONLY_NEAR

from ..network.zones import pair_delays
from ..run.meter import Tracked
from ..run.play import Run
from ..scenario.faults import BadNetwork
from ..scenario.scenario import Scenario
from .bounds import direct_bound_s, direct_delays_s, hop_bound_s

Numbers = NDArray[np.float64]

LEVELS_MAX: Final = 400
"""Shares at which a curve is drawn: more than a picture has dots."""
BINS: Final = 60
WIDE: Final = 25.0
"""Times that are so many times their median need a logarithmic axis."""
CLASSES: Final = tuple(one.name.lower() for one in FrameClass)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Times in s since the publish, inf for never.

    shares:     of the nodes that should have a change, from the publisher alone to all
    median_s, fastest_s, slowest_s:  over the changes, when each share has it
    bound_s:    nobody's median can be earlier
    placed:     whether the bound is distance, or else the shape of the overlay
    degree:     the most links of a node, for the latter
    """

    shares: Numbers
    median_s: Numbers
    fastest_s: Numbers
    slowest_s: Numbers
    bound_s: Numbers
    placed: bool
    degree: int


def coverage(run: Run) -> Coverage | None:
    """The S-curve of a run; None if nothing was delivered."""
    changes = [
        (change, missing)
        for change, missing in zip(run.changes, run.missing, strict=True)
        if change.deliveries or missing
    ]
    if not any(change.deliveries for change, _ in changes):
        return None
    most = max(1 + change.deliveries + missing for change, missing in changes)
    levels = min(LEVELS_MAX, most)
    shares = np.arange(1, levels + 1) / levels
    bounds = _Bounds(run)
    measured, bound = [], []
    for change, missing in changes:
        total = 1 + change.deliveries + missing
        places = np.ceil(shares * total - 1e-9).astype(int) - 1
        measured.append(_padded(np.concatenate([[0.0], np.sort(delays_s(change))]), total)[places])
        bound.append(_padded(bounds.of(change), total)[places])
    ordered = np.sort(np.array(measured), axis=0)
    middle = (len(changes) + 1) // 2 - 1
    median_bound = np.sort(np.array(bound), axis=0)[middle]
    return Coverage(shares, ordered[middle], ordered[0], ordered[-1], median_bound, bounds.placed, bounds.degree)


def delays_s(change: Tracked) -> Numbers:
    """The delays of a change's deliveries, in the order in which they came."""
    return np.asarray(change.delays_s, dtype=float)


def _padded(times: Numbers, total: int) -> Numbers:
    """``times``, and never for those who are left."""
    return np.concatenate([times, np.full(max(0, total - len(times)), inf)])


class _Bounds:
    """The bound for each change of a run."""

    def __init__(self, run: Run) -> None:
        scenario = run.scenario
        direct_s = direct_delays_s(pair_delays(scenario.zones, scenario.network))
        self.placed = bool(direct_s)
        self.degree = max(ONLY_NEAR, *degrees(run), 0)
        self._zones = run.zones
        self._factor = least_factor(scenario)
        self._direct_s = direct_s
        self._to_hosts_s: dict[str, Numbers] = {}
        least_s = scenario.network.latency_ms[0] / 1000 * self._factor
        self._by_hops = np.empty(0) if self.placed else hop_bound_s(len(run.zones), self.degree, least_s)

    def of(self, change: Tracked) -> Numbers:
        """Of the publisher and each further node that got ``change``, the earliest time."""
        if not self.placed:
            return self._by_hops[: 1 + change.deliveries]
        zone = self._zones[change.origin]
        if zone not in self._to_hosts_s:
            row = np.array([self._direct_s[zone, other] for other in self._zones])
            self._to_hosts_s[zone] = row * self._factor
        return direct_bound_s(self._to_hosts_s[zone][np.asarray(change.receivers, dtype=int)])


def least_factor(scenario: Scenario) -> float:
    """What a delay is multiplied with at least: the least jitter, and faults that make the network faster."""
    factors = [fault.latency_factor for fault in scenario.faults if isinstance(fault, BadNetwork)]
    return scenario.network.jitter[0] * min([1.0, *factors])


def is_wide(run: Run) -> bool:
    """Whether the deliveries of a run are too far apart for an even axis."""
    spread = run.result.delivery_ms
    return spread is not None and spread.max > WIDE * max(spread.p50, 1e-6)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of a sample in bins between ``edges_s``."""

    edges_s: Numbers
    shares: Numbers


def histograms(run: Run) -> tuple[Histogram, Histogram] | None:
    """All deliveries, and the last of each change, over the same bins; None if there are none."""
    spread = run.result.delivery_ms
    if spread is None:
        return None
    last_s = spread.max / 1000
    first_s = min(float(delays_s(change).min()) for change in run.changes if change.deliveries)
    if is_wide(run):
        edges = np.geomspace(max(first_s, 1e-6) * 0.999, max(last_s, 2e-6) * 1.001, BINS + 1)
    else:
        edges = np.linspace(0.0, max(last_s, 1e-6) * 1.001, BINS + 1)
    every, last = np.zeros(BINS), np.zeros(BINS)
    for change in run.changes:
        if change.deliveries:
            every += np.histogram(np.maximum(delays_s(change), edges[0]), edges)[0]
            last += np.histogram([max(change.last_delay_s, float(edges[0]))], edges)[0]
    return Histogram(edges, every / every.sum()), Histogram(edges, last / last.sum())


@dataclass(frozen=True, slots=True)
class Timeline:
    """The samples of a run as columns. Bytes by class since the first sample."""

    times_s: Numbers
    sent_bytes: Numbers
    running: Numbers
    roots: Numbers

    def rates(self, edges_s: Numbers) -> Numbers:
        """Bytes that a running node sends a second in each bin between ``edges_s``: a row for each class."""
        sent = np.array([np.interp(edges_s, self.times_s, column) for column in self.sent_bytes])
        middles = (edges_s[1:] + edges_s[:-1]) / 2
        running = np.maximum(1.0, np.interp(middles, self.times_s, self.running))
        spans_s = np.diff(edges_s)
        return np.asarray(np.diff(sent, axis=1) / np.maximum(spans_s, 1e-12) / running)


def timeline(run: Run) -> Timeline | None:
    """What was sampled over virtual time; None if there is no span of time."""
    samples = run.samples
    if len(samples) < 2 or samples[-1].time_s <= samples[0].time_s:
        return None
    sent = np.array([sample.sent_bytes for sample in samples], dtype=float).T
    return Timeline(
        np.array([sample.time_s for sample in samples]),
        sent - sent[:, :1],
        np.array([sample.running for sample in samples], dtype=float),
        np.array([sample.roots for sample in samples], dtype=float),
    )


def pairs(run: Run) -> list[tuple[int, int]]:
    """The linked pairs of hosts at the last publish, each once, in order."""
    return sorted({(min(pair), max(pair)) for pair in run.edges})


def degrees(run: Run) -> list[int]:
    """Of each host, the number of its neighbours at the last publish."""
    counted = Counter(host for pair in pairs(run) for host in pair)
    return [counted[host] for host in range(len(run.zones))]


def median_change(run: Run) -> Tracked | None:
    """The change whose last delivery is the median of all; None if nothing was delivered."""
    delivered = sorted((change for change in run.changes if change.deliveries), key=lambda one: one.last_delay_s)
    return delivered[(len(delivered) + 1) // 2 - 1] if delivered else None


def distances(links: Sequence[tuple[int, int]], hosts: int, origin: int) -> list[int | None]:
    """Of each host, how many links it is from ``origin``; None if it cannot be reached."""
    neighbours: list[list[int]] = [[] for _ in range(hosts)]
    for one, other in links:
        neighbours[one].append(other)
        neighbours[other].append(one)
    found: list[int | None] = [None] * hosts
    found[origin] = 0
    waiting = deque([origin])
    while waiting:
        host = waiting.popleft()
        for neighbour in _unseen(neighbours[host], found):
            found[neighbour] = (found[host] or 0) + 1
            waiting.append(neighbour)
    return found


def _unseen(hosts: Sequence[int], found: Sequence[int | None]) -> Iterator[int]:
    return (host for host in hosts if found[host] is None)
