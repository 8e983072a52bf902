"""An agent's readers without its sockets and disk: what a follower looks at, moved by hand."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import trio

from gossipconf.embed.follower import Follower
from gossipconf.embed.overrides import Overrides
from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.model.version import Version
from gossipconf.protocol.environment import Now
from gossipconf.runtime.reads import ReadView
from gossipconf.store.resolution import Reader
from tests import strategies as gen

START_MS = 1_700_000_000_000


class Core:
    """Stands for `runtime.agent.Agent`; its wall clock is trio's, so that a MockClock moves both."""

    def __init__(self, *entries: Entry) -> None:
        self.reader = Reader.of("a", "", {})
        self.reads = ReadView({}, self.reader)
        self.halts = SimpleNamespace(halted=frozenset())
        self.node = SimpleNamespace(halts=self.halts)
        self.last_good = SimpleNamespace(unfit={})
        self._seq = itertools.count(1)
        if entries:
            self.show(*entries)

    def now(self) -> Now:
        return Now(0.0, self.wall_ms())

    def wall_ms(self) -> int:
        try:
            return START_MS + round(trio.current_time() * 1000)
        except RuntimeError:  # a test that needs no time
            return START_MS

    def show(self, *entries: Entry) -> list[Version]:
        """One change of ``entries`` is on the disk now, and replaces what was there."""
        versions = list(gen.signed(entries, "alice", seq=next(self._seq)).versions)
        self.reads.show([(one.slot, (one,) if one.entry.value is not None else ()) for one in versions])
        return versions


def followed(core: Any, overrides: Overrides | None = None) -> Follower:
    """A follower of ``core`` that has begun."""
    follower = Follower(core, overrides or Overrides())
    follower.begin()
    return follower


def text(key: str, value: str, **options: Any) -> Entry:
    return put(key, value.encode(), **options)


def json(key: str, value: str) -> Entry:
    return put(key, value.encode(), ValueType.JSON)
