"""The pictures of a report, each with what it shows in words."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import inf
from typing import Final

from matplotlib.figure import Figure

from ..run.play import Run
from .curves import Coverage, coverage, degrees, is_wide, timeline
from .figures import CLASSES
from .inline_svg import inline_svg
from .overlay import Overlay, overlay_figure
from .plots import draw_coverage, draw_degrees, draw_latencies, draw_timeline, styled, time_axis
from .quantities import duration, number

TIMES_MAX: Final = 100.0
"""A run that takes more times as long as it must waited for a fault to end: the factor tells nothing."""


def sections(run: Run) -> list[str]:
    """The parts of the page, in order, as far as the run has something to show."""
    with styled():
        return [*_latency(run), *_timeline(run), *_overlay(run)]


def _sheet(height: float) -> Figure:
    """An empty picture as wide as the page, in inches."""
    return Figure(figsize=(9.0, height), layout="constrained")


def _picture(figure: Figure, name: str, words: str, caption: str) -> str:
    """``words`` for who cannot see it, ``caption`` for who can."""
    return f"<figure>{inline_svg(figure, name, words)}\n<figcaption>{escape(caption)}</figcaption></figure>"


# -- latency --------------------------------------------------------------------------------------------


def _latency(run: Run) -> Iterator[str]:
    covered = coverage(run)
    yield "<h2>How soon nodes have a change</h2>"
    if covered is None:
        yield "<p>Nothing was delivered: there was no change, or nobody else to have it.</p>"
        return
    yield f"<p>{escape(_coverage_words(covered))}</p>"
    figure = _sheet(3.9)
    draw_coverage(figure.subplots(), covered, wide=is_wide(run))
    yield _picture(figure, "coverage", "Share of the nodes that have a change, over time", _bound_words(covered))
    figure = _sheet(3.9)
    draw_latencies(figure, run)
    caption = (
        "Above, one delivery is one node that gets one change. Below, it is the moment at which the last node gets it."
    )
    yield _picture(figure, "latencies", "Histograms of the latencies of deliveries", caption)


def _coverage_words(covered: Coverage) -> str:
    half = next(time for time, part in zip(covered.median_s, covered.shares, strict=True) if part >= 0.5)
    last, bound = float(covered.median_s[-1]), float(covered.bound_s[-1])
    said = f"Half of the nodes have the median change {_after(float(half))}"
    said += f", all of them {_after(last)}." if last < inf else "; some never got it."
    if 0 < bound <= last < inf:
        what = "physics" if covered.placed else "the shape of the overlay"
        said += f" The least that {what} allows is {duration(bound)}"
        said += f"; this took {number(last / bound)} times as long." if last < TIMES_MAX * bound else "."
    return said


def _after(time_s: float) -> str:
    return "never" if time_s == inf else f"after {duration(time_s)}"


def _bound_words(covered: Coverage) -> str:
    said = (
        "Thick: the median over all changes, at each share of the nodes; the band goes from the fastest change to the "
        "slowest. Dashed: the bound of the median change. "
    )
    if covered.placed:
        return said + (
            "No message is faster than the direct way between two zones, so nobody can have it earlier. A change "
            "from a well-placed publisher has a bound of its own, further left: the band may begin before the line."
        )
    return said + (
        f"Where no node has more than k = {covered.degree} links, at most 1 + k + k(k - 1) + k(k - 1)² + … nodes have "
        "it after so many links, and each link costs at least the least one-way delay."
    )


# -- virtual time -----------------------------------------------------------------------------------------


def _timeline(run: Run) -> Iterator[str]:
    over_time = timeline(run)
    if over_time is None:
        return
    yield "<h2>What happened when</h2>"
    carried = "; ".join(f"{name}: {words}" for name, words in CLASSES.items())
    caption = (
        f"Traffic is what one running node sends, by class of message ({carried}). Only honest nodes are counted as "
        "running; different states are their different fingerprints: where there is 1, all hold the same."
    )
    if run.marks:
        caption += " Faults are named above, and shaded."
    if not time_axis(run, over_time).even:
        caption += " The axis is stretched: each stretch between two of its marks has a scale of its own."
    figure = _sheet(5.4)
    draw_timeline(figure, run, over_time)
    yield _picture(figure, "timeline", "Traffic, running nodes and different states, over virtual time", caption)


# -- overlay ----------------------------------------------------------------------------------------------


def _overlay(run: Run) -> Iterator[str]:
    found = degrees(run)
    if not any(found):
        return
    overlay = Overlay.of(run)
    yield "<h2>The overlay</h2>"
    mean = number(sum(found) / len(found))
    yield (
        f"<p>At the last publish {overlay.all_links:,} links joined the nodes: "
        f"{mean} a node on average, {min(found)} at least, {max(found)} at most.</p>"
    )
    caption = "Dots are nodes, lines are links."
    if len(set(run.zones)) > 1:
        caption += " Circles are zones; one that would cover another stands aside."
    else:
        caption += " Rings hold the nodes that are one link from the publisher, two links, and so on."
    if overlay.is_sampled:
        caption += (
            f" A sample: {len(overlay.links):,} of {overlay.all_links:,} links, and at their ends "
            f"{len(overlay.hosts):,} of {overlay.all_hosts:,} nodes."
        )
    yield _picture(overlay_figure(run, overlay), "overlay", "The nodes and the links between them", caption)
    figure = _sheet(2.3)
    draw_degrees(figure.subplots(), run)
    yield _picture(figure, "degrees", "How many nodes have how many links", "How many nodes have how many links.")
