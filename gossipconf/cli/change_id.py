"""Change ids as people name them: by their first hex digits."""

from __future__ import annotations

from ..model.hashing import HASH_BYTES
from ..model.limits import ID_DIGITS_MIN


def is_beginning(text: str) -> bool:
    """Whether `text` can be the beginning of an id."""
    return ID_DIGITS_MIN <= len(text) <= 2 * HASH_BYTES and set(text.lower()) <= set("0123456789abcdef")


def begins(change_id: bytes, start: str) -> bool:
    """Whether `start` names this change, perhaps beside others; so few digits that they could mean any name none."""
    return is_beginning(start) and change_id.hex().startswith(start.lower())
