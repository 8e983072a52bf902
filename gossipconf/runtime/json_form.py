"""How times and conditions are written as JSON, by the command line and over HTTP alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..model.entry import Entry, MatchKind, MatchTerm


def json_time(time_ms: int) -> str | int:
    """RFC 3339 with milliseconds, in UTC; a number of milliseconds where RFC 3339 ends (the year 9999)."""
    try:
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    except (OverflowError, ValueError):
        return time_ms
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def json_reach(entry: Entry) -> dict[str, Any]:
    """For whom an entry is, and until when."""
    return {
        "match": list(map(_json_term, entry.match)),
        "rank": entry.rank,
        "expires": None if entry.expires_ms is None else json_time(entry.expires_ms),
    }


def _json_term(term: MatchTerm) -> dict[str, Any]:
    if isinstance(term.operand, int) and term.kind is MatchKind.HALT:
        return {"kind": "halt", "votes": term.operand}
    if isinstance(term.operand, int) and term.kind is MatchKind.PACE:
        return {"kind": "pace", "over_ms": term.operand}
    if isinstance(term.operand, int):
        return {"kind": "percent", "salt": term.label, "percent": term.operand / 100}
    return {"kind": term.kind.name.lower(), "label": term.label, "values": list(term.operand)}
