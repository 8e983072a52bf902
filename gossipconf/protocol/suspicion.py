"""Suspicion: who is missed, and when that counts.

A link is a failure detector that costs nothing more: its keepalives are there anyway. Who
loses one by silence or an error, and has no new one after a pause, tells that its peer is
suspected; the peer, or who has a link with it, knows better, and it refutes. So one
broken link makes nobody silent, and one honest node that misses its neighbour is enough.

A. Das, I. Gupta and A. Motivala, "SWIM: scalable weakly-consistent infection-style process
group membership protocol" (2002): suspicion, and refutation by a higher number; here links
stand in the place of random probes. A. Dadgar, J. Phillips and J. Currey, "Lifeguard: local
health awareness for more accurate failure detection" (2018): a node that misses much itself
waits longer before it believes that others are gone.
"""

from __future__ import annotations

from math import log10
from typing import Final

PAUSE_S: Final = 1.0
"""A lost link is often replaced at once: after so long without one its peer is suspected."""
SUSPECT_S: Final = 5.0
"""Time for a refutation among ten members: a suspicion and its refutation cross six links in about 2.5 seconds, and a
node whose refutation came too late once has time for a second one."""
LIFE_MARGIN_S: Final = 10
"""A sign of life ends a suspicion only if it is so much younger: ages are whole seconds, rounded at each relay."""
BEAT_MIN_S: Final = 60.0
"""How often a node gives a sign of life at most."""
BEAT_PER_MEMBER_S: Final = 5.0
"""Interval of signs of life by the number of members N, so that their traffic stays flat. In a time of 5 N s each of N
members is told of once over each of about 4 N links, with 16 bytes: each node sends 64 bytes in 5 s, 13 a second, and
as much again for the headers of messages that carry one or two where members are few."""
MISSED: Final = 3.5
"""Intervals without a sign of life after which a member is silent though nobody has missed it: three were lost, or
all that had links with it vanished together."""
FORGET_S: Final = 24 * 3600.0
"""A member that this node has met is listed for a day after its last sign of life, so that an admin sees who is
missing."""


def beat_s(members: int) -> float:
    """How often each of so many members gives a sign of life."""
    return max(BEAT_MIN_S, BEAT_PER_MEMBER_S * members)


def silence_s(members: int) -> float:
    """How long after its last sign of life one of so many is silent, if nobody suspects it before."""
    return MISSED * beat_s(members)


def hearsay_s(members: int) -> float:
    """How long after its last sign of life one of so many is told of to others, and kept by those who never met it."""
    return 2 * silence_s(members)


def suspicion_s(members: int, health: int) -> float:
    """How long after a suspicion one of so many counts as silent, for a node of this local health (0 is best)."""
    return SUSPECT_S * max(1.0, log10(members)) * (1 + health)


def pause_s(health: int) -> float:
    """How long a lost link may be replaced before its peer is suspected."""
    return PAUSE_S * (1 + health)
