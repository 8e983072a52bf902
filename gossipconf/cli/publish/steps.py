"""Steps: what a change would do to each slot, shown before anybody is asked whether to publish it.

Knows the entries that would be signed and the items that were read. Knows neither where
the wish comes from (files, history, an editor) nor how it is published.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer
from rich.text import Text

from ...model.entry import Entry, Operation
from ...model.errors import InvalidInput
from ...model.version import Version
from ...trust.keys import Signer
from ..item import Item
from ..output import acknowledged, before_after, escaped, print_step, say, slot_in_words, value_in_line, version_in_line
from ..see.outcome import reach_in_words
from ..session import Session
from .delivery import Delivery

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Publish without asking.")]
VERBS: Final = {"+": "create", "~": "update", "-": "delete"}


def live_in(items: Mapping[str, Item], entry: Entry) -> Sequence[Version]:
    """The live versions of the slot of `entry`, the winner first."""
    item = items.get(entry.key)
    return [version for version in item.versions if version.slot == entry.slot] if item is not None else []


def replaceable(items: Mapping[str, Item], entries: Sequence[Entry]) -> frozenset[bytes]:
    """Ids of the versions that a publish of `entries` may replace: those that were shown."""
    return frozenset(version.id for entry in entries for version in live_in(items, entry))


def print_plan(entries: Sequence[Entry], items: Mapping[str, Item], unchanged: int) -> None:
    """A line for each entry, by key, and how many there are of each kind."""
    counts = Counter[str]()
    for entry in sorted(entries, key=lambda one: one.slot):
        versions = live_in(items, entry)
        before = versions[0] if versions and versions[0].entry.operation is Operation.PUT else None
        sign = "-" if entry.value is None else "~" if before is not None else "+"
        counts[sign] += 1
        was = version_in_line(before) if before is not None else None
        what = before_after(was, value_in_line(entry.type, entry.value)) if entry.value is not None else was or Text()
        if entry.value is not None and (reach := reach_in_words(entry)):
            what.append(f"  ({escaped(reach)})", style="dim")
        if len(versions) > 1:
            what.append(f"  (settles {len(versions)} values in conflict)", style="dim")
        print_step(sign, slot_in_words(entry.slot), what)
    say()
    say(", ".join([*(f"{counts[sign]:,} to {verb}" for sign, verb in VERBS.items() if counts[sign]),
                   f"{unchanged:,} unchanged"]))  # fmt: skip


def ask(number: int) -> None:
    """Ask whether to publish so many changes. Raises Abort if not, and InvalidInput where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InvalidInput("not published: there is no terminal to ask on; add --yes to publish, or --dry-run to look")
    typer.confirm(f"Publish {'this change' if number == 1 else f'these {number:,} changes'}?", abort=True)


def ask_if_terminal(number: int) -> None:
    """The same after an editor: where nobody can be asked a program has edited, and saving was the answer."""
    if sys.stdin.isatty():
        ask(number)


def publish_shown(
    session: Session,
    delivery: Delivery,
    signer: Signer,
    entries: Sequence[Entry],
    items: Mapping[str, Item],
    comment: str,
    *,
    unchanged: int = 0,
    yes: bool,
) -> None:
    """Show what `entries` do to `items`, ask unless `yes`, and publish them, if that is still what happens.

    Raises as `ask` and `Delivery.send`.
    """
    print_plan(entries, items, unchanged)
    if not delivery.dry_run and not yes:
        ask(len(entries))
    change = delivery.send(session, entries, signer, comment, replaceable(items, entries))
    with acknowledged():
        delivery.tell(session, change, len({entry.key for entry in entries}))
