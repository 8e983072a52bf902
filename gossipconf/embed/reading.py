"""Reading a key from a snapshot: its value, a default, or a clear error."""

from __future__ import annotations

from typing import Any, Final

from ..model.errors import KeyMissing
from .snapshot import Snapshot


class _Missing:
    """No default was given."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()


def read(snapshot: Snapshot, key: str, wanted: Any, default: Any) -> Any:
    """The value of ``key`` as ``wanted``; ``default`` only if it has none.

    Raises KeyMissing without a default, WrongType, Fenced or NotAMember, SealError, InvalidInput.
    """
    cell = snapshot.find(key)
    if cell is not None:
        return cell.read(wanted)
    if default is MISSING:
        raise KeyMissing(f"{key!r} has no value here, and no default was given")
    return default
