"""The journal meets damaged files and the files of others: refused, and left byte for byte."""

from __future__ import annotations

import os
import random
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gossipconf.model.errors import (
    JournalCorrupt,
    JournalForeign,
)
from gossipconf.store.journal import DropChange, PutMeta
from gossipconf.store.journal_file import PAGE_BYTES, beside
from tests.store.journal_cases import (
    BATCHES,
    contents,
    files,
    killed_while,
    open_at,
    put,
    refused,
    retire,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# -- damage ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, tuple[Any, ...]]:
    """The bytes of a closed journal of some 60 pages, and what it holds."""
    path = tmp_path_factory.mktemp("whole") / "journal.db"
    source = random.Random(1)
    with open_at(path) as journal:
        journal.commit([put(number, source.randbytes(source.randrange(100, 900))) for number in range(150)])
        journal.commit([put(1_000, source.randbytes(30_000)), PutMeta("book", source.randbytes(9_000))])
        journal.commit([retire(number, f"k/{number % 7}", number) for number in range(250)])
        journal.commit([DropChange(put(number).change_id) for number in range(60)])  # some free pages
        expected = contents(journal)
    return path.read_bytes(), expected


def test_an_altered_byte_of_any_page_is_refused_or_changes_nothing(
    path: Path, whole: tuple[bytes, tuple[Any, ...]]
) -> None:
    data, expected = whole
    pages = len(data) // PAGE_BYTES
    assert pages > 40
    source = random.Random(2)
    refusals = 0
    for page in range(pages):
        offsets = [0, 1, 3, 5, 8, 9, PAGE_BYTES - 1] + [source.randrange(PAGE_BYTES) for _ in range(5)]
        for offset in offsets:
            altered = bytearray(data)
            altered[page * PAGE_BYTES + offset] ^= 1 << source.randrange(8)
            path.write_bytes(altered)
            try:
                journal = open_at(path)
            except (JournalCorrupt, JournalForeign):
                refusals += 1
                assert files(path.parent) == {"journal.db": bytes(altered)}
            else:
                assert contents(journal) == expected, "an accepted alteration changes nothing"
                journal.close()
    assert refusals > pages * 5


@pytest.mark.parametrize("how", ["inverted", "zeroed", "another's"])
def test_a_page_that_is_wholly_wrong_is_refused(path: Path, whole: tuple[bytes, tuple[Any, ...]], how: str) -> None:
    data, _ = whole
    free = free_pages(data)
    assert free, "the file should have free pages to leave out"
    for page in set(range(len(data) // PAGE_BYTES)) - free:
        start = page * PAGE_BYTES
        old = data[start : start + PAGE_BYTES]
        other = (page + 1) % (len(data) // PAGE_BYTES) * PAGE_BYTES
        new = {
            "inverted": bytes(byte ^ 0xFF for byte in old),
            "zeroed": bytes(PAGE_BYTES),
            "another's": data[other : other + PAGE_BYTES],
        }[how]
        path.write_bytes(data[:start] + new + data[start + PAGE_BYTES :])
        refused(path, JournalCorrupt)


def free_pages(data: bytes) -> set[int]:
    """Numbers from 0 of the pages on the free list that hold nothing (its leaves)."""
    found = set()
    (trunk,) = struct.unpack_from(">I", data, 32)
    while trunk:
        start = (trunk - 1) * PAGE_BYTES
        trunk, count = struct.unpack_from(">II", data, start)
        found |= {leaf - 1 for leaf in struct.unpack_from(f">{count}I", data, start + 8)}
    return found


@pytest.mark.parametrize("keep", [1, 15, 99, 100, 512, PAGE_BYTES - 1, PAGE_BYTES, 5 * PAGE_BYTES, -1, -PAGE_BYTES])
def test_a_truncated_file_is_refused(path: Path, whole: tuple[bytes, tuple[Any, ...]], keep: int) -> None:
    path.write_bytes(whole[0][:keep])
    assert "move the file aside and start again" in refused(path, JournalCorrupt)


@pytest.mark.parametrize("garbage", [b"\0", b"\0" * PAGE_BYTES, b"key = value\n" * 400, b"\0" * 100, b"\n"])
def test_a_file_of_something_else_is_refused(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    assert "the agent boots from its neighbours" in refused(path, JournalCorrupt)


def test_a_file_with_bytes_appended_is_refused(path: Path, whole: tuple[bytes, tuple[Any, ...]]) -> None:
    path.write_bytes(whole[0] + bytes(PAGE_BYTES))
    refused(path, JournalCorrupt)


def test_an_emptied_file_beside_its_log_is_refused(path: Path) -> None:
    killed_while(path, BATCHES, 5, 10)
    path.write_bytes(b"")
    refused(path, JournalCorrupt)


def test_damage_under_a_hot_log_is_refused_and_nothing_replayed(path: Path) -> None:
    killed_while(path, BATCHES, 700, 1_500)
    data = path.read_bytes()
    assert len(data) > 100 * PAGE_BYTES, "part of it has been folded in, part is in the log"
    assert beside(path, "-wal").stat().st_size > 0
    damaged = 0
    for page in range(0, len(data) // PAGE_BYTES, 97):
        start = page * PAGE_BYTES + (200 if page == 0 else 0)
        path.write_bytes(data[:start] + bytes(64) + data[start + 64 :])
        beside(path, "-lock").unlink(missing_ok=True)
        before = files(path.parent)
        try:
            journal = open_at(path)
        except JournalCorrupt:
            damaged += 1
            assert files(path.parent) == before
        else:  # the log holds a newer copy of this page
            assert journal.meta() == {"last": b"699"}
            journal.close()
            for name, bytes_before in before.items():
                path.with_name(name).write_bytes(bytes_before)
    assert damaged > 3


@pytest.mark.parametrize("offset", [0, 9, 17, 25, 32 + 9, 32 + 20, 32 + 24 + 500, 32 + 4_120 * 5 + 77])
def test_an_altered_log_is_refused(path: Path, offset: int) -> None:
    killed_while(path, BATCHES, 20, 10)
    log = beside(path, "-wal")
    altered = bytearray(log.read_bytes())
    altered[offset] ^= 0x10
    log.write_bytes(altered)
    refused(path, JournalCorrupt)


def test_another_journals_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = tmp_path / "one" / "journal.db", tmp_path / "two" / "journal.db"
    for path, data in ((one, b"x" * 900), (two, b"y" * 900)):
        with open_at(path) as journal:
            journal.commit([put(number, data) for number in range(300)])
    killed_while(one, BATCHES, 20, 3_000)
    beside(one, "-wal").rename(beside(two, "-wal"))
    refused(two, JournalCorrupt)


def test_damage_found_while_open(path: Path) -> None:
    with open_at(path) as journal:
        journal.commit([put(number, b"y" * 900) for number in range(3_000)])
        journal._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal._database.execute("PRAGMA shrink_memory")
        journal._database.execute("PRAGMA cache_size = 0")
        with path.open("r+b") as file:
            file.seek(2 * PAGE_BYTES)
            file.write(os.urandom(path.stat().st_size - 2 * PAGE_BYTES))
        with pytest.raises(JournalCorrupt, match="damaged"):
            list(journal.changes())
        with pytest.raises(JournalCorrupt, match=r"journal\.db"):
            journal.commit([put(number) for number in range(3_000)])


def test_an_altered_row_found_while_open(path: Path) -> None:
    with open_at(path) as journal:
        journal.commit([put(1), PutMeta("book", b"1"), retire(1)])
        for table, column in (("changes", "data"), ("meta", "value"), ("retired", "data")):
            journal._database.execute(f"UPDATE {table} SET {column} = x'00'")
        for read in (
            lambda: list(journal.changes()),
            journal.meta,
            lambda: journal.history_after(("", b""), limit=1),
            lambda: journal.retired_headers(1),
        ):
            with pytest.raises(JournalCorrupt, match="checksum"):
                read()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM changes WHERE change_id = (SELECT min(change_id) FROM changes)",
        "UPDATE meta SET name = 'other'",
        "UPDATE retired SET retired_ms = 5",
        "UPDATE retired SET key = CAST(key AS BLOB)",
        "UPDATE journal SET row_sum = row_sum + 1",
        "DELETE FROM journal",
        "DROP INDEX retired_by_time",
        "CREATE TABLE more (a)",
    ],
)
def test_rows_lost_or_altered_behind_our_back_are_refused(path: Path, statement: str) -> None:
    with open_at(path) as journal:
        journal.commit([put(1), put(2), PutMeta("book", b"1"), retire(1)])
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(statement)
    database.close()
    refused(path, JournalCorrupt)


# -- strangers' files -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("hot", [False, True])
def test_another_programs_database_is_refused(path: Path, mode: str, hot: bool) -> None:
    program = (
        "import os, signal, sqlite3, sys\n"
        "d = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "d.execute('PRAGMA journal_mode = ' + sys.argv[2])\n"
        "d.execute('CREATE TABLE theirs (a)')\n"
        "d.execute('INSERT INTO theirs VALUES (zeroblob(100000))')\n"
        "if sys.argv[3] == 'True':\n"
        "    d.execute('PRAGMA cache_size = 1')\n"
        "    d.execute('BEGIN')\n"
        "    d.execute('INSERT INTO theirs VALUES (zeroblob(1000000))')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "d.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, path, mode, str(hot)], check=False)
    assert (len(files(path.parent)) > 1) == hot
    assert "another program's" in refused(path, JournalForeign)


@pytest.mark.parametrize("hot", [False, True])
def test_another_clusters_and_another_nodes_journal_are_refused(path: Path, hot: bool) -> None:
    if hot:
        killed_while(path, BATCHES, 5, 10)
    else:
        open_at(path).close()
    message = refused(path, JournalForeign, cluster_id=bytes(32))
    assert "another cluster's" in message
    assert "move the file aside and start again" in message
    message = refused(path, JournalForeign, node_id="checkout-8")
    assert "'checkout-7', not of 'checkout-8'" in message


@pytest.mark.parametrize("version", [0, 2])
def test_another_schema_version_is_refused(path: Path, version: int) -> None:
    open_at(path).close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    assert f"schema version {version}" in refused(path, JournalForeign)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("directory", "pipe"):
        with pytest.raises(JournalForeign, match=f"{name} is not a regular file"):
            open_at(tmp_path / name)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["directory", "pipe"]
