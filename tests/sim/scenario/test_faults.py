"""Faults and the conditions of machines: each does what its words say, at exact virtual times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import sqrt
from typing import Any

import pytest

from gossipconf.model.entry import put
from gossipconf.protocol.events import ConnectFailed, DiskFailed, DiskRecovered, PeerDown, Published, PublishFailed
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import Push, encode_message
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.network.cut import Cut
from gossipconf_sim.network.wire import Wire
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.scenario.admins import ADMIN, cluster
from gossipconf_sim.scenario.faults import (
    FAULTS,
    BadNetwork,
    Churn,
    Crash,
    Fault,
    Fork,
    FullDisk,
    Partition,
    Pause,
    RollingRestart,
    SlowDisk,
    SlowReader,
)
from gossipconf_sim.world.adversary import Adversary
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.stage import Mark, Stage
from gossipconf_sim.world.world import World
from tests.protocol.wire import Tapped

NAMES = tuple("abcdefgh")


class Theatre:
    """A stage on a world of eight hosts that run for two seconds, and what happens to them."""

    def __init__(
        self,
        names: tuple[str, ...] = NAMES,
        *,
        seed: int = 0,
        zones: Callable[[int], str] = lambda number: "",
        adversary: int | None = None,
        **conditions: Any,
    ) -> None:
        self.world = World(cluster(), seed, **conditions)
        for number, name in enumerate(names):
            hostile = Adversary() if number == adversary else None
            self.world.add(name, [one for one in names if one != name][:3], zone=zones(number), adversary=hostile)
        self.world.run(2.0)
        self.stage = Stage(self.world, self.world.random("stage"))

    def play(self, *faults: Fault) -> None:
        for fault in faults:
            fault.plan(self.stage)

    def run_to(self, time_s: float) -> None:
        """To a time of the stage."""
        self.world.schedule.run(self.stage.begin_s + time_s)

    @property
    def hosts(self) -> list[Host]:
        return list(self.world.hosts.values())

    def up(self) -> list[str]:
        return [host.name for host in self.hosts if host.node is not None]

    def downs(self, name: str, since_s: float = 0.0) -> list[tuple[float, str, str]]:
        """When a host has lost which peer, and why, on the stage's clock."""
        events = self.world.hosts[name].events
        return [
            (at_s - self.stage.begin_s, event.node_id, event.reason)
            for at_s, event in events
            if isinstance(event, PeerDown) and at_s - self.stage.begin_s >= since_s
        ]


# -- the stage ------------------------------------------------------------------------------------


def test_times_count_from_the_beginning_of_the_stage() -> None:
    theatre = Theatre(("a",))
    seen: list[float] = []
    theatre.stage.at(1.5, lambda: seen.append(theatre.stage.now_s))
    theatre.stage.every(0.5, lambda: seen.append(theatre.stage.now_s))
    theatre.world.run(1.6)
    assert seen == [0.5, 1.0, 1.5, 1.5]
    theatre.stage.mark("one", 1.0, 4.0)
    theatre.stage.mark("other", 2.0, 3.0)
    assert theatre.stage.marks == [Mark("one", 1.0, 4.0), Mark("other", 2.0, 3.0)]
    assert theatre.stage.trouble_ends_s == 4.0


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.001, 1), (0.5, 4), (0.57, 4), (1.0, 7)])
def test_a_share_is_of_honest_hosts_and_at_least_one(share: float, count: int) -> None:
    theatre = Theatre(adversary=2)
    chosen = theatre.stage.some(share)
    assert len(chosen) == count
    assert [host.index for host in chosen] == sorted({host.index for host in chosen})
    assert all(host.honest for host in chosen)


def test_all_faults_are_known_by_their_names() -> None:
    assert {name: kind.KIND for name, kind in FAULTS.items()} == {name: name for name in FAULTS}
    assert len(FAULTS) == 12


# -- partitions -----------------------------------------------------------------------------------


def cuts_of(theatre: Theatre) -> list[tuple[float, str, Cut]]:
    """Note when which cut begins and ends."""
    noted: list[tuple[float, str, Cut]] = []
    network = theatre.world.network
    cut, mend = network.cut, network.mend

    def noting_cut(one: Cut) -> None:
        noted.append((theatre.stage.now_s, "cut", one))
        cut(one)

    def noting_mend(one: Cut) -> None:
        noted.append((theatre.stage.now_s, "mend", one))
        mend(one)

    network.cut, network.mend = noting_cut, noting_mend  # type: ignore[method-assign]
    return noted


def sides(cut: Cut) -> list[int]:
    return [count for _, count in sorted(Counter(cut.sides.values()).items())]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Partition(), [4, 4]),
        (Partition(sides=3), [3, 3, 2]),
        (Partition(share=0.25), [2, 6]),
        (Partition(share=0.001), [1, 7]),
        (Partition(share=0.25, sides=3), [2, 3, 3]),
        (Partition(bridges=2), [3, 3]),
        (Partition(bridges=100), []),
    ],
)
def test_the_sides_of_a_partition(fault: Partition, expected: list[int]) -> None:
    theatre = Theatre()
    noted = cuts_of(theatre)
    theatre.play(fault)
    theatre.run_to(100.0)
    assert [(at_s, what) for at_s, what, _ in noted] == [(1.0, "cut"), (61.0, "mend")]
    assert sides(noted[0][2]) == expected
    assert theatre.stage.marks == [Mark("partition", 1.0, 61.0)]


def test_whole_zones_go_to_a_side() -> None:
    theatre = Theatre(zones=lambda number: "xyz"[number % 3])
    noted = cuts_of(theatre)
    theatre.play(Partition(by_zone=True))
    theatre.run_to(2.0)
    side = noted[0][2].sides
    of_zone = {zone: {side[host.index] for host in theatre.hosts if host.zone == zone} for zone in "xyz"}
    assert all(len(one) == 1 for one in of_zone.values())
    assert set().union(*of_zone.values()) == {0, 1}


def test_with_fewer_zones_than_sides_any_hosts_go() -> None:
    theatre = Theatre(zones=lambda number: "xy"[number % 2])
    noted = cuts_of(theatre)
    theatre.play(Partition(by_zone=True, sides=4))
    theatre.run_to(2.0)
    assert sides(noted[0][2]) == [2, 2, 2, 2]


def test_a_partition_comes_and_goes() -> None:
    theatre = Theatre()
    noted = cuts_of(theatre)
    theatre.play(Partition(at_s=1.0, for_s=10.0, flap_s=2.0))
    theatre.run_to(100.0)
    times = [(1.0, "cut"), (3.0, "mend"), (5.0, "cut"), (7.0, "mend"), (9.0, "cut"), (11.0, "mend")]
    assert [(at_s, what) for at_s, what, _ in noted] == times


def test_the_bridges_of_a_partition_come_and_go() -> None:
    theatre = Theatre()
    noted = cuts_of(theatre)
    theatre.play(Partition(at_s=1.0, for_s=10.0, bridges=2, bridge_flap_s=4.0))
    theatre.run_to(20.0)
    assert [(at_s, what, sides(cut)) for at_s, what, cut in noted] == [
        (1.0, "cut", [3, 3]),
        (5.0, "cut", [5, 3]),
        (9.0, "mend", [5, 3]),
        (11.0, "mend", [3, 3]),
    ]


def test_nodes_learn_of_a_loud_partition_at_once_and_of_a_silent_one_by_silence() -> None:
    for silent in (False, True):
        theatre = Theatre()
        noted = cuts_of(theatre)
        theatre.play(Partition(silent=silent))
        theatre.run_to(1.5)
        side = {name: noted[0][2].sides[host.index] for name, host in theatre.world.hosts.items()}
        across = {name: {one for one in NAMES if side[one] != side[name]} for name in NAMES}
        reasons = ("silent for 15 s", "no answer within 3 s") if silent else ("the network is partitioned",)
        missed = {name: {one for _, one, why in theatre.downs(name, 1.0) if why in reasons} for name in NAMES}
        assert missed == ({name: set() for name in NAMES} if silent else across)
        theatre.run_to(21.0)
        missed = {name: {one for _, one, why in theatre.downs(name, 1.0) if why in reasons} for name in NAMES}
        assert missed == across
        failures = {
            event.reason
            for host in theatre.hosts
            for at_s, event in host.events
            if isinstance(event, ConnectFailed) and at_s > theatre.stage.begin_s + 1.0
        }
        assert failures == {"no answer within the limit" if silent else "unreachable"}


def test_a_one_way_partition_parts_both_sides_in_time() -> None:
    theatre = Theatre()
    theatre.play(Partition(one_way=True, for_s=30.0))
    theatre.run_to(2.0)
    world = theatre.world
    cut = world.network._cuts[0]
    (speaker,) = [host for host in theatre.hosts if cut.sides[host.index] == 1][:1]
    token, change = world.publish(speaker.name, ADMIN, [put("k", b"1")])
    theatre.run_to(3.0)
    assert isinstance(world.outcome(token), Published)
    assert all(host.running.replica.live.stored(change.id) is not None for host in theatre.hosts), "it is still heard"
    theatre.run_to(25.0)
    token, change = world.publish(speaker.name, ADMIN, [put("k", b"2")])
    theatre.run_to(28.0)
    side_of = {host.name: cut.sides[host.index] for host in theatre.hosts}
    holders = {host.name for host in theatre.hosts if host.running.replica.live.stored(change.id) is not None}
    assert holders == {name for name, side in side_of.items() if side == 1}
    assert theatre.stage.marks == [Mark("one-way partition", 1.0, 31.0)]
    world.run_until(world.converged, 60.0)
    assert world.converged()


def test_a_bridge_carries_news_between_the_sides() -> None:
    for bridges in (0, 1):
        theatre = Theatre()
        theatre.play(Partition(bridges=bridges, for_s=100.0))
        theatre.run_to(40.0)
        theatre.world.publish("a", ADMIN, [put("k", b"1")])
        theatre.run_to(45.0)
        assert theatre.world.converged() is bool(bridges)


# -- crashes --------------------------------------------------------------------------------------


def test_a_share_of_the_hosts_crashes_and_comes_back() -> None:
    theatre = Theatre()
    theatre.play(Crash(at_s=1.0, share=0.4, down_s=5.0))
    theatre.run_to(0.999)
    assert len(theatre.up()) == 8
    theatre.run_to(1.001)
    down = sorted({*NAMES} - {*theatre.up()})
    assert len(down) == 3
    assert all(theatre.world.hosts[name].unreachable for name in down)
    theatre.run_to(5.999)
    assert len(theatre.up()) == 5
    theatre.run_to(6.001)
    assert len(theatre.up()) == 8
    assert {name: theatre.world.hosts[name].boot for name in NAMES} == {name: 1 + (name in down) for name in NAMES}
    assert theatre.stage.marks == [Mark("crash", 1.0, 6.0)]


def test_who_crashes_for_ever_does_not_come_back() -> None:
    theatre = Theatre()
    theatre.play(Crash(share=1.0))
    theatre.run_to(100.0)
    assert theatre.up() == []
    assert theatre.stage.marks == [Mark("crash", 1.0, 1.0)]


@pytest.mark.parametrize("machine", [False, True])
def test_peers_learn_of_a_process_at_once_and_of_a_machine_by_silence(machine: bool) -> None:
    theatre = Theatre()
    theatre.play(Crash(share=0.001, machine=machine))
    theatre.run_to(30.0)
    (gone,) = {*NAMES} - {*theatre.up()}
    losses = [loss for name in theatre.up() for loss in theatre.downs(name, 1.0)]
    times = [at_s for at_s, node_id, _ in losses if node_id == gone]
    assert len(times) == 7
    assert {reason for _, node_id, reason in losses if node_id == gone} == {
        "silent for 15 s" if machine else "the peer has crashed"
    }
    if machine:
        assert 1 + 15 - 10 < min(times) <= max(times) < 1 + 15 + 1
    else:
        assert times == pytest.approx([1.05] * 7)


@pytest.mark.parametrize("empty_disk", [False, True])
def test_a_host_comes_back_from_its_disk_or_from_none(empty_disk: bool) -> None:
    theatre = Theatre(("a", "b"))
    theatre.world.publish("a", ADMIN, [put("k", b"1")])
    theatre.play(Partition(at_s=0.5, for_s=100.0, silent=False), Crash(share=1.0, down_s=1.0, empty_disk=empty_disk))
    theatre.run_to(3.0)
    for host in theatre.hosts:
        assert ("k", "") not in host.reads if empty_disk else host.reads["k", ""][0].entry.value == b"1"
    assert list(violations(theatre.world)) == []


def test_churn_is_a_steady_rate_of_crashes_of_hosts_that_run() -> None:
    theatre = Theatre(seed=5)
    crashes: list[tuple[float, str]] = []
    crash = theatre.world.crash

    def noting(name: str, *, silent: bool = False) -> None:
        crashes.append((theatre.stage.now_s, name))
        assert silent
        crash(name, silent=silent)

    theatre.world.crash = noting  # type: ignore[method-assign]
    theatre.play(Churn(at_s=1.0, for_s=120.0, share_per_min=5.0, down_s=3.0))
    theatre.run_to(0.9)
    starts: dict[str, list[float]] = {name: [] for name in NAMES}
    boots = dict.fromkeys(NAMES, 1)
    while theatre.stage.now_s < 130.0:
        theatre.world.run(0.01)
        for name, host in theatre.world.hosts.items():
            if host.boot != boots[name]:
                boots[name] = host.boot
                starts[name].append(theatre.stage.now_s)
    expected = 8 * 5.0 * 2
    assert abs(len(crashes) - expected) < 5 * sqrt(expected)
    assert 1.0 <= crashes[0][0] < crashes[-1][0] < 121.0
    for name in NAMES:
        gone = [at_s for at_s, one in crashes if one == name]
        assert starts[name] == pytest.approx([at_s + 3.0 for at_s in gone], abs=0.02)
    assert len(theatre.up()) == 8
    assert theatre.stage.marks == [Mark("churn", 1.0, 124.0)]


def test_churn_leaves_a_world_without_hosts_alone() -> None:
    theatre = Theatre()
    theatre.play(Crash(at_s=0.0, share=1.0), Churn(for_s=10.0, share_per_min=60.0))
    theatre.run_to(30.0)
    assert theatre.up() == []


@pytest.mark.parametrize("kill", [False, True])
def test_a_rolling_restart_takes_one_host_after_the_other(kill: bool) -> None:
    theatre = Theatre()
    theatre.play(RollingRestart(at_s=1.0, every_s=3.0, down_s=2.0, kill=kill))
    restarted = []
    for number in range(8):
        theatre.run_to(1.0 + 3.0 * number + 0.5)
        (down,) = {*NAMES} - {*theatre.up()}
        restarted.append(down)
        reason = "the peer has crashed" if kill else "peer: the agent is shutting down"
        losses = [loss for name in theatre.up() for loss in theatre.downs(name, 3.0 * number)]
        assert {why for _, node_id, why in losses if node_id == down} == {reason}
        theatre.run_to(1.0 + 3.0 * number + 2.5)
        assert len(theatre.up()) == 8
    assert sorted(restarted) == sorted(NAMES)
    assert theatre.stage.marks == [Mark("rolling restart", 1.0, 24.0)]
    theatre.run_to(100.0)
    assert {host.boot for host in theatre.hosts} == {2}
    assert list(violations(theatre.world)) == []


@pytest.mark.parametrize("together", [False, True])
def test_a_restart_of_all_within_a_time(together: bool) -> None:
    theatre = Theatre()
    theatre.play(RollingRestart(at_s=1.0, within_s=16.0, down_s=2.0, kill=True, together=together))
    assert theatre.stage.marks == [Mark("rolling restart", 1.0, 17.0)]
    up = []
    for number in range(8):  # every 2 s the next one goes, or comes back
        theatre.run_to(1.0 + 2.0 * number + 1.9)
        before = len(theatre.up())
        theatre.run_to(1.0 + 2.0 * number + 2.1)
        up.append((before, len(theatre.up())))
    assert up == ([(number, number + 1) for number in range(8)] if together else [(7, 7)] * 7 + [(7, 8)])
    theatre.run_to(100.0)
    assert {host.boot for host in theatre.hosts} == {2}
    assert list(violations(theatre.world)) == []


def test_who_is_told_to_stop_finishes_what_it_has_acknowledged_or_is_about_to() -> None:
    theatre = Theatre(hosts=HostConditions(disk_ms=(500.0, 500.0)))
    world = theatre.world
    token, change = world.publish("a", ADMIN, [put("k", b"1")])
    theatre.stage.stop(world.hosts["a"], down_s=0.1)
    theatre.run_to(0.4)
    assert world.hosts["a"].node is not None
    theatre.run_to(3.0)
    assert world.hosts["a"].boot == 2
    assert world.outcome(token) == Published(token, change.id)
    assert world.hosts["b"].reads["k", ""][0].entry.value == b"1"
    assert list(violations(world)) == []


def test_who_is_told_to_stop_does_not_wait_for_its_disk_for_ever() -> None:
    theatre = Theatre(hosts=HostConditions(disk_ms=(60_000.0, 60_000.0)))
    theatre.world.publish("a", ADMIN, [put("k", b"1")])
    theatre.world.stop("a")
    theatre.run_to(2.99)
    assert "a" in theatre.up()
    theatre.run_to(3.01)
    assert "a" not in theatre.up()
    theatre.world.stop("a")  # it is gone: nothing more happens


# -- pauses ---------------------------------------------------------------------------------------


def test_a_paused_process_does_nothing_and_loses_nothing() -> None:
    world = Tapped("a", "b", of=cluster(), dials=False)
    world.wire("a", "b")
    world.run(2.0)
    given: list[tuple[float, bytes]] = []
    world.on_arrival = lambda host, wire, message: given.append((world.now_s, message)) if host.name == "b" else None
    stage = Stage(world, world.random("stage"))
    stage.rng.sample = lambda hosts, count: [world.hosts["b"]]  # type: ignore[method-assign, assignment]
    Pause(at_s=1.0, for_s=5.0, share=0.5).plan(stage)
    world.run(1.0)
    begin_s = world.now_s
    for number in range(10):
        publish(world, "a", "k", b"%d" % number)
        world.run(0.1)
    world.run(3.9)
    assert [one for one in world.since(begin_s) if one.sender == "b"] == []
    assert given == [] or given[-1][0] <= begin_s
    assert ("k", "") not in world.hosts["b"].reads
    world.run(0.2)
    pushes = [one for one in given if one[1][1] == Push.TYPE]
    assert [at_s for at_s, _ in pushes] == [begin_s + 5.0] * 10
    assert world.hosts["b"].reads["k", ""][0].entry.value == b"9"
    assert [message for _, message in pushes] == [encode_message(one.message) for one in world.since(begin_s, Push)]
    assert stage.marks == [Mark("pause", 1.0, 6.0)]


def test_a_long_pause_costs_the_links_and_nothing_else() -> None:
    theatre = Theatre()
    theatre.play(Pause(at_s=1.0, for_s=40.0, share=0.001))
    theatre.run_to(2.0)
    (paused,) = [host for host in theatre.hosts if host.paused is not None]
    theatre.run_to(40.9)
    assert theatre.downs(paused.name, 1.0) == []
    assert all(paused.name in {one for _, one, _ in theatre.downs(name)} for name in NAMES if name != paused.name)
    theatre.world.publish("a" if paused.name != "a" else "b", ADMIN, [put("k", b"1")])
    theatre.run_to(41.1)
    assert {one for _, one, _ in theatre.downs(paused.name, 1.0)} == {*NAMES} - {paused.name}
    theatre.run_to(60.0)
    assert theatre.world.converged()
    assert list(violations(theatre.world)) == []


def test_who_crashes_while_paused_is_not_woken() -> None:
    theatre = Theatre()
    theatre.play(Pause(at_s=1.0, for_s=5.0, share=1.0), Crash(at_s=2.0, share=1.0, down_s=1.0))
    theatre.run_to(3.5)
    assert len(theatre.up()) == 8
    assert all(host.paused is None for host in theatre.hosts)
    theatre.run_to(30.0)
    assert {host.boot for host in theatre.hosts} == {2}
    assert list(violations(theatre.world)) == []


# -- disks ----------------------------------------------------------------------------------------


def publish(world: World, name: str, key: str, value: bytes = b"1") -> int:
    return world.publish(name, ADMIN, [put(key, value)])[0]


def acknowledged(world: World) -> list[float]:
    return [at_s for _, at_s, _ in world.acknowledged]


def quiet(**conditions: Any) -> World:
    """One host that has written all that it writes of itself."""
    world = World(cluster(), hosts=HostConditions(**conditions))
    world.add("a")
    world.run(100.0)
    return world


def test_what_waits_for_the_disk_is_written_together() -> None:
    world = quiet(disk_ms=(100.0, 100.0))
    for number in range(4):
        publish(world, "a", f"k{number}")
        world.run(0.03)
    world.run(1.0)
    assert acknowledged(world) == pytest.approx([100.1, 100.2, 100.2, 100.2])


def test_the_duration_of_a_write_is_drawn_from_its_range() -> None:
    world = quiet(disk_ms=(10.0, 50.0))
    begins = []
    for number in range(200):
        begins.append(world.now_s)
        publish(world, "a", f"k{number % 5}")
        world.run(1.0)
    took = [end_s - begin_s for begin_s, end_s in zip(begins, acknowledged(world), strict=True)]
    assert 0.010 <= min(took) < 0.011
    assert 0.049 < max(took) <= 0.050


def test_a_slow_disk_takes_as_many_times_as_long() -> None:
    theatre = Theatre(("a",), hosts=HostConditions(disk_ms=(10.0, 10.0)))
    theatre.play(SlowDisk(at_s=1.0, for_s=10.0, share=1.0, factor=20.0))
    for time_s in (0.5, 2.0, 11.5):
        theatre.run_to(time_s)
        publish(theatre.world, "a", "k")
    theatre.run_to(20.0)
    begin_s = theatre.stage.begin_s
    assert acknowledged(theatre.world) == pytest.approx([begin_s + 0.51, begin_s + 2.2, begin_s + 11.51])
    assert theatre.stage.marks == [Mark("slow disks", 1.0, 11.0)]


def test_a_full_disk_takes_no_publish_and_goes_on_to_serve_and_relay() -> None:
    theatre = Theatre(("a", "b", "c"))
    world = theatre.world
    theatre.play(FullDisk(at_s=1.0, for_s=10.0, share=1.0))
    theatre.run_to(2.0)
    refused = publish(world, "a", "k")
    theatre.run_to(5.0)
    assert isinstance(world.outcome(refused), PublishFailed)
    assert world.acknowledged == []
    theatre.run_to(13.0)
    taken = publish(world, "a", "k")
    theatre.run_to(15.0)
    assert isinstance(world.outcome(taken), Published)
    kinds = Counter(type(event) for _, event in world.hosts["a"].events)
    assert (kinds[DiskFailed], kinds[DiskRecovered]) == (1, 1)
    assert theatre.stage.marks == [Mark("full disks", 1.0, 11.0)]
    assert list(violations(world)) == []


def test_others_relay_for_a_full_disk() -> None:
    theatre = Theatre(("a", "b", "c"))
    world = theatre.world
    world.hosts["b"].disk.full = True
    publish(world, "a", "k")
    theatre.run_to(1.0)
    assert {host.running.root for host in theatre.hosts} == {world.hosts["a"].running.root}
    assert ("k", "") not in world.hosts["b"].reads
    world.hosts["b"].disk.full = False
    theatre.run_to(5.0)
    assert world.hosts["b"].reads["k", ""][0].entry.value == b"1"


# -- readers, clocks, processors ------------------------------------------------------------------


def test_slow_readers_are_slow_for_a_while() -> None:
    theatre = Theatre()
    theatre.play(SlowReader(at_s=1.0, for_s=5.0, share=0.25, read_kib_s=2.0))
    speeds = []
    for time_s in (0.9, 1.1, 5.9, 6.1):
        theatre.run_to(time_s)
        speeds.append(Counter(host.read_bytes_s for host in theatre.hosts))
    assert speeds == [{None: 8}, {None: 6, 2048.0: 2}, {None: 6, 2048.0: 2}, {None: 8}]
    assert theatre.stage.marks == [Mark("slow readers", 1.0, 6.0)]


def test_a_slow_reader_keeps_nobody_else_waiting() -> None:
    theatre = Theatre()
    theatre.play(SlowReader(at_s=0.0, for_s=300.0, share=0.001, read_kib_s=0.5))
    theatre.run_to(1.0)
    (slow,) = [host for host in theatre.hosts if host.read_bytes_s is not None]
    origin = next(host.name for host in theatre.hosts if host is not slow)
    for number in range(10):
        publish(theatre.world, origin, f"k{number}", bytes(10_000))
    theatre.run_to(1.2)
    others = [host for host in theatre.hosts if host is not slow]
    assert all(len([slot for slot in host.reads if slot[0].startswith("k")]) == 10 for host in others)
    assert not any(slot[0].startswith("k") for slot in slow.reads)
    theatre.run_to(400.0)
    assert theatre.world.converged()
    assert list(violations(theatre.world)) == []


def test_a_node_is_told_what_finds_its_queue_full_and_brings_it_later() -> None:
    theatre = Theatre(("a", "b"), network=NetworkConditions(bandwidth_mbit_s=8.0))
    world = theatre.world
    told: list[tuple[str, FrameClass]] = []
    dropped = world.dropped

    def noting(host: Host, wire: Wire, frame_class: FrameClass) -> None:
        told.append((host.name, frame_class))
        dropped(host, wire, frame_class)

    world.dropped = noting  # type: ignore[method-assign]
    for number in range(20):
        publish(world, "a", f"k{number}", bytes(1_000_000))
    theatre.run_to(0.1)
    # Three find room, the fourth does not; those that wait are forgotten with it, and until the first has left nothing
    # is taken, announcements neither.
    assert len(told) == 17
    assert set(told) == {("a", FrameClass.BROADCAST)}
    theatre.run_to(15.0)
    assert not world.converged()
    theatre.run_to(60.0)
    assert world.converged()
    assert list(violations(world)) == []


def test_only_wall_clocks_are_wrong() -> None:
    world = World(cluster(), hosts=HostConditions(clock_skew_ms=60_000.0))
    hosts = [world.add(f"h{number}") for number in range(200)]
    skews = [host.skew_ms for host in hosts]
    assert -60_000 <= min(skews) < -57_000
    assert 57_000 < max(skews) <= 60_000
    assert abs(sum(skew < 0 for skew in skews) - 100) < 5 * sqrt(200 / 4)
    world.run(1.5)
    clocks = [world._clock(host) for host in hosts]
    assert {clock.monotonic_s for clock in clocks} == {1.5}
    assert [clock.wall_ms - world.clock_ms() for clock in clocks] == skews


def test_messages_wait_for_the_processor_one_after_the_other() -> None:
    network = NetworkConditions(latency_ms=(10.0, 10.0), jitter=(1.0, 1.0))
    hosts = HostConditions(processing_us=20_000.0)
    world = Tapped("a", "b", of=cluster(), dials=False, network=network, hosts=hosts)
    world.wire("a", "b")
    world.run(60.0)
    given: list[float] = []
    world.on_arrival = lambda host, wire, message: given.append(world.now_s) if message[1] == Push.TYPE else None
    world.hosts["a"].disk.slowness = 0.0
    begin_s = world.now_s
    for number in range(5):
        publish(world, "a", f"k{number}")
    world.run(1.0)
    first_s = given[0]
    assert first_s >= begin_s + 0.030 - 1e-9
    assert given == pytest.approx([first_s + 0.020 * number for number in range(5)])


def test_the_end_of_a_connection_waits_behind_the_messages_that_came_before_it() -> None:
    network = NetworkConditions(latency_ms=(10.0, 10.0), jitter=(1.0, 1.0))
    world = Tapped("a", "b", of=cluster(), dials=False, network=network, hosts=HostConditions(processing_us=20_000.0))
    world.wire("a", "b")
    world.run(60.0)
    world.hosts["a"].disk.slowness = 0.0
    for number in range(5):
        publish(world, "a", f"k{number}")
    world.run(0.001)
    world.stop("a")
    world.run(2.0)
    assert {f"k{number}" for number in range(5)} <= {key for key, _ in world.hosts["b"].reads}
    assert [event.reason for event in world.events_of("b", PeerDown)] == ["peer: the agent is shutting down"]


# -- the whole network ----------------------------------------------------------------------------


def test_a_bad_network_is_as_bad_as_it_says_and_then_as_before() -> None:
    lasting = NetworkConditions(loss=0.2, duplicate=0.1)
    theatre = Theatre(network=lasting)
    network = theatre.world.network
    theatre.play(BadNetwork(at_s=1.0, for_s=4.0, loss=0.1, drop=0.3, duplicate=0.2, latency_factor=5.0))
    theatre.run_to(0.9)
    assert (network.conditions, network.latency_factor) == (lasting, 1.0)
    for time_s in (1.1, 4.9):
        theatre.run_to(time_s)
        now = network.conditions
        assert (now.loss, now.drop, now.duplicate, network.latency_factor) == (0.2, 0.3, 0.2, 5.0)
    theatre.run_to(5.1)
    assert (network.conditions, network.latency_factor) == (lasting, 1.0)
    assert theatre.stage.marks == [Mark("bad network", 1.0, 5.0)]


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 5, 23), (1.0, 28, 28)])
def test_a_bad_network_breaks_a_share_of_the_connections(share: float, low: int, high: int) -> None:
    theatre = Theatre()
    assert sum(1 for _ in theatre.world.network.wires()) == 28
    theatre.play(BadNetwork(resets=share))
    theatre.run_to(1.001)
    assert low <= sum(wire.cut for wire in theatre.world.network.wires()) <= high
    theatre.run_to(30.0)
    assert sum(1 for _ in theatre.world.network.wires()) == 28


# -- forks ----------------------------------------------------------------------------------------


def test_all_learn_of_every_fork() -> None:
    theatre = Theatre()
    theatre.play(Fork(at_s=1.0, forks=3, branches=4))
    theatre.run_to(0.9)
    assert theatre.world.forks_found == {}
    theatre.run_to(30.0)
    assert len(theatre.world.forks_found) == 3
    assert theatre.world.converged()
    assert all([len(one) for one in host.running.replica.live.forks().values()] == [4] * 3 for host in theatre.hosts)
    assert list(violations(theatre.world)) == []
    assert theatre.stage.marks == [Mark("forks", 1.0, 1.0)]


def test_a_thief_finds_nobody_to_give_a_fork_to() -> None:
    theatre = Theatre()
    theatre.play(Crash(at_s=0.5, share=1.0), Fork(at_s=1.0))
    theatre.run_to(2.0)
    assert theatre.up() == []


# -- all of them, repeatable ----------------------------------------------------------------------


def test_faults_are_drawn_from_the_seed() -> None:
    def digest(seed: int) -> str:
        theatre = Theatre(seed=seed)
        theatre.play(Partition(for_s=5.0), Crash(down_s=3.0), Churn(for_s=5.0), BadNetwork(loss=0.2), Fork())
        theatre.run_to(20.0)
        return theatre.world.trace.hexdigest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)
