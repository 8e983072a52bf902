"""Keepalive: which links are silent, how long their round trips are, and how far to trust that judgement.

A link on which nothing was heard for a while (`Tuning.keepalive_s`) is pinged; one that stays silent for
three of these is closed. What is pushed over a quiet link asks too, and waits less for
the answer: so a crashed peer is missed within seconds while there is traffic.

Whoever looks at its links late, or gets answers late from peers that live, has cause to
doubt itself: local health scales what it waits (A. Dadgar, J. Phillips, J. Currey,
"Lifeguard: local health awareness for more accurate failure detection", 2018). Missing
peers alone are no cause: many may crash at once, and must be missed soon.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from .environment import Environment
from .link import Link
from .messages import Message, Ping
from .tuning import Tuning

HELLO_LIMIT_S: Final = 3.0
"""A link whose peer has not said hello by then is closed."""
QUIET_S: Final = 1.0
"""A link on which nothing is heard for so long after something was pushed over it is asked."""
URGENT_S: Final = 3.0
"""How long the answer to that is waited for: TCP's retransmissions of one lost packet fit in several times."""
ALONE_LEAST: Final = 3
"""Links of which most must be silent at once to say so: one or two may just be slow."""
SLOW_S: Final = 1.0
"""An answer that took longer than the longest way round the globe and a retransmission has waited in a queue, perhaps
this node's own."""
HEALTH_MAX: Final = 8
"""Worst local health: waits are up to nine times as long."""
LATE_S: Final = 1.0
"""A look that comes so much later than planned shows that this process, or its machine, was stopped."""


class Keepalive:
    """Pings, and the verdict on silent links.

    ``health``: 0 is well; each step up makes every wait longer by its base.
    """

    def __init__(self, environment: Environment, send: Callable[[Link, Message], None]) -> None:
        self.health = 0
        self._environment = environment
        self._send = send
        self._planned_s = float("inf")

    def ping(self, link: Link, *, urgent: bool = False) -> None:
        """Ask a peer whether it is there, unless it has been asked."""
        if link.ping_s is None:
            link.pings += 1
            link.ping_s = self._environment.now.monotonic_s
            self._send(link, Ping(link.pings))
        link.urgent |= urgent

    def pong(self, link: Link, token: int) -> bool:
        """Take an answer; whether it has told a round trip."""
        if link.ping_s is None or token != link.pings:
            return False
        took_s = self._environment.now.monotonic_s - link.ping_s
        link.measured(took_s)
        link.ping_s = None
        link.urgent = False
        link.pongs += 1
        self._judge_oneself(1 if took_s > SLOW_S else -1)
        return True

    def pushed(self, link: Link) -> bool:
        """Something was sent that gets no answer: a sign of life is awaited; whether none was before."""
        if link.awaited_s is not None:
            return False
        link.awaited_s = self._environment.now.monotonic_s
        return True

    def look(self, links: Collection[Link], close: Callable[[Link, str], None]) -> float:
        """Ping or close the links that are silent; return when one must be looked at again."""
        now_s = self._environment.now.monotonic_s
        if now_s > self._planned_s + LATE_S:
            self._judge_oneself(1)
            for link in links:  # what has come meanwhile is still to be read, and tells no round trip
                link.heard_s = max(link.heard_s, now_s - self._environment.tuning.keepalive_s)
                link.ping_s, link.urgent = None, False
        patience = 1 + self.health
        next_s = float("inf")
        alone = self._is_alone(links, now_s - URGENT_S * patience)
        for link in links:
            if link.closing:
                continue
            link.urgent |= alone and link.ping_s is not None
            reason = _verdict(link, now_s, patience, self._environment.tuning)
            if reason is not None:
                link.lost = link.ready
                close(link, reason)
                continue
            if link.awaited_s is not None and link.heard_s > link.awaited_s:
                link.awaited_s = None
            if link.awaited_s is not None and link.awaited_s + QUIET_S <= now_s:
                self.ping(link, urgent=True)
            elif link.ready and link.heard_s + self._environment.tuning.keepalive_s < now_s:
                self.ping(link)
            next_s = min(next_s, look_s(link, now_s, self._environment.tuning, patience))
        self._planned_s = next_s + self._environment.tuning.refill_s
        return next_s

    def _is_alone(self, links: Collection[Link], asked_before_s: float) -> bool:
        """Whether most peers have been asked before then and none has said anything since: they, or this node, are cut
        off, and there is nothing to be lost by looking for others at once."""
        ready = [link for link in links if link.ready]
        silent = sum(
            link.ping_s is not None and link.heard_s <= link.ping_s and link.ping_s < asked_before_s for link in ready
        )
        return len(ready) >= ALONE_LEAST and 2 * silent > len(ready)

    def _judge_oneself(self, step: int) -> None:
        self.health = min(HEALTH_MAX, max(0, self.health + step))


def _verdict(link: Link, now_s: float, patience: int, tuning: Tuning) -> str | None:
    """Why a link is to be closed, or None."""
    if link.hello is None:
        return f"no hello within {HELLO_LIMIT_S:g} s" if link.opened_s + HELLO_LIMIT_S < now_s else None
    if link.urgent and link.ping_s is not None and max(link.heard_s, link.ping_s) + URGENT_S * patience < now_s:
        return f"no answer within {URGENT_S * patience:g} s"
    silence_s = tuning.keepalive_s * (tuning.silences_max + patience - 1)
    return f"silent for {silence_s:g} s" if link.heard_s + silence_s < now_s else None


def look_s(link: Link, now_s: float, tuning: Tuning, patience: int = 1) -> float:
    """When an open link must be looked at: once it may have to be pinged, or closed if a ping stays unanswered."""
    if link.hello is None:
        return link.opened_s + HELLO_LIMIT_S
    closing_s = link.heard_s + tuning.keepalive_s * (tuning.silences_max + patience - 1)
    if link.awaited_s is not None and not link.urgent:
        return min(closing_s, link.awaited_s + QUIET_S)
    if link.ping_s is None:
        return link.heard_s + tuning.keepalive_s
    if link.urgent:
        return min(closing_s, max(link.heard_s, link.ping_s) + URGENT_S * patience)
    asked_s = max(link.heard_s, link.ping_s)
    return min(
        at_s for at_s in (asked_s + URGENT_S * patience, asked_s + tuning.keepalive_s, closing_s) if at_s >= now_s
    )
