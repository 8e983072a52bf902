"""The picture of a sweep: convergence and last delivery, or the figures that are asked for, along one axis, and a line
for each value of the others.

Figures are means over the seeds, with the 95% confidence interval of the mean by
Student's t; on a logarithmic axis both are of the logarithms (a geometric mean, and an
interval that ends above 0). Knows matplotlib, and no file but the one that it writes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, prod, sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from gossipconf.model.errors import InvalidInput

from ..options import Option
from ..scenario.scenario import Scenario
from .grid import Axis, Point, Row, Sweep, by_point, figure, spelled

SUFFIXES: Final = (".png", ".svg", ".pdf")

LINES_MAX: Final = 10
"""More lines cannot be told apart."""

TICKS_MAX: Final = 8
"""With more values than this on an axis their labels would touch."""

DECADE: Final = 10.0
"""Where the largest value is so many times the least, an axis is logarithmic: small values would be one dot."""

SECONDS_FROM_MS: Final = 10_000.0
"""Times above are told in seconds."""

CONVERGENCE: Final = "convergence_ms"

PANELS: Final = (
    {CONVERGENCE: "Convergence: all nodes equal"},
    {"last_delivery_ms.p50": "Last delivery, median change", "last_delivery_ms.p99": "Last delivery, 99th percentile"},
)
"""Figures and their titles; those that belong together have one scale."""

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito, told apart by all kinds of colour vision; values with an order get shades instead."""

MARKERS: Final = "osD^vP*Xhp"

CROSS: Final[dict[str, Any]] = {"linestyle": "", "marker": "x", "color": "#cc0000", "markersize": 11, "zorder": 4}
"""Marks what is not the whole truth."""

T_975: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5% quantiles of Student's t with 1, 2, … degrees of freedom."""

LOG_MAX: Final = 700.0
"""Beyond, the exponential has no float; two seeds that are far apart can have such an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, and where the true one is with 95% confidence; ``low`` and ``high`` are equal for one seed."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], *, logarithmic: bool = False) -> Estimate:
        """From figures (at least one) of runs that differ in the seed."""
        if logarithmic:
            made = cls.of([log(value) for value in values])
            return cls(*(exp(min(one, LOG_MAX)) for one in (made.mean, made.low, made.high)))
        middle = mean(values)
        half = t_975(len(values) - 1) * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(middle, middle - half, middle + half)


def t_975(freedom: int) -> float:
    """The 97.5% quantile of Student's t; beyond the table by the first terms of its expansion, to three decimals."""
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    return 1.95996 + 2.37227 / freedom + 2.82250 / freedom**2


# -- what is drawn --------------------------------------------------------------------------------


FIGURES_MAX: Final = 6
"""More panels side by side are too narrow to be read."""


def check(sweep: Sweep, target: Path, figures: Sequence[str] = ()) -> None:
    """Raise InvalidInput for a picture that cannot be: by its name, by the axes, or by the number of figures."""
    if len(figures) > FIGURES_MAX:
        raise InvalidInput(f"a picture shows {FIGURES_MAX} figures at most, and not {len(figures)}")
    if target.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"the picture {str(target)!r} must end in {', '.join(SUFFIXES)}")
    if not sweep.axes:
        raise InvalidInput("a picture needs an axis: give --vary")
    along, others = _split(sweep)
    lines = prod(len(axis.values) for axis in others)
    if lines > LINES_MAX:
        raise InvalidInput(
            f"a picture has {LINES_MAX} lines at most; beside {along.path} there are {lines} combinations: vary less"
        )


def draw(sweep: Sweep, rows: Iterable[Row], figures: Sequence[str] = ()) -> Figure:
    """The picture, of ``figures`` by their paths in a result, or of PANELS. ``check`` has passed.

    Raises InvalidInput for what is no figure.
    """
    panels_of: Sequence[dict[str, str]] = [{path: path} for path in figures] or PANELS
    along, others = _split(sweep)
    groups = _groups(along, others, by_point(sweep, rows))
    picture = Figure(figsize=(13.2, 5.2), layout="constrained")
    panels = iter(picture.subplots(1, sum(map(len, panels_of)), sharex=True, squeeze=False)[0])
    logarithmic = False
    for titles in panels_of:
        is_time = any("_ms." in f"{path}." for path in titles)
        scale = _Scale.of(
            [values for path in titles for group in groups for _, values in group.figures(path)], is_time=is_time
        )
        logarithmic |= scale.logarithmic
        for path, title in titles.items():
            axes = next(panels)
            axes.set_title(title, fontsize=11)
            _panel(axes, along, groups, path, scale)
    picture.suptitle(_title(sweep), fontsize=13, fontweight="bold")
    picture.supxlabel(_described(sweep.points[0].scenario, along.path), fontsize=11)
    _legend(picture, sweep, groups, logarithmic)
    return picture


def save(picture: Figure, target: Path) -> None:
    """Write it, the same bytes for the same picture. Raises OSError."""
    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": "gossipconf"}):
        picture.savefig(target, dpi=150, metadata=undated.get(target.suffix.lower()))


@dataclass(frozen=True, slots=True)
class _Group:
    """The points of one line: the place of each on the axis, and its runs."""

    label: str
    runs: list[tuple[float, list[Row]]]
    colour: Any
    marker: str

    def figures(self, path: str) -> list[tuple[float, list[float]]]:
        """The places where runs have a figure, and all of these."""
        try:
            found = [
                (place, [one for row in rows if (one := figure(row.result, path)) is not None])
                for place, rows in self.runs
            ]
        except (KeyError, TypeError, ValueError):
            raise InvalidInput(f"--figure {path}: a run's JSON has no such number; try hops.p99") from None
        return [(place, values) for place, values in found if values]


def _split(sweep: Sweep) -> tuple[Axis, list[Axis]]:
    """The axis from left to right, and those of the lines."""
    along = next((axis for axis in sweep.axes if axis.numeric), sweep.axes[0])
    return along, [axis for axis in sweep.axes if axis is not along]


def _groups(along: Axis, others: Sequence[Axis], points: Iterable[tuple[Point, list[Row]]]) -> list[_Group]:
    lines: dict[str, list[tuple[float, list[Row]]]] = {}
    for point, rows in points:
        place = point.values[along.path] if along.numeric else along.values.index(point.values[along.path])
        label = ", ".join(spelled(point.values[axis.path]) for axis in others)
        lines.setdefault(label, []).append((place, rows))
    shades = len(others) == 1 and others[0].numeric
    groups = []
    for number, (label, found) in enumerate(lines.items()):
        # Categories have no line to follow: their dots stand side by side.
        shift = 0.0 if along.numeric else 0.5 * ((number + 0.5) / len(lines) - 0.5)
        runs = sorted(((place + shift, rows) for place, rows in found), key=lambda one: one[0])
        colour = _shade(number, len(lines)) if shades else COLOURS[number % len(COLOURS)]
        groups.append(_Group(label, runs, colour, MARKERS[number]))
    return groups


def _shade(number: int, lines: int) -> Any:
    return mpl.colormaps["viridis"](0.8 * number / max(1, lines - 1))


def _title(sweep: Sweep) -> str:
    fixed = "".join(f", {path}={spelled(value)}" for path, value in sweep.fixed.items())
    return f"{sweep.name}{fixed}"


def _described(scenario: Scenario, path: str) -> str:
    """A path; if it is a quantity, with what it means and its unit, as far as the scenario's options say."""
    *parents, last = path.split(".")
    place: Any = scenario
    for part in parents:
        place = place[int(part)] if isinstance(place, tuple) else getattr(place, part)
    fields = dataclasses.fields(place) if dataclasses.is_dataclass(place) else ()
    about = next((one.metadata.get("option") for one in fields if one.name == last), None)
    if not isinstance(about, Option) or about.least is None:
        return path
    return f"{path}: {re.split('[,;:]', about.meaning)[0]}"


# -- how it is drawn ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scale:
    """Of times, the unit in ms; of other figures 1. What is shown is in units."""

    unit_ms: float
    least: float
    most: float
    logarithmic: bool
    is_time: bool = True

    @classmethod
    def of(cls, groups: Sequence[Sequence[float]], *, is_time: bool = True) -> _Scale:
        """For figures, those of each point in a group; times are in ms."""
        made = cls._fitting(groups, SECONDS_FROM_MS if is_time else float("inf"))
        return dataclasses.replace(made, is_time=is_time)

    @classmethod
    def _fitting(cls, groups: Sequence[Sequence[float]], seconds_from_ms: float) -> _Scale:
        values = [value for group in groups for value in group]
        if not values:
            return cls(1.0, 0.0, 1.0, logarithmic=False)
        means = [mean(group) for group in groups]
        unit_ms = 1000.0 if max(means) >= seconds_from_ms else 1.0
        if min(values) > 0 and max(means) / min(means) >= DECADE:
            return cls(unit_ms, min(values) / unit_ms / 1.5, max(values) / unit_ms * 1.5, logarithmic=True)
        # A wide interval may leave the panel: it must not press all else flat.
        top = min(max(Estimate.of(group).high for group in groups), 1.5 * max(values))
        return cls(unit_ms, 0.0, 1.15 * max(top, *values) / unit_ms or 1.0, logarithmic=False)


def _panel(axes: Axes, along: Axis, groups: Sequence[_Group], path: str, scale: _Scale) -> None:
    for group in groups:
        _line(axes, along, group, path, scale)
        if path == CONVERGENCE:
            _mark_missing(axes, group, scale)
    if scale.is_time:
        axes.set_ylabel(f"time in {'s' if scale.unit_ms > 1 else 'ms'}")
    _scale_x(axes, along)
    _scale_y(axes, scale)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, along: Axis, group: _Group, path: str, scale: _Scale) -> None:
    found = group.figures(path)
    places = [place for place, _ in found]
    estimates = [Estimate.of(values, logarithmic=scale.logarithmic) for _, values in found]
    means = [one.mean / scale.unit_ms for one in estimates]
    lows = [max(one.low / scale.unit_ms, scale.least) for one in estimates]
    highs = [min(one.high / scale.unit_ms, scale.most) for one in estimates]
    is_line = _is_line(along)
    axes.plot(
        places, means, linestyle="-" if is_line else "", marker=group.marker, markersize=5, color=group.colour, zorder=3
    )
    if is_line:
        axes.fill_between(places, lows, highs, color=group.colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(places, lows, highs, color=group.colour, alpha=0.5, linewidth=4)


def _is_line(along: Axis) -> bool:
    """Whether there is something between two neighbouring values."""
    return along.numeric and len(along.values) > 1


def _mark_missing(axes: Axes, group: _Group, scale: _Scale) -> None:
    """Cross out the dots that leave out runs that never converged; without any other run, at the upper edge."""
    dots = dict(group.figures(CONVERGENCE))
    for place, rows in group.runs:
        values = dots.get(place, [])
        if len(values) == len(rows):
            continue
        if values:
            height = Estimate.of(values, logarithmic=scale.logarithmic).mean / scale.unit_ms
            axes.plot(place, height, **CROSS)
        else:
            axes.plot(place, 0.97, **CROSS, transform=axes.get_xaxis_transform())
            axes.plot(place, 0.97, group.marker, color=group.colour, transform=axes.get_xaxis_transform())


def _scale_x(axes: Axes, along: Axis) -> None:
    values = list(along.values) if along.numeric else list(range(len(along.values)))
    positive = [value for value in values if value > 0]
    if along.numeric and positive and max(positive) / min(positive) >= DECADE and min(values) >= 0:
        if len(positive) == len(values):
            axes.set_xscale("log")
        else:  # with 0: even up to the least other value
            axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        axes.xaxis.set_minor_locator(NullLocator())
    if not along.numeric:
        axes.set_xlim(-0.5, len(values) - 0.5)
    if len(values) <= TICKS_MAX or not along.numeric:
        axes.set_xticks(values, [f"{one:,}" if along.numeric else spelled(one) for one in along.values])


def _scale_y(axes: Axes, scale: _Scale) -> None:
    if scale.logarithmic:
        axes.set_yscale("log")
        steps = (1.0,) if scale.most / scale.least > DECADE**3 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(scale.least, scale.most)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _legend(picture: Figure, sweep: Sweep, groups: Sequence[_Group], logarithmic: bool) -> None:
    along, others = _split(sweep)
    style: Literal["-", ""] = "-" if _is_line(along) else ""
    lines = [Line2D([], [], color=one.colour, marker=one.marker, label=one.label, linestyle=style) for one in groups]
    if sweep.repeats > 1:
        label = f"95% confidence interval of the\nmean of {sweep.repeats} seeds, by Student's t"
        if logarithmic:
            label += "\n(geometric on logarithmic axes)"
        about: Artist = Patch(color="#999999", alpha=0.4, linewidth=0, label=label)
    else:
        about = Line2D([], [], linestyle="", label=f"seed {sweep.seed} alone:\nno confidence interval")
    crosses = [Line2D([], [], **CROSS, label="without runs that never converged\n(at the upper edge: none did)")]
    is_missing = any(figure(row.result, CONVERGENCE) is None for one in groups for _, rows in one.runs for row in rows)
    picture.legend(
        handles=[*(lines if others else []), about, *(crosses if is_missing else [])],
        title="\n".join(_described(sweep.points[0].scenario, axis.path) for axis in others) or None,
        loc="outside right center",
        alignment="left",
        frameon=False,
    )
