"""Who has applied a change: `acks`. Asked through one agent, answered by all that are connected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer
from rich.live import Live
from rich.text import Text

from .. import exits
from ..lifetime import timeout_s
from ..output import count, escaped, print_json, say, stdout
from ..replies import Tally
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target

ZONE_COLUMNS: Final = {"ZONE": "left", "APPLIED": "right", "OF": "right"}
NODE_COLUMNS: Final = {"NODE": "left", "STATE": "left"}
OTHERS: Final = "(others)"
"""Agents without a zone, and those in zones beyond the 64 that are counted each."""


def acks(
    change: Annotated[
        str | None,
        typer.Argument(
            metavar="CHANGE", help="The first digits of a change's id, as put shows it; without it: this agent's state."
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long to wait until all have: 500ms, 30s, 5m.")
    ] = "30s",
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Show who has applied a change, and wait until all have.

    Every agent that is connected is asked; one that has a later version instead has
    moved past the change, and counts. STATE is missing (not applied) or silent (it
    is linked to somebody and does not answer). Of more than 32 names a random sample
    is shown; counts stay exact. Ends with 0 once all have applied it, with 5 if the time
    is over first.

    What agents say of themselves is not signed: an agent that lies can invent or hide
    agents behind it.

    \b
    Examples:
      gossipconf acks 3f2a9c41d0
      gossipconf acks 3f2a9c41d0 --timeout 5m
      gossipconf acks --json | jq .missing
    """
    wait_s = timeout_s(timeout)
    with open_session(Target.find(cluster, agent)) as session:
        tallies = session.acks(change, wait_s)
        tally = _watched(session, tallies) if stdout().is_terminal and not as_json else _last(tallies)
        if as_json:
            print_json(document(session, change, tally))
        else:
            print_tally(session, tally)
    if not tally.is_done:
        raise typer.Exit(exits.INCOMPLETE)


def summary(node: str, tally: Tally) -> str:
    """One sentence: how many have applied it, and what is not known."""
    have = "has" if tally.total == 1 else "have"
    if tally.is_done:
        return f"all of {count(tally.total, 'agent')} {have} applied it, as {escaped(node)} hears"
    parts = [f"{tally.applied:,} of {count(tally.total, 'agent')} {have} applied it"]
    if tally.silent:
        more = " and more" if tally.more_silent else ""
        parts.append(f"{len(tally.silent)}{more} silent")
    if not tally.complete:
        parts.append("not all have answered")
    return f"{', '.join(parts)}, as {escaped(node)} hears"


def _last(tallies: Iterator[Tally]) -> Tally:
    tally = next(tallies)
    for one in tallies:
        tally = one
    return tally


def _watched(session: Session, tallies: Iterator[Tally]) -> Tally:
    """The last tally; until it comes the latest one in a line."""
    with Live(console=stdout(), auto_refresh=False, transient=True) as live:
        for tally in tallies:
            live.update(Text(summary(session.node, tally)), refresh=True)
    return tally


def print_tally(session: Session, tally: Tally) -> None:
    """The summary, the counts of each zone, and who is missing or silent."""
    say(summary(session.node, tally))
    if tally.zones:
        say()
        print_table(ZONE_COLUMNS, _zone_rows(tally))
    print_stragglers(tally)


def print_stragglers(tally: Tally) -> None:
    """Who has not applied it, and who does not answer."""
    rows = _node_rows(tally)
    if rows:
        say()
        print_table(NODE_COLUMNS, rows)
    unnamed = tally.total - tally.applied - len(tally.missing)
    if unnamed > 0:
        say(f"and {count(unnamed, 'agent')} more, missing")


def _zone_rows(tally: Tally) -> list[Sequence[str | Text]]:
    applied = tally.applied - sum(have for _, have, _ in tally.zones)
    total = tally.total - sum(there for _, _, there in tally.zones)
    others = [(OTHERS, applied, total)] if total > 0 else []
    return [(zone, f"{have:,}", f"{there:,}") for zone, have, there in (*tally.zones, *others)]


def _node_rows(tally: Tally) -> list[Sequence[str | Text]]:
    missing = [(name, Text("missing", style="yellow")) for name in tally.missing]
    return [*missing, *((name, Text("silent", style="red")) for name in tally.silent)]


def document(session: Session, change: str | None, tally: Tally) -> dict[str, Any]:
    """A tally as JSON says it."""
    return {
        "node": session.node,
        "change": change,
        "summary": summary(session.node, tally),
        "applied": tally.applied,
        "total": tally.total,
        "complete": tally.complete,
        "missing": tally.missing,
        "silent": tally.silent,
        "more_silent": tally.more_silent,
        "zones": [{"zone": zone, "applied": have, "total": there} for zone, have, there in tally.zones],
    }
