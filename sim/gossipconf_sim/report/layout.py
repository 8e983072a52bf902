"""Layout: where the nodes of an overlay stand in a picture. Knows zones and links; draws nothing.

Zones are circles, as large as they have nodes, in the places that they have on the globe
or else on a ring; one that would cover another is pushed aside. Without zones nodes
stand in rings by the number of links between them and the one in the middle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt
from typing import Final

from ..network.zones import Zone
from .curves import distances

Place = tuple[float, float]

GOLDEN_ANGLE: Final = pi * (3 - sqrt(5))
"""Between two neighbours of a sunflower: it fills a circle evenly."""
FILLED: Final = 0.22
"""Share of the map that all circles together cover."""
GAP: Final = 1.25
"""Distance of two circles, in sums of their radii."""
PUSHES: Final = 300
"""Rounds of pushing; what covers each other after them may."""
COMPARED_MAX: Final = 3_000_000
"""Pairs of circles that are compared in all rounds together: some seconds."""


@dataclass(frozen=True, slots=True)
class Circle:
    """Where a zone is."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is.

    places:   of each host
    circles:  of each zone, by name; none where there is only one zone
    ways:     where there are rings, the link over which each host is as near to the middle as it can be
    """

    places: list[Place]
    circles: dict[str, Circle]
    ways: frozenset[tuple[int, int]]


def layout(zones: Sequence[Zone], of_hosts: Sequence[str], links: Sequence[tuple[int, int]], middle: int) -> Layout:
    """The places of hosts, by their zones or else by their distance from the host ``middle``."""
    members: dict[str, list[int]] = defaultdict(list)
    for host, name in enumerate(of_hosts):
        members[name].append(host)
    if len(members) < 2:
        return _rings(len(of_hosts), links, middle)
    counts = {name: len(members[name]) for name in sorted(members)}
    known = {zone.name: zone for zone in zones}
    if all(known[name].latitude is not None and known[name].longitude is not None for name in counts):
        circles = _on_globe(counts, known)
    else:
        circles = _on_ring(counts)
    places = [(0.0, 0.0)] * len(of_hosts)
    for name, hosts in members.items():
        for number, host in enumerate(hosts):
            places[host] = _sunflower(circles[name], number, len(hosts))
    return Layout(places, circles, frozenset())


def _on_globe(counts: Mapping[str, int], known: Mapping[str, Zone]) -> dict[str, Circle]:
    """Circles at longitude and latitude."""
    spots = {name: (known[name].longitude or 0.0, known[name].latitude or 0.0) for name in counts}
    widths = [max(axis) - min(axis) for axis in zip(*spots.values(), strict=True)]
    area = max(widths[0], widths[1], 1.0) * max(min(widths), max(widths) / 3, 1.0)
    unit = sqrt(FILLED * area / pi / sum(counts.values()))
    return _pushed({name: Circle(*spots[name], unit * sqrt(count)) for name, count in counts.items()})


def _on_ring(counts: Mapping[str, int]) -> dict[str, Circle]:
    """Circles around a ring in the order of their names, so that a/x stands beside a/y; each has its share of it."""
    radii = {name: sqrt(count) for name, count in counts.items()}
    total = 2 * GAP * sum(radii.values())
    ring = total / (2 * pi)
    circles, along = {}, 0.0
    for name, radius in radii.items():
        angle = pi / 2 - 2 * pi * (along + GAP * radius) / total
        along += 2 * GAP * radius
        circles[name] = Circle(ring * cos(angle), ring * sin(angle), radius)
    return _pushed(circles)


def _pushed(circles: dict[str, Circle]) -> dict[str, Circle]:
    """The circles, apart from each other; each gives way as much as the other is the larger one."""
    names = list(circles)
    for _ in range(min(PUSHES, 2 * COMPARED_MAX // len(names) ** 2)):
        moved = False
        for number, name in enumerate(names):
            for other in names[number + 1 :]:
                one, two = circles[name], circles[other]
                east, north = two.x - one.x, two.y - one.y
                apart, need = hypot(east, north), GAP * (one.radius + two.radius)
                if apart >= need * 0.999:
                    continue
                moved = True
                if apart < 1e-9:
                    east, north, apart = 1e-9, 0.0, 1e-9
                step, share = (need - apart) / apart, two.radius / (one.radius + two.radius)
                circles[name] = Circle(one.x - east * step * share, one.y - north * step * share, one.radius)
                share = 1 - share
                circles[other] = Circle(two.x + east * step * share, two.y + north * step * share, two.radius)
        if not moved:
            break
    return circles


def _sunflower(circle: Circle, number: int, count: int) -> Place:
    distance = 0.9 * circle.radius * sqrt((number + 0.5) / count)
    return circle.x + distance * cos(number * GOLDEN_ANGLE), circle.y + distance * sin(number * GOLDEN_ANGLE)


def _rings(hosts: int, links: Sequence[tuple[int, int]], middle: int) -> Layout:
    """Rings around ``middle``; who cannot be reached from there stands on the outermost."""
    found = distances(links, hosts, middle)
    outermost = max((one for one in found if one is not None), default=0) + 1
    rings: dict[int, list[int]] = defaultdict(list)
    for host, distance in enumerate(found):
        rings[outermost if distance is None else distance].append(host)
    parents = _parents(links, found)
    places = [(0.0, 0.0)] * hosts
    turns = [0.0] * hosts
    for ring in sorted(rings):
        order = sorted(rings[ring], key=lambda host: (turns[parents[host]] if host in parents else 0.0, host))
        for number, host in enumerate(order):
            turns[host] = (number + 0.5) / len(order)
            angle = pi / 2 - 2 * pi * turns[host]
            places[host] = (ring * cos(angle), ring * sin(angle))
    ways = frozenset((min(host, parent), max(host, parent)) for host, parent in parents.items())
    return Layout(places, {}, ways)


def _parents(links: Sequence[tuple[int, int]], found: Sequence[int | None]) -> dict[int, int]:
    """Of each host one that is nearer to the middle."""
    parents: dict[int, int] = {}
    for pair in links:
        for one, other in (pair, pair[::-1]):
            near, far = found[one], found[other]
            if near is not None and far is not None and near < far:
                parents.setdefault(other, one)
    return parents
