"""The follower: a snapshot after the other, each as soon as readers may see something else.

Resolution happens here, when something changes, and never when somebody reads. Of a strict
prefix that may not be read any more the cells are gone before anything else happens; all other
changes are taken over whole, as many at a time as have come. No override holds for a strict
prefix: old would be shown beside new.

Knows the agent's readers; and subscribers, whom it tells which keys give something else.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import trio

from ..model.errors import StrictRead
from ..model.key import is_system_key
from ..model.version import Version
from ..runtime.agent import Agent
from ..runtime.reads import Watcher
from ..runtime.resolver import Resolver
from ..trust.strict import strict_over
from .overrides import Overrides
from .snapshot import Cell, Snapshot, Source, overriding
from .value import Content

log = logging.getLogger("gossipconf")


class Subscriber(Protocol):
    """Who wants to know of new snapshots. It is forgotten when nobody else holds it."""

    def changed(self, keys: Sequence[str], unreadable: Sequence[str]) -> None:
        """The current snapshot has other values of ``keys``; those of ``unreadable`` may not be read any more."""

    def ended(self) -> None:
        """There will be no further snapshot."""


class Follower(Watcher):
    """Keeps `snapshot` up to date, from `begin` on."""

    def __init__(self, agent: Agent, overrides: Overrides) -> None:
        super().__init__("")
        self.snapshot = Snapshot(overrides=overrides)
        self.resolver = Resolver(agent)
        self._open = self._opened  # one for all cells
        self._agent = agent
        self._found: frozenset[bytes] = frozenset()
        self._subscribers: weakref.WeakKeyDictionary[Subscriber, None] = weakref.WeakKeyDictionary()
        self._has_ended = False
        self._told: dict[str, None] = {}

    def begin(self) -> None:
        """Take over what the agent has found on its disk. Call it before anything can come from peers."""
        reads = self._agent.reads
        reads.add(self)
        # Of a version that time or votes bring back later it shall be known too that it was here.
        keys = list(reads.keys())
        found = {version.id for version in reads.versions_of(keys)}
        found |= {version.id for key in reads.strict.readable_keys() for version in reads.versions(key)}
        found |= {unfit.good for unfit in self._agent.last_good.unfit.values() if unfit.good is not None}
        self._found = frozenset(found)
        self.snapshot = replace(self.snapshot, strict=self._strict())
        self._replace([*keys, *self.snapshot.overrides.file])

    async def run(self) -> None:
        """Take over changes as they come, for ever."""
        while True:
            self._replace(await self.take())
            await trio.lowlevel.checkpoint()

    def catch_up(self) -> None:
        """Take over what has come, at once."""
        self._replace(self.take_now())

    def end(self) -> None:
        """Tell subscribers that nothing follows; what there is can be read on."""
        self.catch_up()
        self._has_ended = True
        for subscriber in list(self._subscribers):
            subscriber.ended()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell ``subscriber`` of every change from now on."""
        self._subscribers[subscriber] = None
        if self._has_ended:
            subscriber.ended()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Tell it nothing more."""
        self._subscribers.pop(subscriber, None)

    def stored(self, key: str) -> Source | None:
        """Where the cluster's own value of ``key`` comes from, whatever overrides it; None if it has none.

        Raises Fenced or NotAMember.
        """
        version = self.resolver.read(key)
        return None if version is None else self._source(version)

    def epochs_changed(self) -> None:
        """Take over at once which strict prefixes may be read, and a policy's voids among what is held back."""
        before = self.snapshot.strict
        self.snapshot = replace(self.snapshot, strict=self._strict())
        touched = dict.fromkeys(self.resolver.unfit_keys())
        either = {**before, **self.snapshot.strict}
        if either:
            reads = self._agent.reads
            touched |= dict.fromkeys(key for key in self.snapshot.cells if strict_over(either, key))
            for prefix in either:
                touched |= dict.fromkeys([*reads.keys(prefix), *reads.ordinary_keys(prefix)])
        self._replace(touched)

    def _strict(self) -> dict[str, StrictRead | None]:
        strict = self._agent.reads.strict
        found: dict[str, StrictRead | None] = {}
        for prefix in strict.prefixes:
            try:
                strict.versions(prefix, prefix)
            except StrictRead as error:
                found[prefix] = error.with_traceback(None)
            else:
                found[prefix] = None
        return found

    def _replace(self, keys: Iterable[str]) -> None:
        """Make the snapshot in which ``keys`` give what they do now, and tell of those that gave something else."""
        cells, new = self.snapshot.cells, dict[str, Cell | None]()
        for key in keys:
            before, after = cells.find(key), self._cell(key)
            if before is not after and (after is None or not after.is_as(before)):
                new[key] = after
        if not new:
            return
        self.snapshot = snapshot = replace(self.snapshot, cells=cells.replaced(new))
        if not self._subscribers:
            return
        seen = [key for key, cell in new.items() if cell is not None or snapshot.may_read(key)]
        unreadable = [key for key, cell in new.items() if cell is None and not snapshot.may_read(key)]
        for subscriber in list(self._subscribers):
            subscriber.changed(seen, unreadable)

    def _cell(self, key: str) -> Cell | None:
        if is_system_key(key):
            return None
        override = overriding(self.snapshot.overrides, key)
        if override is not None:
            if strict_over(self.snapshot.strict, key) is None:
                return override
            self._tell_ignored(key, override)
        try:
            version = self.resolver.read(key)
        except StrictRead:
            return None
        return None if version is None else self._cell_of(version)

    def _cell_of(self, version: Version) -> Cell:
        return Cell(version.entry.key, self._source(version), version, self._open)

    def _opened(self, version: Version) -> Content:
        opened = self.resolver.open(version)
        return Content(opened.type, opened.value)

    def _source(self, version: Version) -> Source:
        return Source.JOURNAL if version.id in self._found else Source.GOSSIP

    def _tell_ignored(self, key: str, override: Cell) -> None:
        if key not in self._told:
            self._told[key] = None
            log.warning("%r is strict, and its override is ignored: %s", key, override.origin)
