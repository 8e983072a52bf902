"""Entries: one operation on one slot, as an admin signs it.

Knows the fields, their limits and their canonical form; knows nothing of who
may write what, or which entry wins.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any, TypeAlias

from .clock import EMPTY, Clock, decode_clock
from .encoding import as_array, as_bytes, as_int, as_text, encode
from .errors import FormatError, InvalidInput, LimitExceeded
from .key import check_key, check_variant
from .limits import (
    HALT_VOTES_MAX,
    KEY_BYTES_MAX,
    MATCH_BYTES_MAX,
    MATCH_TERMS_MAX,
    PACE_MS_MAX,
    RANK_MAX,
    TIME_MS_MAX,
    VALUE_BYTES_MAX,
    VARIANT_BYTES_MAX,
)
from .merkle import Subtree, leaf_of

Slot: TypeAlias = tuple[str, str]
"""(key, variant): the unit at which versions compete."""

BASIS_POINTS: int = 10_000
"""Percentages are whole basis points (0.01%): no floats in signed bodies."""


class Operation(enum.IntEnum):
    """What an entry does to its slot."""

    PUT = 0
    DELETE = 1


class ValueType(enum.IntEnum):
    """How a value's bytes are to be read."""

    TEXT = 0
    JSON = 1
    YAML = 2
    TOML = 3
    BYTES = 4
    SEALED = 5


_TEXTUAL = frozenset({ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML})


class MatchKind(enum.IntEnum):
    """How one condition of a variant tests a node."""

    EQUAL = 0
    GLOB = 1
    ONE_OF = 2
    PERCENT = 3
    HALT = 4
    PACE = 5


_WITHOUT_LABEL = {
    MatchKind.HALT: ("a limit of votes", HALT_VOTES_MAX),
    MatchKind.PACE: ("the time in which a share grows, in ms,", PACE_MS_MAX),
}
"""Of each kind that speaks of the whole variant: what its number is, and how large it may be."""


@dataclass(frozen=True, slots=True, order=True)
class MatchTerm:
    """One condition of a variant; all of a variant's conditions must hold.

    ``EQUAL``, ``GLOB``: ``label`` and one operand, a value or a pattern.
    ``ONE_OF``: ``label`` and its values, ascending. ``PERCENT``: ``label`` is the
    salt, the operand a number of basis points. The others have no label and hold for everybody:
    ``HALT`` has the number of nodes whose votes hold the variant's change off, ``PACE`` the
    milliseconds in which the percentages beside it grow from nothing to what they say.
    """

    kind: MatchKind
    label: str
    operand: tuple[str, ...] | int

    def to_wire(self) -> list[Any]:
        """The array that is signed."""
        return [int(self.kind), self.label, self.operand]

    @classmethod
    def from_wire(cls, value: Any) -> MatchTerm:
        """Check and read back ``to_wire``. Raises FormatError or LimitExceeded."""
        kind_value, label, operand = as_array(value, "a match condition", 3)
        kind = MatchKind(as_int(kind_value, "a match condition's kind", 0, max(MatchKind)))
        as_text(label, "a match label", MATCH_BYTES_MAX)
        if kind is MatchKind.PERCENT:
            return cls(kind, label, as_int(operand, "a match percentage", 0, BASIS_POINTS))
        if kind in _WITHOUT_LABEL:
            if label:
                raise FormatError(f"a {kind.name} condition has no label")
            what, high = _WITHOUT_LABEL[kind]
            return cls(kind, label, as_int(operand, what, 1, high))
        operands = as_array(operand, "a match operand", length_max=MATCH_TERMS_MAX)
        for text in operands:
            as_text(text, "a match operand", MATCH_BYTES_MAX)
        if not operands or (kind is not MatchKind.ONE_OF and len(operands) != 1):
            raise FormatError(f"a {kind.name} condition has {len(operands)} operands")
        if any(a >= b for a, b in pairwise(operands)):
            raise FormatError("the operands of a match condition must be in strictly ascending order")
        return cls(kind, label, operands)


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation on one slot.

    key, variant:  the slot; variant "" is the default
    slot:          both together, the unit at which this entry competes: one tuple for all who index by it
    match, rank:   whom a variant is for, and which of several wins
    operation:     put or delete
    type, value:   what is put; None for a delete
    seen:          version vector of what this entry replaces in its slot
    expires_ms:    wall-clock time from which on reads no longer return it, or None
    """

    key: str
    value: bytes | None
    type: ValueType = ValueType.TEXT
    seen: Clock = EMPTY
    operation: Operation = Operation.PUT
    variant: str = ""
    match: tuple[MatchTerm, ...] = ()
    rank: int = 0
    expires_ms: int | None = None
    slot: Slot = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slot", (self.key, self.variant))

    def to_wire(self) -> list[Any]:
        """The array that travels: all fields, the value included."""
        return self._fields(self.value)

    def leaf(self) -> Subtree:
        """The entry as a leaf of its change's tree.

        The size is that of its encoding as it travels, in bytes; the data that is hashed
        are the fields, with the value's SHA-256 for the value.
        """
        if self.value is None:
            data = encode(self._fields(None))
            return leaf_of(len(data), data)
        digest = sha256(self.value).digest()
        data = encode(self._fields(digest))
        # Only the value differs from what travels: its size is reckoned, so that nothing is encoded twice.
        size = len(data) - encoded_bytes(len(digest)) + encoded_bytes(len(self.value))
        return leaf_of(size, data)

    def _fields(self, value: bytes | None) -> list[Any]:
        return [
            self.key,
            self.variant,
            [term.to_wire() for term in self.match],
            self.rank,
            int(self.operation),
            int(self.type),
            value,
            self.seen,
            self.expires_ms,
        ]

    @classmethod
    def from_wire(cls, value: Any) -> Entry:
        """Check every field of a decoded array. Raises FormatError, InvalidInput or LimitExceeded."""
        key, variant, match, rank, operation, kind, content, seen, expires = as_array(value, "an entry", 9)
        check_key(as_text(key, "a key", KEY_BYTES_MAX))
        check_variant(as_text(variant, "a variant", VARIANT_BYTES_MAX))
        terms = tuple(map(MatchTerm.from_wire, as_array(match, "a match", length_max=MATCH_TERMS_MAX)))
        entry = cls(
            key=key,
            variant=variant,
            match=terms,
            rank=as_int(rank, f"the rank of {key!r}", 0, RANK_MAX),
            operation=Operation(as_int(operation, f"the operation on {key!r}", 0, max(Operation))),
            type=ValueType(as_int(kind, f"the type of {key!r}", 0, max(ValueType))),
            value=None if content is None else as_bytes(content, f"the value of {key!r}", length_max=VALUE_BYTES_MAX),
            seen=decode_clock(seen, f"the version vector of {key!r}"),
            expires_ms=None if expires is None else as_int(expires, f"the expiry of {key!r}", 0, TIME_MS_MAX),
        )
        _check_consistent(entry)
        return entry


def put(
    key: str,
    value: bytes,
    type: ValueType = ValueType.TEXT,
    *,
    variant: str = "",
    match: Sequence[MatchTerm] = (),
    rank: int = 0,
    expires_ms: int | None = None,
) -> Entry:
    """A checked put, with an empty version vector that the signer fills in.

    Raises InvalidInput or LimitExceeded that names the key.
    """
    if len(value) > VALUE_BYTES_MAX:
        raise LimitExceeded(f"the value of {key!r} has {len(value)} bytes, the limit is {VALUE_BYTES_MAX}")
    terms = tuple(sorted(match))
    as_array(terms, f"the match of {key!r}", length_max=MATCH_TERMS_MAX)
    for term in terms:
        MatchTerm.from_wire(tuple(term.to_wire()))
    as_int(rank, f"the rank of {key!r}", 0, RANK_MAX)
    if expires_ms is not None:
        as_int(expires_ms, f"the expiry of {key!r}", 0, TIME_MS_MAX)
    name = check_variant(variant)
    entry = Entry(check_key(key), value, type, variant=name, match=terms, rank=rank, expires_ms=expires_ms)
    _check_consistent(entry)
    return entry


def delete(key: str, *, variant: str = "") -> Entry:
    """A checked delete, with an empty version vector that the signer fills in."""
    return Entry(check_key(key), None, operation=Operation.DELETE, variant=check_variant(variant))


def encoded_bytes(length: int) -> int:
    """How many bytes a byte string of ``length`` bytes takes in the encoding."""
    return length + (2 if length < 1 << 8 else 3 if length < 1 << 16 else 5)


def _check_consistent(entry: Entry) -> None:
    """The rules between fields: each thing can be said in one way only."""
    if (entry.value is None) != (entry.operation is Operation.DELETE):
        raise FormatError(f"{entry.key!r}: a put has a value and a delete has none")
    if entry.operation is Operation.DELETE and (entry.type, entry.match, entry.rank, entry.expires_ms) != (
        ValueType.TEXT,
        (),
        0,
        None,
    ):
        raise FormatError(f"{entry.key!r}: a delete has no type, match, rank or expiry")
    if entry.variant == "" and (entry.match or entry.rank):
        raise FormatError(f"{entry.key!r}: the default variant has no match and no rank")
    kinds = [term.kind for term in entry.match]
    if any(kinds.count(kind) > 1 for kind in _WITHOUT_LABEL):
        raise FormatError(f"{entry.key!r}: a match has one limit of votes and one pace at most")
    if MatchKind.PACE in kinds and MatchKind.PERCENT not in kinds:
        raise FormatError(f"{entry.key!r}: a pace needs a percentage that grows")
    if any(a.to_wire() >= b.to_wire() for a, b in pairwise(entry.match)):
        raise FormatError(f"{entry.key!r}: match conditions must be in strictly ascending order")
    if entry.value is not None and entry.type in _TEXTUAL:
        try:
            entry.value.decode()
        except UnicodeDecodeError:
            raise InvalidInput(
                f"{entry.key!r}: a {entry.type.name.lower()} value must be UTF-8; use the type bytes"
            ) from None
