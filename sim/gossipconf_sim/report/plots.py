"""Plots: the pictures of a run, drawn with matplotlib. What they show is computed in `curves`.

Each ``draw_…`` fills axes that it is given; `overview` puts the main ones on one sheet.
Knows no files but in `save`, and no pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from ..run.play import Run
from ..world.stage import Mark
from . import palette
from .axis import Axis
from .curves import CLASSES, Coverage, Numbers, Timeline, coverage, degrees, histograms, is_wide, timeline
from .quantities import duration, number, size

DPI: Final = 150

NICE_S: Final = (*(10.0**power for power in range(-6, 2)), 60.0, 600.0, 3_600.0, 36_000.0, 86_400.0, 864_000.0, 8.64e6)
"""Labelled times of a logarithmic axis."""
SECONDS_FROM_S: Final = 10.0
"""Longer even axes of latencies are in seconds."""
REST_SHARE: Final = 0.15
REST_LEAST_S: Final = 1.0
"""Of the time at rest, in which nothing happens, so much is shown: a share of what is before it, and at least this."""
BINS: Final = (30, 160)
"""Steps of a rate over virtual time, at least and at most."""
PUBLISHES: Final = 5
"""Of an even axis a step is so long that as many publishes come in it: with fewer it would show chance."""
LETTER: Final = 0.012
"""Width of a letter of a fault's label, as a share of the axis."""
RIGHT: Final = 0.75
"""Where a fault begins further right, its label stands on its left."""
LANES_MAX: Final = 6
"""Rows for faults at the same time; further ones share the last."""

STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.edgecolor": palette.LINE,
    "axes.labelcolor": palette.MUTED,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlecolor": palette.INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": palette.LINE,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.7,
    "text.color": palette.INK,
    "xtick.color": palette.LINE,
    "ytick.color": palette.LINE,
    "xtick.labelcolor": palette.MUTED,
    "ytick.labelcolor": palette.MUTED,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": palette.PAPER,
    "axes.facecolor": "none",
    "svg.hashsalt": "gossipconf",
    "pdf.fonttype": 42,
    "path.simplify": False,  # it would drop the strokes next to no length that are dots
}


def styled() -> AbstractContextManager[None]:
    """What holds for all pictures; figures are made, drawn and saved inside."""
    context: AbstractContextManager[None] = mpl.rc_context(STYLE)
    return context


def save(figure: Figure, target: Path) -> None:
    """Write a picture, the same bytes for the same picture. Raises OSError."""
    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(target, dpi=DPI, metadata=undated.get(target.suffix.lower()))


def overview(run: Run) -> Figure:
    """One sheet with the main curves. Call it, and `save`, inside `styled`."""
    covered, over_time = coverage(run), timeline(run)
    figure = Figure(figsize=(12, 9 if covered is not None else 5), layout="constrained")
    bottom: Any = figure
    if covered is not None:
        halves: Any = figure.subfigures(2, 1, height_ratios=[1, 1.25])
        top, bottom = halves
        left, right = top.subfigures(1, 2, width_ratios=[1.3, 1])
        draw_coverage(left.subplots(), covered, wide=is_wide(run))
        draw_latencies(right, run)
    if over_time is not None:
        draw_timeline(bottom, run, over_time)
    figure.suptitle(_title(run), x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure


def _title(run: Run) -> str:
    result = run.result
    return f"{result.scenario}: {result.nodes:,} nodes, {result.changes:,} changes, seed {result.seed}"


# -- latency ----------------------------------------------------------------------------------------


def draw_coverage(axes: Axes, covered: Coverage, *, wide: bool) -> None:
    """The S-curve: share of the nodes that have a change, against the time since its publish."""
    last_s = _last_finite([covered.slowest_s, covered.median_s])
    first_s = _first_positive([covered.fastest_s, covered.bound_s])
    scale = scale_latency(axes, first_s, last_s, wide=wide)
    ends = [np.minimum(times, last_s * 10) for times in (covered.fastest_s, covered.slowest_s)]
    fastest, shares = _steps(ends[0], covered.shares)
    slowest, _ = _steps(ends[1], covered.shares)
    band: dict[str, Any] = {"color": palette.BLUE, "alpha": 0.18, "lw": 0}
    axes.fill_betweenx(shares, fastest / scale, slowest / scale, **band, label="fastest to slowest change")
    median, shares = _steps(covered.median_s, covered.shares)
    axes.plot(median / scale, shares, color=palette.BLUE, lw=2.4, label="median change")
    bound, shares = _steps(covered.bound_s, covered.shares)
    words = "direct one-way latency" if covered.placed else f"{covered.degree} links a node, least delay"
    axes.plot(bound / scale, shares, color=palette.RED, lw=1.4, ls=(0, (4, 2)), label=f"bound: {words}")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("nodes that have the change")
    axes.set_xlabel(_latency_label("time since its publish", scale, wide=wide))
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderpad=0, handlelength=1.6, columnspacing=1.4)


def _steps(times: Numbers, shares: Numbers) -> tuple[Numbers, Numbers]:
    """The corners of a curve that rises to each share at its time."""
    return np.repeat(times, 2), np.concatenate([[0.0], np.repeat(shares, 2)[:-1]])


def _last_finite(curves: Sequence[Numbers]) -> float:
    return max(float(curve[np.isfinite(curve)].max(initial=0.0)) for curve in curves)


def _first_positive(curves: Sequence[Numbers]) -> float:
    return min((float(curve[curve > 0].min()) for curve in curves if (curve > 0).any()), default=1e-6)


def scale_latency(axes: Axes, first_s: float, last_s: float, *, wide: bool) -> float:
    """Scale the axis of latencies; the length of its unit in s."""
    if wide:
        low_s, high_s = first_s / 1.3, last_s * 1.2
        axes.set_xscale("log")
        axes.set_xlim(low_s, high_s)
        axes.xaxis.set_major_locator(FixedLocator([one for one in NICE_S if low_s <= one <= high_s]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda time_s, _: duration(time_s)))
        return 1.0
    scale = 1.0 if last_s > SECONDS_FROM_S else 1e-3
    axes.set_xlim(0, max(last_s, 1e-6) * 1.06 / scale)
    return scale


def _latency_label(words: str, scale: float, *, wide: bool) -> str:
    return f"{words}, logarithmic" if wide else f"{words}, {'s' if scale == 1.0 else 'ms'}"


def draw_latencies(part: Any, run: Run) -> None:
    """Two histograms over one axis: all deliveries, and the last of each change."""
    found = histograms(run)
    assert found is not None
    assert run.result.delivery_ms is not None
    above, below = part.subplots(2, 1, sharex=True)
    wide, last_s = is_wide(run), run.result.delivery_ms.max / 1000
    titles = ("Every delivery: a node gets a change", "Last delivery: all nodes have the change")
    spreads = (run.result.delivery_ms, run.result.last_delivery_ms)
    for axes, histogram, title, spread, colour in zip(
        (above, below), found, titles, spreads, (palette.SKY, palette.BLUE), strict=True
    ):
        scale = scale_latency(axes, float(found[0].edges_s[0]) or 1e-6, last_s, wide=wide)
        axes.stairs(histogram.shares, histogram.edges_s / scale, fill=True, color=colour)
        axes.set_title(title)
        axes.set_ylim(0, histogram.shares.max() * 1.5)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda part, _: f"{100 * part:g}%"))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        for value_ms, words in ((spread.p50, "median"), (spread.p99, "p99")) if spread is not None else ():
            _flag(axes, value_ms / 1000 / scale, f"{words} {duration(value_ms / 1000)}")
    below.set_xlabel(_latency_label("time since the publish", scale, wide=wide))


def _flag(axes: Axes, place: float, words: str) -> None:
    """A line at a value with its name, on the side where there is room."""
    axes.axvline(place, color=palette.INK, lw=0.9, ymax=0.84 if words.startswith("median") else 1.0)
    low, high = (axes.transScale.transform((limit, 0))[0] for limit in axes.get_xlim())
    right = (axes.transScale.transform((place, 0))[0] - low) / (high - low) < 0.7
    height = 0.78 if words.startswith("median") else 0.93
    axes.annotate(
        words,
        (place, height),
        xycoords=("data", "axes fraction"),
        xytext=(4 if right else -4, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=8.5,
    )


# -- virtual time -------------------------------------------------------------------------------------


def draw_timeline(part: Any, run: Run, over_time: Timeline) -> None:
    """Traffic, running nodes and fingerprints over virtual time, with the faults above and behind."""
    axis = time_axis(run, over_time)
    lanes = _lanes(run.marks, axis)
    heights = [*([0.28 * (1 + max(lanes))] if lanes else []), 2.0, 0.8, 0.8]
    panels = list(part.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    if lanes:
        _draw_faults(panels.pop(0), run.marks, lanes, axis)
    traffic, running, roots = panels
    for axes in panels:
        _shade(axes, run.marks, axis)
    _draw_traffic(traffic, over_time, axis, _bins(run, axis))
    _draw_running(running, over_time, axis)
    _draw_roots(roots, over_time, axis)
    _scale_time(roots, axis)


def time_axis(run: Run, over_time: Timeline) -> Axis:
    """The axis with all edges of a run: publishes, faults, the rest at the end."""
    options = run.scenario.publish
    last_publish_s = max(0, options.warmup + options.changes - 1) * options.every_ms / 1000
    edges = [edge_s for mark in run.marks for edge_s in (mark.begin_s, mark.end_s)]
    last_s = float(over_time.times_s[-1])
    rest_s = max(0.0, last_s - run.scenario.measure.idle_s)
    return Axis.of([last_publish_s, *edges, rest_s], min(last_s, rest_s + max(REST_LEAST_S, rest_s * REST_SHARE)))


def _lanes(marks: Sequence[Mark], axis: Axis) -> list[int]:
    """Of each fault, the row in which it and its label touch no other."""
    ends: list[float] = []
    lanes = []
    for mark in marks:
        begin, end = axis.place([mark.begin_s, mark.end_s])
        room = LETTER * len(_named(mark))
        begin, end = (begin - room, end) if begin > RIGHT else (begin, max(end, begin + room))
        lane = next((number for number, taken in enumerate(ends) if taken <= begin), len(ends))
        lane = min(lane, LANES_MAX - 1)
        ends[lane : lane + 1] = [end + LETTER]
        lanes.append(lane)
    return lanes


def _named(mark: Mark) -> str:
    return f"{mark.label}, {duration(mark.end_s - mark.begin_s)}" if mark.end_s > mark.begin_s else mark.label


def _draw_faults(axes: Axes, marks: Sequence[Mark], lanes: Sequence[int], axis: Axis) -> None:
    for mark, lane in zip(marks, lanes, strict=True):
        begin, end = axis.place([mark.begin_s, mark.end_s])
        axes.barh(lane, max(end - begin, 0.004), left=begin, height=0.74, color=palette.GREY, alpha=0.55, lw=0)
        place, side = (begin - LETTER / 2, "right") if begin > RIGHT else (begin + LETTER / 2, "left")
        axes.text(place, lane, _named(mark), va="center", ha=side, fontsize=8.5)
    axes.set_ylim(max(lanes) + 0.5, -0.5)
    axes.set_ylabel("faults", rotation=0, ha="right", va="center")
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)


def _shade(axes: Axes, marks: Sequence[Mark], axis: Axis) -> None:
    for mark in marks:
        begin, end = axis.place([mark.begin_s, mark.end_s])
        if end > begin:
            axes.axvspan(begin, end, color=palette.GREY, alpha=0.18, lw=0)
        else:
            axes.axvline(begin, color=palette.GREY, lw=1.2)


def _bins(run: Run, axis: Axis) -> int:
    least, most = BINS
    step_s = PUBLISHES * run.scenario.publish.every_ms / 1000
    return most if not axis.even or not step_s else int(min(max(axis.end_s / step_s, least), most))


def _draw_traffic(axes: Axes, over_time: Timeline, axis: Axis, bins: int) -> None:
    rates = over_time.rates(axis.bins(bins))
    places = np.linspace(0, 1, bins + 1)
    below = np.zeros(bins)
    for name, rate in zip(CLASSES, rates, strict=True):
        axes.stairs(below + rate, places, baseline=below, fill=True, color=palette.CLASSES[name], label=name)
        below += rate
    axes.set_ylim(0, max(float(below.max()), 1.0) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{size(rate)}/s" if rate else "0"))
    axes.set_ylabel("sent by a node")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderpad=0, handlelength=1.0)


def _draw_running(axes: Axes, over_time: Timeline, axis: Axis) -> None:
    places = axis.place(over_time.times_s)
    axes.step(places, over_time.running, where="post", color=palette.INK, lw=1.5)
    axes.set_ylim(0, over_time.running.max() * 1.15 + 0.1)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.set_ylabel("nodes\nrunning")


def _draw_roots(axes: Axes, over_time: Timeline, axis: Axis) -> None:
    places = axis.place(over_time.times_s)
    axes.fill_between(places, 1, np.maximum(1, over_time.roots), step="post", color=palette.RED, alpha=0.25, lw=0)
    axes.step(places, over_time.roots, where="post", color=palette.RED, lw=1.5)
    axes.set_ylim(0.5, max(2.0, over_time.roots.max() * 1.1))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.set_ylabel("different\nstates")


def _scale_time(axes: Axes, axis: Axis) -> None:
    """Label the axis that all panels share."""
    axes.set_xlim(0, 1)
    if axis.even:
        unit_s, unit = axis.unit
        steps = [step for step in MaxNLocator(10).tick_values(0, axis.end_s / unit_s) if step * unit_s <= axis.end_s]
        axes.set_xticks([float(axis.place([step * unit_s])[0]) for step in steps], [f"{step:,g}" for step in steps])
        axes.set_xlabel(f"virtual time since the first publish, {unit}")
    else:
        ticks = axis.ticks()
        axes.set_xticks([place for place, _ in ticks], [label for _, label in ticks])
        axes.set_xlabel("virtual time since the first publish; between two marks each stretch has a scale of its own")


# -- overlay ------------------------------------------------------------------------------------------


def draw_degrees(axes: Axes, run: Run) -> None:
    """How many nodes have how many links."""
    counted = np.bincount(np.array(degrees(run)))
    axes.bar(np.arange(len(counted)), counted / counted.sum(), width=0.8, color=palette.BLUE)
    axes.set_xlabel("links of a node at the last publish")
    axes.set_ylabel("share of nodes")
    axes.set_xlim(max(0, int(np.flatnonzero(counted)[0]) - 3) - 0.6, len(counted) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(visible=False, axis="x")
