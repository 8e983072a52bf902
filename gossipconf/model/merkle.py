"""The Merkle tree over a change's entries, and proofs for any subset of them.

The tree has the shape and the hashes of RFC 6962 (section 2.1): a leaf is
SHA-256(0x00 ‖ data), a node SHA-256(0x01 ‖ left ‖ right), and n leaves split at
the largest power of two below n.

A proof for a subset is one list: walk the tree from the root, left before
right; where a subtree holds no chosen leaf, write its hash and do not descend.
All leaves chosen: the list is empty. None chosen: it is the root alone. So a
whole change, the live part of one and a bare header have the same form.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from hashlib import sha256

from .errors import FormatError

Range = tuple[int, int]


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf's data."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def _split(low: int, high: int) -> int:
    """Where [low, high) divides: after the largest power of two below its length."""
    return low + (1 << (high - low - 1).bit_length() - 1)


class SparseTree:
    """What is known of a tree of ``count`` leaves: a root that some leaves and a proof lead to.

    ``known`` maps a range [low, high) of leaves to the hash of the subtree over it,
    for every subtree that was given or computed.
    """

    __slots__ = ("count", "known")

    def __init__(self, count: int, leaves: Mapping[int, bytes], proof: Sequence[bytes]) -> None:
        """Build from the hashes of some leaves, by index, and the proof for exactly these.

        Raises FormatError if the proof has too few or too many hashes.
        """
        if count < 1:
            raise FormatError("a change has at least one entry")
        self.count = count
        self.known: dict[Range, bytes] = {}
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
        leaves: Mapping[int, bytes],
        proof: Sequence[bytes],
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
        self.known[low, high] = node_hash(self.known[low, middle], self.known[middle, high])
        return used

    @property
    def root(self) -> bytes:
        """The root hash."""
        return self.known[0, self.count]

    def proof(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        """The proof for the leaves ``indices`` (ascending). Raises FormatError if too little is known."""
        hashes: list[bytes] = []
        self._prove(0, self.count, indices, 0, len(indices), hashes)
        return tuple(hashes)

    def _prove(self, low: int, high: int, indices: Sequence[int], first: int, last: int, out: list[bytes]) -> None:
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
        """Learn what ``other``, of the same root and count, knows."""
        if (other.count, other.root) != (self.count, self.root):
            raise FormatError("proofs of different trees cannot be merged")
        self.known.update(other.known)
