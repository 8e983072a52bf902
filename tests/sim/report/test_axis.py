"""The axis of virtual time, even and stretched."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gossipconf_sim.report.axis import Axis

TEN_DAYS_S = 864_000.0


def test_what_has_room_has_one_scale():
    axis = Axis.of([2.0, 5.0], 10.0)
    assert axis.even
    assert list(axis.place([0.0, 2.0, 5.0, 10.0])) == pytest.approx([0.0, 0.2, 0.5, 1.0])
    assert list(axis.bins(2)) == pytest.approx([0.0, 5.0, 10.0])
    assert axis.unit == (1.0, "seconds")


@pytest.mark.parametrize(
    ("end_s", "unit"), [(180.0, "seconds"), (600.0, "minutes"), (20_000.0, "hours"), (TEN_DAYS_S, "days")]
)
def test_units_of_an_even_axis(end_s, unit):
    assert Axis.of([], end_s).unit[1] == unit


def test_a_partition_of_ten_days_leaves_room_for_what_is_before_and_after():
    axis = Axis.of([2.0, 10.0, 2.0 + TEN_DAYS_S], 12.0 + TEN_DAYS_S)
    assert not axis.even
    widths = np.diff(axis.place(axis.edges_s))
    assert (widths > 0.05).all()
    assert widths[2] == max(widths)
    assert list(np.interp(axis.place([1.0, 6.0, 100.0]), axis.places, axis.edges_s)) == pytest.approx([1.0, 6.0, 100.0])
    assert [label for _, label in axis.ticks()] == ["0", "2 s", "10 s", "10 d", "+10 s"]


def test_one_short_stretch_among_long_ones_has_room():
    assert not Axis.of([3.0, 500.0], 1_000.0).even
    assert Axis.of([0.3, 500.0], 1_000.0).even  # less than a second is no stretch of its own


def test_labels_that_would_touch_are_left_out():
    axis = Axis.of([2.0, 2.1, 2.2, 2.3, 864_000.0], 864_010.0)
    ticks = axis.ticks()
    assert len(ticks) < len(axis.edges_s)
    for (left, label), (right, other) in pairwise(ticks):
        assert right - left >= 0.005 * (len(label) + len(other))


def test_edges_outside_are_no_edges():
    assert list(Axis.of([-1.0, 0.0, 4.0, 9.0], 4.0).edges_s) == [0.0, 4.0]
