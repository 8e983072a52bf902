"""A host: where a node runs. Its disk, its links, its clock, and what its readers have seen.

Knows no network and no time; the world moves it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gossipconf.model.entry import Slot
from gossipconf.model.version import Version
from gossipconf.protocol.environment import Persist
from gossipconf.protocol.events import Event
from gossipconf.protocol.node import Node
from gossipconf.store.journal_ops import DropChange, JournalOp, PutChange, PutMeta

from ..network.wire import Lane, Side, Wire
from .adversary import Adversary

GROUP_OPS_MAX: Final = 2_000
"""Rows in one transaction, as in the shipped writer."""


@dataclass(slots=True)
class Disk:
    """What of a node survives a crash: kept changes, named state, and history as version id -> encoded change.

    full:      writes fail
    slowness:  factor on the duration of a write
    waiting:   writes that wait for the one under way; they share the next one
    """

    changes: dict[bytes, bytes] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)
    retired: dict[bytes, bytes] = field(default_factory=dict)
    full: bool = False
    slowness: float = 1.0
    busy: bool = False
    waiting: list[Persist] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)

    def write(self, ops: Iterable[JournalOp], form: Callable[[bytes], bytes] = bytes) -> None:
        """Carry out a transaction; ``form`` gives the shared copy of a byte string."""
        for op in ops:
            if isinstance(op, PutChange):
                self.changes[op.change_id] = form(op.data)
            elif isinstance(op, DropChange):
                self.changes.pop(op.change_id, None)
            elif isinstance(op, PutMeta):
                self.meta[op.name] = form(op.value)
            else:
                self.retired.setdefault(op.version_id, form(op.data))

    def take_group(self) -> list[Persist]:
        """The writes that go into the next transaction: as many as the shipped writer takes, and at least one."""
        group: list[Persist] = []
        rows = 0
        while self.waiting and (not group or rows + len(self.waiting[0].ops) <= GROUP_OPS_MAX):
            persist = self.waiting.pop(0)
            rows += len(persist.ops)
            group.append(persist)
        return group

    def lose_power(self) -> None:
        """Forget what was under way."""
        self.busy = False
        self.waiting, self.committed = [], []


@dataclass(slots=True)
class Host:
    """One machine with one agent.

    seeds:       addresses that its node dials as they are
    seed_names:  names that its node has resolved; see `World.names`
    boot:        starts so far
    returned:    of each slot the newest versions that readers were given since the disk was new
    reads:       what readers see now
    events:      (virtual s, event) of everything that the node has told, if the world keeps them
    violations:  (invariant, words) of what went wrong the moment it did
    paused:      inputs that wait while the process is stopped; None while it runs
    unreachable:    whether the machine is gone, so that nothing answers
    read_bytes_s:   how fast it reads from each link, in bytes a second; None: as fast as it comes
    uplink:         lanes that wait for it, in turn
    uplink_free_s:  when it has sent what it sends now
    tokens:         connections that it would admit at ``tokens_s``
    refused_dials:  those that found no token
    admitted_s:     when connections were admitted, in order; None: nobody wants to know
    orphans:        wires whose other ends have not learned that this one is gone
    """

    name: str
    index: int
    address: str
    seeds: tuple[str, ...]
    seed_names: tuple[str, ...] = ()
    zone: str = ""
    disk: Disk = field(default_factory=Disk)
    node: Node | None = None
    boot: int = 0
    started_s: float = 0.0
    wiped_s: float = 0.0
    links: dict[int, Wire] = field(default_factory=dict)
    reads: dict[Slot, tuple[Version, ...]] = field(default_factory=dict)
    returned: dict[Slot, tuple[Version, ...]] = field(default_factory=dict)
    events: list[tuple[float, Event]] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)
    adversary: Adversary | None = None
    skew_ms: int = 0
    unreachable: bool = False
    paused: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
    processor_free_s: float = 0.0
    read_bytes_s: float | None = None
    uplink: deque[tuple[Wire, Side, Lane]] = field(default_factory=deque)
    uplink_free_s: float = 0.0
    is_uplink_busy: bool = False
    tokens: float = 0.0
    tokens_s: float = 0.0
    refused_dials: int = 0
    admitted_s: array[float] | None = None
    orphans: list[Wire] = field(default_factory=list)
    timer_at_s: float | None = None
    root: bytes = b""
    revision: int = -1

    @property
    def honest(self) -> bool:
        """Whether what this host does counts: an adversary's own reads are its own affair."""
        return self.adversary is None

    @property
    def running(self) -> Node:
        """The node. Raises AssertionError for a host that is down: that is the caller's mistake."""
        assert self.node is not None, f"{self.name} does not run"
        return self.node
