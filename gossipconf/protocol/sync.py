"""Anti-entropy: when two nodes compare fingerprints, and who leads the sync that follows.

On each link the node with the larger name leads; the other only answers (`exchange`),
and keeps no state. A session (`session`) runs

    roots equal → nothing to do
    hints       the leader sends its frontier; the other streams what that seems to
                lack, policies first, and names the writers of whom it lacks something
    give        the leader streams those
    walk        down the hash tree, where hashes differ, to the items; want and give

and after each step the roots are compared. Only equal roots end a sync well: the
frontier is a hint and proves nothing. What is left over is tried again, ever less
often while nothing helps. A walk accuses nobody: honest nodes differ after forks and
while changes are in flight.

A node leads one session at a time; a node that has learned something by sync shows
its new root to its other peers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..model.limits import SYNC_BUDGET_BYTES
from .complaints import Complaint
from .environment import Environment, LinkId
from .events import Synced
from .exchange import Exchange
from .link import Link
from .messages import Batch, Check, Checked, Given, Hinted, Hints, Message, Root, Walk, Walked, Want, WantPolicies
from .overlay import Overlay
from .replica import Replica
from .session import ON_ITS_WAY, Session

IN_FLIGHT_S: Final = 0.3
"""Roots that differ this soon after a change are likely to be equal again once pushes have landed."""
PATIENCE_S: Final = 10.0
"""Under steady publishing there is always something in flight: roots that differ for so long are synced anyway, in case
that something was lost, which broadcast repairs nearly always."""
SETTLED_S: Final = 60.0
"""How long that is not repeated with a peer with which a sync has shown nothing but what was on its way: its hints name
every writer of late, ten kilobytes for a thousand."""
WALK_PATIENCE_S: Final = 60.0
"""And so long before the trees are walked for it: hints have shown nothing then but what was on its way."""
BATCHED_HOPS: Final = 4
"""Nodes on a change's way that collect before they pass it on (`Tuning.batching_s`), nearly always at most."""
NEWS_S: Final = 0.05
"""Delay before a root changed by sync is shown to other peers, so that a stream of batches is shown once."""
REPLY_LIMIT_S: Final = 10.0
"""A session that hears nothing for so long is given up; the link itself may live."""
SESSION_LIMIT_S: Final = 5.0
"""While others wait no session lasts longer, whatever comes: a peer that answers for ever must not keep them from
theirs. What a long one has brought so far stays."""
BUDGET_LEAST_BYTES: Final = 4_096
"""What is asked of, and given to, a peer at a time at least: through a link of 1 KiB a second it comes within
REPLY_LIMIT_S."""
BUDGET_STEP: Final = 4
"""By how much the budget shrinks after a session that took too long, and grows after one that ended well."""
RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 30.0
"""Wait before a peer is tried again with which no sync ends equal: it may withhold, or refuse, for ever."""
MESSAGES: Final = (Root, Hints, Hinted, Walk, Walked, Want, Given, Check, Checked, Batch, WantPolicies)
"""What sync takes."""


@dataclass(slots=True)
class _Peer:
    """What sync remembers of a link."""

    link: Link
    leads: bool
    compared: bool = False
    unequal_since_s: float | None = None
    unequal_seen_s: float = float("-inf")
    retry_s: float = RETRY_FIRST_S
    not_before_s: float = float("-inf")
    show_s: float = float("inf")
    awaits_quiet: bool = False
    settled_s: float = float("-inf")
    budget: int = SYNC_BUDGET_BYTES
    put_off: bool = False


class Sync:
    """Anti-entropy with every peer."""

    def __init__(
        self,
        environment: Environment,
        replica: Replica,
        overlay: Overlay,
        *,
        on_taken: Callable[[bytes], None] = lambda data: None,
        on_equal: Callable[[str], None] = lambda node_id: None,
    ) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._exchange = Exchange(environment, replica, overlay, on_taken)
        self._on_equal = on_equal
        self._peers: dict[LinkId, _Peer] = {}
        self._session: Session | None = None
        self._heard_s = 0.0
        self._waiting: dict[LinkId, bytes] = {}  # with this node's root when its wait began
        self._last_request = 0
        self._news_planned = False
        self._news_repaired = False
        self._news_sources: dict[LinkId, None] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no session that this node leads is under way or waiting."""
        return self._session is None and not self._waiting

    # -- links ------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Compare roots with a new peer at once."""
        peer = self._peers[link.id] = _Peer(link, leads=self._overlay.identity.node_id > link.node_id)
        self._show_root(link)
        if peer.leads:
            self._environment.call_later(
                self._environment.jittered(self._environment.tuning.compare_s), lambda: self._compare_regularly(peer)
            )

    def link_down(self, link: Link) -> None:
        """Forget a peer; a session with it ends."""
        self._peers.pop(link.id, None)
        self._waiting.pop(link.id, None)
        self._exchange.link_down(link)
        if self._session is not None and self._session.link is link:
            self._end(False, "the link was lost")

    def dropped(self, link: Link) -> None:
        """A message to this peer found its queue full: let it find out by its root what it lacks."""
        peer = self._peers.get(link.id)
        if peer is not None:
            self._show_root_later(peer, RETRY_FIRST_S)

    def handle(self, link: Link, message: Message) -> None:
        """Take one of MESSAGES. Raises ProtocolViolation."""
        session = self._session if self._session is not None and self._session.link is link else None
        match message:
            case Root():
                self._compare(self._peers[link.id], message)
            case Hints() | Walk() | Want() | Check() | WantPolicies():
                self._exchange.answer(link, message)
            case Batch():
                taken = self._exchange.take(link, message)
                if session is not None:
                    session.took(taken)
                    if taken.news:
                        self._heard_s = self._environment.now.monotonic_s
                if taken.old or (taken.news and not self._is_busy()):
                    self._plan_news(link, repaired=taken.old > 0)
            case Hinted() | Checked() | Walked() | Given():
                if session is not None and session.answers(message):
                    self._heard_s = self._environment.now.monotonic_s
                    self._exchange.expect_no_more(link)
                    session.advance(message)

    # -- comparing --------------------------------------------------------------------------------

    def _show_root(self, *links: Link, repaired: bool = False) -> None:
        ready = [link for link in links if link.ready]
        self._overlay.send_all(ready, Root(self._replica.root, self._replica.policy_version, repaired))

    def _show_root_later(self, peer: _Peer, delay_s: float) -> None:
        """Show the root once, however often this is asked for until then: a flood of roots arms one timer."""
        at_s = self._environment.now.monotonic_s + delay_s
        if at_s < peer.show_s:
            peer.show_s = at_s
            self._environment.call_later(delay_s, lambda: self._show_planned_root(peer, at_s))

    def _show_planned_root(self, peer: _Peer, at_s: float) -> None:
        if peer.show_s == at_s:  # or an earlier one has taken its place
            peer.show_s = float("inf")
            self._show_root(peer.link)

    def _compare_regularly(self, peer: _Peer) -> None:
        if self._peers.get(peer.link.id) is peer:
            self._show_root(peer.link)
            self._environment.call_later(
                self._environment.jittered(self._environment.tuning.compare_s), lambda: self._compare_regularly(peer)
            )

    def _compare(self, peer: _Peer, shown: Root) -> None:
        now_s = self._environment.now.monotonic_s
        first, peer.compared = not peer.compared, True
        if shown.root == self._replica.root:
            peer.unequal_since_s = None
            self._compared_equal(peer)
            return
        if not peer.leads:
            if not first:
                self._show_root(peer.link, repaired=shown.repaired)
            return
        if peer.unequal_since_s is None or now_s - peer.unequal_seen_s > 2 * PATIENCE_S:
            peer.unequal_since_s = now_s  # a follower that has become equal meanwhile has said nothing
        peer.unequal_seen_s = now_s
        if not first and not shown.repaired and self._is_in_flight(peer):
            self._show_root_once_quiet(peer)
        elif now_s < peer.not_before_s:
            self._show_root_later(peer, peer.not_before_s - now_s)
        else:
            self._waiting[peer.link.id] = self._replica.root
            self._begin_next()

    def _compared_equal(self, peer: _Peer) -> None:
        self._on_equal(peer.link.node_id)
        self._overlay.compared_equal(peer.link)

    def _is_in_flight(self, peer: _Peer) -> bool:
        """Whether roots may differ just because something is on its way."""
        return self._environment.now.monotonic_s < self._landed_s(peer)

    def _may_walk(self, peer: _Peer) -> bool:
        """Whether to look for differences that hints do not show: not for what is just on its way."""
        now_s = self._environment.now.monotonic_s
        since_s = now_s if peer.unequal_since_s is None else peer.unequal_since_s
        is_new = now_s - peer.link.opened_s < PATIENCE_S
        return is_new or not self._is_busy() or now_s - since_s > WALK_PATIENCE_S

    def _is_busy(self) -> bool:
        """Whether a change has come so lately that others may be on their way."""
        return self._environment.now.monotonic_s < self._quiet_s()

    def _quiet_s(self) -> float:
        """When nothing is on its way any more, if nothing else comes."""
        collected_s = BATCHED_HOPS * self._environment.tuning.batching_s
        return self._replica.last_change_s + IN_FLIGHT_S + collected_s

    def _landed_s(self, peer: _Peer) -> float:
        """The same, or when patience with this peer is over, if that is sooner."""
        since_s = peer.unequal_since_s
        if since_s is None:
            return self._quiet_s()
        return min(self._quiet_s(), max(since_s + PATIENCE_S, peer.settled_s + SETTLED_S))

    def _show_root_once_quiet(self, peer: _Peer) -> None:
        """Compare again once nothing has come for a moment, or patience is over; nothing is sent until then."""
        if not peer.awaits_quiet:
            peer.awaits_quiet = True
            self._await_quiet(peer)

    def _await_quiet(self, peer: _Peer) -> None:
        if self._peers.get(peer.link.id) is not peer:
            return
        if self._is_in_flight(peer):
            self._environment.call_at(self._landed_s(peer), lambda: self._await_quiet(peer))
        else:
            peer.awaits_quiet = False
            self._show_root(peer.link)

    def _plan_news(self, source: Link, *, repaired: bool) -> None:
        """Show the root to the other peers soon: what came by sync is news to them too."""
        self._news_sources[source.id] = None
        self._news_repaired |= repaired
        if not self._news_planned:
            self._news_planned = True
            self._environment.call_later(NEWS_S, self._show_news)

    def _show_news(self) -> None:
        self._news_planned = False
        sources, self._news_sources = self._news_sources, {}
        repaired, self._news_repaired = self._news_repaired, False
        links = [peer.link for peer in self._peers.values()]
        self._show_root(*(link for link in links if len(sources) > 1 or link.id not in sources), repaired=repaired)

    # -- leading ----------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        while self._session is None and self._waiting:
            link_id, root = next(iter(self._waiting.items()))
            del self._waiting[link_id]
            peer = self._peers.get(link_id)
            now_s = self._environment.now.monotonic_s
            if peer is None or not peer.link.ready:
                continue
            if now_s < peer.not_before_s:  # a session with it has failed since it began to wait
                self._show_root_later(peer, peer.not_before_s - now_s)
                continue
            peer.put_off = root != self._replica.root and not peer.put_off
            if peer.put_off:  # others have brought something meanwhile, perhaps the same: a root costs less than hints
                self._show_root(peer.link, repaired=True)
                continue
            session = self._session = Session(
                peer.link,
                self._replica,
                self._overlay,
                self._exchange,
                budget=peer.budget,
                next_request=self._next_request,
                may_walk=partial(self._may_walk, peer),
                end=self._end,
            )
            self._heard_s = now_s
            self._watch(session, now_s + SESSION_LIMIT_S)
            self._exchange.expect(session.link)
            session.begin()

    def _watch(self, session: Session, limit_s: float) -> None:
        """End the session when it has heard nothing for too long, or keeps others waiting for too long."""
        if self._session is not session:
            return
        left_s = self._heard_s + REPLY_LIMIT_S - self._environment.now.monotonic_s
        if self._waiting and self._environment.now.monotonic_s >= limit_s:
            self._end_late(session, f"not done within {SESSION_LIMIT_S:g} s, and others wait")
        elif left_s <= 0:
            self._end_late(session, f"no answer within {REPLY_LIMIT_S:g} s")
        else:
            self._environment.call_later(left_s, lambda: self._watch(session, limit_s))

    def _end_late(self, session: Session, reason: str) -> None:
        """End a session that takes too long; the next one with this peer asks for less at a time."""
        peer = self._peers[session.link.id]
        peer.budget = max(BUDGET_LEAST_BYTES, peer.budget // BUDGET_STEP)
        self._end(False, reason)

    def _next_request(self) -> int:
        self._last_request += 1
        return self._last_request

    def _end(self, equal: bool, reason: str) -> None:
        session, self._session = self._session, None
        assert session is not None
        self._exchange.expect_no_more(session.link)
        peer = self._peers.get(session.link.id)
        if peer is not None:
            if equal:
                peer.budget = min(SYNC_BUDGET_BYTES, peer.budget * BUDGET_STEP)
                peer.unequal_since_s = None
                peer.settled_s = self._environment.now.monotonic_s
                peer.retry_s = RETRY_FIRST_S
                peer.not_before_s = float("-inf")
                self._compared_equal(peer)
            elif reason == ON_ITS_WAY:
                peer.settled_s = self._environment.now.monotonic_s
            else:
                self._overlay.complaints.note(peer.link.node_id, Complaint.UNEQUAL)
                if session.news:
                    peer.retry_s = RETRY_FIRST_S  # it has brought something: there is no reason to shun it
                peer.not_before_s = self._environment.now.monotonic_s + peer.retry_s
                self._show_root_later(peer, peer.retry_s)
                peer.retry_s = min(RETRY_CAP_S, 2 * peer.retry_s)
        if session.received or session.sent or (not equal and reason != ON_ITS_WAY):
            self._environment.emit(
                Synced(session.link.node_id, equal, reason, session.received, session.sent, session.walks > 0)
            )
        self._begin_next()
