"""Versions: one entry of one change, as it competes for its slot.

    B supersedes A   ⇔   same slot and clock(A) ⊑ B.seen

That is a strict partial order that needs only the two bodies. Irreflexive,
because a body with seen[own writer] ≥ seq is invalid. Transitive, because
clock(A) ⊑ B.seen ⊑ clock(B) ⊑ C.seen. So whoever has dropped what is superseded
agrees with whoever has kept it, whatever any writer claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .clock import Clock, covers, seq_of, with_event
from .entry import Entry, Slot

if TYPE_CHECKING:
    from .change import Change, Header


@dataclass(frozen=True, slots=True)
class Version:
    """Entry ``index`` of the change ``change_id``."""

    id: bytes
    change_id: bytes
    index: int
    header: Header
    writer_id: bytes
    entry: Entry

    @property
    def slot(self) -> Slot:
        """Where it competes."""
        return self.entry.slot

    @property
    def clock(self) -> Clock:
        """seen ⊔ {writer: seq}."""
        return with_event(self.entry.seen, self.writer_id, self.header.seq)

    def supersedes(self, other: Version) -> bool:
        """Whether ``other`` is replaced by this version, by the two bodies alone."""
        seen = self.entry.seen
        return (
            seq_of(seen, other.writer_id) >= other.header.seq
            and covers(seen, other.entry.seen)
            and self.slot == other.slot
        )

    @property
    def precedence(self) -> tuple[int, bytes]:
        """Of several live versions of a slot the one with the largest precedence is the winner."""
        return (self.header.time_ms, self.id)


def versions_of(change: Change) -> tuple[Version, ...]:
    """The versions that the entries of ``change`` that are here make: `Change.versions`."""
    return change.versions


def live(versions: Iterable[Version]) -> set[Version]:
    """The versions that no other one of ``versions`` supersedes. The definition; `store.live_set` is the fast way."""
    pool = set(versions)
    return {one for one in pool if not any(other.supersedes(one) for other in pool)}


def winner(versions: Iterable[Version]) -> Version:
    """The version that reads return, of the live versions of one slot."""
    return max(versions, key=lambda version: version.precedence)
