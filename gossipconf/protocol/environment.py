"""All that the protocol machines can do to the world, collected as plain records.

The machines never touch a socket, a disk or a clock. They read `now`, draw from a
given random generator, and append outputs; whoever drives the node (the agent's
shell, or the simulator) carries the outputs out in order.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from ..model.entry import Slot
from ..model.version import Version
from ..store.journal_ops import JournalOp
from .frames import FrameClass
from .tuning import LAN, Tuning

if TYPE_CHECKING:
    from .events import Event

Reads: TypeAlias = tuple[tuple[Slot, tuple[Version, ...]], ...]
"""Slots with their live versions, the winner first; an empty one holds nothing any more."""

LinkId: TypeAlias = int
"""A connection, numbered by the shell; never used again for another one."""


@dataclass(slots=True)  # not frozen, as `Send`: one is made for nearly every input
class Now:
    """The two clocks: monotonic seconds (any origin) and wall-clock milliseconds since 1970."""

    monotonic_s: float
    wall_ms: int


@dataclass(slots=True)  # not frozen: it is made for every message, and frozen ones take three times as long to make
class Send:
    """Queue ``message`` on a link. If the link's queue is full the shell says so by `Node.dropped`."""

    link: LinkId
    frame_class: FrameClass
    message: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """Dial ``address``; exactly one of `Node.connected` and `Node.connect_failed` must follow."""

    address: str


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up what ``name``, a seed as written, stands for; `Node.resolved` or `Node.resolve_failed` must follow, once.

    An answer must come in bounded time: until it does the name is not resolved again.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close a link, after what is queued; `Node.disconnected` must follow."""

    link: LinkId
    reason: str


@dataclass(frozen=True, slots=True)
class Persist:
    """Write ``ops`` to disk, in one transaction, after all earlier ones; then call `Node.persisted` with ``token``.

    If a write fails, all that were put out before the node is told of it fail too: their reads rest on it.
    ``reads`` is what readers may see from then on, and not before: a value that was
    read must survive a crash (invariant 5).
    """

    token: int
    ops: tuple[JournalOp, ...]
    reads: Reads


@dataclass(frozen=True, slots=True)
class Show:
    """Let readers see this at once: all that it rests on is on disk."""

    reads: Reads


@dataclass(frozen=True, slots=True)
class Recall:
    """Look up what history has of these slots, in which something has become void, and of these changes, which are void
    no longer, or ``everything``; then call `Node.recalled` with it, once or in parts, but of each key the latest first.
    What `Replica.may_return` denies can be left out."""

    slots: tuple[Slot, ...]
    change_ids: tuple[bytes, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell whoever watches this node."""

    event: Event


Output: TypeAlias = Send | Connect | Resolve | Disconnect | Persist | Show | Recall | Emit


class Environment:
    """One node's view of the world: the time of the current input, randomness, its pace, timers, the outputs so far."""

    def __init__(self, rng: Random, tuning: Tuning = LAN) -> None:
        self.rng = rng
        self.tuning = tuning
        self.now = Now(0.0, 0)
        self._outputs: list[Output] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = itertools.count()

    def send(self, link: LinkId, frame_class: FrameClass, message: bytes) -> None:
        """Queue a message on a link."""
        self._outputs.append(Send(link, frame_class, message))

    def emit(self, event: Event) -> None:
        """Tell whoever watches."""
        self._outputs.append(Emit(event))

    def output(self, output: Output) -> None:
        """Append any other output."""
        self._outputs.append(output)

    def take_outputs(self) -> list[Output]:
        """The outputs since the last call, in order."""
        if not self._outputs:
            return []
        outputs, self._outputs = self._outputs, []
        return outputs

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run ``action`` in the first input at or after ``delay_s`` from now. It must check that it is still wanted."""
        self.call_at(self.now.monotonic_s + delay_s, action)

    def call_at(self, at_s: float, action: Callable[[], None]) -> None:
        """The same for the monotonic time ``at_s``."""
        heapq.heappush(self._timers, (at_s, next(self._tie), action))

    def jittered(self, period_s: float, rng: Random | None = None) -> float:
        """``period_s`` times a random factor in [0.75, 1.25): so that nodes started together do not act together.

        ``rng``: whose draw it is, if not the node's own (see `fork`).
        """
        return period_s * (0.75 + 0.5 * (rng or self.rng).random())

    def fork(self) -> Random:
        """Randomness for a machine that draws when messages arrive.

        Messages of different classes that arrive together do so in an order that depends on queues; of one
        class they do not. What machines draw must not depend on that.
        """
        return Random(self.rng.getrandbits(64))

    @property
    def next_timer_s(self) -> float | None:
        """Monotonic time at which `run_due` has something to do, or None."""
        return self._timers[0][0] if self._timers else None

    def clear_timers(self) -> None:
        """Forget every timer: the node is stopping."""
        self._timers.clear()

    def run_due(self) -> None:
        """Run every action whose time has come."""
        while self._timers and self._timers[0][0] <= self.now.monotonic_s:
            _, _, action = heapq.heappop(self._timers)
            action()
