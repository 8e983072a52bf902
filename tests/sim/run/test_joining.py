"""Joining: handshakes are counted in every second, wherever it begins."""

from __future__ import annotations

import pytest

from gossipconf_sim.run.joining import busiest


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 1.0, 2.0], 1),  # a second apart is not within a second
        ([0.0, 0.9, 1.1, 1.8, 3.0], 3),  # 0.9 to 1.8, across a full second
        ([0.5] * 7 + [1.4] * 2, 9),
    ],
)
def test_the_busiest_second(times_s: list[float], expected: int) -> None:
    assert busiest(times_s) == expected
