"""The report of a run: one HTML file that needs nothing else, for people who plan.

Puts words around figures (`figures`); the pictures with theirs are `report_pictures`,
the page's shape and style `page.html`. No scripts, no fonts and no pictures from elsewhere.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Final

from gossipconf import __version__

from ..run.play import Run
from ..run.result import Result
from ..scenario.text import dump
from .figures import Row, cost_rows, identity_rows, spread_rows, value_rows
from .inline_svg import style
from .pictures import sections
from .quantities import duration, number, share, size

VIOLATIONS_MAX: Final = 20
"""Violations that the page lists; what is wrong with twenty is seldom news with the next."""


def report(run: Run, command: str) -> str:
    """The page of ``run``; ``command`` is what gives the same run again."""
    result = run.result
    template = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    return Template(template).substitute(
        title=escape(f"{result.scenario}: {result.nodes:,} nodes"),
        variables=style(),
        name=escape(result.scenario),
        description=escape(run.scenario.description),
        summary=escape(_summary(run)),
        violations=_violations(result.violations),
        tiles="\n".join(_tiles(run)),
        sections="\n".join(sections(run)),
        tables="\n".join(_tables(result)),
        assumptions=_assumptions(run),
        command=escape(command),
        scenario=escape(result.scenario),
        toml=escape(dump(run.scenario)),
        made_with="\n".join(_made_with(result)),
    )


# -- above the pictures -------------------------------------------------------------------------------


def _summary(run: Run) -> str:
    result, zones = run.result, len(set(run.zones))
    parts = [
        f"{result.nodes:,} {'node' if result.nodes == 1 else 'nodes'}",
        *([f"{zones} zones"] if zones > 1 else []),
        *([f"{sum(run.hostile):,} of them hostile"] if any(run.hostile) else []),
        f"{result.changes:,} {'change' if result.changes == 1 else 'changes'} measured",
        *([", ".join(dict.fromkeys(mark.label for mark in run.marks))] if run.marks else []),
        f"seed {result.seed}",
        f"{duration(result.virtual_s)} of virtual time",
    ]
    return " · ".join(parts)


def _violations(found: Sequence[str]) -> str:
    if not found:
        return ""
    items = "\n".join(f"<li>{escape(one)}</li>" for one in found[:VIOLATIONS_MAX])
    more = f"<p>and {len(found) - VIOLATIONS_MAX:,} more, in the JSON</p>" if len(found) > VIOLATIONS_MAX else ""
    heading = "1 violation of an invariant" if len(found) == 1 else f"{len(found):,} violations of invariants"
    return f'<section class="violations"><h2>{heading}</h2>\n<ul>\n{items}\n</ul>{more}</section>'


def _tiles(run: Run) -> Iterable[str]:
    """The headline figures in plain words."""
    result = run.result
    if result.violations:
        yield _tile(number(len(result.violations)), "invariants violated", "see above", kind="bad")
    else:
        yield _tile("0", "violations", "all invariants held whenever the checkers looked", kind="good")
    if result.delivered_fraction is not None:
        kind = "good" if result.delivered_fraction == 1 else "bad"
        yield _tile(
            share(result.delivered_fraction), "delivered", "of all changes, to all nodes that were up", kind=kind
        )
    if result.last_delivery_ms is not None and result.delivery_ms is not None:
        spread = result.last_delivery_ms
        slowest = f"99 of 100 changes: {duration(spread.p99 / 1000)}; the slowest: {duration(spread.max / 1000)}"
        yield _tile(duration(spread.p50 / 1000), "until the last node has a change", f"the median change; {slowest}")
    since = "after the last fault and publish" if run.marks else "after the last publish"
    if result.convergence_ms is None:
        yield _tile("never", f"all nodes equal {since}", "within the limit of the scenario", kind="bad")
    else:
        yield _tile(duration(result.convergence_ms / 1000), f"until all nodes were equal {since}", "convergence")
    if result.bytes_per_node_per_change is not None:
        idle = result.idle_bytes_per_node_per_s
        rest = f"and {size(idle)}/s at rest" if idle is not None else "all kinds of messages together"
        yield _tile(size(result.bytes_per_node_per_change), "sent by a node for a change", rest)
    if result.payload_copies_per_node is not None and result.nodes > 1:
        once = "once is enough; what is more is the price of speed and of faults"
        yield _tile(number(result.payload_copies_per_node), "times a change arrives at a node", once)


def _tile(value: str, words: str, more: str, *, kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><b>{_kept(value)}</b><span>{escape(words)}</span>'
        f'<span class="muted">{_kept(more)}</span></div>'
    )


def _kept(words: str) -> str:
    """Words whose quantities are not broken between number and unit."""
    return re.sub(r"(?<=\d) (?=\w)", "&nbsp;", escape(words))


# -- below the pictures -------------------------------------------------------------------------------


def _tables(result: Result) -> Iterable[str]:
    spreads = spread_rows(result)
    if spreads:
        yield _table("Times and ways", ("p50", "p99", "max"), spreads)
    yield _table("Whole run", ("value",), value_rows(result))
    yield _table("The simulation itself", ("value",), cost_rows(result))


def _table(caption: str, headings: Sequence[str], rows: Iterable[Row]) -> str:
    numbers = "".join(f'<th class="number">{heading}</th>' for heading in headings)
    lines = []
    for row in rows:
        cells = "".join(f'<td class="number">{escape(cell)}</td>' for cell in row.cells)
        figure = row.figure
        lines.append(
            f'<tr><td class="label">{escape(figure.label)}</td>{cells}<td>{escape(figure.meaning)}</td>'
            f'<td class="name">{escape(figure.name)}</td></tr>'
        )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>\n'
        f"<thead><tr><th>figure</th>{numbers}<th>meaning</th><th>in JSON</th></tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _assumptions(run: Run) -> str:
    processing_us = run.scenario.hosts.processing_us
    processor = (
        f"a message costs a processor {number(processing_us)} µs" if processing_us else "processors cost no time"
    )
    return escape(
        "Every node ran the protocol code that agents run; the network, the disks and the clocks around it were "
        "simulated, under the conditions written out below. A link delivers in order and without loss, as TCP does, "
        f"until it breaks; bytes are counted before TLS, and {processor}. "
        "All chance comes from the seed, and one run is one draw: compare several seeds (gossipconf-sim sweep) before "
        "you build on a figure. docs/simulator.md says what is modelled and what is not."
    )


def _made_with(result: Result) -> Iterable[str]:
    rows = [(row.figure.label, row.cells[0], row.figure.meaning) for row in identity_rows(result)]
    rows += [
        ("gossipconf", __version__, "version of the protocol and the simulator"),
        ("Python", platform.python_version(), "version that ran it; the figures do not depend on it"),
    ]
    for label, value, meaning in rows:
        yield f'<tr><td>{escape(label)}</td><td class="text">{escape(value)}</td><td>{escape(meaning)}</td></tr>'
