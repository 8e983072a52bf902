"""The log of a journal: changes by the time at which they were signed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipconf.store.journal import Journal
from gossipconf.store.journal_log import Selection
from gossipconf.store.journal_ops import Retire
from gossipconf.store.journal_schema import TABLES
from tests.store.journal_cases import open_at


def row(version: int, change: int, key: str, *, time_ms: int, writer: int = 1) -> Retire:
    """A retired version; it was retired in another order than it was signed."""
    ids = (bytes([number]) * 32 for number in (version, change))
    return Retire(*ids, key, "", bytes([writer]) * 16, 1, time_ms, 1_000 - time_ms, b"data of %d" % version)


ROWS = [
    row(1, 0xA1, "shop/a", time_ms=100),
    row(2, 0xA1, "shop/b", time_ms=100),
    row(3, 0xB2, "shop/a", time_ms=200, writer=2),
    row(4, 0xB3, "shopping", time_ms=200, writer=2),
    row(5, 0xC4, "_policy/2", time_ms=300),
    row(6, 0xC5, "zone", time_ms=400, writer=3),
]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_at(tmp_path / "journal.db") as opened:
        opened.commit(ROWS)
        yield opened


def first_bytes(places: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    return [(time_ms, change_id[0]) for time_ms, change_id in places]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Selection(), [(400, 0xC5), (300, 0xC4), (200, 0xB3), (200, 0xB2), (100, 0xA1)]),
        (Selection(prefix=""), [(400, 0xC5), (200, 0xB3), (200, 0xB2), (100, 0xA1)]),
        (Selection(prefix="_policy"), [(300, 0xC4)]),
        (Selection(prefix="shop"), [(200, 0xB2), (100, 0xA1)]),
        (Selection(key="shop/a"), [(200, 0xB2), (100, 0xA1)]),
        (Selection(key="shop"), []),
        (Selection(since_ms=200, until_ms=400), [(300, 0xC4), (200, 0xB3), (200, 0xB2)]),
        (Selection(writers=(b"\2" * 16, b"\3" * 16)), [(400, 0xC5), (200, 0xB3), (200, 0xB2)]),
        (Selection(writers=()), []),
    ],
    ids=repr,
)
def test_the_last_signed_comes_first_and_each_change_once(journal: Journal, chosen, expected) -> None:
    places = journal.log_places(chosen, limit=10)
    assert first_bytes(places) == expected
    pages, before = [], None
    while page := journal.log_places(chosen, before, limit=1):
        pages += page
        before = page[-1]
    assert pages == places, "page by page it is the same"


def test_rows_are_of_the_changes_asked_for(journal: Journal) -> None:
    a1, b2 = b"\xa1" * 32, b"\xb2" * 32
    found = journal.log_rows(Selection(prefix="shop"), [a1, b2, b"\xc5" * 32])
    assert {name[0]: list(one.rows) for name, one in found.items()} == {0xA1: ROWS[:2], 0xB2: [ROWS[2]], 0xC5: []}
    cut = journal.log_rows(Selection(), [a1], limit=1)[a1]
    assert (list(cut.rows), cut.ids) == (ROWS[:1], {ROWS[0].version_id, ROWS[1].version_id})
    assert journal.log_rows(Selection(key="shop/b"), [a1])[a1].rows == (ROWS[1],)


def test_more_changes_than_fit_into_one_statement(journal: Journal) -> None:
    many = [number.to_bytes(32, "big") for number in range(1_200)]
    assert list(journal.log_rows(Selection(), [*many, b"\xc5" * 32])[b"\xc5" * 32].rows) == [ROWS[5]]


def test_every_writer_is_there_once(journal: Journal) -> None:
    assert sorted(one.writer[0] for one in journal.log_writers()) == [1, 2, 3]


@pytest.mark.parametrize(("start", "found"), [("b", [0xB2, 0xB3]), ("b2", [0xB2]), ("b2b", [0xB2]), ("b20", [])])
def test_changes_are_found_by_their_first_digits(journal: Journal, start: str, found: list[int]) -> None:
    assert [one[0] for one in journal.log_named(start)] == found


@pytest.mark.parametrize("chosen", [Selection(key="a"), Selection(prefix="a")], ids=repr)
def test_keys_are_looked_up_by_the_primary_key(chosen: Selection) -> None:
    condition, values = chosen.condition()
    assert plan_of(f"SELECT DISTINCT time_ms, change_id FROM retired WHERE {condition}", values) == {
        "SEARCH retired USING PRIMARY KEY"
    }


def test_times_are_read_from_an_index_alone() -> None:
    condition, values = Selection(prefix="", since_ms=1).condition()
    assert plan_of(f"SELECT DISTINCT time_ms, change_id FROM retired WHERE {condition}", values) == {
        "SCAN retired USING COVERING INDEX retired_by_time"
    }


def plan_of(query: str, values: list[object]) -> set[str]:
    """How SQLite goes at the table."""
    database = sqlite3.connect(":memory:")
    for statement in TABLES:
        database.execute(statement)
    steps = [step for *_, step in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    database.close()
    return {step.partition(" (")[0] for step in steps if "retired" in step}
