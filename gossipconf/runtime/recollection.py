"""Reading history for a node that asks what may live again: in small steps, however long it is.

Whoever holds a stolen key can have superseded a version as often as the disk has room. What
is void is left out while reading, so that it takes no place among what is remembered of a
key, and between two pages publishes and links have their turn.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import attrgetter
from typing import Final

from ..protocol.environment import Recall
from ..store.journal_ops import Retire
from .writer import JournalWriter

PAGE_ROWS: Final = 256
"""Rows read and decoded at a time: about 15 ms in which nobody else has a turn."""
RECALLED_MAX: Final = 1_000
"""Versions of one key that are given to the node, the latest that may return: older ones are superseded by these."""


async def recollect(
    recall: Recall,
    writer: JournalWriter,
    may_return: Callable[[bytes], bool],
    take: Callable[[Iterable[bytes]], None],
) -> None:
    """Call ``take`` with what history has of each key, the latest first; at least once. Raises JournalError.

    ``may_return``: whether an encoded change of one entry is worth being taken, see `Replica.may_return`.
    """
    keys = frozenset(key for key, _ in recall.slots)
    change_ids = frozenset(recall.change_ids)

    def is_wanted(row: Retire) -> bool:
        return (recall.everything or row.key in keys or row.change_id in change_ids) and may_return(row.data)

    take(())
    for key in (None,) if recall.everything or change_ids else sorted(keys):
        place, found = ("" if key is None else key, b""), list[Retire]()
        while True:
            page = await writer.history_after(place, key=key, limit=PAGE_ROWS)
            for name, rows in groupby(page, attrgetter("key")):
                if found and found[0].key != name:
                    take([row.data for row in found])
                    found = []
                found = _latest([*found, *filter(is_wanted, rows)])
            if len(page) < PAGE_ROWS:
                break
            place = (page[-1].key, page[-1].version_id)
        take([row.data for row in found])


def _latest(rows: Iterable[Retire]) -> list[Retire]:
    return heapq.nlargest(RECALLED_MAX, rows, lambda row: (row.retired_ms, row.time_ms, row.version_id))
