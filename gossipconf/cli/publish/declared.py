"""Declared state: typed values that are to be what is published, compared with what is.

Shared by the commands that take whole sets of values (files, imports, an edited prefix).
Knows keys, values and what an agent has; not where the values come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ...model import entry as entries
from ...model.entry import Entry, ValueType
from ...model.errors import InvalidInput
from ..files.plan import Plan, plan
from ..files.value import TypedValue
from ..instant import now_ms
from ..item import Item
from ..see.activation import is_activation, present_at, removals
from ..session import Session
from .reach import Reach

NOW: Final = Reach()
"""For everybody, at once and without end."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What to publish, how many keys are as they should be, and what is published now, by key."""

    entries: tuple[Entry, ...]
    unchanged: int
    items: Mapping[str, Item]


def compare(
    session: Session,
    wanted: Mapping[str, TypedValue],
    sources: Mapping[str, str],
    prefixes: Sequence[str],
    *,
    prune: bool,
    reach: Reach = NOW,
) -> Comparison:
    """What makes `wanted` so; all its keys are under `prefixes`, where with `prune` all other keys go.

    `reach`: from when on. Sealed values and variants are left alone. `sources` say where a key comes from.
    Raises InvalidInput if `wanted` has a key whose value is sealed, and as `Session.items`.
    """
    items = {item.key: item for prefix in prefixes for item in session.items(prefix)}
    current = {
        item.key: (version.entry.type, version.entry.value)
        for item in items.values()
        if (version := present_at(item)) is not None and version.entry.value is not None
    }
    sealed = {key for key, (value_type, _) in current.items() if value_type is ValueType.SEALED}
    _check_none_sealed(sealed, sources)
    # No file has sealed values, so their absence says nothing: `delete` removes them.
    open_now = {key: value for key, value in current.items() if key not in sealed}
    made = _with_unsettled(plan(open_now, wanted, prune_prefixes=prefixes if prune else ()), items)
    if made.delete and reach.activation_ms is not None:
        raise InvalidInput(
            f"{made.delete[0]!r} would be deleted, and only values can wait for their time; leave --prune out, and "
            "delete what is not wanted any more once the time has come"
        )
    return Comparison(entries_of(made, wanted, items, reach), len(made.unchanged), items)


def entries_of(
    made: Plan, wanted: Mapping[str, TypedValue], items: Mapping[str, Item], reach: Reach = NOW
) -> tuple[Entry, ...]:
    """The entries that do what a plan says."""
    changed = (*made.create, *made.update)
    puts = [reach.entry(items.get(key, Item(key, ())), wanted[key][1], wanted[key][0]) for key in changed]
    if reach.activation_ms is not None:
        return tuple(puts)
    # What was activated before would go on being read before what is published now.
    touched = [items[key] for key in (*changed, *made.delete) if key in items]
    removed = [entry for item in touched for entry in removals(item, now_ms())]
    return (*puts, *map(entries.delete, made.delete), *removed)


def _check_none_sealed(sealed: set[str], sources: Mapping[str, str]) -> None:
    """A secret must not be replaced by what everybody reads because a file happens to have its key."""
    for key in sorted(sealed & sources.keys()):
        raise InvalidInput(
            f"{sources[key]}: key {key!r} is a sealed value, and from a file everybody could read it; "
            "take it out of the file, and publish it with: gossipconf put --seal-to"
        )


def _with_unsettled(made: Plan, items: Mapping[str, Item]) -> Plan:
    """A key in conflict, or whose value has an end, is published even if its value is as wanted: that settles it."""
    settled = tuple(key for key in made.unchanged if is_unsettled(items[key]))
    return replace(
        made,
        update=tuple(sorted((*made.update, *settled))),
        unchanged=tuple(key for key in made.unchanged if key not in settled),
    )


def is_unsettled(item: Item) -> bool:
    """Of what files say, which is no variant: whether it has siblings, or expires."""
    slots = [version.slot for version in item.versions if not version.entry.variant or is_activation(version)]
    now = present_at(item)
    return len(set(slots)) < len(slots) or (now is not None and now.entry.expires_ms is not None)
