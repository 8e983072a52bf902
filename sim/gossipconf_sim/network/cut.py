"""Cuts: which packets a partition of the network loses. Data only; `network` lets them begin and end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..world.host import Host


@dataclass(frozen=True, slots=True)
class Cut:
    """Packets between hosts of different sides are lost. A host that is on no side reaches everybody.

    sides:    host index -> side
    one_way:  only packets from a lower side to a higher one are lost
    silent:   connections stall instead of breaking, and dials time out instead of failing at once
    """

    sides: Mapping[int, int]
    one_way: bool = False
    silent: bool = False

    def blocks(self, sender: Host, receiver: Host) -> bool:
        """Whether packets from ``sender`` to ``receiver`` are lost."""
        one, other = self.sides.get(sender.index), self.sides.get(receiver.index)
        if one is None or other is None:
            return False
        return one < other if self.one_way else one != other

    def parts(self, one: Host, other: Host) -> bool:
        """Whether no connection between two hosts can live: TCP needs both directions."""
        return self.blocks(one, other) or self.blocks(other, one)


def sides_of(groups: Iterable[Iterable[Host]]) -> dict[int, int]:
    """The sides of a cut from its groups of hosts."""
    return {host.index: side for side, group in enumerate(groups) for host in group}
