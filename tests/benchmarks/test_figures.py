"""Statistics of deliveries, by hand-made cases."""

from __future__ import annotations

import pytest

from benchmarks.propagation.figures import delivery_figures, percentile, ratios, spread_ms


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0.5, 1), (50, 5), (51, 6), (90, 9), (91, 10), (99, 10), (100, 10)],
)
def test_percentiles_are_nearest_ranks(percent: float, expected: int) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_of_one_value_every_percentile_is_that_value() -> None:
    assert spread_ms([0.25]) == {"n": 1, "p50": 250.0, "p90": 250.0, "p99": 250.0, "max": 250.0}


def test_the_last_delivery_counts_and_what_is_late_or_missing_is_told() -> None:
    published_s = {0: 10.0, 1: 11.0, 2: 12.0}
    delivered_s = {
        0: {0: 10.001, 1: 10.004, 2: 10.002},
        1: {0: 11.001, 1: 11.002, 2: 12.5},  # one is late
        2: {0: 12.001},  # two are missing
        99: {0: 9.0},  # of the warming up
    }
    figures = delivery_figures(published_s, delivered_s, 3, until_s=20.0)
    assert figures["last_delivery_ms"] == {"n": 3, "p50": 1500.0, "p90": 8000.0, "p99": 8000.0, "max": 8000.0}
    assert figures["any_delivery_ms"]["n"] == 9
    assert figures["stragglers"] == {"late": 3, "missing": 2, "late_after_s": 1.0}


def test_a_change_that_nobody_got_is_as_late_as_the_waiting_was_long() -> None:
    figures = delivery_figures({0: 1.0}, {}, 2, until_s=4.0)
    assert figures["last_delivery_ms"]["max"] == 3000.0
    assert figures["stragglers"]["missing"] == 2


def test_ratios_are_ours_by_theirs_and_nothing_where_one_is_unknown() -> None:
    ours = {"last_delivery_ms": {"p50": 10.0, "p99": 20.0}, "idle_per_agent": None, "memory_per_agent": {"pss_mib": 3}}
    theirs = {"last_delivery_ms": {"p50": 400.0, "p99": 0.0}, "idle_per_agent": {"cpu_ms_per_s": 2.0}}
    found = ratios(ours, theirs)
    assert found["last_delivery_ms"] == {"p50": 0.025, "p90": None, "p99": None, "max": None}
    assert found["idle_per_agent"]["cpu_ms_per_s"] is None
    assert found["memory_per_agent"]["pss_mib"] is None
