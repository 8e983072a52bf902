"""`void list` and `void resign`: what floors have voided, and publishing it anew where it was legitimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

import typer

from ...model.entry import Entry, Operation, Slot
from ...model.errors import InvalidInput
from ...model.key import covers
from ...model.version import Version
from ..change_id import begins
from ..exits import NotFound
from ..instant import now_ms
from ..item import Past
from ..output import (
    acknowledged,
    age,
    before_after,
    json_past,
    note,
    print_json,
    print_step,
    say,
    short,
    signer_in_words,
    slot_in_words,
    version_in_line,
)
from ..prefix import PrefixArgument, prefix_of
from ..publish.publishing import Publishing, publishing
from ..see.record import Wanted, versions
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target

app = typer.Typer(help="What a policy has voided: list it, publish it anew.", no_args_is_help=True)

LISTED_MAX: Final = 100_000
"""Versions of the history that are looked through, the newest."""


@app.command("list")
def list_void(
    prefix: PrefixArgument = "",
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """List void versions, the newest first.

    Those that this agent had, or that have reached it since, and what only a policy
    allowed that `policy settle` has set aside; but not what has been replaced by a
    version that counts. They are kept as long as superseded ones (`history_days`).
    SAID is when they were signed, by their signer's own word.

    \b
    Examples:
      gossipconf void list
      gossipconf void list shop --json
    """
    with open_session(Target.find(cluster, agent)) as session:
        found = _void_under(session, prefix_of(prefix))
        if as_json:
            print_json([json_past(session, one) for one in found])
            return
        if not found:
            say("nothing is void")
            return
        rows = []
        for one in found:
            what, time_ms = version_in_line(one.version), one.version.header.time_ms
            rows.append(
                (one.version.entry.key, one.version.entry.variant, what,
                 signer_in_words(session, one.version), age(time_ms, now_ms()),
                 short(one.version.change_id))
            )  # fmt: skip
        columns = {"KEY": "fold", "VARIANT": "left", "VALUE": "cut", "BY": "left", "SAID": "left"}
        print_table(columns | {"CHANGE": "left"}, rows)
        say("publish those that were legitimate anew with: gossipconf void resign KEY|PREFIX|CHANGE")


@app.command()
@publishing
def resign(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="KEY|PREFIX|CHANGE…", help="Keys, prefixes, or ids of changes.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is void here.")] = False,
    *,
    how: Publishing,
) -> None:
    """Publish void versions anew, with your own key, as one change.

    Of each key the newest that is void; it replaces what is live now. Look at them
    first: a thief's are among them.

    \b
    Examples:
      gossipconf void resign shop/checkout/timeout_ms --dry-run
      gossipconf void resign 3f9a2c1b 77ab01c9 --comment "carol's, from before the theft"
    """
    if bool(names) == everything:
        raise typer.BadParameter("name keys, prefixes or changes, or say --all")
    delivery = how.delivery()
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        newest: dict[Slot, Version] = {}
        found = [one.version for one in _void_under(session, "")]
        for version in _chosen(found, names or ()):
            newest.setdefault(version.slot, version)
        live = {slot: _live(session, slot) for slot in newest}
        due = [one for slot, one in newest.items() if not any(_is_same(one, other) for other in live[slot])]
        if not due:
            say("nothing to do: all of it is live already")
            return
        entries = [_anew(one.entry) for one in due]
        expected = frozenset(version.id for one in due for version in live[one.slot])
        change = delivery.send(session, entries, signer, how.reason(), expected)
        with acknowledged():
            for one in due:
                before = next((version_in_line(version) for version in live[one.slot]), None)
                name = slot_in_words(one.slot)
                print_step("~" if before else "+", name, before_after(before, version_in_line(one).plain))
            delivery.tell(session, change, len(due))


def _void_under(session: Session, prefix: str) -> Sequence[Past]:
    """What history has under ``prefix`` that is void now, the newest first.

    But for what a live version has replaced, which would not be read in any case, and,
    unless ``prefix`` names them, the system's keys: a proposal is proposed again, not signed anew.
    """
    past = versions(session, Wanted(prefix=prefix), LISTED_MAX)
    if len(past) == LISTED_MAX:
        where = f" under {prefix}" if prefix else ""
        note(f"looked through only the newest {LISTED_MAX:,} versions{where}, live ones too; name a prefix with fewer")
    void = [one for one in past if session.is_void(one.version) and covers(prefix, one.version.entry.key)]
    live = {key: session.get(key).versions for key in dict.fromkeys(one.version.entry.key for one in void)}
    return [
        one
        for one in void
        if not any(
            other.slot == one.version.slot and other.supersedes(one.version) for other in live[one.version.entry.key]
        )
    ]


def _chosen(found: Sequence[Version], names: Sequence[str]) -> Sequence[Version]:
    """Those of ``found`` that are named; all if nothing is. Raises NotFound."""
    if not names:
        return found
    chosen: dict[bytes, Version] = {}
    for name in names:
        # A key comes first: one such as `feed` must not take along a change of the thief's whose id begins so.
        meant = [one for one in found if covers(name.removesuffix("/"), one.entry.key)]
        meant = meant or [one for one in found if begins(one.change_id, name)]
        if not meant:
            raise NotFound(f"nothing void is called {name!r}; see: gossipconf void list")
        chosen |= {one.id: one for one in meant}
    return [one for one in found if one.id in chosen]


def _live(session: Session, slot: Slot) -> Sequence[Version]:
    key, _ = slot
    return [version for version in session.get(key).versions if version.slot == slot]


def _is_same(one: Version, other: Version) -> bool:
    return (one.entry.operation, one.entry.value, one.entry.type) == (
        other.entry.operation,
        other.entry.value,
        other.entry.type,
    )


def _anew(entry: Entry) -> Entry:
    """The same entry, having seen nothing yet."""
    if entry.operation is Operation.PUT and entry.value is None:
        raise InvalidInput(f"{entry.key!r} has no value that could be signed anew")
    return replace(entry, seen=())
