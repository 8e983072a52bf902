"""Changes in bulk: what `Change.decode` gives for each of many, at a fifth of the work.

    read(data)  =  [(Change.decode(one), one) for each one in data]

The checks are those of `Change.decode`, made on columns of a batch and not field by
field: all keys are searched for unprintable characters as one text, all times are one
`min` and `max`. Where a batch is odd, the changes that look odd go the long way, one by
one; if that was not all, the whole batch does, which finds what it is and says so. Ids
and versions, which cost the rest, are computed on the way and remembered in the changes.

Knows shapes and hashes; verifies no signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, compress, islice, repeat
from typing import Any, Final, TypeAlias, TypeVar

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

BATCH_BYTES: Final = 1 << 18
"""Changes checked together: enough that a batch costs nothing, little enough that an odd one costs little and that
its columns stay in the processor's cache."""

T = TypeVar("T")

FIELDS: Final = 14
ENTRY_FIELDS: Final = 9
"""Fields of a change and of an entry, as docs/format.md has them."""
_OPERATIONS: Final = {int(one): one for one in Operation}
_TYPES: Final = {int(one): one for one in ValueType}
_TEXTUAL: Final = frozenset({ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML})

_DIGEST_BYTES: Final = encoded_bytes(HASH_BYTES)

Row: TypeAlias = tuple[Any, ...]
"""A decoded change of the 14 fields that docs/format.md names, not checked yet."""


def read(data: bytes, cluster: bytes) -> Iterator[tuple[Change, bytes]]:
    """The changes that lie in ``data`` one after another, each with its own bytes.

    Raises what `Change.decode` raises, and FormatError where the last change is cut off.
    """
    reader = _Reader(cluster)
    for rows, pieces in _batches(data):
        yield from zip(reader.changes(rows, pieces), pieces, strict=True)


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

    def changes(self, rows: Sequence[Any], pieces: Sequence[bytes]) -> list[Change]:
        """The changes of one batch: plain ones by the short way, the others one by one. Nearly always all are plain,
        and are not asked."""
        changes = self._plain_changes(rows, pieces)
        if changes is not None:
            return changes
        plain = list(map(_is_plain, rows))
        changes = self._plain_changes(list(compress(rows, plain)), list(compress(pieces, plain)))
        if changes is None:
            return [Change.decode(piece, self._cluster) for piece in pieces]
        rest = iter(changes)
        return [
            next(rest) if is_plain else Change.decode(piece, self._cluster)
            for is_plain, piece in zip(plain, pieces, strict=True)
        ]

    def _plain_changes(self, rows: Sequence[Any], pieces: Sequence[bytes]) -> list[Change] | None:
        """The changes of these rows; None unless all are plain and every check of `Change.decode` that can be made on
        columns holds for them."""
        if not rows:
            return []
        try:
            if max(map(len, pieces)) > FORM_BYTES_MAX or not self._pack(rows).endswith(b"".join(pieces)):
                return None  # too large, or not in canonical form
            columns = list(zip(*rows, strict=True))
            if not _are_headers(columns, self._cluster):
                return None
            fields = list(zip(*chain.from_iterable(columns[12]), strict=True))
            if not _are_entries(fields):
                return None
        except (TypeError, ValueError, InvalidInput):
            return None  # a field of another type than a check expects
        return self._made(columns, fields)

    def _made(self, columns: Sequence[Sequence[Any]], fields: Sequence[Sequence[Any]]) -> list[Change]:
        """The changes with these valid columns, whose entries have the columns ``fields``."""
        _, policies, keys, incarnations, seqs, times, activations, comments, signatures, _, counts, _, _, _ = columns
        sizes, roots = zip(*_trees(self._leaves(fields), counts), strict=True)
        ids = self._ids((policies, keys, incarnations, seqs, times, activations, comments, counts, sizes, roots))
        writers, writer_ids = zip(*self._known(list(zip(keys, incarnations, strict=True))), strict=True)
        cluster = repeat(self._cluster)
        headers = _frozen(
            map(_Header, cluster, policies, writers, seqs, times, counts, sizes, roots, comments, activations), Header
        )
        entries = _entries(fields)
        indices = list(chain.from_iterable(map(range, counts)))
        owners = _spread(ids, counts), indices, _spread(headers, counts), _spread(writer_ids, counts)
        versions = _frozen(map(_Version, _version_ids(*owners[:2]), *owners, entries), Version)
        pairs = _gathered(zip(indices, entries, strict=True), counts)
        places = zip(seqs, ids, strict=True)
        changes = _frozen(
            map(_Change, headers, signatures, pairs, ids, writer_ids, places, _gathered(versions, counts)), Change
        )
        if any(fields[7]):
            for change in changes:
                check_vectors(change)
        return changes

    def _ids(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """The ids of changes with these columns of what `Header.encode` signs besides the cluster."""
        signed = map(self._pack, zip(repeat(self._cluster), *columns))
        return [sha256(CHANGE_TAG + data).digest() for data in signed]

    def _leaves(self, fields: Sequence[Sequence[Any]]) -> list[Subtree]:
        """`Entry.leaf` of each entry."""
        values = fields[6]
        digests = [None if value is None else sha256(value).digest() for value in values]
        hashed = map(self._pack, zip(*fields[:6], digests, *fields[7:], strict=True))
        return [
            leaf_of(len(data) if value is None else len(data) - _DIGEST_BYTES + encoded_bytes(len(value)), data)
            for data, value in zip(hashed, values, strict=True)
        ]

    def _known(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[tuple[Writer, bytes]]:
        """The writers with these keys and incarnations, and their ids."""
        known = self._writers
        for pair in set(pairs) - known.keys():
            writer = Writer(*pair)
            known[pair] = (writer, writer.id)
        return [known[pair] for pair in pairs]


def _trees(leaves: Iterable[Subtree], counts: Iterable[int]) -> Iterator[Subtree]:
    """Size and root of each change's tree, of which ``counts`` says how many of the leaves are its own."""
    rest = iter(leaves)
    for count in counts:
        if count == 1:
            yield next(rest)
        else:
            tree = SparseTree(count, dict(enumerate(islice(rest, count))), ())
            check_size(tree.size)
            yield tree.size, tree.root


def _version_ids(change_ids: Iterable[bytes], indices: Iterable[int]) -> list[bytes]:
    """`version_id` of many."""
    return [
        sha256(VERSION_TAG + change_id + index.to_bytes(4, "big")).digest()
        for change_id, index in zip(change_ids, indices, strict=True)
    ]


def _entries(fields: Sequence[Sequence[Any]]) -> list[Entry]:
    """The entries with these valid columns."""
    keys, variants, matches, ranks, operations, kinds, values, seens, expiries = fields
    types, slots = map(_TYPES.__getitem__, kinds), zip(keys, variants, strict=True)
    does = map(_OPERATIONS.__getitem__, operations)
    return _frozen(map(_Entry, keys, values, types, seens, does, variants, matches, ranks, expiries, slots), Entry)


def _spread(column: Sequence[T], counts: Sequence[int]) -> Sequence[T]:
    """What each change has, once for each of its entries."""
    return column if max(counts) == 1 else list(chain.from_iterable(map(repeat, column, counts)))


def _gathered(column: Iterable[T], counts: Sequence[int]) -> list[tuple[T, ...]]:
    """What each entry has, together for each change."""
    if max(counts) == 1:
        return list(zip(column))
    rest = iter(column)
    return [tuple(islice(rest, count)) for count in counts]


# -- records in the making ------------------------------------------------------------------------

# A frozen record takes three times as long to make as one that is not, and is most of the work here. So each is made
# as its unfrozen twin, of the same slots, and frozen by changing its class.


def _frozen(twins: Iterable[Any], kind: type[T]) -> list[T]:
    """Make records of the class ``kind`` of their twins."""
    records = list(twins)
    for record in records:
        record.__class__ = kind
    return records


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


class _Change:
    def __init__(
        self,
        header: Header,
        signature: bytes,
        entries: tuple[tuple[int, Entry], ...],
        id: bytes,
        writer_id: bytes,
        place: tuple[int, bytes],
        versions: tuple[Version, ...],
    ) -> None:
        self.header = header
        self.signature = signature
        self.entries = entries
        self.proof = ()
        self.approvals = ()
        self.id = id
        self.writer_id = writer_id
        self.place = place
        self.versions = versions


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
    counts, indices, entries, proofs = columns[10:]
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
        and set(indices) == {None}
        and set(map(type, entries)) == {tuple}
        and tuple(map(len, entries)) == counts
    )


def _are_entries(columns: Sequence[Sequence[Any]]) -> bool:
    # What has columns is an array: a string's characters are no default variants, and bytes no keys.
    if len(columns) != ENTRY_FIELDS:
        return False
    keys, variants, matches, ranks, operations, kinds, values, seens, expiries = columns
    given = [value for value in values if value is not None]
    deletes = [fields for fields in zip(operations, kinds, values, expiries, strict=True) if fields[2] is None]
    textual = [value for kind, value in zip(kinds, values, strict=True) if kind in _TEXTUAL and value is not None]
    return (
        set(map(type, keys)) == {str}
        and are_keys(keys)
        and set(variants) == {""}
        and set(matches) == {()}
        and _are_integers(ranks, 0, 0)
        and _are_integers(operations, 0, max(Operation))
        and sum(operations) == len(deletes)
        and set(deletes) <= {(Operation.DELETE, ValueType.TEXT, None, None)}
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
