"""Walking two hash trees together: what is told of a tree node, and what follows for the one who asked.

Hashes and items travel cut to a few bytes. Two different ones may then look alike, by
accident once in 2^32 or by design; what that hides, a walk at full width finds. So a
cut walk is a hint too, as the frontier is, and never the end of a sync.

The walk goes several levels at a time where the tree is large and little is asked, and
ends early, with the items themselves, where few are left: each question is a round trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..model.errors import ProtocolViolation
from ..store.hash_tree import DEPTH_MAX, EMPTY_HASH, FANOUT, ITEM_BYTES, HashTree, Prefix
from .fields import WIDTH_MIN
from .messages import TOLD_ITEMS_MAX, WALK_ANSWER_BYTES_MAX, WALK_LEVELS_MAX, WALK_NODES_MAX, WIDTH_MAX, Told, Walk

WIDE_NODES_MAX: Final = 4
"""Tree nodes asked for at once of which the walk still takes two levels: 1 KiB each at the smallest width, for a
round trip less."""


@dataclass(slots=True)
class Differences:
    """What one told node shows.

    wanted:    beginnings of items that only the peer has
    owed:      items that only this node has
    children:  tree nodes below that differ
    """

    wanted: list[bytes] = field(default_factory=list)
    owed: list[bytes] = field(default_factory=list)
    children: list[Prefix] = field(default_factory=list)


def width_of(walks: int) -> int:
    """How much of hashes and items the ``walks``-th walk of a session asks for: cut first, then exact."""
    return WIDTH_MIN if walks == 1 else WIDTH_MAX


def nodes_at_once(width: int) -> int:
    """How many tree nodes may be asked for at once."""
    return min(WALK_NODES_MAX, WALK_ANSWER_BYTES_MAX // (TOLD_ITEMS_MAX * width))


def question(request: int, tree: HashTree, prefixes: list[Prefix], width: int) -> Walk:
    """Ask for these tree nodes."""
    is_wide = len(prefixes) <= WIDE_NODES_MAX and max(map(tree.count, prefixes)) > FANOUT * TOLD_ITEMS_MAX
    nodes = tuple((prefix, tree.hash_at(prefix)[:width]) for prefix in prefixes)
    return Walk(request, width, WALK_LEVELS_MAX if is_wide else 1, nodes)


def check_question(walk: Walk) -> None:
    """Raise ProtocolViolation if the answer could be too large."""
    if len(walk.nodes) > (nodes_at_once(walk.width) if walk.levels == 1 else WIDE_NODES_MAX):
        raise ProtocolViolation(f"a walk asks for {walk.levels} levels of {len(walk.nodes)} tree nodes at once")


def answers(tree: HashTree, walk: Walk) -> Iterator[Told]:
    """What is here under each of the nodes asked for that differs."""
    for prefix, digest in walk.nodes:
        if tree.hash_at(prefix)[: walk.width] == digest:
            continue
        if tree.count(prefix) > TOLD_ITEMS_MAX:
            row = tree.row(prefix, walk.levels)
            yield Told(prefix, walk.levels, b"".join([digest[: walk.width] for digest in row]))
        else:
            first = _first_told(prefix, walk.width)
            yield Told(prefix, 0, b"".join([item[first : first + walk.width] for item in tree.items(prefix)]))


def compare(tree: HashTree, told: Told, width: int) -> Differences:
    """What ``told`` shows beside what is here. Raises ProtocolViolation."""
    parts = [told.data[place : place + width] for place in range(0, len(told.data), width)]
    if told.levels == 0:
        if len(told.data) % width or len(parts) > TOLD_ITEMS_MAX:
            raise ProtocolViolation(f"at most {TOLD_ITEMS_MAX} items of {width} bytes are told of a tree node")
        return _compare_items(tree, told.prefix, parts, width)
    if len(told.prefix) + told.levels > DEPTH_MAX:
        raise ProtocolViolation("a row of hashes below the last nibble of an id")
    if len(told.data) != width * FANOUT**told.levels:
        raise ProtocolViolation(f"a row of hashes has {FANOUT**told.levels} of {width} bytes")
    return _compare_row(tree, told, parts, width)


def _compare_items(tree: HashTree, prefix: Prefix, parts: list[bytes], width: int) -> Differences:
    first = _first_told(prefix, width)
    mine = {item[first : first + width]: item for item in tree.items(prefix)}
    theirs = dict.fromkeys(parts)
    lead = bytes(high << 4 | low for high, low in zip(prefix[: 2 * first : 2], prefix[1 : 2 * first : 2], strict=True))
    return Differences(
        wanted=[lead + part for part in theirs if part not in mine],
        owed=[item for part, item in mine.items() if part not in theirs],
    )


def _compare_row(tree: HashTree, told: Told, theirs: list[bytes], width: int) -> Differences:
    found = Differences()
    empty = EMPTY_HASH[:width]
    for number, (digest, mine) in enumerate(zip(theirs, tree.row(told.prefix, told.levels), strict=True)):
        if digest == mine[:width]:
            continue
        below = tuple(number >> 4 * level & FANOUT - 1 for level in reversed(range(told.levels)))
        child = (*told.prefix, *below)
        if digest == empty:
            found.owed.extend(tree.items(child))
        else:
            found.children.append(child)
    return found


def _first_told(prefix: Prefix, width: int) -> int:
    """The first byte of an item that its prefix does not say already."""
    return min(len(prefix) // 2, ITEM_BYTES - width)
