"""`history`: earlier values of keys, the last signed first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from ...model.key import check_key
from ..exits import NotFound
from ..instant import SinceOption, UntilOption, span_ms
from ..item import Past
from ..output import escaped, json_past, moment, print_json, short, signer_in_words, slot_in_words, version_in_line
from ..prefix import prefix_of
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .record import STATE_STYLES, Wanted, WriterOption, beside_epochs, signers_named, versions


def history(
    name: Annotated[
        str | None,
        typer.Argument(metavar="KEY|PREFIX", help="A key; where it has no history, or with a slash: what is under it."),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="PREFIX", help="All keys at and under this one.")
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
      gossipconf history shop/checkout/ --limit 10
      gossipconf history --writer payments --since 7d
    """
    if (name is not None and prefix is not None) or (name, prefix, writer) == (None, None, None):
        raise typer.BadParameter("name either a KEY or --prefix P, or a --writer", param_hint="'KEY' / '--prefix'")
    key = None if name is None or name.endswith("/") else check_key(name)
    since_ms, until_ms = span_ms(since, until)
    with open_session(Target.find(cluster, agent)) as session:
        signers = None if writer is None else signers_named(session, writer)
        wanted = Wanted(key, prefix_of(prefix or name or ""), since_ms, until_ms, signers)
        past = versions(session, wanted, limit)
        if key is not None and not past:
            past, key = versions(session, replace(wanted, key=None), limit), None
        if as_json:
            print_json([json_past(session, one) for one in past])
            return
        if not past:
            what = f"at or under {wanted.prefix!r}" if wanted.prefix else "of any key"
            asked = " that was asked for" if writer or since or until else ""
            raise NotFound(f"no history {what}{asked}{beside_epochs(session, wanted.prefix)}")
        _print(session, past, is_of_key=key is not None)


def _state_in_words(session: Session, one: Past) -> Text:
    """live, replaced or void."""
    state = "live" if one.retired_ms is None else "void" if session.is_void(one.version) else "replaced"
    return Text(state, style=STATE_STYLES[state])


def _print(session: Session, past: Sequence[Past], *, is_of_key: bool) -> None:
    rows = [
        (
            moment(one.version.header.time_ms).removesuffix(" UTC"),
            short(one.version.change_id),
            _state_in_words(session, one),
            signer_in_words(session, one.version),
            one.version.entry.variant if is_of_key else slot_in_words(one.version.slot),
            version_in_line(one.version),
            escaped(one.version.header.comment),
        )
        for one in past
    ]
    columns = {"TIME (UTC)": "left", "CHANGE": "left", "STATE": "left", "BY": "left"}
    slot = {"VARIANT": "left"} if is_of_key else {"KEY": "fold"}
    print_table(columns | slot | {"VALUE": "cut", "COMMENT": "cut"}, rows)
