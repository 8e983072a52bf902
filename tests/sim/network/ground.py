"""Bare ground: a network and its hosts, without nodes. What the network tells the hosts is noted with its time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.node import Node
from gossipconf_sim.conditions import NetworkConditions
from gossipconf_sim.network.cut import Cut, sides_of
from gossipconf_sim.network.network import Network
from gossipconf_sim.network.wire import Wire
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.schedule import Schedule

DELAY_S = 0.125
"""One way between all hosts, unless a test says otherwise: sums of it are exact."""


class Ground:
    """Hosts by name; each of the lists has (virtual s, host's name, ...) of what the host was told."""

    def __init__(
        self, *names: str, seed: int = 1, delay: Callable[[Host, Host], float] | None = None, **conditions: Any
    ) -> None:
        self.schedule = Schedule()
        known: dict[str, Any] = {"jitter": (1.0, 1.0)} | conditions
        self.network = Network(
            self.schedule, NetworkConditions(**known), Random(seed), delay or (lambda one, other: DELAY_S), self
        )
        self.hosts = {name: Host(name, index, f"{name}:1", (), Random(index)) for index, name in enumerate(names)}
        self.arrivals: list[tuple[float, str, bytes]] = []
        self.ends: list[tuple[float, str, str]] = []
        self.drops: list[tuple[float, str, FrameClass]] = []
        self.opens: list[tuple[float, str, bool, str]] = []
        self.refusals: list[tuple[float, str, str, str]] = []
        for host in self.hosts.values():
            self.network.attach(host)
            self.boot(host.name)

    # -- what a test does -------------------------------------------------------------------------

    def boot(self, name: str) -> None:
        """Start a process that does nothing."""
        host = self.hosts[name]
        host.node = cast(Node, object())
        host.boot += 1
        host.unreachable = False
        self.network.appear(host)

    def crash(self, name: str, *, silent: bool = False) -> None:
        host = self.hosts[name]
        host.node = host.paused = None
        host.unreachable = silent
        self.network.vanish(host, silent=silent)

    def pause(self, name: str) -> None:
        self.hosts[name].paused = []

    def resume(self, name: str) -> None:
        host = self.hosts[name]
        waiting, host.paused = host.paused or [], None
        for action, arguments in waiting:
            action(*arguments)

    def connect(self, one: str, other: str) -> Wire:
        """Open a connection, and wait until both ends know of it."""
        wire = self.network.connect(self.hosts[one], self.hosts[other])
        self.run(1.0)
        return wire

    def send(self, wire: Wire, sender: str, message: bytes, frame_class: FrameClass = FrameClass.BROADCAST) -> None:
        self.network.send(self.hosts[sender], wire, frame_class, message)

    def dial(self, one: str, other: str) -> None:
        self.network.dial(self.hosts[one], f"{other}:1")

    def cut(self, *groups: str, **options: Any) -> Cut:
        """Cut between groups, each written as the hosts' one-letter names."""
        cut = Cut(sides_of([[self.hosts[name] for name in group] for group in groups]), **options)
        self.network.cut(cut)
        return cut

    def run(self, duration_s: float) -> None:
        self.schedule.run(self.schedule.now_s + duration_s)

    def run_to(self, time_s: float) -> None:
        self.schedule.run(time_s)

    def got(self, name: str) -> list[tuple[float, bytes]]:
        """What has arrived at a host, and when."""
        return [(at_s, message) for at_s, receiver, message in self.arrivals if receiver == name]

    # -- what the network says --------------------------------------------------------------------

    def arrived(self, host: Host, wire: Wire, message: bytes) -> None:
        if host.paused is not None:
            host.paused.append((self.arrived, (host, wire, message)))
        elif wire.id in host.links:
            self.arrivals.append((self.schedule.now_s, host.name, message))

    def lost(self, host: Host, wire: Wire, reason: str) -> None:
        self.ends.append((self.schedule.now_s, host.name, reason))

    def dropped(self, host: Host, wire: Wire, frame_class: FrameClass) -> None:
        self.drops.append((self.schedule.now_s, host.name, frame_class))

    def opened(self, host: Host, wire: Wire, *, outbound: bool, address: str) -> None:
        self.opens.append((self.schedule.now_s, host.name, outbound, address))

    def refused(self, host: Host, boot: int, address: str, reason: str) -> None:
        if host.boot == boot:
            self.refusals.append((self.schedule.now_s, host.name, address, reason))
