"""Axis: virtual time for pictures, stretched where little of it holds much of what happens.

Between two neighbouring edges (something begins or ends) time runs evenly. As long as no
stretch is so long that it leaves the others no room, one scale serves all; else each
stretch gets a width by the logarithm of its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log1p
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .quantities import duration

LONGEST: Final = 8.0
"""A stretch that is longer than so many times all others together leaves them no room."""
SHORTEST: Final = 0.01
SHORTEST_S: Final = 1.0
"""Nor must a stretch of at least so many s get less than this share of the axis."""
WIDTH_LEAST: Final = 0.4
"""What the shortest stretch gets; one of 1 s gets log 2 more, one of ten days log 864,001."""
LETTER: Final = 0.01
"""Share of the axis that a letter of a label needs; two labels are as much as two letters apart."""
UNITS: Final = ((259_200.0, 86_400.0, "days"), (10_800.0, 3_600.0, "hours"), (180.0, 60.0, "minutes"))
"""Of spans longer than the first, the unit of an even axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Edges in s and their places between 0 and 1."""

    edges_s: NDArray[np.float64]
    places: NDArray[np.float64]
    even: bool

    @classmethod
    def of(cls, edges_s: Iterable[float], end_s: float) -> Axis:
        """The axis from 0 to ``end_s``."""
        edges = np.array(sorted({0.0, end_s, *(edge_s for edge_s in edges_s if 0 < edge_s < end_s)}))
        lengths = np.diff(edges)
        even = _fit(lengths)
        widths = lengths if even else np.array([WIDTH_LEAST + log1p(length) for length in lengths])
        places = np.concatenate([[0.0], np.cumsum(widths)]) / widths.sum()
        return cls(edges, places, even)

    @property
    def end_s(self) -> float:
        """Where it ends."""
        return float(self.edges_s[-1])

    def place(self, times_s: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Where times are, between 0 and 1."""
        return np.asarray(np.interp(times_s, self.edges_s, self.places))

    def bins(self, count: int) -> NDArray[np.float64]:
        """The times between ``count`` bins of equal width on the axis."""
        return np.asarray(np.interp(np.linspace(0, 1, count + 1), self.places, self.edges_s))

    @property
    def unit(self) -> tuple[float, str]:
        """The length of its unit in s, and the unit's name."""
        return next(((size, name) for span, size, name in UNITS if self.end_s > span), (1.0, "seconds"))

    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels of a stretched axis: its edges, as far as there is room."""
        ticks: list[tuple[float, str]] = []
        before_s = 0.0
        for edge_s, place in zip(self.edges_s, self.places, strict=True):
            label = _label(float(edge_s), before_s)
            if ticks and place - ticks[-1][0] < LETTER * (2 + (len(label) + len(ticks[-1][1])) / 2):
                continue
            ticks.append((float(place), label))
            before_s = float(edge_s)
        return ticks


def _fit(lengths: NDArray[np.float64]) -> bool:
    """Whether all stretches have room on one scale."""
    if len(lengths) == 1:
        return True
    whole, longest = lengths.sum(), lengths.max()
    seen = lengths[lengths >= SHORTEST_S]
    return bool(longest <= LONGEST * (whole - longest) and (seen >= SHORTEST * whole).all())


def _label(time_s: float, before_s: float) -> str:
    """The time, or where that would say the same as the label before, what was added."""
    if (before_s and duration(time_s) == duration(before_s)) or time_s - before_s < before_s / 100:
        return f"+{duration(time_s - before_s)}"
    return duration(time_s) if time_s else "0"
