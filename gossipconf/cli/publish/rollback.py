"""The command `rollback`: a new change that makes keys what they were, from the agent's verified history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

import typer
from rich.text import Text

from ...model import entry as entries
from ...model.clock import EMPTY
from ...model.entry import Entry, Operation, Slot
from ...model.errors import InvalidInput
from ...model.key import covers
from ...model.version import Version
from ...store.resolution import in_order
from ..exits import NotFound
from ..expectation import IfVersionOption
from ..files.value import check_own_key
from ..instant import instant_ms, now_ms
from ..item import Item, Past
from ..output import count, moment, note, say, short, signer_in_words, slot_in_words, some_of
from ..prefix import prefix_of
from ..see import bygone
from ..see.record import Record, Wanted, record_named, versions
from ..session import Session, open_session
from .publishing import Publishing, publishing
from .steps import YesOption, live_in, publish_shown

KEYS_ASKED_MAX: Final = 32
"""Keys asked for one by one; of more all under what they have in common is read at once."""
CHANGES_TOLD_MAX: Final = 5
"""Later changes that are warned of one by one, the newest."""
KEYS_TOLD_MAX: Final = 5
"""Keys named in one line; the plan has them all."""

Held = Callable[[Slot, Sequence[Version]], Version | None]
"""What a slot held, of all versions of it that are known. Raises Forgotten."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """What is to be published, what is as it was, and the keys of which history does not know enough."""

    entries: tuple[Entry, ...]
    unchanged: int
    forgotten: tuple[str, ...]


@publishing
def rollback(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHANGE [KEY|PREFIX…]", help="The change to undo, and which of its keys. Default: all."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="CHANGE", help="Instead: back to what was there right after this change."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Instead: back to this time: '2026-03-01 12:00' in UTC, or 2h ago."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out keys whose past is not known here, and publish the others.")
    ] = False,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Make keys what they were, by a new change; the plan is shown first.

    Undoes one change, or with --to and --at goes back to a version or a time: then
    KEY and PREFIX say what (default: the keys of that change; with --at all keys).
    Keys that did not exist are deleted, variants come back with whom they are for.
    What a policy has voided never does.

    The past is the history of the agent that is asked. Where that does not reach
    back far enough nothing is published, unless you say --partial.

    \b
    Examples:
      gossipconf rollback 3f9a2c1b77
      gossipconf rollback 3f9a2c1b77 shop/checkout --ticket OPS-17
      gossipconf rollback --to 3f9a2c1b77
      gossipconf rollback --at 2h shop/checkout shop/limits --dry-run
    """
    names = names or []
    if (to is not None) + (at is not None) + (to is None and at is None and bool(names)) != 1:
        raise typer.BadParameter("name a CHANGE to undo, or say --to CHANGE or --at TIME")
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        if to is not None:
            record, scope = record_named(session, to), names
            past = _past_under(session, scope) if scope else _past_of(session, _named(record, ()))
            held, why = _right_after(session, record), f"back to {short(record.change.id)}"
        elif at is not None:
            time_ms = instant_ms(at, "--at")
            past = _past_under(session, names or [""])
            held, why = _at(session, time_ms), f"back to {moment(time_ms)}"
        else:
            record, scope = record_named(session, names[0]), names[1:]
            wanted = _named(record, scope)
            past = _past_of(session, wanted)
            held, why = _before(session, record, wanted), f"undoes {short(record.change.id)}"
            _warn_of_later(session, record, past)
        items = _live(past)
        made = _restoration(past, items, held)
        if to is None and at is None:
            made = _with_unknown_entries(made, record, scope)
        _check_known(session, made, partial=partial)
        if not made.entries:
            say(f"nothing to do: {count(made.unchanged, 'key')} as they were")
            return
        _warn_of_expired(made.entries)
        text = how.reason(why)
        publish_shown(session, delivery, signer, made.entries, items, text, unchanged=made.unchanged, yes=yes)


# -- which past -----------------------------------------------------------------------------------


def _named(record: Record, scope: Sequence[str]) -> Sequence[Past]:
    """The entries of a change that `scope` covers; all if it names nothing. Raises NotFound."""
    prefixes = [prefix_of(name) for name in scope]
    for prefix in prefixes:
        if not any(covers(prefix, one.version.entry.key) for one in record.versions):
            raise NotFound(f"change {short(record.change.id)} has no key at or under {prefix!r}")
    found = [
        one
        for one in record.versions
        if not prefixes or any(covers(prefix, one.version.entry.key) for prefix in prefixes)
    ]
    for one in found:
        check_own_key(one.version.entry.key)
    return found


def _past_of(session: Session, wanted: Sequence[Past]) -> Mapping[Slot, Sequence[Past]]:
    """All that history has of the slots of some versions, each with its versions."""
    slots = {one.version.slot for one in wanted}
    keys = sorted({key for key, _ in slots})
    if len(keys) <= KEYS_ASKED_MAX:
        found = [one for key in keys for one in versions(session, Wanted(key=key), None)]
    else:
        found = list(versions(session, Wanted(prefix=_common_prefix(keys)), None))
    return _by_slot(one for one in found if one.version.slot in slots)


def _past_under(session: Session, scope: Sequence[str]) -> Mapping[Slot, Sequence[Past]]:
    """All that history has at and under the names in `scope`. Raises NotFound."""
    found: dict[bytes, Past] = {}
    for name in scope:
        prefix = prefix_of(name)
        if prefix:
            check_own_key(prefix)
        here = versions(session, Wanted(prefix=prefix), None)
        if not here:
            raise NotFound(f"no history at or under {prefix!r}; see: gossipconf list")
        found |= {one.version.id: one for one in here}
    return _by_slot(found.values())


def _by_slot(past: Iterable[Past]) -> Mapping[Slot, Sequence[Past]]:
    slots: dict[Slot, list[Past]] = {}
    for one in past:
        slots.setdefault(one.version.slot, []).append(one)
    return slots


def _live(past: Mapping[Slot, Sequence[Past]]) -> Mapping[str, Item]:
    """What of that is live now, by key."""
    found: dict[str, list[Version]] = {}
    for (key, _), versions_ in sorted(past.items()):
        found.setdefault(key, []).extend(one.version for one in versions_ if one.retired_ms is None)
    return {key: Item(key, tuple(in_order(some))) for key, some in found.items()}


def _common_prefix(keys: Sequence[str]) -> str:
    first, last = (key.split("/")[:-1] for key in (keys[0], keys[-1]))
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return "/".join(first[:common])


# -- what was there -------------------------------------------------------------------------------


def _before(session: Session, record: Record, wanted: Sequence[Past]) -> Held:
    undone = {one.version.slot: one.version for one in wanted}
    if all(session.is_void(version) for version in undone.values()):
        raise InvalidInput(f"change {short(record.change.id)} is void already: nothing of it counts")
    return lambda slot, known: bygone.before(undone[slot], known, session.is_void)


def _right_after(session: Session, record: Record) -> Held:
    own = {one.version.slot: one.version for one in record.versions if not session.is_void(one.version)}
    time_ms = record.change.header.time_ms

    def held(slot: Slot, known: Sequence[Version]) -> Version | None:
        if slot in own:
            return own[slot] if own[slot].entry.operation is Operation.PUT else None
        return bygone.at(time_ms, known, session.is_void)

    return held


def _at(session: Session, time_ms: int) -> Held:
    return lambda _, known: bygone.at(time_ms, known, session.is_void)


def _restoration(past: Mapping[Slot, Sequence[Past]], items: Mapping[str, Item], held: Held) -> Restoration:
    made: list[Entry] = []
    forgotten: dict[str, None] = {}
    unchanged = 0
    for slot, known in sorted(past.items()):
        try:
            version = held(slot, [one.version for one in known])
        except bygone.Forgotten:
            forgotten[slot[0]] = None
            continue
        key, variant = slot
        entry = entries.delete(key, variant=variant) if version is None else replace(version.entry, seen=EMPTY)
        if _is_so(live_in(items, entry), entry):
            unchanged += 1
        else:
            made.append(entry)
    return Restoration(tuple(made), unchanged, tuple(forgotten))


def _is_so(live: Sequence[Version], entry: Entry) -> bool:
    """Whether a slot is as `entry` would make it: without conflict, and a deleted one is as good as none."""
    if entry.operation is Operation.DELETE:
        return all(version.entry.operation is Operation.DELETE for version in live)
    return len(live) == 1 and replace(live[0].entry, seen=EMPTY) == entry


# -- what is said ---------------------------------------------------------------------------------


def _with_unknown_entries(made: Restoration, record: Record, scope: Sequence[str]) -> Restoration:
    """The same; entries of the change that are not here count as forgotten, for nobody knows even their keys."""
    unknown = record.change.header.count - len(record.versions)
    keys = {one.version.entry.key for one in record.versions}
    if not unknown or (scope and keys.issuperset(map(prefix_of, scope))):
        return made
    return replace(made, forgotten=(*made.forgotten, *[f"({count(unknown, 'entry', 'entries')} not known here)"]))


def _check_known(session: Session, made: Restoration, *, partial: bool) -> None:
    if not made.forgotten:
        return
    told = (
        f"{session.node}'s history does not have what was there at {count(len(made.forgotten), 'key')}: "
        f"{some_of(made.forgotten, KEYS_TOLD_MAX)}"
    )
    if not partial:
        raise InvalidInput(
            f"nothing is published: {told}; ask an agent that has been there longer with --agent, "
            "or leave them as they are with --partial"
        )
    note(f"left as they are: {told}")


def _warn_of_expired(entries: Sequence[Entry]) -> None:
    """What had an end comes back with it, and nobody reads it where that is over."""
    for entry in entries:
        if entry.expires_ms is not None and entry.expires_ms <= now_ms():
            note(f"note: {slot_in_words(entry.slot)} comes back expired, since {moment(entry.expires_ms)}")


def _warn_of_later(session: Session, record: Record, past: Mapping[Slot, Sequence[Past]]) -> None:
    """Changes of the same keys since then are undone too: who else has written there is told."""
    own = {one.version.slot: one.version for one in record.versions}
    later: dict[bytes, list[Version]] = {}
    for slot, known in sorted(past.items()):
        for one in known:
            if one.version.supersedes(own[slot]) and not session.is_void(one.version):
                later.setdefault(one.version.change_id, []).append(one.version)
    ordered = sorted(later.items(), key=lambda item: item[1][0].header.time_ms, reverse=True)
    for change_id, found in ordered[:CHANGES_TOLD_MAX]:
        keys = some_of([version.entry.key for version in found], KEYS_TOLD_MAX)
        note(
            Text.assemble(
                ("warning:", "yellow"),
                f" change {short(change_id)} by {signer_in_words(session, found[0])}, "
                f"{moment(found[0].header.time_ms)}, came later and is undone too at {keys}",
            )
        )
    if len(ordered) > CHANGES_TOLD_MAX:
        note(f"warning: and {count(len(ordered) - CHANGES_TOLD_MAX, 'change')} before these; see: gossipconf history")
