"""Nodes of two or three zones, labelled or not: all that is published comes everywhere, and nothing stays pending.

Everything is real but the network and the disk; links are lost and nodes crash at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.protocol.broadcast import RECAP_S
from gossipconf.protocol.messages import Push, decode_message
from gossipconf.protocol.node import Node
from gossipconf.protocol.zone import tag_of
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.network.wire import Wire
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.world import World
from tests.strategies import cluster, signer

ZONES = ("ap/1", "eu/1", "us/1")
DELAYS_S = {
    (one, other): 0.0004 if one == other else 0.01 * (ZONES.index(one) + ZONES.index(other))
    for one, other in product(ZONES, ZONES)
}
SETTLE_S = 90.0
"""Above the longest wait of any retry in the protocol."""


def world_of(sizes: Sequence[int], seed: int, *, labelled: bool, drop: float = 0.0) -> World:
    """Hosts in as many zones as there are sizes, who know the first of each zone."""
    network, hosts = NetworkConditions(drop=drop), HostConditions(zone_labels=labelled)
    world = World(cluster(), seed, network=network, hosts=hosts, zone_delays_s=DELAYS_S)
    seeds = [f"{zone[:2]}0" for zone, _ in zip(ZONES, sizes, strict=False)]
    for zone, size in zip(ZONES, sizes, strict=False):
        for number in range(size):
            world.add(f"{zone[:2]}{number}", seeds, zone=zone)
    return world


def pending(node: Node) -> list[object]:
    """What a node still has in hand of changes that spread."""
    news = [one for one in node.broadcast._latest.awaited() if one.pulling or one.patient]
    return [
        *news,
        *node.broadcast._waiting,
        *node.broadcast._recaps,
        *node.broadcast._grafts._prunes,
        *node.sync._waiting,
    ]


def agreed(world: World) -> bool:
    """Whether the nodes of each zone go by one tag, and those of others by others."""
    tags = {zone: {host.running.overlay.zone for host in world.hosts.values() if host.zone == zone} for zone in ZONES}
    found = [tag for of_zone in tags.values() for tag in of_zone]
    return len(found) == len({host.zone for host in world.hosts.values()}) and 0 not in found


def told_last(world: World, name: str) -> float:
    """When a node has applied something last."""
    return max((at_s for at_s, event in world.hosts[name].events if type(event).__name__ == "Applied"), default=0.0)


class Spreading(RuleBasedStateMachine):
    """A cluster over zones, in which every published change has a key of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[int, Change]] = []

    @initialize(
        sizes=st.sampled_from(((2, 2), (3, 2), (2, 2, 2), (4, 1, 2))),
        seed=st.integers(0, 2**32),
        labelled=st.booleans(),
        drop=st.sampled_from((0.0, 0.0, 0.03)),
        joined=st.booleans(),
    )
    def build(self, sizes: Sequence[int], seed: int, labelled: bool, drop: float, joined: bool) -> None:
        self.world = world_of(sizes, seed, labelled=labelled, drop=drop)
        self.names = list(self.world.hosts)
        if joined:
            self.world.run(3.0)

    def host(self, number: int) -> Host:
        return self.world.hosts[self.names[number % len(self.names)]]

    @rule(number=st.integers(0, 7), count=st.integers(1, 4))
    def publish(self, number: int, count: int) -> None:
        host = self.host(number)
        if host.node is None:
            self.world.start(host.name)
        for _ in range(count):
            entries = [put(f"k{len(self.published)}", b"1")]
            self.published.append(self.world.publish(host.name, signer("alice"), entries))

    @rule(one=st.integers(0, 7), other=st.integers(0, 7))
    def lose_link(self, one: int, other: int) -> None:
        self.world.reset_link(self.host(one).name, self.host(other).name)

    @rule(number=st.integers(0, 7))
    def lose_all_links(self, number: int) -> None:
        for name in self.names:
            self.world.reset_link(self.host(number).name, name)

    @rule(number=st.integers(0, 7), silent=st.booleans())
    def crash(self, number: int, silent: bool) -> None:
        if self.host(number).node is not None:
            self.world.crash(self.host(number).name, silent=silent)

    @rule(number=st.integers(0, 7))
    def restart(self, number: int) -> None:
        if self.host(number).node is None:
            self.world.start(self.host(number).name)

    @rule(duration_s=st.sampled_from((0.001, 0.02, 0.1, 1.0, 5.0)))
    def run(self, duration_s: float) -> None:
        self.world.run(duration_s)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for name in self.names:
            if self.world.hosts[name].node is None:
                self.world.start(name)
        self.world.run(1.0)
        assert self.world.run_until(self.world.converged, SETTLE_S), "no convergence"
        acknowledged = {change.id for _, _, change in self.world.acknowledged}
        for _, change in self.published:
            if change.id in acknowledged:
                assert all(node.replica.live.stored(change.id) == change for node in self.world.running())
        assert self.world.run_until(lambda: agreed(self.world), SETTLE_S), "no common tags"
        assert self.world.run_until(lambda: not any(map(pending, self.world.running())), SETTLE_S)
        assert list(violations(self.world)) == []


Spreading.TestCase.settings = settings(max_examples=25, stateful_step_count=15)
TestSpreading = Spreading.TestCase


# -- what learning brings -------------------------------------------------------------------------


class Counted:
    """A cluster of three zones at rest, and how often payloads cross from one to another."""

    def __init__(self, *, labelled: bool) -> None:
        self.world = world_of((8, 8, 8), 1, labelled=labelled)
        self.crossings = 0
        self.world.run(20.0)
        self.world.on_arrival = self.arrived

    def arrived(self, host: Host, wire: Wire, message: bytes) -> None:
        if wire.other(host).zone != host.zone:
            self.crossings += isinstance(decode_message(message), Push)

    def spread(self, number: int) -> tuple[int, float]:
        """Publish in the first zone: how many payloads have crossed, and after how long the last node had it."""
        before, begin_s = self.crossings, self.world.now_s
        self.world.publish(f"ap{number % 8}", signer("alice"), [put(f"k{number}", b"1")])
        self.world.run(2 * RECAP_S)
        assert self.world.converged()
        return self.crossings - before, max(told_last(self.world, name) for name in self.world.hosts) - begin_s


@pytest.mark.parametrize("labelled", [True, False])
def test_with_time_a_change_crosses_over_few_links_and_comes_as_early(labelled: bool) -> None:
    cluster_of_zones = Counted(labelled=labelled)
    assert agreed(cluster_of_zones.world)
    if labelled:
        assert cluster_of_zones.world.hosts["eu3"].running.overlay.zone == tag_of("eu")
    costs = [cluster_of_zones.spread(number) for number in range(60)]
    first, last = costs[:5], costs[-10:]
    assert sum(crossed for crossed, _ in last) / 10 < 0.5 * sum(crossed for crossed, _ in first) / 5
    assert all(crossed >= 2 for crossed, _ in costs), "once into each other zone"
    direct_s = max(DELAYS_S["ap/1", zone] for zone in ZONES)
    assert all(after_s < 3 * direct_s for _, after_s in costs), "by broadcast, and not by sync"
    for node in cluster_of_zones.world.running():
        assert pending(node) == []
