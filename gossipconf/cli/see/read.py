"""Reading commands: get, list, watch and conflicts.

Every value shown has been verified by the session; who signed it is shown with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...model.entry import ValueType
from ...model.errors import NotRecipient
from ...model.key import check_key
from ...model.version import Version
from ...store.resolution import Candidate, Verdict
from ...trust.sealed import Opened
from ..exits import NotFound
from ..instant import now_ms
from ..item import Item
from ..opener import Opener, OpenWithOption, is_sealed
from ..output import (
    age,
    count,
    escaped,
    json_value,
    json_version,
    moment,
    note,
    print_json,
    say,
    short,
    signer_in_words,
    slot_in_words,
    version_in_line,
)
from ..prefix import PrefixArgument, prefix_of
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .outcome import ABSENT, is_told, json_outcome, outcome_in_words, shown_of, since_ms, whom_in_words, why_missing
from .versions import print_versions


def get(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key to read.")],
    default: Annotated[
        str | None, typer.Option("--default", metavar="TEXT", help="Print this if the key has no value.")
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all", help="Show every live version: siblings of a conflict, variants, tombstones.")
    ] = False,
    open_with: OpenWithOption = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Print the value of KEY, byte for byte.

    On a terminal a line end is added where the value has none. In a conflict the
    winner is printed, and a note on stderr says so.

    Where the newest value fails a schema, the last good one is printed, and a note
    says so.

    A sealed value is opened if it is sealed to the agent that is asked, or to the
    key of --open-with; else the command fails and says to how many it is sealed.
    With --json it is shown as it is, and what was opened stands beside it.

    \b
    Examples:
      gossipconf get shop/checkout/timeout_ms
      gossipconf get shop/checkout/timeout_ms --default 1000
      gossipconf get shop/checkout/timeout_ms --all --json
      gossipconf get shop/db/password --open-with ~/.config/gossipconf/seal.key
    """
    check_key(key)
    with open_session(Target.find(cluster, agent)) as session:
        item = session.get(key)
        version = session.read(item).version
        for unfit in item.unfit.values() if not as_json else ():
            note(f"note: a value is held back from readers: {unfit.problem}")
        if all_versions:
            _show_versions(session, item, as_json=as_json)
        elif version is None:
            _show_default(session, item, default, as_json=as_json)
        elif as_json:
            opened = {"opened": _json_opened(session, version, open_with)} if is_sealed(version) else {}
            print_json(_json_item(session, item) | opened)
        else:
            if any(one.slot == version.slot and one.id != version.id for one in item.versions):
                note(f"note: {key!r} is in conflict, this is the winner; see: gossipconf get --all {key}")
            if is_sealed(version):
                _write_raw(Opener(session, open_with).open(version))
            else:
                _write_raw(Opened(version.entry.type, version.entry.value or b""))


def list_keys(
    prefix: PrefixArgument = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Show deleted keys too.")] = False,
    variants: Annotated[
        bool, typer.Option("--variants", help="Show keys that have variants, each with whom it is for.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Show at most this many keys.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="KEY", help="Only keys after this one, to go on from a --limit.")
    ] = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """List keys, their values, and who signed them when.

    Values are those that the asked agent reads: VARIANT says which variant that is,
    if it is not the default. A ! marks a conflict. Long values are cut; `get`
    prints them whole.

    \b
    Examples:
      gossipconf list
      gossipconf list shop/checkout
      gossipconf list shop --variants
      gossipconf list --limit 100 --after shop/checkout/timeout_ms
      gossipconf list --json | jq -r '.[].key'
    """
    with open_session(Target.find(cluster, agent)) as session:
        found = (
            item
            for item in session.items(prefix_of(prefix), after=after, limit=limit)
            if deleted or item.is_conflict or any(version.entry.value is not None for version in item.versions)
        )
        items = list(islice(found, limit))
        if len(items) == limit:
            note(f"the first {limit:,}; go on with: --after {items[-1].key}")
        for reason in session.unreadable.values():
            note(f"note: left out: {reason}")
        if variants:
            _show_variants(session, items, as_json=as_json)
        elif as_json:
            print_json([_json_item(session, item) for item in items])
        elif items:
            _print_items(session, items)
        else:
            note(f"no keys under {prefix!r}" if prefix else "no keys yet; publish one with: gossipconf put KEY VALUE")


def watch(
    prefix: PrefixArgument = "",
    number: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="Stop after this many changes.")
    ] = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Print changes as they arrive at the agent, one line each.

    A value that expires, or whose time comes, is a change too.

    \b
    Examples:
      gossipconf watch shop
      gossipconf watch shop/checkout/timeout_ms --count 1
      gossipconf watch --json
    """
    with open_session(Target.find(cluster, agent)) as session:
        changes = session.watch(prefix_of(prefix))
        note(f"watching {prefix or 'all keys'} at {session.node}; Ctrl-C ends")
        for item in islice(changes, number):
            if as_json:
                print_json(_json_item(session, item), compact=True)
            else:
                say(_change_line(session, item))
            sys.stdout.flush()


def conflicts(
    prefix: PrefixArgument = "",
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """List keys in conflict, with all their values.

    A key that was changed in several places at once has several values.

    Reads return the winner, the same on every agent. Publishing the key again
    (put, delete or apply) settles the conflict, whichever value it has.

    \b
    Examples:
      gossipconf conflicts
      gossipconf conflicts shop --json
    """
    with open_session(Target.find(cluster, agent)) as session:
        items = [item for item in session.items(prefix_of(prefix)) if item.is_conflict]
        if as_json:
            print_json([_json_item(session, item) for item in items])
            return
        if not items:
            say("no conflicts")
            return
        keys = count(len(items), "key")
        say(f"{keys} in conflict; settle each with: gossipconf resolve KEY")
        for item in items:
            say()
            say(Text(item.key, style="bold"))
            _print_versions(session, item)


# -- how items look -------------------------------------------------------------------------------


def _write_raw(content: Opened) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(content.value)
    if content.type is not ValueType.BYTES and sys.stdout.isatty() and not content.value.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _json_opened(session: Session, version: Version, open_with: Path | None) -> dict[str, Any] | None:
    """Type and value of what is sealed, or None if it is sealed to others."""
    try:
        content = Opener(session, open_with).open(version)
    except NotRecipient:
        return None
    return {"type": content.type.name.lower(), "value": json_value(content.type, content.value)}


def _show_default(session: Session, item: Item, default: str | None, *, as_json: bool) -> None:
    if default is None:
        raise NotFound(why_missing(item, session.read(item), now_ms()))
    if as_json:
        print_json({"key": item.key, "value": default, "default": True})
    else:
        sys.stdout.write(default + "\n")  # the caller's own words, as they are


def _show_versions(session: Session, item: Item, *, as_json: bool) -> None:
    read = session.read(item)
    if not item.versions:
        raise NotFound(why_missing(item, read, now_ms()))
    if as_json:
        print_json([_json_candidate(session, item, one) for one in read.candidates])
    else:
        print_versions(session, read.candidates, item.votes)


def _print_versions(session: Session, item: Item) -> None:
    now = now_ms()
    is_worth_words = is_told(item)
    seen: set[str] = set()
    rows: list[Sequence[str | Text]] = []
    for candidate in session.read(item).candidates:
        version = candidate.version
        variant = version.entry.variant
        rows.append(
            (
                Text("also", style="yellow") if variant in seen else "wins" if item.is_conflict else "",
                variant,
                whom_in_words(version),
                outcome_in_words(candidate, now) if is_worth_words else "",
                version_in_line(version),
                version.entry.type.name.lower() if version.entry.value is not None else "",
                signer_in_words(session, version),
                age(version.header.time_ms, now),
                short(version.change_id),
                escaped(version.header.comment),
            )
        )
        seen.add(variant)
    print_table(
        {
            "": "left",
            "VARIANT": "left",
            "FOR": "left",
            "HERE": "left",
            "VALUE": "cut",
            "TYPE": "left",
            "BY": "left",
            "AGE": "left",
            "CHANGE": "left",
            "COMMENT": "cut",
        },
        rows,
    )


def _print_items(session: Session, items: Sequence[Item]) -> None:
    now = now_ms()
    rows = []
    for item in items:
        shown = shown_of(session.read(item))
        version = shown.version
        rows.append(
            (
                Text("!", style="bold red") if item.is_conflict else "",
                item.key,
                version.entry.variant,
                _value_here(shown, now),
                signer_in_words(session, version),
                age(version.header.time_ms, now),
            )
        )
    print_table({"": "left", "KEY": "fold", "VARIANT": "left", "VALUE": "cut", "BY": "left", "AGE": "left"}, rows)


def _show_variants(session: Session, items: Sequence[Item], *, as_json: bool) -> None:
    now = now_ms()
    found = [
        candidate
        for item in items
        if any(version.entry.variant and version.entry.value is not None for version in item.versions)
        for candidate in session.read(item).candidates
        if candidate.verdict not in ABSENT
    ]
    if as_json:
        votes = {change_id: one for item in items for change_id, one in item.votes.items()}
        print_json([json_version(session, one.version) | json_outcome(one, votes) for one in found])
        return
    if not found:
        note("no variants")
        return
    rows = [
        (
            one.version.entry.key,
            one.version.entry.variant,
            outcome_in_words(one, now),
            version_in_line(one.version),
            age(one.version.header.time_ms, now),
            whom_in_words(one.version),
        )
        for one in found
    ]
    columns = {"KEY": "fold", "VARIANT": "left", "HERE": "cut", "VALUE": "cut", "AGE": "left", "FOR": "fold"}
    print_table(columns, rows)


def _value_here(shown: Candidate, now: int) -> Text:
    """The value, and why it is not what the agent reads if that is so, or for how long it is."""
    value = version_in_line(shown.version)
    if shown.verdict is Verdict.DELETED or (shown.verdict is Verdict.READ and shown.version.entry.expires_ms is None):
        return value
    said = outcome_in_words(shown, now).removeprefix(f"{Verdict.READ.value}, ")
    return Text.assemble(value, (f"  ({said})", "dim"))


def _change_line(session: Session, item: Item) -> Text:
    if not item.versions:
        return Text.assemble(item.key, ("  (gone)", "dim"))
    read = session.read(item)
    shown = shown_of(read)
    version = shown.version
    now, what = now_ms(), slot_in_words(version.slot)
    since = moment(since_ms(read, session.reader, now))[11:19]
    line = Text.assemble((since, "dim"), "  ", what, "  ", _value_here(shown, now))
    comment = escaped(version.header.comment)
    line.append(f"  ({signer_in_words(session, version)}{': ' + comment if comment else ''})", style="dim")
    if item.is_conflict:
        line.append("  ! conflict", style="bold red")
    return line


def _json_item(session: Session, item: Item) -> dict[str, Any]:
    """The fields of what is read or comes nearest to that, its outcome, and the siblings if there are any."""
    if not item.versions:
        return {"key": item.key, "operation": None, "value": None, "conflict": []}
    candidate = shown_of(session.read(item))
    shown = candidate.version
    siblings = [version for version in item.versions if version.slot == shown.slot and version.id != shown.id]
    conflict = [json_version(session, version) for version in siblings]
    held_back = [json_version(session, one) | _problem(item, one) for one in item.versions if one.id in item.unfit]
    return (
        json_version(session, shown)
        | json_outcome(candidate, item.votes)
        | _problem(item, shown)
        | {"conflict": conflict, "held_back": held_back}
    )


def _json_candidate(session: Session, item: Item, candidate: Candidate) -> dict[str, Any]:
    version = candidate.version
    return json_version(session, version) | json_outcome(candidate, item.votes) | _problem(item, version)


def _problem(item: Item, version: Version) -> dict[str, Any]:
    """In which words a version fails a schema at the asked agent, if it does."""
    return {"problem": item.unfit[version.id].problem} if version.id in item.unfit else {}
