"""Subjects: what a question asks of every node, and how a node tells whether it has it.

Changes: whether the node has applied them or is past them. Or a root: whether its
replicated set is that one. Or nothing: who is there.

A change is applied where something of it lives, or where it has been and all of it was
superseded since; the live set knows both. A node that joined after it was superseded has
never met it: so a question names a slot of the change too, and whoever holds a version
there that has seen the change is past it. (The highest number met of its writer tells
neither: changes of one writer to different keys overtake each other, and who has the
successor only need not have met the writer at all.) Of a change of several slots one is
named, if possible one in which the change lives where it is asked: a node that has its
successor there is ahead of the asker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..model.change import Change
from ..model.clock import WRITER_ID_BYTES, seq_of
from ..model.encoding import as_array, as_bytes, as_int, as_text
from ..model.entry import Slot
from ..model.errors import FormatError, LimitExceeded
from ..model.hashing import HASH_BYTES
from ..model.key import check_key, check_variant
from ..model.limits import KEY_BYTES_MAX, SEQ_MAX, VARIANT_BYTES_MAX
from ..store.hash_tree import NODE_HASH_BYTES
from ..store.live_set import LiveSet

CHANGES_MAX: Final = 16
"""Changes in one question: a rollout's steps. Who waits for more asks for the root."""
SUBJECT_BYTES_MAX: Final = 2_048
"""A subject travels over every link of the cluster: three changes with the longest keys, or sixteen with usual ones."""
CHANGE_OVERHEAD_BYTES: Final = HASH_BYTES + WRITER_ID_BYTES + 20
"""Of one change, beside its key and variant: ids, number, headers."""


@dataclass(frozen=True, slots=True)
class AskedChange:
    """A change that is asked for: its id, its writer's id and number, and one of its slots, if the asker knew any."""

    id: bytes
    writer: bytes
    seq: int
    slot: Slot | None

    @classmethod
    def of(cls, change: Change, live: LiveSet) -> AskedChange:
        """A change, in whatever form; ``live`` is the asker's."""
        slots = [version.slot for version in change.versions]
        living = (
            version.slot for version in change.versions if any(one.id == version.id for one in live.slot(version.slot))
        )
        return cls(change.id, change.writer_id, change.header.seq, next(living, slots[0] if slots else None))

    @property
    def size_bytes(self) -> int:
        """About how long it is in a message."""
        return CHANGE_OVERHEAD_BYTES + sum(len(part.encode()) for part in self.slot or ())

    def is_met(self, live: LiveSet) -> bool:
        """Whether the node with this live set has applied the change, or is past it."""
        if live.has_met(self.id, self.writer, self.seq):
            return True
        rivals = () if self.slot is None else live.slot(self.slot)
        return any(seq_of(rival.entry.seen, self.writer) >= self.seq for rival in rivals)

    def to_wire(self) -> list[Any]:
        """The array inside a subject."""
        return [self.id, self.writer, self.seq, self.slot or ()]

    @classmethod
    def from_wire(cls, value: Any) -> AskedChange:
        """Check and read."""
        change_id, writer, seq, slot = as_array(value, "a change that is asked for", 4)
        return cls(
            as_bytes(change_id, "a change id", HASH_BYTES),
            as_bytes(writer, "a writer", WRITER_ID_BYTES),
            as_int(seq, "a sequence number", 1, SEQ_MAX),
            _slot(slot),
        )


def _slot(value: Any) -> Slot | None:
    parts = as_array(value, "a slot", length_max=2)
    if not parts:
        return None
    key, variant = as_array(value, "a slot", 2)
    return (
        check_key(as_text(key, "a key", KEY_BYTES_MAX)),
        check_variant(as_text(variant, "a variant", VARIANT_BYTES_MAX)),
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """Changes, or a root of 16 bytes, or neither: then every node that answers has applied it.

    Raises LimitExceeded for more than CHANGES_MAX changes or SUBJECT_BYTES_MAX, FormatError for both or a wrong root.
    """

    changes: tuple[AskedChange, ...] = ()
    root: bytes = b""

    def __post_init__(self) -> None:
        if self.root and (self.changes or len(self.root) != NODE_HASH_BYTES):
            raise FormatError(f"a question asks for changes or for a root of {NODE_HASH_BYTES} bytes")
        if len(self.changes) > CHANGES_MAX or sum(one.size_bytes for one in self.changes) > SUBJECT_BYTES_MAX:
            raise LimitExceeded(
                f"a question names at most {CHANGES_MAX} changes, and {SUBJECT_BYTES_MAX} bytes with their keys; "
                "ask for fewer at once, or for the root"
            )

    @classmethod
    def of(cls, changes: Iterable[Change], live: LiveSet) -> Subject:
        """Whether ``changes`` are applied; ``live`` is the asker's."""
        return cls(tuple(AskedChange.of(change, live) for change in changes))

    def is_met(self, live: LiveSet) -> bool:
        """Whether the node with this live set has applied what is asked."""
        if self.root:
            return live.root == self.root
        return all(one.is_met(live) for one in self.changes)

    def to_wire(self) -> list[Any]:
        """The array inside a message."""
        return [[one.to_wire() for one in self.changes], self.root]

    @classmethod
    def from_wire(cls, value: Any) -> Subject:
        """Check and read."""
        changes, root = as_array(value, "a subject", 2)
        return cls(
            tuple(AskedChange.from_wire(one) for one in as_array(changes, "the changes", length_max=CHANGES_MAX)),
            as_bytes(root, "a root", length_max=NODE_HASH_BYTES),
        )
