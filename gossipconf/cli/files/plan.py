"""The plan of an `apply`: what would be created, updated, deleted and left alone.

Knows two sets of values, the published and the wanted, and compares them.
Knows nothing of where either comes from, nor of how the change is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...model.key import check_prefix, covers, is_system_key
from .value import TypedValue


@dataclass(frozen=True, slots=True)
class Plan:
    """Keys by what is to happen to them, each sorted by code point."""

    create: tuple[str, ...]
    update: tuple[str, ...]
    """Type, bytes or both differ."""
    delete: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to publish."""
        return not (self.create or self.update or self.delete)


def plan(
    current: Mapping[str, TypedValue], wanted: Mapping[str, TypedValue], *, prune_prefixes: Sequence[str] = ()
) -> Plan:
    """What makes `wanted` true of `current`.

    A key that is not wanted is deleted only if one of `prune_prefixes` covers
    it, by whole segments; the empty prefix covers everything. The system's own
    keys are never deleted. Raises InvalidInput if a prefix is not one.
    """
    for prefix in prune_prefixes:
        check_prefix(prefix)
    return Plan(
        create=tuple(sorted(wanted.keys() - current.keys())),
        update=tuple(sorted(key for key, value in wanted.items() if key in current and current[key] != value)),
        delete=tuple(
            sorted(
                key
                for key in current.keys() - wanted.keys()
                if not is_system_key(key) and any(covers(prefix, key) for prefix in prune_prefixes)
            )
        ),
        unchanged=tuple(sorted(key for key, value in wanted.items() if current.get(key) == value)),
    )
