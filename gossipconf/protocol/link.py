"""A link: one connection to a peer, as the machines of a node see it. Data and what follows from it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .environment import LinkId
from .messages import Hello
from .zone import ZoneTag, is_near_rtt

SMOOTHING: Final = 0.125
"""Weight of a new round trip in the smoothed one: RFC 6298's alpha."""
FAR_AGREEING: Final = 4
"""Or so many in a row that are about as long as the shortest: distance is regular, loss is not."""
ALIKE: Final = 1.25
"""Factor up to which two round trips are about as long."""
DEVIATION_SMOOTHING: Final = 0.25
"""And in its mean deviation: RFC 6298's beta."""

FAR_PONGS: Final = 8
"""Round trips after which a peer without label is taken for far, if none of them was short: one alone may have met a
busy moment, and where three of ten packets are lost half of all round trips are long."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What this node says of itself in `Hello`."""

    node_id: str
    address: str
    zone: str = ""
    software: str = ""


@dataclass(slots=True)
class Link:
    """One connection, from the shell's `connected` to its `disconnected`.

    greeted:      its peer's hello was right
    version:      of the protocol, that both ends speak
    zone:         tag of the zone where the peer runs, 0 while unknown
    near:         whether the peer is in this node's own zone; None: unknown, and taken for near
    wanted_near:  it was dialled in the hope that its node is near
    heard_s:      when anything last came
    ping_s:       since when a ping waits for its pong; None: none does
    awaited_s:    since when a sign of life is awaited for what was pushed; None: it is not
    urgent:       whether the answer to that ping is waited for only briefly
    rtt_least_s:  the shortest round trip so far: what distance costs, without queues
    rtt_s:        the smoothed round trip
    rtt_dev_s:    its mean deviation
    agreeing:     how many of the latest round trips were about as long as the shortest
    asked:        whether it owes addresses that it was asked for
    doubts:       pulls that it has not answered, since it last brought something new
    equal:        whether its peer was found to hold the same
    lost:         whether it has ended by silence, error or reset, and by no goodbye of either side
    """

    id: LinkId
    node_id: str
    outbound: bool
    address: str
    opened_s: float
    heard_s: float
    hello: Hello | None = None
    greeted: bool = False
    version: int = 0
    zone: ZoneTag = 0
    near: bool | None = None
    wanted_near: bool = False
    pings: int = 0
    pongs: int = 0
    ping_s: float | None = None
    urgent: bool = False
    awaited_s: float | None = None
    rtt_least_s: float | None = None
    rtt_s: float | None = None
    rtt_dev_s: float = 0.0
    agreeing: int = 0
    doubts: int = 0
    faults: int = 0
    told: int = 0
    asked: bool = False
    is_probe: bool = False
    closing: bool = False
    lost: bool = False
    equal: bool = False

    @property
    def ready(self) -> bool:
        """Whether both sides have said hello and nobody is closing it."""
        return self.hello is not None and not self.closing

    @property
    def is_far(self) -> bool:
        """Whether its peer is known to be in another zone."""
        return self.near is False

    def measured(self, rtt_s: float) -> None:
        """Take in a round trip (RFC 6298, section 2)."""
        if self.rtt_s is None or self.rtt_least_s is None:
            self.rtt_s = self.rtt_least_s = rtt_s
            self.agreeing = 1
            return
        if rtt_s > ALIKE * self.rtt_least_s:
            self.agreeing = 0
        elif ALIKE * rtt_s < self.rtt_least_s:
            self.agreeing = 1
        else:
            self.agreeing += 1
        self.rtt_dev_s += DEVIATION_SMOOTHING * (abs(rtt_s - self.rtt_s) - self.rtt_dev_s)
        self.rtt_s += SMOOTHING * (rtt_s - self.rtt_s)
        self.rtt_least_s = min(self.rtt_least_s, rtt_s)

    def place(self, own_zone: ZoneTag, *, labelled: bool) -> None:
        """Decide whether the peer is near: by the labels where both ends have one, else by the round trips."""
        if labelled:
            self.near = self.zone == own_zone
        elif self.rtt_least_s is not None:
            near = is_near_rtt(self.rtt_least_s, was_near=self.near)
            if near or self.agreeing >= FAR_AGREEING or self.pongs >= FAR_PONGS:
                self.near = near
