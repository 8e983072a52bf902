"""The cluster as one agent sees it: `status`. Who told the same state and when, who lags, who is silent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ...trust.keys import fingerprint
from ..output import count, duration, escaped, json_time, moment, print_json, say, short, some_of, stdout
from ..replies import Certificate, Member, Status, View
from ..session import Session, open_session
from ..table import print_table, table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from . import spread
from .outcome import json_votes, votes_in_words
from .wait import TIMEOUT, TimeoutOption, Wait, WaitOption

NAMED_MAX: Final = 5
"""Agents of one kind that the summary names; the table names all."""

COLUMNS = {
    "NODE": "left",
    "ZONE": "left",
    "STATE": "left",
    "VERSIONS": "right",
    "POLICY": "right",
    "HEARD": "left",
    "TOLD": "left",
    "ADDRESS": "cut",
    "NOTE": "cut",
}
TOLERATED = {"unanswered": 10, "unequal": 10}
"""Complaints of a kind below which an agent is not shown as odd: a lossy network and a busy disk cause some. An honest
agent sends nothing `invalid`."""
STYLES = {"differs": "yellow", "silent": "red", "stopped": "dim"}


def status(
    what: Annotated[
        str | None,
        typer.Argument(metavar="KEY|CHANGE", help="Show who has this, instead of how all agents are."),
    ] = None,
    keep_watching: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
    every_s: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often to look.")] = 1.0,
    number: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="With --watch: stop after this many.")
    ] = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Show who told which state, lags or is silent.

    With a key or a change: its live values, and who has applied them. That does not
    wait, unless --wait says for whom.

    Agents with the same root hold exactly the same entries. STATE, VERSIONS and
    POLICY are as each agent told them, so long ago as TOLD says; neighbours tell
    within seconds, others the more rarely the more agents there are. STATE is asked
    (the agent that answers; "self" in JSON), equal, differs, unknown (it has told
    nothing since the asked agent's last change), silent (a neighbour has lost it, or
    no sign of life came for long, or since the asked agent started) or stopped (it
    said so). NOTE tells of a disk that fails, and of an agent that has sent what is
    invalid, leaves many pulls unanswered or stays unequal after many syncs: --json
    counts these complaints of the asked agent for all. The second line, "certificate"
    in JSON, says how long the asked agent's certificate holds, and of those above it
    the one that ends first.

    Two more lines are of the agent that answers: that what it holds came from a
    checkpoint and is unconfirmed as yet, and how old its view may be by the beacons
    that it has heard (see `gossipconf beacon run`). A line begins with POLICY FORK
    while the roots have signed two policies of one version ("policy_forks" in JSON).
    And one tells of each change that nodes have called unhealthy, and whether their
    votes hold it off ("votes" in JSON).

    \b
    Examples:
      gossipconf status
      gossipconf status --watch
      gossipconf status shop/checkout/timeout_ms
      gossipconf status 3f2a9c41d0 --wait zone=eu --timeout 1m
      gossipconf status --json | jq '.members[] | select(.state != "equal" and .state != "self")'
    """
    if what is None and wait is not None:
        raise typer.BadParameter("name the key or the change whose spreading you wait for", param_hint="'--wait'")
    if what is not None and keep_watching:
        raise typer.BadParameter("--watch is of all agents; wait for a change with --wait", param_hint="'--watch'")
    waiting = Wait.of(wait, timeout)
    with open_session(Target.find(cluster, agent)) as session:
        if what is not None:
            spread.show(session, what, waiting, as_json=as_json)
            return
        rounds = _rounds(every_s, number) if keep_watching else iter(range(1))
        if as_json:
            for _ in rounds:
                print_json(_document(session, session.status()), compact=keep_watching)
        elif keep_watching and stdout().is_terminal:
            _watch_live(session, rounds)
        else:
            for index in rounds:
                if index:
                    say()
                _print(session, session.status())


def summary(node: str, status: Status) -> str:
    """One sentence: how many have told the same state as `node` has, and who has not."""
    members = status.members
    agents = count(len(members), "agent")
    if status.crowded:
        agents = f"more agents than {escaped(node)} keeps a list of; of the {len(members)} that it lists"
    node = escaped(node)
    same = sum(member.state in {"self", "equal"} for member in members)
    differing = [member for member in members if member.state == "differs"]
    unknown = [member.node for member in members if member.state == "unknown"]
    silent = [member for member in members if member.state == "silent"]
    stopped = [member.node for member in members if member.state == "stopped"]
    if len(members) == 1:
        sentence = f"{agents}: {node}, which knows of no other"
    elif same == len(members):
        sentence = f"{agents}: all hold the same state, as last told"
    else:
        parts = [f"{same} hold{'s' if same == 1 else ''} the same state as {node}" if same > 1 else f"{node} by itself"]
        if differing:
            named = _named([f"{m.node}{'' if m.lag_ms is None else ', for ' + duration(m.lag_ms)}" for m in differing])
            parts.append(f"{len(differing)} differ{'s' if len(differing) == 1 else ''} ({named})")
        if unknown:
            parts.append(f"{len(unknown)} told nothing since the last change ({_named(unknown)})")
        if silent:
            parts.append(f"{len(silent)} silent ({_named([f'{m.node}, {_last_heard(m)}' for m in silent])})")
        if stopped:
            parts.append(f"{len(stopped)} stopped ({_named(stopped)})")
        sentence = f"{agents}: {', '.join(parts)}"
    degraded = [member.node for member in members if member.degraded]
    return sentence + (f"; cannot write to disk: {_named(degraded)}" if degraded else "")


def certificate_line(node: str, certificate: Certificate) -> Text:
    """How long the asked agent can still make links."""
    line = (
        f"certificate of {escaped(node)}: {_days_left(certificate.days_left)}; "
        f"of those above it: {_days_left(certificate.chain_days_left)}"
    )
    if not certificate.ending:
        return Text(line)
    return Text(f"{line}; less than a third of its life", style="red" if certificate.days_left < 0 else "yellow")


def _days_left(days: int) -> str:
    return f"{count(days, 'day')} left" if days >= 0 else "ended"


def cautions(node: str, status: Status) -> list[str]:
    """What to know of the answering agent's own state, in sentences."""
    said = []
    unconfirmed = status.unconfirmed
    if unconfirmed is not None:
        equal = f" ({', '.join(map(escaped, unconfirmed.equal))})" if unconfirmed.equal else ""
        said.append(
            f"unconfirmed: {escaped(node)} booted from a checkpoint of {moment(unconfirmed.checkpoint_ms)}, and "
            f"{len(unconfirmed.equal)} of {unconfirmed.wanted} peers have held the same since{equal}"
        )
    said.append(freshness_in_words(status.view))
    if status.conflicts:
        keys = count(status.conflicts, "value")
        said.append(f"{keys} in conflict: changed in several places at once; see: gossipconf conflicts")
    if status.unfit:
        said.append(
            f"{count(status.unfit, 'value')} held back for a schema, readers keep the last good: "
            f"{_named(status.unfit_keys)}"
        )
    return said


def votes_in_lines(status: Status) -> list[Text]:
    """What nodes have called unhealthy, and what is held off by that."""
    return [
        Text(
            f"change {short(one.change_id)} to {_named(one.keys)}: {votes_in_words(one)}",
            style="bold yellow" if one.halted else "yellow",
        )
        for one in status.votes
    ]


def forks_in_words(session: Session) -> list[Text]:
    """The policy forks that are open, each in a sentence with what ends it."""
    chain = session.chain
    return [
        Text(
            f"POLICY FORK: there are {len(chain.branches(version))} policies {version}, and {escaped(session.node)} "
            f"goes by {short(chain.branches(version)[0])}; the roots end it with: gossipconf policy settle CHANGE",
            style="red",
        )
        for version in chain.disputed
    ]


def freshness_in_words(view: View) -> str:
    """How old what readers see may be: `view at most 75 s old`, and what to know of that."""
    if view.at_most_ms is None:
        return "view of unknown age: no beacon has shown how old it is"
    bound = f"view at most {duration(-(-view.at_most_ms // 1000) * 1000)} old"
    if view.freshness == "expired":
        return f"{bound}: EXPIRED, no beacon has come since the last one's time was over"
    if view.freshness == "stale" and view.limit_ms is not None:
        return f"{bound}: STALE, older than the {duration(view.limit_ms)} of the agent's settings"
    return bound


def _last_heard(member: Member) -> str:
    """When a silent agent was last heard of, in words."""
    return "not heard since this one started" if member.age_ms is None else f"last heard {duration(member.age_ms)} ago"


def _named(names: Sequence[str]) -> str:
    return some_of(names, NAMED_MAX, "; ")


def _rounds(every_s: float, number: int | None) -> Iterator[int]:
    index = 0
    while True:
        yield index
        index += 1
        if index == number:
            return
        time.sleep(every_s)


def _print(session: Session, status: Status) -> None:
    say(summary(session.node, status))
    if status.certificate is not None:
        say(certificate_line(session.node, status.certificate))
    for line in (*forks_in_words(session), *votes_in_lines(status)):
        say(line)
    for caution in cautions(session.node, status):
        say(caution)
    say()
    print_table(COLUMNS, _rows(status.members))


def _watch_live(session: Session, rounds: Iterator[int]) -> None:
    with Live(console=stdout(), auto_refresh=False, screen=False) as live:
        for _ in rounds:
            seen = session.status()
            head = [Text(summary(session.node, seen))]
            if seen.certificate is not None:
                head.append(certificate_line(session.node, seen.certificate))
            head.extend((*forks_in_words(session), *votes_in_lines(seen)))
            head.extend(map(Text, cautions(session.node, seen)))
            group = Group(*head, Text(), table(COLUMNS, _rows(seen.members), live.console.width))
            live.update(group, refresh=True)


def _rows(members: Sequence[Member]) -> list[Sequence[str | Text]]:
    return [
        (
            member.node,
            member.zone,
            Text(_state_in_words(member), style=STYLES.get(member.state, "")),
            f"{member.versions:,}",
            str(member.policy),
            _ago(member, member.age_ms),
            _ago(member, member.told_ms),
            member.address,
            remark(member),
        )
        for member in members
    ]


def remark(member: Member) -> Text:
    """What is wrong with an agent."""
    if member.degraded:
        return Text("disk does not take writes", style="red")
    complaints = {kind: number for kind, number in member.complaints.items() if number >= TOLERATED.get(kind, 1)}
    return Text(", ".join(f"{number} {kind}" for kind, number in complaints.items()), style="yellow")


def _ago(member: Member, age_ms: int | None) -> str:
    return "" if member.state == "self" or age_ms is None else f"{duration(age_ms)} ago"


def _state_in_words(member: Member) -> str:
    if member.state == "self":
        return "asked"
    if member.state == "differs" and member.lag_ms is not None:
        return f"differs, {duration(member.lag_ms)}"
    return member.state


def _unconfirmed(status: Status) -> dict[str, Any] | None:
    found = status.unconfirmed
    if found is None:
        return None
    return {"checkpoint": json_time(found.checkpoint_ms), "equal": list(found.equal), "wanted": found.wanted}


def json_view(view: View) -> dict[str, Any]:
    """How old a view may be, and by whose word."""
    return {
        "freshness": view.freshness,
        "at_most_ms": view.at_most_ms,
        "beacon": None if view.time_ms is None else json_time(view.time_ms),
        "expires": None if view.expires_ms is None else json_time(view.expires_ms),
        "signer": None if view.signer is None else fingerprint(view.signer),
        "limit_ms": view.limit_ms,
    }


def _document(session: Session, status: Status) -> dict[str, Any]:
    return {
        "node": session.node,
        "summary": summary(session.node, status),
        "crowded": status.crowded,
        "certificate": None if status.certificate is None else asdict(status.certificate),
        "unconfirmed": _unconfirmed(status),
        "view": json_view(status.view),
        "conflicts": status.conflicts,
        "unfit": {"number": status.unfit, "keys": list(status.unfit_keys)},
        "policy_forks": [
            {"policy": version, "changes": [one.hex() for one in session.chain.branches(version)]}
            for version in session.chain.disputed
        ],
        "votes": [{"change": one.change_id.hex(), "keys": list(one.keys), **json_votes(one)} for one in status.votes],
        "members": [
            {
                "node": member.node,
                "zone": member.zone,
                "address": member.address,
                "labels": dict(member.labels),
                "state": member.state,
                "root": member.root.hex(),
                "policy": member.policy,
                "versions": member.versions,
                "age_ms": member.age_ms,
                "told_ms": member.told_ms,
                "lag_ms": member.lag_ms,
                "degraded": member.degraded,
                "complaints": dict(member.complaints),
            }
            for member in status.members
        ],
    }
