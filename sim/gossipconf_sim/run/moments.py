"""Moments: when the curves over time are sampled.

Half of the samples are even over the time of publishes and faults, half come soon after
each beginning and end, where something happens: a partition of ten days would hide what
came before and after it from even ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

FIRST_S: Final = 0.02
"""From an edge to the first sample after it: a few round trips."""
AFTER_S: Final = 1.0
"""Even samples go on so long after the end."""
PER_EDGE_LEAST: Final = 8
"""Samples after each edge, however many edges there are."""


def moments(samples: int, edges_s: Iterable[float], ends_s: float, limit_s: float) -> list[float]:
    """Times in order, from 0 to ``limit_s``, for about ``samples`` samples.

    edges_s:  when something begins or ends
    ends_s:   when all publishes and faults are over
    """
    edges = sorted({edge_s for edge_s in (0.0, *edges_s, ends_s) if 0 <= edge_s < limit_s})
    even = max(1, samples // 2)
    times = {(ends_s + AFTER_S) * number / even for number in range(even + 1)} | {limit_s}
    each = max(PER_EDGE_LEAST, samples // 2 // max(1, len(edges)))
    for edge_s, next_s in pairwise([*edges, limit_s]):
        times.add(edge_s)
        times.update(_closer_at_first(edge_s, next_s, each))
    return sorted(time_s for time_s in times if time_s <= limit_s)


def _closer_at_first(begin_s: float, end_s: float, count: int) -> Iterable[float]:
    """``count`` times between the two, each so many times further from the beginning than the one before."""
    span_s = end_s - begin_s
    if span_s <= FIRST_S:
        return
    factor = (span_s / FIRST_S) ** (1 / count)
    for number in range(count):
        yield begin_s + FIRST_S * factor**number
