"""Faults: what goes wrong at a moment of a scenario, each a frozen record of options with units.

``plan`` puts what happens on the stage's clock and marks it in its diary. Times are
virtual seconds since the first publish. All but partitions strike honest hosts only. Of
two faults of one kind that overlap on a host, the end of the first ends both.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, TypeAlias

from gossipconf.model.change import INCARNATION_BYTES, Writer
from gossipconf.model.entry import put

from ..network.cut import Cut, sides_of
from ..options import option
from ..world.host import Host
from ..world.stage import Stage
from .admins import ADMIN, signed_by_admin
from .staging import Staging
from .theft import Theft

AT = "when it begins, in s after the first publish"
FOR = "how long it lasts, in s"
SHARE = "share of the hosts that it strikes"


@dataclass(frozen=True, slots=True)
class Partition:
    """The network falls apart."""

    KIND: ClassVar = "partition"
    at_s: float = option(1.0, AT, least=0)
    for_s: float = option(60.0, FOR, least=0.001)
    sides: int = option(2, "how many sides", least=2, most=1000)
    share: float = option(
        0.0, "share of the hosts on the first side; 0: all sides equal; unused by zone", least=0, most=1
    )
    by_zone: bool = option(False, "whether whole zones go to a side, if there are as many; else any hosts")
    silent: bool = option(True, "whether packets vanish, so that nodes must notice; else connections break at once")
    one_way: bool = option(False, "whether only packets from a side to those after it vanish")
    bridges: int = option(0, "hosts that still reach everybody", least=0)
    flap_s: float = option(0.0, "it comes and goes, for so many s each; 0: it stays", least=0)
    bridge_flap_s: float = option(
        0.0, "the bridges go to the first side and come back, for so many s each; 0: they stay", least=0
    )

    def plan(self, stage: Stage) -> None:
        """Cut, and mend."""
        hosts = list(stage.world.hosts.values())
        stage.rng.shuffle(hosts)
        bridges, hosts = hosts[: self.bridges], hosts[self.bridges :]
        groups, end_s = self._groups(hosts), self.at_s + self.for_s
        self._plan_cut(stage, self._cut(groups), self.at_s, self.flap_s)
        if bridges and self.bridge_flap_s:
            without = self._cut([groups[0] + bridges, *groups[1:]])
            self._plan_cut(stage, without, self.at_s + self.bridge_flap_s, self.bridge_flap_s)
        stage.mark("one-way partition" if self.one_way else "partition", self.at_s, end_s)

    def _cut(self, groups: list[list[Host]]) -> Cut:
        return Cut(sides_of(groups), one_way=self.one_way, silent=self.silent)

    def _plan_cut(self, stage: Stage, cut: Cut, time_s: float, flap_s: float) -> None:
        """Let ``cut`` hold from ``time_s`` to the end; with ``flap_s`` every second time only."""
        end_s = self.at_s + self.for_s
        while time_s < end_s:
            mended_s = min(end_s, time_s + flap_s) if flap_s else end_s
            stage.at(time_s, stage.world.network.cut, cut)
            stage.at(mended_s, stage.world.network.mend, cut)
            time_s = mended_s + flap_s

    def _groups(self, hosts: list[Host]) -> list[list[Host]]:
        """The sides, from hosts in random order."""
        zones = {zone: place for place, zone in enumerate(dict.fromkeys(host.zone for host in hosts))}
        if self.by_zone and len(zones) >= self.sides:
            return [[host for host in hosts if zones[host.zone] % self.sides == side] for side in range(self.sides)]
        first = max(1, round(len(hosts) * self.share)) if self.share else -(-len(hosts) // self.sides)
        rest = hosts[first:]
        return [hosts[:first], *(rest[side :: self.sides - 1] for side in range(self.sides - 1))]


@dataclass(frozen=True, slots=True)
class Crash:
    """Many hosts go at once."""

    KIND: ClassVar = "crash"
    at_s: float = option(1.0, AT, least=0)
    share: float = option(0.5, SHARE, least=0, most=1)
    down_s: float = option(0.0, "after how many s they start again; 0: never", least=0)
    machine: bool = option(True, "whether the machines go, so that peers must notice; else the processes only")
    empty_disk: bool = option(False, "whether they come back with an empty disk")

    def plan(self, stage: Stage) -> None:
        """Stop and start."""
        down_s = self.down_s or None
        for host in stage.some(self.share):
            stage.at(self.at_s, partial(stage.crash, host, machine=self.machine, down_s=down_s, empty=self.empty_disk))
        stage.mark("crash", self.at_s, self.at_s + self.down_s)


@dataclass(frozen=True, slots=True)
class Churn:
    """Hosts go and come back all the time."""

    KIND: ClassVar = "churn"
    at_s: float = option(0.0, AT, least=0)
    for_s: float = option(60.0, FOR, least=0.001)
    share_per_min: float = option(0.1, "share of the hosts that go in a minute", least=0, most=60)
    down_s: float = option(10.0, "after how many s each starts again", least=0.001)
    machine: bool = option(True, "whether the machines go, so that peers must notice; else the processes only")
    empty_disk: bool = option(False, "whether they come back with an empty disk")

    def plan(self, stage: Stage) -> None:
        """A Poisson process of crashes of hosts that run, each followed by a start."""
        rate_per_s = len(stage.some(1.0)) * self.share_per_min / 60
        time_s = self.at_s
        while rate_per_s:
            time_s += stage.rng.expovariate(rate_per_s)
            if time_s >= self.at_s + self.for_s:
                break
            stage.at(time_s, self._strike, stage)
        stage.mark("churn", self.at_s, self.at_s + self.for_s + self.down_s)

    def _strike(self, stage: Stage) -> None:
        running = stage.world.honest()
        if running:
            host = stage.rng.choice(running)
            stage.crash(host, machine=self.machine, down_s=self.down_s, empty=self.empty_disk)


@dataclass(frozen=True, slots=True)
class RollingRestart:
    """One host after the other is restarted, as in an upgrade."""

    KIND: ClassVar = "rolling-restart"
    at_s: float = option(1.0, AT, least=0)
    every_s: float = option(1.0, "s between two hosts", least=0)
    within_s: float = option(0.0, "s from the first stop to the last start, instead of every_s; 0: by every_s", least=0)
    down_s: float = option(2.0, "s for which each is down", least=0.001)
    together: bool = option(False, "whether all go at the beginning, and only come back one after the other")
    share: float = option(1.0, SHARE, least=0, most=1)
    kill: bool = option(False, "whether each is killed; else it is told to stop, and says farewell")

    def plan(self, stage: Stage) -> None:
        """Stop each process, and start it again from its disk."""
        hosts = stage.some(self.share)
        stage.rng.shuffle(hosts)
        every_s = max(0.0, self.within_s - self.down_s) / max(1, len(hosts) - 1) if self.within_s else self.every_s
        down = stage.crash if self.kill else stage.stop
        for number, host in enumerate(hosts):
            after_s = number * every_s
            early_s, late_s = (0.0, after_s) if self.together else (after_s, 0.0)
            stage.at(self.at_s + early_s, partial(down, host, down_s=self.down_s + late_s))
        stage.mark("rolling restart", self.at_s, self.at_s + (len(hosts) - 1) * every_s + self.down_s)


@dataclass(frozen=True, slots=True)
class Pause:
    """Processes stop and go on: garbage collection, a suspended machine."""

    KIND: ClassVar = "pause"
    at_s: float = option(1.0, AT, least=0)
    for_s: float = option(5.0, FOR, least=0.001)
    share: float = option(0.1, SHARE, least=0, most=1)

    def plan(self, stage: Stage) -> None:
        """Pause, and resume."""
        for host in stage.some(self.share):
            stage.at(self.at_s, stage.world.pause, host.name)
            stage.at(self.at_s + self.for_s, stage.world.resume, host.name)
        stage.mark("pause", self.at_s, self.at_s + self.for_s)


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """Disks take much longer for each write."""

    KIND: ClassVar = "slow-disk"
    at_s: float = option(1.0, AT, least=0)
    for_s: float = option(10.0, FOR, least=0.001)
    share: float = option(0.1, SHARE, least=0, most=1)
    factor: float = option(100.0, "how many times as long a write takes", least=0)

    def plan(self, stage: Stage) -> None:
        """Slow down, and speed up."""
        for host in stage.some(self.share):
            stage.at(self.at_s, partial(_set_slowness, host, self.factor))
            stage.at(self.at_s + self.for_s, partial(_set_slowness, host, 1.0))
        stage.mark("slow disks", self.at_s, self.at_s + self.for_s)


@dataclass(frozen=True, slots=True)
class FullDisk:
    """Disks take no write."""

    KIND: ClassVar = "full-disk"
    at_s: float = option(1.0, AT, least=0)
    for_s: float = option(10.0, FOR, least=0.001)
    share: float = option(0.1, SHARE, least=0, most=1)

    def plan(self, stage: Stage) -> None:
        """Fill, and empty."""
        for host in stage.some(self.share):
            stage.at(self.at_s, partial(_set_full, host, True))
            stage.at(self.at_s + self.for_s, partial(_set_full, host, False))
        stage.mark("full disks", self.at_s, self.at_s + self.for_s)


@dataclass(frozen=True, slots=True)
class SlowReader:
    """Hosts that read what is sent to them slowly."""

    KIND: ClassVar = "slow-reader"
    at_s: float = option(1.0, AT, least=0)
    for_s: float = option(30.0, FOR, least=0.001)
    share: float = option(0.01, SHARE, least=0, most=1)
    read_kib_s: float = option(1.0, "KiB that each of their links takes a second", least=0.001)

    def plan(self, stage: Stage) -> None:
        """Slow down, and speed up."""
        for host in stage.some(self.share):
            stage.at(self.at_s, partial(_set_reading, host, self.read_kib_s * 1024))
            stage.at(self.at_s + self.for_s, partial(_set_reading, host, None))
        stage.mark("slow readers", self.at_s, self.at_s + self.for_s)


@dataclass(frozen=True, slots=True)
class BadNetwork:
    """The whole network is bad for a while: of each share the larger one counts, the scenario's or this one's."""

    KIND: ClassVar = "bad-network"
    at_s: float = option(1.0, AT, least=0)
    for_s: float = option(10.0, FOR, least=0.001)
    loss: float = option(0.0, "share of packets lost meanwhile", least=0, most=0.99)
    drop: float = option(0.0, "share of messages that vanish inside a link meanwhile", least=0, most=1)
    duplicate: float = option(0.0, "share of messages that arrive twice meanwhile", least=0, most=1)
    latency_factor: float = option(1.0, "how many times as long everything takes meanwhile", least=0)
    resets: float = option(0.0, "share of the connections that break at its beginning", least=0, most=1)

    def plan(self, stage: Stage) -> None:
        """Worsen, and restore."""
        stage.at(self.at_s, self._begin, stage)
        stage.at(self.at_s + self.for_s, _restore_network, stage)
        stage.mark("bad network", self.at_s, self.at_s + self.for_s)

    def _begin(self, stage: Stage) -> None:
        network = stage.world.network
        before = network.lasting
        network.latency_factor = self.latency_factor
        network.conditions = dataclasses.replace(
            before,
            loss=max(self.loss, before.loss),
            drop=max(self.drop, before.drop),
            duplicate=max(self.duplicate, before.duplicate),
        )
        for wire in list(network.wires()):
            if stage.rng.random() < self.resets:
                network.reset(wire, "connection reset")


@dataclass(frozen=True, slots=True)
class Fork:
    """A thief of an admin's key signs different changes under one number and gives them to different hosts."""

    KIND: ClassVar = "fork"
    at_s: float = option(1.0, AT, least=0)
    forks: int = option(1, "how many numbers are used twice or more", least=1, most=10_000)
    branches: int = option(2, "different changes under each", least=2, most=100)

    def plan(self, stage: Stage) -> None:
        """Sign, and hand out."""
        for number in range(self.forks):
            incarnation = stage.rng.randbytes(INCARNATION_BYTES)
            for branch in range(self.branches):
                stage.at(self.at_s, self._inject, stage, incarnation, number, branch)
        stage.mark("forks", self.at_s, self.at_s)

    def _inject(self, stage: Stage, incarnation: bytes, number: int, branch: int) -> None:
        world = stage.world
        entry = put(f"forked/{number}", str(branch).encode())
        change = signed_by_admin(world.cluster, entry, Writer(ADMIN.public, incarnation), 1, world.clock_ms())
        honest = world.honest()
        if honest:
            world.inject(stage.rng.choice(honest).name, change)


Fault: TypeAlias = (
    Partition
    | Crash
    | Churn
    | RollingRestart
    | Pause
    | SlowDisk
    | FullDisk
    | SlowReader
    | BadNetwork
    | Fork
    | Theft
    | Staging
)

_KINDS: Final = (
    *(Partition, Crash, Churn, RollingRestart, Pause, SlowDisk, FullDisk, SlowReader, BadNetwork),
    *(Fork, Theft, Staging),
)
FAULTS: Final[dict[str, type[Fault]]] = {kind.KIND: kind for kind in _KINDS}
"""The faults by their names."""


def _set_slowness(host: Host, factor: float) -> None:
    host.disk.slowness = factor


def _set_full(host: Host, full: bool) -> None:
    host.disk.full = full


def _set_reading(host: Host, bytes_s: float | None) -> None:
    host.read_bytes_s = bytes_s


def _restore_network(stage: Stage) -> None:
    stage.world.network.latency_factor = 1.0
    stage.world.network.conditions = stage.world.network.lasting
