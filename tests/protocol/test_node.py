"""The node as a whole: the same seed gives the same trace; partitions, crashes and empty disks heal by themselves."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from functools import cache
from pathlib import Path

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.protocol.decoders import Decoders
from gossipconf.protocol.environment import Disconnect
from gossipconf.protocol.events import Published, Synced
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import Goodbye, Ping, Push, Root, Roster, RosterDigest, decode_message, encode_message
from gossipconf.protocol.news import KEPT_S
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.world import World
from tests.protocol.trace import trace
from tests.protocol.wire import Bench, Tapped, change
from tests.strategies import signer

ROOT = Path(__file__).parents[2]
HEAL_S = 10.0
"""Design, section 12: a partition of any length has converged this long after it has healed."""


# -- determinism ----------------------------------------------------------------------------------


def in_another_process(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sim'}"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.protocol.trace", str(seed)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )
    return run.stdout.strip()


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    assert in_another_process(7, "1") == in_another_process(7, "2") == trace(7)


def test_another_seed_gives_another_trace() -> None:
    assert trace(8) != trace(9)


# -- scenarios ------------------------------------------------------------------------------------


def many(count: int, seed: int = 0) -> tuple[Tapped, list[str]]:
    names = [f"n{number:02d}" for number in range(count)]
    world = Tapped(*names, seed=seed)
    world.run(10.0)
    return world, names


def publish_everywhere(world: Tapped, names: list[str], value: str) -> None:
    """One key of each publisher's own, and one that all fight for."""
    for name in names:
        world.publish_value(name, f"own/{name}", value)
        world.publish_value(name, "shared", f"{value} of {name}")


def test_thirty_nodes_know_each_other_and_converge() -> None:
    world, names = many(30)
    assert all(len(node.members()) == 29 for node in world.running())
    begin_s = world.now_s
    tokens = [world.publish(name, signer("alice"), [put(f"own/{name}", b"1")])[0] for name in names]
    assert world.run_until(lambda: world.converged() and len(world.acknowledged) == 30, 5.0)
    assert all(isinstance(world.outcome(token), Published) for token in tokens)
    assert all(len(node.replica.live) == 31 for node in world.running())
    assert list(violations(world)) == []
    copies = len(world.since(begin_s, Push)) / (30 * 30)
    assert copies <= 16, "a link is crossed once, at most twice if both ends send at the same time"


@pytest.mark.parametrize(("length_s", "count"), [(10.0, 30), (3_600.0, 4)])
def test_a_partition_with_publishes_on_both_sides_heals(length_s: float, count: int) -> None:
    world, names = many(count, seed=1)
    publishers = [names[0], names[1], names[-2], names[-1]]
    publish_everywhere(world, publishers, "before")
    world.run(2.0)
    world.partition(names[: count // 2], names[count // 2 :])
    world.run(1.0)
    publish_everywhere(world, publishers, "apart")
    world.run(length_s)
    assert len({node.root for node in world.running()}) == 2, "each side is of one mind, and they differ"
    world.heal()
    assert world.run_until(world.converged, HEAL_S)
    assert list(violations(world)) == []


def test_a_partition_of_ten_days_heals() -> None:
    """With everybody dark for most of it: what they come back with must still be enough to find each other."""
    world, names = many(6, seed=2)
    world.partition(names[:3], names[3:])
    world.run(1.0)
    publish_everywhere(world, names, "apart")
    world.run(60.0)
    skip_ahead(world, 10 * 86_400.0)
    world.run(60.0)
    assert len({node.root for node in world.running()}) == 2
    world.heal()
    assert world.run_until(world.converged, HEAL_S)
    assert list(violations(world)) == []


def skip_ahead(world: World, duration_s: float) -> None:
    """Stop everybody, let time pass, and start again from disk."""
    names = list(world.hosts)
    for name in names:
        world.crash(name)
    world.run(duration_s)
    for name in names:
        world.start(name)


def test_crashed_nodes_come_back_with_what_they_had_and_get_what_they_missed() -> None:
    world, names = many(10, seed=3)
    publish_everywhere(world, names[:3], "before")
    world.run(2.0)
    before = world.node("n09").root
    for name in names[5:]:
        world.crash(name)
    world.publish_value("n00", "missed", "1")
    world.run(30.0)
    for name in names[5:]:
        world.start(name)
        assert world.node(name).root == before
    assert world.run_until(world.converged, HEAL_S)
    assert world.node("n09").replica.live.slot(("missed", ""))
    assert list(violations(world)) == []


def test_everybody_crashes_at_once_and_nothing_acknowledged_is_lost() -> None:
    world, names = many(8, seed=4)
    publish_everywhere(world, names, "1")
    assert world.run_until(lambda: len(world.acknowledged) >= 8, 5.0)
    for name in names:
        world.crash(name)
    for name in names:
        world.start(name)
    assert world.run_until(world.converged, HEAL_S)
    assert list(violations(world)) == []


def test_an_empty_disk_boots_from_one_peer() -> None:
    world = Tapped("a", "b", dials=False)
    for number in range(200):
        world.inject("a", change(str(number), f"k{number}", seq=number + 1))
    world.crash("b")
    world.start("b", empty_disk=True)
    world.wire("a", "b")
    assert world.run_until(world.converged, 1.0)
    assert len(world.hosts["b"].reads) == 201 or world.run_until(lambda: len(world.hosts["b"].reads) == 201, 1.0)
    (synced,) = world.events_of("b", Synced)
    assert (synced.equal, synced.received, synced.walked) == (True, 200, False)


def test_a_full_disk_stops_neither_serving_nor_relaying() -> None:
    """A chain: the one in the middle cannot write."""
    world = Tapped("a", "b", "c", dials=False)
    world.wire("a", "b")
    world.wire("b", "c")
    world.publish_value("a", "k", "1")
    world.run(1.0)
    world.hosts["b"].disk.full = True
    world.publish_value("a", "k", "2")
    world.run(1.0)
    value = {name: world.hosts[name].reads["k", ""][0].entry.value for name in world.hosts}
    assert value == {"a": b"2", "b": b"1", "c": b"2"}
    world.hosts["b"].disk.full = False
    world.run(2.0)
    assert world.hosts["b"].reads["k", ""][0].entry.value == b"2"
    assert list(violations(world)) == []


# -- inputs of the shell --------------------------------------------------------------------------


def test_a_stopping_node_says_goodbye_and_does_nothing_more() -> None:
    bench = Bench(seeds=["x:1"])
    links = [bench.connect(peer) for peer in ("a", "b")]
    bench.drain(Disconnect)
    bench.node.stop(bench.now())
    assert [one.link for one in bench.drain(Disconnect)] == links
    assert all([type(one) for one in bench.said(link)][-1] is Goodbye for link in links)
    assert bench.node.next_timer_s is None
    late = bench.connect("c", hello=False)
    assert bench.closed(late) == "the agent is shutting down"
    bench.wait(100.0)
    assert bench.dialled() == ["x:1"], "from before"


def test_messages_after_the_end_of_a_link_are_nobodys() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.node.overlay.close(bench.node.links()[0], "the test says so")
    bench.said(link)
    bench.tell(link, Ping(1))
    bench.lose(link)
    bench.tell(link, Ping(2))
    bench.node.dropped(bench.now(), link, FrameClass.CONTROL)
    assert bench.said(link) == []


def test_a_lost_control_message_closes_and_a_lost_push_is_made_good_by_a_root() -> None:
    bench = Bench()
    link = bench.connect("z")
    bench.said(link)
    for frame_class in (FrameClass.BROADCAST, FrameClass.SYNC, FrameClass.ACK):
        bench.node.dropped(bench.now(), link, frame_class)
    bench.wait(1.5)
    shown = [one for one in bench.said(link) if not isinstance(one, Roster | RosterDigest)]
    assert shown == [Root(bench.node.root, 1)]
    bench.node.dropped(bench.now(), link, FrameClass.CONTROL)
    assert bench.closed(link) == "the peer does not read"


def test_unknown_messages_are_skipped_and_malformed_ones_close_the_link() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.node.received(bench.now(), link, b"\x92\xcd\x03\xe7\xc3")  # [999, true]
    assert bench.closed(link) is None
    bench.said(link)
    bench.node.received(bench.now(), link, b"\x92\x02\xc3")  # a ping whose token is true
    assert bench.closed(link) is not None
    (goodbye,) = bench.said(link)
    assert isinstance(goodbye, Goodbye)
    assert "token of Ping" in goodbye.reason


# -- shared decoding ------------------------------------------------------------------------------


def test_a_driver_may_share_what_identical_bytes_decode_to() -> None:
    change_of_bytes, message_of_bytes = cache(Change.decode), cache(decode_message)
    decoders = Decoders(message_of_bytes, change_of_bytes)
    benches = [Bench(name, decoders=decoders) for name in ("m", "n")]
    pushed = change()
    for bench in benches:
        bench.tell(bench.connect("p"), Push(1, 0, 0, pushed.encode()))
    held = [bench.node.replica.live.stored(pushed.id) for bench in benches]
    assert held[0] is held[1] == pushed
    assert change_of_bytes.cache_info().misses == 1
    assert message_of_bytes.cache_info().hits >= 2, "the hello of the same peer, and the push"


KEY_BYTES_MAX = 450
"""What a key may cost a node beyond the change that all nodes share: a simulation of 100,000 nodes with 200 keys each
then takes 9 GB for them. What is news is held beside it, for a while."""


def test_a_key_costs_a_node_little_beyond_the_shared_change() -> None:
    change_of_bytes, message_of_bytes = cache(Change.decode), cache(decode_message)
    decoders = Decoders(message_of_bytes, change_of_bytes)
    count, benches = 200, [Bench(f"m{number}", decoders=decoders) for number in range(6)]
    pushes = [encode_message(Push(1, 0, 0, change(key=f"k{seq}", seq=seq).encode())) for seq in range(1, count + 2)]

    def fill(bench: Bench) -> None:
        link = bench.connect("p")
        for push in pushes[:-1]:
            bench.node.received(bench.now(), link, push)
        bench.now_s += KEPT_S + 1.0
        bench.node.received(bench.now(), link, pushes[-1])  # the others are no news any more
        bench.write()
        bench.outputs.clear()
        bench.disk.changes.clear()

    fill(benches[0])  # what all share is made
    gc.collect()
    tracemalloc.start()
    for bench in benches[1:]:
        fill(bench)
    gc.collect()
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(benches[1].node.replica.live) == count + 2
    assert held_bytes / count / len(benches[1:]) < KEY_BYTES_MAX
