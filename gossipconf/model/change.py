"""Changes: a signed header over one or more entries.

A `Change` object holds a header, its signatures and *some* of its entries: all of
them as it was published, those that still live, or none (the bare header that
proves a fork). Whatever part is there, the proof leads to the size and the root that
the header signs. Only the shape is checked here; signatures are `trust`'s.

docs/format.md states the encoding byte by byte.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from .clock import WRITER_ID_BYTES, seq_of
from .encoding import as_array, as_bytes, as_int, as_text, decode, encode
from .entry import Entry
from .errors import FormatError, LimitExceeded, Rejected, WrongCluster
from .hashing import CHANGE_TAG, HASH_BYTES, SIGNATURE_TAG, VERSION_TAG, WRITER_TAG, tagged_hash
from .limits import (
    CHANGE_BYTES_MAX,
    COMMENT_BYTES_MAX,
    ENTRIES_MAX,
    FORM_BYTES_MAX,
    POLICY_VERSION_MAX,
    SEQ_MAX,
    SIGNATURES_MAX,
    TIME_MS_MAX,
)
from .merkle import SIZE_MAX, SparseTree, Subtree
from .version import Version

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
INCARNATION_BYTES: Final = 8
CLUSTER_TAG_BYTES: Final = 4
"""How much of the cluster id travels with a change, so that a stray is named for what it is. The whole id is
in the signed header, so the tag is a courtesy and not the protection."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A signing key and an incarnation: whoever numbers changes."""

    key: bytes
    incarnation: bytes

    @property
    def id(self) -> bytes:
        """The 16 bytes by which version vectors name this writer."""
        return tagged_hash(WRITER_TAG, self.key, self.incarnation)[:WRITER_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Header:
    """What is signed. Times are milliseconds since 1970, UTC.

    count, size, root: number, bytes and tree of all entries, whichever of them are here
    """

    cluster: bytes
    policy: int
    writer: Writer
    seq: int
    time_ms: int
    count: int
    size: int
    root: bytes
    comment: str = ""
    activation_ms: int | None = None

    def encode(self) -> bytes:
        """The canonical bytes whose tagged hash is the change id."""
        return encode(
            [
                self.cluster,
                self.policy,
                self.writer.key,
                self.writer.incarnation,
                self.seq,
                self.time_ms,
                self.activation_ms,
                self.comment,
                self.count,
                self.size,
                self.root,
            ]
        )


@dataclass(frozen=True)
class Change:
    """A header, its signatures, and the entries of it that are here.

    entries:    (index, entry) pairs, ascending by index
    proof:      sizes and hashes that lead from these entries to ``header.size`` and ``header.root``
    approvals:  (key, signature) pairs besides the writer's own, ascending by key
    """

    header: Header
    signature: bytes
    entries: tuple[tuple[int, Entry], ...]
    proof: tuple[Subtree, ...] = ()
    approvals: tuple[tuple[bytes, bytes], ...] = ()

    @cached_property
    def id(self) -> bytes:
        """The change id: 32 bytes."""
        return tagged_hash(CHANGE_TAG, self.header.encode())

    @cached_property
    def writer_id(self) -> bytes:
        """The 16-byte id of the writer."""
        return self.header.writer.id

    @cached_property
    def versions(self) -> tuple[Version, ...]:
        """The versions that the entries that are here make: made once, for all who hold this change."""
        return tuple(
            Version(self.version_id(index), self.id, index, self.header, self.writer_id, entry)
            for index, entry in self.entries
        )

    @cached_property
    def place(self) -> tuple[int, bytes]:
        """(seq, id): where it stands among the changes of its writer."""
        return (self.header.seq, self.id)

    @property
    def is_whole(self) -> bool:
        """Whether every entry is here."""
        return len(self.entries) == self.header.count

    def entry(self, index: int) -> Entry | None:
        """Entry ``index``, or None if it is not here."""
        position = bisect_left(self.entries, index, key=lambda pair: pair[0])
        if position < len(self.entries) and self.entries[position][0] == index:
            return self.entries[position][1]
        return None

    def version_id(self, index: int) -> bytes:
        """Id of the version that entry ``index`` is: 32 bytes."""
        return version_id(self.id, index)

    def signatures(self) -> tuple[tuple[bytes, bytes], ...]:
        """All (key, signature) pairs, the writer's first."""
        return ((self.header.writer.key, self.signature), *self.approvals)

    def tree(self) -> SparseTree:
        """What is known of the Merkle tree over all entries."""
        leaves = {index: entry.leaf() for index, entry in self.entries}
        return SparseTree(self.header.count, leaves, self.proof)

    def restrict(self, indices: Iterable[int], tree: SparseTree | None = None) -> Change:
        """The same change with only the entries ``indices``, which must be here. ``tree``: this one's, if at hand."""
        wanted = set(indices)
        if len(wanted) == len(self.entries):
            return self
        kept = tuple(pair for pair in self.entries if pair[0] in wanted)
        proof = (tree or self.tree()).proof([index for index, _ in kept])
        return Change(self.header, self.signature, kept, proof, self.approvals)

    def single(self, index: int, tree: SparseTree) -> Change:
        """The same change with only entry ``index``; ``tree`` is this change's, so that many can be cut from it."""
        entry = self.entry(index)
        if entry is None:
            raise ValueError(f"entry {index} is not here")
        return Change(self.header, self.signature, ((index, entry),), tree.proof((index,)), self.approvals)

    def union(self, other: Change) -> Change:
        """The same change with the entries and approvals of both. Raises ValueError for another change."""
        if self.id != other.id:
            raise ValueError("only parts of one change can be joined")
        entries = dict(self.entries) | dict(other.entries)
        approvals = _merge_approvals(self.approvals, other.approvals)
        signature = min(self.signature, other.signature)
        if len(entries) == len(self.entries):
            if (approvals, signature) == (self.approvals, self.signature):
                return self
            return Change(self.header, signature, self.entries, self.proof, approvals)
        tree = self.tree()
        tree.merge(other.tree())
        pairs = tuple(sorted(entries.items(), key=lambda pair: pair[0]))
        return Change(self.header, signature, pairs, tree.proof([index for index, _ in pairs]), approvals)

    def encode(self) -> bytes:
        """The canonical bytes that travel and lie on disk."""
        header = self.header
        return encode(
            [
                header.cluster[:CLUSTER_TAG_BYTES],
                header.policy,
                header.writer.key,
                header.writer.incarnation,
                header.seq,
                header.time_ms,
                header.activation_ms,
                header.comment,
                self.signature,
                self.approvals,
                header.count,
                None if self.is_whole else [index for index, _ in self.entries],
                [entry.to_wire() for _, entry in self.entries],
                self.proof,
            ]
        )

    @classmethod
    def decode(cls, data: bytes, cluster: bytes) -> Change:
        """Check and read a change of the cluster with id ``cluster``.

        The header's size and root are computed from the entries and the proof, so any
        altered byte changes the change id and with it what the signature must sign.
        Raises FormatError, LimitExceeded, InvalidInput, WrongCluster or Rejected.
        """
        fields = as_array(decode(data, "a change", FORM_BYTES_MAX), "a change", 14)
        tag, policy, key, incarnation, seq, time_ms, activation, comment = fields[:8]
        signature, approvals, count, indices, entries, proof = fields[8:]
        as_bytes(tag, "the cluster tag", CLUSTER_TAG_BYTES)
        if tag != cluster[:CLUSTER_TAG_BYTES]:
            raise WrongCluster(f"the change belongs to cluster {tag.hex()}…, this is {cluster.hex()[:8]}…")
        as_int(count, "the number of entries", 1, ENTRIES_MAX)
        pairs = _decode_entries(count, indices, as_array(entries, "the entries", length_max=count))
        subtrees = _decode_proof(count, proof)
        tree = SparseTree(count, {index: entry.leaf() for index, entry in pairs}, subtrees)
        check_size(tree.size)
        header = Header(
            cluster=cluster,
            policy=as_int(policy, "the policy version", 0, POLICY_VERSION_MAX),
            writer=Writer(
                as_bytes(key, "the writer's key", PUBLIC_KEY_BYTES),
                as_bytes(incarnation, "the incarnation", INCARNATION_BYTES),
            ),
            seq=as_int(seq, "the sequence number", 1, SEQ_MAX),
            time_ms=as_int(time_ms, "the time", 0, TIME_MS_MAX),
            count=count,
            size=tree.size,
            root=tree.root,
            comment=as_text(comment, "the comment", COMMENT_BYTES_MAX),
            activation_ms=None if activation is None else as_int(activation, "the activation", 0, TIME_MS_MAX),
        )
        change = cls(
            header,
            as_bytes(signature, "the signature", SIGNATURE_BYTES),
            pairs,
            subtrees,
            _decode_approvals(approvals, key),
        )
        check_vectors(change)
        return change


def check_size(size: int) -> None:
    """Raise LimitExceeded if all entries of a change together have more bytes than a change may.

    Every part of a change leads to the same size, so every node judges every part alike,
    and the parts that are let in join to something that can still be held, written and sent.
    """
    if size > CHANGE_BYTES_MAX:
        raise LimitExceeded(
            f"the change has {size} bytes of entries, the limit is {CHANGE_BYTES_MAX}; publish it in parts"
        )


def check_vectors(change: Change) -> None:
    """Reject a body that claims to have seen itself or its own future (design: an invalid body)."""
    for _, entry in change.entries:
        if seq_of(entry.seen, change.writer_id) >= change.header.seq:
            raise Rejected(
                f"the version vector of {entry.key!r} claims sequence number "
                f"{seq_of(entry.seen, change.writer_id)} of its own writer, the change is {change.header.seq}"
            )


def version_id(change_id: bytes, index: int) -> bytes:
    """Id of the version that entry ``index`` of a change is."""
    return tagged_hash(VERSION_TAG, change_id, index.to_bytes(4, "big"))


def signed_bytes(change_id: bytes) -> bytes:
    """What an Ed25519 signature over a change signs."""
    return SIGNATURE_TAG + change_id


def _decode_entries(count: int, indices: Any, entries: Sequence[Any]) -> tuple[tuple[int, Entry], ...]:
    if indices is None:
        numbers: Sequence[int] = range(count)
    else:
        numbers = as_array(indices, "the indices", length_max=count - 1)
        previous = -1
        for index in numbers:
            if as_int(index, "an index", 0, count - 1) <= previous:
                raise FormatError("the indices must be in strictly ascending order")
            previous = index
    if len(numbers) != len(entries):
        raise FormatError(f"{len(numbers)} indices for {len(entries)} entries")
    return tuple((index, Entry.from_wire(entry)) for index, entry in zip(numbers, entries, strict=True))


def _decode_proof(count: int, value: Any) -> tuple[Subtree, ...]:
    subtrees = as_array(value, "the proof", length_max=count)
    for pair in subtrees:
        size, digest = as_array(pair, "an element of the proof", 2)
        as_int(size, "a size in the proof", 0, SIZE_MAX)
        as_bytes(digest, "a hash of the proof", HASH_BYTES)
    return subtrees


def _decode_approvals(value: Any, writer_key: bytes) -> tuple[tuple[bytes, bytes], ...]:
    approvals = []
    previous = b""
    for pair in as_array(value, "the approvals", length_max=SIGNATURES_MAX - 1):
        key, signature = as_array(pair, "an approval", 2)
        as_bytes(key, "an approval's key", PUBLIC_KEY_BYTES)
        as_bytes(signature, "an approval's signature", SIGNATURE_BYTES)
        if key <= previous or key == writer_key:
            raise FormatError("the approvals must be in strictly ascending order and without the writer's own")
        previous = key
        approvals.append((key, signature))
    return tuple(approvals)


def _merge_approvals(
    mine: tuple[tuple[bytes, bytes], ...], other: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[bytes, bytes], ...]:
    """Union by key; of two signatures by one key the smaller, so that the order of merging does not matter."""
    merged: dict[bytes, bytes] = {}
    for key, signature in (*mine, *other):
        merged[key] = min(merged.get(key, signature), signature)
    return tuple(sorted(merged.items())[: SIGNATURES_MAX - 1])
