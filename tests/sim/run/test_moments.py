"""When the curves are sampled."""

from __future__ import annotations

import pytest

from gossipconf_sim.run.moments import AFTER_S, moments


def test_half_are_even_and_half_follow_the_edges():
    times = moments(200, [2.0, 100.0], 100.0, 160.0)
    assert times == sorted(set(times))
    assert times[0] == 0.0
    assert times[-1] == 160.0
    assert 180 <= len(times) <= 220
    for edge_s in (0.0, 2.0, 100.0):
        assert edge_s in times
        assert sum(edge_s < time_s < edge_s + 1.0 for time_s in times) >= 10
    assert sum(20.0 < time_s < 80.0 for time_s in times) >= 60 * 100 // (100 + int(AFTER_S)) - 1


def test_ten_days_do_not_hide_what_comes_after():
    times = moments(200, [2.0, 864_002.0], 864_002.0, 864_062.0)
    assert sum(864_002.0 < time_s < 864_012.0 for time_s in times) >= 15


@pytest.mark.parametrize("limit_s", [0.0, 0.001, 60.0])
def test_nothing_to_wait_for(limit_s):
    assert moments(1, [], 0.0, limit_s)[-1] == limit_s


def test_edges_after_the_limit_are_left_out():
    assert max(moments(10, [5.0, 50.0], 8.0, 9.0)) == 9.0
