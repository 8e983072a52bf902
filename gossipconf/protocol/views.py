"""The view of a node: how many links it wants, near and far, and which one goes when there are too many.

HyParView's small symmetric active view (J. Leitão, J. Pereira, L. Rodrigues 2007), in
two parts: near links carry a change through a zone, far links carry it to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from .link import Link
from .tuning import LAN, Tuning

NEAR: Final = LAN.near_links
FAR: Final = LAN.far_links
ONLY_NEAR: Final = NEAR + FAR // 2
"""Near links where there is one zone: a random graph of this degree stays connected when half of the nodes vanish."""
FAR_SMALL: Final = 2 * FAR
"""Far links of a node in a small zone, whose nodes have few together."""
SMALL_ZONE: Final = 60
"""Nodes of a zone below which it is small."""
SLACK: Final = 4
"""Links of each kind beyond those wanted that a node accepts, so that newcomers find room."""
LINKS_MAX: Final = NEAR + FAR_SMALL + 2 * SLACK
"""Links of a node at most, whatever its zone, by the presets."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many near and far links a node looks for."""

    near: int
    far: int

    @property
    def links(self) -> int:
        """All of them."""
        return self.near + self.far


def wanted(zone_nodes: int, *, knows_others: bool, tuning: Tuning = LAN) -> Wanted:
    """What a node looks for whose zone has ``zone_nodes`` nodes that it knows of."""
    near, far = tuning.near_links, tuning.far_links
    if not knows_others:
        return Wanted(near + far // 2, 0)
    return Wanted(near, 2 * far if zone_nodes < SMALL_ZONE else far)


def surplus(links: Sequence[Link], newest: Link, view: Wanted, rng: Random) -> Link | None:
    """The link that makes room for ``newest``, or None if there is room.

    A random one of its kind: no peer can choose whom it drives out. What was dialled in the hope of
    somebody near, and is not, goes itself.
    """
    if newest.near is None:  # it is not known of which kind it is; it will be soon
        return rng.choice([link for link in links if link is not newest]) if len(links) > LINKS_MAX else None
    kind = [link for link in links if link.near is newest.near]
    if newest.is_far and newest.wanted_near and len(kind) > view.far:
        return newest
    if len(kind) <= (view.far if newest.is_far else view.near) + SLACK:
        return None
    return rng.choice([link for link in kind if link is not newest])
