"""The Merkle sum tree over a change's entries, and proofs for any subset of them.

Every subtree has a size in bytes and a hash. The shape is that of RFC 6962
(section 2.1): n leaves split at the largest power of two below n.

    leaf:  size as given             hash = SHA-256(0x00 ‖ size ‖ data)
    node:  size = left + right       hash = SHA-256(0x01 ‖ left size ‖ left hash ‖ right size ‖ right hash)

A proof for a subset is one list: walk the tree from the root, left before
right; where a subtree holds no chosen leaf, write its size and hash and do not
descend. All leaves chosen: the list is empty. None chosen: it is the root alone.
So a whole change, the live part of one and a bare header have the same form.

A hash commits to the sizes below it and no size is negative. So the size that
any part leads to is at least that of all leaves that any parts of the same root
can ever reveal: whoever bounds it in one part has bounded their union.

Knows sizes and hashes; knows nothing of what a leaf is or how large it may be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final, TypeAlias

from .errors import FormatError, LimitExceeded

Range: TypeAlias = tuple[int, int]

SIZE_MAX: Final = (1 << 32) - 1
"""Sizes are hashed as 4 bytes. What a change may have is far less (CHANGE_BYTES_MAX) and its own matter."""

_LEAF = Struct(">BI")
_NODE = Struct(">BI32sI32s")


Subtree: TypeAlias = tuple[int, bytes]
"""The size of a subtree in bytes, and its hash. A bare tuple, as decoding makes it of a proof's element: there are
thousands in a change."""


def leaf_of(size: int, data: bytes) -> Subtree:
    """The leaf with ``data``, which stands for something of ``size`` bytes."""
    return size, sha256(_LEAF.pack(0, size) + data).digest()


def node_of(left: Subtree, right: Subtree) -> Subtree:
    """The inner node over two subtrees. Raises LimitExceeded if their sizes add up to more than SIZE_MAX."""
    left_size, left_hash = left
    right_size, right_hash = right
    size = left_size + right_size
    if size > SIZE_MAX:
        raise LimitExceeded(f"the sizes in the tree add up to {size} bytes, the limit is {SIZE_MAX}")
    return size, sha256(_NODE.pack(1, left_size, left_hash, right_size, right_hash)).digest()


def _split(low: int, high: int) -> int:
    """Where [low, high) divides: after the largest power of two below its length."""
    return low + (1 << (high - low - 1).bit_length() - 1)


class SparseTree:
    """What is known of a tree of ``count`` leaves: a root that some leaves and a proof lead to.

    ``known`` maps a range [low, high) of leaves to the size and hash of the subtree
    over it, for every subtree that was given or computed.
    """

    __slots__ = ("count", "known")

    def __init__(self, count: int, leaves: Mapping[int, Subtree], proof: Sequence[Subtree]) -> None:
        """Build from some leaves, by index, and the proof for exactly these.

        Raises FormatError if the proof has too few or too many hashes, LimitExceeded if
        the sizes add up to more than SIZE_MAX.
        """
        if count < 1:
            raise FormatError("a change has at least one entry")
        self.count = count
        self.known: dict[Range, Subtree] = {}
        indices = sorted(leaves)
        used = self._fill(0, count, indices, 0, len(indices), leaves, proof, 0)
        if used != len(proof):
            raise FormatError(f"the proof has {len(proof)} hashes, its tree needs {used}")

    def _fill(
        self,
        low: int,
        high: int,
        indices: Sequence[int],
        first: int,
        last: int,
        leaves: Mapping[int, Subtree],
        proof: Sequence[Subtree],
        used: int,
    ) -> int:
        """Fill in the subtree over [low, high), whose chosen leaves are indices[first:last]."""
        if first == last:
            if used == len(proof):
                raise FormatError("the proof ends too early")
            self.known[low, high] = proof[used]
            return used + 1
        if high - low == 1:
            self.known[low, high] = leaves[low]
            return used
        middle = _split(low, high)
        between = bisect_left(indices, middle, first, last)
        used = self._fill(low, middle, indices, first, between, leaves, proof, used)
        used = self._fill(middle, high, indices, between, last, leaves, proof, used)
        self.known[low, high] = node_of(self.known[low, middle], self.known[middle, high])
        return used

    @property
    def root(self) -> bytes:
        """The root hash."""
        return self.known[0, self.count][1]

    @property
    def size(self) -> int:
        """The sizes of all leaves together, known or not, in bytes."""
        return self.known[0, self.count][0]

    def proof(self, indices: Sequence[int]) -> tuple[Subtree, ...]:
        """The proof for the leaves ``indices`` (ascending). Raises FormatError if too little is known."""
        subtrees: list[Subtree] = []
        self._prove(0, self.count, indices, 0, len(indices), subtrees)
        return tuple(subtrees)

    def _prove(self, low: int, high: int, indices: Sequence[int], first: int, last: int, out: list[Subtree]) -> None:
        if first == last:
            try:
                out.append(self.known[low, high])
            except KeyError:
                raise FormatError(f"the hash over entries {low} to {high - 1} is not known here") from None
            return
        if high - low == 1:
            return
        middle = _split(low, high)
        between = bisect_left(indices, middle, first, last)
        self._prove(low, middle, indices, first, between, out)
        self._prove(middle, high, indices, between, last, out)

    def merge(self, other: SparseTree) -> None:
        """Learn what ``other``, of the same root, size and count, knows. Raises FormatError for another tree."""
        if (other.count, other.size, other.root) != (self.count, self.size, self.root):
            raise FormatError("proofs of different trees cannot be merged")
        self.known.update(other.known)
