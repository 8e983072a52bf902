"""Items: what an agent has at a key, as a session has verified it. Knows neither agents nor how things are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..model.entry import Operation
from ..model.version import Version
from .replies import Votes


@dataclass(frozen=True, slots=True)
class Item:
    """One key and its live versions: the default variant's first, within a variant the winner first.

    votes:  by change id, where nodes have called a change unhealthy
    """

    key: str
    versions: tuple[Version, ...]
    votes: Mapping[bytes, Votes] = field(default_factory=dict)
    unfit: Mapping[bytes, Unfit] = field(default_factory=dict)
    """By id the versions that fail a schema at the asked agent, as it says."""

    @property
    def halted(self) -> frozenset[bytes]:
        """The ids of the changes that votes hold off."""
        return frozenset(change_id for change_id, votes in self.votes.items() if votes.halted)

    @property
    def default(self) -> Version | None:
        """The winner of the default variant, if it is not a tombstone; whether anybody reads it: `Session.read`."""
        return self.holds("")

    def holds(self, variant: str) -> Version | None:
        """The winner of a variant's slot, if it is not a tombstone, whatever its time and its match."""
        version = next((version for version in self.versions if version.entry.variant == variant), None)
        return version if version is not None and version.entry.operation is Operation.PUT else None

    @property
    def last_good(self) -> Iterator[Version]:
        """What is read in place of slots of which all versions fail a schema. None of it lives."""
        fit = {version.slot for version in self.versions if version.id not in self.unfit}
        good = {
            unfit.good.slot: unfit.good
            for version in reversed(self.versions)
            if version.slot not in fit and (unfit := self.unfit[version.id]).good is not None
        }
        return iter(good.values())

    @property
    def is_conflict(self) -> bool:
        """Whether a slot of this key has siblings."""
        return len({version.slot for version in self.versions}) < len(self.versions)


@dataclass(frozen=True, slots=True)
class Unfit:
    """What is wrong with a version, and the last one that readers had in its place, if there was one."""

    problem: str
    good: Version | None


@dataclass(frozen=True, slots=True)
class Past:
    """A version of the history; `retired_ms` (since 1970): when this agent saw it replaced, None while it lives."""

    version: Version
    retired_ms: int | None
