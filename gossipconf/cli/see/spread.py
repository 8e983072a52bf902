"""Who has one change, or what a key holds: `status KEY|CHANGE`.

Knows how both are shown. The values are verified; who has them is what agents say.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import typer
from rich.text import Text

from ...model.key import check_key
from ...model.version import Version
from .. import exits
from ..change_id import is_beginning
from ..exits import NotFound
from ..instant import now_ms
from ..output import age, escaped, json_version, print_json, say, short, signer_in_words, slot_in_words, version_in_line
from ..replies import Tally
from ..session import Session
from .acks import document, print_tally
from .wait import Wait

LOOK_S: Final = 2.0
"""How long agents may take to answer where nobody waits: neighbours do within milliseconds, all of 100,000 in less."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A change (the beginning of its id), what of a key it holds, and who has it."""

    change: str
    versions: tuple[Version, ...]
    tally: Tally


def show(session: Session, name: str, wait: Wait | None, *, as_json: bool) -> None:
    """Print who has what `name` means. Raises NotFound, and Exit(INCOMPLETE) after a wait in vain."""
    key, changes = _meant(session, name)
    found = [Spread(change, versions, _tally(session, change, wait)) for change, versions in changes.items()]
    if as_json:
        print_json(_document(session, key, found))
    else:
        for one in found:
            for version in one.versions:
                _print_version(session, version)
            print_tally(session, one.tally)
            if one is not found[-1]:
                say()
    if wait is not None and not all(wait.goal.is_reached(one.tally) for one in found):
        raise typer.Exit(exits.INCOMPLETE)


def _meant(session: Session, name: str) -> tuple[str | None, dict[str, tuple[Version, ...]]]:
    """The key, if it is one, and the changes with what they hold of it. A key comes first: `feed` may be either."""
    item = session.get(check_key(name))
    if item.versions:
        changes: dict[str, tuple[Version, ...]] = {}
        for version in item.versions:
            changes[version.change_id.hex()] = (*changes.get(version.change_id.hex(), ()), version)
        return name, changes
    if is_beginning(name):
        return None, {name.lower(): ()}
    raise NotFound(f"{name!r} has no value, and is not the beginning of a change's id")


def _tally(session: Session, change: str, wait: Wait | None) -> Tally:
    if wait is not None:
        return wait.watched(session, session.acks(change, wait.timeout_s))
    with closing(session.acks(change, LOOK_S)) as tallies:
        tally = next(tallies)
        while not tally.complete and (following := next(tallies, None)) is not None:
            tally = following
    return tally


def _print_version(session: Session, version: Version) -> None:
    header = version.header
    said = f": {header.comment}" if header.comment else ""
    line = Text.assemble(slot_in_words(version.slot), "  ", version_in_line(version))
    line.append(
        f"  ({signer_in_words(session, version)}, {age(header.time_ms, now_ms())}, "
        f"change {short(version.change_id)}{escaped(said)})",
        style="dim",
    )
    say(line)


def _document(session: Session, key: str | None, found: list[Spread]) -> dict[str, Any]:
    return {
        "node": session.node,
        "key": key,
        "changes": [
            document(session, one.change, one.tally)
            | {"versions": [json_version(session, version) for version in one.versions]}
            for one in found
        ],
    }
