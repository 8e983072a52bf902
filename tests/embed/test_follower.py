"""Snapshots follow what readers may see: changes, time, votes, and strict prefixes."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from gossipconf.embed.explanation import explain
from gossipconf.embed.overrides import Overrides
from gossipconf.embed.reading import MISSING, read
from gossipconf.embed.snapshot import Source
from gossipconf.embed.watch import Watch
from gossipconf.model.entry import ValueType, delete, put
from gossipconf.model.errors import Fenced, KeyMissing, NotAMember
from gossipconf.protocol.participant import Standing
from tests.runtime.test_strict_reads import FIRST, PREFIX, SECOND, Stages

from .core import START_MS, Core, followed, text


def value(follower, key, default=MISSING):
    return read(follower.snapshot, key, str, default)


def test_changes_are_taken_over_together():
    core = Core(text("a", "1"), text("b", "1"))
    follower = followed(core)
    core.show(text("a", "2"), text("b", "2"), text("c", "2"))
    before = follower.snapshot
    assert [value(follower, key) for key in "ab"] == ["1", "1"], "not before they are taken over"
    follower.catch_up()
    assert [value(follower, key) for key in "abc"] == ["2", "2", "2"]
    assert "c" not in before.cells


def test_what_changes_nothing_makes_no_snapshot():
    core = Core(text("a", "1"))
    follower = followed(core)
    before = follower.snapshot
    core.reads.held_off(["a"])
    follower.catch_up()
    assert follower.snapshot is before


def test_a_delete_takes_the_value_away():
    core = Core(text("a", "1"))
    follower = followed(core)
    core.show(delete("a"))
    follower.catch_up()
    with pytest.raises(KeyMissing):
        value(follower, "a")


async def test_a_value_that_expires_is_gone_by_the_clock_alone(autojump_clock: MockClock):
    core = Core(text("a", "short", expires_ms=START_MS + 60_000), text("b", "long"))
    follower = followed(core)
    watch = Watch(follower, "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(core.reads.moments.run, core.wall_ms, core.reads.clock_moved)
        nursery.start_soon(follower.run)
        assert value(follower, "a") == "short"
        update = await anext(watch)
        assert (update.key, update.exists, update.get(default="none")) == ("a", False, "none")
        assert trio.current_time() >= 60
        nursery.cancel_scope.cancel()
    assert value(follower, "b") == "long"


def test_what_votes_hold_off_is_not_read():
    core = Core(text("a", "1"))
    follower = followed(core)
    [version] = core.show(text("a", "2"))
    core.halts.halted = frozenset({version.change_id})
    core.reads.held_off(["a"])
    follower.catch_up()
    assert value(follower, "a", None) is None


def strict_core() -> tuple[Core, list]:
    core = Core(text("shop/db/host", "ordinary"), text("shop/other", "x"))
    core.show(*(put(str(one.key), one.encode(), ValueType.BYTES) for one in (FIRST, SECOND)))
    return core


def test_a_strict_prefix_is_read_whole_or_not_at_all():
    core = strict_core()
    follower = followed(core)
    assert value(follower, "shop/db/host") == "ordinary"
    core.reads.epochs_changed(Stages(Standing(FIRST)))
    assert [value(follower, f"shop/db/{one}") for one in ("host", "port")] == ["one", "1"], "with no task run between"
    core.reads.epochs_changed(Stages(Standing(FIRST, SECOND)))
    for key in ("shop/db/host", "shop/db/never"):
        with pytest.raises(Fenced, match="is fenced"):
            value(follower, key, "default")
    assert value(follower, "shop/other") == "x"
    core.reads.epochs_changed(Stages(Standing(SECOND)))
    assert [value(follower, f"shop/db/{one}") for one in ("host", "port", "user")] == ["two", "1", "x"]
    core.reads.epochs_changed(Stages(Standing(None)))
    with pytest.raises(NotAMember):
        value(follower, "shop/db/host")
    assert explain(follower, "shop/db/host").unreadable is not None
    core.reads.epochs_changed(Stages(Standing(None), strict=()))
    assert value(follower, "shop/db/host") == "ordinary"


def test_who_watches_hears_of_a_fenced_prefix_once_it_can_be_read():
    core = strict_core()
    core.reads.epochs_changed(Stages(Standing(FIRST)))
    follower = followed(core)
    watch = Watch(follower, PREFIX)
    core.reads.epochs_changed(Stages(Standing(FIRST, SECOND)))
    follower.catch_up()
    assert list(watch._changed) == []
    core.reads.epochs_changed(Stages(Standing(SECOND)))
    assert sorted(watch._changed) == ["shop/db/host", "shop/db/port", "shop/db/user"]


def test_nothing_overrides_a_strict_prefix(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    core = strict_core()
    overrides = Overrides({"GOSSIPCONF_OVERRIDE_SHOP__DB__HOST": "mine", "GOSSIPCONF_OVERRIDE_SHOP__OTHER": "mine"})
    core.reads.epochs_changed(Stages(Standing(FIRST)))
    follower = followed(core, overrides)
    assert (value(follower, "shop/db/host"), value(follower, "shop/other")) == ("one", "mine")
    assert caplog.messages == [
        "'shop/db/host' is strict, and its override is ignored: GOSSIPCONF_OVERRIDE_SHOP__DB__HOST"
    ]
    found = explain(follower, "shop/db/host")
    assert (found.is_strict, found.sources) == (True, (Source.JOURNAL,))


def test_a_prefix_that_becomes_strict_loses_its_override():
    core = strict_core()
    follower = followed(core, Overrides({"GOSSIPCONF_OVERRIDE_SHOP__DB__HOST": "mine"}))
    assert value(follower, "shop/db/host") == "mine"
    core.reads.epochs_changed(Stages(Standing(FIRST)))
    assert value(follower, "shop/db/host") == "one"


def test_what_was_on_the_disk_stays_so_until_it_is_replaced():
    core = Core(text("a", "1"), text("b", "1"))
    follower = followed(core)
    core.show(text("a", "2"))
    follower.catch_up()
    assert [follower.snapshot.cells[key].source for key in "ab"] == [Source.GOSSIP, Source.JOURNAL]
