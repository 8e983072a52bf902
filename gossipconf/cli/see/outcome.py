"""Outcomes: what the asked agent reads of a key, whom its variants are for, and until when, in words and as JSON.

Knows the verdicts of `store.resolution` and how people say them; decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ...model.entry import Entry, MatchKind, MatchTerm
from ...model.version import Version
from ...store.resolution import Candidate, Reader, Resolution, Verdict, moments
from ..item import Item
from ..output import age, count, duration, moment, some_of
from ..replies import Votes

NAMED_MAX: Final = 5
"""Nodes named of those that have voted; --json has them all."""
ABSENT: Final = frozenset({Verdict.DELETED, Verdict.SIBLING})
"""Verdicts of what says nothing of why there is no value, if anything else does."""


def shown_of(resolution: Resolution) -> Candidate:
    """The version that stands for its key in a list: what is read, else what comes nearest to it."""
    candidates = resolution.candidates
    for candidate in candidates:
        if candidate.verdict is Verdict.READ:
            return candidate
    return next((one for one in candidates if one.verdict not in ABSENT), candidates[0])


def since_ms(resolution: Resolution, reader: Reader, now_ms: int) -> int:
    """When what ``reader`` reads was signed, or since when time has made it that."""
    passed = [at for one in resolution.candidates for at in moments(one.version, reader) if at <= now_ms]
    return max([shown_of(resolution).version.header.time_ms, *passed])


def match_in_words(terms: Iterable[MatchTerm]) -> str:
    """Whom a match is for: `zone=eu-*, 5%`, as the options of `put` say it; nothing for everybody."""
    return ", ".join(map(_term_in_words, terms))


def _term_in_words(term: MatchTerm) -> str:
    if isinstance(term.operand, int):
        if term.kind is MatchKind.HALT:
            return f"limit {count(term.operand, 'vote')}"
        if term.kind is MatchKind.PACE:
            return f"growing over {duration(term.operand)}"
        return f"{percent_in_words(term.operand)} by salt {term.label}"
    if term.kind is MatchKind.EQUAL and any(sign in term.operand[0] for sign in "*?[,"):
        return f"{term.label}={term.operand[0]!r}, to the letter"
    return f"{term.label}={','.join(term.operand)}"


def percent_in_words(basis_points: int) -> str:
    """`5%`, `0.25%`."""
    return f"{basis_points / 100:.2f}".rstrip("0").rstrip(".") + "%"


def whom_in_words(version: Version) -> str:
    """Match and rank of a variant; nothing for the default one."""
    entry = version.entry
    if not entry.variant or entry.value is None:
        return ""
    return f"{match_in_words(entry.match) or 'everybody'}, rank {entry.rank:,}"


def reach_in_words(entry: Entry, activation_ms: int | None = None) -> str:
    """For whom a value is that is put, from when and until when; nothing if for everybody, at once and for ever."""
    said = []
    if activation_ms is not None:
        said.append(f"from {moment(activation_ms)} on")
    elif entry.variant:
        said.append(f"for {match_in_words(entry.match) or 'everybody'}, rank {entry.rank:,}")
    if entry.expires_ms is not None:
        said.append(f"until {moment(entry.expires_ms)}")
    return "; ".join(said)


def votes_in_words(votes: Votes) -> str:
    """`halted by 3 of 3 votes: web-1, web-2, web-3`."""
    said = f"{len(votes.nodes)} of {count(votes.limit, 'vote')}: {some_of(votes.nodes, NAMED_MAX)}"
    return f"halted by {said}" if votes.halted else f"called unhealthy by {said}"


def outcome_in_words(candidate: Candidate, now_ms: int) -> str:
    """What became of a version at the asked agent, and until when."""
    header, entry, verdict = candidate.version.header, candidate.version.entry, candidate.verdict
    if verdict is Verdict.EXPIRED and entry.expires_ms is not None:
        return f"expired {_ago(entry.expires_ms, now_ms)}"
    if verdict is Verdict.WAITING and header.activation_ms is not None:
        return f"active from {moment(header.activation_ms)}"
    until = f", expires {duration_ahead(entry.expires_ms, now_ms)}" if entry.expires_ms is not None else ""
    return f"{verdict.value}{until}"


def is_told(item: Item) -> bool:
    """Whether what is read of `item` needs words: for one value for everybody for ever it does not."""
    return any(
        version.entry.variant or version.entry.expires_ms is not None or version.header.activation_ms is not None
        for version in item.versions
    )


def why_missing(item: Item, resolution: Resolution, now_ms: int) -> str:
    """Why the asked agent reads no value of `item`, and what shows more."""
    key, more = item.key, f"see: gossipconf get --all {item.key}"
    if not item.versions:
        return f"{key!r} has no value; see what there is with: gossipconf list"
    nearest = shown_of(resolution)
    match nearest.verdict:
        case Verdict.EXPIRED | Verdict.WAITING:
            return f"{key!r} has no value now: {outcome_in_words(nearest, now_ms)}; {more}"
        case Verdict.UNFIT:
            return f"{key!r} has no value now: the only one fails a schema, and no good one came before; {more}"
        case Verdict.HALTED:
            return f"{key!r} has no value now: its change is held off by votes; {more}"
        case Verdict.NO_MATCH:
            number = count(
                len({version.entry.variant for version in item.versions if version.entry.variant}), "variant"
            )
            return f"{key!r} has {number}, none of which is for this agent, and no value for all; {more}"
    return f"{key!r} has been deleted; see: gossipconf history {key}"


def _ago(time_ms: int, now_ms: int) -> str:
    said = age(time_ms, now_ms)
    return f"on {said}" if "-" in said else f"{said} ago"


def duration_ahead(time_ms: int, now_ms: int) -> str:
    """`in 2 h`, or the time itself if that is more than a day ahead."""
    left_ms = time_ms - now_ms
    return f"in {duration(left_ms)}" if 0 < left_ms < 86_400_000 else f"on {moment(time_ms)}"


def moment_ahead(time_ms: int, now_ms: int) -> str:
    """The time, and how far off it is if that is less than a day."""
    ahead = duration_ahead(time_ms, now_ms)
    return f"{moment(time_ms)}, {ahead}" if ahead.startswith("in ") else moment(time_ms)


# -- JSON -----------------------------------------------------------------------------------------


def json_outcome(candidate: Candidate, votes: Mapping[bytes, Votes] | None = None) -> dict[str, Any]:
    """What became of a version at the asked agent, as one word; and who has called its change unhealthy, if anybody."""
    found = (votes or {}).get(candidate.version.change_id)
    outcome: dict[str, Any] = {"outcome": candidate.verdict.name.lower()}
    return outcome if found is None else outcome | {"votes": json_votes(found)}


def json_votes(votes: Votes) -> dict[str, Any]:
    """How votes on a change stand."""
    return {"nodes": list(votes.nodes), "limit": votes.limit, "halted": votes.halted}
