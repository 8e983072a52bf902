"""The publisher: who publishes what, and when, as a scenario says."""

from __future__ import annotations

from gossipconf.model.entry import Entry, delete, put

from ..scenario.admins import ADMIN
from ..scenario.scenario import Publishing
from ..world.host import Host
from ..world.stage import Stage
from ..world.world import World
from .meter import Meter

Traffic = tuple[list[int], list[int]]
"""Bytes and messages by frame class."""


def honest_traffic(world: World) -> Traffic:
    """What honest hosts have sent so far; answers to hostile ones are in it."""
    network = world.network
    bytes_, messages = world.hostile_traffic
    return (
        [sent - hostile for sent, hostile in zip(network.sent_bytes, bytes_, strict=True)],
        [sent - hostile for sent, hostile in zip(network.sent_messages, messages, strict=True)],
    )


class Publisher:
    """Publishes on a stage, and lets a meter follow what is measured.

    sent_before:  bytes and messages by class that had been sent when the first measured change was published
    """

    def __init__(self, options: Publishing, stage: Stage, meter: Meter) -> None:
        self.sent_before = honest_traffic(stage.world)
        self._options = options
        self._stage = stage
        self._meter = meter
        self._next_key = 0

    @property
    def last_s(self) -> float:
        """When the last change is published, in s after the first."""
        return max(0, self._options.warmup + self._options.changes - 1) * self._options.every_ms / 1000

    def plan(self) -> None:
        """Put every publish on the stage's clock, one after the other."""
        if self._options.warmup + self._options.changes:
            self._stage.at(0.0, self._publish, 0)

    def _publish(self, number: int) -> None:
        options, world = self._options, self._stage.world
        if number + 1 < options.warmup + options.changes:
            self._stage.at((number + 1) * options.every_ms / 1000, self._publish, number + 1)
        measured = number >= options.warmup
        if number == options.warmup:
            self.sent_before = honest_traffic(self._stage.world)
        host = self._origin()
        if host is not None:
            token, change = world.publish(host.name, ADMIN, self._entries(number))
            if measured:
                self._meter.track(host, change, token)

    def _origin(self) -> Host | None:
        """A host that can publish now; None if there is none."""
        able = [host for host in self._stage.world.honest() if host.paused is None]
        if not able or self._options.origins == "one":
            return able[0] if able else None
        return self._stage.rng.choice(able)

    def _entries(self, number: int) -> list[Entry]:
        entries = []
        deletes = self._options.deletes and self._stage.rng.random() < self._options.deletes
        for _ in range(self._options.entries):
            key = f"simulated/{self._next_key % self._options.keys}"
            self._next_key += 1
            if deletes:
                entries.append(delete(key))
            else:
                value = f"{number}:".encode() + self._stage.rng.randbytes(self._options.value_bytes // 2).hex().encode()
                entries.append(put(key, value[: self._options.value_bytes]))
        return entries
