"""Instants as people write them."""

from __future__ import annotations

import pytest

from gossipconf.cli import instant
from gossipconf.cli.instant import instant_ms, span_ms
from gossipconf.model.errors import InvalidInput

NOON_MS = 1_772_366_400_000
"""2026-03-01 12:00 UTC."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", NOON_MS - 12 * 3_600_000),
        ("2026-03-01 12:00", NOON_MS),
        ("2026-03-01T12:00:05Z", NOON_MS + 5_000),
        ("2026-03-01 12:00:05 UTC", NOON_MS + 5_000),  # as other commands print it
        ("2026-03-01T12:00:05.250Z", NOON_MS + 5_250),  # as --json does
        ("2026-03-01T13:00+01:00", NOON_MS),
        ("1969-12-31", 0),
        ("90s", NOON_MS - 90_000),
        ("2h", NOON_MS - 7_200_000),
        ("999999999d", 0),
    ],
)
def test_times_are_utc_or_ago(monkeypatch, text, expected):
    monkeypatch.setattr(instant, "now_ms", lambda: NOON_MS)
    assert instant_ms(text, "--since") == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-3-1", "12:00", "2026-03-01T12", "1w", "٣d", "-1d", "2026-02-30"]
)
def test_what_is_no_time_is_named(text):
    with pytest.raises(InvalidInput, match="--until is"):
        instant_ms(text, "--until")


def test_an_end_before_its_beginning_is_refused():
    assert span_ms(None, None) == (None, None)
    assert span_ms("2026-03-01", "2026-03-02")[0] == NOON_MS - 12 * 3_600_000
    with pytest.raises(InvalidInput, match="is not before"):
        span_ms("2026-03-02", "2026-03-02")
