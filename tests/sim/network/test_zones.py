"""Zones: distances on the globe, the delays that they make, and which host goes where."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import acos, cos, pi, radians, sin
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf_sim.conditions import NetworkConditions
from gossipconf_sim.network.zones import EARTH_RADIUS_KM, Zone, distance_km, pair_delays, place
from gossipconf_sim.scenario.admins import cluster
from gossipconf_sim.scenario.scenario import load
from gossipconf_sim.world.world import World

FRANKFURT = Zone("eu-central", latitude=50.1109, longitude=8.6821)
SINGAPORE = Zone("ap-southeast", latitude=1.3521, longitude=103.8198)
VIRGINIA = Zone("us-east", latitude=38.9072, longitude=-77.0369)
POLE = Zone("pole", latitude=90.0, longitude=0.0)
EQUATOR = Zone("equator", latitude=0.0, longitude=123.0)

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
zones = st.builds(Zone, st.just("z"), st.just(1.0), latitudes, longitudes)


QUARTER_KM = EARTH_RADIUS_KM * pi / 2


def by_cosines_km(one: Zone, other: Zone) -> float:
    """Another formula: the angle between two directions from the centre."""
    points = []
    for zone in (one, other):
        north, east = radians(zone.latitude or 0.0), radians(zone.longitude or 0.0)
        points.append((cos(north) * cos(east), cos(north) * sin(east), sin(north)))
    return EARTH_RADIUS_KM * acos(sum(a * b for a, b in zip(*points, strict=True)))


def test_distances_are_great_circles() -> None:
    assert distance_km(POLE, EQUATOR) == pytest.approx(QUARTER_KM)
    west, east = Zone("w", latitude=0.0, longitude=-179.5), Zone("e", latitude=0.0, longitude=179.5)
    assert distance_km(west, east) == pytest.approx(QUARTER_KM / 90), "the short way, over the date line"
    for one, other in combinations((FRANKFURT, SINGAPORE, VIRGINIA, POLE, EQUATOR), 2):
        assert distance_km(one, other) == pytest.approx(by_cosines_km(one, other))
    assert distance_km(FRANKFURT, SINGAPORE) == pytest.approx(10_260, rel=0.01)


@given(zones, zones)
def test_a_distance_is_symmetric_and_at_most_half_way_round(one: Zone, other: Zone) -> None:
    assert distance_km(one, other) == pytest.approx(distance_km(other, one), abs=1e-6)
    assert 0 <= distance_km(one, other) <= EARTH_RADIUS_KM * pi * 1.000001
    assert distance_km(one, one) == pytest.approx(0, abs=1e-3)


def test_a_delay_is_half_of_base_and_distance() -> None:
    conditions = NetworkConditions(rtt_base_ms=10.0, km_per_rtt_ms=100.0, rtt_inside_ms=2.0)
    delays = pair_delays((FRANKFURT, SINGAPORE), conditions)
    far_s = (10 + distance_km(FRANKFURT, SINGAPORE) / 100) / 2000
    assert delays == {
        ("eu-central", "eu-central"): 0.001,
        ("eu-central", "ap-southeast"): pytest.approx(far_s),
        ("ap-southeast", "eu-central"): pytest.approx(far_s),
        ("ap-southeast", "ap-southeast"): 0.001,
    }


def test_zones_without_a_place_make_no_delays() -> None:
    assert pair_delays((), NetworkConditions()) == {}
    assert pair_delays((FRANKFURT, Zone("nowhere")), NetworkConditions()) == {}


def test_hosts_are_as_far_apart_as_their_zones() -> None:
    delays = pair_delays((FRANKFURT, SINGAPORE), NetworkConditions())
    world = World(cluster(), zone_delays_s=delays)
    one, two, far = (
        world.add(name, zone=zone, start=False)
        for name, zone in (("a", "eu-central"), ("b", "eu-central"), ("c", "ap-southeast"))
    )
    assert world.delay(one, two) == 0.0005
    assert world.delay(one, far) == world.delay(far, two) == delays["eu-central", "ap-southeast"]
    assert not world.network.connect(one, two).crosses
    assert world.network.connect(one, far).crosses


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.integers(0, 500), st.integers(0, 1 << 32))
def test_hosts_are_placed_in_proportion(weights: list[float], nodes: int, seed: int) -> None:
    total = sum(weights)
    if total <= 0:
        return
    made = [Zone(f"z{number}", weight) for number, weight in enumerate(weights)]
    placed = Counter(place(made, nodes, Random(seed)))
    assert sum(placed.values()) == nodes
    for zone in made:
        exact = nodes * zone.weight / total
        assert exact - 1 < placed[zone.name] < exact + 1


def test_hosts_are_shuffled_and_the_same_for_a_seed() -> None:
    made = [Zone("a"), Zone("b")]
    placed = place(made, 100, Random(1))
    assert placed == place(made, 100, Random(1))
    assert placed != place(made, 100, Random(2))
    assert placed != sorted(placed)
    assert place([], 3, Random(1)) == ["", "", ""]


def test_the_shipped_wide_area_has_its_places() -> None:
    scenario = load("wan19")
    delays = pair_delays(scenario.zones, scenario.network)
    assert len(scenario.zones) == 19
    assert len(delays) == 19 * 19
    far = [delay_s for (one, other), delay_s in delays.items() if one != other]
    assert 0.002 < min(far) < max(far) < 0.15
