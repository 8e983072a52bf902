"""The stage on which faults and publishers act: a world, a clock that begins at the first publish, and a diary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from gossipconf.model.change import Change

from .host import Host
from .world import World

STOPPING_LOOK_S: Final = 0.01
"""How often it is looked whether a process that was told to stop has done so: it may wait for its disk."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A fault on the time axis, in virtual seconds since the first publish."""

    label: str
    begin_s: float
    end_s: float


class Stage:
    """Where a scenario is played.

    begin_s:         virtual time of the first publish; all times of a scenario count from there
    last_planned_s:  virtual time of the last thing that is planned so far
    starts_due:      hosts that are down and will start again
    policies:        what the roots have signed since, in order
    first_epochs:    ids of the first epochs that the roots have signed
    """

    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.begin_s = world.now_s
        self.marks: list[Mark] = []
        self.last_planned_s = self.begin_s
        self.starts_due = 0
        self.policies: list[Change] = []
        self.first_epochs: list[bytes] = []

    @property
    def now_s(self) -> float:
        """Seconds since the first publish."""
        return self.world.now_s - self.begin_s

    @property
    def trouble_ends_s(self) -> float:
        """When the last fault that is marked ends."""
        return max((mark.end_s for mark in self.marks), default=0.0)

    def at(self, time_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do something at a time of the scenario."""
        self.last_planned_s = max(self.last_planned_s, self.begin_s + time_s)
        self.world.schedule.at(self.begin_s + time_s, action, *arguments)

    def every(self, period_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do something again and again, for ever, the first time after one period."""
        self.world.schedule.later(period_s, self._again, period_s, action, arguments)

    def _again(self, period_s: float, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        action(*arguments)
        self.every(period_s, action, *arguments)

    def mark(self, label: str, begin_s: float, end_s: float) -> None:
        """Write a fault down."""
        self.marks.append(Mark(label, begin_s, end_s))

    def some(self, share: float, among: Sequence[Host] | None = None) -> list[Host]:
        """A random share of the honest hosts (or of others), at least one if the share is above 0, in order."""
        hosts = [host for host in self.world.hosts.values() if host.honest] if among is None else list(among)
        count = min(len(hosts), max(1, round(share * len(hosts)))) if share > 0 else 0
        return sorted(self.rng.sample(hosts, count), key=lambda host: host.index)

    def crash(self, host: Host, *, machine: bool = False, down_s: float | None = None, empty: bool = False) -> None:
        """Crash a host if it runs: its machine, or its process only. It starts again after ``down_s``, if given."""
        if host.node is not None:
            self.world.crash(host.name, silent=machine)
            self._start_later(host, down_s, empty)

    def stop(self, host: Host, *, down_s: float | None = None) -> None:
        """Let a host's process say farewell and end, if it runs. It starts again after ``down_s``, if given."""
        if host.node is not None:
            self.world.stop(host.name)
            self._start_later(host, down_s, False)

    def _start_later(self, host: Host, down_s: float | None, empty: bool) -> None:
        if down_s is not None:
            self.starts_due += 1
            self.world.schedule.later(down_s, self._start, host, host.boot, empty)

    def _start(self, host: Host, boot: int, empty: bool) -> None:
        """Start a host again, once its process has ended and unless somebody else has started it."""
        if host.boot != boot:
            self.starts_due -= 1
        elif host.node is None:
            self.starts_due -= 1
            self.world.start(host.name, empty_disk=empty)
        else:
            self.world.schedule.later(STOPPING_LOOK_S, self._start, host, boot, empty)
