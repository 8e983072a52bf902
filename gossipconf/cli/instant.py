"""Instants as people write them: `2026-03-01 12:00`, in UTC, or how long ago, `2h`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from ..model.errors import InvalidInput
from .lifetime import UNITS_MS
from .session import now_ms

_AGO: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
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


def instant_ms(text: str, option: str) -> int:
    """Milliseconds since 1970 of a date, a date and time (UTC if they do not say), or a length of time ago.

    Raises InvalidInput that names ``option``.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0, now_ms() - int(ago[1]) * UNITS_MS[ago[2]])
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


def span_ms(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """What the two options say. Raises InvalidInput, too for an end that comes before its beginning."""
    since_ms = None if since is None else instant_ms(since, "--since")
    until_ms = None if until is None else instant_ms(until, "--until")
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise InvalidInput(f"--since {since} is not before --until {until}; nothing can be between them")
    return since_ms, until_ms
