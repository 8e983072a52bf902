"""Broadcast: a new change reaches every node, near the physical limit and in hardly more than one copy each.

    across zones   pushed over few links, learned for each link and zone of origin (`eagerness`);
                   of what is not pushed one in ANNOUNCED_OF is announced, to learn from
    inside a zone  pushed over links learned for each writer (`streams`); the first of a writer
                   over the first links, as many deep as bring few duplicates, then announced,
                   and pulled at once by who lacks it

Forwarding is immediate, never on a tick. A change that was valid and new is forwarded
before it is on this node's disk; one of which nothing lives any more is not forwarded,
because its successors are. What cannot be pulled is left to sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from ..model.change import Change
from ..model.errors import InvalidInput, ProtocolViolation, Rejected, UnknownPolicy
from ..model.limits import CHANGE_BYTES_MAX
from ..store.journal_ops import PutMeta
from .complaints import Complaint
from .eagerness import LEARNED, SAVED_LEARNED, SAVED_PEERS_MAX, Eagerness, encode_learned, wants_pushes_at_first
from .environment import Environment, LinkId
from .events import ChangeRejected
from .fields import DIGESTS_MAX
from .link import Link
from .messages import (
    AGE_MS_MAX,
    GRAFT_ZONES_MAX,
    HOPS_MAX,
    Announce,
    Graft,
    Prune,
    Pull,
    Push,
    Recap,
    WantPolicies,
    digest_of,
)
from .news import Latest, News
from .outbox import Outbox
from .overlay import Overlay
from .replica import Replica
from .streams import Streams, StreamTag, stream_of
from .zone import ZoneTag

FLOODED_SHARE: Final = 0.65
"""How much of a zone a push may cover before announcements take over: the last third is mostly duplicates."""
ANNOUNCED_OF: Final = 8
"""Of so many changes that are not pushed over a far link one is announced: by it the peer learns how early this link
would have been. With fewer the learning starves, with more it costs bytes."""
ANNOUNCED_AT_ONCE_OF: Final = 16
"""Of so many, one is announced at once: the nodes of a zone prune each for itself, and where all have pruned what comes
from somewhere, one of them hears of it so."""
NEIGHBOURS_LEAST: Final = 3
"""Known nodes of a zone from which on that is done; alone nobody prunes the last that pushes."""
FAR_PATIENCE_S: Final = 0.02
"""How long a change that a far peer has announced may still come by push before it is pulled."""
FAR_PATIENCE_DELAYS: Final = 0.1
"""And longer by so much of the link's one-way delay."""
RETRY_RTTS: Final = 1.15
"""Round trips after which a pull without an answer is sent to the next who has it,"""
RETRY_S: Final = 0.003
"""and what is added for that peer's own work."""
RETRY_SLACK_S: Final = 0.06
"""How much longer than its shortest round trip a peer is waited for at most: where packets are lost the usual round
trip is the wait for them, and another peer is faster."""
LATE_GAIN: Final = 0.05
"""Weight of the newest change in the share of those that came late: about the last forty count."""
LATE_SHARE: Final = 0.2
"""Share of late ones, pulled in vain or not pushed by whom they should be, above which a zone is flooded: with three
of ten packets lost, or peers silent, a push over all links comes ten times sooner than an announcement, a question and
an answer over one."""
FLOOD_S: Final = 20.0
"""How long then, before pulling is tried again."""
DOUBTS_MAX: Final = 4
"""Unanswered pulls that are held against a peer; others are asked before it, and one answer clears it."""
PULLS_MAX: Final = 12
"""Pulls of one change; then it is left to sync."""
LATE_ANNOUNCED_S: Final = 0.05
"""How long a peer that gets it from elsewhere is given before it is told of a change: longer than a zone takes. Who of
two is told first need not tell; so each waits for a random time, up to twice this."""
LATE_TOLD: Final = 3
"""How many such peers at most, at random: who has lost the one that pushed hears of it from another with 98% if there
are seven, and else by sync; telling all would be most of the messages."""
NEIGHBOUR_RTTS: Final = 1.3
"""A copy from a near peer so many round trips after one from afar, or fewer, was sent before that peer could know."""
NEAR_ENOUGH: Final = 2
"""Near links with which a node can do without pushes from afar: what its neighbours get they announce."""
COLLECTING_KEPT: Final = 4
"""And so many pushing peers such a node keeps where changes are collected: who is first is chance there, and a copy
more in a message that is sent anyway costs bytes only."""
RECAP_S: Final = 2.0
"""How late the announcements are that far peers only learn from: they cost bytes, and together hardly any."""
PRUNE_S: Final = 0.2
"""How long prunes are collected: a few copies more, and one message for many zones."""
RECAP_MARGIN_S: Final = 0.001
"""By how much at least a far peer must have been earlier to be asked for pushes: ties move nobody."""
SAVE_S: Final = 30.0
"""Delay before what was learned is written: links are judged in bursts, and an old judgement is better than none."""
CATCH_UP_S: Final = 3.0
"""What came so lately is announced on a new link: what was under way when the links before it broke."""
UNDER_WAY_MAX: Final = 3
"""Changes that a new peer knows and this node lacks, up to which they were probably under way when a link broke."""
MEETING_S: Final = 1.0
"""How long a link is new, and how long the first sync with its peer is given for what is more than that."""
SLOW_S: Final = 5.0
"""How long a peer whose queue was full gets announcements only."""
RTT_UNKNOWN_S: Final = 0.3
"""Taken for the round trip of a link that is not measured yet: longer than nearly all."""
WAITING_MAX: Final = 64
"""Changes held while the policy that they name is fetched; sync brings back what does not fit."""
WAITING_BYTES_MAX: Final = 2 * CHANGE_BYTES_MAX
"""Their bytes: nobody can verify them yet, so a peer could fill the memory with whatever it likes."""
MESSAGES: Final = (Push, Announce, Recap, Pull, Graft, Prune)
"""What broadcast takes."""

Handled: TypeAlias = Push | Announce | Recap | Pull | Graft | Prune


class Broadcast:
    """Spreads changes while they are news."""

    def __init__(
        self,
        environment: Environment,
        replica: Replica,
        overlay: Overlay,
        *,
        give_up: Callable[[Link], None],
        write_meta: Callable[[PutMeta], None],
        learned: Mapping[str, Eagerness],
    ) -> None:
        self.duplicates = 0
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._give_up = give_up
        self._write_meta = write_meta
        self._learned = dict(learned)
        self._save_planned = False
        self._latest = Latest()
        self._outbox = Outbox(environment, overlay)
        self._far: dict[LinkId, Eagerness] = {}
        self._streams = Streams()
        self._outcomes = LEARNED if learned else 0
        self._late_share = 0.0
        self._flood_until_s = float("-inf")
        self._slow_until_s: dict[LinkId, float] = {}
        self._waiting: dict[bytes, tuple[Link, Push]] = {}
        self._asked: dict[LinkId, None] = {}
        self._prunes: dict[LinkId, tuple[Link, dict[ZoneTag, None]]] = {}
        self._recaps: dict[LinkId, tuple[Link, list[News]]] = {}

    # -- inputs -----------------------------------------------------------------------------------

    def spread(self, change: Change) -> None:
        """Send out a change that was published here."""
        data = change.encode()
        news = self._latest.add(digest_of(data), self._now_s)
        news.arrived(self._now_s, None, data, hops=1, zone=self._overlay.zone)
        news.stream = stream_of(change.writer_id)
        self._streams.begin(news.stream, self._now_s)
        self._latest.hold(news)
        self._forward(news, None, 0)

    def synced(self, data: bytes) -> None:
        """A change came by sync: copies of it are no news."""
        news = self._latest.add(digest_of(data), self._now_s)
        if not news.here:
            news.arrived(self._now_s, None, None, hops=0, zone=None)

    def handle(self, link: Link, message: Handled) -> None:
        """Take one of MESSAGES. Raises ProtocolViolation for one that no honest peer sends."""
        match message:
            case Push():
                self._pushed(link, message)
            case Announce():
                self._announced(link, message.digests)
            case Recap():
                self._recapped(link, message)
            case Pull():
                self._answer(link, message.digests)
            case Graft() | Prune():
                self._heed(link, message.zones, eager=isinstance(message, Graft))

    def _heed(self, link: Link, numbers: Sequence[StreamTag | ZoneTag], *, eager: bool) -> None:
        """A peer wants pushes, or none. It may have found out before this node, or after it, whether it is far."""
        if link.is_far:
            self._eagerness(link).asked(numbers, eager=eager)
            return
        zones = [number for number in numbers if not self._streams.asked(number, link.id, pushed=eager)]
        if zones or not numbers:
            self._eagerness(link).asked(zones, eager=eager)

    def link_up(self, link: Link) -> None:
        """A new peer: tell it what is under way, and if it is far what to push."""
        if link.is_far:
            self._ask_at_first(link)
        since_s = self._now_s - CATCH_UP_S
        digests = tuple(self._latest.held_since(since_s, DIGESTS_MAX))
        if digests:
            self._overlay.send(link, Announce(digests))

    def link_placed(self, link: Link) -> None:
        """A peer has turned out to be far."""
        self._adopt(self._streams.forget(link.id))
        self._ask_at_first(link)

    def link_down(self, link: Link) -> None:
        """What waited for this peer's policy is dropped; sync brings it back."""
        lost = self._far.pop(link.id, None)
        if lost is not None:
            self._replace(link, lost)
            self._remember(link.node_id, lost)
        self._adopt(self._streams.forget(link.id))
        self._slow_until_s.pop(link.id, None)
        self._outbox.link_down(link)
        self._recaps.pop(link.id, None)
        self._asked.pop(link.id, None)
        for digest, (source, _) in list(self._waiting.items()):
            if source is link:
                del self._waiting[digest]
                self._latest.forget(digest)

    def dropped(self, link: Link) -> None:
        """A message found this link's queue full: for a while the peer pulls what it can take."""
        self._slow_until_s[link.id] = self._now_s + SLOW_S

    def policy_arrived(self) -> None:
        """Try what was waiting for a policy again."""
        waiting, self._waiting = self._waiting, {}
        self._asked.clear()
        for digest, (link, push) in waiting.items():
            self._take(link, push, self._latest.add(digest, self._now_s))

    # -- pushes -----------------------------------------------------------------------------------

    @property
    def _now_s(self) -> float:
        return self._environment.now.monotonic_s

    def _pushed(self, link: Link, push: Push) -> None:
        news = self._latest.add(push.digest, self._now_s)
        if news.here:
            self.duplicates += 1
            self._learn_from_duplicate(link, news)
            news.known_to(link.id)
            return
        self._take(link, push, news)

    def _take(self, link: Link, push: Push, news: News) -> None:
        change = None
        try:
            change = self._replica.decode(push.change)
            if not change.is_whole:
                raise ProtocolViolation("a part of a change was pushed; parts belong to sync")
            outcome = self._replica.receive(change, link.node_id, push.change)
        except UnknownPolicy:
            self._wait(link, push, news)
            return
        except (InvalidInput, Rejected) as error:
            news.refused = True
            self._environment.emit(ChangeRejected(link.node_id, str(error)))
            if change is None or not self._replica.is_disputed(change):
                self._overlay.fault(link, str(error))
            return
        hops = min(push.hops + 1, HOPS_MAX)
        news.known_to(link.id)
        news.arrived(self._now_s, link, push.change if outcome.is_news else None, hops=hops, zone=push.zone)
        self._latest.hold(news)
        news.stream = stream_of(change.writer_id)
        self._streams.begin(news.stream, self._now_s)
        expected = self._streams.has_parent(news.stream)
        self._streams.came(news.stream, link.id, news.known)
        pulled = push.zone_hops == HOPS_MAX
        link.doubts = 0
        if pulled and news.pulls == 1 and news.asked_last is link:
            link.measured(self._now_s - news.pulled_s)
            self._came(late=expected)
        elif not news.pulls and not link.is_far:
            self._came(late=False)
        self._learn_from_first(link, news, pulled=pulled)
        if outcome.is_news:
            self._forward(news, link, 0 if link.is_far else min(push.zone_hops + 1, HOPS_MAX))

    def _wait(self, link: Link, push: Push, news: News) -> None:
        held_bytes = sum(len(waiting.change) for _, waiting in self._waiting.values())
        if len(self._waiting) < WAITING_MAX and held_bytes + len(push.change) <= WAITING_BYTES_MAX:
            self._waiting[push.digest] = (link, push)
            news.here = True
        if link.id not in self._asked:
            self._asked[link.id] = None
            self._overlay.send(link, WantPolicies(self._replica.policy_version))

    def _forward(self, news: News, source: Link | None, zone_hops: int) -> None:
        """Push or announce to every peer that is not known to have it."""
        assert news.change is not None
        zone = news.zone or 0
        own_zone = self._overlay.zone
        links = self._overlay.ready_links()
        depth = self._depth(links) if zone == own_zone else 1
        flooding = self._now_s < self._flood_until_s
        known = news.known
        near: list[Link] = []
        far: list[Link] = []
        told: list[Link] = []
        told_late: list[Link] = []
        for link in links:
            if link.id in known or link is source:
                continue
            if not link.is_far:
                learned = self._streams.pushes(news.stream, link.id) if zone == own_zone else None
                if self._is_slow(link):
                    told.append(link)
                elif flooding or learned or (learned is None and zone_hops < depth):
                    near.append(link)
                else:
                    (told if learned is None else told_late).append(link)
                if learned is None:  # who pulls it is pushed to later
                    self._streams.set(news.stream, link.id, pushed=bool(near) and near[-1] is link)
            elif not zone or link.zone != zone:
                if self._eagerness(link).pushes(zone):
                    (told if self._is_slow(link) else far).append(link)
                elif (lot := (news.digest[0] + link.id) % ANNOUNCED_AT_ONCE_OF) == 0 and self._has_neighbours(link):
                    told.append(link)
                elif lot % ANNOUNCED_OF == ANNOUNCED_OF // 2:
                    self._recap_later(link, news)
        if near:
            self._push(near, Push(news.hops, zone, zone_hops, news.change))
        if far:
            self._push(far, Push(news.hops, zone, 0, news.change))
        if told:
            self._outbox.send(told, Announce((news.digest,)))
        if told_late:
            wait_s = LATE_ANNOUNCED_S * (1 + self._environment.rng.random())
            self._environment.call_later(wait_s, lambda: self._announce_late(told_late, news))

    def _announce_late(self, links: Iterable[Link], news: News) -> None:
        """Tell those near peers of a change who get it from elsewhere, but seem not to have got it."""
        silent = [link for link in links if link.ready and link.id not in news.known]
        if silent and news.change is not None:
            told = self._environment.rng.sample(silent, min(LATE_TOLD, len(silent)))
            self._outbox.send(told, Announce((news.digest,)))

    def _has_neighbours(self, link: Link) -> bool:
        """Whether a far peer has others near it, so that together they hear at once of what nobody pushed to any."""
        return self._overlay.book.count_in(link.zone) >= NEIGHBOURS_LEAST

    def _recap_later(self, link: Link, news: News) -> None:
        """Have a change announced to a far peer, with others, so that it learns how early this link would have been."""
        if not self._recaps:
            self._environment.call_later(RECAP_S, self._recap)
        self._recaps.setdefault(link.id, (link, []))[1].append(news)

    def _recap(self) -> None:
        recaps, self._recaps = self._recaps, {}
        for link, told in recaps.values():
            late = told[:DIGESTS_MAX]
            ages_ms = tuple(min(AGE_MS_MAX, int((self._now_s - news.arrived_s) * 1000)) for news in late)
            self._outbox.send([link], Recap(tuple(news.digest for news in late), ages_ms))

    def _recapped(self, link: Link, recap: Recap) -> None:
        """Learn how early a far peer had what it has not pushed, and pull what has not come at all."""
        missing: list[News] = []
        for digest, age_ms in zip(recap.digests, recap.ages_ms, strict=False):
            news = self._latest.add(digest, self._now_s)
            news.known_to(link.id)
            if not news.here:
                if not news.refused and not news.pulling:
                    news.announced_by(link)
                    news.pulling = True
                    missing.append(news)
            elif link.is_far and news.zone is not None:
                self._score(link, news.zone, won=self._now_s - age_ms / 1000 + RECAP_MARGIN_S < news.arrived_s)
        if missing:
            self._pull(link, missing)

    def _push(self, links: list[Link], push: Push) -> None:
        self._outbox.send(links, push)
        self._overlay.pushed(links)

    def _is_slow(self, link: Link) -> bool:
        return bool(self._slow_until_s) and self._slow_until_s.get(link.id, 0.0) > self._now_s

    def _depth(self, links: Iterable[Link]) -> int:
        """How many links deep a flood of this node's own zone may go: as far as it brings few duplicates."""
        degree = sum(not link.is_far for link in links)
        share = FLOODED_SHARE * self._overlay.zone_nodes
        depth, reached, shell = 1, degree, degree
        while shell and depth < HOPS_MAX and (reached := reached + (shell := shell * (degree - 1))) <= share:
            depth += 1
        return depth

    # -- announcements and pulls ------------------------------------------------------------------

    def _announced(self, link: Link, digests: Sequence[bytes]) -> None:
        patient = link.is_far or self._met_again(link, digests)
        wanted: list[News] = []
        late: list[News] = []
        for digest in digests:
            news = self._latest.add(digest, self._now_s)
            news.known_to(link.id)
            if news.here:
                if link.is_far and news.zone is not None and news.arrived_s > link.opened_s:
                    self._score(link, news.zone, won=False)
            elif not news.refused:
                news.announced_by(link)
                asked = news.asked_last
                if not patient and (not news.pulling or (asked and asked.doubts > link.doubts)):
                    news.pulling = True  # though it may be named once more
                    wanted.append(news)
                elif patient and not news.pulling and not news.patient:
                    news.patient = True
                    late.append(news)
        if wanted:
            self._pull(link, wanted)
        if late:
            self._pull_later(link, late)

    def _met_again(self, link: Link, digests: Sequence[bytes]) -> bool:
        """Whether a new peer knows so much that is not here that the two must have been apart: then it comes by sync,
        and would come twice."""
        if self._now_s - link.opened_s > MEETING_S or len(digests) <= UNDER_WAY_MAX:
            return False
        told = (self._latest.get(digest) for digest in digests)
        return sum(news is None or not news.here for news in told) > UNDER_WAY_MAX

    def _pull_later(self, link: Link, late: list[News]) -> None:
        """Give pushes, or the first sync of a link, the time to come first."""
        one_way_s = (link.rtt_s or RTT_UNKNOWN_S) / 2
        wait_s = FAR_PATIENCE_S + FAR_PATIENCE_DELAYS * one_way_s
        if len(late) > UNDER_WAY_MAX and self._now_s - link.opened_s <= MEETING_S:
            wait_s = MEETING_S
        self._environment.call_later(wait_s, lambda: self._pull_next([news for news in late if not news.pulling]))

    def _pull_next(self, wanted: list[News]) -> None:
        """Ask the next peers that have announced them for those that have not come: each peer at once for all that is
        its turn, for one that announces what does not exist must not get a message for each."""
        turns: dict[LinkId, tuple[Link, list[News]]] = {}
        for news in wanted:
            if news.here or news.refused:
                continue
            if news.asked_last is not None:
                news.asked_last.doubts = min(DOUBTS_MAX, news.asked_last.doubts + 1)
                self._overlay.complaints.note(news.asked_last.node_id, Complaint.UNANSWERED)
                self._came(late=True)
            link = news.next_announcer()
            if link is not None and news.pulls < PULLS_MAX:
                turns.setdefault(link.id, (link, []))[1].append(news)
                continue
            news.pulling = news.patient = False
            if link is not None:
                self._give_up(link)
        for link, missing in turns.values():
            self._pull(link, missing)

    def _came(self, *, late: bool) -> None:
        """Where much comes late, because packets are lost or peers withhold, more is pushed for a while."""
        self._late_share += LATE_GAIN * (late - self._late_share)
        if self._late_share > LATE_SHARE and not self._overlay.health:
            self._late_share = LATE_SHARE / 2
            self._flood_until_s = self._now_s + FLOOD_S

    def _pull(self, link: Link, wanted: list[News]) -> None:
        for news in wanted:
            news.pulling = True
            news.pulls += 1
            news.pulled_s = self._now_s
            news.asked(link)
        self._overlay.send(link, Pull(tuple(news.digest for news in wanted)))
        self._overlay.pushed((link,))
        self._environment.call_later(_patience_s(link), lambda: self._pull_next(wanted))

    def _answer(self, link: Link, digests: Iterable[bytes]) -> None:
        """Push what a peer asks for, as far as it is still held."""
        for digest in dict.fromkeys(digests):  # whoever names one twice gets it once
            news = self._latest.get(digest)
            if news is None or news.change is None:
                continue
            zone = news.zone or 0
            if link.is_far:
                self._eagerness(link).asked((zone,), eager=True)
            else:
                self._streams.set(news.stream, link.id, pushed=True)
            news.known_to(link.id)
            self._overlay.send(link, Push(news.hops, zone, HOPS_MAX, news.change))

    # -- learning ---------------------------------------------------------------------------------

    def _eagerness(self, link: Link) -> Eagerness:
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
        eagerness = self._eagerness(link)
        if eagerness.eager_in:
            self._overlay.send(link, Graft(()))
        otherwise = eagerness.asked_otherwise()
        if otherwise:
            self._overlay.send(link, Prune(otherwise) if eagerness.eager_in else Graft(otherwise))

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

    def _learn_from_first(self, link: Link, news: News, *, pulled: bool) -> None:
        zone = news.zone or 0
        if link.is_far:
            if pulled:
                self._eagerness(link).asked_for(zone, eager=True)
            else:
                self._score(link, zone, won=True)
        elif link.id in self._prunes:
            self._prunes[link.id][1].pop(news.stream, None)
        for announcer in news.announcers:
            if announcer.is_far and announcer is not link and announcer.ready:
                self._score(announcer, zone, won=True)
        news.announcers.clear()
        news.unasked = 0

    def _learn_from_duplicate(self, link: Link, news: News) -> None:
        if news.zone is None:
            return
        if link.is_far:
            self._score(link, news.zone, won=False)
            return
        first = news.source
        if first is not link and news.zone == self._overlay.zone:  # else it was asked twice
            self._ask_no_more(link, news.stream)
        if (
            first is not None
            and first.is_far
            and first.ready
            and not news.discredited
            and link.node_id < self._overlay.identity.node_id
            and self._now_s - news.arrived_s <= NEIGHBOUR_RTTS * (link.rtt_least_s or 0.001)
        ):
            # Of two neighbours that get a change at once from afar the one with the larger name can do without:
            # if both thought so, or neither, the zone would starve, or get everything twice.
            news.discredited = True
            self._ask(first, news.zone, self._eagerness(first).discredit(news.zone))

    def _score(self, link: Link, zone: ZoneTag, *, won: bool) -> None:
        self._outcomes += 1
        self._ask(link, zone, self._eagerness(link).score(zone, won=won))

    def _ask(self, link: Link, zone: ZoneTag, eager: bool | None) -> None:
        if eager is None or (not eager and self._relies_on(link, zone)):
            return
        self._eagerness(link).asked_for(zone, eager=eager)
        self._plan_save()
        if eager:
            self._overlay.send(link, Graft((zone,)))
            return
        self._ask_no_more(link, zone)

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
            self._overlay.send(near[link_id], Graft(tuple(streams)))

    def _ask_no_more(self, link: Link, what: ZoneTag | StreamTag) -> None:
        if not self._prunes:
            self._environment.call_later(PRUNE_S, self._prune)
        self._prunes.setdefault(link.id, (link, {}))[1][what] = None

    def _prune(self) -> None:
        """Ask for announcements only, where that is still meant."""
        prunes, self._prunes = self._prunes, {}
        for link, asked in prunes.values():
            meant = tuple(asked)[:GRAFT_ZONES_MAX]
            if link.is_far and link.ready:
                meant = tuple(zone for zone in asked if not self._eagerness(link).is_asked_for(zone))
            if meant:
                self._overlay.send(link, Prune(meant))

    def _relies_on(self, link: Link, zone: ZoneTag) -> bool:
        """Whether nobody but this peer pushes what comes from ``zone``, and hardly anybody near would bring it."""
        links = self._overlay.ready_links()
        if sum(not one.is_far for one in links) >= NEAR_ENOUGH:
            return False
        pushing = sum(one is not link and one.is_far and self._eagerness(one).is_asked_for(zone) for one in links)
        return pushing < (COLLECTING_KEPT if self._environment.tuning.batching_s else 1)

    def _replace(self, link: Link, lost: Eagerness) -> None:
        """A far link is lost: where this node relied on it, the next best is to push."""
        others = [one for one in self._overlay.ready_links() if one.is_far and one is not link]
        zones = dict.fromkeys(zone for one in others for zone in self._eagerness(one).scores)
        for zone in zones | dict.fromkeys(lost.scores) if others else ():
            if self._relies_on(link, zone):
                best = max(others, key=lambda one: (self._eagerness(one).wins(zone), -one.id))
                self._ask(best, zone, True)


def _patience_s(link: Link) -> float:
    """How long the answer to a pull is waited for: RFC 6298's timeout, but hardly longer than without a queue."""
    if link.rtt_s is None or link.rtt_least_s is None:
        return RTT_UNKNOWN_S
    usual_s = RETRY_RTTS * (link.rtt_s + 4 * link.rtt_dev_s) + RETRY_S
    return min(usual_s, RETRY_RTTS * link.rtt_least_s + RETRY_SLACK_S)
