"""The world itself: order on a wire, what a crash takes, what a partition cuts, and time that only goes forward."""

from __future__ import annotations

import pytest

from gossipconf.model.entry import put
from gossipconf.protocol.events import ConnectFailed, DiskFailed, PeerDown, Published, PublishFailed
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.world.world import World
from tests.protocol.wire import Tapped, change
from tests.strategies import cluster, signer


def test_time_goes_forward_and_stops_where_it_was_told_to() -> None:
    world = Tapped("a", "b")
    world.run(3.0)
    assert world.now_s == 3.0
    assert world.run_until(lambda: world.now_s > 3.5, 100.0)
    stopped_s = world.now_s
    assert 3.5 < stopped_s < 103.0
    assert not world.run_until(lambda: False, 1.0)
    assert world.now_s == stopped_s + 1.0


def test_messages_keep_their_order_on_a_link_however_their_delays_vary() -> None:
    world = Tapped("a", "b", dials=False, network=NetworkConditions(latency_ms=(10, 10), jitter=(0.1, 50)))
    world.wire("a", "b")
    world.run(3.0)
    for number in range(20):
        world.publish_value("a", "k", str(number))
        world.run(0.01)
    world.run(5.0)
    seen = [versions[0].entry.value for versions in [world.hosts["b"].reads["k", ""]]]
    assert seen == [b"19"]
    order = [version.header.seq for version in world.hosts["b"].returned["k", ""]]
    assert order == sorted(order)
    assert world.node("b").broadcast.duplicates == 0


def test_a_crash_takes_what_is_not_on_disk() -> None:
    world = World(cluster(), hosts=HostConditions(disk_ms=(100, 100)))
    world.add("a")
    world.run(1.0)
    token, lost = world.publish("a", signer("alice"), [put("k", b"1")])
    world.run(0.05)
    world.crash("a")
    world.run(1.0)
    assert world.outcome(token) is None
    assert lost.id not in world.hosts["a"].disk.changes
    world.start("a")
    token, kept = world.publish("a", signer("alice"), [put("k", b"2")])
    assert world.run_until(lambda: world.outcome(token) is not None, 1.0)
    world.crash("a")
    world.start("a")
    assert world.outcome(token) == Published(token, kept.id)
    assert world.hosts["a"].reads["k", ""][0].entry.value == b"2"


def test_a_host_that_runs_cannot_be_started() -> None:
    world = Tapped("a")
    with pytest.raises(AssertionError, match="a runs already"):
        world.start("a")


def test_a_partition_cuts_links_and_refuses_dials_and_the_unnamed_stay_together() -> None:
    world = Tapped("a", "b", "c", "d")
    world.run(2.0)
    world.partition(["a", "b"])
    world.run(1.0)
    peers = {name: sorted(link.node_id for link in world.node(name).links()) for name in world.hosts}
    assert peers == {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}
    assert world.events_of("a", PeerDown)
    assert "unreachable" in {event.reason for event in world.events_of("a", ConnectFailed)}
    world.heal()
    world.run(10.0)
    assert all(len(world.node(name).links()) == 3 for name in world.hosts)


def test_a_reset_link_comes_back() -> None:
    world = Tapped("a", "b")
    world.run(2.0)
    (before,) = world.node("a").links()
    world.reset_link("a", "b")
    world.run(2.0)
    (after,) = world.node("a").links()
    assert after.id != before.id


def test_a_full_disk_refuses_what_waits_behind_the_first_failure_too() -> None:
    world = Tapped("a", hosts=HostConditions(disk_ms=(100, 100)))
    world.run(1.0)
    tokens = [world.publish("a", signer("alice"), [put(f"k{number}", b"1")])[0] for number in range(3)]
    world.hosts["a"].disk.full = True
    world.run(0.15)
    world.hosts["a"].disk.full = False
    world.run(1.0)
    assert all(isinstance(world.outcome(token), PublishFailed) for token in tokens)
    assert len(world.events_of("a", DiskFailed)) == 1


def test_what_is_injected_is_judged() -> None:
    world = Tapped("a")
    world.inject("a", change(by="mallory"))
    world.inject("a", change("good"))
    world.run(0.1)
    assert [slot for slot in world.hosts["a"].reads if slot[0] == "a"] == [("a", "")]
    assert world.mutilated == {}
