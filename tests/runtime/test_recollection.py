"""Reading history for what may live again: what a thief has written is not in the way of what he has replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gossipconf.protocol.environment import Recall
from gossipconf.runtime import recollection
from gossipconf.runtime.recollection import PAGE_ROWS, recollect
from gossipconf.runtime.writer import JournalWriter
from gossipconf.store.journal import Journal
from gossipconf.store.journal_ops import Retire

GOOD = b"good"
VOID = b"void"


def retired(number: int, key: str, data: bytes = GOOD) -> Retire:
    name = number.to_bytes(32, "big")
    return Retire(name, name, key, "", bytes(16), number, number, number, data)


@asynccontextmanager
async def written(path: Path, rows: Iterable[Retire]) -> AsyncIterator[JournalWriter]:
    with Journal.open(path, cluster_id=bytes(32), node_id="a") as journal:
        journal.commit(list(rows))
        yield JournalWriter(journal, lambda persist, error: None)


async def taken(writer: JournalWriter, recall: Recall) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    await recollect(recall, writer, lambda data: data != VOID, lambda some: found.append(list(some)))
    assert found.pop(0) == [], "what is on its way into history can be taken at once"
    return found


async def test_what_is_void_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thief has superseded the good version more often than versions are remembered."""
    monkeypatch.setattr(recollection, "RECALLED_MAX", 3)
    thief = [retired(number, "a", VOID) for number in range(2, 2 * PAGE_ROWS)]
    async with written(tmp_path / "journal.db", [retired(1, "a"), *thief]) as writer:
        assert await taken(writer, Recall((("a", ""),))) == [[GOOD]]


async def test_of_each_key_the_latest_come_first_and_no_more_than_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recollection, "RECALLED_MAX", 3)
    rows = [retired(number, key, f"{key}{number}".encode()) for key in "abc" for number in range(1, PAGE_ROWS)]
    latest = {key: [f"{key}{PAGE_ROWS - back}".encode() for back in (1, 2, 3)] for key in "abc"}
    async with written(tmp_path / "journal.db", rows) as writer:
        assert await taken(writer, Recall((("a", ""), ("c", "canary")))) == [latest["a"], latest["c"]]
        assert await taken(writer, Recall((), everything=True)) == list(latest.values())
        wanted = rows[0].change_id  # one change has an entry of each key
        assert await taken(writer, Recall((("b", ""),), (wanted,))) == [[b"a1"], latest["b"], [b"c1"]]
