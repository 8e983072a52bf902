"""A peer that reads 1 KiB a second while twelve times as much is published: what waits for it, and who else notices."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gossipconf.model.entry import put
from gossipconf.protocol.frames import STALE_S, FrameClass
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.scenario.admins import ADMIN, cluster
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.world import World

READ_BYTES_S = 1024.0
CHANGES = 300
EVERY_S = 0.1
VALUE = bytes(1024)
KEYS = 30
DELAY_S = 0.01


@dataclass
class Watched:
    """A world of eight, and when readers saw what."""

    slow: bool
    world: World = field(init=False)
    seen_s: dict[str, list[float]] = field(default_factory=dict)
    most_bytes: dict[FrameClass, int] = field(default_factory=lambda: dict.fromkeys(FrameClass, 0))
    published_s: dict[bytes, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [f"n{number}" for number in range(8)]
        even = NetworkConditions(latency_ms=(1000 * DELAY_S, 1000 * DELAY_S), jitter=(1, 1))
        self.world = World(cluster(), network=even, hosts=HostConditions(disk_ms=(0, 0)))
        for name in names:
            self.world.add(name, [one for one in names if one != name])
        self.world.run(5.0)
        self.world.on_visible = self._note
        if self.slow:
            self.world.hosts["n7"].read_bytes_s = READ_BYTES_S

    def _note(self, host: Host, change_id: bytes) -> None:
        if change_id in self.published_s:
            self.seen_s.setdefault(host.name, []).append(self.world.now_s - self.published_s[change_id])

    def publish(self) -> None:
        """Every 100 ms one of 30 keys, at n0."""
        for number in range(CHANGES):
            change = self.world.publish("n0", ADMIN, [put(f"k{number % KEYS}", VALUE)])[1]
            self.published_s[change.id] = self.world.now_s
            for _ in range(10):
                self.world.run(EVERY_S / 10)
                self._measure()

    def _measure(self) -> None:
        for host in self.world.hosts.values():
            for wire in host.links.values():
                lane = wire.lanes[wire.side_of(host)]
                if lane is not None:
                    for one in FrameClass:
                        self.most_bytes[one] = max(self.most_bytes[one], lane.queue.held_bytes(one))


@pytest.fixture(scope="module")
def watched() -> Watched:
    """After 30 s of publishing beside a slow reader."""
    slow = Watched(slow=True)
    slow.publish()
    return slow


def test_what_waits_for_it_is_what_was_published_lately(watched: Watched) -> None:
    a_push = len(VALUE) + 200
    # Pushes of STALE_S, by the one that it has pulled from too, and what it pulls in as long a time: it reads some 60
    # announcements a second.
    assert watched.most_bytes[FrameClass.BROADCAST] <= (2 * STALE_S / EVERY_S + 1 + STALE_S * 64) * a_push < 210_000
    assert watched.most_bytes[FrameClass.SYNC] <= KEYS * a_push + 4_096, "all that lives, once"


def test_nobody_else_waits(watched: Watched) -> None:
    undisturbed = Watched(slow=False)
    undisturbed.publish()
    others = [f"n{number}" for number in range(1, 7)]
    for name in others:
        assert len(watched.seen_s[name]) == CHANGES
        assert max(watched.seen_s[name]) == pytest.approx(max(undisturbed.seen_s[name]), abs=1e-9)


def test_it_has_all_soon_after_it_reads_as_fast_as_the_others(watched: Watched) -> None:
    assert len(watched.seen_s["n7"]) < CHANGES, "it has skipped what was superseded"
    watched.world.hosts["n7"].read_bytes_s = None
    assert watched.world.run_until(watched.world.converged, 45.0)
    assert list(violations(watched.world)) == []
