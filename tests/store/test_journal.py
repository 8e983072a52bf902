"""The journal under ordinary use, crashes, rivals, and full or read-only disks."""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.errors import (
    InvalidInput,
    JournalBusy,
    JournalWriteFailed,
)
from gossipconf.store.journal import DropChange, Journal, JournalOp, PutChange, PutMeta, Retire
from gossipconf.store.journal_file import PAGE_BYTES, WAL_KEPT_BYTES, beside
from tests.store.journal_cases import (
    BATCHES,
    CLUSTER,
    ROOT,
    contents,
    files,
    killed_while,
    open_at,
    put,
    retire,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# -- ordinary use ---------------------------------------------------------------------------------


def test_what_is_committed_is_there_after_reopening(path: Path) -> None:
    with open_at(path) as journal:
        assert contents(journal) == ([], {}, [], [])
        journal.commit([put(1), put(2), PutMeta("book", b"\x00\xff"), retire(1)])
        journal.commit([put(1, b"again"), DropChange(put(2).change_id), DropChange(b"never there")])
        journal.commit([])
        expected = contents(journal)
        assert expected == (
            [b"again"],
            {"book": b"\x00\xff"},
            [retire(1)],
            [(b"w" * 40, 1, retire(1).change_id, b"data 1")],
        )
        assert journal.path == path
        assert journal.size_bytes() > 4 * PAGE_BYTES
    assert list(files(path.parent)) == ["journal.db"], "a clean close leaves the one file"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with open_at(path) as journal:
        assert contents(journal) == expected


def test_an_empty_journal_is_filled_at_once_and_no_other(path: Path) -> None:
    rows = [(put(number).change_id, put(number).data) for number in range(50)]
    with open_at(path) as journal:
        journal.commit([PutMeta("book", b"1"), retire(1)])
        assert journal.is_empty(), "it holds no change"
        journal.fill(rows, [PutMeta("book", b"2"), PutMeta("more", b"3")])
        assert not journal.is_empty()
        with pytest.raises(InvalidInput, match="holds changes already"):
            journal.fill(rows)
        journal.commit([put(0, b"after")])
    with open_at(path) as journal:  # which verifies every row and the tally
        assert sorted(journal.changes()) == sorted([b"after", *(data for _, data in rows[1:])])
        assert journal.meta() == {"book": b"2", "more": b"3"}


def test_a_filling_that_fails_leaves_nothing(path: Path) -> None:
    row = (put(1).change_id, put(1).data)
    with open_at(path) as journal:
        with pytest.raises(sqlite3.IntegrityError):
            journal.fill([row, row], [PutMeta("book", b"1")])
        assert contents(journal) == ([], {}, [], [])
    open_at(path).close()


ids = st.binary(max_size=3)
blobs = st.binary(max_size=40)
keys = st.sampled_from(["a", "a/b", "a/bc", "a/b/c", "a/b0", "a/b.", "b", "é/ü"])
small = st.integers(0, 3)
operations = st.one_of(
    st.builds(PutChange, ids, blobs),
    st.builds(DropChange, ids),
    st.builds(PutMeta, st.text("ab", max_size=2), blobs),
    st.builds(Retire, ids, ids, keys, st.sampled_from(["", "canary"]), ids, small, small, small, blobs),
)
steps = st.lists(
    st.one_of(
        st.lists(operations, max_size=8),
        st.just("reopen"),
        st.tuples(st.just("expire"), small, st.integers(1, 3)),
    ),
    max_size=12,
)


class Model:
    """The journal as three dictionaries."""

    def __init__(self) -> None:
        self.changes: dict[bytes, bytes] = {}
        self.meta: dict[str, bytes] = {}
        self.retired: dict[tuple[str, bytes], Retire] = {}

    def apply(self, op: JournalOp) -> None:
        match op:
            case PutChange(change_id, data):
                self.changes[change_id] = data
            case DropChange(change_id):
                self.changes.pop(change_id, None)
            case PutMeta(name, value):
                self.meta[name] = value
            case Retire():
                self.retired.setdefault((op.key, op.version_id), op)

    def newest(self) -> list[Retire]:
        order = lambda v: (v.retired_ms, v.time_ms, v.version_id, v.key.encode())  # noqa: E731
        return sorted(self.retired.values(), key=order, reverse=True)

    def headers(self) -> list[tuple[bytes, int, bytes, bytes]]:
        first: dict[bytes, Retire] = {}
        for version in self.newest():
            first.setdefault(version.change_id, version)
        return [(v.writer, v.seq, v.change_id, v.data) for v in first.values()]

    def check(self, journal: Journal) -> None:
        assert list(journal.changes()) == [self.changes[i] for i in sorted(self.changes)]
        assert journal.meta() == self.meta
        newest = self.newest()
        assert [journal.retired(v.key, v.version_id) for v in newest] == newest
        assert journal.retired("a/b", b"of another key") is None
        by_place = sorted(newest, key=lambda v: (v.key.encode(), v.version_id))
        assert journal.history_after(("", b""), limit=99) == by_place
        assert journal.history_after(("", b""), limit=2) == by_place[:2]
        for place in by_place[:3]:
            later = journal.history_after((place.key, place.version_id), limit=99)
            assert later == by_place[by_place.index(place) + 1 :]
        assert journal.history_after(("", b""), key="a/b", limit=99) == [v for v in by_place if v.key == "a/b"]
        assert journal.retired_headers(99) == self.headers()
        assert journal.retired_headers(2) == self.headers()[:2]


@settings(max_examples=60, deadline=None)
@given(steps)
def test_any_operations_and_reopenings_match_dictionaries(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("model") / "journal.db"
    model = Model()
    journal = open_at(path)
    try:
        for step in steps:
            if step == "reopen":
                journal.close()
                journal = open_at(path)
            elif isinstance(step, list):
                journal.commit(step)
                for op in step:
                    model.apply(op)
            else:
                _, before_ms, batch = step
                old = [name for name, version in model.retired.items() if version.retired_ms < before_ms]
                gone = list(iter(lambda: journal.expire_history(before_ms, batch=batch), 0))  # noqa: B023
                assert sum(gone) == len(old)
                assert all(count <= batch for count in gone)
                for name in old:
                    del model.retired[name]
            model.check(journal)
    finally:
        journal.close()
    with open_at(path) as journal:  # the tally must still hold
        model.check(journal)


def test_reading_changes_takes_turns_with_commits(path: Path) -> None:
    with open_at(path) as journal:
        journal.commit([put(number) for number in range(2_500)])
        reading = journal.changes()
        first = next(reading)
        journal.commit([PutMeta("meanwhile", b"1")])
        assert sorted([first, *reading]) == sorted(put(number).data for number in range(2_500))
        next(journal.changes())  # an abandoned reading holds nothing up
    with open_at(path) as journal:
        assert journal.meta() == {"meanwhile": b"1"}


def test_arguments_that_make_no_sense_are_refused(path: Path) -> None:
    with open_at(path) as journal:
        with pytest.raises(InvalidInput, match="-1"):
            journal.history_after(("", b""), limit=-1)
        with pytest.raises(InvalidInput, match="-2"):
            journal.retired_headers(-2)
        with pytest.raises(InvalidInput, match="at least 1"):
            journal.expire_history(1, batch=0)


def test_our_own_fault_escapes_and_keeps_nothing_of_the_batch(path: Path) -> None:
    with open_at(path) as journal:
        journal.commit([put(1)])
        with pytest.raises(TypeError):
            journal.commit([put(2), PutChange(b"x", None)])  # type: ignore[arg-type]
        assert list(journal.changes()) == [put(1).data]
        journal.commit([put(3)])
    with open_at(path) as journal:
        assert sorted(journal.changes()) == [put(1).data, put(3).data]


def test_the_log_stays_bounded(path: Path) -> None:
    with open_at(path) as journal:
        journal.commit([put(number, os.urandom(1_000)) for number in range(20_000)])
        assert beside(path, "-wal").stat().st_size > 4 * WAL_KEPT_BYTES
        for number in range(3):
            journal.commit([put(number)])
        assert beside(path, "-wal").stat().st_size <= WAL_KEPT_BYTES


# -- crashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_leaves_every_committed_batch_and_no_partial_one(path: Path, seed: int) -> None:
    """Killed from without, at a moment that it does not choose, between or within commits."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom gossipconf.store.journal import *\n"
        f"journal = Journal.open(Path({str(path)!r}), cluster_id={CLUSTER!r}, node_id='checkout-7')\n"
        "for number in range(100_000):\n"
        "    rows = [PutChange(b'%d/%d' % (number, row), b'%d' % number + b'x' * 3000) for row in range(3)]\n"
        "    journal.commit([*rows, PutMeta('last', b'%d' % number)])\n"
        "    print(number, flush=True)\n"
    )
    wanted = random.Random(seed).randrange(1, 300)
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == wanted:
                process.kill()
                break
        acknowledged = int(([wanted, *map(int, process.stdout.read().split())])[-1])
    assert beside(path, "-wal").stat().st_size > 0, "the log is hot"
    with open_at(path) as journal:
        last = int(journal.meta()["last"])
        assert acknowledged <= last <= acknowledged + 1
        counts: dict[int, int] = {}
        for data in journal.changes():
            number = int(data.rstrip(b"x"))
            counts[number] = counts.get(number, 0) + 1
        assert counts == dict.fromkeys(range(last + 1), 3)


def test_a_killed_creation_does_not_brick(path: Path) -> None:
    path.touch()
    beside(path, ".new").write_bytes(b"half a database")
    beside(path, ".new-journal").write_bytes(b"and its journal")
    beside(path, "-wal").touch()
    with open_at(path) as journal:
        journal.commit([put(1)])
    with open_at(path) as journal:
        assert list(journal.changes()) == [put(1).data]
    assert not beside(path, ".new").exists()


def test_killed_right_after_creation(path: Path) -> None:
    killed_while(path, "")
    with open_at(path) as journal:
        assert contents(journal) == ([], {}, [], [])


def test_an_uncommitted_tail_of_the_log_is_dropped(path: Path) -> None:
    """What a power cut may leave: the last transaction cut off, or its last bytes wrong."""
    killed_while(path, BATCHES, 5, 10)
    log = beside(path, "-wal")
    log.write_bytes(log.read_bytes()[:-100])
    with open_at(path) as journal:
        assert journal.meta() == {"last": b"3"}


def test_a_log_left_by_a_file_moved_aside_is_not_replayed(path: Path) -> None:
    killed_while(path, BATCHES, 5, 10)
    log = beside(path, "-wal").read_bytes()
    path.rename(beside(path, ".aside"))
    with open_at(path) as journal:
        assert contents(journal) == ([], {}, [], [])
    assert beside(path, "-wal.orphan").read_bytes() == log, "it may hold what somebody still wants"


# -- one at a time --------------------------------------------------------------------------------


def test_a_second_open_is_refused_at_once(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with open_at(path) as journal:
        for name in (path, link):
            with pytest.raises(JournalBusy, match=r"journal\.db is in use"):
                open_at(name)
        program = (
            "import sys\nfrom pathlib import Path\nfrom gossipconf.store.journal import Journal\n"
            "from gossipconf.model.errors import JournalBusy\n"
            "try:\n"
            f"    Journal.open(Path(sys.argv[1]), cluster_id={CLUSTER!r}, node_id='checkout-7')\n"
            "except JournalBusy as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, path], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert f"journal {path} is in use" in done.stdout
        journal.commit([put(1)])  # the refused ones have not disturbed it
    with open_at(path) as journal:
        assert list(journal.changes()) == [put(1).data]


def test_another_program_in_the_database_makes_it_busy(path: Path) -> None:
    open_at(path).close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalBusy, match="another program"):
        open_at(path)
    database.execute("ROLLBACK")
    database.close()
    open_at(path).close()


def test_close_is_idempotent_and_frees_the_path(path: Path) -> None:
    journal = open_at(path)
    journal.close()
    journal.close()
    open_at(path).close()


# -- full and read-only disks ---------------------------------------------------------------------


def test_a_full_database_keeps_nothing_of_the_batch_and_goes_on(path: Path) -> None:
    with open_at(path) as journal:
        journal.commit([put(1)])
        (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
        journal._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalWriteFailed, match="free space"):
            journal.commit([put(2), put(3, b"z" * 100_000)])
        assert list(journal.changes()) == [put(1).data]
        journal._database.execute("PRAGMA max_page_count = 1000000")
        journal.commit([put(4)])
    with open_at(path) as journal:
        assert sorted(journal.changes()) == [put(1).data, put(4).data]


def test_a_directory_that_is_missing_cannot_take_a_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalWriteFailed, match="No such file or directory"):
        open_at(tmp_path / "missing" / "journal.db")


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs takes root: NOT TESTED HERE")
READ_ONLY, REMOUNT = 1, 32  # MS_RDONLY, MS_REMOUNT of mount(2)


def mount(target: Path, flags: int = 0, options: str = "") -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, options.encode()) != 0:
        code = ctypes.get_errno()
        if flags == 0:
            pytest.skip(f"cannot mount a tmpfs here ({os.strerror(code)}): NOT TESTED HERE")
        raise OSError(code, os.strerror(code))


@contextmanager
def small_disk(target: Path, size: str) -> Iterator[Path]:
    """A tmpfs of so many bytes, for as long as the context lasts."""
    target.mkdir()
    mount(target, options=f"size={size}")
    try:
        yield target
    finally:
        assert ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(target), 0) == 0


@root_only
def test_a_full_disk_stops_commits_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk, open_at(disk / "journal.db") as journal:
        kept: list[bytes] = []
        with pytest.raises(JournalWriteFailed, match=r"journal\.db cannot be written"):  # noqa: PT012
            for number in range(1_000):
                journal.commit([put(number, b"%d" % number + b"z" * 20_000), PutMeta("n", b"%d" % number)])
                kept.append(put(number, b"%d" % number + b"z" * 20_000).data)
        assert len(kept) > 3
        assert sorted(journal.changes()) == sorted(kept)
        journal.close()
        with open_at(disk / "journal.db") as reopened:  # a full disk does not stop serving
            assert sorted(reopened.changes()) == sorted(kept)
            assert reopened.meta() == {"n": b"%d" % (len(kept) - 1)}
            mount(disk, REMOUNT, "size=8m")
            reopened.commit([put(5_000, b"room")])
            kept.append(b"room")
        with open_at(disk / "journal.db") as reopened:
            assert sorted(reopened.changes()) == sorted(kept)


@root_only
def test_a_full_disk_cannot_take_a_new_journal(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):  # noqa: PT012
            while True:
                file.write(bytes(PAGE_BYTES))
        with pytest.raises(JournalWriteFailed, match="cannot be written"):
            open_at(disk / "journal.db")
        assert [found.name for found in disk.iterdir()] == ["ballast"]
        ballast.unlink()
        open_at(disk / "journal.db").close()


@root_only
@pytest.mark.parametrize("hot", [False, True])
def test_a_read_only_mount_serves_and_refuses_commits(tmp_path: Path, hot: bool) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        path = disk / "journal.db"
        if hot:
            killed_while(path, BATCHES, 5, 10)
        else:
            with open_at(path) as journal:
                journal.commit([PutMeta("last", b"4")])
        before = files(disk)
        mount(disk, REMOUNT | READ_ONLY)
        with pytest.raises(JournalWriteFailed, match="Read-only file system"):
            open_at(disk / "other.db")
        with open_at(path) as journal:
            assert journal.meta() == {"last": b"4"}
            for _ in range(2):
                with pytest.raises(JournalWriteFailed, match="Read-only file system"):
                    journal.commit([PutMeta("last", b"5")])
                assert journal.meta() == {"last": b"4"}
            assert files(disk) == before
            mount(disk, REMOUNT)
            journal.commit([PutMeta("last", b"6")])
        with open_at(path) as journal:
            assert journal.meta() == {"last": b"6"}


@pytest.mark.skipif(os.geteuid() == 0, reason="file modes do not bind root; the read-only mount stands for them")
@pytest.mark.parametrize("which", ["file", "directory"])
def test_a_read_only_mode_serves_and_refuses_commits(tmp_path: Path, which: str) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    path = directory / "journal.db"
    with open_at(path) as journal:
        journal.commit([PutMeta("last", b"4")])
    target = path if which == "file" else directory
    mode = stat.S_IMODE(target.stat().st_mode)
    target.chmod(mode & ~0o222)
    try:
        with open_at(path) as journal:
            assert journal.meta() == {"last": b"4"}
            with pytest.raises(JournalWriteFailed, match="cannot be written"):
                journal.commit([PutMeta("last", b"5")])
            target.chmod(mode)
            journal.commit([PutMeta("last", b"6")])
            assert journal.meta() == {"last": b"6"}
    finally:
        target.chmod(mode)
