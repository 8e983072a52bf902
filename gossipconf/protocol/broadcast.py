"""Broadcast: a new change reaches every node, near the physical limit and in hardly more than one copy each.

    across zones   pushed over few links, learned for each link and zone of origin (`eagerness`);
                   of what is not pushed one in ANNOUNCED_OF is announced, to learn from
    inside a zone  pushed over links learned for each writer (`streams`); the first of a writer
                   over the first links, as many deep as bring few duplicates, then announced,
                   and pulled at once by who lacks it

Forwarding is immediate, never on a tick. A change that was valid and new is forwarded
before it is on this node's disk; one of which nothing lives any more is not forwarded,
because its successors are. What is announced is fetched by `pulls`, and who pushes to whom is
what `grafts` knows; here is what goes out, and what becomes of what is pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from ..model.change import Change
from ..model.errors import InvalidInput, ProtocolViolation, Rejected, UnknownPolicy
from ..model.limits import CHANGE_BYTES_MAX
from ..store.journal_ops import PutMeta
from .eagerness import Eagerness
from .environment import Environment, LinkId
from .events import ChangeRejected
from .fields import DIGESTS_MAX
from .grafts import Grafts
from .link import Link
from .messages import AGE_MS_MAX, HOPS_MAX, Announce, Graft, Prune, Pull, Push, Recap, WantPolicies, digest_of
from .news import Latest, News
from .outbox import Outbox
from .overlay import Overlay
from .pulls import Pulls
from .replica import Replica
from .streams import Streams, stream_of

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
LATE_ANNOUNCED_S: Final = 0.05
"""How long a peer that gets it from elsewhere is given before it is told of a change: longer than a zone takes. Who of
two is told first need not tell; so each waits for a random time, up to twice this."""
LATE_TOLD: Final = 3
"""How many such peers at most, at random: who has lost the one that pushed hears of it from another with 98% if there
are seven, and else by sync; telling all would be most of the messages."""
RECAP_S: Final = 2.0
"""How late the announcements are that far peers only learn from: they cost bytes, and together hardly any."""
CATCH_UP_S: Final = 3.0
"""What came so lately is announced on a new link: what was under way when the links before it broke."""
SLOW_S: Final = 5.0
"""How long a peer whose queue was full gets announcements only."""
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
        self._latest = Latest()
        self._outbox = Outbox(environment, overlay)
        self._streams = Streams()
        self._grafts = Grafts(environment, overlay, self._streams, write_meta=write_meta, learned=learned)
        self._pulls = Pulls(environment, overlay, self._latest, self._grafts, give_up=give_up)
        self._slow_until_s: dict[LinkId, float] = {}
        self._waiting: dict[bytes, tuple[Link, Push]] = {}
        self._asked: dict[LinkId, None] = {}
        self._recaps: dict[LinkId, tuple[Link, list[News]]] = {}

    # -- inputs -----------------------------------------------------------------------------------

    def spread(self, change: Change) -> None:
        """Send out a change that was published here."""
        data = change.encode()
        news = self._latest.add(digest_of(data), self._now_s)
        news.arrived(self._now_s, None, data, hops=1, zone=self._overlay.zone)
        news.stream = stream_of(change.writer_id)
        self._streams.begin(news.stream, self._now_s)
        self._latest.come(news, self._now_s)
        self._forward(news, None, 0)

    def synced(self, data: bytes) -> None:
        """A change came by sync: copies of it are no news."""
        news = self._latest.add(digest_of(data), self._now_s)
        if not news.here:
            news.arrived(self._now_s, None, None, hops=0, zone=None)
            self._latest.come(news, self._now_s)

    def handle(self, link: Link, message: Handled) -> None:
        """Take one of MESSAGES. Raises ProtocolViolation for one that no honest peer sends."""
        match message:
            case Push():
                self._pushed(link, message)
            case Announce():
                self._pulls.announced(link, message.digests)
            case Recap():
                self._pulls.recapped(link, message)
            case Pull():
                self._answer(link, message.digests)
            case Graft() | Prune():
                self._grafts.heed(link, message.zones, eager=isinstance(message, Graft))

    def link_up(self, link: Link) -> None:
        """A new peer: tell it what is under way, and if it is far what to push."""
        self._grafts.link_up(link)
        since_s = self._now_s - CATCH_UP_S
        digests = tuple(self._latest.held_since(since_s, DIGESTS_MAX))
        if digests:
            self._overlay.send(link, Announce(digests))

    def link_placed(self, link: Link) -> None:
        """A peer has turned out to be far."""
        self._grafts.link_placed(link)

    def link_down(self, link: Link) -> None:
        """What waited for this peer's policy is dropped; sync brings it back."""
        self._grafts.link_down(link)
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
            self._grafts.came_again(link, news)
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
            if change is None or not self._replica.excuses(change, error):
                self._overlay.fault(link, str(error))
            return
        hops = min(push.hops + 1, HOPS_MAX)
        news.known_to(link.id)
        news.arrived(self._now_s, link, push.change if outcome.is_news else None, hops=hops, zone=push.zone)
        self._latest.come(news, self._now_s)
        news.stream = stream_of(change.writer_id)
        if not outcome.is_news:  # superseded, or sent once more after it was forgotten: that teaches nothing
            return
        self._streams.begin(news.stream, self._now_s)
        expected = push.zone == self._overlay.zone and self._streams.has_parent(news.stream)
        self._streams.came(news.stream, link.id, [one for one in news.known if self._overlay.link(one)])
        pulled = push.zone_hops == HOPS_MAX
        self._pulls.came(link, news, pulled=pulled, expected=expected)
        self._grafts.came_first(link, news, pulled=pulled)
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
        flooding = self._pulls.are_late
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
                if self._grafts.pushes(link, zone):
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

    def _answer(self, link: Link, digests: Iterable[bytes]) -> None:
        """Push what a peer asks for, as far as it is still held."""
        for digest in dict.fromkeys(digests):  # whoever names one twice gets it once
            news = self._latest.get(digest)
            if news is None or news.change is None or not news.is_to_answer(link.id, self._now_s):
                continue
            self._grafts.pulled_by(link, news)
            news.known_to(link.id)
            self._overlay.send(link, Push(news.hops, news.zone or 0, HOPS_MAX, news.change))

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
