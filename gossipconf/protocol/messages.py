"""The messages between nodes: records, and their encoding.

A message is a msgpack array: its type number, then its fields. A reader skips
types it does not know and fields beyond those it knows, so that a newer node can
say more to an older one; a missing or malformed field is a violation.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, Final, TypeAlias

from ..model.clock import Clock
from ..model.encoding import as_array, as_bytes, as_int, encode, unpack
from ..model.errors import FormatError, InvalidInput, ProtocolViolation
from ..model.hashing import HASH_BYTES
from ..model.limits import (
    ADDRESS_BYTES_MAX,
    POLICY_VERSION_MAX,
    SEQ_MAX,
    SYNC_BUDGET_BYTES,
    TIME_MS_MAX,
)
from ..store.hash_tree import DEPTH_MAX, FANOUT, LEAF_ITEMS_MAX, NODE_HASH_BYTES, Inner, Leaf, Prefix
from . import fields
from .frames import FrameClass
from .subject import Subject
from .tally import Tally

VERSION_MIN: Final = 1
VERSION_MAX: Final = 1
"""Protocol versions that this node speaks."""

NONCE_BYTES: Final = 8
ITEM_BYTES: Final = 16
"""How much of a tree item is named on the wire; the reader takes all items that begin so."""

BATCH_CHANGES_MAX: Final = 4_096
"""Changes in one batch: SYNC_BATCH_BYTES of the smallest ones (about 190 bytes) and headroom."""
WALK_NODES_MAX: Final = 128
"""Tree nodes asked for at once: an answer of 128 × 16 hashes has about 37 KB."""
WANTED_ITEMS_MAX: Final = 1_024
"""Items asked for at once: about 18 KB."""
ADDRESSES_MAX: Final = 32
"""Addresses told at once."""
PRESENCES_MAX: Final = 64
"""Presence records in one message."""
AGE_S_MAX: Final = 10 * 365 * 24 * 3600
"""Ages of presence records: whoever was heard ten years ago is not there."""
TEXT_BYTES_MAX: Final = 256
"""Zones, software versions and reasons."""
HOPS_MAX: Final = 255
EPOCH_MAX: Final = (1 << 31) - 1
"""Epochs of one question: one in two seconds for a century."""
LEASE_MS_MAX: Final = 60_000
"""How long a question stands without its asker: one that has vanished costs nothing after a minute."""


@dataclass(frozen=True, slots=True)
class Told:
    """A tree node in an answer: its children's hashes, or its items cut to ITEM_BYTES."""

    prefix: Prefix
    summary: Inner | Leaf

    def to_wire(self) -> list[Any]:
        """The array inside a message."""
        if isinstance(self.summary, Inner):
            return [self.prefix, True, self.summary.hashes]
        return [self.prefix, False, [item[:ITEM_BYTES] for item in self.summary.items]]

    @classmethod
    def from_wire(cls, value: Any) -> Told:
        """Check and read."""
        prefix, is_inner, hashes = as_array(value, "a tree node", 3)
        if fields.flag(is_inner):
            as_array(prefix, "the prefix of an inner node", length_max=DEPTH_MAX - 1)  # a whole id has no children
            read = as_array(hashes, "the hashes of a tree node", FANOUT)
            return cls(
                fields.prefix(prefix), Inner(tuple(as_bytes(one, "a node hash", NODE_HASH_BYTES) for one in read))
            )
        read = as_array(hashes, "the items of a leaf", length_max=LEAF_ITEMS_MAX)
        return cls(fields.prefix(prefix), Leaf(tuple(as_bytes(one, "an item", ITEM_BYTES) for one in read)))


@dataclass(frozen=True, slots=True)
class Presence:
    """What a node says of itself. Soft: it is told again and expires.

    ``boot`` is random per start; ``count`` rises with each telling of one boot;
    ``started_ms`` orders the boots of one node. ``stopped``: it said farewell. ``age_s``: how
    long ago the teller heard it, in seconds, so that what is passed on does not look fresh.
    """

    node_id: str
    boot: bytes
    started_ms: int
    count: int
    zone: str
    address: str
    root: bytes
    policy: int
    versions: int
    degraded: bool
    stopped: bool = False
    age_s: int = 0

    def to_wire(self, age_s: int | None = None) -> list[Any]:
        """The array inside a message; with another age than its own if one is given."""
        values = [getattr(self, name) for name in _PRESENCE_NAMES]
        if age_s is not None:
            values[-1] = age_s
        return values

    @classmethod
    def from_wire(cls, value: Any) -> Presence:
        """Check and read."""
        fields = as_array(value, "a presence")
        if len(fields) < len(_PRESENCE_READERS):
            raise FormatError(f"a presence has at least {len(_PRESENCE_READERS)} fields")
        return cls(*(read(one) for read, one in zip(_PRESENCE_READERS, fields, strict=False)))


_PRESENCE_NAMES: Final = tuple(one.name for one in dataclasses.fields(Presence))
_PRESENCE_READERS: Final[tuple[fields.Reader, ...]] = (
    fields.node_id,
    fields.byte_string(NONCE_BYTES),
    fields.integer(TIME_MS_MAX),
    fields.integer(SEQ_MAX),
    fields.text(TEXT_BYTES_MAX),
    fields.text(ADDRESS_BYTES_MAX),
    fields.byte_string(NODE_HASH_BYTES),
    fields.integer(POLICY_VERSION_MAX),
    fields.integer(SEQ_MAX),
    fields.flag,
    fields.flag,
    fields.integer(AGE_S_MAX),
)


@dataclass(frozen=True, slots=True)
class Hello:
    """First on every link, both ways. ``address`` is where this node can be dialled, or empty."""

    version_min: int
    version_max: int
    capabilities: int
    cluster: bytes
    node_id: str
    boot: bytes
    address: str
    zone: str
    software: str
    TYPE: ClassVar = 1
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (
        fields.integer(1 << 16),
        fields.integer(1 << 16),
        fields.integer(SEQ_MAX),
        fields.byte_string(HASH_BYTES),
        fields.node_id,
        fields.byte_string(NONCE_BYTES),
        fields.text(ADDRESS_BYTES_MAX),
        fields.text(TEXT_BYTES_MAX),
        fields.text(TEXT_BYTES_MAX),
    )


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered by `Pong` with the same token."""

    token: int
    TYPE: ClassVar = 2
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.integer(SEQ_MAX),)


@dataclass(frozen=True, slots=True)
class Pong:
    """I am."""

    token: int
    TYPE: ClassVar = 3
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.integer(SEQ_MAX),)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where other nodes were last reached."""

    addresses: tuple[str, ...]
    TYPE: ClassVar = 4
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.many(fields.text(ADDRESS_BYTES_MAX), ADDRESSES_MAX),)


class GoodbyeCode(enum.IntEnum):
    """Why a link is closed, as far as the other side acts on it; a reader takes one it does not know for LEAVING."""

    LEAVING = 0
    FULL = 1
    DUPLICATE = 2
    VIOLATION = 3


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The sender closes the link: a code to act on, and a reason for people."""

    code: int
    reason: str
    TYPE: ClassVar = 5
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.integer(1 << 16), fields.text(TEXT_BYTES_MAX))

    @classmethod
    def saying(cls, code: GoodbyeCode, reason: str) -> Goodbye:
        """A goodbye whose reason fits, whatever it quotes."""
        shown = "".join(one if one.isprintable() else "?" for one in reason)
        return cls(code, shown.encode()[:TEXT_BYTES_MAX].decode(errors="ignore"))


@dataclass(frozen=True, slots=True)
class Roster:
    """Presence records, the sender's own or passed on."""

    presences: tuple[Presence, ...]
    TYPE: ClassVar = 6
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.many(Presence.from_wire, PRESENCES_MAX),)


@dataclass(frozen=True)
class Push:
    """A whole change, for the first time on this link; ``hops`` links it has come so far."""

    hops: int
    change: bytes
    TYPE: ClassVar = 10
    CLASS: ClassVar = FrameClass.BROADCAST
    READERS: ClassVar = (fields.integer(HOPS_MAX), fields.change_bytes)

    @cached_property
    def digest(self) -> bytes:
        """16 bytes by which copies of the change are told: hashed once, for all nodes that share this message."""
        return blake2b(self.change, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Root:
    """The sender's fingerprint and policy version: a comparison, perhaps the begin of a sync."""

    root: bytes
    policy: int
    TYPE: ClassVar = 20
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.byte_string(NODE_HASH_BYTES), fields.integer(POLICY_VERSION_MAX))


@dataclass(frozen=True, slots=True)
class Hints:
    """Asks for all that ``frontier`` seems to lack, up to ``budget`` bytes. ``complete``: no writer was left out."""

    request: int
    root: bytes
    policy: int
    frontier: Clock
    complete: bool
    budget: int
    TYPE: ClassVar = 21
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.integer(SEQ_MAX),
        fields.byte_string(NODE_HASH_BYTES),
        fields.integer(POLICY_VERSION_MAX),
        fields.frontier,
        fields.flag,
        fields.integer(SYNC_BUDGET_BYTES),
    )


@dataclass(frozen=True, slots=True)
class Hinted:
    """Ends the answer to `Hints`: the answerer's state, what it seems to lack itself, whether there is more to give."""

    request: int
    root: bytes
    policy: int
    lacks: Clock
    more: bool
    TYPE: ClassVar = 22
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.integer(SEQ_MAX),
        fields.byte_string(NODE_HASH_BYTES),
        fields.integer(POLICY_VERSION_MAX),
        fields.lacks,
        fields.flag,
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes, whole or in part."""

    changes: tuple[bytes, ...]
    TYPE: ClassVar = 23
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.many(fields.change_bytes, BATCH_CHANGES_MAX),)


@dataclass(frozen=True, slots=True)
class Check:
    """After giving: what is your root now? Answered by `Checked`."""

    request: int
    TYPE: ClassVar = 24
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.integer(SEQ_MAX),)


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to `Check`."""

    request: int
    root: bytes
    policy: int
    TYPE: ClassVar = 25
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.integer(SEQ_MAX),
        fields.byte_string(NODE_HASH_BYTES),
        fields.integer(POLICY_VERSION_MAX),
    )


@dataclass(frozen=True, slots=True)
class Walk:
    """Asks for the tree nodes at these prefixes, where their hash is another one."""

    request: int
    nodes: tuple[tuple[Prefix, bytes], ...]
    TYPE: ClassVar = 26
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.integer(SEQ_MAX), fields.many(fields.asked_node, WALK_NODES_MAX))


@dataclass(frozen=True, slots=True)
class Walked:
    """The answer to `Walk`: summaries of the nodes that differ."""

    request: int
    nodes: tuple[Told, ...]
    TYPE: ClassVar = 27
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.integer(SEQ_MAX), fields.many(Told.from_wire, WALK_NODES_MAX))


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for the changes that carry these items, up to ``budget`` bytes."""

    request: int
    items: tuple[bytes, ...]
    budget: int
    TYPE: ClassVar = 28
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.integer(SEQ_MAX),
        fields.many(fields.byte_string(ITEM_BYTES), WANTED_ITEMS_MAX),
        fields.integer(SYNC_BUDGET_BYTES),
    )


@dataclass(frozen=True, slots=True)
class Given:
    """Ends the answer to `Want`."""

    request: int
    TYPE: ClassVar = 29
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.integer(SEQ_MAX),)


@dataclass(frozen=True, slots=True)
class WantPolicies:
    """Asks for the policies after version ``have``; answered by a `Batch`."""

    have: int
    TYPE: ClassVar = 30
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.integer(POLICY_VERSION_MAX),)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who has applied ``subject``? And in a later turn of the same ``epoch``: I am not your child. See `acks`.

    question:     random, for all its epochs
    depth:        links between the sender and the asker, along the question's way
    lease_ms:     after this the question is forgotten
    patience_ms:  how long the sender waits before it calls the receiver silent
    again:        the receiver has not answered, and is to say once more what it has said
    """

    question: bytes
    epoch: int
    depth: int
    subject: Subject
    lease_ms: int
    patience_ms: int
    again: bool
    TYPE: ClassVar = 40
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (
        fields.byte_string(NONCE_BYTES),
        fields.integer(EPOCH_MAX),
        fields.integer(HOPS_MAX),
        Subject.from_wire,
        fields.integer(LEASE_MS_MAX),
        fields.integer(LEASE_MS_MAX),
        fields.flag,
    )


@dataclass(frozen=True, slots=True)
class Report:
    """An answer to `Ask`: I am your child, and this is the tally of my part. It replaces the one before."""

    question: bytes
    epoch: int
    tally: Tally
    TYPE: ClassVar = 41
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.byte_string(NONCE_BYTES), fields.integer(EPOCH_MAX), Tally.from_wire)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The question is over; from the parent only."""

    question: bytes
    TYPE: ClassVar = 42
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.byte_string(NONCE_BYTES),)


Message: TypeAlias = (
    Hello
    | Ping
    | Pong
    | Addresses
    | Goodbye
    | Roster
    | Push
    | Root
    | Hints
    | Hinted
    | Batch
    | Check
    | Checked
    | Walk
    | Walked
    | Want
    | Given
    | WantPolicies
    | Ask
    | Report
    | Cancel
)

_TYPES: Final[dict[int, type[Any]]] = {
    kind.TYPE: kind
    for kind in (
        Hello,
        Ping,
        Pong,
        Addresses,
        Goodbye,
        Roster,
        Push,
        Root,
        Hints,
        Hinted,
        Batch,
        Check,
        Checked,
        Walk,
        Walked,
        Want,
        Given,
        WantPolicies,
        Ask,
        Report,
        Cancel,
    )
}


_NAMES: Final = {kind: tuple(one.name for one in dataclasses.fields(kind)) for kind in _TYPES.values()}
"""The fields of each message, in the order of the wire."""
_HOLDING_RECORDS: Final = (Roster, Walked)
"""Messages with records in a list: these and the next ones alone are not yet what the encoding knows."""
_HOLDING_A_RECORD: Final = (Ask, Report)
"""Messages with a record of its own array."""


def encode_message(message: Message) -> bytes:
    """The bytes of ``message``."""
    kind = type(message)
    values = [getattr(message, name) for name in _NAMES[kind]]
    if kind in _HOLDING_RECORDS:
        values = [[one.to_wire() for one in value] if type(value) is tuple else value for value in values]
    elif kind in _HOLDING_A_RECORD:
        values = [value.to_wire() if isinstance(value, Subject | Tally) else value for value in values]
    return encode([kind.TYPE, *values])


def decode_message(data: bytes) -> Message | None:
    """Check and read a message; None for a type that this version does not know. Raises ProtocolViolation."""
    try:
        fields = as_array(unpack(data), "a message")
        kind = _TYPES.get(as_int(fields[0] if fields else None, "a message's type", 0, SEQ_MAX))
        if kind is None:
            return None
        readers = kind.READERS
        if len(fields) - 1 < len(readers):
            raise FormatError(f"{kind.__name__} has at least {len(readers)} fields, not {len(fields) - 1}")
        message: Message = kind(*_read_fields(kind, fields[1:]))
    except InvalidInput as error:
        raise ProtocolViolation(f"malformed message: {error}") from None
    return message


def _read_fields(kind: type[Any], values: Sequence[Any]) -> Iterator[Any]:
    """The known fields of a message; more may follow."""
    for name, read, value in zip(_NAMES[kind], kind.READERS, values, strict=False):
        try:
            yield read(value)
        except InvalidInput as error:
            raise FormatError(f"{name} of {kind.__name__}: {error}") from None
