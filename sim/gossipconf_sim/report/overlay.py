"""The picture of an overlay: nodes by their zones, links inside a zone and across, and when each got a change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from ..run.meter import Tracked
from ..run.play import Run
from . import palette
from .curves import median_change, pairs
from .layout import Layout, Place, layout
from .quantities import duration

LINKS_MAX: Final = 1_200
"""More links make a picture black; then as many are drawn, spread evenly over all."""
NODE_POINTS: Final = (7.0, 2.2)
"""Diameter of a node where there are few, and the least, in points."""
DOT: Final = 1e-4
"""Length of the stroke that is a dot: without any, or with both ends on one pixel, some viewers draw nothing."""
WIDTH: Final = 9.0
HEIGHT_LEAST: Final = 3.4
HEIGHT_MOST: Final = 6.4
"""Of a picture, in inches, without its legend."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is drawn: links, hosts, and the numbers of both that there are."""

    links: list[tuple[int, int]]
    hosts: list[int]
    all_links: int
    all_hosts: int

    @property
    def is_sampled(self) -> bool:
        """Whether something is left out."""
        return len(self.links) < self.all_links

    @classmethod
    def of(cls, run: Run) -> Overlay:
        """All links and hosts, or a sample of the links with the hosts at their ends."""
        links, hosts = pairs(run), list(range(len(run.zones)))
        if len(links) <= LINKS_MAX:
            return cls(links, hosts, len(links), len(hosts))
        drawn = [links[number * len(links) // LINKS_MAX] for number in range(LINKS_MAX)]
        change = median_change(run)
        kept = {host for pair in drawn for host in pair} | ({change.origin} if change is not None else set())
        return cls(drawn, sorted(kept), len(links), len(hosts))


def overlay_figure(run: Run, overlay: Overlay) -> Figure:
    """A picture as high as the places of the nodes ask for. Call it inside `plots.styled`."""
    change = median_change(run)
    made = layout(run.scenario.zones, run.zones, pairs(run), change.origin if change is not None else 0)
    widths = [max(axis) - min(axis) for axis in zip(*made.places, strict=True)]
    height = WIDTH * min(1.0, widths[1] / widths[0]) if widths[0] else WIDTH
    figure = Figure(figsize=(WIDTH, min(max(height, HEIGHT_LEAST), HEIGHT_MOST) + 0.6), layout="constrained")
    draw_overlay(figure.subplots(), run, overlay, made)
    return figure


def draw_overlay(axes: Axes, run: Run, overlay: Overlay, made: Layout) -> None:
    """The picture. Colours of nodes tell in which quarter of all deliveries they got the median change."""
    _draw_zones(axes, made)
    _draw_links(axes, made, overlay, run.zones)
    few, least = NODE_POINTS
    diameter = max(least, few * min(1.0, (60 / len(overlay.hosts)) ** 0.5))
    keys = []
    for words, colour, hosts in _kinds(run, overlay):
        _draw_nodes(axes, made, hosts, colour, diameter)
        keys.append(_key(words, colour))
    change = median_change(run)
    if change is not None:
        x, y = made.places[change.origin]
        axes.plot([x], [y], "*", ms=max(14.0, diameter * 2.2), mfc=palette.ORANGE, mec=palette.INK, mew=0.9, zorder=5)
        keys.insert(0, _key("publisher of the median change", palette.ORANGE, marker="*", size=10))
    if any(run.zones[one] != run.zones[other] for one, other in overlay.links):
        keys.append(Line2D([], [], color=palette.PURPLE, lw=1.4, label="link across zones"))
    if made.ways and change is not None:
        keys.append(Line2D([], [], color=palette.MUTED, lw=1.2, label="link on a shortest way from there"))
    axes.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, columnspacing=1.4)
    axes.set_aspect("equal")
    axes.margins(0.03)
    axes.axis("off")


def _kinds(run: Run, overlay: Overlay) -> list[tuple[str, str, list[int]]]:
    """The hosts that are drawn alike: words, colour, hosts."""
    drawn = set(overlay.hosts)
    hostile = {host for host, is_hostile in enumerate(run.hostile) if is_hostile}
    change = median_change(run)
    kinds = []
    rest = dict.fromkeys(host for host in overlay.hosts if host not in hostile)
    if change is not None:
        rest.pop(change.origin, None)
        for part, colour in zip(_quarters(change), palette.QUARTERS, strict=True):
            if part:
                kinds.append((f"had it by {duration(part[-1][0])}", colour, [host for _, host in part]))
    kinds = [(words, colour, [host for host in hosts if host in rest]) for words, colour, hosts in kinds]
    for _, _, hosts in kinds:
        for host in hosts:
            del rest[host]
    kinds.append(("without it" if change is not None else "node", palette.GREY, list(rest)))
    kinds.append(("hostile", palette.RED, sorted(hostile & drawn)))
    return [kind for kind in kinds if kind[2]]


def _quarters(change: Tracked) -> list[list[tuple[float, int]]]:
    """The deliveries of a change as (delay, host), early to late, in four parts."""
    ordered = sorted(zip(change.delays_s, change.receivers, strict=True))
    ends = [len(ordered) * quarter // 4 for quarter in range(5)]
    return [ordered[begin:end] for begin, end in pairwise(ends)]


def _draw_zones(axes: Axes, made: Layout) -> None:
    for name, circle in made.circles.items():
        axes.add_patch(
            Circle((circle.x, circle.y), circle.radius, fc=palette.PAPER, ec=palette.LINE, lw=0.8, alpha=0.85, zorder=2)
        )
        below = circle.y - circle.radius * 1.1
        paper = {"fc": palette.PAPER, "ec": "none", "alpha": 0.75, "pad": 0.5}
        axes.text(circle.x, below, name, ha="center", va="top", fontsize=8.5, zorder=6, bbox=paper)


def _draw_links(axes: Axes, made: Layout, overlay: Overlay, zones: Sequence[str]) -> None:
    """Thin and grey inside a zone, coloured across; of rings the links on a shortest way are darker."""
    kinds: dict[str, list[tuple[Place, Place]]] = {palette.PURPLE: [], palette.GREY: [], palette.MUTED: []}
    for one, other in overlay.links:
        inside = palette.MUTED if (one, other) in made.ways else palette.GREY
        kind = inside if zones[one] == zones[other] else palette.PURPLE
        kinds[kind].append((made.places[one], made.places[other]))
    faint = min(1.0, (250 / max(1, len(overlay.links))) ** 0.5)
    for colour, ends in kinds.items():
        xs, ys = _strokes(ends)
        if xs:
            alpha = 0.7 if colour == palette.MUTED else 0.75 * faint
            axes.plot(xs, ys, color=colour, lw=0.7, alpha=alpha, zorder=1 if colour == palette.PURPLE else 2.5)


def _draw_nodes(axes: Axes, made: Layout, hosts: Sequence[int], colour: str, diameter: float) -> None:
    """Dots as strokes of next to no length: one path for all, so that the file stays small."""
    places = [made.places[host] for host in hosts]
    xs, ys = _strokes([((x, y), (x + DOT, y)) for x, y in places])
    axes.plot(xs, ys, color=colour, lw=diameter, solid_capstyle="round", snap=False, zorder=3)


def _strokes(ends: Iterable[tuple[Place, Place]]) -> tuple[list[float], list[float]]:
    """Lines between places as one line with gaps."""
    xs, ys = [], []
    for (from_x, from_y), (to_x, to_y) in ends:
        xs += [from_x, to_x, float("nan")]
        ys += [from_y, to_y, float("nan")]
    return xs, ys


def _key(words: str, colour: str, *, marker: str = "o", size: float = 6) -> Line2D:
    return Line2D([], [], ls="", marker=marker, ms=size, color=colour, label=words)
