"""Who of a thousand nodes reads a canary, after restarts too; and what time does where clocks differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from gossipconf.model.entry import BASIS_POINTS, Entry, MatchKind, MatchTerm, delete, put
from gossipconf.protocol.node import Node
from gossipconf.protocol.views import ONLY_NEAR
from gossipconf.store.resolution import Reader, resolve
from gossipconf_sim.run.building import build, random_regular
from gossipconf_sim.scenario.admins import ADMIN
from gossipconf_sim.scenario.scenario import load
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.world import World

KEY = "shop/limit"
OLD, NEW = b"10", b"20"
DEVIATIONS = 4
"""Standard deviations from the percentage within which the share must be: 16,000 to 1, and each run is the same."""


def running_world(nodes: int, seed: int) -> World:
    """A data centre whose nodes are linked, as after an earlier life."""
    world = build(load("lan", {"nodes": nodes}), seed, Node)
    hosts = list(world.hosts.values())
    for host in hosts:
        world.start(host.name)
    world.run(0.0)
    for one, other in random_regular(list(range(nodes)), ONLY_NEAR, world.random("links")):
        world.link(hosts[one].name, hosts[other].name)
    world.run(5.0)
    return world


def publish(world: World, *entries: Entry) -> None:
    """Publish one change somewhere; until readers everywhere see it."""
    origin = world.random("origin").choice(list(world.hosts.values()))
    _, change = world.publish(origin.name, ADMIN, entries)
    ids = {version.id for version in change.versions}
    assert world.run_until(lambda: all(ids <= shown(host) for host in world.hosts.values()), 30.0)


def shown(host: Host) -> set[bytes]:
    return {version.id for versions in host.reads.values() for version in versions}


def readers_of(world: World, value: bytes) -> set[str]:
    """The nodes that read ``value``, each by its own name."""
    found = set()
    for host in world.hosts.values():
        versions = [one for slot, live in host.reads.items() if slot[0] == KEY for one in live]
        now_ms = world.clock_ms() + host.skew_ms
        read = resolve(versions, Reader.of(host.name, host.zone, {}), now_ms).version
        if read is not None and read.entry.value == value:
            found.add(host.name)
    return found


def canary(share: int, salt: str) -> Entry:
    return put(KEY, NEW, variant="canary", match=[MatchTerm(MatchKind.PERCENT, salt, share)], rank=1)


def check_share(found: set[str], share: int, nodes: int) -> None:
    expected = nodes * share / BASIS_POINTS
    deviation = math.sqrt(expected * (1 - share / BASIS_POINTS))
    assert abs(len(found) - expected) < DEVIATIONS * deviation


def restart_all(world: World) -> None:
    """Every machine loses its power, and starts again from its disk, with no time to ask anybody."""
    names: Sequence[str] = list(world.hosts)
    for name in names:
        world.crash(name)
    assert not world.running()
    for name in names:
        world.start(name)
    world.run(0.0)


@pytest.mark.parametrize(
    ("nodes", "share", "salt", "seed"),
    [
        (100, 1_000, "canary", 0),
        pytest.param(1_000, 500, "canary", 1, marks=pytest.mark.slow),
        pytest.param(1_000, 2_500, "another", 2, marks=pytest.mark.slow),
    ],
)
def test_the_share_that_reads_a_canary_is_the_percentage(nodes: int, share: int, salt: str, seed: int) -> None:
    world = running_world(nodes, seed)
    publish(world, put(KEY, OLD))
    assert readers_of(world, OLD) == set(world.hosts)
    publish(world, canary(share, salt))
    chosen = readers_of(world, NEW)
    check_share(chosen, share, nodes)
    assert readers_of(world, OLD) == set(world.hosts) - chosen, "nobody is left without"
    restart_all(world)
    assert readers_of(world, NEW) == chosen, "the same nodes, from their disks alone"
    publish(world, canary(2 * share, salt))
    wider = readers_of(world, NEW)
    check_share(wider, 2 * share, nodes)
    assert chosen < wider, "who was in stays in"
    publish(world, put(KEY, NEW), delete(KEY, variant="canary"))
    assert readers_of(world, NEW) == set(world.hosts)


def test_time_changes_what_is_read_and_never_what_is_held() -> None:
    """An override that expires, where clocks are up to five seconds apart: all hold the same all the time."""
    world = running_world(11, 4)
    hosts = list(world.hosts.values())
    for number, host in enumerate(hosts):
        host.skew_ms = 1_000 * (number - 5)
    publish(world, put(KEY, OLD))
    end_ms = world.clock_ms() + 20_000
    publish(world, put(KEY, NEW, variant="override", rank=1, expires_ms=end_ms))
    (root,) = {node.root for node in world.running()}
    seen = []
    while world.clock_ms() < end_ms + 10_000:
        found = readers_of(world, NEW)
        assert found == {host.name for host in hosts if world.clock_ms() + host.skew_ms < end_ms}
        assert readers_of(world, OLD) == set(world.hosts) - found
        assert {node.root for node in world.running()} == {root}
        seen.append(len(found))
        world.run(1.0)
    assert sorted(set(seen)) == list(range(len(hosts) + 1)), "one after the other, each by its own clock"
