"""Instants as people write them: `2026-03-01 12:00`, in UTC, or `2h`: so long ago, or of what is to come, from now."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from ..model.errors import InvalidInput
from .lifetime import length_ms, milliseconds

_LENGTH: Final = re.compile(r"\d+[a-z]*", re.ASCII)
"""What is meant as a length of time, if perhaps of a wrong unit."""
_WRITTEN: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z| UTC|[+-]\d{2}:\d{2})?)?", re.ASCII
)

SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Signed at this time or later: 2026-03-01, '2026-03-01 12:00', 2h."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Signed before this time; times are UTC, 2h is 2 h ago.")
]


def now_ms() -> int:
    """Milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


def instant_ms(text: str, option: str) -> int:
    """Milliseconds since 1970 of a date, a date and time (UTC if they do not say), or a length of time ago.

    Raises InvalidInput that names ``option``.
    """
    ago_ms = length_ms(text)
    if ago_ms is not None:
        return max(0, now_ms() - ago_ms)
    if _WRITTEN.fullmatch(text):
        try:
            found = datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            raise InvalidInput(f"{option} is {text!r}, and there is no such day or time") from None
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return max(0, round(found.timestamp() * 1000))
    raise InvalidInput(
        f"{option} is {text!r}; write 2026-03-01, '2026-03-01 12:00', 2026-03-01T12:00:05Z or 90s, 2h, 7d"
    )


def deadline_ms(text: str, option: str) -> int:
    """A moment after now, in ms since 1970: a date, a date and time (UTC), or a length of time from now.

    Raises InvalidInput that names ``option``.
    """
    now = now_ms()
    if _LENGTH.fullmatch(text):
        return now + milliseconds(text, option)
    at_ms = instant_ms(text, option)
    if at_ms <= now:
        raise InvalidInput(f"{option} is {text!r}, and that time has passed by this machine's clock")
    return at_ms


def span_ms(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """What the two options say. Raises InvalidInput, too for an end that comes before its beginning."""
    since_ms = None if since is None else instant_ms(since, "--since")
    until_ms = None if until is None else instant_ms(until, "--until")
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise InvalidInput(f"--since {since} is not before --until {until}; nothing can be between them")
    return since_ms, until_ms
