"""Broadcast: hops and copies over links exactly as given, what is not relayed, and what waits for its policy."""

from __future__ import annotations

import pytest

from gossipconf.model.entry import Entry, put
from gossipconf.protocol import broadcast
from gossipconf.protocol.broadcast import WAITING_BYTES_MAX, WAITING_MAX
from gossipconf.protocol.environment import Send
from gossipconf.protocol.events import Applied, ChangeRejected
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import HOPS_MAX, Batch, Push, WantPolicies
from gossipconf.protocol.overlay import FAULTS_MAX
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from tests.protocol.wire import Bench, Tapped, change, second_policy
from tests.strategies import signed

EVEN = NetworkConditions(latency_ms=(10, 10), jitter=(1, 1))
AT_ONCE = HostConditions(disk_ms=(0, 0))
"""Every message takes equally long, so that hops are steps."""


def graph(count: int, edges: list[tuple[int, int]]) -> tuple[Tapped, list[str]]:
    names = [f"n{number}" for number in range(count)]
    world = Tapped(*names, dials=False, network=EVEN, hosts=AT_ONCE)
    for one, other in edges:
        world.wire(names[one], names[other])
    world.run(1.0)
    return world, names


def spread(world: Tapped, name: str) -> list[Push]:
    """Publish one change, let it reach everybody; all pushes of it."""
    begin_s = world.now_s
    world.publish_value(name, "news", "1")
    world.run(0.5)
    assert world.converged()
    return [one.message for one in world.since(begin_s, Push) if isinstance(one.message, Push)]


def test_in_a_full_mesh_everybody_has_it_after_one_hop() -> None:
    count = 6
    world, names = graph(count, [(one, other) for one in range(count) for other in range(one)])
    pushes = spread(world, names[0])
    assert sorted(push.hops for push in pushes) == [1] * (count - 1) + [2] * ((count - 1) * (count - 2))
    duplicates = sum(world.node(name).broadcast.duplicates for name in names)
    assert duplicates == len(pushes) - (count - 1), "all but the first copy of each"


def test_what_is_forwarded_to_many_is_encoded_once() -> None:
    bench = Bench()
    links = [bench.connect(f"p{number}") for number in range(5)]
    bench.drain(Send)
    bench.tell(links[0], Push(1, 0, 0, change().encode()))
    pushes = [one for one in bench.drain(Send) if one.frame_class is FrameClass.BROADCAST]
    assert [one.link for one in pushes] == links[1:]
    assert all(one.message is pushes[0].message for one in pushes)


def test_in_a_ring_it_goes_both_ways_and_stops_where_they_meet() -> None:
    count = 7
    world, names = graph(count, [(number, (number + 1) % count) for number in range(count)])
    begin_s = world.now_s
    pushes = spread(world, names[0])
    assert [push.hops for push in pushes] == [1, 1, 2, 2, 3, 3, 4, 4], "the last two cross between the last two nodes"
    senders = [one.sender for one in world.since(begin_s, Push)]
    assert senders.count(names[0]) == 2
    assert all(senders.count(name) == 1 for name in names[1:]), "each forwards once, and not to where it came from"
    assert sum(world.node(name).broadcast.duplicates for name in names) == 2


def test_in_a_line_each_link_is_crossed_once() -> None:
    world, names = graph(5, [(number, number + 1) for number in range(4)])
    assert [push.hops for push in spread(world, names[0])] == [1, 2, 3, 4]
    applied = world.events_of(names[4], Applied)[-1]
    assert applied.source == names[3]


def pushing() -> tuple[Bench, int, int]:
    """A node between two scripted peers."""
    bench = Bench()
    source, other = bench.connect("a"), bench.connect("z")
    bench.said(source)
    bench.said(other)
    return bench, source, other


def test_the_first_copy_is_forwarded_before_it_is_on_disk_and_copies_are_counted() -> None:
    bench, source, other = pushing()
    data = change().encode()
    bench.tell(source, Push(3, 0, 0, data))
    assert bench.said(other, Push) == [Push(4, 0, 0, data)]
    bench.tell(other, Push(9, 0, 0, data))
    bench.tell(source, Push(3, 0, 0, data))
    assert (bench.said(other, Push), bench.said(source, Push)) == ([], [])
    assert bench.node.broadcast.duplicates == 2


def test_hops_stop_at_their_limit() -> None:
    bench, source, other = pushing()
    bench.tell(source, Push(HOPS_MAX, 0, 0, change().encode()))
    assert [push.hops for push in bench.said(other, Push)] == [HOPS_MAX]


def test_what_is_superseded_on_arrival_is_not_forwarded() -> None:
    bench, source, other = pushing()
    old = change("1")
    new = signed([Entry("a", b"2", seen=((old.writer_id, 1),))], "bob")
    bench.tell(source, Push(1, 0, 0, new.encode()))
    assert len(bench.said(other, Push)) == 1
    bench.tell(source, Push(1, 0, 0, old.encode()))
    assert bench.said(other, Push) == []
    assert bench.closed(source) is None


def test_what_came_by_sync_is_not_pushed() -> None:
    bench, source, other = pushing()
    bench.tell(source, Batch((change().encode(),)))
    bench.wait(1.0)
    assert bench.said(other, Push) == []


def test_invalid_pushes_are_not_relayed_and_close_the_link_at_last() -> None:
    bench, source, other = pushing()
    bad = [
        change(by="mallory").encode(),  # nobody
        change(key="pay/x", by="carol").encode(),  # somebody, elsewhere
        change().encode()[:-1],  # cut
        b"\xc0",  # no change
        change(cluster_id=bytes(32)).encode(),  # another cluster's
        change("before").encode().replace(b"before", b"behind"),  # altered
    ]
    for data in bad:
        bench.tell(source, Push(1, 0, 0, data))
    assert len(bench.events(ChangeRejected)) == len(bad)
    assert bench.closed(source) is None
    for seq in range(FAULTS_MAX - len(bad)):
        bench.tell(source, Push(1, 0, 0, change(by="mallory", seq=seq + 2).encode()))
    assert "8 invalid messages" in (bench.closed(source) or "")
    assert bench.said(other, Push) == []
    assert bench.closed(other) is None
    assert len(bench.node.replica.live) == 1


def test_a_part_of_a_change_is_no_push() -> None:
    bench, source, _ = pushing()
    part = signed([put("a", b"1"), put("b", b"1")], "alice").restrict((0,))
    bench.tell(source, Push(1, 0, 0, part.encode()))
    assert "parts belong to sync" in (bench.closed(source) or "")
    assert bench.node.replica.live.slot(("a", "")) == ()


# -- waiting for a policy -------------------------------------------------------------------------


def of_policy_2(number: int = 1, size: int = 1) -> bytes:
    return change("v" * size, f"zoo/{number}", seq=number, by="zoe", policy=2).encode()


def test_a_change_waits_for_its_policy_and_goes_on_when_that_comes() -> None:
    bench, source, other = pushing()
    bench.tell(source, Push(1, 0, 0, of_policy_2()))
    assert bench.said(source) == [WantPolicies(1)]
    bench.tell(other, Push(1, 0, 0, of_policy_2()))
    assert bench.node.broadcast.duplicates == 1, "a copy of what waits"
    assert bench.said(other) == []
    bench.tell(source, Batch((second_policy().encode(),)))
    assert bench.node.replica.live.slot(("zoo/1", ""))
    assert bench.said(other, Push) == [Push(2, 0, 1, of_policy_2())]
    assert bench.events(ChangeRejected) == []


def test_what_waits_is_judged_when_its_policy_comes() -> None:
    bench, source, other = pushing()
    bench.tell(source, Push(1, 0, 0, change(by="mallory", policy=2).encode()))
    bench.tell(source, Batch((second_policy().encode(),)))
    assert len(bench.events(ChangeRejected)) == 1
    assert bench.said(other, Push) == []


def test_what_waits_is_dropped_with_its_link() -> None:
    bench, source, other = pushing()
    bench.tell(source, Push(1, 0, 0, of_policy_2()))
    bench.lose(source)
    bench.tell(other, Batch((second_policy().encode(),)))
    assert bench.node.replica.live.slot(("zoo/1", "")) == ()
    bench.tell(other, Push(1, 0, 0, of_policy_2()))
    assert bench.node.replica.live.slot(("zoo/1", "")), "dropped, not remembered as seen"


def test_what_waits_is_bounded_in_number_and_bytes() -> None:
    bench, source, _ = pushing()
    for number in range(1, WAITING_MAX + 20):
        bench.tell(source, Push(1, 0, 0, of_policy_2(number)))
    bench.tell(source, Batch((second_policy().encode(),)))
    assert len(bench.node.replica.live.under("zoo")) == WAITING_MAX

    bench, source, _ = pushing()
    size = 1_000_000
    for number in range(1, 30):
        bench.tell(source, Push(1, 0, 0, of_policy_2(number, size)))
    bench.tell(source, Batch((second_policy().encode(),)))
    assert len(bench.node.replica.live.under("zoo")) == WAITING_BYTES_MAX // (size + 200)


def test_digests_of_copies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RECENT_MAX", 3)
    bench, source, other = pushing()
    for seq in range(1, 6):
        bench.tell(source, Push(1, 0, 0, change(key=f"k{seq}", seq=seq).encode()))
    bench.said(other)
    bench.tell(source, Push(1, 0, 0, change(key="k1", seq=1).encode()))
    assert bench.node.broadcast.duplicates == 0, "forgotten, so it is decoded again"
    assert bench.said(other, Push) == [], "and found to be known"
