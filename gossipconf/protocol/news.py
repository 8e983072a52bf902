"""News: the changes that spread just now, each with who has it and how it came here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .environment import LinkId
from .link import Link
from .streams import StreamTag
from .zone import ZoneTag

KEPT_S: Final = 20.0
"""How long a change is news: longer than any pull that may still come."""
KEPT_MAX: Final = 10_000
"""Changes remembered, so that a copy costs a hash and not a decoding: 20 s at 500 a second."""
AWAITED_MAX: Final = 5_000
"""Changes remembered that were announced and have not come. They have a table of their own: whoever announces what does
not exist drives nothing out that does."""
ANSWERED_AGAIN_S: Final = 1.0
"""How long after an answer the same pull of the same peer is not answered again: eight bytes must not bring a megabyte
a hundred times. Nothing is lost on a link; a peer whose queue was full asks again, and others."""
HELD_BYTES_MAX: Final = 16 << 20
"""Bytes of changes held for peers that pull, the newest first: two of the largest."""
ANNOUNCERS_MAX: Final = 8
"""Peers remembered as having announced a change that has not come."""


@dataclass(slots=True)
class News:
    """One change.

    here:         whether it has come, or is held until its policy does
    change:       its bytes, while they are held; None for one that is not spread any more
    hops:         links from its origin to the peers of this node
    stream:       tag of its writer, once it has come
    zone:         tag of the zone of its origin; None if it came by sync
    source:       the link over which it came first
    known:        links whose peers have it
    announcers:   links whose peers have announced it, before it came: those that were not asked, in the order in which
                  they have announced it, then the others, in the order in which they were asked last
    unasked:      how many of these were not asked
    asked_last:   the peer that was asked for it last
    pulls:        how often it was asked for
    pulled_s:     when it was last asked for
    pulling:      whether an answer is being waited for
    patient:      whether a far peer will be asked if no push comes
    refused:      it came, and was not valid here
    discredited:  a link has been discredited for it
    answered_s:   when the peers that pull it were answered
    """

    digest: bytes
    since_s: float
    here: bool = False
    change: bytes | None = None
    hops: int = 0
    stream: StreamTag = 0
    zone: ZoneTag | None = None
    source: Link | None = None
    arrived_s: float = 0.0
    known: list[LinkId] = field(default_factory=list)
    announcers: list[Link] = field(default_factory=list)
    unasked: int = 0
    pulls: int = 0
    asked_last: Link | None = None
    pulled_s: float = 0.0
    pulling: bool = False
    patient: bool = False
    refused: bool = False
    discredited: bool = False
    answered_s: dict[LinkId, float] | None = None

    def arrived(
        self, now_s: float, source: Link | None, change: bytes | None, *, hops: int, zone: ZoneTag | None
    ) -> None:
        """It is here."""
        self.here = True
        self.pulling = self.patient = False
        self.arrived_s, self.source = now_s, source
        self.change, self.hops, self.zone = change, hops, zone

    def known_to(self, link_id: LinkId) -> None:
        """The peer of this link has it."""
        if link_id not in self.known:
            self.known.append(link_id)

    def is_to_answer(self, link_id: LinkId, now_s: float) -> bool:
        """Whether a pull of this peer is to be answered now; if so it is noted as answered."""
        if self.answered_s is None:
            self.answered_s = {}
        if now_s - self.answered_s.get(link_id, float("-inf")) < ANSWERED_AGAIN_S:
            return False
        self.answered_s[link_id] = now_s
        return True

    def announced_by(self, link: Link) -> None:
        """The peer of this link has it, and can be asked."""
        if link not in self.announcers and len(self.announcers) < ANNOUNCERS_MAX:
            self.announcers.insert(self.unasked, link)
            self.unasked += 1

    def next_announcer(self) -> Link | None:
        """Whom to ask next: of those that were not asked near peers before far ones, then whoever was asked longest
        ago."""
        fresh = [link for link in self.announcers[: self.unasked] if link.ready]
        if fresh:
            return min(fresh, key=lambda link: (link.doubts, link.is_far))
        return next((link for link in self.announcers[self.unasked :] if link.ready), None)

    def asked(self, link: Link) -> None:
        """This peer was asked: the others come first now."""
        self.asked_last = link
        if link in self.announcers:
            position = self.announcers.index(link)
            self.unasked -= position < self.unasked
            self.announcers.append(self.announcers.pop(position))


class Latest:
    """The news of the last KEPT_S: at most KEPT_MAX that have come, and AWAITED_MAX that have not."""

    def __init__(self) -> None:
        self._come: OrderedDict[bytes, News] = OrderedDict()
        self._awaited: OrderedDict[bytes, News] = OrderedDict()
        self._held: OrderedDict[bytes, int] = OrderedDict()
        self._held_bytes = 0

    def get(self, digest: bytes) -> News | None:
        """The news with this digest, or None."""
        return self._come.get(digest) or self._awaited.get(digest)

    def add(self, digest: bytes, now_s: float) -> News:
        """The news with this digest, a new one if there is none."""
        news = self.get(digest)
        if news is None:
            _expire(self._awaited, now_s, AWAITED_MAX)
            news = self._awaited[digest] = News(digest, now_s)
        return news

    def come(self, news: News, now_s: float) -> None:
        """Remember one that has come; hold its bytes, and let those of the oldest go."""
        self._awaited.pop(news.digest, None)
        for digest in _expire(self._come, now_s, KEPT_MAX):
            self._held_bytes -= self._held.pop(digest, 0)
        if not self._held:
            self._held.clear()  # see `_expire`
        news.since_s = now_s
        self._come[news.digest] = news
        if news.change is None:
            return
        self._held[news.digest] = len(news.change)
        self._held_bytes += len(news.change)
        while self._held_bytes > HELD_BYTES_MAX and len(self._held) > 1:
            digest, size = self._held.popitem(last=False)
            self._held_bytes -= size
            self._come[digest].change = None

    def held_since(self, since_s: float, count: int) -> Iterator[bytes]:
        """The digests of up to ``count`` changes that came at ``since_s`` or later and are held, the newest first."""
        for digest in reversed(self._held):
            if count <= 0 or self._come[digest].arrived_s < since_s:
                return
            yield digest
            count -= 1

    def forget(self, digest: bytes) -> None:
        """As if it had never been announced."""
        self._awaited.pop(digest, None)

    def awaited(self) -> Iterator[News]:
        """Those that were announced and have not come."""
        return iter(self._awaited.values())


def _expire(table: OrderedDict[bytes, News], now_s: float, count_max: int) -> list[bytes]:
    """Make room for one more, by the oldest and what is no news any more; return the digests of these."""
    expired: list[bytes] = []
    while table:
        digest, oldest = next(iter(table.items()))
        if oldest.since_s + KEPT_S >= now_s and len(table) < count_max:
            return expired
        del table[digest]
        expired.append(digest)
    table.clear()  # a table that was emptied one by one keeps its size
    return expired
