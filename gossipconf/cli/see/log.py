"""`log`: all changes as an audit trail, the last signed first; and how a change and its signers look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ...model.change import Change
from ...model.entry import Operation
from ...model.version import Version
from ...trust.keys import fingerprint
from ..instant import SinceOption, UntilOption, span_ms
from ..output import (
    STEP_COLOURS,
    called,
    count,
    escaped,
    json_time,
    moment,
    note,
    print_json,
    short,
    signer_in_words,
    slot_in_words,
)
from ..prefix import PrefixArgument, prefix_of
from ..reason import json_reason
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .record import STATE_STYLES, Record, Wanted, WriterOption, beside_epochs, records, signers_named

KEYS_SHOWN: Final = 3
"""Of a change in the table, with their signs; `show` has them all."""


def log(
    prefix: PrefixArgument = "",
    writer: WriterOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="Show at most this many changes.")
    ] = 50,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Tell who changed what, when and why: all changes, newest first.

    Of each all who have signed it: its writer, then those who approved it. Every
    signature is verified here, under the policy that the change names. + puts what
    is new, ~ replaces something, if only a delete, and - deletes.

    STATE is live; partly: some of its values have been replaced since; replaced:
    all have; or void: a policy has said that it counts for nothing. The log is
    the agent's own: it goes back as far as this agent was there and keeps history.
    Policies, proposals and epochs are told with `log _policy`, `log _proposals` and
    `log _stages`.

    \b
    Examples:
      gossipconf log
      gossipconf log shop/checkout --since 7d
      gossipconf log --writer payments --since 2026-03-01 --until 2026-04-01 --json
    """
    since_ms, until_ms = span_ms(since, until)
    with open_session(Target.find(cluster, agent)) as session:
        signers = None if writer is None else signers_named(session, writer)
        wanted = Wanted(None, prefix_of(prefix), since_ms, until_ms, signers)
        # Whether a change is void depends on its keys; JSON has them all in any case.
        entries = None if as_json or session.chain.floors or session.chain.forked else KEYS_SHOWN + 1
        found = records(session, wanted, limit=limit, entries=entries)
        if as_json:
            print_json([json_record(session, record) for record in found])
            return
        rows = [_row(session, record) for record in found]
        if not rows:
            note(
                f"no changes under {prefix!r}{beside_epochs(session, wanted.prefix)}"
                if prefix
                else "no changes" + (" that were asked for" if writer else "")
            )
            return
        columns = {"TIME (UTC)": "left", "CHANGE": "left", "STATE": "left", "BY": "left"}
        print_table(columns | {"KEYS": "fold", "COMMENT": "cut"}, rows)
        if len(rows) == limit:
            note(f"the newest {limit:,}; older ones with --limit or --until")


def signers_in_words(session: Session, record: Record) -> str:
    """All who have signed, the writer first: by role and name, or the first letters of the fingerprint."""
    change, version = record.change, record.versions[0].version
    if len(change.signatures()) == 1:
        return signer_in_words(session, version)
    at = version.entry.key
    said: dict[str, list[str]] = {}
    for key, _ in change.signatures():
        role = session.role_of(key, change.header.policy, at)
        said.setdefault(role, []).append(called(session, key, change.header.policy))
    return ", ".join(f"{escaped(role)} {' '.join(keys)}" for role, keys in said.items())


def sign_of(version: Version) -> str:
    """What the entry did by its signer's word: `+` replaced nothing, `~` did, `-` deleted."""
    if version.entry.operation is Operation.DELETE:
        return "-"
    return "~" if version.entry.seen else "+"


def json_signers(session: Session, change: Change, at: str) -> list[dict[str, str | None]]:
    """Role, name and fingerprint of all who have signed, the writer first."""
    policy = change.header.policy
    return [
        {
            "role": session.role_of(key, policy, at),
            "signer": fingerprint(key),
            "name": session.name_of(key, policy),
        }
        for key, _ in change.signatures()
    ]


def json_record(session: Session, record: Record) -> dict[str, Any]:
    """Everything about a change but its values."""
    header = record.change.header
    return {
        "change": record.change.id.hex(),
        "time": json_time(header.time_ms),
        "activation": None if header.activation_ms is None else json_time(header.activation_ms),
        "state": record.state(session),
        "signers": json_signers(session, record.change, record.versions[0].version.entry.key),
        "writer": record.change.writer_id.hex(),
        "number": header.seq,
        "policy": header.policy,
        **json_reason(header.comment),
        "entries": [
            {
                "key": one.version.entry.key,
                "variant": one.version.entry.variant,
                "sign": sign_of(one.version),
                "live": one.retired_ms is None,
                "void": one.retired_ms is not None and session.is_void(one.version),
            }
            for one in record.versions
        ],
        "entries_in_change": header.count,
    }


def _row(session: Session, record: Record) -> Sequence[str | Text]:
    header = record.change.header
    state = record.state(session)
    return (
        moment(header.time_ms).removesuffix(" UTC"),
        short(record.change.id),
        Text(state, style=STATE_STYLES[state]),
        signers_in_words(session, record),
        _keys_in_line(record),
        escaped(header.comment),
    )


def _keys_in_line(record: Record) -> Text:
    """The first few keys with their signs, and how many more there are."""
    line = Text()
    for one in record.versions[:KEYS_SHOWN]:
        sign = sign_of(one.version)
        line.append(" " if line else "").append(sign, STEP_COLOURS[sign]).append(
            escaped(slot_in_words(one.version.slot))
        )
    if record.count > KEYS_SHOWN:
        line.append(f" and {count(record.count - KEYS_SHOWN, 'more key', 'more')}")
    return line
