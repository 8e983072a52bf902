"""Deadlines: moments ahead as people write them, a time, or `2h` from now."""

from __future__ import annotations

import re
from typing import Final

from ..model.errors import InvalidInput
from .instant import instant_ms
from .lifetime import milliseconds
from .session import now_ms

_LENGTH: Final = re.compile(r"\d+[a-z]*", re.ASCII)


def deadline_ms(text: str, option: str) -> int:
    """A moment after now, in ms since 1970; a time without zone is UTC. Raises InvalidInput that names ``option``."""
    now = now_ms()
    if _LENGTH.fullmatch(text):
        return now + milliseconds(text, option)
    at_ms = instant_ms(text, option)
    if at_ms <= now:
        raise InvalidInput(f"{option} is {text!r}, and that time has passed by this machine's clock")
    return at_ms
