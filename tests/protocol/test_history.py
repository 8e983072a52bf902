"""History on its way to the disk: nothing is missed between the live set and the journal, and it is bounded."""

from __future__ import annotations

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry
from gossipconf.protocol.history import History
from gossipconf.store.journal_ops import DropChange
from gossipconf.store.live_set import LiveSet
from tests import strategies as gen

CLUSTER_ID = gen.cluster().genesis.cluster_id
CHANGE = gen.signed([Entry(key, b"1") for key in ("a", "b", "c")], "alice")


def test_a_row_holds_just_its_entry_and_waits_until_it_is_written() -> None:
    history = History()
    rows = list(history.rows([(one, CHANGE) for one in CHANGE.versions], LiveSet(), 7))
    assert [(row.version_id, row.key, row.retired_ms) for row in rows] == [
        (one.id, one.entry.key, 7) for one in CHANGE.versions
    ]
    for row, one in zip(rows, CHANGE.versions, strict=True):
        assert Change.decode(row.data, CLUSTER_ID).versions == (one,)
        assert history.get(row.version_id) == row.data
    assert list(history.waiting()) == [row.data for row in rows]
    history.written([DropChange(CHANGE.id), rows[1]])
    assert history.get(rows[1].version_id) is None
    assert list(history.waiting()) == [rows[0].data, rows[2].data]


def test_of_too_many_rows_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipconf.protocol.history.ROWS_WAITING_MAX", 2)
    history = History()
    rows = list(history.rows([(one, CHANGE) for one in CHANGE.versions], LiveSet(), 7))
    assert len(rows) == 3
    assert list(history.waiting()) == [row.data for row in rows[1:]]
