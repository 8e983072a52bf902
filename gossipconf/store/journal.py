"""The journal: what an agent must find again after a crash, in one SQLite file.

Knows operations, batches and reads; each batch is one transaction that is on disk
when ``commit`` returns, and either whole or absent after any crash. Does not know
what a change is (its bytes are opaque), nor which thread calls it: it is synchronous
and takes one caller at a time.

``journal_ops`` has the operations, ``journal_file`` says how a file is inspected before it
is trusted, ``journal_schema`` how its rows prove that they are whole.

A full or read-only disk stops commits, not reads: a journal that cannot be written
opens for reading, and each commit tries again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from ..model.errors import InvalidInput, JournalError, JournalForeign, JournalWriteFailed
from . import journal_log
from .journal_file import (
    MEND,
    FileLock,
    beside,
    check_header,
    close_reader,
    connect_to_read,
    connect_to_write,
    corrupt,
    create,
    is_absent,
    translated,
    write_failed,
)
from .journal_log import Found, Place, Selection
from .journal_ops import DropChange, JournalOp, PutChange, PutMeta, Retire
from .journal_schema import (
    RETIRED_COLUMNS,
    Identity,
    RowDamaged,
    change_checksum,
    checked_change,
    checked_meta,
    checked_retired,
    meta_checksum,
    read_identity,
    retired_checksum,
    verify,
)

__all__ = ["DropChange", "Journal", "JournalOp", "PutChange", "PutMeta", "Retire"]

_READ_ROWS: Final = 1_000
"""Rows read at a time: no statement stays open between them, so reads and commits may take turns."""

_NEWEST_FIRST: Final = "ORDER BY retired_ms DESC, time_ms DESC, version_id DESC, key DESC"


class Journal:
    """One open journal. Use ``Journal.open``; close it, or use it as a context manager."""

    __slots__ = ("_database", "_lock", "_path", "_writable")

    def __init__(self, path: Path, lock: FileLock | None, database: sqlite3.Connection) -> None:
        self._path = path
        self._lock = lock
        self._database = database
        self._writable = False

    @classmethod
    def open(cls, path: Path, *, cluster_id: bytes, node_id: str) -> Journal:
        """Open the journal of this node at ``path``, making it where there is none.

        The whole file is verified first: about 0.4 s for 100 MB. Raises JournalCorrupt
        for damage, JournalForeign for another program's, cluster's, node's or release's
        file (in both cases nothing on disk has changed), JournalBusy if it is open
        elsewhere, JournalWriteFailed if it does not exist and cannot be made, and
        JournalError if it cannot be read. One that cannot be written opens for reading.
        """
        path = Path(os.path.realpath(path))
        lock: FileLock | None = None
        try:
            lock = FileLock.acquire(path)
        except OSError as error:
            if is_absent(path):
                raise write_failed(path, str(error.strerror)) from error
            # Nobody can write where no lock can be made: read on without one.
        try:
            identity = Identity(cluster_id=cluster_id, node_id=node_id)
            if is_absent(path):
                create(path, identity)
            check_header(path)
            journal = cls(path, lock, _inspected(path, identity))
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        try:
            journal._become_writable()
        except JournalWriteFailed:
            pass  # serving goes on from a full or read-only disk; commit says so
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def path(self) -> Path:
        """The file, with symbolic links resolved."""
        return self._path

    def size_bytes(self) -> int:
        """Bytes on disk: the file and its write-ahead log."""
        log = beside(self._path, "-wal")
        return self._path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    # -- writing ----------------------------------------------------------------------------------

    def commit(self, ops: Sequence[JournalOp]) -> None:
        """Apply the operations in order, as one transaction that is on disk on return.

        Raises JournalWriteFailed (disk full or read-only) or JournalCorrupt; then nothing
        of the batch is kept, and after JournalWriteFailed the journal stays usable.
        """
        if not ops:
            return
        with self._transaction():
            count = total = 0
            for op in ops:
                added, summed = self._apply(op)
                count += added
                total += summed
            self._tally(count, total)

    def fill(self, changes: Sequence[tuple[bytes, bytes]], meta: Sequence[PutMeta] = ()) -> None:
        """Write (change id, bytes) pairs and named state into a journal that holds no change, as one transaction.

        Raises InvalidInput if it holds one, and as ``commit`` does.
        """
        if not self.is_empty():
            raise InvalidInput(f"journal {self._path} holds changes already; only an empty one can be filled")
        rows = [(change_id, change_checksum(change_id, data), data) for change_id, data in changes]
        with self._transaction():
            self._database.executemany("INSERT INTO changes VALUES (?, ?, ?)", rows)
            tallies = [self._apply(op) for op in meta]
            count, total = len(rows) + sum(one for one, _ in tallies), sum(row[1] for row in rows)
            self._tally(count, total + sum(summed for _, summed in tallies))

    def expire_history(self, before_ms: int, *, batch: int = 1_000) -> int:
        """Delete the oldest of what was retired before this Unix time, at most ``batch`` rows, in one transaction.

        Returns how many rows went; 0 when none is left. Raises as ``commit`` does.
        """
        if batch < 1:
            raise InvalidInput(f"batch of history to expire is {batch}; it must be at least 1")
        with self._reading():
            rows = self._database.execute(
                "SELECT key, version_id, checksum FROM retired WHERE retired_ms < ? ORDER BY retired_ms LIMIT ?",
                (before_ms, batch),
            ).fetchall()
        if rows:
            with self._transaction():
                self._database.executemany(
                    "DELETE FROM retired WHERE key = ? AND version_id = ?", [row[:2] for row in rows]
                )
                self._tally(-len(rows), -sum(row[2] for row in rows))
        return len(rows)

    # -- reading ----------------------------------------------------------------------------------

    def changes(self) -> Iterator[bytes]:
        """The bytes of every kept change, in order of change id. Raises JournalCorrupt."""
        after = b""
        comparison = ">="  # for the first page: an empty id comes before all others
        while True:
            with self._reading():
                rows = [
                    checked_change(row)
                    for row in self._database.execute(
                        "SELECT change_id, data, checksum FROM changes"  # noqa: S608 -- two constants
                        f" WHERE change_id {comparison} ? ORDER BY change_id LIMIT ?",
                        (after, _READ_ROWS),
                    )
                ]
            yield from (data for _, data in rows)
            if len(rows) < _READ_ROWS:
                return
            after, comparison = rows[-1][0], ">"

    def is_empty(self) -> bool:
        """Whether no change is kept. Raises JournalCorrupt."""
        with self._reading():
            return self._database.execute("SELECT 1 FROM changes LIMIT 1").fetchone() is None

    def meta(self) -> dict[str, bytes]:
        """All named state. Raises JournalCorrupt."""
        with self._reading():
            return dict(
                checked_meta(row)
                for row in self._database.execute("SELECT name, value, checksum FROM meta ORDER BY name")
            )

    def retired(self, key: str, version_id: bytes) -> Retire | None:
        """A version of history, or None if that has it not, or no more. Raises JournalCorrupt."""
        with self._reading():
            return journal_log.named(self._database, (key, version_id))

    def history_after(self, place: tuple[str, bytes], *, key: str | None = None, limit: int) -> list[Retire]:
        """At most ``limit`` retired versions after ``place``, by key and version id; with ``key`` of this key only.

        For who reads all of history and holds up nobody. Raises InvalidInput and JournalCorrupt.
        """
        _check_limit(limit)
        where, values = ("", []) if key is None else ("AND key = ?", [key])
        with self._reading():
            rows = self._database.execute(
                f"SELECT {RETIRED_COLUMNS} FROM retired"  # noqa: S608 -- constants
                f" WHERE (key, version_id) > (?, ?) {where} ORDER BY key, version_id LIMIT ?",
                [*place, *values, limit],
            )
            return [Retire(*checked_retired(row)) for row in rows]

    def retired_headers(self, limit: int) -> list[tuple[bytes, int, bytes, bytes]]:
        """(writer, seq, change_id, data) of the last retired version of each change, newest first.

        At most ``limit`` changes. Raises InvalidInput and JournalCorrupt.
        """
        _check_limit(limit)
        newest: dict[bytes, tuple[str, bytes]] = {}
        headers = []
        with self._reading():
            walk = self._database.execute(
                f"SELECT change_id, key, version_id FROM retired {_NEWEST_FIRST}"  # noqa: S608
            )
            try:
                while len(newest) < limit and (row := walk.fetchone()) is not None:
                    newest.setdefault(row[0], (row[1], row[2]))
            finally:
                walk.close()
            for name in newest.values():
                version = journal_log.named(self._database, name)
                if version is None:
                    raise RowDamaged("the index of history names a row that is not there")
                headers.append((version.writer, version.seq, version.change_id, version.data))
        return headers

    def log_places(self, chosen: Selection, before: Place | None = None, *, limit: int) -> list[Place]:
        """Where at most ``limit`` changes stand that have such retired versions, the last signed first.

        Those before the place ``before`` if that is given. Raises InvalidInput and JournalCorrupt.
        """
        _check_limit(limit)
        with self._reading():
            return journal_log.places(self._database, chosen, before, limit)

    def log_rows(
        self, chosen: Selection, change_ids: Sequence[bytes], *, limit: int | None = None
    ) -> dict[bytes, Found]:
        """Of each of these changes such retired versions, the bytes of at most ``limit``. Raises JournalCorrupt."""
        with self._reading():
            return journal_log.rows(self._database, chosen, change_ids, limit)

    def log_writers(self) -> list[Retire]:
        """One retired version of each writer. Raises JournalCorrupt."""
        with self._reading():
            return journal_log.writers(self._database)

    def log_named(self, start: str) -> list[bytes]:
        """Ids, beginning with the hex digits ``start``, of changes with retired versions. Raises JournalCorrupt."""
        with self._reading():
            return journal_log.starting_with(self._database, start)

    # -- closing ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Fold the write-ahead log into the file where there is room, and give the path up. Idempotent."""
        if self._writable:
            self._database.close()
        else:
            close_reader(self._path, self._database)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside -----------------------------------------------------------------------------------

    def _become_writable(self) -> None:
        """Change the read-only connection for one that writes, or leave all as it is and raise."""
        if self._lock is None:
            try:
                self._lock = FileLock.acquire(self._path)
            except OSError as error:
                raise write_failed(self._path, str(error.strerror)) from error
        close_reader(self._path, self._database)  # its read lock would bar the writer
        try:
            self._database = connect_to_write(self._path)
        except JournalError:
            with translated(self._path, writing=False):
                self._database = connect_to_read(self._path)
            raise
        self._writable = True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self._writable:
            self._become_writable()
        with translated(self._path, writing=True):
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite has rolled back by itself after some errors
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with translated(self._path, writing=False):
                yield
        except RowDamaged as error:
            raise corrupt(self._path, str(error)) from error

    def _apply(self, op: JournalOp) -> tuple[int, int]:
        """Do one operation; returns by how much the count and the sum of checksums changed."""
        execute = self._database.execute
        match op:
            case PutChange(change_id, data):
                before = execute("SELECT checksum FROM changes WHERE change_id = ?", (change_id,)).fetchone()
                checksum = change_checksum(change_id, data)
                execute("INSERT OR REPLACE INTO changes VALUES (?, ?, ?)", (change_id, checksum, data))
            case DropChange(change_id):
                before = execute("SELECT checksum FROM changes WHERE change_id = ?", (change_id,)).fetchone()
                execute("DELETE FROM changes WHERE change_id = ?", (change_id,))
                return (-1, -before[0]) if before else (0, 0)
            case PutMeta(name, value):
                before = execute("SELECT checksum FROM meta WHERE name = ?", (name,)).fetchone()
                checksum = meta_checksum(name, value)
                execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (name, checksum, value))
            case Retire():
                fields = (
                    op.version_id,
                    op.change_id,
                    op.key,
                    op.variant,
                    op.writer,
                    op.seq,
                    op.time_ms,
                    op.retired_ms,
                    op.data,
                )
                before = execute(
                    "SELECT checksum FROM retired WHERE key = ? AND version_id = ?", (op.key, op.version_id)
                ).fetchone()
                if before:
                    return (0, 0)  # met again: when it was retired first is what counts, and when it may expire
                checksum = retired_checksum(*fields)
                execute(
                    f"INSERT INTO retired ({RETIRED_COLUMNS})"  # noqa: S608 -- constant
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*fields, checksum),
                )
        return (0, checksum - before[0]) if before else (1, checksum)

    def _tally(self, count: int, total: int) -> None:
        self._database.execute("UPDATE journal SET row_count = row_count + ?, row_sum = row_sum + ?", (count, total))


def _inspected(path: Path, identity: Identity) -> sqlite3.Connection:
    """A connection that only reads, to a file found ours and whole. Raises as ``Journal.open`` says."""
    try:
        with translated(path, writing=False):
            database = connect_to_read(path)
            try:
                found = read_identity(database)
                if found.cluster_id != identity.cluster_id:
                    raise JournalForeign(f"journal {path} is another cluster's; {MEND}")
                if found != identity:
                    raise JournalForeign(
                        f"journal {path} is of node {found.node_id!r}, not of {identity.node_id!r}; "
                        f"correct the node's id or the path, or {MEND}"
                    )
                verify(database)
            except BaseException:
                close_reader(path, database)
                raise
            return database
    except (RowDamaged, sqlite3.Error) as error:  # what has no other name yet: SQL that met altered tables
        raise corrupt(path, str(error)) from error


def _check_limit(limit: int) -> None:
    if limit < 0:
        raise InvalidInput(f"limit of history is {limit}; it must not be negative")
