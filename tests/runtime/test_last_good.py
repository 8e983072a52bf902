"""Values that come from peers and fail a schema: what is held back, what is read instead, and after a restart."""

from __future__ import annotations

import pytest

from gossipconf.model.entry import Entry, ValueType, delete, put
from gossipconf.protocol.environment import Persist
from gossipconf.runtime import last_good
from gossipconf.runtime.inspector import Inspector
from gossipconf.runtime.last_good import SAVED_UNFIT, LastGood, ValueHeldBack
from gossipconf.runtime.reads import ReadView
from gossipconf.store.journal_ops import PutMeta, Retire
from tests import strategies as gen

ANN, BEN, _ = gen.WRITERS
AT_MOST_10 = put("_schemas/a", b'{"maximum": 10}', ValueType.JSON)


def version(entry: Entry, seq: int, writer=ANN):
    (made,) = gen.body([entry], writer, seq, time_ms=seq).versions
    return made


def number(value: int, seq: int, key: str = "a/x", writer=ANN):
    return version(put(key, str(value).encode(), ValueType.JSON), seq, writer)


class Disk:
    """An agent's readers and its disk: what is written is shown, as the agent does it. To `load` it is the journal."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Retire] = {}
        self.saved: dict[str, bytes] = {}
        self.live: dict[tuple[str, str], tuple] = {}
        self.told: list[ValueHeldBack] = []
        self.start()

    def start(self) -> None:
        self.reads = ReadView(self.live)
        self.last_good = LastGood(self.reads, Inspector(self.reads), self.told.append, last_good.load(self))

    def meta(self):
        return self.saved

    def retired(self, key, version_id):
        return next((row for row in self.rows.values() if (row.key, row.version_id) == (key, version_id)), None)

    async def write(self, *states: dict, fails: bool = False) -> None:
        """States of slots, by key, that are written as one group."""
        group = []
        for state in states:
            reads = tuple(((key, ""), versions) for key, versions in state.items())
            ops = [self._retire(old) for (slot, new) in reads for old in self.live.get(slot, ()) if old not in new]
            group.append(Persist(1, tuple(ops), reads))
            if not fails:
                self.live |= dict(reads)
        ops = await self.last_good.look(group)
        for persist in group:
            if fails:
                self.last_good.lost()
            else:
                self.rows |= {op.version_id: op for op in persist.ops}
                self.last_good.taken()
                self.reads.show(persist.reads)
        self.saved |= {} if fails else {op.name: op.value for op in ops if isinstance(op, PutMeta)}

    def _retire(self, old) -> Retire:
        entry, header = old.entry, old.header
        return Retire(old.id, old.change_id, entry.key, "", b"w", header.seq, header.time_ms, 1, b"data of " + old.id)


@pytest.fixture
def disk():
    return Disk()


def held(disk) -> dict[bytes, bytes | None]:
    return {one: unfit.data for one, unfit in disk.last_good.unfit.items()}


async def test_what_fails_is_held_back_and_told_and_the_last_good_is_known(disk):
    good, bad, worse = number(5, 1), number(11, 2), number(12, 3)
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),), "a/x": (good,)})
    await disk.write({"a/x": (bad,)})
    assert held(disk) == {bad.id: b"data of " + good.id}
    assert disk.told == [ValueHeldBack("a/x", "", bad.change_id, "breaks \"maximum\": 10, in the schema of 'a'", True)]
    await disk.write({"a/x": (worse,)})
    assert held(disk) == {worse.id: b"data of " + good.id}, "the last good one stays so"
    await disk.write({"a/x": (number(6, 4),)})
    assert held(disk) == {}


async def test_a_restart_changes_nothing(disk):
    good, bad = number(5, 1), number(11, 2)
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),), "a/x": (good,)})
    await disk.write({"a/x": (bad,)})
    before = held(disk)
    disk.start()
    assert held(disk) == before
    disk.rows.clear()  # history has forgotten it
    disk.start()
    assert held(disk) == {bad.id: None}


async def test_schema_and_value_that_come_together(disk):
    bad = number(11, 1)
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),)}, {"a/x": (bad,)})
    assert held(disk) == {bad.id: None}
    assert not disk.told[0].has_good


async def test_a_value_replaced_in_the_same_group_may_be_the_last_good(disk):
    first, good, bad = number(1, 1), number(5, 2), number(11, 3)
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),), "a/x": (first,)})
    await disk.write({"a/x": (good,)}, {"a/x": (bad,)})
    assert held(disk) == {bad.id: b"data of " + good.id}


async def test_what_was_read_before_its_schema_came_stays(disk):
    await disk.write({"a/x": (number(11, 1),)})
    await disk.write({"_schemas/a": (version(AT_MOST_10, 2),)})
    disk.start()
    assert held(disk) == {}


async def test_a_schema_that_is_changed_or_removed_lets_go(disk):
    bad, worse = number(11, 1), number(100, 1, "a/y")
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),)})
    await disk.write({"a/x": (bad,), "a/y": (worse,)})
    assert held(disk).keys() == {bad.id, worse.id}
    watcher = disk.reads.watch("a")
    await disk.write({"_schemas/a": (version(put("_schemas/a", b'{"maximum": 20}', ValueType.JSON), 2),)})
    assert held(disk).keys() == {worse.id}
    assert await watcher.take() == ["a/x"]
    await disk.write({"_schemas/a": (version(delete("_schemas/a"), 3),)})
    assert held(disk) == {}
    disk.start()
    assert held(disk) == {}


async def test_a_delete_is_no_last_good_and_a_sibling_that_holds_is_read(disk):
    gone, bad, other = version(delete("a/x"), 1), number(11, 2), number(7, 2, writer=BEN)
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),), "a/x": (gone,)})
    await disk.write({"a/x": (bad, other)})
    assert held(disk) == {bad.id: None}


async def test_a_write_that_fails_holds_nothing_back(disk):
    bad = number(11, 2)
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),), "a/x": (number(5, 1),)})
    await disk.write({"a/x": (bad,)}, fails=True)
    assert held(disk) == {}
    assert disk.told == []
    await disk.write({"a/x": (bad,)})
    assert held(disk).keys() == {bad.id}


async def test_what_cannot_be_judged_is_shown(disk):
    broken = version(put("_schemas/a", b'{"type": "nonsense"}', ValueType.JSON), 1)
    sealed = version(put("b", b"envelope", ValueType.SEALED), 1)
    await disk.write({"_schemas/a": (broken,), "_schemas/b": (version(put("_schemas/b", b"false"), 1),)})
    await disk.write({"a/x": (number(11, 1),), "b": (sealed,)})
    assert held(disk) == {}


async def test_what_takes_too_long_together_is_shown(disk, monkeypatch, caplog):
    bad, large = number(11, 1), version(put("a/y", b"# " + b"x" * last_good.YAML_BYTES_MAX, ValueType.YAML), 1)
    await disk.write(
        {"_schemas/a": (version(put("_schemas/a", b'{"maximum": 1, "type": "number"}', ValueType.JSON), 1),)}
    )
    await disk.write({"a/y": (large,)})
    assert held(disk) == {}
    monkeypatch.setattr(last_good, "JUDGE_S", -1)
    await disk.write({"a/x": (bad,)})
    assert held(disk) == {}
    assert "the rest is shown unjudged" in caplog.text


async def test_what_a_later_release_has_saved_is_passed_over(disk, caplog):
    disk.saved[SAVED_UNFIT] = b"\xc1"
    disk.start()
    assert held(disk) == {}
    assert "cannot be read" in caplog.text


async def test_more_than_can_be_held_back_is_shown_and_told(disk, monkeypatch, caplog):
    monkeypatch.setattr(last_good, "UNFIT_MAX", 1)
    bad, other = number(11, 2), number(12, 3, key="a/y")
    await disk.write({"_schemas/a": (version(AT_MOST_10, 1),)})
    await disk.write({"a/x": (bad,)})
    await disk.write({"a/y": (other,)})
    assert held(disk) == {bad.id: None}
    assert caplog.text.count("more are shown as they are") == 1
