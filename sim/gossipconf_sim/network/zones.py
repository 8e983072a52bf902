"""Zones: where hosts are, and what distance costs. Knows the globe; knows no hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt
from random import Random
from typing import Final

from ..conditions import NetworkConditions
from ..options import MISSING, option

EARTH_RADIUS_KM: Final = 6371.0

PairDelays = dict[tuple[str, str], float]
"""One-way delay in seconds between two zones, without jitter."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A place with hosts."""

    name: str = option(MISSING, "what nodes call it, a path such as eu-west/a")
    weight: float = option(1.0, "its share of the hosts, beside the other zones' weights", least=0)
    latitude: float | None = option(None, "degrees north; with it distance makes the delays", least=-90, most=90)
    longitude: float | None = option(None, "degrees east", least=-180, most=180)


def distance_km(one: Zone, other: Zone) -> float:
    """Great-circle distance between two placed zones (haversine formula)."""
    assert one.latitude is not None
    assert other.latitude is not None
    assert one.longitude is not None
    assert other.longitude is not None
    north, south = radians(one.latitude), radians(other.latitude)
    across = radians(other.longitude - one.longitude)
    chord = sin((south - north) / 2) ** 2 + cos(north) * cos(south) * sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(chord))


def pair_delays(zones: Sequence[Zone], conditions: NetworkConditions) -> PairDelays:
    """One-way delays between placed zones; none if any zone has no place."""
    if not zones or any(zone.latitude is None or zone.longitude is None for zone in zones):
        return {}
    delays = {}
    for one in zones:
        for other in zones:
            far_ms = conditions.rtt_base_ms + distance_km(one, other) / conditions.km_per_rtt_ms
            rtt_ms = conditions.rtt_inside_ms if one is other else far_ms
            delays[one.name, other.name] = rtt_ms / 2000
    return delays


def place(zones: Sequence[Zone], nodes: int, rng: Random) -> list[str]:
    """The zone of each of ``nodes`` hosts, in proportion to the weights (largest remainders), shuffled."""
    if not zones:
        return [""] * nodes
    total = sum(zone.weight for zone in zones)
    exact = [nodes * zone.weight / total for zone in zones]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(zones)), key=lambda index: (counts[index] - exact[index], index))
    for index in by_remainder[: nodes - sum(counts)]:
        counts[index] += 1
    placed = [zone.name for zone, count in zip(zones, counts, strict=True) for _ in range(count)]
    rng.shuffle(placed)
    return placed
