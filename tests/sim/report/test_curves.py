"""Curves: what pictures show, against what can be worked out from a run."""

from __future__ import annotations

import dataclasses
from math import inf

import numpy as np
import pytest

from gossipconf_sim.network.zones import Zone
from gossipconf_sim.report.curves import (
    coverage,
    degrees,
    distances,
    histograms,
    is_wide,
    least_factor,
    median_change,
    pairs,
    timeline,
)
from gossipconf_sim.report.layout import layout
from tests.sim.report.runs import PARTITION, ZONES, play, scenario


def test_coverage_of_two_nodes_is_one_step():
    run = play(nodes=2, network={"latency_ms": [10, 10], "jitter": [1, 1]})
    covered = coverage(run)
    assert covered is not None
    assert list(covered.shares) == [0.5, 1.0]
    for times in (covered.median_s, covered.fastest_s, covered.slowest_s, covered.bound_s):
        assert list(times) == pytest.approx([0.0, 0.01])


@pytest.mark.parametrize("options", [{}, {"zones": ZONES}, {"nodes": 25, "network": {"jitter": [0.5, 2.0]}}])
def test_nobody_beats_the_bound(options):
    covered = coverage(play(**options))
    assert covered is not None
    assert covered.placed is ("zones" in options)
    assert (covered.bound_s <= covered.fastest_s).all() or covered.placed
    assert (covered.bound_s <= covered.median_s).all()
    assert (covered.fastest_s <= covered.median_s).all()
    assert (covered.median_s <= covered.slowest_s).all()
    assert (np.diff(covered.median_s) >= 0).all()


def test_the_ends_of_the_curves_are_figures_of_the_result():
    run = play(zones=ZONES)
    covered, last = coverage(run), run.result.last_delivery_ms
    assert covered is not None
    assert last is not None
    assert 1000 * covered.median_s[-1] == pytest.approx(last.p50)
    assert 1000 * covered.slowest_s[-1] == pytest.approx(last.max)


def test_who_never_gets_it_is_never():
    run = play()
    run.missing = [3] * len(run.changes)
    covered = coverage(run)
    assert covered is not None
    assert covered.slowest_s[-1] == covered.fastest_s[-1] == inf
    assert covered.median_s[-4] < inf
    assert covered.shares[-4] == pytest.approx(12 / 15)


@pytest.mark.parametrize("options", [{"nodes": 1}, {"publish": {"changes": 0}}])
def test_where_nothing_is_delivered_there_are_no_curves(options):
    run = play(**options)
    assert coverage(run) is None
    assert histograms(run) is None
    assert median_change(run) is None
    assert not is_wide(run)


def test_what_makes_delays_shorter_makes_the_bound_earlier():
    faster = {"kind": "bad-network", "latency_factor": 0.5}
    assert least_factor(scenario(network={"jitter": [0.8, 1.0]}, faults=[faster])) == 0.4
    assert least_factor(scenario(faults=[faster | {"latency_factor": 9.0}])) == 1.0


def test_histograms_hold_all_deliveries_and_all_changes():
    run = play()
    found = histograms(run)
    assert found is not None
    every, last = found
    assert every.shares.sum() == pytest.approx(1.0)
    assert last.shares.sum() == pytest.approx(1.0)
    assert (last.shares > 0).sum() <= len(run.changes)
    assert every.edges_s[0] == 0.0


def test_a_partition_makes_the_axis_of_latencies_logarithmic():
    run = play(faults=[PARTITION])
    found = histograms(run)
    assert is_wide(run)
    assert found is not None
    steps = np.diff(np.log(found[0].edges_s))
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert found[0].shares.sum() == pytest.approx(1.0)


def test_rates_add_up_to_the_bytes():
    run = play()
    over_time = timeline(run)
    assert over_time is not None
    edges_s = np.linspace(over_time.times_s[0], over_time.times_s[-1], 50)
    sent = (over_time.rates(edges_s) * np.diff(edges_s) * 12).sum(axis=1)
    total = np.subtract(run.samples[-1].sent_bytes, run.samples[0].sent_bytes)
    assert list(sent) == pytest.approx(list(total))
    assert over_time.running.tolist() == [12.0] * len(run.samples)


def test_one_sample_is_no_timeline():
    run = play()
    run.samples = run.samples[:1]
    assert timeline(run) is None


def test_links_count_once():
    run = play()
    run.edges = [(0, 1), (1, 0), (2, 1)]
    assert pairs(run) == [(0, 1), (1, 2)]
    assert degrees(run) == [1, 2, 1] + [0] * 9


def test_distances():
    assert distances([(0, 1), (1, 2), (0, 3), (2, 3)], 5, 0) == [0, 1, 2, 1, None]


def test_the_median_change_has_the_median_last_delivery():
    run = play(publish={"changes": 7})
    change, last = median_change(run), run.result.last_delivery_ms
    assert change is not None
    assert last is not None
    assert change.last_delay_s * 1000 == pytest.approx(last.p50)


# -- layout ---------------------------------------------------------------------------------------


def test_without_zones_nodes_stand_in_rings_by_their_distance():
    made = layout((), [""] * 5, [(0, 1), (1, 2), (0, 3)], 0)
    radii = [np.hypot(*place) for place in made.places]
    assert radii == pytest.approx([0.0, 1.0, 2.0, 1.0, 3.0])  # the last cannot be reached
    assert made.ways == {(0, 1), (1, 2), (0, 3)}
    assert not made.circles


@pytest.mark.parametrize("placed", [True, False])
def test_zones_are_circles_apart_from_each_other_with_their_nodes_inside(placed):
    zones = [Zone(f"z{number}", 1, *((50.0 + number / 10, 8.0) if placed else ())) for number in range(6)]
    of_hosts = [zone.name for number, zone in enumerate(zones) for _ in range(5 * number + 1)]
    made = layout(zones, of_hosts, [], 0)
    circles = list(made.circles.values())
    for number, one in enumerate(circles):
        for other in circles[number + 1 :]:
            assert np.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius
    for name, (x, y) in zip(of_hosts, made.places, strict=True):
        circle = made.circles[name]
        assert np.hypot(x - circle.x, y - circle.y) < circle.radius
    sizes = [circle.radius**2 for circle in circles]
    assert [size / sizes[0] for size in sizes] == pytest.approx([1, 6, 11, 16, 21, 26])


def test_placed_zones_stand_where_they_are_on_the_globe():
    zones = [Zone("east", 1, 0.0, 100.0), Zone("west", 1, 0.0, -100.0), Zone("north", 1, 80.0, 0.0)]
    circles = layout(zones, ["east", "west", "north"], [], 0).circles
    assert circles["west"].x < circles["north"].x < circles["east"].x
    assert circles["north"].y > circles["east"].y


def test_zones_at_one_place_are_pushed_apart():
    zones = [Zone("one", 1, 10.0, 10.0), Zone("two", 1, 10.0, 10.0)]
    one, two = layout(zones, ["one", "two", "two"], [], 0).circles.values()
    assert np.hypot(one.x - two.x, one.y - two.y) > one.radius + two.radius


def test_a_run_is_not_changed_by_looking_at_it():
    run = play(zones=ZONES)
    before = dataclasses.asdict(run.result), list(run.edges), [list(change.delays_s) for change in run.changes]
    coverage(run)
    histograms(run)
    timeline(run)
    assert before == (
        dataclasses.asdict(run.result),
        list(run.edges),
        [list(change.delays_s) for change in run.changes],
    )
