"""The command `resolve`: settle conflicts by picking one of the values, merging them, or a new one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

import typer

from ...model.clock import EMPTY
from ...model.entry import Entry, Operation, Slot, ValueType
from ...model.errors import InvalidInput
from ...model.limits import VALUE_BYTES_MAX
from ...model.version import Version
from ..change_id import begins, is_beginning
from ..editor import edit_until, file_name, keeping
from ..exits import NotFound
from ..expectation import IfVersionOption
from ..files.value import SUFFIXES_OF_TYPES, check_own_key, check_syntax, read_value
from ..instant import now_ms
from ..item import Item
from ..output import acknowledged, age, note, say, short, signer_in_words, slot_in_words
from ..prefix import prefix_of
from ..see import bygone
from ..see.difference import Difference, content_of, print_difference
from ..see.record import Wanted, versions
from ..session import Session, open_session
from .publishing import Publishing, publishing
from .steps import YesOption, ask, ask_if_terminal, print_plan

NEWEST: Final = "newest"
"""What `--pick` calls the value that reads return: the one of the latest time, by its signer's word."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A slot and its live versions, the winner first."""

    slot: Slot
    siblings: tuple[Version, ...]

    @property
    def winner(self) -> Version:
        """What reads return."""
        return self.siblings[0]


@dataclass(frozen=True, slots=True)
class Settled:
    """The entry that settles a conflict; `text` is what somebody has written for it, to be kept if it fails."""

    entry: Entry
    text: bytes | None = None
    name: str = ""


@publishing
def resolve(
    name: Annotated[str, typer.Argument(metavar="KEY|PREFIX", help="A key in conflict, or a prefix of such.")],
    pick: Annotated[
        str | None,
        typer.Option("--pick", metavar="CHANGE|newest", help="Keep the value of this change, or the one that is read."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Put the values together; what both changed opens in $EDITOR. The default.")
    ] = False,
    edit: Annotated[bool, typer.Option("--edit", help="The same, and open the result in $EDITOR in any case.")] = False,
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="VALUE|-|@FILE", help="A new value, of the present one's type."),
    ] = None,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Settle keys in conflict by one change that replaces all their values.

    A merge starts from the last value that all of them have replaced, which history
    has: what only one side has changed is taken. JSON, YAML and TOML are merged by
    path, a list as one value, text by line. What both sides have changed opens in
    $EDITOR between markers, as git writes them; without a terminal nothing is
    published then.

    For a prefix all conflicts under it are settled at once, with --pick or --merge.

    \b
    Examples:
      gossipconf conflicts
      gossipconf resolve shop/limits --merge
      gossipconf resolve shop/checkout/timeout_ms --pick 3f9a2c1b77
      gossipconf resolve shop --pick newest --dry-run
    """
    if sum((pick is not None, merge, edit, value is not None)) > 1:
        raise typer.BadParameter("give one of --pick, --merge, --edit and --value")
    if pick is not None and pick != NEWEST and not is_beginning(pick):
        raise typer.BadParameter(f"{pick!r} is neither {NEWEST!r} nor a change's id", param_hint="'--pick'")
    prefix = prefix_of(name)
    if prefix:
        check_own_key(prefix)
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        items = {item.key: item for item in session.items(prefix) if item.is_conflict}
        meant = [items[prefix]] if prefix in items else items.values()
        found = [one for item in meant for one in _conflicts(item)]
        if not found:
            say(f"no conflicts at or under {prefix!r}" if prefix else "no conflicts")
            return
        settled = _settled(session, found, pick=pick, edit=edit, value=value)
        entries = [one.entry for one in settled]
        with contextlib.ExitStack() as stack:
            for one in settled:
                if one.text is not None:
                    stack.enter_context(keeping(one.text, one.name))
            _show(found, entries, items)
            if not how.dry_run and not yes:
                _ask(found, is_plain=pick is not None or value is not None)
            shown = frozenset(version.id for one in found for version in one.siblings)
            change = delivery.send(session, entries, signer, how.reason(), shown)
        with acknowledged():
            delivery.tell(session, change, len({entry.key for entry in entries}))


def _ask(found: Sequence[Conflict], *, is_plain: bool) -> None:
    """Of several conflicts anybody is asked, of one only who has not said himself what is to be there."""
    if len(found) > 1:
        ask(len(found))
    elif not is_plain:
        ask_if_terminal(1)


def _conflicts(item: Item) -> list[Conflict]:
    slots: dict[Slot, list[Version]] = {}
    for version in item.versions:
        slots.setdefault(version.slot, []).append(version)
    return [Conflict(slot, tuple(siblings)) for slot, siblings in slots.items() if len(siblings) > 1]


# -- settling -------------------------------------------------------------------------------------


def _settled(
    session: Session, found: Sequence[Conflict], *, pick: str | None, edit: bool, value: str | None
) -> Sequence[Settled]:
    if pick is not None:
        return [Settled(replace(one.entry, seen=EMPTY)) for one in _picked(found, pick)]
    if value is not None:
        return [_with_value(_only(found, "--value"), value)]
    if edit:
        _only(found, "--edit")
    return [_merged(session, one, edit=edit) for one in found]


def _only(found: Sequence[Conflict], option: str) -> Conflict:
    if len(found) > 1:
        raise InvalidInput(
            f"{option} is for one conflict, and there are {len(found)} ({slot_in_words(found[0].slot)}, "
            f"{slot_in_words(found[1].slot)}{', …' if len(found) > 2 else ''}); name one key, or use --pick"
        )
    return found[0]


def _picked(found: Sequence[Conflict], pick: str) -> Sequence[Version]:
    picked = []
    for one in found:
        meant = [one.winner] if pick == NEWEST else [two for two in one.siblings if begins(two.change_id, pick)]
        if not meant:
            known = ", ".join(short(sibling.change_id) for sibling in one.siblings)
            raise NotFound(f"no value at {slot_in_words(one.slot)!r} is of change {pick}; there are {known}")
        if len(meant) > 1:
            raise InvalidInput(f"{len(meant)} values at {slot_in_words(one.slot)!r} begin so; give more digits")
        picked += meant
    return picked


def _with_value(one: Conflict, value: str) -> Settled:
    like = next((two.entry for two in one.siblings if two.entry.operation is Operation.PUT), None)
    content = read_value(value)
    if like is None or like.type is ValueType.SEALED:
        raise InvalidInput(f"{slot_in_words(one.slot)!r} has no value whose type could be kept; use gossipconf put")
    check_syntax(like.key, like.type, content, is_told=True)
    return Settled(replace(like, value=content, seen=EMPTY))


def _merged(session: Session, one: Conflict, *, edit: bool) -> Settled:
    from .merging import TEXTUAL, Labels, has_markers, merge  # noqa: PLC0415 - with the parsers that it needs

    name = slot_in_words(one.slot)
    first = one.winner.entry
    kinds = {(two.entry.operation, two.entry.type, two.entry.match, two.entry.rank) for two in one.siblings}
    if len(kinds) > 1 or first.operation is Operation.DELETE or first.type not in TEXTUAL:
        raise InvalidInput(
            f"the values at {name!r} cannot be merged: they are of different kinds, or no text; "
            f"pick one: gossipconf resolve {first.key} --pick CHANGE, as gossipconf conflicts {first.key} shows them"
        )
    base = _base(session, one)
    content, conflicts = first.value or b"", tuple[str, ...]()
    for number, other in enumerate(one.siblings[1:], 2):
        labels = Labels(_label(session, one.winner), _label(session, other))
        made = merge(first.type, base, content, other.entry.value or b"", labels)
        content, conflicts = made.content, made.conflicts
        if conflicts and number < len(one.siblings):
            raise InvalidInput(f"{name!r} has {len(one.siblings)} values that contradict each other; use --pick CHANGE")
    if not conflicts and not edit:
        check_syntax(first.key, first.type, content, is_told=True)
        return Settled(replace(first, value=content, seen=EMPTY))
    for where in conflicts:
        note(f"note: both have changed {name} at {where}")

    def read(data: bytes) -> None:
        if has_markers(data):
            raise InvalidInput(f"{name!r}: markers such as <<<<<<< are left; decide at each what is to stay")
        check_syntax(first.key, first.type, data, is_told=True)

    edited = file_name(first.key, SUFFIXES_OF_TYPES[first.type])
    saved, _ = edit_until(content, edited, read, VALUE_BYTES_MAX)
    return Settled(replace(first, value=saved, seen=EMPTY), saved, edited)


def _base(session: Session, one: Conflict) -> bytes | None:
    """What the siblings were made from; nothing where they were made from nothing, None where nobody knows."""
    known = [past.version for past in versions(session, Wanted(key=one.slot[0]), None) if past.version.slot == one.slot]
    try:
        found = bygone.base(one.siblings, known, session.is_void)
    except bygone.Forgotten:
        name = slot_in_words(one.slot)
        note(f"note: {session.node}'s history does not have what {name} was before: all differences conflict")
        return None
    if found is None or found.entry.value is None:
        return b"{}" if one.winner.entry.type is ValueType.JSON else b""
    return found.entry.value if found.entry.type is one.winner.entry.type else None


def _label(session: Session, version: Version) -> str:
    return f"{short(version.change_id)} by {signer_in_words(session, version)}, {age(version.header.time_ms, now_ms())}"


# -- showing --------------------------------------------------------------------------------------


def _show(found: Sequence[Conflict], entries: Sequence[Entry], items: dict[str, Item]) -> None:
    if len(found) > 1:
        print_plan(entries, items, 0)
        return
    entry = entries[0]
    before = content_of(found[0].winner)
    after = None if entry.value is None else (entry.type, entry.value)
    print_difference(
        Difference(found[0].slot, before, after, remark=f"settles {len(found[0].siblings)} values in conflict"),
        with_changes=False,
    )
