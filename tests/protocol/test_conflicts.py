"""When conflicts begin and end is told once each, and never of what a node starts with."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from gossipconf.model.clock import join
from gossipconf.model.entry import put
from gossipconf.protocol.conflicts import Conflicts
from gossipconf.protocol.events import ConflictClosed, ConflictOpened
from gossipconf.store.live_set import LiveSet
from tests.protocol.wire import Bench, change
from tests.strategies import change_sets, signed

OPENED = [ConflictOpened((("a", ""),))]
CLOSED = [ConflictClosed((("a", ""),))]


def told(bench: Bench) -> list[ConflictOpened | ConflictClosed]:
    bench.collect()
    return [*bench.events(ConflictOpened), *bench.events(ConflictClosed)]


def test_a_conflict_opens_once_and_closes_once() -> None:
    bench = Bench()
    replica = bench.node.replica
    one, two = change("1", by="alice"), change("2", by="bob")
    replica.receive(one, "a")
    assert told(bench) == []
    replica.receive(two, "a")
    assert told(bench) == OPENED
    replica.receive(change("3", by="bob", incarnation=b"another_"), "a")
    assert told(bench) == OPENED, "a third sibling makes no second conflict"
    seen = join(version.clock for version in replica.live.slot(("a", "")))
    replica.receive(signed([replace(put("a", b"4"), seen=seen)], "alice", seq=2), "a")
    assert told(bench) == [*OPENED, *CLOSED]


@given(change_sets())
def test_what_is_told_adds_up_to_what_is(changes) -> None:
    live, conflicts = LiveSet(), Conflicts()
    open_now: set = set()
    for one in changes:
        outcome = live.add(one)
        slots = [version.slot for version in (*outcome.gained, *(version for version, _ in outcome.retired))]
        opened, closed = conflicts.follow(slots, live)
        assert open_now.isdisjoint(opened)
        assert open_now.issuperset(closed)
        open_now = open_now.union(opened).difference(closed)
    assert open_now == {slot for slot, versions in live.slots().items() if len(versions) > 1}
    again = Conflicts()
    again.recall(live)
    assert again.follow(live.slots(), live) == ((), ())
