"""The log of a journal: which changes have versions in its history, by the time at which they were signed.

Knows the table of history and how a part of it is chosen. Works on a connection that
is open (``journal`` has it), and knows no files, locks or damage.

The signed times are read from the index `retired_by_time`, which covers them: 100,000 rows take
60 ms. Keys are found by the primary key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..model.hashing import HASH_BYTES
from ..model.key import SYSTEM_PREFIX
from .journal_ops import Retire
from .journal_schema import RETIRED_COLUMNS, checked_retired

_IDS_AT_ONCE: Final = 500
"""Change ids in one statement: far below what any build of SQLite takes."""

Place = tuple[int, bytes]
"""Signed time in ms since 1970, and change id: where a change stands in the log."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which versions: of one ``key``, of all that ``prefix`` covers ("": all but the system's own keys), or of all.

    Signed from ``since_ms`` on and before ``until_ms``, by one of ``writers`` (16 bytes each) if that is not None.
    """

    key: str | None = None
    prefix: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    writers: tuple[bytes, ...] | None = None

    def condition(self) -> tuple[str, list[str | int | bytes]]:
        """The same as SQL, and the values in it."""
        parts, values = [], list[str | int | bytes]()
        if self.key is not None:
            parts, values = ["key = ?"], [self.key]
        elif self.prefix:
            # '0' is the character after '/': the range holds exactly what begins with the prefix and a '/'.
            parts, values = ["(key = ? OR (key > ? AND key < ?))"], [self.prefix, self.prefix + "/", self.prefix + "0"]
        elif self.prefix is not None:
            # Not as ranges of keys: they are nearly all, and SQLite would read the table instead of the index.
            parts, values = ["substr(key, 1, 1) <> ?"], [SYSTEM_PREFIX]
        for comparison, time_ms in (("time_ms >= ?", self.since_ms), ("time_ms < ?", self.until_ms)):
            if time_ms is not None:
                parts.append(comparison)
                values.append(time_ms)
        if self.writers is not None:
            parts.append(f"writer IN ({', '.join('?' * len(self.writers))})")
            values += self.writers
        return " AND ".join(parts) or "1", values


@dataclass(frozen=True, slots=True)
class Found:
    """What history has of one change: some ``rows`` by key, and the ids of all versions."""

    rows: tuple[Retire, ...]
    ids: frozenset[bytes]


def places(database: sqlite3.Connection, chosen: Selection, before: Place | None, limit: int) -> list[Place]:
    """Where at most ``limit`` changes stand that have such versions, the last signed first, those before ``before``."""
    condition, values = chosen.condition()
    if before is not None:
        condition += " AND (time_ms, change_id) < (?, ?)"
        values += before
    return database.execute(
        f"SELECT DISTINCT time_ms, change_id FROM retired WHERE {condition}"  # noqa: S608 -- made above
        " ORDER BY time_ms DESC, change_id DESC LIMIT ?",
        [*values, limit],
    ).fetchall()


def rows(
    database: sqlite3.Connection, chosen: Selection, change_ids: Sequence[bytes], limit: int | None
) -> dict[bytes, Found]:
    """Of each of these changes such versions, the bytes of at most ``limit``."""
    condition, values = chosen.condition()
    names: dict[bytes, list[tuple[str, bytes]]] = {one: [] for one in change_ids}
    for begin in range(0, len(change_ids), _IDS_AT_ONCE):
        some = change_ids[begin : begin + _IDS_AT_ONCE]
        for change_id, key, version_id in database.execute(
            "SELECT change_id, key, version_id FROM retired"  # noqa: S608 -- made above
            f" WHERE {condition} AND change_id IN ({', '.join('?' * len(some))}) ORDER BY key, version_id",
            [*values, *some],
        ):
            names[change_id].append((key, version_id))
    return {
        change_id: Found(
            tuple(_all_named(database, found[:limit])),
            frozenset(version_id for _, version_id in found),
        )
        for change_id, found in names.items()
    }


def writers(database: sqlite3.Connection) -> list[Retire]:
    """One version of each writer that history knows."""
    found = database.execute("SELECT key, MIN(version_id) FROM retired GROUP BY writer").fetchall()
    return _all_named(database, found)


def starting_with(database: sqlite3.Connection, start: str) -> list[bytes]:
    """Ids, beginning with the hex digits ``start``, of changes that history knows."""
    low, high = (bytes.fromhex(start.ljust(2 * HASH_BYTES, digit)) for digit in "0f")
    found = database.execute("SELECT DISTINCT change_id FROM retired WHERE change_id BETWEEN ? AND ?", [low, high])
    return sorted(change_id for (change_id,) in found)


def named(database: sqlite3.Connection, name: tuple[str, bytes]) -> Retire | None:
    """The version with this key and id, or None."""
    query = f"SELECT {RETIRED_COLUMNS} FROM retired WHERE key = ? AND version_id = ?"  # noqa: S608 -- constant
    row = database.execute(query, name).fetchone()
    return None if row is None else Retire(*checked_retired(row))


def _all_named(database: sqlite3.Connection, names: Sequence[tuple[str, bytes]]) -> list[Retire]:
    return [row for name in names if (row := named(database, name)) is not None]
