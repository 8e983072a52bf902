"""`show`: one change whole. Who signed it, what it was judged by, and what it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ...trust.policy import Role, carries_policy
from ..instant import now_ms
from ..item import Past
from ..output import (
    called_in_full,
    count,
    escaped,
    moment,
    moment_and_age,
    note,
    print_json,
    print_labelled,
    rights_in_words,
    say,
)
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target
from . import bygone
from .difference import Difference, json_difference, print_difference
from .log import json_record
from .record import STATE_STYLES, Record, Wanted, record_named, versions

ENTRIES_SHOWN: Final = 100
"""What each replaced has to be asked for."""
LABEL_CHARACTERS: Final = 9


def show(
    start: Annotated[str, typer.Argument(metavar="CHANGE", help="The id of a change, or its first digits.")],
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="Show at most this many entries.")
    ] = ENTRIES_SHOWN,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Show one change whole: its signatures, what judged it, what it did.

    What an entry replaced comes from the agent's history, and is told as long as
    that goes back. Entries that are neither live nor in history any more are
    counted only.

    \b
    Examples:
      gossipconf show 3f9a2c1b
      gossipconf show 3f9a2c1b --json | jq '.differences[].after'
    """
    with open_session(Target.find(cluster, agent)) as session:
        record = record_named(session, start)
        shown = list(_differences(session, record.versions[:limit]))
        if as_json:
            print_json(_in_json(session, record, shown))
            return
        _print_header(session, record)
        say()
        for found in shown:
            print_difference(found, with_changes=False)
        left = record.change.header.count - len(record.versions)
        if left:
            note(f"{count(left, 'entry', 'entries')} more: replaced, and no longer in this agent's history")
        if len(record.versions) > limit:
            note(f"{count(len(record.versions) - limit, 'entry', 'entries')} more; show them with --limit")


def _differences(session: Session, past: Sequence[Past]) -> Iterator[Difference]:
    for one in past:
        version = one.version
        wanted = Wanted(key=version.entry.key, until_ms=version.header.time_ms)  # signers put it after what it replaces
        known = [older.version for older in versions(session, wanted, None) if older.version.slot == version.slot]
        before, remark = None, "void" if one.retired_ms is not None and session.is_void(version) else ""
        try:
            before = bygone.before(version, known, lambda _: False)
        except bygone.Forgotten:
            remark = "what it replaced is no longer in this agent's history"
        found = Difference.between(version.slot, before, version, remark)
        yield replace(found, remark="the same value") if found.is_empty else found


# -- who signed, and what judged that -------------------------------------------------------------


def _print_header(session: Session, record: Record) -> None:
    change, header = record.change, record.change.header
    state = record.state(session)
    counts = f", {record.live:,} of {header.count:,} entries live" if header.count > 1 else ""
    _line("change", Text(change.id.hex(), style="bold"))
    _line("time", moment_and_age(header.time_ms, now_ms()))
    if header.activation_ms is not None:
        _line("active", f"from {moment(header.activation_ms)}")
    _line("state", Text.assemble((state, STATE_STYLES[state]), counts))
    if header.comment:
        _line("comment", escaped(header.comment))
    _line("number", f"{header.seq:,} of writer {change.writer_id.hex()}")
    for position, (key, _) in enumerate(change.signatures()):
        role = session.role_of(key, header.policy, record.versions[0].version.entry.key if record.versions else "")
        what = "its writer" if position == 0 else "approved it"
        who = f"{escaped(role)} {called_in_full(session, key, header.policy)}"
        _line("signed" if position == 0 else "", f"{who}, {what}; the signature is valid")
    for position, line in enumerate(_judgement(session, record)):
        _line("judged" if position == 0 else "", line)


def _judgement(session: Session, record: Record) -> Iterator[str]:
    """What allowed each kind of entry, and what has come of it since."""
    change = record.change
    number = change.header.policy
    yield f"by policy {number}, the newest is {session.chain.head.version}"
    if carries_policy(change):
        policy = session.chain[number]
        yield f"as a policy: the signatures of {policy.threshold} of {count(len(policy.roots), 'root')}"
    for role in allowing(session, record):
        yield (
            f"role {escaped(role.name)}: {rights_in_words(role)}, "
            f"with {role.approvals} of {count(len(role.keys), 'key')}"
        )
    void = sum(one.retired_ms is not None and session.is_void(one.version) for one in record.versions)
    if void:
        yield f"void since, by a later policy: {count(void, 'entry', 'entries')}"


def allowing(session: Session, record: Record) -> Sequence[Role]:
    """The roles that let its signers do what the change did, each once."""
    change = record.change
    signers = frozenset(key for key, _ in change.signatures())
    known = (session.chain[change.header.policy], *session.chain.set_aside(change.header.policy))
    found: dict[str, Role] = {}
    for one in record.versions:
        for policy in known:
            for role in policy.roles:
                if change.header.writer.key in role.keys and role.allows(one.version.entry, signers):
                    found.setdefault(role.name, role)
    return list(found.values())


def _line(label: str, text: str | Text) -> None:
    print_labelled(label, text, LABEL_CHARACTERS)


def _in_json(session: Session, record: Record, shown: Sequence[Difference]) -> dict[str, Any]:
    policy = session.chain[record.change.header.policy]
    return json_record(session, record) | {
        "judged_by": {
            "policy": policy.version,
            "roles": [
                {
                    "role": role.name,
                    "operations": list(role.operations),
                    "prefixes": list(role.prefixes),
                    "approvals": role.approvals,
                    "keys": len(role.keys),
                }
                for role in allowing(session, record)
            ],
            "roots": policy.threshold if carries_policy(record.change) else None,
        },
        "differences": [json_difference(found) for found in shown],
    }
