"""The frontier as a hint: who has written lately, and how far, in about ten bytes a writer.

On the wire a frontier names each writer by the first START_BYTES of its id, and what the
other side lacks is named by places in the frontier that it has just received. A hint
may be wrong: two writers whose ids begin alike (by accident one time in 10^11 among
10,000 writers; a holder of a key can make such a pair in 2^32 steps) share one number,
the larger. What this hides the tree finds, as it finds every hole below a frontier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, TypeAlias

from ..model.errors import FormatError, ProtocolViolation

START_BYTES: Final = 8
"""How much of a writer's id a hint names: 17 bytes with the largest number, and 10 with a usual one."""

Frontier: TypeAlias = tuple[bytes, tuple[int, ...]]
"""The beginnings of the writers' ids, joined, strictly ascending; and the highest number met of each."""

Lacks: TypeAlias = tuple[tuple[int, int], ...]
"""(place in a frontier, how many numbers behind it), strictly ascending by place; at least 1 behind."""


def frontier_of(highest: Iterable[tuple[bytes, int]]) -> Frontier:
    """The frontier of these (writer id, highest number) pairs."""
    known = by_start(highest)
    starts = sorted(known)
    return b"".join(starts), tuple(known[start] for start in starts)


def by_start(highest: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
    """{beginning of a writer's id: highest number}."""
    known: dict[bytes, int] = {}
    for writer, seq in highest:
        start = writer[:START_BYTES]
        if known.get(start, 0) < seq:
            known[start] = seq
    return known


def starts_of(frontier: Frontier) -> list[bytes]:
    """The beginnings of the writers' ids."""
    joined, _ = frontier
    return [joined[place : place + START_BYTES] for place in range(0, len(joined), START_BYTES)]


def known_by(frontier: Frontier) -> dict[bytes, int]:
    """A frontier that has been received, as {beginning of a writer's id: number}."""
    return dict(zip(starts_of(frontier), frontier[1], strict=True))


def lacks_of(frontier: Frontier, known: Mapping[bytes, int]) -> Lacks:
    """Where, and how far, ``known`` is behind a frontier that has been received."""
    behind = (seq - known.get(start, 0) for start, seq in zip(starts_of(frontier), frontier[1], strict=True))
    return tuple((place, by) for place, by in enumerate(behind) if by > 0)


def known_behind(frontier: Frontier, lacks: Lacks) -> dict[bytes, int]:
    """What a peer that lacks this of the frontier it was sent knows of these writers: nothing at least.

    Raises ProtocolViolation for a place that was not in it.
    """
    starts, (_, seqs) = starts_of(frontier), frontier
    known = {}
    for place, behind in lacks:
        if place >= len(seqs):
            raise ProtocolViolation("the peer lacks a writer that it was not shown")
        known[starts[place]] = max(0, seqs[place] - behind)
    return known


def check_frontier(frontier: Frontier) -> Frontier:
    """Raise FormatError unless there is one number for each beginning, and these ascend."""
    starts = starts_of(frontier)
    if len(frontier[0]) != START_BYTES * len(frontier[1]):
        raise FormatError(f"a frontier has {START_BYTES} bytes of a writer's id for each number")
    if any(one >= other for one, other in pairwise(starts)):
        raise FormatError("the writers in a frontier must be in strictly ascending order")
    return frontier
