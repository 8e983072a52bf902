"""Bounds: how soon a change can be where, whatever the protocol. Delays in seconds; knows no run.

Between placed zones physics is the bound: no message is faster than the way from the
publisher to a node. Elsewhere it is the shape of the overlay: a node tells its
neighbours, they theirs, and each step costs at least the least one-way delay.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from ..network.zones import PairDelays


def reach(hops: int, degree: int) -> int:
    """The nodes that a change can have reached after ``hops`` links where no node has more than ``degree``:

    1 + k + k(k - 1) + k(k - 1)² + … + k(k - 1)^(hops - 1)

    (the Moore bound): the publisher tells k neighbours, and each of these k - 1 further ones.
    """
    reached, reaching = 1, degree
    for _ in range(hops):
        reached, reaching = reached + reaching, reaching * (degree - 1)
    return reached


def least_hops(nodes: int, degree: int) -> int | None:
    """The hops after which `reach` can be ``nodes``; None if never."""
    hops = 0
    while reach(hops, degree) < nodes:
        if reach(hops + 1, degree) == reach(hops, degree):
            return None
        hops += 1
    return hops


def hop_bound_s(nodes: int, degree: int, delay_s: float) -> NDArray[np.float64]:
    """Of the first, second, … node that a change reaches, the publisher being the first: the earliest time.

    The i-th node has it after `least_hops`(i, k) times the least one-way delay.
    """
    times = np.full(nodes, inf)
    hops, before, reached = 0, 0, 1
    while before < nodes:
        times[before:reached] = hops * delay_s
        hops, before, reached = hops + 1, reached, reach(hops + 1, degree)
        if reached == before:
            break
    return times


def direct_delays_s(delays_s: PairDelays) -> PairDelays:
    """The least time from zone to zone: that of the direct way, or of one over others if it costs less.

    Floyd and Warshall: d(a, b) = min(d(a, b), d(a, z) + d(z, b)) over every zone z in turn. A way over
    others is shorter only where the delays inside a zone are set above those between zones.
    """
    names = list(dict.fromkeys(one for one, _ in delays_s))
    least = np.array([[delays_s[one, other] for other in names] for one in names])
    for over in range(len(names)):
        least = np.minimum(least, least[:, over : over + 1] + least[over : over + 1, :])
    return {
        (one, other): float(least[row, column]) for row, one in enumerate(names) for column, other in enumerate(names)
    }


def direct_bound_s(to_receivers_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `hop_bound_s`, from the `direct_delays_s` between the publisher's zone and that of each receiver."""
    return np.concatenate([[0.0], np.sort(to_receivers_s)])
