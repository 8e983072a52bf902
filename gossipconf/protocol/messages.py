"""The messages between nodes: records, and their encoding.

A message is a msgpack array: its type number, then its fields. A reader skips
types it does not know and fields beyond those it knows, in records inside a message
too, so that a newer node can say more to an older one; a missing or malformed field
is a violation. docs/wire.md says what a new version may change.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, Final, TypeAlias

from ..model.encoding import as_array, as_bytes, as_int, encode, unpack
from ..model.errors import FormatError, InvalidInput, ProtocolViolation
from ..model.hashing import HASH_BYTES
from ..model.limits import (
    ADDRESS_BYTES_MAX,
    POLICY_VERSION_MAX,
    SEQ_MAX,
    SYNC_BUDGET_BYTES,
)
from ..store.hash_tree import FANOUT, NODE_HASH_BYTES, Prefix
from ..trust.statement import STATEMENT_BYTES_MAX
from . import fields, sighting
from .frames import FrameClass
from .frontier import Frontier, Lacks
from .sighting import Beats, Sighting, Suspicion
from .statement_book import DIGEST_BYTES as SAID_DIGEST_BYTES
from .statement_book import SUBJECTS_MAX
from .subject import Subject
from .tally import Tally
from .zone import TAG_MAX, ZoneTag

VERSION_MIN: Final = 1
VERSION_MAX: Final = 1
"""Protocol versions that this node speaks."""

NONCE_BYTES: Final = 8
BATCH_CHANGES_MAX: Final = 4_096
"""Changes in one batch: SYNC_BATCH_BYTES of the smallest ones (about 190 bytes) and headroom."""
WALK_NODES_MAX: Final = 512
"""Tree nodes asked for at once: a question of 6 KB."""
WALK_LEVELS_MAX: Final = 2
"""How far below a tree node its row of hashes may be: the row has 256 of them then."""
TOLD_ITEMS_MAX: Final = 64
"""Items under a tree node that are told in the place of hashes: at the smallest width they weigh as much as the rows
of the two levels that they save."""
WIDTH_MAX: Final = NODE_HASH_BYTES
"""Bytes of a hash or an item that are told at most: all of a hash, half of an item."""
WALK_ANSWER_BYTES_MAX: Final = WALK_NODES_MAX * TOLD_ITEMS_MAX * fields.WIDTH_MIN
"""What the answer to one question of one level may have in hashes and items, 128 KiB: all nodes at the smallest
width, a quarter of them at the largest."""
WANTED_ITEMS_MAX: Final = 4_096
"""Items asked for at once: a question of about 30 KB; the smallest changes that carry so many fill the budget."""
ADDRESSES_MAX: Final = 32
"""Addresses told at once."""
PRESENCES_MAX: Final = 64
"""Presence records in one message."""
ROOTS_MAX: Final = 64
"""Different states whose holders one message names: in a cluster at rest there is one."""
SUSPICIONS_MAX: Final = 512
"""Suspicions in one message: about 7 KB."""
ROSTER_BUCKETS: Final = 64
"""Parts in which two rosters are compared: of 2,000 members each has about 31."""
ROSTER_DIGEST_BYTES: Final = 8
BUCKET_DIGEST_BYTES: Final = 4
"""Two different buckets pass for equal once in four billion times, until the next change of either."""
BUCKET_ITEMS_MAX: Final = 512
"""Records of one bucket: sixteen times those of a full roster."""
WANTED_RECORDS_MAX: Final = 256
"""Records asked for at once: about 24 KB in answer; the rest comes with the next comparison."""
TEXT_BYTES_MAX: Final = 256
"""Zones, software versions and reasons."""
HOPS_MAX: Final = 255
DIGEST_BYTES: Final = fields.DIGEST_BYTES
AGE_MS_MAX: Final = 60_000
"""Ages of changes in a recap: what is older is no news."""
BUNDLED_MAX: Final = 4_096
"""Messages in one bundle: an announcement has 12 bytes, and a bundle is sent when it has BUNDLE_BYTES."""
GRAFT_ZONES_MAX: Final = 64
"""Zones named at once: more than anybody runs in."""
EPOCH_MAX: Final = (1 << 31) - 1
"""Epochs of one question: one in two seconds for a century."""
REQUEST_BYTES_MAX: Final = 4_096
"""A request for a certificate: 250 bytes with a key of P-256, 1.7 KB with RSA of 4,096 bits and some names."""
CERTIFICATE_BYTES_MAX: Final = 16_384
"""A certificate and three intermediates, in PEM: 1 to 4 KB each."""
SAID_BATCH_MAX: Final = 1_024
"""Statements in one batch: of the smallest kind a batch of the usual bytes has 400."""
LEASE_MS_MAX: Final = 60_000
"""How long a question stands without its asker: one that has vanished costs nothing after a minute."""


@dataclass(frozen=True, slots=True)
class Told:
    """A tree node in an answer, its hashes and items cut to the width that was asked for, joined.

    levels:  0 for the items under it; else that many levels below it a row of hashes, one for each place
    """

    prefix: Prefix
    levels: int
    data: bytes

    def to_wire(self) -> list[Any]:
        """The array inside a message."""
        return [self.prefix, self.levels, self.data]

    @classmethod
    def from_wire(cls, value: Any) -> Told:
        """Check and read."""
        prefix, levels, data = fields.record(value, "a tree node", 3)
        return cls(
            fields.prefix(prefix),
            as_int(levels, "the levels of a tree node", 0, WALK_LEVELS_MAX),
            as_bytes(data, "the summary of a tree node", length_max=NODE_HASH_BYTES * FANOUT**WALK_LEVELS_MAX),
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


def agreed_version(hello: Hello) -> int | None:
    """The protocol version of a link whose peer has said ``hello``: the newest that both speak, or None."""
    agreed = min(VERSION_MAX, hello.version_max)
    return agreed if agreed >= max(VERSION_MIN, hello.version_min) else None


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
    """Where other nodes were last reached, and the tag of each one's zone."""

    addresses: tuple[str, ...]
    zones: tuple[ZoneTag, ...]
    TYPE: ClassVar = 4
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (
        fields.many(fields.text(ADDRESS_BYTES_MAX), ADDRESSES_MAX),
        fields.many(fields.integer(TAG_MAX), ADDRESSES_MAX),
    )


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
        return cls(code, _fitting(reason))


@dataclass(frozen=True, slots=True)
class Roster:
    """Presence records, the sender's own or passed on. ``news``: to be passed on; else they make good a difference."""

    sightings: tuple[Sighting, ...]
    news: bool = True
    TYPE: ClassVar = 6
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.many(Sighting.from_wire, PRESENCES_MAX), fields.flag)


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of life, by the state that their nodes hold; and who is suspected to be gone."""

    beats: tuple[Beats, ...]
    suspicions: tuple[Suspicion, ...]
    TYPE: ClassVar = 7
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (
        fields.many(sighting.beats, ROOTS_MAX),
        fields.many(sighting.suspicion, SUSPICIONS_MAX),
    )


@dataclass(frozen=True, slots=True)
class RosterDigest:
    """The sender's roster in short, with the number of its members, and the sender's fingerprint, for a comparison.

    ``buckets``: the digests of all ROSTER_BUCKETS where the reader's roster is another one, else
    empty. ``crowded``: the sender knows of too many members for a roster, and compares none.
    """

    digest: bytes
    root: bytes
    buckets: bytes
    members: int
    crowded: bool
    TYPE: ClassVar = 8
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (
        fields.byte_string(ROSTER_DIGEST_BYTES),
        fields.byte_string(NODE_HASH_BYTES),
        fields.bucket_digests(ROSTER_BUCKETS * BUCKET_DIGEST_BYTES),
        fields.integer(SEQ_MAX),
        fields.flag,
    )


@dataclass(frozen=True, slots=True)
class RosterItems:
    """Items of the buckets that differ, as the leader of a link holds them; or in answer, those that are wanted."""

    held: tuple[tuple[int, bytes], ...]
    wanted: bytes
    TYPE: ClassVar = 9
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (
        fields.many(sighting.bucket(ROSTER_BUCKETS, BUCKET_ITEMS_MAX), ROSTER_BUCKETS),
        sighting.names(WANTED_RECORDS_MAX),
    )


@dataclass(frozen=True)
class Push:
    """A whole change.

    hops:       links that it has come over so far
    zone:       tag of the zone of its origin
    zone_hops:  of these links, those inside the receiver's zone; HOPS_MAX if it was pulled
    """

    hops: int
    zone: ZoneTag
    zone_hops: int
    change: bytes
    TYPE: ClassVar = 10
    CLASS: ClassVar = FrameClass.BROADCAST
    READERS: ClassVar = (
        fields.integer(HOPS_MAX),
        fields.integer(TAG_MAX),
        fields.integer(HOPS_MAX),
        fields.change_bytes,
    )

    @cached_property
    def digest(self) -> bytes:
        """By which copies of the change are told: hashed once, for all nodes that share this message."""
        return digest_of(self.change)


def digest_of(change: bytes) -> bytes:
    """DIGEST_BYTES that stand for the bytes of a change. Whoever may sign two changes with one digest, which takes
    2^32 tries, harms the spreading of these two; whoever may not would have to find a second one to a given first."""
    return blake2b(change, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Announce:
    """The sender has these changes, told by their digests; whoever lacks one can pull it."""

    digests: tuple[bytes, ...]
    TYPE: ClassVar = 11
    CLASS: ClassVar = FrameClass.BROADCAST
    READERS: ClassVar = (fields.digests,)


@dataclass(frozen=True, slots=True)
class Recap:
    """Changes that the sender has had for so long (ms) without pushing them here: what a far peer learns from."""

    digests: tuple[bytes, ...]
    ages_ms: tuple[int, ...]
    TYPE: ClassVar = 17
    CLASS: ClassVar = FrameClass.BROADCAST
    READERS: ClassVar = (fields.digests, fields.many(fields.integer(AGE_MS_MAX), fields.DIGESTS_MAX))


@dataclass(frozen=True, slots=True)
class Pull:
    """Asks for the changes with these digests."""

    digests: tuple[bytes, ...]
    TYPE: ClassVar = 12
    CLASS: ClassVar = FrameClass.BROADCAST
    READERS: ClassVar = (fields.digests,)


@dataclass(frozen=True, slots=True)
class Graft:
    """From now on push what comes from these zones at once; none named: from all. Between near peers the numbers are
    those of writers (see `streams`)."""

    zones: tuple[ZoneTag, ...]
    TYPE: ClassVar = 13
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.many(fields.integer(TAG_MAX), GRAFT_ZONES_MAX),)


@dataclass(frozen=True, slots=True)
class Prune:
    """The opposite of Graft: from now on announce only."""

    zones: tuple[ZoneTag, ...]
    TYPE: ClassVar = 14
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.many(fields.integer(TAG_MAX), GRAFT_ZONES_MAX),)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Messages of broadcast that were collected and are sent as one, each encoded, in order."""

    messages: tuple[bytes, ...]
    TYPE: ClassVar = 18
    CLASS: ClassVar = FrameClass.BROADCAST
    READERS: ClassVar = (fields.many(fields.message_bytes, BUNDLED_MAX),)


@dataclass(frozen=True, slots=True)
class WantAddresses:
    """Asks for addresses of nodes in a zone; answered by `Addresses`."""

    zone: ZoneTag
    TYPE: ClassVar = 15
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.integer(TAG_MAX),)


@dataclass(frozen=True, slots=True)
class ZoneTold:
    """The tag that a node without a label goes by now."""

    zone: ZoneTag
    TYPE: ClassVar = 16
    CLASS: ClassVar = FrameClass.CONTROL
    READERS: ClassVar = (fields.integer(TAG_MAX),)


@dataclass(frozen=True, slots=True)
class Root:
    """The sender's fingerprint and policy version: a comparison, perhaps the begin of a sync.

    ``repaired``: it has just got what was missing for long, so that another root is no sign of something on its way.
    """

    root: bytes
    policy: int
    repaired: bool = False
    TYPE: ClassVar = 20
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.byte_string(NODE_HASH_BYTES), fields.integer(POLICY_VERSION_MAX), fields.flag)


@dataclass(frozen=True, slots=True)
class Hints:
    """Asks for all that ``frontier`` seems to lack, up to ``budget`` bytes. ``complete``: no writer was left out."""

    request: int
    root: bytes
    policy: int
    frontier: Frontier
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
    """Ends the answer to `Hints`: the answerer's state, what it seems to lack itself of the frontier that it was sent,
    and whether there is more to give."""

    request: int
    root: bytes
    policy: int
    lacks: Lacks
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
    """Asks for the tree nodes at these prefixes, where their hash is another one.

    ``width``: bytes of each hash and item that count, in the question and in the answer. ``levels``: how
    far below a node its row of hashes shall be; where few items are left these are told instead.
    """

    request: int
    width: int
    levels: int
    nodes: tuple[tuple[Prefix, bytes], ...]
    TYPE: ClassVar = 26
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.integer(SEQ_MAX),
        fields.integer(WIDTH_MAX, fields.WIDTH_MIN),
        fields.integer(WALK_LEVELS_MAX, 1),
        fields.many(fields.asked_node, WALK_NODES_MAX),
    )


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
    """Asks for the changes that carry the items that begin so, up to ``budget`` bytes."""

    request: int
    items: tuple[bytes, ...]
    budget: int
    TYPE: ClassVar = 28
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.integer(SEQ_MAX),
        fields.many(fields.item_start, WANTED_ITEMS_MAX),
        fields.integer(SYNC_BUDGET_BYTES),
    )


@dataclass(frozen=True, slots=True)
class Given:
    """Ends the answer to `Want`: the answerer's root."""

    request: int
    root: bytes
    TYPE: ClassVar = 29
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.integer(SEQ_MAX), fields.byte_string(NODE_HASH_BYTES))


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


@dataclass(frozen=True, slots=True)
class WantCertificate:
    """Asks an issuer for a new certificate of the sender's own name. ``request``: PKCS #10, signed with its key."""

    request: bytes
    TYPE: ClassVar = 50
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.some_bytes(REQUEST_BYTES_MAX),)


@dataclass(frozen=True, slots=True)
class CertificateGiven:
    """The answer: PEM of the certificate and of the intermediates after it; or empty, and why not, for people."""

    certificate: bytes
    refusal: str
    TYPE: ClassVar = 51
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.some_bytes(CERTIFICATE_BYTES_MAX), fields.text(TEXT_BYTES_MAX))

    @classmethod
    def refusing(cls, reason: str) -> CertificateGiven:
        """A refusal whose reason fits, whatever it quotes."""
        return cls(b"", _fitting(reason))


def _fitting(reason: str) -> str:
    """``reason`` as far as a text field takes it."""
    shown = "".join(one if one.isprintable() else "?" for one in reason)
    return shown.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class Beacon:
    """A signed statement of the state at a time; passed on once over each link."""

    snapshot: bytes
    TYPE: ClassVar = 52
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.snapshot_bytes,)


@dataclass(frozen=True, slots=True)
class SaidNews:
    """What a node has said of a change, signed, with its certificates; passed on once over each link."""

    statement: bytes
    TYPE: ClassVar = 60
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.some_bytes(STATEMENT_BYTES_MAX),)


@dataclass(frozen=True, slots=True)
class SaidDigest:
    """Of the names of all statements that the sender holds; one that has another answers with `SaidSubjects`."""

    digest: bytes
    TYPE: ClassVar = 61
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.byte_string(SAID_DIGEST_BYTES),)


@dataclass(frozen=True, slots=True)
class SaidSubjects:
    """The subjects of which the sender holds statements, each with a digest; `SaidItems` answers where they differ."""

    subjects: tuple[tuple[bytes, bytes], ...]
    TYPE: ClassVar = 62
    CLASS: ClassVar = FrameClass.ACK
    READERS: ClassVar = (fields.many(fields.said_subject, SUBJECTS_MAX),)


@dataclass(frozen=True, slots=True)
class SaidItems:
    """The names of the statements that the sender holds about a subject, joined; a `SaidBatch` of others answers."""

    subject: bytes
    items: bytes
    TYPE: ClassVar = 63
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (fields.byte_string(HASH_BYTES), fields.said_items)


@dataclass(frozen=True, slots=True)
class SaidBatch:
    """Statements about a subject that the receiver lacks. ``more``: there are others, and it may ask again."""

    subject: bytes
    statements: tuple[bytes, ...]
    more: bool
    TYPE: ClassVar = 64
    CLASS: ClassVar = FrameClass.SYNC
    READERS: ClassVar = (
        fields.byte_string(HASH_BYTES),
        fields.many(fields.some_bytes(STATEMENT_BYTES_MAX), SAID_BATCH_MAX),
        fields.flag,
    )


Message: TypeAlias = (
    Hello
    | Ping
    | Pong
    | Addresses
    | Goodbye
    | Roster
    | Signs
    | RosterDigest
    | RosterItems
    | Push
    | Announce
    | Recap
    | Pull
    | Graft
    | Prune
    | Bundle
    | WantAddresses
    | ZoneTold
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
    | WantCertificate
    | CertificateGiven
    | Beacon
    | SaidNews
    | SaidDigest
    | SaidSubjects
    | SaidItems
    | SaidBatch
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
        Signs,
        RosterDigest,
        RosterItems,
        Push,
        Announce,
        Recap,
        Pull,
        Graft,
        Prune,
        Bundle,
        WantAddresses,
        ZoneTold,
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
        WantCertificate,
        CertificateGiven,
        Beacon,
        SaidNews,
        SaidDigest,
        SaidSubjects,
        SaidItems,
        SaidBatch,
    )
}


_NAMES: Final = {kind: tuple(one.name for one in dataclasses.fields(kind)) for kind in _TYPES.values()}
"""The fields of each message, in the order of the wire."""
_HOLDING_DIGESTS: Final = (Announce, Recap, Pull)
"""Messages that are one string of digests: 8 bytes each and no more."""
_HOLDING_RECORDS: Final = (Roster, Walked)
"""Messages with records in a list: these and the next ones alone are not yet what the encoding knows."""
_HOLDING_A_RECORD: Final = (Ask, Report)
"""Messages with a record of its own array."""


def encode_message(message: Message) -> bytes:
    """The bytes of ``message``."""
    kind = type(message)
    values = [getattr(message, name) for name in _NAMES[kind]]
    if kind in _HOLDING_DIGESTS:
        values[0] = b"".join(values[0])
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
