"""The meter: who has got which change when, over how many links, and in how many copies.

Watches a world from outside: the events of its nodes and the messages that they are
given. Knows nothing of scenarios.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from gossipconf.model.change import Change
from gossipconf.model.version import versions_of
from gossipconf.protocol.events import Applied, Event, PeerUp, Published, PublishFailed
from gossipconf.protocol.messages import Batch, Bundle, Push

from ..network.wire import Wire
from ..world.host import Host
from ..world.world import World


@dataclass(slots=True)
class Tracked:
    """One change on its way.

    origin:       number of the publishing host
    published_s:  virtual time of the acknowledgement; None before it
    has:          of each host, whether it has had it
    delays_s:     of each delivery to a host that has been up since the publish, in order
    receivers:    the hosts of these
    hops:         of each delivery by push
    receivers_due: honest hosts that ran at the publish, the publisher left out
    visible_s:    after how long the latest reader came to see it, of hosts up since the publish; None: nobody else did
    copies:       that arrived at honest hosts other than the publisher
    duplicates:   of these, at hosts that had it already
    crossings:    of these, over links between zones
    """

    change: Change
    origin: int
    has: bytearray
    published_s: float | None = None
    delays_s: array[float] = field(default_factory=lambda: array("d"))
    receivers: array[int] = field(default_factory=lambda: array("l"))
    hops: array[int] = field(default_factory=lambda: array("l"))
    visible_s: float | None = None
    receivers_due: int = 0
    copies: int = 0
    duplicates: int = 0
    crossings: int = 0
    deliveries: int = 0

    @property
    def last_delay_s(self) -> float:
        """How long the last of the deliveries took."""
        return max(self.delays_s, default=0.0)


class Meter:
    """Counts for a world. Install it before anything is published.

    linked_s:  of each host by its number, when it had its first link since it was started last
    """

    def __init__(self, world: World) -> None:
        self.tracked: dict[bytes, Tracked] = {}
        self.linked_s: dict[int, float] = {}
        self.on_acknowledged: Callable[[Tracked], None] | None = None
        self._world = world
        self._payloads: dict[bytes, Tracked] = {}
        self._tokens: dict[int, Tracked] = {}
        world.on_event = self._event
        world.on_arrival = self._arrival
        world.on_visible = self._visible

    @property
    def open(self) -> int:
        """Publishes that are neither acknowledged nor refused, nor lost with their host."""
        submitted = self._world.submitted
        return sum(
            1
            for token in self._tokens
            if self._world.hosts[submitted[token][0]].node is not None
            and self._world.hosts[submitted[token][0]].boot == submitted[token][1]
        )

    def track(self, host: Host, change: Change, token: int) -> None:
        """Follow a change that has just been submitted under ``token``."""
        tracked = Tracked(change, host.index, bytearray(len(self._world.hosts)))
        self.tracked[change.id] = tracked
        self._payloads[change.encode()] = tracked
        if self._world.outcome(token) is None:
            self._tokens[token] = tracked

    def acknowledged(self) -> list[Tracked]:
        """The changes that were published, in order."""
        return [tracked for tracked in self.tracked.values() if tracked.published_s is not None]

    def due(self, tracked: Tracked) -> list[Host]:
        """Honest hosts that have been up since the publish, the publisher left out."""
        assert tracked.published_s is not None
        return [
            host
            for host in self._world.honest()
            if host.started_s <= tracked.published_s and host.index != tracked.origin
        ]

    def missing(self, tracked: Tracked) -> list[Host]:
        """Those of `due` that hold neither the change nor what supersedes it."""
        return [host for host in self.due(tracked) if not tracked.has[host.index] and not _supersedes(host, tracked)]

    # -- watching -----------------------------------------------------------------------------------

    def _event(self, host: Host, event: Event) -> None:
        if isinstance(event, Applied):
            tracked = self.tracked.get(event.change_id)
            if tracked is not None and not tracked.has[host.index]:
                self._deliver(host, tracked)
        elif isinstance(event, Published | PublishFailed):
            self._tokens.pop(event.token, None)
        elif isinstance(event, PeerUp) and self.linked_s.get(host.index, -1.0) < host.started_s:
            self.linked_s[host.index] = self._world.now_s

    def _deliver(self, host: Host, tracked: Tracked) -> None:
        tracked.has[host.index] = 1
        now_s = self._world.now_s
        if host.index == tracked.origin and tracked.published_s is None:
            tracked.published_s = now_s
            tracked.receivers_due = self._world.census()[0] - 1
            if self.on_acknowledged is not None:
                self.on_acknowledged(tracked)
            return
        if tracked.published_s is None or host.started_s > tracked.published_s or not host.honest:
            return
        tracked.deliveries += 1
        tracked.delays_s.append(now_s - tracked.published_s)
        tracked.receivers.append(host.index)
        if self._world.handling is not None:
            message = self._world.interning.message(self._world.handling)
            if isinstance(message, Push):
                tracked.hops.append(message.hops)

    def _arrival(self, host: Host, wire: Wire, data: bytes) -> None:
        kind = data[1]
        if host.adversary is not None:
            return
        if kind == Push.TYPE:
            message = self._world.interning.message(data)
            assert isinstance(message, Push)
            self._copy(host, message.change, wire)
        elif kind == Bundle.TYPE:
            bundle = self._world.interning.message(data)
            assert isinstance(bundle, Bundle)
            for one in bundle.messages:
                self._arrival(host, wire, one)
        elif kind == Batch.TYPE:
            batch = self._world.interning.message(data)
            assert isinstance(batch, Batch)
            for payload in batch.changes:
                self._copy(host, payload, wire)

    def _copy(self, host: Host, payload: bytes, wire: Wire) -> None:
        tracked = self._payloads.get(payload)
        if tracked is not None and tracked.published_s is not None and host.index != tracked.origin:
            tracked.copies += 1
            tracked.duplicates += tracked.has[host.index] and host.wiped_s <= tracked.published_s
            tracked.crossings += wire.crosses

    def _visible(self, host: Host, change_id: bytes) -> None:
        tracked = self.tracked.get(change_id) if host.honest else None
        if (
            tracked is not None
            and host.index != tracked.origin
            and tracked.published_s is not None
            and host.started_s <= tracked.published_s
        ):
            tracked.visible_s = self._world.now_s - tracked.published_s


def _supersedes(host: Host, tracked: Tracked) -> bool:
    live = host.running.replica.live
    return all(
        version.id in live.tree or any(one.supersedes(version) for one in live.slot(version.slot))
        for version in versions_of(tracked.change)
    )
