"""Resolution: which live version of a key a reader sees at a moment, and why.

A function of the live versions, of who reads, and of a wall clock that is handed in: no
clock of its own, no I/O. It decides nothing about the replicated set, which holds what is
expired or not yet active like everything else (`live_set`).

    1. Of each slot the first version by precedence counts that is in effect: its time has come,
       it has not expired, and no votes hold its change off. A delete that counts empties its slot.
    2. Of the variants whose slot is not empty and whose match holds for the reader the one of the
       highest rank is read; of several the smallest name.
    3. If there is none, the default variant.

So what expires falls back: within its slot to what had lost to it, else to the next variant.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final

from ..model.entry import BASIS_POINTS, MatchKind, MatchTerm, Operation
from ..model.hashing import SHARE_TAG, tagged_hash
from ..model.version import Version

NODE_LABEL: Final = "node"
"""The label by which a match names single machines: a node's id."""
ZONE_LABEL: Final = "zone"
SHARE_BYTES: Final = 8
"""Of the hash that draws a node's place: 64 bits divide by 10,000 without a bias that anybody could measure."""
_NOTHING_HELD_OFF: Final[frozenset[bytes]] = frozenset()


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: a node's id and its labels, by which matches choose."""

    node_id: str
    labels: Mapping[str, str]

    @classmethod
    def of(cls, node_id: str, zone: str, labels: Mapping[str, str]) -> Reader:
        """The reader of a node with these settings: its zone and its id are labels too, and win over others' names."""
        places = {ZONE_LABEL: zone} if zone else {}
        return cls(node_id, {**labels, **places, NODE_LABEL: node_id})


class Verdict(enum.Enum):
    """What became of one live version, with the word for people."""

    READ = "read"
    SIBLING = "lost to a sibling"
    """Another live version of its slot counts."""
    NO_MATCH = "does not match"
    OUTRANKED = "lower rank"
    SHADOWED = "default, behind a variant"
    DELETED = "deleted"
    """A delete counts in its slot."""
    EXPIRED = "expired"
    WAITING = "not yet active"
    HALTED = "halted"
    UNFIT = "fails a schema"
    """The reader has judged it; what it reads instead need not live any more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live version and what became of it."""

    version: Version
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is read, or None; and all candidates, by variant and then by precedence."""

    version: Version | None
    candidates: tuple[Candidate, ...]

    def verdict_of(self, version: Version) -> Verdict:
        """What became of a version that was resolved. Raises KeyError for any other."""
        for candidate in self.candidates:
            if candidate.version.id == version.id:
                return candidate.verdict
        raise KeyError(version.id)


def resolve(
    versions: Iterable[Version],
    reader: Reader,
    now_ms: int,
    halted: Set[bytes] = _NOTHING_HELD_OFF,
    unfit: Set[bytes] = _NOTHING_HELD_OFF,
) -> Resolution:
    """What ``reader`` reads at ``now_ms`` (ms since 1970) of the live ``versions`` of one key, in any order.

    ``halted``: ids of changes that votes hold off. ``unfit``: ids of versions that fail a schema at this reader.
    """
    ordered = in_order(versions)
    verdicts: dict[bytes, Verdict] = {}
    eligible: list[Version] = []
    decided: set[str] = set()
    for version in ordered:
        entry = version.entry
        verdict = _out_of_effect(version, now_ms, halted, unfit)
        if verdict is None and entry.variant in decided:
            verdict = Verdict.SIBLING
        elif verdict is None:
            decided.add(entry.variant)
            if entry.operation is Operation.DELETE:
                verdict = Verdict.DELETED
            elif entry.match and not matches(entry.match, reader, _age_ms(version, now_ms)):
                verdict = Verdict.NO_MATCH
            else:
                eligible.append(version)
                continue
        assert verdict is not None
        verdicts[version.id] = verdict
    chosen = min(eligible, key=_preference, default=None)
    for version in eligible:
        verdicts[version.id] = _verdict_beside(version, chosen)
    return Resolution(chosen, tuple(Candidate(version, verdicts[version.id]) for version in ordered))


def in_order(versions: Iterable[Version]) -> list[Version]:
    """Versions of one key by variant, the default first, and those of a slot by precedence, the winner first."""
    ordered = list(versions)
    if len(ordered) > 1:  # nearly always there is one
        ordered.sort(key=lambda version: version.precedence, reverse=True)
        ordered.sort(key=lambda version: version.entry.variant)
    return ordered


def matches(terms: Iterable[MatchTerm], reader: Reader, age_ms: int | None = None) -> bool:
    """Whether all ``terms`` hold for ``reader``; none at all hold for everybody.

    ``age_ms``: for how long they have been in effect, so that a share that grows is as large as it is then; None for
    what it comes to.
    """
    terms = tuple(terms)
    if not all(holds(term, reader) for term in terms):
        return False
    joins_ms = _joins_ms(terms, reader)
    return age_ms is None or joins_ms is None or age_ms >= joins_ms


def holds(term: MatchTerm, reader: Reader) -> bool:
    """Whether one condition holds, of a share that grows as large as it comes to; what speaks of the whole variant
    always does. A label that the reader does not have fits no value and no pattern, not even `*`.

    Patterns are shell patterns as `fnmatch` reads them, upper and lower case apart: `*`, `?`, `[abc]`, `[!a-c]`; a
    `*` goes over slashes. It never tries a part of a pattern twice, so that no pattern makes a reader slow.
    """
    if isinstance(term.operand, int):
        return term.kind is not MatchKind.PERCENT or share_of(term.label, reader.node_id) < term.operand
    value = reader.labels.get(term.label)
    if value is None:
        return False
    return fnmatchcase(value, term.operand[0]) if term.kind is MatchKind.GLOB else value in term.operand


def share_of(salt: str, node_id: str) -> int:
    """Where a node stands among all under ``salt``, from 0 to 9,999: below a percentage's basis points it is in.

    A function of the two names and nothing else: the same after every restart and on every machine, and who is in at
    5% is in at 10%.
    """
    digest = tagged_hash(SHARE_TAG, sha256(salt.encode()).digest(), node_id.encode())
    return int.from_bytes(digest[:SHARE_BYTES], "big") * BASIS_POINTS >> 8 * SHARE_BYTES


def next_moment(versions: Iterable[Version], now_ms: int, reader: Reader | None = None) -> int | None:
    """The next wall-clock time after ``now_ms`` at which the outcome may change by itself, or None. See `moments`."""
    found = (moment for version in versions for moment in moments(version, reader) if moment > now_ms)
    return min(found, default=None)


def is_timeless(version: Version) -> bool:
    """Whether ``version`` has no `moments` for any reader: so it is with nearly all."""
    entry = version.entry
    return entry.expires_ms is None and version.header.activation_ms is None and not entry.match


def moments(version: Version, reader: Reader | None = None) -> Sequence[int]:
    """The wall-clock times at which ``version`` comes into effect and leaves it, and at which ``reader`` joins a share
    of it that grows: none for nearly all."""
    joins_ms = None if reader is None else _joins_ms(version.entry.match, reader)
    joining_ms = None if joins_ms is None else _begins_ms(version) + joins_ms
    every = (version.header.activation_ms, joining_ms, version.entry.expires_ms)
    return [moment for moment in every if moment is not None]


def _joins_ms(terms: Sequence[MatchTerm], reader: Reader) -> int | None:
    """After how long a reader for whom ``terms`` come to hold is in all shares that grow; None if none does.

    In a share of p that grows over a time t a node at place q, below p, is in once more than q / p of t has passed: as
    the share at each moment is p times the part of t that has passed, so many are in.
    """
    paces = [term.operand for term in terms if term.kind is MatchKind.PACE and isinstance(term.operand, int)]
    if not paces:
        return None
    joins = [
        share_of(term.label, reader.node_id) * paces[0] // term.operand + 1
        for term in terms
        if term.kind is MatchKind.PERCENT and isinstance(term.operand, int) and term.operand
    ]
    return max(joins, default=None)


def _begins_ms(version: Version) -> int:
    """From when on its shares grow: its activation, or when it was signed."""
    activation_ms = version.header.activation_ms
    return version.header.time_ms if activation_ms is None else activation_ms


def _age_ms(version: Version, now_ms: int) -> int:
    return now_ms - _begins_ms(version)


def _out_of_effect(version: Version, now_ms: int, halted: Set[bytes], unfit: Set[bytes]) -> Verdict | None:
    activation_ms, expires_ms = version.header.activation_ms, version.entry.expires_ms
    if version.change_id in halted:
        return Verdict.HALTED
    if version.id in unfit:
        return Verdict.UNFIT
    if expires_ms is not None and now_ms >= expires_ms:
        return Verdict.EXPIRED
    if activation_ms is not None and now_ms < activation_ms:
        return Verdict.WAITING
    return None


def _preference(version: Version) -> tuple[bool, int, str]:
    """Ascending from what is read first."""
    entry = version.entry
    return not entry.variant, -entry.rank, entry.variant


def _verdict_beside(version: Version, chosen: Version | None) -> Verdict:
    if version is chosen:
        return Verdict.READ
    return Verdict.OUTRANKED if version.entry.variant else Verdict.SHADOWED
