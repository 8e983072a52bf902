"""A rollout: a bad canary is published at a pace, and whoever reads it calls it unhealthy after a while.

Everything that decides is the shipped code: who reads it and from when on (`store.resolution`,
by each host's own clock), what a vote is and who holds it off (`protocol.halts`). Made up
is only the application: it notices what is wrong some time after it has read it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from gossipconf.model.entry import BASIS_POINTS, MatchKind, MatchTerm, put
from gossipconf.model.errors import Rejected
from gossipconf.model.version import Version
from gossipconf.protocol.events import Event, Halted, Said
from gossipconf.store.resolution import Reader, moments, resolve
from gossipconf.trust.statement import Kind

from ..scenario.admins import ADMIN
from ..scenario.scenario import Canary
from ..world.host import Host
from ..world.stage import Stage
from .result import Rollout, Spread

KEY: Final = "canary/limit"
VARIANT: Final = "canary"
AFTER_S: Final = 1.0
"""From the value for all to the canary: it is everywhere by then."""


class BadCanary:
    """Plays a bad canary on a stage, and takes the figures."""

    def __init__(self, options: Canary, stage: Stage) -> None:
        self._options = options
        self._world = stage.world
        self._rng = stage.world.random("canary")
        self._change_id = b""
        self._published_s = 0.0
        self._applied_s: dict[str, float] = {}
        self._voted_s: list[float] = []
        self._halted_s: dict[str, float] = {}
        self._event_before, self._visible_before = self._world.on_event, self._world.on_visible
        self._world.on_event, self._world.on_visible = self._event, self._visible
        stage.at(0.0, self._publish_for_all)
        stage.at(options.for_s, lambda: None)  # so long it is watched

    def figures(self) -> Rollout:
        """What was measured."""
        limit, hosts = self._options.halt_after, len(self._world.honest())
        reached_s = self._voted_s[limit - 1] if len(self._voted_s) >= limit else None
        by_then = [at_s for at_s in self._applied_s.values() if reached_s is None or at_s <= reached_s]
        halts = [1000 * (at_s - reached_s) for at_s in self._halted_s.values() if reached_s is not None]
        return Rollout(
            share_intended=self._options.percent / 100,
            applied_at_limit=len(by_then) / hosts,
            applied=len(self._applied_s) / hosts,
            votes=len(self._voted_s),
            limit_s=None if reached_s is None else reached_s - self._published_s,
            halted=sum(self._change_id in host.running.halts.halted for host in self._world.honest()) / hosts,
            halt_ms=Spread.of(halts),
        )

    # -- the admin --------------------------------------------------------------------------------

    def _publish_for_all(self) -> None:
        self._world.publish(self._world.honest()[0].name, ADMIN, [put(KEY, b"good")])
        self._world.schedule.later(AFTER_S, self._publish_canary)

    def _publish_canary(self) -> None:
        options = self._options
        share = MatchTerm(MatchKind.PERCENT, f"salt {self._world.seed}", round(options.percent * BASIS_POINTS / 100))
        terms = [share, MatchTerm(MatchKind.HALT, "", options.halt_after)]
        if options.over_s:
            terms.append(MatchTerm(MatchKind.PACE, "", round(1000 * options.over_s)))
        self._published_s = self._world.now_s
        origin = self._world.honest()[0].name
        _, change = self._world.publish(origin, ADMIN, [put(KEY, b"bad", variant=VARIANT, match=terms, rank=1)])
        self._change_id = change.id

    # -- applications -----------------------------------------------------------------------------

    def _visible(self, host: Host, change_id: bytes) -> None:
        """Readers at a host can see the canary: it is looked at now, and when its share has grown to this host."""
        if change_id == self._change_id and host.honest:
            self._world.schedule.later(0.0, self._read, host)
            for version in host.reads.get((KEY, VARIANT), ()):
                for moment in moments(version, _reader(host)):
                    wait_ms = moment - self._clock_ms(host)
                    self._world.schedule.later(max(0.0, wait_ms / 1000), self._read, host)
        if self._visible_before is not None:
            self._visible_before(host, change_id)

    def _read(self, host: Host) -> None:
        if not self._reads_canary(host) or host.name in self._applied_s:
            return
        self._applied_s[host.name] = self._world.now_s
        low_s, high_s = self._options.notice_s
        self._world.schedule.later(low_s + (high_s - low_s) * self._rng.random(), self._complain, host)

    def _complain(self, host: Host) -> None:
        if self._reads_canary(host):
            with suppress(Rejected):  # it has been replaced
                self._world.declare(host.name, Kind.UNHEALTHY, self._change_id)

    def _reads_canary(self, host: Host) -> bool:
        if host.node is None or host.paused is not None:
            return False
        versions: list[Version] = [one for variant in ("", VARIANT) for one in host.reads.get((KEY, variant), ())]
        read = resolve(versions, _reader(host), self._clock_ms(host), host.node.halts.halted).version
        return read is not None and read.change_id == self._change_id

    def _clock_ms(self, host: Host) -> int:
        return self._world.clock_ms() + host.skew_ms

    def _event(self, host: Host, event: Event) -> None:
        if host.honest and isinstance(event, Said) and event.subject == self._change_id:
            self._voted_s.append(self._world.now_s)
        elif host.honest and isinstance(event, Halted) and event.change_id == self._change_id:
            self._halted_s.setdefault(host.name, self._world.now_s)
        if self._event_before is not None:
            self._event_before(host, event)


def _reader(host: Host) -> Reader:
    return Reader.of(host.name, host.zone, {})
