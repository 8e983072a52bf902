"""Conflicts: which slots of users' keys have more than one live version, and when that begins and ends.

Follows the live set, which runs ahead of readers; decides nothing. The system's own keys are left out: several policies
of one number are a fork, which has an alarm of its own, and the others belong to one signer.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.entry import Slot
from ..model.key import is_system_key
from ..store.live_set import LiveSet


class Conflicts:
    """The slots that are in conflict here."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Slot, None] = {}

    def recall(self, live: LiveSet) -> None:
        """Know what a node starts with: nothing of it is news."""
        self._open = {slot: None for slot, versions in live.slots().items() if in_conflict(slot, len(versions))}

    def follow(self, slots: Iterable[Slot], live: LiveSet) -> tuple[tuple[Slot, ...], tuple[Slot, ...]]:
        """Look at slots that may have changed; returns those that are in conflict from now on, and no longer."""
        opened, closed = [], []
        for slot in dict.fromkeys(slots):
            is_conflict = in_conflict(slot, len(live.slot(slot)))
            if is_conflict and slot not in self._open:
                self._open[slot] = None
                opened.append(slot)
            elif not is_conflict and slot in self._open:
                del self._open[slot]
                closed.append(slot)
        return tuple(opened), tuple(closed)


def in_conflict(slot: Slot, versions: int) -> bool:
    """Whether a slot of so many live versions is in conflict."""
    return versions > 1 and not is_system_key(slot[0])
