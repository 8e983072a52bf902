"""`history`: earlier values of keys, the last signed first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from ..model.key import check_key
from .exits import NotFound
from .instant import SinceOption, UntilOption, now_ms, span_ms
from .item import Past
from .output import (
    age,
    escaped,
    json_past,
    moment,
    print_json,
    print_table,
    short,
    signer_in_words,
    slot_in_words,
    version_in_line,
)
from .prefix import prefix_of
from .record import STATE_STYLES, Wanted, WriterOption, signers_named, versions
from .session import Session, open_session
from .target import AgentOption, ClusterOption, JsonOption, Target


def history(
    key: Annotated[str | None, typer.Argument(help="The key.", metavar="KEY")] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="PREFIX", help="Instead of one key: all keys under this one.")
    ] = None,
    writer: WriterOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="Show at most this many versions.")
    ] = 50,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Show earlier values, newest first.

    Each with who signed it, when, and why.

    STATE is live, replaced, or void: a policy has said that it counts for nothing
    (see `gossipconf void list`). History is the agent's own: it goes back as far as
    this agent was there and keeps it. TIME is when it was signed, by its signer's word.

    \b
    Examples:
      gossipconf history shop/checkout/timeout_ms
      gossipconf history --prefix shop --limit 10
      gossipconf history --writer payments --since 7d
    """
    if (key is not None and prefix is not None) or (key, prefix, writer) == (None, None, None):
        raise typer.BadParameter("name either a KEY or --prefix P, or a --writer", param_hint="'KEY' / '--prefix'")
    if key is not None:
        check_key(key)
    since_ms, until_ms = span_ms(since, until)
    with open_session(Target.find(cluster, agent)) as session:
        signers = None if writer is None else signers_named(session, writer)
        past = versions(session, Wanted(key, prefix_of(prefix or ""), since_ms, until_ms, signers), limit)
        if as_json:
            print_json([json_past(session, one) for one in past])
            return
        if not past:
            what = f"of {key!r}" if key is not None else f"under {prefix!r}" if prefix else "of any key"
            raise NotFound(f"no history {what}" + (" that was asked for" if writer or since or until else ""))
        _print(session, past, is_of_key=key is not None)


def _state_in_words(session: Session, one: Past) -> Text:
    """live, replaced or void."""
    state = "live" if one.retired_ms is None else "void" if session.is_void(one.version) else "replaced"
    return Text(state, style=STATE_STYLES[state])


def _print(session: Session, past: Sequence[Past], *, is_of_key: bool) -> None:
    """A line each: of one key the exact times, of several how long ago."""
    now = now_ms()
    rows: list[Sequence[str | Text]] = []
    for one in past:
        version, time_ms = one.version, one.version.header.time_ms
        exact = (moment(time_ms).removesuffix(" UTC"), version.entry.variant)
        rows.append(
            (
                *(exact if is_of_key else (age(time_ms, now), slot_in_words(version.slot))),
                _state_in_words(session, one),
                version_in_line(version),
                signer_in_words(session, version),
                short(version.change_id),
                escaped(version.header.comment),
            )
        )
    columns = {"TIME (UTC)": "left", "VARIANT": "left"} if is_of_key else {"AGE": "left", "KEY": "fold"}
    columns |= {"STATE": "left", "VALUE": "cut", "BY": "left", "CHANGE": "left", "COMMENT": "cut"}
    print_table(columns, rows)
