"""Pulls: what peers have announced and nobody has pushed is asked of them, one after the other.

A near peer is asked at once, a far one if no push comes in time, and the next one as soon
as a pull is late. Where many are late, pushes over all links are better for a while. What
cannot be pulled is given up, and comes by sync.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from .complaints import Complaint
from .environment import Environment, LinkId
from .grafts import Grafts
from .link import Link
from .messages import Pull, Recap
from .news import Latest, News
from .overlay import Overlay

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
PATIENCE_FAR_S_MAX: Final = 1.0
"""The longest wait for a far peer, RTT_UNKNOWN_S for a near one: whoever is late with its pongs is not waited for."""
DOUBTS_MAX: Final = 4
"""Unanswered pulls that are held against a peer; others are asked before it, and one answer clears it."""
DOUBTS_COUNTED: Final = 3
"""And those that count as late: one peer that never answers is not yet LATE_SHARE."""
PULLS_MAX: Final = 12
"""Pulls of one change; then it is left to sync."""
UNDER_WAY_MAX: Final = 3
"""Changes that a new peer knows and this node lacks, up to which they were probably under way when a link broke."""
MEETING_S: Final = 1.0
"""How long a link is new, and how long the first sync with its peer is given for what is more than that."""
RTT_UNKNOWN_S: Final = 0.3
"""Taken for the round trip of a link that is not measured yet: longer than nearly all."""
RECAP_MARGIN_S: Final = 0.001
"""By how much at least a far peer must have been earlier to be asked for pushes: ties move nobody."""


class Pulls:
    """Asks for what was announced. ``give_up`` is told of a peer that has announced what nobody sends."""

    def __init__(
        self,
        environment: Environment,
        overlay: Overlay,
        latest: Latest,
        grafts: Grafts,
        *,
        give_up: Callable[[Link], None],
    ) -> None:
        self._environment = environment
        self._overlay = overlay
        self._latest = latest
        self._grafts = grafts
        self._give_up = give_up
        self._late_share = 0.0
        self._flood_until_s = float("-inf")

    @property
    def are_late(self) -> bool:
        """Whether so many come late that pushes over all links are better now."""
        return self._now_s < self._flood_until_s

    # -- inputs -----------------------------------------------------------------------------------

    def announced(self, link: Link, digests: Sequence[bytes]) -> None:
        """A peer has these: pull what has not come, from a far one after a while."""
        patient = link.is_far or self._met_again(link, digests)
        wanted: list[News] = []
        late: list[News] = []
        for digest in digests:
            news = self._latest.add(digest, self._now_s)
            news.known_to(link.id)
            if news.here:
                if not link.is_far:
                    self._grafts.had_too(link, news)
                elif news.zone is not None and news.arrived_s > link.opened_s:
                    self._grafts.score(link, news.zone, won=False)
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

    def recapped(self, link: Link, recap: Recap) -> None:
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
                self._grafts.score(link, news.zone, won=self._now_s - age_ms / 1000 + RECAP_MARGIN_S < news.arrived_s)
        if missing:
            self._pull(link, missing)

    def came(self, link: Link, news: News, *, pulled: bool, expected: bool) -> None:
        """A change has come for the first time: because it was ``pulled``, or by a push; ``expected``: a push was."""
        link.doubts = 0
        if pulled and news.pulls == 1 and news.asked_last is link:
            link.measured(self._now_s - news.pulled_s)
            self._count(late=expected)
        elif not news.pulls and not link.is_far:
            self._count(late=False)

    # -- asking -----------------------------------------------------------------------------------

    @property
    def _now_s(self) -> float:
        return self._environment.now.monotonic_s

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
                if news.asked_last.doubts < DOUBTS_COUNTED:
                    self._count(late=True)
                news.asked_last.doubts = min(DOUBTS_MAX, news.asked_last.doubts + 1)
                self._overlay.complaints.note(news.asked_last.node_id, Complaint.UNANSWERED)
            link = news.next_announcer()
            if link is not None and news.pulls < PULLS_MAX:
                turns.setdefault(link.id, (link, []))[1].append(news)
                continue
            news.pulling = news.patient = False
            if link is not None:
                self._give_up(link)
        for link, missing in turns.values():
            self._pull(link, missing)

    def _pull(self, link: Link, wanted: list[News]) -> None:
        for news in wanted:
            news.pulling = True
            news.pulls += 1
            news.pulled_s = self._now_s
            news.asked(link)
        self._overlay.send(link, Pull(tuple(news.digest for news in wanted)))
        self._overlay.pushed((link,))
        self._environment.call_later(_patience_s(link), lambda: self._pull_next(wanted))

    def _count(self, *, late: bool) -> None:
        """Where much comes late, because packets are lost or peers withhold, more is pushed for a while."""
        self._late_share += LATE_GAIN * (late - self._late_share)
        if self._late_share > LATE_SHARE and not self._overlay.health:
            self._late_share = LATE_SHARE / 2
            self._flood_until_s = self._now_s + FLOOD_S


def _patience_s(link: Link) -> float:
    """How long the answer to a pull is waited for: RFC 6298's timeout, but hardly longer than without a queue."""
    if link.rtt_s is None or link.rtt_least_s is None:
        return RTT_UNKNOWN_S
    usual_s = RETRY_RTTS * (link.rtt_s + 4 * link.rtt_dev_s) + RETRY_S
    least_s = RETRY_RTTS * link.rtt_least_s + RETRY_SLACK_S
    return min(usual_s, least_s, PATIENCE_FAR_S_MAX if link.is_far else RTT_UNKNOWN_S)
