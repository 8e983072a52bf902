"""What a node says of itself, and how others pass it on.

A `Presence` travels as the bytes that its node has made of it, so that all who hold it
name it by the same tag, and an older node passes on fields that it does not know. What a
teller adds stands beside it: how long ago there was a sign of life, and since when the
node is suspected to be gone. Knows bytes and limits; knows nothing of links or time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from ..model.encoding import as_array, as_bytes, as_int, decode, encode
from ..model.errors import FormatError
from ..model.limits import ADDRESS_BYTES_MAX, POLICY_VERSION_MAX, SEQ_MAX, TIME_MS_MAX
from ..store.hash_tree import NODE_HASH_BYTES
from . import fields

BOOT_BYTES: Final = 8
ZONE_BYTES_MAX: Final = 256
"""More than any settings file can say: a newer release may allow more than this one."""
TAG_BYTES: Final = 8
"""How much of its hash names a record: two of 2,000 have the same tag once in 10^13 clusters."""
AGE_S_MAX: Final = 10 * 365 * 24 * 3600
"""Ages of presence records: whoever was heard ten years ago is not there."""
LABELS_MAX: Final = 16
LABEL_KEY_BYTES_MAX: Final = 64
LABEL_VALUE_BYTES_MAX: Final = 128
"""Labels say what an agent is (service, role, release): a few short words, since everybody keeps them of everybody."""
PRESENCE_BYTES_MAX: Final = 5_120
"""16 of the longest labels, a zone, an address and headroom for what a newer release says besides."""
BEATS_MAX: Final = 512
"""Signs of life of one state in one message: about 8 KB."""
PRESENCES_REMEMBERED: Final = 4_096
"""Decoded records kept: each comes over several links. Twice as many as a roster holds."""

Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)  # no slots: the encoding is kept
class Presence:
    """What a node says of itself. Soft: nobody signs it.

    ``boot`` is random per start, and ``started_ms`` orders the boots of one node. ``count``
    rises when something here has changed, and to refute what others say; ``root``, ``policy``
    and ``versions`` are as of that telling. ``stopped``: it said farewell.
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
    labels: Labels = ()

    @cached_property
    def wire(self) -> bytes:
        """Its bytes; those that came, for one that was decoded."""
        return encode([getattr(self, name) for name in _NAMES])

    @cached_property
    def tag(self) -> bytes:
        """Names this very record, among all of all nodes."""
        return blake2b(self.wire, digest_size=TAG_BYTES).digest()

    @property
    def rank(self) -> tuple[int, bytes, int]:
        """Of two records of a node the one with the higher rank is the newer."""
        return self.started_ms, self.boot, self.count

    @classmethod
    def from_wire(cls, value: Any) -> Presence:
        """Check and read."""
        return _read(as_bytes(value, "a presence", length_max=PRESENCE_BYTES_MAX))


@dataclass(slots=True)  # not frozen, as `Send`: many are made for every roster
class Sighting:
    """A record as it is passed on.

    age_s:            since the last sign of life of its node, as far as the teller knows
    suspected_age_s:  since somebody lost its link to that node, unrefuted; None if nobody did
    """

    presence: Presence
    age_s: int = 0
    suspected_age_s: int | None = None

    def to_wire(self) -> list[Any]:
        """The array inside a message."""
        return [self.presence.wire, self.age_s, self.suspected_age_s]

    @classmethod
    def from_wire(cls, value: Any) -> Sighting:
        """Check and read."""
        wire, age_s, suspected_age_s = fields.record(value, "a sighting", 3)
        suspected = None if suspected_age_s is None else _age(suspected_age_s)
        return cls(Presence.from_wire(wire), _age(age_s), suspected)


class Beat(NamedTuple):
    """A sign of life: ``number`` rises by one with each of a record; ``age_s`` as in `Sighting`."""

    tag: bytes
    number: int
    age_s: int


class Beats(NamedTuple):
    """Signs of life of nodes that hold the same state: in a cluster at rest that is all of them."""

    root: bytes
    beats: tuple[Beat, ...]


class Suspicion(NamedTuple):
    """Somebody has lost its link to the node of this record, so long ago."""

    tag: bytes
    age_s: int


def age_told(age_s: float) -> int:
    """The age of a suspicion in whole seconds, as it is told: one that a liar began at the limit stays there."""
    return max(0, min(int(age_s), AGE_S_MAX))


def labels_of(table: Mapping[str, str]) -> Labels:
    """Labels in the order of their names. Raises InvalidInput for what is too much or too long."""
    return _labels(tuple(sorted(table.items())))


_read_label_key: Final = fields.text(LABEL_KEY_BYTES_MAX)
_read_label_value: Final = fields.text(LABEL_VALUE_BYTES_MAX)


def _labels(value: Any) -> Labels:
    """Pairs of texts, sorted by name: one form for one map."""
    pairs = [fields.record(pair, "a label", 2) for pair in as_array(value, "labels", length_max=LABELS_MAX)]
    read = tuple((_read_label_key(name), _read_label_value(text)) for name, text in pairs)
    names = [name for name, _ in read]
    if "" in names or names != sorted(set(names)):
        raise FormatError("labels must have names, and be sorted by them, each once")
    return read


_NAMES: Final = tuple(Presence.__dataclass_fields__)
_READERS: Final[tuple[fields.Reader, ...]] = (
    fields.node_id,
    fields.byte_string(BOOT_BYTES),
    fields.integer(TIME_MS_MAX),
    fields.integer(SEQ_MAX),
    fields.text(ZONE_BYTES_MAX),
    fields.text(ADDRESS_BYTES_MAX),
    fields.byte_string(NODE_HASH_BYTES),
    fields.integer(POLICY_VERSION_MAX),
    fields.integer(SEQ_MAX),
    fields.flag,
    fields.flag,
    _labels,
)


@lru_cache(maxsize=PRESENCES_REMEMBERED)
def _read(wire: bytes) -> Presence:
    values = as_array(decode(wire, "a presence", PRESENCE_BYTES_MAX), "a presence")
    if len(values) < len(_READERS):
        raise FormatError(f"a presence has at least {len(_READERS)} fields")
    presence = Presence(*(read(one) for read, one in zip(_READERS, values, strict=False)))
    presence.__dict__["wire"] = wire
    return presence


# -- readers of message fields ------------------------------------------------------------------------


def beats(value: Any) -> Beats:
    """Check and read `Beats`."""
    root, items = fields.record(value, "beats", 2)
    read = as_array(items, "beats of a root", length_max=BEATS_MAX)
    return Beats(as_bytes(root, "a root", NODE_HASH_BYTES), tuple(map(_beat, read)))


def _beat(value: Any) -> Beat:
    tag, number, age_s = fields.record(value, "a beat", 3)
    return Beat(as_bytes(tag, "a tag", TAG_BYTES), as_int(number, "a beat", 0, SEQ_MAX), _age(age_s))


def suspicion(value: Any) -> Suspicion:
    """Check and read a `Suspicion`."""
    tag, age_s = fields.record(value, "a suspicion", 2)
    return Suspicion(as_bytes(tag, "a tag", TAG_BYTES), _age(age_s))


def _age(value: Any) -> int:
    return as_int(value, "an age", 0, AGE_S_MAX)


def names(length_max: int) -> fields.Reader:
    """At most so many tags, or others of their length, as one byte string."""

    def read(value: Any) -> bytes:
        data = as_bytes(value, "tags", length_max=length_max * TAG_BYTES)
        if len(data) % TAG_BYTES:
            raise FormatError(f"tags have {TAG_BYTES} bytes each")
        return data

    return read


def bucket(number_end: int, length_max: int) -> fields.Reader:
    """The number of a bucket, and what is in it."""
    read_items = names(length_max)

    def read(value: Any) -> tuple[int, bytes]:
        number, items = fields.record(value, "a bucket", 2)
        return as_int(number, "a bucket", 0, number_end - 1), read_items(items)

    return read
