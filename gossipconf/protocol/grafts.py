"""Grafts: who pushes what to whom, as nodes ask of each other by `Graft` and `Prune`.

Over far links it is learned from each change that comes, first or once more, and for each
zone of origin (`eagerness`); over near ones for each writer (`streams`). Where a link is
lost that this node relied on, another peer is asked in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..store.journal_ops import PutMeta
from .eagerness import LEARNED, SAVED_LEARNED, SAVED_PEERS_MAX, Eagerness, encode_learned, wants_pushes_at_first
from .environment import Environment, LinkId
from .link import Link
from .messages import GRAFT_ZONES_MAX, Graft, Prune
from .news import News
from .overlay import Overlay
from .streams import Streams, StreamTag
from .zone import ZoneTag

NEIGHBOUR_RTTS: Final = 1.3
"""A copy from a near peer so many round trips after one from afar, or fewer, was sent before that peer could know."""
NEAR_ENOUGH: Final = 2
"""Near links with which a node can do without pushes from afar: what its neighbours get they announce."""
COLLECTING_KEPT: Final = 4
"""And so many pushing peers such a node keeps where changes are collected: who is first is chance there, and a copy
more in a message that is sent anyway costs bytes only."""
CREDIT_MAX: Final = 20
"""How often the word of a near peer counts against a far link, at most, before it brings something new again itself:
whoever only claims to have everything first must not cut a zone off."""
PRUNE_S: Final = 0.2
"""How long prunes are collected: a few copies more, and one message for many zones."""
SAVE_S: Final = 30.0
"""Delay before what was learned is written: links are judged in bursts, and an old judgement is better than none."""


class Grafts:
    """What this node has asked of its peers, and they of it. ``learned``: of each peer, before a restart."""

    def __init__(
        self,
        environment: Environment,
        overlay: Overlay,
        streams: Streams,
        *,
        write_meta: Callable[[PutMeta], None],
        learned: Mapping[str, Eagerness],
    ) -> None:
        self._environment = environment
        self._overlay = overlay
        self._streams = streams
        self._write_meta = write_meta
        self._learned = dict(learned)
        self._outcomes = LEARNED if learned else 0
        self._far: dict[LinkId, Eagerness] = {}
        self._credits: dict[LinkId, int] = {}
        self._prunes: dict[LinkId, tuple[Link, dict[ZoneTag | StreamTag, None]]] = {}
        self._save_planned = False

    def pushes(self, link: Link, zone: ZoneTag) -> bool:
        """Whether a far peer wants what comes from ``zone`` pushed."""
        return self._of(link).pushes(zone)

    # -- inputs -----------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """A new peer: if it is far, ask it for what it is to push."""
        if link.is_far:
            self._ask_at_first(link)

    def link_placed(self, link: Link) -> None:
        """A peer has turned out to be far."""
        self._adopt(self._streams.forget(link.id))
        self._ask_at_first(link)

    def link_down(self, link: Link) -> None:
        """A peer is gone: others are asked for what it pushed."""
        self._credits.pop(link.id, None)
        lost = self._far.pop(link.id, None)
        if lost is not None:
            self._replace(link, lost)
            self._remember(link.node_id, lost)
        self._adopt(self._streams.forget(link.id))

    def heed(self, link: Link, numbers: Sequence[StreamTag | ZoneTag], *, eager: bool) -> None:
        """A peer wants pushes, or none. It may have found out before this node, or after it, whether it is far."""
        if link.is_far:
            self._of(link).asked(numbers, eager=eager)
            return
        zones = [number for number in numbers if not self._streams.asked(number, link.id, pushed=eager)]
        if zones or not numbers:
            self._of(link).asked(zones, eager=eager)

    def pulled_by(self, link: Link, news: News) -> None:
        """A peer has pulled a change: what is like it is pushed to it from then on."""
        if link.is_far:
            self._of(link).asked((news.zone or 0,), eager=True)
        else:
            self._streams.set(news.stream, link.id, pushed=True)

    def came_first(self, link: Link, news: News, *, pulled: bool) -> None:
        """A change has come for the first time; far peers that had announced it would have brought it sooner."""
        zone = news.zone or 0
        if link.is_far:
            if pulled:
                self._of(link).asked_for(zone, eager=True)
            else:
                # A near peer that had it before has it by another way into this zone.
                news.discredited = any(not one.is_far and self._believes(one) for one in news.announcers)
                self.score(link, zone, won=not news.discredited)
        else:
            self._credits[link.id] = min(CREDIT_MAX, self._credits.get(link.id, 0) + 1)
            if link.id in self._prunes:
                self._prunes[link.id][1].pop(news.stream, None)
        for announcer in news.announcers:
            if announcer.is_far and announcer is not link and announcer.ready:
                self.score(announcer, zone, won=True)
        news.announcers.clear()
        news.unasked = 0

    def came_again(self, link: Link, news: News) -> None:
        """A change that is here has come once more: one copy too many."""
        if news.zone is None:
            return
        if link.is_far:
            self.score(link, news.zone, won=False)
            return
        if news.source is not link and news.zone == self._overlay.zone:  # else it was asked twice
            self._decline(link, news.stream)
        # Of two neighbours that get a change at once from afar the one with the larger name can do without: if both
        # thought so, or neither, the zone would starve, or get everything twice.
        if link.node_id < self._overlay.identity.node_id and self._has_it_elsewhere(link, news):
            self._discredit(news)

    def had_too(self, link: Link, news: News) -> None:
        """A near peer tells of a change that has come here. If it came from afar, and the peer cannot have it from
        here, there is another way into this zone, and an earlier one: where two ways have one peer between them, that
        peer is pushed to over the earlier one and tells the later, and never the other way round."""
        if self._has_it_elsewhere(link, news) and self._believes(link):
            self._discredit(news)

    def score(self, link: Link, zone: ZoneTag, *, won: bool) -> None:
        """Note whether a far link would have brought a change from ``zone`` first, and ask for what follows."""
        self._outcomes += 1
        self._ask(link, zone, self._of(link).score(zone, won=won))

    # -- other ways into this zone ----------------------------------------------------------------

    def _has_it_elsewhere(self, link: Link, news: News) -> bool:
        """Whether a near peer that has what has come here from afar has it by another way into this zone, and nobody
        has shown so before."""
        first = news.source
        return (
            first is not None
            and first.is_far
            and first.ready
            and news.zone is not None
            and not news.discredited
            and self._environment.now.monotonic_s - news.arrived_s <= NEIGHBOUR_RTTS * (link.rtt_least_s or 0.001)
        )

    def _believes(self, link: Link) -> bool:
        """Whether a near peer's word counts: it must have brought something for each time that it does."""
        credit = self._credits.get(link.id, 0)
        if credit:
            self._credits[link.id] = credit - 1
        return credit > 0

    def _discredit(self, news: News) -> None:
        """The link over which a change has come could have been done without."""
        assert news.source is not None
        news.discredited = True
        zone = news.zone or 0
        self._ask(news.source, zone, self._of(news.source).discredit(zone))

    # -- asking -----------------------------------------------------------------------------------

    def _of(self, link: Link) -> Eagerness:
        """What is learned of a far link, from when it is first needed."""
        known = self._far.get(link.id)
        if known is None:
            known = self._learned.get(link.node_id)
            if known is None:
                known = Eagerness(wants_pushes_at_first(self._outcomes, len(self._far), self._environment.rng))
            self._far[link.id] = known.afresh()
            return self._far[link.id]
        return known

    def _ask_at_first(self, link: Link) -> None:
        """Ask a new far peer to push everything, if that is wanted, or what was learned of it before. It may have asked
        long ago itself."""
        eagerness = self._of(link)
        if eagerness.eager_in:
            self._overlay.send(link, Graft(()))
        otherwise = eagerness.asked_otherwise()
        if otherwise:
            self._overlay.send(link, Prune(otherwise) if eagerness.eager_in else Graft(otherwise))

    def _ask(self, link: Link, zone: ZoneTag, eager: bool | None) -> None:
        if eager is None or (not eager and self._relies_on(link, zone)):
            return
        self._of(link).asked_for(zone, eager=eager)
        self._plan_save()
        if eager:
            self._overlay.send(link, Graft((zone,)))
            return
        self._decline(link, zone)

    def _decline(self, link: Link, what: ZoneTag | StreamTag) -> None:
        if not self._prunes:
            self._environment.call_later(PRUNE_S, self._prune)
        self._prunes.setdefault(link.id, (link, {}))[1][what] = None

    def _prune(self) -> None:
        """Ask for announcements only, where that is still meant."""
        prunes, self._prunes = self._prunes, {}
        for link, asked in prunes.values():
            meant = tuple(asked)[:GRAFT_ZONES_MAX]
            if link.is_far and link.ready:
                meant = tuple(zone for zone in asked if not self._of(link).is_asked_for(zone))
            if meant:
                self._overlay.send(link, Prune(meant))

    def _relies_on(self, link: Link, zone: ZoneTag) -> bool:
        """Whether nobody but this peer pushes what comes from ``zone``, and hardly anybody near would bring it."""
        links = self._overlay.ready_links()
        if sum(not one.is_far for one in links) >= NEAR_ENOUGH:
            return False
        pushing = sum(one is not link and one.is_far and self._of(one).is_asked_for(zone) for one in links)
        return pushing < (COLLECTING_KEPT if self._environment.tuning.batching_s else 1)

    def _replace(self, link: Link, lost: Eagerness) -> None:
        """A far link is lost: where this node relied on it, the next best is to push."""
        others = [one for one in self._overlay.ready_links() if one.is_far and one is not link]
        zones = dict.fromkeys(zone for one in others for zone in self._of(one).scores)
        for zone in zones | dict.fromkeys(lost.scores) if others else ():
            if self._relies_on(link, zone):
                best = max(others, key=lambda one: (self._of(one).wins(zone), -one.id))
                self._ask(best, zone, True)

    def _adopt(self, orphaned: list[StreamTag]) -> None:
        """Ask near peers that are not pushed to for what came over a link that is lost."""
        if self._overlay.is_stopping:
            return
        near = {link.id: link for link in self._overlay.ready_links() if not link.is_far}
        asked: dict[LinkId, list[StreamTag]] = {}
        for stream in orphaned:
            oldest = next(iter(self._streams.substitutes(stream, tuple(near))), None)
            if oldest is not None:
                asked.setdefault(oldest, []).append(stream)
        for link_id, streams in asked.items():
            for first in range(0, len(streams), GRAFT_ZONES_MAX):
                self._overlay.send(near[link_id], Graft(tuple(streams[first : first + GRAFT_ZONES_MAX])))

    # -- over a restart ---------------------------------------------------------------------------

    def _remember(self, name: str, eagerness: Eagerness) -> None:
        """Keep what was learned of a peer, for when it comes back."""
        self._learned.pop(name, None)
        if len(self._learned) >= SAVED_PEERS_MAX:
            del self._learned[next(iter(self._learned))]
        self._learned[name] = eagerness

    def _plan_save(self) -> None:
        if not self._save_planned:
            self._save_planned = True
            self._environment.call_later(self._environment.jittered(SAVE_S), self._save)

    def _save(self) -> None:
        self._save_planned = False
        for link in self._overlay.ready_links():
            if link.id in self._far:
                self._remember(link.node_id, self._far[link.id])
        self._write_meta(PutMeta(SAVED_LEARNED, encode_learned(self._learned)))
