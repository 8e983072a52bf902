"""History: what is superseded or void here, on its way to the disk.

Makes the rows and knows those that are not written yet, so that nobody misses a version
between the live set and the journal. Local: nothing of it is replicated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from ..model.change import Change
from ..model.merkle import SparseTree
from ..model.version import Version
from ..store.journal_ops import JournalOp, Retire
from ..store.live_set import LiveSet

ROWS_WAITING_MAX = 10_000
"""Rows kept while the disk refuses writes; beyond it the oldest are forgotten, state never is."""


class History:
    """The rows that are on their way."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes, bytes] = OrderedDict()

    def rows(self, retired: Iterable[tuple[Version, Change]], live: LiveSet, wall_ms: int) -> Iterator[Retire]:
        """What is to be written, each with a change that holds just the retired entry.

        ``wall_ms``: when that happened, since 1970.
        """
        trees: dict[int, SparseTree] = {}  # one for all that are cut from one body: 10,000 entries take 50 ms to hash
        for version, change in retired:
            tree = trees.get(id(change))
            if tree is None:
                tree = trees[id(change)] = live.tree_of(change)
            data = change.single(version.index, tree).encode()
            self._waiting[version.id] = data
            if len(self._waiting) > ROWS_WAITING_MAX:
                self._waiting.popitem(last=False)
            yield Retire(
                version_id=version.id,
                change_id=version.change_id,
                key=version.entry.key,
                variant=version.entry.variant,
                writer=version.writer_id,
                seq=version.header.seq,
                time_ms=version.header.time_ms,
                retired_ms=wall_ms,
                data=data,
            )

    def written(self, ops: Iterable[JournalOp]) -> None:
        """These are on disk."""
        for op in ops:
            if isinstance(op, Retire):
                self._waiting.pop(op.version_id, None)

    def waiting(self) -> Iterable[bytes]:
        """Encoded changes of one entry that are not on disk yet, the oldest first."""
        return self._waiting.values()

    def get(self, version_id: bytes) -> bytes | None:
        """One of those, by its version."""
        return self._waiting.get(version_id)
