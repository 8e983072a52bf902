"""The statements that a node keeps, by subject: one of each node and kind, within bounds, each in a row on disk.

    the set    holds names (`Statement.item`): who has said what of what. Of several statements
               with one name the first that came is kept, for they say the same.
    bounded    of one subject at most NODES_MAX of each kind are kept, those with the smallest
               node ids, so that two nodes that have met the same keep the same; no more than
               SUBJECTS_MAX subjects and HELD_BYTES_MAX in all.
    rows       a row of the journal's named state holds one statement; that of a dropped one is
               given to the next. What stands in a row that was given up is still true.

Knows no link, no policy and no signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from typing import Final

from ..model.limits import HALT_VOTES_MAX
from ..store.journal_ops import PutMeta
from ..trust.statement import ITEM_BYTES, Statement

NODES_MAX: Final = HALT_VOTES_MAX
"""Nodes whose statements of a kind about one subject are kept: the largest limit, and the participants of the largest
stage."""
SUBJECTS_MAX: Final = 256
"""Subjects of which something is kept: open stages and canaries that somebody has complained of. Admins make them."""
HELD_BYTES_MAX: Final = 32 << 20
"""All that is kept: fifteen stages of 1,000 participants with certificates of the usual size."""
DIGEST_BYTES: Final = 8
ROW_PREFIX: Final = "statement/"
"""Names of the journal's rows begin so, and end with a number."""


@dataclass(frozen=True, slots=True)
class Held:
    """A verified statement.

    data:          as it came, with signature and certificates
    certificates:  SHA-256 of each certificate of its chain
    row:           its number on disk
    """

    statement: Statement
    data: bytes
    certificates: tuple[bytes, ...]
    row: int


@dataclass(slots=True)
class _Subject:
    """What was said of one subject, by name, and the digest of the names while it is known."""

    held: dict[bytes, Held]
    digest: bytes | None = None


class StatementBook:
    """What is kept."""

    def __init__(self) -> None:
        self._subjects: dict[bytes, _Subject] = {}
        self._free_rows: list[int] = []
        self._rows = 0
        self._bytes = 0

    def __contains__(self, statement: Statement) -> bool:
        subject = self._subjects.get(statement.subject)
        return subject is not None and statement.item in subject.held

    def subjects(self) -> list[bytes]:
        """All of which anything is kept, in the order in which it came."""
        return list(self._subjects)

    def about(self, subject: bytes) -> Mapping[bytes, Held]:
        """What was said of ``subject``, by name."""
        found = self._subjects.get(subject)
        return {} if found is None else found.held

    def add(self, statement: Statement, data: bytes, certificates: tuple[bytes, ...], row: int | None = None) -> bool:
        """Keep a verified statement that is not here yet; False if there is no room for it. ``row``: where it stands on
        disk already."""
        if not self._makes_room(statement, len(data)):
            return False
        if row is None:
            row = self.take_row()
        subject = self._subjects.setdefault(statement.subject, _Subject({}))
        subject.held[statement.item] = Held(statement, data, certificates, row)
        subject.digest = None
        self._bytes += len(data)
        return True

    def drop(self, subject: bytes) -> None:
        """Forget a subject."""
        for held in self._subjects.pop(subject).held.values():
            self._give_up(held)

    def row_op(self, statement: Statement) -> PutMeta:
        """What writes a kept statement to its row."""
        held = self._subjects[statement.subject].held[statement.item]
        return row_op(held.row, held.data)

    def restored(self, rows: Mapping[int, bytes]) -> Iterator[tuple[int, bytes]]:
        """Begin with these rows of the journal: whoever reads them adds those that still count, each with its row. What
        is not added again by the end leaves its row to others. To be exhausted, before anything else."""
        for row in sorted(rows):
            self._rows = max(self._rows, row + 1)
        yield from sorted(rows.items())
        taken = {held.row for subject in self._subjects.values() for held in subject.held.values()}
        self._free_rows = [row for row in range(self._rows) if row not in taken]

    # -- digests ----------------------------------------------------------------------------------

    def digest(self) -> bytes:
        """Of the names of all that is kept."""
        return _digest(subject + digest for subject, digest in sorted(self.digests()))

    def digests(self) -> list[tuple[bytes, bytes]]:
        """Of each subject the digest of the names."""
        return [(subject, self._digest_of(found)) for subject, found in self._subjects.items()]

    def _digest_of(self, subject: _Subject) -> bytes:
        if subject.digest is None:
            subject.digest = _digest(sorted(subject.held))
        return subject.digest

    # -- room -------------------------------------------------------------------------------------

    def _makes_room(self, statement: Statement, size: int) -> bool:
        subject = self._subjects.get(statement.subject)
        if subject is None:
            return len(self._subjects) < SUBJECTS_MAX and self._bytes + size <= HELD_BYTES_MAX
        alike = [one for one in subject.held.values() if one.statement.kind is statement.kind]
        if len(alike) < NODES_MAX:
            return self._bytes + size <= HELD_BYTES_MAX
        last = max(alike, key=lambda one: one.statement.node_id)
        if last.statement.node_id < statement.node_id:
            return False
        del subject.held[last.statement.item]
        self._give_up(last)
        return True

    def take_row(self) -> int:
        """A row for a statement that is to be on disk before it is added."""
        if self._free_rows:
            return heappop(self._free_rows)
        self._rows += 1
        return self._rows - 1

    def return_row(self, row: int) -> None:
        """It is not needed after all."""
        heappush(self._free_rows, row)

    def _give_up(self, held: Held) -> None:
        self._bytes -= len(held.data)
        self.return_row(held.row)


def row_op(row: int, data: bytes) -> PutMeta:
    """What writes a signed statement to a row."""
    return PutMeta(f"{ROW_PREFIX}{row}", data)


def rows_of(meta: Mapping[str, bytes]) -> dict[int, bytes]:
    """The rows among a journal's named states."""
    found = {}
    for name, data in meta.items():
        number = name.removeprefix(ROW_PREFIX)
        if name.startswith(ROW_PREFIX) and number.isdecimal():
            found[int(number)] = data
    return found


def items_in(data: bytes) -> frozenset[bytes]:
    """The names that are joined in ``data``."""
    return frozenset(data[first : first + ITEM_BYTES] for first in range(0, len(data), ITEM_BYTES))


def _digest(parts: Iterator[bytes] | list[bytes]) -> bytes:
    found = sha256()
    for part in parts:
        found.update(part)
    return found.digest()[:DIGEST_BYTES]
