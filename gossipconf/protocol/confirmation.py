"""Confirmation: whether a node that booted from a checkpoint has compared what it holds.

A checkpoint says what somebody signed, some time ago; only others can say that it is what
everybody holds. So the node counts as *unconfirmed* until its root was equal to that of
PEERS_WANTED different peers, at once or at the end of a sync. It serves all the while.
What is counted is kept on disk: a restart confirms nothing.

A node that has booted otherwise is never unconfirmed: it has verified each signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from ..model.encoding import as_array, as_int, as_text, decode, encode
from ..model.errors import InvalidInput
from ..model.limits import NODE_ID_BYTES_MAX, TIME_MS_MAX, VALUE_BYTES_MAX
from ..store.journal_ops import PutMeta
from .environment import Environment
from .events import Confirmed

SAVED_CONFIRMATION: Final = "confirmation"
"""Name under which the journal keeps it."""
PEERS_WANTED: Final = 2
"""One peer may be the liar, or have booted from the same file a moment ago."""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The time of the checkpoint that a node booted from, by its signer's clock; names of peers that held the same."""

    checkpoint_ms: int
    equal: tuple[str, ...] = ()

    @property
    def are_enough(self) -> bool:
        """Whether what the node holds is confirmed."""
        return len(self.equal) >= PEERS_WANTED

    def op(self) -> PutMeta:
        """What keeps it on disk."""
        return PutMeta(SAVED_CONFIRMATION, encode([self.checkpoint_ms, self.equal]))

    @classmethod
    def decode(cls, data: bytes | None) -> Self | None:
        """What the journal had; None if the node did not boot from a checkpoint.

        What cannot be read says that it did and that nobody held the same: the careful side.
        """
        if data is None:
            return None
        try:
            fields = as_array(decode(data, "the confirmation", VALUE_BYTES_MAX), "the confirmation", 2)
            names = as_array(fields[1], "the names", length_max=PEERS_WANTED)
            return cls(
                as_int(fields[0], "the checkpoint's time", 0, TIME_MS_MAX),
                tuple(as_text(name, "a name", NODE_ID_BYTES_MAX) for name in names),
            )
        except InvalidInput:
            return cls(0)


class Confirmation:
    """Counts the different peers that held the same."""

    def __init__(
        self, environment: Environment, saved: Comparisons | None, write_meta: Callable[[PutMeta], None]
    ) -> None:
        self.comparisons = saved
        self._environment = environment
        self._write_meta = write_meta

    @property
    def unconfirmed(self) -> Comparisons | None:
        """What is still too little, or None for a node that is confirmed, or needs no confirmation."""
        found = self.comparisons
        return None if found is None or found.are_enough else found

    def compared_equal(self, node_id: str) -> None:
        """The peer ``node_id`` has shown this node's own root."""
        found = self.unconfirmed
        if found is None or node_id in found.equal:
            return
        self.comparisons = Comparisons(found.checkpoint_ms, (*found.equal, node_id))
        self._write_meta(self.comparisons.op())
        if self.comparisons.are_enough:
            self._environment.emit(Confirmed(self.comparisons.equal))
