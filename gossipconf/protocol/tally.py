"""Tallies: how many have applied what was asked, added up over a part of the cluster.

A tally of several is the tallies of its parts put together, whatever the tree: counts
are added, and of names that are too many a sample is kept that does not depend on the
order. It is the bottom-k sample of E. Cohen and H. Kaplan ("Summarizing data using
bottom-k sketches", 2007): the NAMES_MAX names with the smallest hashes, which is a
uniform sample of all names, since one that is among the smallest of all is among the
smallest of every part. Of zones the first by name are kept, for the same reason: what
a kept zone counts is exact.

Numbers come from peers. Each is at most COUNT_MAX, what is put together too, and an
impossible tally (more applied than there are) is malformed. A possible one may be a lie:
a peer can say of its own part whatever it likes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from ..model.encoding import as_array
from ..model.errors import FormatError
from . import fields

NAMES_MAX: Final = 32
"""Names of one kind in a tally: what a person reads, and at most 2 KiB. Counts go on beyond it."""
TORN_MAX: Final = 64
"""Names behind lost links in a tally, which people do not see: some links that break in the same second. Beyond it the
asker begins a new epoch, which costs less than telling so many names again and again."""
ZONES_MAX: Final = 64
"""Zones counted each; above it the others are in the total only. Clouds have some thirty regions."""
ZONE_BYTES_MAX: Final = 256
"""A zone's name, as in `Hello`."""
COUNT_MAX: Final = 10_000_000
"""A hundred times the largest cluster that is meant: beyond it a number can only be a lie."""

ZoneCount: TypeAlias = tuple[str, int, int]
"""A zone, how many in it have applied, and how many there are."""


def _zone_count(value: Any) -> ZoneCount:
    zone, applied, total = as_array(value, "a zone's count", 3)
    count = (fields.text(ZONE_BYTES_MAX)(zone), fields.integer(COUNT_MAX)(applied), fields.integer(COUNT_MAX)(total))
    if count[1] > count[2]:
        raise FormatError("more have applied in a zone than there are")
    return count


_NAMES: Final = fields.many(fields.node_id, NAMES_MAX)
_TORN: Final = fields.many(fields.node_id, TORN_MAX)


@dataclass(frozen=True, slots=True)
class Tally:
    """Who has applied what was asked, in a part of the cluster.

    applied:      how many have
    total:        how many have answered
    missing:      names of those that have not applied; a sample of NAMES_MAX if they are more
    zones:        counts of each zone, by name; who has no zone, or one beyond ZONES_MAX, is in the total only
    silent:       names of linked peers that did not answer in time, NAMES_MAX at most
    more_silent:  whether there are more of them
    awaited:      links whose answer is still to come
    torn:         names behind links that were lost while they counted; each may stand for many
    mended:       names that have lost a link and are counted: who is torn and mended is not torn
    """

    applied: int
    total: int
    missing: tuple[str, ...] = ()
    zones: tuple[ZoneCount, ...] = ()
    silent: tuple[str, ...] = ()
    more_silent: bool = False
    awaited: int = 0
    torn: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be left out."""
        return not (self.awaited or self.silent or self.torn)

    def to_wire(self) -> list[Any]:
        """The array inside a message."""
        return [getattr(self, name) for name in _FIELDS]

    @classmethod
    def from_wire(cls, value: Any) -> Tally:
        """Check and read."""
        values = as_array(value, "a tally")
        if len(values) < len(_READERS):
            raise FormatError(f"a tally has at least {len(_READERS)} fields")
        tally = cls(*(read(one) for read, one in zip(_READERS, values, strict=False)))
        if tally.applied > tally.total or len(tally.missing) > tally.total - tally.applied:
            raise FormatError("more have applied or are missing than there are")
        return tally

    @classmethod
    def alone(cls, name: str, zone: str, *, applied: bool) -> Tally:
        """The tally of one node."""
        return cls(int(applied), 1, () if applied else (name,), ((zone, int(applied), 1),) if zone else ())

    @classmethod
    def together(cls, tallies: Iterable[Tally], salt: bytes) -> Tally:
        """The tally of all of them. ``salt`` draws the sample: the same one for all parts of an answer."""
        parts = tuple(tallies)
        total = min(sum(part.total for part in parts), COUNT_MAX)
        applied = min(sum(part.applied for part in parts), total)
        mended = _sample((name for part in parts for name in part.mended), salt, TORN_MAX)
        torn = dict.fromkeys(name for part in parts for name in part.torn)
        silent = dict.fromkeys(name for part in parts for name in part.silent)
        missing = _sample((name for part in parts for name in part.missing), salt)
        return cls(
            applied,
            total,
            missing[: total - applied],  # a liar's numbers can leave less room than there are names
            _zones_together(parts),
            _sample(silent, salt),
            any(part.more_silent for part in parts) or len(silent) > NAMES_MAX,
            min(sum(part.awaited for part in parts), COUNT_MAX),
            _sample((name for name in torn if name not in mended), salt, TORN_MAX),
            mended,
        )


_FIELDS: Final = tuple(one.name for one in dataclasses.fields(Tally))
_READERS: Final[tuple[fields.Reader, ...]] = (
    fields.integer(COUNT_MAX),
    fields.integer(COUNT_MAX),
    _NAMES,
    fields.many(_zone_count, ZONES_MAX),
    _NAMES,
    fields.flag,
    fields.integer(COUNT_MAX),
    _TORN,
    _TORN,
)


def _sample(names: Iterable[str], salt: bytes, most: int = NAMES_MAX) -> tuple[str, ...]:
    """The names, each once and in order; of too many those whose hashes are the smallest."""
    distinct = dict.fromkeys(names)
    if len(distinct) <= most:
        return tuple(sorted(distinct))
    return tuple(sorted(sorted(distinct, key=lambda name: _rank(name, salt))[:most]))


def _rank(name: str, salt: bytes) -> bytes:
    return blake2b(name.encode(), digest_size=8, key=salt).digest()


def _zones_together(parts: tuple[Tally, ...]) -> tuple[ZoneCount, ...]:
    counts: dict[str, tuple[int, int]] = {}
    for part in parts:
        for zone, applied, total in part.zones:
            before = counts.get(zone, (0, 0))
            counts[zone] = (before[0] + applied, before[1] + total)
    return tuple(
        (zone, min(counts[zone][0], COUNT_MAX), min(counts[zone][1], COUNT_MAX)) for zone in sorted(counts)[:ZONES_MAX]
    )
