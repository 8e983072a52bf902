"""Records: what a participant of a strict prefix has on its disk.

All that it promises, says and serves follows from its record, so what is here is written before
anybody hears of it. The stages are whole, so that no revoked signature or deleted document takes
away what is served. Knows its form; what may follow a record is decided in `participant`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..model.encoding import as_array, as_bytes, as_int, decode, encode
from ..model.errors import FormatError
from ..model.hashing import HASH_BYTES
from ..model.limits import VALUE_BYTES_MAX
from ..store.journal_ops import PutMeta
from ..trust.strict import EPOCH_NUMBER_MAX
from .epoch import Stage

RECORD_VERSION: Final = 1
RECORD_BYTES_MAX: Final = 4 * VALUE_BYTES_MAX
"""Two stages with their contents, and eight that only name the members: 64 KB each at most."""
ROW_PREFIX: Final = "epochs/"
"""Before the prefix, the name of a record in the journal."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a participant has on disk.

    position:  the last epoch that it knows committed and took part in; None if there was none
    promise:   the stage that it has acked and whose outcome it does not know: it is fenced
    answers:   (number of the epoch, id of the stage, acked or nacked), in the order in which they were given
    gave_up:   of ``promise``, whom it has called removed, each time
    past:      the epochs before ``position`` that it took part in, without their contents, within the horizon
    """

    position: Stage | None = None
    promise: Stage | None = None
    answers: tuple[tuple[int, bytes, bool], ...] = ()
    gave_up: tuple[frozenset[str], ...] = ()
    past: tuple[Stage, ...] = ()

    @property
    def committed(self) -> tuple[Stage, ...]:
        """The epochs that it knows committed, within the horizon, ascending."""
        return self.past if self.position is None else (*self.past, self.position)

    def answer_to(self, stage_id: bytes) -> bool | None:
        """What was said to a stage; None: nothing yet."""
        return next((is_ack for _, answered, is_ack in self.answers if answered == stage_id), None)

    def encode(self) -> bytes:
        """As the journal keeps it."""
        return encode(
            [
                RECORD_VERSION,
                None if self.position is None else self.position.encode(),
                None if self.promise is None else self.promise.encode(),
                self.answers,
                [sorted(removed) for removed in self.gave_up],
                [stage.encode() for stage in self.past],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Read it back. Raises InvalidInput: who has lost what it promised must not begin anew."""
        fields = as_array(decode(data, "the record of epochs", RECORD_BYTES_MAX), "the record of epochs", 6)
        version, position, promise, answers, gave_up, past = fields
        as_int(version, "the version of a record of epochs", RECORD_VERSION, RECORD_VERSION)
        return cls(
            None if position is None else _stage(position),
            None if promise is None else _stage(promise),
            tuple(map(_answer, as_array(answers, "the answers to stages"))),
            tuple(frozenset(as_array(removed, "those given up")) for removed in as_array(gave_up, "those given up")),
            tuple(map(_stage, as_array(past, "past epochs"))),
        )


def records_in(meta: Mapping[str, bytes]) -> dict[str, Record]:
    """The records among a journal's named states, by prefix. Raises InvalidInput."""
    return {
        name.removeprefix(ROW_PREFIX): Record.decode(data)
        for name, data in sorted(meta.items())
        if name.startswith(ROW_PREFIX)
    }


def row_op(prefix: str, record: Record) -> PutMeta:
    """What writes a record."""
    return PutMeta(f"{ROW_PREFIX}{prefix}", record.encode())


def _stage(value: Any) -> Stage:
    return Stage.decode(as_bytes(value, "a stage of a record"))


def _answer(value: Any) -> tuple[int, bytes, bool]:
    number, stage_id, is_ack = as_array(value, "an answer to a stage", 3)
    if type(is_ack) is not bool:
        raise FormatError("an answer to a stage is an ack or a nack")
    return (
        as_int(number, "the number of an answered stage", 1, EPOCH_NUMBER_MAX),
        as_bytes(stage_id, "an answered stage", HASH_BYTES),
        is_ack,
    )
