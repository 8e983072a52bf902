"""The command `report-unhealthy`: an application's word on what it reads, by which a canary is halted.

For scripts beside an instance: its agent signs the vote, with the key of its own certificate.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...model.errors import InvalidInput
from ...model.key import check_key
from ...protocol.halts import limit_of
from ..exits import NotFound
from ..instant import now_ms
from ..output import print_json, say, short
from ..replies import Votes
from ..see.outcome import json_votes, votes_in_words, why_missing
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target


def report_unhealthy(
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="The key whose present value the application is unwell with.")
    ] = None,
    change: Annotated[
        str | None,
        typer.Option(
            "--change", metavar="CHANGE", help="Or the change, by the first digits of its id, as get --all has it."
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="What is wrong, for the log of this agent.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be reported; sign nothing.")] = False,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Call what this agent reads of KEY unhealthy: its vote, for good.

    A variant that was published with --halt-after N is held off everywhere once N
    agents have said so, and agents read what they read before. Nobody decides that,
    and it holds over restarts; an admin goes on with `put`, `promote` or `abort`. Only
    an agent that reads the variant can report it. Reporting it again changes nothing.

    \b
    Examples:
      gossipconf report-unhealthy shop/limit --reason "errors above 5%"
      curl -fs localhost:8080/healthz || gossipconf report-unhealthy shop/limit
      gossipconf report-unhealthy --change 3f2a9c41d0 --json
    """
    if (key is None) == (change is None):
        raise typer.BadParameter("name a key, or a change with --change")
    if key is not None:
        check_key(key)
    with open_session(Target.find(cluster, agent)) as session:
        if dry_run:
            _show(session, key)
            return
        votes = session.report_unhealthy(key, change, reason)
        if as_json:
            print_json(_document(session, votes))
        else:
            say(f"change {short(votes.change_id)}: {votes_in_words(votes)}")


def _show(session: Session, key: str | None) -> None:
    """What `report_unhealthy` would report of a key. Raises NotFound or InvalidInput."""
    if key is None:
        raise InvalidInput("--dry-run shows what is read of a key; name one")
    item = session.get(key)
    resolution = session.read(item)
    if resolution.version is None:
        raise NotFound(why_missing(item, resolution, now_ms()))
    limit, change = limit_of(resolution.version.entry), short(resolution.version.change_id)
    if limit is None:
        raise InvalidInput(f"{session.node} reads change {change} of {key!r}, which carries no limit of votes")
    given = item.votes.get(resolution.version.change_id)
    say(f"would report change {change}: {len(given.nodes) if given else 0} of {limit} votes so far")


def _document(session: Session, votes: Votes) -> dict[str, Any]:
    return {"node": session.node, "change": votes.change_id.hex(), **json_votes(votes)}
