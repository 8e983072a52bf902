"""Lengths of time as people write them: `90s`, `15m`, `12h`, `30d`."""

from __future__ import annotations

import re
from typing import Final

from ..model.errors import InvalidInput

UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS: Final = 3_650 * UNITS_MS["d"]
"""Ten years: what should last longer needs no end."""
_TIME: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)


def milliseconds(text: str, option: str) -> int:
    """A time such as `90s`, in milliseconds. Raises InvalidInput that names ``option``."""
    found = _TIME.fullmatch(text)
    length_ms = int(found[1]) * UNITS_MS[found[2]] if found else 0
    if not 0 < length_ms <= LONGEST_MS:
        raise InvalidInput(f"{option} is {text!r}; write 90s, 15m, 12h or 30d, at most 3650d")
    return length_ms
