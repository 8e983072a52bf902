"""Readers of message fields: what a decoded value must be, and the error if it is not.

Built from the checks of `model.encoding`; the limits are the message's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ..model.encoding import as_array, as_bytes, as_int, as_text
from ..model.errors import FormatError
from ..model.hashing import HASH_BYTES
from ..model.key import check_node_id
from ..model.limits import (
    FORM_BYTES_MAX,
    FRONTIER_WRITERS_MAX,
    MESSAGE_BYTES_MAX,
    NODE_ID_BYTES_MAX,
    SEQ_MAX,
    SNAPSHOT_BYTES_MAX,
)
from ..store.hash_tree import DEPTH_MAX, FANOUT, ITEM_BYTES, NODE_HASH_BYTES, Prefix
from ..trust.statement import ITEM_BYTES as NAME_BYTES
from ..trust.statement import Kind
from .frontier import START_BYTES, Frontier, Lacks, check_frontier
from .statement_book import DIGEST_BYTES as SAID_DIGEST_BYTES
from .statement_book import NODES_MAX

DIGEST_BYTES: Final = 8
"""How much tells a change that is news from others: ten thousand collide once in 400 billion runs, and a collision
only leaves one of them to sync."""
DIGESTS_MAX: Final = 512
"""Digests in one message: 4 KB."""

Reader: TypeAlias = Callable[[Any], Any]

WIDTH_MIN: Final = 4
"""Bytes of a hash or an item that are told at least: two different ones look alike once in 4 × 10^9."""


def record(value: Any, what: str, count: int) -> list[Any]:
    """The first ``count`` fields of a record inside a message; a newer version may say more."""
    read = as_array(value, what)
    if len(read) < count:
        raise FormatError(f"{what} has at least {count} fields, not {len(read)}")
    return list(read[:count])


def integer(high: int, low: int = 0) -> Reader:
    return lambda value: as_int(value, "a number", low, high)


def byte_string(length: int) -> Reader:
    return lambda value: as_bytes(value, "a byte string", length)


def bucket_digests(length: int) -> Reader:
    """All of them, or none."""
    return lambda value: as_bytes(value, "digests of buckets", length) if value else as_bytes(value, "digests", 0)


def text(bytes_max: int) -> Reader:
    """A text that can be shown to people: a peer's line breaks and escape sequences do not reach a terminal."""

    def read(value: Any) -> str:
        read_text = as_text(value, "a text", bytes_max)
        if any(character < " " or "\x7f" <= character < "\xa0" for character in read_text):
            raise FormatError("a text must have no control characters")
        return read_text

    return read


def node_id(value: Any) -> str:
    return check_node_id(as_text(value, "a node's name", NODE_ID_BYTES_MAX))


def many(reader: Reader, length_max: int) -> Reader:
    return lambda value: tuple(map(reader, as_array(value, "a list", length_max=length_max)))


def flag(value: Any) -> bool:
    if type(value) is not bool:
        raise FormatError("a flag must be true or false")
    return value


def change_bytes(value: Any) -> bytes:
    return as_bytes(value, "a change", length_max=FORM_BYTES_MAX)


def some_bytes(length_max: int) -> Reader:
    return lambda value: as_bytes(value, "a byte string", length_max=length_max)


def snapshot_bytes(value: Any) -> bytes:
    """An encoded snapshot, read later."""
    return as_bytes(value, "a snapshot", length_max=SNAPSHOT_BYTES_MAX)


def message_bytes(value: Any) -> bytes:
    return as_bytes(value, "a message inside another", length_max=MESSAGE_BYTES_MAX)


def digests(value: Any) -> tuple[bytes, ...]:
    """At least one digest of a change, in one string."""
    data = as_bytes(value, "digests of changes", length_max=DIGEST_BYTES * DIGESTS_MAX)
    if not data or len(data) % DIGEST_BYTES:
        raise FormatError(f"digests of changes must be a multiple of {DIGEST_BYTES} bytes, at least one")
    return tuple(data[first : first + DIGEST_BYTES] for first in range(0, len(data), DIGEST_BYTES))


def frontier(value: Any) -> Frontier:
    starts, seqs = record(value, "a frontier", 2)
    as_bytes(starts, "the writers of a frontier", length_max=START_BYTES * FRONTIER_WRITERS_MAX)
    numbers = as_array(seqs, "the numbers of a frontier", length_max=FRONTIER_WRITERS_MAX)
    return check_frontier((starts, tuple(as_int(seq, "a sequence number", 1, SEQ_MAX) for seq in numbers)))


def lacks(value: Any) -> Lacks:
    """Places in a frontier, ascending, and how far behind them."""
    read = []
    previous = -1
    for pair in as_array(value, "what is lacked", length_max=FRONTIER_WRITERS_MAX):
        place, behind = record(pair, "a writer that is lacked", 2)
        previous = as_int(place, "a place in a frontier", previous + 1, FRONTIER_WRITERS_MAX - 1)
        read.append((previous, as_int(behind, "how far behind", 1, SEQ_MAX)))
    return tuple(read)


def said_subject(value: Any) -> tuple[bytes, bytes]:
    subject, digest = record(value, "a subject of statements", 2)
    return as_bytes(subject, "a subject", HASH_BYTES), as_bytes(digest, "a subject's digest", SAID_DIGEST_BYTES)


def said_items(value: Any) -> bytes:
    """Names of statements in one string."""
    data = as_bytes(value, "names of statements", length_max=NAME_BYTES * NODES_MAX * len(Kind))
    if len(data) % NAME_BYTES:
        raise FormatError(f"names of statements must be a multiple of {NAME_BYTES} bytes")
    return data


def prefix(value: Any) -> Prefix:
    nibbles = as_array(value, "a prefix", length_max=DEPTH_MAX)
    return tuple(as_int(nibble, "a nibble", 0, FANOUT - 1) for nibble in nibbles)


def asked_node(value: Any) -> tuple[Prefix, bytes]:
    nibbles, digest = record(value, "a tree node", 2)
    return prefix(nibbles), as_bytes(digest, "a node hash", length_max=NODE_HASH_BYTES)


def item_start(value: Any) -> bytes:
    """The first bytes of an item: so many that few share them, or whoever asks could make the other side search."""
    if len(as_bytes(value, "an item", length_max=ITEM_BYTES)) < WIDTH_MIN:
        raise FormatError(f"an item must be named by {WIDTH_MIN} bytes at least")
    return bytes(value)
