"""The statements that a node keeps, by subject: one of each node and kind, within bounds, each in a row on disk.

    the set    holds names (`Statement.item`): who has said what of what. Of several statements
               with one name the first that came is kept, for they say the same.
    bounded    of one subject at most NODES_MAX of each kind are kept, those with the smallest
               node ids, so that two nodes that have met the same keep the same; no more than
               SUBJECTS_MAX subjects and HELD_BYTES_MAX in all.
    fair       Where that is not enough, whoever has made the subjects that take the most room
               gives way, of his the oldest. So nobody's canaries keep out what is said of
               another's, or of a stage; and which are kept is no matter of who came first.
    rows       a row of the journal's named state holds one statement; that of a dropped one is
               given to the next. What stands in a row that was given up is still true.

Knows no link, no policy and no signature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""What two peers that hold other statements have alike once in 10^19 comparisons; the next one finds it."""
ROW_PREFIX: Final = "statement/"
"""Names of the journal's rows begin so, and end with a number."""


@dataclass(frozen=True, slots=True)
class Claim:
    """On whose account a subject takes room, and how old it is: of one claimant the oldest go first."""

    claimant: bytes
    age: int = 0


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
    """What was said of one subject, by name, its size, and the digest of the names while it is known."""

    held: dict[bytes, Held]
    digest: bytes | None = None
    size: int = 0


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
        """Keep a verified statement that is not here yet, once there is room (`crowded_out`); False if its subject has
        NODES_MAX of smaller names. ``row``: where it stands on disk already."""
        subject = self._subjects.setdefault(statement.subject, _Subject({}))
        if not self._admits(subject, statement):
            return False
        if row is None:
            row = self.take_row()
        subject.held[statement.item] = Held(statement, data, certificates, row)
        subject.digest = None
        subject.size += len(data)
        self._bytes += len(data)
        return True

    def drop(self, subject: bytes) -> None:
        """Forget a subject."""
        found = self._subjects.pop(subject)
        for held in list(found.held.values()):
            self._give_up(found, held)

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

    def crowded_out(
        self, statement: Statement, size: int, claim_of: Callable[[bytes], Claim]
    ) -> Sequence[bytes] | None:
        """The subjects that have to be dropped before a statement of so many bytes is added; None: its own would be.

        Shares are max-min fair: who has less than all others of whom something is left out loses nothing.
        """
        is_new = statement.subject not in self._subjects
        if len(self._subjects) + is_new <= SUBJECTS_MAX and self._bytes + size <= HELD_BYTES_MAX:
            return ()
        sizes = {subject: found.size for subject, found in self._subjects.items()}
        sizes[statement.subject] = sizes.get(statement.subject, 0) + size
        claims = {subject: claim_of(subject) for subject in sizes}
        dropped: list[bytes] = []
        while len(sizes) > SUBJECTS_MAX or sum(sizes.values()) > HELD_BYTES_MAX:
            shares: Counter[bytes] = Counter()
            for subject, taken in sizes.items():
                shares[claims[subject].claimant] += 1 if len(sizes) > SUBJECTS_MAX else taken
            most = max(shares, key=lambda claimant: (shares[claimant], claimant))
            theirs = (subject for subject in sizes if claims[subject].claimant == most)
            last = max(theirs, key=lambda subject: (claims[subject].age, subject))
            if last == statement.subject:
                return None
            dropped.append(last)
            del sizes[last]
        return dropped

    def _admits(self, subject: _Subject, statement: Statement) -> bool:
        """Whether a statement is among those of its kind that are kept; the last of them goes for it."""
        alike = [one for one in subject.held.values() if one.statement.kind is statement.kind]
        if len(alike) < NODES_MAX:
            return True
        last = max(alike, key=lambda one: one.statement.node_id)
        if last.statement.node_id < statement.node_id:
            return False
        self._give_up(subject, last)
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

    def _give_up(self, subject: _Subject, held: Held) -> None:
        del subject.held[held.statement.item]
        subject.size -= len(held.data)
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
