"""Zones: which nodes are near each other, and what their zone is called on the wire.

A zone is where round trips are short. A node with a label (`eu-west/a`) is in the zone of
the label's first part: what lies below is near enough. Nodes without one are near if the
round trip between them says so, and such a neighbourhood names itself: each node draws a
tag once it has met somebody far, and takes over the smallest that a near peer has. So all
that are connected by near links come to have one tag (the leader election of the
minimum, E. Chang and R. Roberts 1979, by flooding), and a node that knows nobody far has
none and needs none.

A tag decides which links learn together and whom to dial. It proves nothing; a liar can
only make peers learn badly or dial in vain.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, TypeAlias

ZoneTag: TypeAlias = int
"""32 bits that stand for a zone; 0: unknown, or the only one."""

TAG_MAX: Final = (1 << 32) - 1
NEAR_RTT_S: Final = 0.003
"""Round trips of peers without labels up to which they count as near: inside a data centre they take less, between
two cities more."""
FAR_RTT_S: Final = 0.006
"""A near peer stays near up to twice that, so that a busy moment moves nobody."""


def region(label: str) -> str:
    """The part of a zone's label that counts for distance: `eu-west` of `eu-west/a`."""
    return label.partition("/")[0]


def tag_of(label: str) -> ZoneTag:
    """The tag of a label's zone; 0 for no label."""
    name = region(label)
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") or 1 if name else 0


def is_near_rtt(rtt_s: float, *, was_near: bool | None) -> bool:
    """Whether a peer at this round trip is near."""
    return rtt_s <= (FAR_RTT_S if was_near else NEAR_RTT_S)
