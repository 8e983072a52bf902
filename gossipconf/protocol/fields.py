"""Readers of message fields: what a decoded value must be, and the error if it is not.

Built from the checks of `model.encoding`; the limits are the message's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ..model.clock import Clock, decode_clock
from ..model.encoding import as_array, as_bytes, as_int, as_text
from ..model.errors import FormatError
from ..model.key import check_node_id
from ..model.limits import FORM_BYTES_MAX, FRONTIER_WRITERS_MAX, NODE_ID_BYTES_MAX, SEQ_MAX
from ..store.hash_tree import DEPTH_MAX, FANOUT, NODE_HASH_BYTES, Prefix

Reader: TypeAlias = Callable[[Any], Any]


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


def frontier(value: Any) -> Clock:
    return decode_clock(value, "a frontier", FRONTIER_WRITERS_MAX)


def lacks(value: Any) -> Clock:
    """Like a frontier, but 0 may stand for a writer of whom nothing was met."""
    pairs = [as_array(pair, "a pair of a frontier", 2) for pair in as_array(value, "a frontier")]
    frontier(tuple((writer, max(as_int(seq, "a sequence number", 0, SEQ_MAX), 1)) for writer, seq in pairs))
    return tuple((writer, seq) for writer, seq in pairs)


def prefix(value: Any) -> Prefix:
    nibbles = as_array(value, "a prefix", length_max=DEPTH_MAX)
    return tuple(as_int(nibble, "a nibble", 0, FANOUT - 1) for nibble in nibbles)


def asked_node(value: Any) -> tuple[Prefix, bytes]:
    nibbles, digest = as_array(value, "a tree node", 2)
    return prefix(nibbles), as_bytes(digest, "a node hash", NODE_HASH_BYTES)
