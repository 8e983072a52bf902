"""Questions: after a publish somebody else asks who has applied it; how long and how many bytes that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipconf.model.errors import LimitExceeded
from gossipconf.protocol.events import AckProgress, Event
from gossipconf.protocol.frames import HEADER_BYTES
from gossipconf.protocol.messages import Ask, Cancel, Report
from gossipconf.protocol.subject import Subject

from ..network.wire import Wire
from ..world.host import Host
from ..world.stage import Stage
from .meter import Meter, Tracked
from .result import Acks, Spread

ASK_S: Final = 600.0
"""How long a question stands at most."""
KINDS: Final = frozenset((Ask.TYPE, Report.TYPE, Cancel.TYPE))


@dataclass(slots=True)
class Asked:
    """One question. ``answered_s``: after how long its asker knew that all have applied the change; None: never."""

    tracked: Tracked
    asker: Host
    number: int
    answered_s: float | None = None


class Questions:
    """Asks on a stage after every measured publish, and takes the figures.

    The last question stands until the end, where the checker of tallies looks at it.
    """

    def __init__(self, stage: Stage, meter: Meter) -> None:
        self._stage = stage
        self._world = stage.world
        self._rng = stage.world.random("questions")
        self._asked: dict[tuple[str, int], Asked] = {}
        self._latest: Asked | None = None
        self._link_bytes: dict[tuple[bytes, int], int] = {}
        self._event_before, self._arrival_before = self._world.on_event, self._world.on_arrival
        self._world.on_event, self._world.on_arrival = self._event, self._arrival
        meter.on_acknowledged = self._acknowledged

    def figures(self) -> Acks:
        """What was measured."""
        asked = list(self._asked.values())
        answered = [one for one in asked if one.answered_s is not None]
        hosts = len(self._world.hosts)
        return Acks(
            asked=len(asked),
            answered=len(answered),
            ack_ms=Spread.of(1000 * one.answered_s for one in answered if one.answered_s is not None),
            by_delivery=Spread.of(
                one.answered_s / one.tracked.last_delay_s
                for one in answered
                if one.answered_s is not None and one.tracked.last_delay_s
            ),
            bytes_per_node=sum(self._link_bytes.values()) / hosts / len(asked) if asked else None,
            link_bytes_max=max(self._link_bytes.values(), default=0),
        )

    def _acknowledged(self, tracked: Tracked) -> None:
        self._world.schedule.later(0.0, self._ask, tracked)  # not in the middle of another host's outputs

    def _ask(self, tracked: Tracked) -> None:
        hosts = [host for host in self._world.honest() if host.paused is None and host.index != tracked.origin]
        origin = list(self._world.hosts.values())[tracked.origin]
        if not hosts or origin.node is None:
            return
        asker = self._rng.choice(hosts)
        subject = Subject.of([tracked.change], origin.running.replica.live)
        try:
            number = self._world.ask(asker.name, subject, ASK_S)
        except LimitExceeded:
            return  # it asks as much as it may
        former, self._latest = self._latest, Asked(tracked, asker, number)
        self._asked[asker.name, number] = self._latest
        if former is not None and former.answered_s is not None:
            self._cancel(former)

    def _cancel(self, asked: Asked) -> None:
        if asked.asker.node is not None:
            self._world.cancel(asked.asker.name, asked.number)

    def _event(self, host: Host, event: Event) -> None:
        if isinstance(event, AckProgress):
            self._progress(host, event)
        if self._event_before is not None:
            self._event_before(host, event)

    def _progress(self, host: Host, told: AckProgress) -> None:
        asked = self._asked.get((host.name, told.question))
        if asked is None or asked.answered_s is not None:
            return
        if told.complete and told.applied == told.total == len(self._world.running()):
            assert asked.tracked.published_s is not None
            asked.answered_s = self._world.now_s - asked.tracked.published_s
            if asked is not self._latest:
                self._world.schedule.later(0.0, self._cancel, asked)

    def _arrival(self, host: Host, wire: Wire, data: bytes) -> None:
        if data[1] in KINDS:
            message = self._world.interning.message(data)
            assert isinstance(message, Ask | Report | Cancel)
            place = (message.question, wire.id)
            self._link_bytes[place] = self._link_bytes.get(place, 0) + HEADER_BYTES + len(data)
        if self._arrival_before is not None:
            self._arrival_before(host, wire, data)
