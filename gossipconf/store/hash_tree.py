"""The hash tree over everything replicated: equal roots exactly when the sets are equal.

A radix tree of fan-out 16 over 32-byte ids, which are hashes and so spread evenly.
A node is a leaf exactly if it holds at most LEAF_ITEMS_MAX ids; so the shape, and with
it every hash, is a function of the set alone, whatever the order of additions and
removals. Hashes are recomputed only when asked for, and only along changed paths.

Node hashes are 16 bytes: finding a second set with the hash of an honest one takes
2^128 steps.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, TypeAlias

FANOUT: Final = 16
LEAF_ITEMS_MAX: Final = 16
"""A leaf is as wide as an inner node, so that hashing a change's path costs the same at every level."""

NODE_HASH_BYTES: Final = 16
EMPTY_HASH: Final = bytes(NODE_HASH_BYTES)
ITEM_BYTES: Final = 32
"""An id."""
DEPTH_MAX: Final = 2 * ITEM_BYTES
"""Nibbles of an id."""

Prefix: TypeAlias = tuple[int, ...]
"""The nibbles that lead to a node."""


class _Node:
    """``children`` is None in a leaf, ``items`` None in an inner node; ``hash`` None if it must be recomputed.

    ``items`` ascend: a leaf is hashed and told in that order, and a list of so few takes a third of a set's memory.
    """

    __slots__ = ("children", "count", "hash", "items")

    def __init__(self, items: list[bytes]) -> None:
        self.items: list[bytes] | None = items
        self.children: list[_Node | None] | None = None
        self.count = len(items)
        self.hash: bytes | None = None


class HashTree:
    """A set of 32-byte ids with a root hash and hashes for every prefix."""

    def __init__(self) -> None:
        self._root = _Node([])

    @classmethod
    def of(cls, items: Iterable[bytes]) -> HashTree:
        """The tree of ``items``, each of which comes once: a tenth of the work of adding them one by one."""
        tree = cls()
        tree._root = _grown(list(items), 0)
        return tree

    def __len__(self) -> int:
        return self._root.count

    def __contains__(self, item: bytes) -> bool:
        node, depth = self._root, 0
        while node.children is not None:
            child = node.children[_nibble(item, depth)]
            if child is None:
                return False
            node, depth = child, depth + 1
        items = _items(node)
        place = bisect_left(items, item)
        return place < len(items) and items[place] == item

    def add(self, item: bytes) -> None:
        """Add ``item``, which must not be here."""
        assert item not in self, "an id is added once"
        node, depth = self._root, 0
        while True:
            node.count += 1
            node.hash = None
            if node.children is None:
                break
            nibble = _nibble(item, depth)
            child = node.children[nibble]
            if child is None:
                child = node.children[nibble] = _Node([])
            node, depth = child, depth + 1
        insort(_items(node), item)
        if node.count > LEAF_ITEMS_MAX:
            _divide(node, depth)

    def remove(self, item: bytes) -> None:
        """Remove ``item``, which must be here."""
        assert item in self, "only an id that is here can be removed"
        node, depth = self._root, 0
        while node.children is not None:
            node.count -= 1
            node.hash = None
            if node.count <= LEAF_ITEMS_MAX:
                node.items = [one for one in _walk(node) if one != item]
                node.children = None
                return
            nibble = _nibble(item, depth)
            child = node.children[nibble]
            assert child is not None
            if child.count == 1:
                node.children[nibble] = None
                return
            node, depth = child, depth + 1
        node.count -= 1
        node.hash = None
        _items(node).remove(item)

    @property
    def root(self) -> bytes:
        """Hash of the whole set: 16 bytes."""
        return _hash(self._root)

    def hash_at(self, prefix: Prefix) -> bytes:
        """Hash of the subset under ``prefix``, as a tree that has a node there would compute it."""
        node, depth = self._descend(prefix)
        if depth == len(prefix):
            return _hash(node)
        return _leaf_hash(self._under(node, prefix))

    def row(self, prefix: Prefix, levels: int) -> list[bytes]:
        """The hashes at every place ``levels`` below ``prefix``, in order."""
        if levels == 0:
            return [self.hash_at(prefix)]
        node, depth = self._descend(prefix)
        if levels == 1 and depth == len(prefix) and node.children is not None:
            return [EMPTY_HASH if child is None else _hash(child) for child in node.children]
        return [digest for nibble in range(FANOUT) for digest in self.row((*prefix, nibble), levels - 1)]

    def count(self, prefix: Prefix) -> int:
        """How many ids are under ``prefix``."""
        node, depth = self._descend(prefix)
        return node.count if depth == len(prefix) else len(self._under(node, prefix))

    def items(self, prefix: Prefix = ()) -> list[bytes]:
        """All ids under ``prefix``, ascending."""
        node, _ = self._descend(prefix)
        return self._under(node, prefix)

    def starting_with(self, start: bytes) -> list[bytes]:
        """All ids whose first bytes are ``start``."""
        node, depth = self._root, 0
        while node.children is not None and depth < 2 * len(start):
            child = node.children[_nibble(start, depth)]
            if child is None:
                return []
            node, depth = child, depth + 1
        return [item for item in _walk(node) if item.startswith(start)]

    def _descend(self, prefix: Prefix) -> tuple[_Node, int]:
        """The node at ``prefix``, or the leaf above where it would be; and its depth."""
        node = self._root
        for depth, nibble in enumerate(prefix):
            if node.children is None:
                return node, depth
            child = node.children[nibble]
            if child is None:
                return _Node([]), len(prefix)
            node = child
        return node, len(prefix)

    def _under(self, node: _Node, prefix: Prefix) -> list[bytes]:
        return [item for item in _walk(node) if all(_nibble(item, d) == n for d, n in enumerate(prefix))]


def _nibble(item: bytes, depth: int) -> int:
    byte = item[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _items(node: _Node) -> list[bytes]:
    assert node.items is not None
    return node.items


def _walk(node: _Node) -> Iterator[bytes]:
    """All ids under a node, ascending."""
    if node.children is None:
        yield from _items(node)
    else:
        for child in node.children:
            if child is not None:
                yield from _walk(child)


def _grown(items: list[bytes], depth: int) -> _Node:
    """The node over ``items``, which have their first ``depth`` nibbles in common."""
    node = _Node(items)
    if len(items) > LEAF_ITEMS_MAX:
        _divide(node, depth)
    else:
        items.sort()
        node.hash = _leaf_hash(items)
    return node


def _divide(node: _Node, depth: int) -> None:
    """Turn an overfull leaf into an inner node."""
    parts: list[list[bytes]] = [[] for _ in range(FANOUT)]
    place, shift = depth >> 1, 0 if depth & 1 else 4
    for item in _items(node):
        parts[item[place] >> shift & 15].append(item)  # the nibble: a call for each would be a quarter of a large tree
    node.items = None
    node.children = [_grown(part, depth + 1) if part else None for part in parts]


def _hash(node: _Node) -> bytes:
    if node.hash is None:
        if node.children is None:
            node.hash = _leaf_hash(_items(node))
        else:
            hashes = b"".join([EMPTY_HASH if one is None else one.hash or _hash(one) for one in node.children])
            node.hash = sha256(b"\x01" + hashes).digest()[:NODE_HASH_BYTES]
    return node.hash


def _leaf_hash(items: list[bytes]) -> bytes:
    if not items:
        return EMPTY_HASH
    return sha256(b"\x00" + b"".join(items)).digest()[:NODE_HASH_BYTES]
