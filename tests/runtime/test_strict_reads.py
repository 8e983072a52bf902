"""What readers see of strict prefixes: one epoch whole, or an error; and who waits is woken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.model.errors import Fenced, NotAMember
from gossipconf.protocol.epoch import Stage, make_stage
from gossipconf.protocol.participant import Standing
from gossipconf.runtime.reads import ReadView
from tests import strategies as gen

PREFIX = "shop/db"


def stage(before: Stage | None, values: dict[str, str], *, waits: bool = False) -> Stage:
    contents = [(f"{PREFIX}/{key}", ValueType.TEXT, value.encode()) for key, value in values.items()]
    return make_stage(PREFIX, None if before is None else before.epoch, ["a"], [], contents, policy=1, waits=waits)


FIRST = stage(None, {"host": "one", "port": "1"})
SECOND = stage(FIRST, {"host": "two", "port": "1", "user": "x"})
PATIENT = stage(FIRST, {"host": "two"}, waits=True)


class Stages:
    """A node's stages, as a test wants them."""

    def __init__(self, standing: Standing, strict: Sequence[str] = (PREFIX,)) -> None:
        self.strict = tuple(strict)
        self._standing = standing

    def standing(self, prefix: str) -> Standing:
        return self._standing if prefix == PREFIX else Standing(None)


def view(*documents: Stage) -> ReadView:
    entries = [put("shop/db/host", b"ordinary"), put("shop/other", b"x"), put("shop/db-2", b"y")]
    entries += [put(str(one.key), one.encode(), ValueType.BYTES) for one in documents]
    return ReadView(dict(versions_of(entries)))


def versions_of(entries: Sequence[Entry]):
    for version in gen.signed(entries, "alice").versions:
        yield version.slot, (version,)


def values(reads: ReadView) -> dict[str, bytes | None]:
    return {key: reads.versions(key)[0].entry.value for key in reads.keys("shop")}


def test_a_member_reads_one_epoch_and_nothing_that_was_published_there_otherwise():
    reads = view(FIRST)
    reads.epochs_changed(Stages(Standing(FIRST)))
    assert values(reads) == {"shop/db-2": b"y", "shop/db/host": b"one", "shop/db/port": b"1", "shop/other": b"x"}
    assert list(reads.keys("shop", "shop/db-2")) == ["shop/db/host", "shop/db/port", "shop/other"]
    assert reads.versions("shop/db/none") == []
    assert [one.entry.value for one in reads.ordinary("shop/db/host")] == [b"ordinary"]
    assert list(reads.ordinary_keys("shop/db")) == ["shop/db/host"]
    version = reads.versions("shop/db/host")[0]
    assert version.header.writer.key == gen.signer("alice").public
    assert version.change_id == reads.ordinary(str(FIRST.key))[0].change_id


def test_a_value_whose_document_is_void_is_served_and_bears_nobodys_signature():
    reads = view()
    reads.epochs_changed(Stages(Standing(FIRST)))
    version = reads.versions("shop/db/host")[0]
    assert version.entry.value == b"one"
    assert version.header.writer.key == bytes(32)


@pytest.mark.parametrize(
    ("standing", "error", "words"),
    [
        (Standing(FIRST, SECOND), Fenced, "epoch 2 is open"),
        (Standing(None), NotAMember, "no member"),
        (Standing(None, is_barred=True), NotAMember, "revoked this agent"),
    ],
)
def test_who_may_not_read_is_told_why(standing, error, words):
    reads = view(FIRST)
    reads.epochs_changed(Stages(standing))
    with pytest.raises(error, match=words):
        reads.versions("shop/db/host")
    assert list(reads.keys("shop")) == ["shop/db-2", "shop/other"]
    assert set(reads.strict.unreadable("shop")) == {PREFIX}
    assert reads.strict.unreadable("cart") == {}


def test_a_prefix_that_is_strict_no_more_is_read_as_any():
    reads = view(FIRST)
    reads.epochs_changed(Stages(Standing(FIRST)))
    reads.epochs_changed(Stages(Standing(FIRST), strict=()))
    assert values(reads)["shop/db/host"] == b"ordinary"


def test_siblings_that_ordinary_changes_have_made_there_are_no_conflict():
    reads = view(FIRST)
    siblings = [found for name in ("alice", "bob") for found in gen.signed([put("shop/db/host", b"")], name).versions]
    reads.show([(("shop/db/host", ""), tuple(siblings))])
    assert reads.conflicts() == [("shop/db/host", "")]
    reads.epochs_changed(Stages(Standing(FIRST)))
    assert reads.conflicts() == []


async def test_watchers_are_told_what_an_epoch_changes_and_nothing_of_ordinary_changes_there():
    reads = view(FIRST, SECOND)
    reads.epochs_changed(Stages(Standing(FIRST)))
    watcher = reads.watch("shop")
    reads.show([(slot, found) for slot, found in versions_of([put("shop/db/port", b"9"), put("shop/z", b"")])])
    reads.epochs_changed(Stages(Standing(FIRST, SECOND)))
    assert await watcher.take() == ["shop/z"]
    reads.epochs_changed(Stages(Standing(SECOND)))
    with trio.fail_after(5):
        told = await watcher.take()
    assert set(told) >= {"shop/db/host", "shop/db/user"}


@pytest.mark.parametrize("outcome", [Standing(FIRST), Standing(PATIENT)])
async def test_a_read_waits_for_the_outcome_if_the_stage_says_so(outcome):
    reads = view(FIRST)
    reads.epochs_changed(Stages(Standing(FIRST, PATIENT)))
    done = trio.Event()

    async def read() -> None:
        await reads.strict.settled("shop/db/host")
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        reads.epochs_changed(Stages(outcome))
        await done.wait()
    assert reads.versions("shop/db/host")[0].entry.value == outcome.epoch.contents[0][2]


async def test_a_read_does_not_wait_where_the_stage_says_raise_or_where_nothing_is_fenced():
    reads = view(FIRST)
    reads.epochs_changed(Stages(Standing(FIRST, SECOND)))
    with trio.fail_after(5):
        await reads.strict.settled("shop/db/host")
        await reads.strict.settled("shop/other")
