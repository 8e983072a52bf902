"""The resolver: what this agent reads of a key among all that lives there, and why.

Puts together what `store.resolution` needs: labels, the clock, votes, and of values that fail a
schema the last good one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..model.version import Version, versions_of
from ..store.resolution import Resolution, is_timeless, resolve
from ..trust.sealed import Opened, Place, open_with

if TYPE_CHECKING:
    from .agent import Agent


class Resolver:
    """Resolves for one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def read(self, key: str) -> Version | None:
        """The version that is read of ``key`` now. Raises Fenced or NotAMember."""
        versions = self._agent.reads.versions(key)
        if len(versions) == 1:  # nearly always, and 100,000 of them at a start
            [version] = versions
            entry = version.entry
            if not entry.variant and is_timeless(version) and not self._is_held_off(version):
                return version if entry.value is not None else None
        return self._resolve(versions).version

    def resolution(self, key: str) -> Resolution:
        """The same with what became of every candidate. Raises Fenced or NotAMember."""
        return self._resolve(self._agent.reads.versions(key))

    def open(self, version: Version) -> Opened:
        """What is in a sealed value. Raises SealError."""
        entry = version.entry
        place = Place(version.header.cluster, entry.key, entry.variant)
        return open_with(entry.value or b"", place, self._agent.content_key(version))

    def unfit_keys(self) -> list[str]:
        """The keys of which something is held back for a schema."""
        return sorted({unfit.slot[0] for unfit in self._agent.last_good.unfit.values()})

    def _resolve(self, versions: Sequence[Version]) -> Resolution:
        agent = self._agent
        candidates = (*versions, *self._last_good(versions))
        return resolve(
            candidates, agent.reader, agent.now().wall_ms, agent.node.halts.halted, agent.last_good.unfit.keys()
        )

    def _is_held_off(self, version: Version) -> bool:
        return version.change_id in self._agent.node.halts.halted or version.id in self._agent.last_good.unfit

    def _last_good(self, versions: Sequence[Version]) -> Iterator[Version]:
        """What is read in place of slots of which all versions fail a schema; the winner's, of several."""
        unfit = self._agent.last_good.unfit
        done = {version.slot for version in versions if version.id not in unfit}
        for version in versions:
            if version.slot in done:
                continue
            good = self._good(unfit[version.id].data)
            if good is not None:
                done.add(version.slot)
                yield good

    def _good(self, data: bytes | None) -> Version | None:
        replica = self._agent.node.replica
        if data is None or not replica.may_return(data):  # it may have become void meanwhile
            return None
        return versions_of(replica.decode(data))[0]
