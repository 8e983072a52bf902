"""Quantities as people read them."""

from __future__ import annotations

import pytest

from gossipconf_sim.report.quantities import duration, number, share, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (7, "7"), (12_345.6, "12,346"), (99.96, "100"), (12.34, "12.3"), (9.996, "10.0"), (1.234, "1.23"),
        (0.9996, "1.00"), (0.1234, "0.123"), (-1.5, "-1.50"),
    ],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (1e-12, "0 s"), (3.5e-7, "0.35 µs"), (3.5e-4, "350 µs"), (0.00421, "4.21 ms"), (0.9999, "1.00 s"),
        (12, "12 s"), (59.94, "59.9 s"), (60, "1 min"), (125, "2 min 5 s"), (3_600, "1 h"), (3_660, "1 h 1 min"),
        (864_000, "10 d"), (871_200, "10 d 2 h"),
    ],
)  # fmt: skip
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("byte_count", "text"), [(0, "0 B"), (0.25, "0.25 B"), (999, "999 B"), (5_771, "5.77 kB"), (2.5e6, "2.50 MB")]
)
def test_size(byte_count, text):
    assert size(byte_count) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (1, "100%"), (0, "0%"), (0.5, "50.0%"), (0.9996, "99.96%"), (0.999999, "99.9999%"), (0.0004, "0.04%"),
        (1 - 1e-12, ">99.99999%"), (1e-12, "<0.00001%"),
    ],
)  # fmt: skip
def test_all_but_one_is_never_told_as_all(fraction, text):
    assert share(fraction) == text
