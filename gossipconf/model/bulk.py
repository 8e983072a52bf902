"""Changes in bulk: what `Change.decode` gives for each of many, at a fifth of the work.

    read(data)  =  [(Change.decode(one), one) for each one in data]

The checks are those of `Change.decode`, made on columns of a batch and not field by
field: all keys are searched for unprintable characters as one text, all times are one
`min` and `max`. A batch in which anything is odd goes the long way, change by change,
which finds what it is and says so. Ids and versions, which cost the rest, are computed
on the way and remembered in the changes.

Knows shapes and hashes; verifies no signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import chain, compress
from typing import Any, Final, TypeAlias

import msgpack

from .change import (
    CLUSTER_TAG_BYTES,
    INCARNATION_BYTES,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Change,
    Header,
    Writer,
    check_size,
    check_vectors,
)
from .clock import EMPTY, Clock, decode_clock
from .encoding import ARRAY_LENGTH_MAX
from .entry import Entry, Operation, Slot, ValueType, encoded_bytes
from .errors import FormatError, InvalidInput, LimitExceeded
from .hashing import CHANGE_TAG, HASH_BYTES, VERSION_TAG
from .key import UTF8_BYTES_MAX, are_keys
from .limits import (
    COMMENT_BYTES_MAX,
    ENTRIES_MAX,
    FORM_BYTES_MAX,
    POLICY_VERSION_MAX,
    SEQ_MAX,
    TIME_MS_MAX,
    VALUE_BYTES_MAX,
)
from .merkle import SparseTree, Subtree, leaf_of
from .version import Version

BATCH_BYTES: Final = 1 << 20
"""Changes checked together: enough that a batch costs nothing, little enough that an odd one costs little."""

FIELDS: Final = 14
ENTRY_FIELDS: Final = 9
"""Fields of a change and of an entry, as docs/format.md has them."""
_OPERATIONS: Final = {int(one): one for one in Operation}
_TYPES: Final = {int(one): one for one in ValueType}
_TEXTUAL: Final = frozenset({ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML})

_FIRST_INDEX: Final = (0).to_bytes(4, "big")
_DIGEST_BYTES: Final = encoded_bytes(HASH_BYTES)

Row: TypeAlias = tuple[Any, ...]
"""A decoded change of the 14 fields that docs/format.md names, not checked yet."""


def read(data: bytes, cluster: bytes) -> Iterator[tuple[Change, bytes]]:
    """The changes that lie in ``data`` one after another, each with its own bytes.

    Raises what `Change.decode` raises, and FormatError where the last change is cut off.
    """
    reader = _Reader(cluster)
    for rows, pieces in _batches(data):
        yield from reader.changes(rows, pieces)


def unpack_all(data: bytes) -> int:
    """Only the first step of `read`: how many changes lie in ``data``, none of them checked."""
    return sum(len(rows) for rows, _ in _batches(data))


def _batches(data: bytes) -> Iterator[tuple[list[Any], list[bytes]]]:
    """Decoded rows and their bytes, about BATCH_BYTES at a time."""
    unpacker = msgpack.Unpacker(
        raw=False,
        use_list=False,
        strict_map_key=True,
        max_array_len=ARRAY_LENGTH_MAX,
        max_map_len=0,
        max_ext_len=0,
        max_buffer_size=len(data) or 1,
    )
    begin = fed = 0
    rows: list[Any] = []
    pieces: list[bytes] = []
    while fed < len(data):
        unpacker.feed(data[fed : fed + BATCH_BYTES])
        fed += BATCH_BYTES
        try:
            for row in unpacker:
                end = unpacker.tell()
                rows.append(row)
                pieces.append(data[begin:end])
                begin = end
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise FormatError(f"after {begin} bytes of changes: not msgpack as gossipconf writes it: {error}") from None
        if fed - begin > FORM_BYTES_MAX + BATCH_BYTES:
            raise LimitExceeded(f"the change after {begin} bytes has more than {FORM_BYTES_MAX} bytes")
        yield rows, pieces
        rows, pieces = [], []
    if begin != len(data):
        raise FormatError(f"the last change is cut off after {len(data) - begin} bytes")


class _Reader:
    """Makes changes of rows; remembers the writers that it has met."""

    def __init__(self, cluster: bytes) -> None:
        self._cluster = cluster
        self._writers: dict[tuple[bytes, bytes], tuple[Writer, bytes]] = {}
        self._pack = msgpack.Packer(use_bin_type=True).pack  # one buffer for all: making one takes as long as using it

    def changes(self, rows: Sequence[Any], pieces: Sequence[bytes]) -> Iterator[tuple[Change, bytes]]:
        """The changes of one batch: plain ones by the short way, the others one by one."""
        plain = list(map(_is_plain, rows))
        is_short = self._are_valid(list(compress(rows, plain)), list(compress(pieces, plain)))
        for row, piece, is_plain in zip(rows, pieces, plain, strict=True):
            yield (self._change(row) if is_plain and is_short else Change.decode(piece, self._cluster)), piece

    def _are_valid(self, rows: Sequence[Row], pieces: Sequence[bytes]) -> bool:
        """Whether every check of `Change.decode` that can be made on columns holds for all of these plain rows."""
        try:
            return (
                bool(rows)
                and max(map(len, pieces)) <= FORM_BYTES_MAX
                and self._pack(rows).endswith(b"".join(pieces))  # in canonical form
                and _are_headers(list(zip(*rows, strict=True)), self._cluster)
                and _are_entries(list(chain.from_iterable([row[12] for row in rows])))
            )
        except (TypeError, ValueError, InvalidInput):
            return False  # a field of another type than a check expects

    def _change(self, row: Row) -> Change:
        """The change of a valid plain row."""
        _, policy, key, incarnation, seq, time_ms, activation, comment, signature, _, count, _, wires, _ = row
        known = self._writers.get((key, incarnation))
        if known is None:
            writer = Writer(key, incarnation)
            known = self._writers[key, incarnation] = (writer, writer.id)
        writer, writer_id = known
        cluster = self._cluster
        size, root = self._leaf(wires[0]) if count == 1 else self._tree(wires)
        signed = (cluster, policy, key, incarnation, seq, time_ms, activation, comment, count, size, root)
        change_id = sha256(CHANGE_TAG + self._pack(signed)).digest()
        header: Any = _Header(cluster, policy, writer, seq, time_ms, count, size, root, comment, activation)
        header.__class__ = Header
        start = VERSION_TAG + change_id
        entries = []
        versions = []
        has_seen = False
        for index, (entry_key, variant, match, rank, operation, kind, value, seen, expires) in enumerate(wires):
            slot = (entry_key, variant)
            entry: Any = _Entry(
                entry_key, value, _TYPES[kind], seen, _OPERATIONS[operation], variant, match, rank, expires, slot
            )
            entry.__class__ = Entry
            version_id = sha256(start + (_FIRST_INDEX if index == 0 else index.to_bytes(4, "big"))).digest()
            version: Any = _Version(version_id, change_id, index, header, writer_id, entry)
            version.__class__ = Version
            has_seen = has_seen or bool(seen)
            entries.append((index, entry))
            versions.append(version)
        change = Change.__new__(Change)
        change.__dict__.update(
            {
                "header": header,
                "signature": signature,
                "entries": tuple(entries),
                "proof": (),
                "approvals": (),
                "id": change_id,
                "writer_id": writer_id,
                "place": (seq, change_id),
                "versions": tuple(versions),
            }
        )
        if has_seen:
            check_vectors(change)
        return change

    def _tree(self, wires: Sequence[Row]) -> Subtree:
        """Size and root of a change of several entries."""
        tree = SparseTree(len(wires), dict(enumerate(map(self._leaf, wires))), ())
        check_size(tree.size)
        return tree.size, tree.root

    def _leaf(self, wire: Row) -> Subtree:
        """`Entry.leaf` of an entry as it travels."""
        key, variant, match, rank, operation, kind, value, seen, expires = wire
        if value is None:
            data = self._pack(wire)
            return leaf_of(len(data), data)
        data = self._pack((key, variant, match, rank, operation, kind, sha256(value).digest(), seen, expires))
        return leaf_of(len(data) - _DIGEST_BYTES + encoded_bytes(len(value)), data)


# -- records in the making ------------------------------------------------------------------------

# A frozen record takes three times as long to make as one that is not, and is most of the work here. So each is made
# as its unfrozen twin, of the same slots, and frozen by changing its class.


class _Header:
    __slots__ = Header.__slots__

    def __init__(
        self,
        cluster: bytes,
        policy: int,
        writer: Writer,
        seq: int,
        time_ms: int,
        count: int,
        size: int,
        root: bytes,
        comment: str,
        activation_ms: int | None,
    ) -> None:
        self.cluster = cluster
        self.policy = policy
        self.writer = writer
        self.seq = seq
        self.time_ms = time_ms
        self.count = count
        self.size = size
        self.root = root
        self.comment = comment
        self.activation_ms = activation_ms


class _Entry:
    __slots__ = Entry.__slots__

    def __init__(
        self,
        key: str,
        value: bytes | None,
        type: ValueType,
        seen: Clock,
        operation: Operation,
        variant: str,
        match: tuple[()],
        rank: int,
        expires_ms: int | None,
        slot: Slot,
    ) -> None:
        self.key = key
        self.value = value
        self.type = type
        self.seen = seen
        self.operation = operation
        self.variant = variant
        self.match = match
        self.rank = rank
        self.expires_ms = expires_ms
        self.slot = slot


class _Version:
    __slots__ = Version.__slots__

    def __init__(self, id: bytes, change_id: bytes, index: int, header: Header, writer_id: bytes, entry: Entry) -> None:
        self.id = id
        self.change_id = change_id
        self.index = index
        self.header = header
        self.writer_id = writer_id
        self.entry = entry


# -- checks on columns ----------------------------------------------------------------------------


def _is_plain(row: Any) -> bool:
    """Whether it may be a whole change without approvals and of default variants only, as nearly all are."""
    try:
        *_, approvals, _, indices, entries, proof = row
        if approvals or indices is not None or proof:
            return False
        for entry in entries:
            if entry[1]:
                return False
    except (TypeError, ValueError, IndexError):
        return False
    return True


def _are_headers(columns: Sequence[Sequence[Any]], cluster: bytes) -> bool:
    if len(columns) != FIELDS:
        return False
    tags, policies, keys, incarnations, seqs, times, activations, comments, signatures, approvals = columns[:10]
    counts, _, entries, proofs = columns[10:]
    return (
        set(tags) == {cluster[:CLUSTER_TAG_BYTES]}
        and _are_integers(policies, 0, POLICY_VERSION_MAX)
        and _are_byte_strings(keys, PUBLIC_KEY_BYTES)
        and _are_byte_strings(incarnations, INCARNATION_BYTES)
        and _are_integers(seqs, 1, SEQ_MAX)
        and _are_integers(times, 0, TIME_MS_MAX)
        and _are_integers([one for one in activations if one is not None], 0, TIME_MS_MAX)
        and set(map(type, comments)) == {str}
        and max(map(len, comments)) <= COMMENT_BYTES_MAX // UTF8_BYTES_MAX
        and _are_byte_strings(signatures, SIGNATURE_BYTES)
        and set(approvals) == set(proofs) == {()}
        and _are_integers(counts, 1, ENTRIES_MAX)
        and set(map(type, entries)) == {tuple}
        and tuple(map(len, entries)) == counts
    )


def _are_entries(entries: Sequence[Any]) -> bool:
    if set(map(type, entries)) != {tuple}:
        return False
    columns = list(zip(*entries, strict=True))
    if len(columns) != ENTRY_FIELDS:
        return False
    keys, variants, matches, ranks, operations, kinds, values, seens, expiries = columns
    given = [value for value in values if value is not None]
    deletes = [entry for entry in entries if entry[6] is None]
    textual = [entry[6] for entry in entries if entry[5] in _TEXTUAL and entry[6] is not None]
    return (
        set(map(type, keys)) == {str}
        and are_keys(keys)
        and set(variants) == {""}
        and set(matches) == {()}
        and _are_integers(ranks, 0, 0)
        and _are_integers(operations, 0, max(Operation))
        and sum(operations) == len(deletes)
        and all(entry[4:] == (Operation.DELETE, ValueType.TEXT, None, entry[7], None) for entry in deletes)
        and _are_integers(kinds, 0, max(ValueType))
        and set(map(type, given)) <= {bytes}
        and max(map(len, given), default=0) <= VALUE_BYTES_MAX
        and b"\n".join(textual).decode() is not None  # a line feed ends any character: each is UTF-8 if all are
        and all(decode_clock(seen, "a version vector") == seen for seen in seens if seen != EMPTY)
        and _are_integers([one for one in expiries if one is not None], 0, TIME_MS_MAX)
    )


def _are_integers(values: Sequence[Any], low: int, high: int) -> bool:
    return not values or (set(map(type, values)) == {int} and min(values) >= low and max(values) <= high)


def _are_byte_strings(values: Sequence[Any], length: int) -> bool:
    return set(map(type, values)) == {bytes} and set(map(len, values)) == {length}
