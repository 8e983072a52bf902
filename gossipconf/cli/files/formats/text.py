"""What a format wrote and could not write, and what it read and could not read: the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ....model.errors import InvalidInput
from ..value import TypedValue


class Unfit(InvalidInput):
    """A value or a key that a format cannot say; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text, and what is not in it.

    content:   the bytes of the file
    left_out:  key → why
    as_text:   keys whose values are there as text, so that who reads them back has another type
    """

    content: bytes
    left_out: Mapping[str, str] = field(default_factory=dict)
    as_text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One value that another program's file has: its name there, and where. `note`: what is lost of it."""

    name: str
    value: TypedValue
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """All that a file has, in its order; what is no value is in `passed_over`, in words for people."""

    found: tuple[Found, ...]
    passed_over: tuple[str, ...] = ()
