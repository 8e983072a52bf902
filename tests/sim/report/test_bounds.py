"""Bounds against cases worked by hand."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from gossipconf_sim.conditions import NetworkConditions
from gossipconf_sim.network.zones import Zone, pair_delays
from gossipconf_sim.report.bounds import direct_bound_s, direct_delays_s, hop_bound_s, least_hops, reach


@pytest.mark.parametrize(
    ("degree", "reached"),
    [
        (8, [1, 9, 65, 457]),  # 1 + 8, + 8·7, + 8·7·7
        (3, [1, 4, 10, 22]),  # the Petersen graph is the 10
        (2, [1, 3, 5, 7]),  # a ring
        (1, [1, 2, 2, 2]),  # a pair
        (0, [1, 1, 1, 1]),
    ],
)
def test_reach(degree, reached):
    assert [reach(hops, degree) for hops in range(4)] == reached


@pytest.mark.parametrize(
    ("nodes", "degree", "hops"),
    [
        (1, 8, 0),
        (2, 8, 1),
        (9, 8, 1),
        (10, 8, 2),
        (65, 8, 2),
        (66, 8, 3),
        (7, 2, 3),
        (8, 2, 4),
        (2, 1, 1),
        (3, 1, None),
    ],
)
def test_least_hops(nodes, degree, hops):
    assert least_hops(nodes, degree) == hops


def test_hop_bound_is_the_least_hops_of_each_node_in_turn():
    for degree in (1, 2, 3, 8):
        for nodes in (1, 2, 5, 11, 70):
            expected = [least_hops(place, degree) for place in range(1, nodes + 1)]
            times = hop_bound_s(nodes, degree, 0.5)
            assert list(times) == [inf if hops is None else 0.5 * hops for hops in expected]


def test_hop_bound_of_ten_nodes_of_three_links():
    assert list(hop_bound_s(10, 3, 0.25)) == [0.0, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_the_direct_way_is_the_shortest_on_a_globe():
    zones = [Zone("a", 1, 50.0, 8.0), Zone("b", 1, 40.0, -74.0), Zone("c", 1, 1.0, 104.0)]
    delays = pair_delays(zones, NetworkConditions())
    assert direct_delays_s(delays) == delays


def test_a_way_over_another_zone_counts_where_it_is_shorter():
    delays = {
        ("a", "a"): 5.0, ("a", "b"): 1.0, ("a", "c"): 9.0,
        ("b", "a"): 1.0, ("b", "b"): 0.1, ("b", "c"): 2.0,
        ("c", "a"): 9.0, ("c", "b"): 2.0, ("c", "c"): 0.1,
    }  # fmt: skip
    least = direct_delays_s(delays)
    assert least["a", "c"] == least["c", "a"] == 3.0
    assert least["a", "a"] == 2.0  # to b and back
    assert least["b", "b"] == 0.1


def test_without_zones_there_are_no_ways():
    assert direct_delays_s({}) == {}


def test_direct_bound_has_the_publisher_first_and_the_others_in_order():
    assert list(direct_bound_s(np.array([0.3, 0.1, 0.2]))) == [0.0, 0.1, 0.2, 0.3]
