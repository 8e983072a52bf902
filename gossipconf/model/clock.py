"""Version vectors over one slot: sorted tuples of (writer id, highest seq).

Sorted tuples and not dictionaries: they are the signed form itself, they are
small, and comparing two of them is one merge.

    clock(A)         = A.seen ⊔ {A.writer: A.seq}
    B supersedes A   ⇔ clock(A) ⊑ B.seen
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from .encoding import as_array, as_bytes, as_int
from .errors import FormatError
from .limits import SEEN_WRITERS_MAX, SEQ_MAX

WRITER_ID_BYTES: Final = 16

Clock: TypeAlias = tuple[tuple[bytes, int], ...]
"""(writer id, seq) pairs, strictly ascending by writer id; seq ≥ 1."""

EMPTY: Final[Clock] = ()


def seq_of(clock: Clock, writer: bytes) -> int:
    """The highest sequence number of ``writer`` in ``clock``, 0 if it has none."""
    for name, seq in clock:
        if name == writer:
            return seq
    return 0


def covers(big: Clock, small: Clock) -> bool:
    """small ⊑ big: every writer of ``small`` is in ``big`` with at least the same number."""
    if len(small) > len(big):
        return False
    position = 0
    for writer, seq in small:
        while position < len(big) and big[position][0] < writer:
            position += 1
        if position == len(big) or big[position][0] != writer or big[position][1] < seq:
            return False
    return True


def join(clocks: Iterable[Clock]) -> Clock:
    """The least upper bound of ``clocks``."""
    highest: dict[bytes, int] = {}
    for clock in clocks:
        for writer, seq in clock:
            if highest.get(writer, 0) < seq:
                highest[writer] = seq
    return tuple(sorted(highest.items()))


def with_event(clock: Clock, writer: bytes, seq: int) -> Clock:
    """``clock`` ⊔ {writer: seq}."""
    return join((clock, ((writer, seq),)))


def decode_clock(value: object, what: str, length_max: int = SEEN_WRITERS_MAX) -> Clock:
    """Check a decoded array of [writer id, seq] pairs. Raises FormatError or LimitExceeded."""
    pairs = as_array(value, what, length_max=length_max)
    clock = []
    previous = b""
    for pair in pairs:
        writer, seq = as_array(pair, f"a pair of {what}", 2)
        as_bytes(writer, f"a writer in {what}", WRITER_ID_BYTES)
        if writer <= previous:
            raise FormatError(f"the writers in {what} must be in strictly ascending order")
        previous = writer
        clock.append((writer, as_int(seq, f"a sequence number in {what}", 1, SEQ_MAX)))
    return tuple(clock)
