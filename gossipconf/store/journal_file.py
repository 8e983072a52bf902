"""The journal as a file: its lock, its creation, and its inspection before it is trusted.

Knows the first bytes of a SQLite file and of its write-ahead log (WAL), and how to
open them so that nothing on disk changes. Does not know what the rows mean.

Two rules. A file that is not certainly ours and whole is looked at through bytes and
read-only connections alone, so a refused file stays byte for byte as it was (an
ordinary connection would replay and delete its WAL). A file comes into being by
rename, complete with its identity, so a crash while it is made leaves no file, or an
empty one, but never a half of one.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..model.errors import (
    JournalBusy,
    JournalCorrupt,
    JournalError,
    JournalForeign,
    JournalWriteFailed,
)
from .journal_schema import APPLICATION_ID, SCHEMA_VERSION, Identity, lay_out, text

PAGE_BYTES: Final = 4_096
"""One page of a common file system and disk: a page is written whole or not at all on most of them."""

WAL_PAGES_MAX: Final = 1_000
"""Pages after which the WAL is folded into the file: 4 MB, SQLite's own default."""

WAL_KEPT_BYTES: Final = WAL_PAGES_MAX * (PAGE_BYTES + 24) + 32
"""What is left of a WAL that one large transaction has grown, once it has been folded in."""

MEND: Final = "move the file aside and start again: the agent boots from its neighbours"

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_WAL_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")

_WRITE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)
_READ_CODES: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})


def beside(path: Path, ending: str) -> Path:
    """A companion of the file: ``-wal``, ``-shm``, ``-lock`` and the like, as SQLite names them."""
    return path.with_name(path.name + ending)


def corrupt(path: Path, why: str) -> JournalCorrupt:
    """The error for a damaged file, with the mend."""
    return JournalCorrupt(f"journal {path} is damaged ({why}); {MEND}")


@contextmanager
def translated(path: Path, *, writing: bool) -> Iterator[None]:
    """Turn what SQLite says of the disk into the error tree; our own faults pass through.

    Raises JournalCorrupt, JournalBusy, JournalWriteFailed (``writing``) or JournalError.
    """
    try:
        yield
    except sqlite3.Error as error:
        extended = getattr(error, "sqlite_errorcode", None)
        if extended is None:
            raise
        code = extended & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or extended in _READ_CODES:
            raise corrupt(path, str(error)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise JournalBusy(f"journal {path} is in use by another program: {error}") from error
        if code in _WRITE_CODES and writing:
            raise write_failed(path, str(error)) from error
        if code in _WRITE_CODES:
            raise JournalError(f"journal {path} cannot be read: {error}") from error
        raise


def write_failed(path: Path, why: str) -> JournalWriteFailed:
    """The error for a full or read-only disk, with the mend."""
    return JournalWriteFailed(
        f"journal {path} cannot be written: {why}; free space on its disk, or make it writable, and try again"
    )


def _unreadable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"journal {path} cannot be read: {error.strerror}; make it readable for this user")


# -- lock -----------------------------------------------------------------------------------------


class FileLock:
    """The claim of one journal object on one path, across processes and within this one.

    A file of its own, because closing any descriptor of the database would drop
    SQLite's own POSIX locks on it. The kernel releases it when the process dies.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, database: Path) -> FileLock:
        """Claim the path at once. Raises JournalBusy, or OSError where the lock file cannot be made."""
        path = beside(database, "-lock")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its last owner may have removed it between our open and our lock.
                if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                    return cls(path, descriptor)
            except FileNotFoundError:
                pass  # removed as above: make a new one
            except BlockingIOError as error:
                os.close(descriptor)
                raise JournalBusy(
                    f"journal {database} is in use by another agent; stop it, or give this one its own path"
                ) from error
            os.close(descriptor)

    def release(self) -> None:
        """Give the path up; the lock file goes first, while it is still ours."""
        if self._descriptor is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError:
                pass  # a directory that became read-only: an unlocked lock file harms nobody
            os.close(self._descriptor)
            self._descriptor = None


# -- inspection -----------------------------------------------------------------------------------


def is_absent(path: Path) -> bool:
    """True where a new journal may be made: no file, or an empty one that a crash left.

    Raises JournalForeign for what is no regular file, JournalCorrupt for an emptied journal.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise JournalForeign(f"journal {path} is not a regular file; give the journal another path")
    if found.st_size:
        return False
    if _size_bytes(beside(path, "-wal")):
        raise corrupt(path, "it is empty, but its write-ahead log is not")
    return True


def check_header(path: Path) -> None:
    """Judge a file by its first 100 bytes and its size alone. Raises JournalCorrupt or JournalForeign."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            size_bytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise corrupt(path, "it does not begin as a journal does")
    (pages,) = struct.unpack_from(">I", header, 28)
    (version,) = struct.unpack_from(">I", header, 60)
    (application,) = struct.unpack_from(">I", header, 68)
    if application != APPLICATION_ID:
        raise JournalForeign(f"journal {path} is another program's SQLite database; give the journal another path")
    if version != SCHEMA_VERSION:
        raise JournalForeign(
            f"journal {path} has schema version {version}, this release reads {SCHEMA_VERSION}; "
            f"run the release that wrote it, or {MEND}"
        )
    fixed = struct.pack(">HBBBBBB", PAGE_BYTES, 2, 2, 0, 64, 32, 32)
    if header[16:24] != fixed or header[44:48] != b"\0\0\0\4" or header[56:60] != b"\0\0\0\1":
        raise corrupt(path, "its header is altered")
    if header[72:92] != bytes(20):
        raise corrupt(path, "reserved bytes of its header are altered")
    if _size_bytes(beside(path, "-journal")):
        raise corrupt(path, "a rollback journal lies beside it, which no agent writes")
    # With a log to fold in, the size of the file may rightly differ.
    if not _size_bytes(beside(path, "-wal")) and size_bytes != pages * PAGE_BYTES:
        raise corrupt(path, f"it has {size_bytes} bytes where {pages * PAGE_BYTES} belong")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal so that neither it nor its WAL can change.

    To be closed by ``close_reader``. Raises JournalCorrupt for a damaged WAL, and sqlite3.Error.
    """
    if not _size_bytes(beside(path, "-wal")):
        return _connect(path, "immutable=1")
    if os.access(path.parent, os.W_OK):
        try:
            # A read-only descriptor cannot take the lock that folding the WAL in at close needs.
            database = _connect(path, "mode=ro")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _WRITE_CODES:
                raise
        else:
            try:
                _check_log(path)
            except BaseException:
                close_reader(path, database)
                raise
            return database
    # No room for shared memory: SQLite keeps the WAL's index on its heap, if it has the file to itself
    # (our own lock sees to that). Folding in still fails, for the descriptor is read-only.
    return _connect(path, "mode=ro&vfs=unix-none", "PRAGMA locking_mode = EXCLUSIVE")


def _connect(path: Path, options: str, first: str = "SELECT 1") -> sqlite3.Connection:
    database = sqlite3.connect(
        f"file:{quote(str(path))}?{options}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        database.text_factory = text
        database.execute(first)
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        close_reader(path, database)
        raise
    return database


def close_reader(path: Path, database: sqlite3.Connection) -> None:
    """Close a connection of ``connect_to_read`` and remove the shared memory that it left."""
    database.close()
    if os.access(path.parent, os.W_OK):
        beside(path, "-shm").unlink(missing_ok=True)


def _check_log(path: Path) -> None:
    """Refuse a WAL whose committed transactions SQLite would drop for a damaged frame.

    SQLite ends a WAL at the first frame that fails its checksum, and rightly so for
    the last transaction, cut off by a crash. But each commit was on disk before the
    next began, so two commits beyond that point mean damage. (Damage to the very last
    commit looks like a crash and is taken for one.)
    """
    with beside(path, "-wal").open("rb") as log:
        header = log.read(_WAL_HEADER.size)
        if not header.strip(b"\0") and not log.read(_FRAME_HEADER.size).strip(b"\0"):
            return  # a crash after the file grew and before its first bytes came
        if len(header) < _WAL_HEADER.size:
            raise corrupt(path, "its write-ahead log is cut short")
        magic, _, page_bytes, _, *salt_and_sum = _WAL_HEADER.unpack(header)
        order = ">" if magic & 1 else "<"
        if _sum_of_words(struct.unpack(f"{order}6I", header[:24])) != tuple(salt_and_sum[2:]):
            raise corrupt(path, "the header of its write-ahead log is altered")
        if page_bytes != PAGE_BYTES:
            raise corrupt(path, "its write-ahead log belongs to another file")
        # SQLite has just indexed the log; its index holds the last frame of the last whole transaction.
        (last_frame,) = struct.unpack_from("=I", beside(path, "-shm").read_bytes(), 16)
        position = _WAL_HEADER.size + last_frame * (_FRAME_HEADER.size + PAGE_BYTES)
        commits_beyond = 0
        while True:
            log.seek(position)
            frame = log.read(_FRAME_HEADER.size)
            if len(frame) < _FRAME_HEADER.size:
                break
            _, size_pages, *rest = _FRAME_HEADER.unpack(frame)
            commits_beyond += size_pages > 0 and rest[:2] == salt_and_sum[:2]
            position += _FRAME_HEADER.size + PAGE_BYTES
    if commits_beyond > 1:
        raise corrupt(path, "a committed part of its write-ahead log is altered")


def _sum_of_words(words: tuple[int, ...]) -> tuple[int, int]:
    """The WAL's checksum, as SQLite's file format defines it."""
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# -- creation and writing -------------------------------------------------------------------------


def create(path: Path, identity: Identity) -> None:
    """Make an empty journal, whole or not at all. Raises JournalWriteFailed."""
    new = beside(path, ".new")
    try:
        with translated(path, writing=True):
            _remove_all(new)
            os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            database = sqlite3.connect(f"file:{quote(str(new))}?mode=rw", uri=True, isolation_level=None)
            try:
                database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                lay_out(database, identity)
                database.execute("PRAGMA journal_mode = WAL")
            finally:
                database.close()
            log = beside(path, "-wal")
            if log.exists():
                # Of a file that was moved aside without it; SQLite would replay it into the new one.
                log.replace(beside(path, "-wal.orphan"))
            _sync(new, os.O_RDWR)
            new.replace(path)
            _sync(path.parent, os.O_RDONLY)
    except OSError as error:
        raise write_failed(path, str(error.strerror)) from error
    finally:
        try:
            _remove_all(new)
        except OSError:
            pass  # the error on its way out says why; the next creation removes it


def connect_to_write(path: Path) -> sqlite3.Connection:
    """Open an inspected journal for writing. Raises JournalWriteFailed, JournalCorrupt or JournalBusy."""
    try:
        os.close(os.open(path, os.O_RDWR))  # SQLite would fall back to reading without a word
    except OSError as error:
        raise write_failed(path, str(error.strerror)) from error
    with translated(path, writing=True):
        database = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            database.text_factory = text
            # Before the first read: then the WAL's index is on the heap and no `-shm` is made.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
            database.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except BaseException:
            database.close()
            raise
    return database


def _remove_all(new: Path) -> None:
    for ending in ("", "-journal", "-wal", "-shm"):
        beside(new, ending).unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
