"""Joining: how soon nodes that start have a link, and how many handshakes that costs the seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from ..world.world import World
from .meter import Meter
from .result import Joining, Spread

WINDOW_S: Final = 1.0
"""Handshakes are counted in every window of this length, wherever it begins."""


def joining(world: World, meter: Meter) -> Joining:
    """The figures of a run that is over."""
    hosts = world.honest()
    linked = [host for host in hosts if meter.linked_s.get(host.index, -1.0) >= host.started_s]
    seeds = [(host, host.admitted_s) for host in world.hosts.values() if host.admitted_s is not None]
    return Joining(
        first_link_s=Spread.of(meter.linked_s[host.index] - host.started_s for host in linked),
        unlinked=len(hosts) - len(linked),
        seed_handshakes=sum(len(admitted_s) for _, admitted_s in seeds),
        seed_handshakes_per_s_max=max((busiest(admitted_s) for _, admitted_s in seeds), default=0),
        seed_refusals=sum(host.refused_dials for host, _ in seeds),
    )


def busiest(times_s: Iterable[float]) -> int:
    """The most of ``times_s``, which are in order, that lie in one window (its end is no part of it)."""
    window: deque[float] = deque()
    most = 0
    for time_s in times_s:
        window.append(time_s)
        while window[0] <= time_s - WINDOW_S:
            window.popleft()
        most = max(most, len(window))
    return most
