"""Quantities as people read them: three digits and a unit that fits. Knows no figures."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

NONE: Final = "–"
"""What stands where there is no value."""

_TIMES: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_MIXED_FROM_S: Final = 60.0
"""Longer times are told in two units, as 2 min 5 s: nobody reads 2.08 min."""


def number(value: float) -> str:
    """Three digits, and all those before the point."""
    if value == int(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.9995 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """`350 µs`, `4.21 ms`, `12.0 s`, `2 min 5 s`, `10 d 2 h`; what is below a nanosecond is 0."""
    if abs(seconds) < 1e-9:
        return "0 s"
    if seconds >= _MIXED_FROM_S:
        return _mixed(seconds)
    size, unit = next(((size, unit) for size, unit in _TIMES if seconds >= size * 0.9995), _TIMES[-1])
    return f"{number(seconds / size)} {unit}"


def _mixed(seconds: float) -> str:
    for (size, unit), (below, below_unit) in pairwise(_TIMES):
        whole, rest = divmod(round(seconds / below), round(size / below))
        if whole:
            return f"{whole:,} {unit}" + (f" {rest} {below_unit}" if rest else "")
    raise AssertionError("at least a minute")


def size(byte_count: float) -> str:
    """`512 B`, `5.77 kB`, `1.20 MB`; a kilobyte has 1,000."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if byte_count >= factor * 0.9995:
            return f"{number(byte_count / factor)} {unit}"
    return f"{number(byte_count)} B"


def share(fraction: float) -> str:
    """Per cent; all but nothing is never told as all, nor next to nothing as nothing."""
    if fraction in {0.0, 1.0}:
        return f"{fraction:.0%}"
    for decimals in (1, 2, 3, 4, 5):
        text = f"{100 * fraction:.{decimals}f}"
        if 0 < float(text) < 100:
            return f"{text}%"
    return ">99.99999%" if fraction > 0.5 else "<0.00001%"
