"""A wire: one connection between two hosts, in order each way. Data only; `network` moves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gossipconf.protocol.frames import FrameDecoder, FrameQueue

if TYPE_CHECKING:
    from ..world.host import Host

Side = int
"""Which end sends: 0 for the one that dialled, 1 for the other."""


class Lane:
    """One direction of a wire on which messages have to wait: the agent's own queue, and the frames under way.

    busy:     whether it is about to send
    closing:  whether it ends once it is empty
    """

    __slots__ = ("busy", "closing", "decoder", "queue")

    def __init__(self) -> None:
        self.queue = FrameQueue()
        self.decoder = FrameDecoder()
        self.busy = False
        self.closing = False


@dataclass(slots=True, eq=False)
class Wire:
    """A connection.

    base_s:        one-way delay without jitter
    crosses:       whether its ends are in different zones
    arrived_s:     of each side, when the last message sent so far arrives: order is kept
    lanes:         of each side, what waits there; None where everything is sent at once
    blocked:       of each side, whether its packets are lost, or what acknowledges them
    window_bytes:  of each blocked side, what it can still send without being acknowledged
    stalled_s:     of each side, since when something has been sent in vain; None: nothing has
    opened:        of each side, whether its node has been told of the connection
    orphaned:      one end is gone and the other has not learned of it
    cut:           broken; what is under way is lost
    """

    id: int
    ends: tuple[Host, Host]
    boots: tuple[int, int]
    base_s: float
    crosses: bool
    arrived_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    lanes: list[Lane | None] = field(default_factory=lambda: [None, None])
    blocked: list[bool] = field(default_factory=lambda: [False, False])
    window_bytes: list[int] = field(default_factory=lambda: [0, 0])
    stalled_s: list[float | None] = field(default_factory=lambda: [None, None])
    opened: list[bool] = field(default_factory=lambda: [False, False])
    orphaned: bool = False
    cut: bool = False

    def side_of(self, host: Host) -> Side:
        """The side from which ``host`` sends."""
        return 0 if self.ends[0] is host else 1

    def other(self, host: Host) -> Host:
        """The host at the other end."""
        return self.ends[1] if self.ends[0] is host else self.ends[0]

    def is_stuck(self, side: Side) -> bool:
        """Whether nothing that a side sends now gets through."""
        lane = self.lanes[side]
        waits = lane is not None and lane.queue.held_bytes() > 0
        return self.blocked[side] and (waits or not self.window_bytes[side])
