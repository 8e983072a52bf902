"""Lengths of time as people write them: `90s`, `15m`, `12h`, `30d`; and, of waits, `500ms`."""

from __future__ import annotations

import re
from typing import Final

from ..model.errors import InvalidInput
from ..runtime.control_socket import WAIT_S_MAX

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS: Final = 3_650 * UNITS_MS["d"]
"""Ten years: what should last longer needs no end."""
_LENGTH: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_WAIT: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m)", re.ASCII)


def length_ms(text: str) -> int | None:
    """A length such as `90s`, in milliseconds; None for what is none."""
    found = _LENGTH.fullmatch(text)
    return int(found[1]) * UNITS_MS[found[2]] if found else None


def milliseconds(text: str, option: str) -> int:
    """How long something is to last, in milliseconds. Raises InvalidInput that names ``option``."""
    lasts_ms = length_ms(text)
    if lasts_ms is None or not 0 < lasts_ms <= LONGEST_MS:
        raise InvalidInput(f"{option} is {text!r}; write 90s, 15m, 12h or 30d, at most 3650d")
    return lasts_ms


def timeout_s(text: str) -> float:
    """How long a command waits, in seconds, by its `--timeout`. Raises InvalidInput."""
    found = _WAIT.fullmatch(text)
    seconds = float(found[1]) * UNITS_MS[found[2]] / 1_000 if found else 0.0
    if not 0 < seconds <= WAIT_S_MAX:
        raise InvalidInput(f"--timeout is {text!r}; write 500ms, 30s or 5m, at most {WAIT_S_MAX // 60}m")
    return seconds
