"""A request to the control interface: how it is read from a connection, and what its fields may hold.

Knows no agent and no answer (see `control`). Whatever is malformed raises InvalidInput
with a word for the asker.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from ..model.entry import Slot
from ..model.errors import InvalidInput
from ..model.hashing import HASH_BYTES
from ..model.key import check_key, check_variant
from ..model.limits import ENTRIES_MAX, ID_DIGITS_MIN
from .control_socket import LENGTH_BYTES, REQUEST_BYTES_MAX, WAIT_S_MAX, body_bytes, unframed

PAGE_ITEMS_MAX: Final = 1_000
"""Keys or versions in one reply; the asker comes again for more."""
PAGE_BYTES_MAX: Final = 4 << 20
"""A reply of values of 1 MiB each ends here."""


async def receive(stream: trio.SocketStream) -> dict[str, Any] | None:
    """The next request, or None at the end. Raises InvalidInput, and trio's errors for a broken connection."""
    head = await _read_exactly(stream, LENGTH_BYTES)
    if head is None:
        return None
    body = await _read_exactly(stream, body_bytes(head, REQUEST_BYTES_MAX))
    return None if body is None else unframed(body)


async def _read_exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = await stream.receive_some(min(65_536, count - len(data)))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def text_of(request: dict[str, Any], name: str) -> str:
    """The string ``name``."""
    value = request.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"the request needs {name!r}, a string")
    return value


def hex_of(request: dict[str, Any], name: str) -> str:
    """The beginning of an id, in hex digits."""
    value = text_of(request, name).lower()
    if not ID_DIGITS_MIN <= len(value) <= 2 * HASH_BYTES or not set(value) <= set("0123456789abcdef"):
        raise InvalidInput(f"{name!r} must be {ID_DIGITS_MIN} to {2 * HASH_BYTES} hex digits, the beginning of an id")
    return value


def wait_s_of(request: dict[str, Any]) -> float:
    """How many seconds the asker waits, at most WAIT_S_MAX."""
    value = request.get("wait_ms")
    if type(value) is not int or not 0 < value <= WAIT_S_MAX * 1000:
        raise InvalidInput(f"the request needs 'wait_ms', a whole number of at most {WAIT_S_MAX * 1000:g}")
    return value / 1000


def limit_of(request: dict[str, Any]) -> int:
    """How many items the asker wants in one reply, at most PAGE_ITEMS_MAX."""
    value = request.get("limit", PAGE_ITEMS_MAX)
    if type(value) is not int or value < 1:
        raise InvalidInput("'limit' must be a positive whole number")
    return min(value, PAGE_ITEMS_MAX)


def slots_of(request: dict[str, Any]) -> list[Slot]:
    """The slots that the asker wants to publish to."""
    value = request.get("slots")
    if not isinstance(value, list) or len(value) > ENTRIES_MAX:
        raise InvalidInput(f"the request needs 'slots', a list of at most {ENTRIES_MAX} [key, variant] pairs")
    slots = []
    for pair in value:
        match pair:
            case [str(key), str(variant)]:
                slots.append((check_key(key), check_variant(variant)))
            case _:
                raise InvalidInput("a slot is a pair of key and variant")
    return slots
