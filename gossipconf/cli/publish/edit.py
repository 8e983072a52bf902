"""The command `edit`: a value, or all values under a prefix, in the user's own editor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from ...model import entry as entries
from ...model.entry import Entry, ValueType
from ...model.errors import InvalidInput
from ...model.key import covers
from ...model.limits import CHANGE_BYTES_MAX, VALUE_BYTES_MAX
from ..editor import edit_until, file_name, keeping
from ..exits import NotFound
from ..expectation import IfVersionOption, check_versions
from ..files.plan import plan
from ..files.value import SUFFIXES_OF_TYPES, TypedValue, check_own_key, check_syntax
from ..instant import now_ms
from ..item import Item
from ..output import acknowledged, note, say
from ..prefix import prefix_of
from ..see.activation import present_at, warn_of_waiting
from ..see.difference import Difference, content_of, print_difference
from ..session import Session, open_session
from .declared import entries_of, is_unsettled
from .publishing import Publishing, publishing
from .steps import YesOption, ask_if_terminal, print_plan, replaceable

TEXT_BYTES_MAX: Final = 2 * CHANGE_BYTES_MAX
"""Of a prefix: one change, and as much again for indentation and comments."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What came back: the entries to publish, what they are compared with, and the text for who must keep it."""

    entries: tuple[Entry, ...]
    items: Mapping[str, Item]
    content: bytes
    name: str
    unchanged: int


@publishing
def edit(
    name: Annotated[str, typer.Argument(metavar="KEY|PREFIX", help="A key, or a prefix: a slash at its end says so.")],
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Edit a value, or all values under a prefix, in $VISUAL or $EDITOR.

    A prefix is one YAML document: what is taken out of it is deleted, what is new
    is created, all in one change. Sealed values, variants and what YAML cannot say
    are not in it, and stay.

    The plan is shown, and on a terminal this asks. If somebody has changed a key
    meanwhile, nothing is published. A text that cannot be published is kept in a
    file, which the error names.

    \b
    Examples:
      gossipconf edit shop/mail/template
      gossipconf edit shop/checkout/ --ticket OPS-17
      EDITOR="sed -i s/1200/1300/" gossipconf edit shop/checkout/timeout_ms
    """
    prefix = prefix_of(name)
    if prefix:
        check_own_key(prefix)
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        item = session.get(prefix) if prefix and not name.endswith("/") else Item(prefix, ())
        version = present_at(item)
        if version is not None:
            check_versions((version.slot,), item.versions, delivery.if_version)
            warn_of_waiting(item, now_ms())
            made = _edited_value(item, version.entry.type, version.entry.value or b"")
        else:
            made = _edited_prefix(session, prefix)
        if not made.entries:
            say("nothing changed, nothing to publish")
            return
        with keeping(made.content, made.name):
            if version is not None:
                entry = made.entries[0]
                before, after = content_of(version), (entry.type, entry.value or b"")
                print_difference(Difference(entry.slot, before, after), with_changes=False)
            else:
                print_plan(made.entries, made.items, made.unchanged)
            if not how.dry_run and not yes:
                ask_if_terminal(len(made.entries))
            shown = replaceable(made.items, made.entries)
            change = delivery.send(session, made.entries, signer, how.reason(), shown)
        with acknowledged():
            delivery.tell(session, change, len({entry.key for entry in made.entries}))


def _edited_value(item: Item, value_type: ValueType, content: bytes) -> Edited:
    key = item.key
    if value_type is ValueType.SEALED:
        raise InvalidInput(
            f"{key!r} is sealed, and an editor writes its files in the clear; publish a new secret with: "
            "gossipconf put --seal-to"
        )
    if value_type is ValueType.BYTES:
        raise InvalidInput(f"{key!r} is bytes and no text; publish a file with: gossipconf put {key} @FILE")
    if len(item.versions) > len({version.slot for version in item.versions}):
        note(f"note: {key!r} is in conflict, and what you save settles it; see: gossipconf conflicts {key}")
    name = file_name(key, SUFFIXES_OF_TYPES[value_type])
    saved, _ = edit_until(content, name, lambda data: _check(key, value_type, data), VALUE_BYTES_MAX)
    items = {key: item}
    unchanged = saved == content and not is_unsettled(item)
    made = plan({key: (value_type, content)}, {key: (value_type, saved)})
    wanted = {key: (value_type, saved)}
    done = () if unchanged else entries_of(made, wanted, items) or (entries.put(key, saved, value_type),)
    return Edited(done, items, saved, name, int(unchanged))


def _check(key: str, value_type: ValueType, data: bytes) -> None:
    check_syntax(key, value_type, data, is_told=True)
    entries.put(key, data, value_type)


def _edited_prefix(session: Session, prefix: str) -> Edited:
    from ..files.documents import entries_in  # noqa: PLC0415 - the parsers, as below
    from ..files.formats.trees import write_yaml  # noqa: PLC0415

    items = {item.key: item for item in session.items(prefix)}
    current = _open_values(items)
    if not current:
        raise NotFound(f"no value at or under {prefix!r}; publish one with: gossipconf put KEY VALUE")
    below = {_below(prefix, key): value for key, value in current.items() if key != prefix}
    written = write_yaml(below, f"Values under {prefix or 'all prefixes'}: what you take out is deleted.")
    for key, why in sorted(written.left_out.items()):
        note(f"left out: {key} {why}")
    name = file_name(prefix or "all", ".yaml")

    def read(data: bytes) -> Mapping[str, TypedValue]:
        return entries_in(data, name, ".yaml", prefix)

    saved, wanted = edit_until(written.content, name, read, TEXT_BYTES_MAX)
    _check_free(wanted, items, written.left_out, prefix)
    shown = {key: value for key, value in current.items() if key != prefix}
    shown = {key: value for key, value in shown.items() if _below(prefix, key) not in written.left_out}
    made = plan(shown, wanted, prune_prefixes=(prefix,))
    return Edited(entries_of(made, wanted, items), items, saved, name, len(made.unchanged))


def _open_values(items: Mapping[str, Item]) -> dict[str, TypedValue]:
    """What is read at each key where nobody is special, without what is sealed."""
    found = {key: present_at(item) for key, item in items.items()}
    return {
        key: (version.entry.type, version.entry.value)
        for key, version in found.items()
        if version is not None and version.entry.value is not None and version.entry.type is not ValueType.SEALED
    }


def _check_free(
    wanted: Mapping[str, TypedValue], items: Mapping[str, Item], left_out: Mapping[str, str], prefix: str
) -> None:
    """What was not in the document must not be overwritten by it. Raises InvalidInput."""
    for key in wanted:
        item = items.get(key)
        version = present_at(item) if item is not None else None
        if version is not None and (version.entry.type is ValueType.SEALED or _below(prefix, key) in left_out):
            raise InvalidInput(f"{key!r} has a value that was not in the document; edit it apart, by its own key")


def _below(prefix: str, key: str) -> str:
    assert covers(prefix, key)
    return key.removeprefix(f"{prefix}/") if prefix else key
