"""Anti-entropy: two nodes compare fingerprints and exchange what one of them lacks.

On each link the node with the larger name leads; the other only answers, and keeps
no state. A session runs

    roots equal → nothing to do
    hints       the leader sends its frontier; the other streams what that seems to
                lack, policies first, and names the writers of whom it lacks something
    give        the leader streams those
    walk        down the hash tree, where hashes differ, to the items; want and give

and after each step the roots are compared. Only equal roots end a sync well: the
frontier is a hint and proves nothing. Every answer has a budget, so that no queue
grows, and every step brings progress or ends the session; what is left over is tried
again, ever less often while nothing helps. A walk accuses nobody: honest nodes
differ after forks and while changes are in flight.

A node leads one session at a time; a node that has learned something by sync shows
its new root to its other peers.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..model.change import Change
from ..model.clock import Clock
from ..model.errors import InvalidInput, ProtocolViolation, Rejected, UnknownPolicy
from ..model.limits import FRONTIER_WRITERS_MAX, SYNC_BATCH_BYTES, SYNC_BUDGET_BYTES
from ..store.hash_tree import EMPTY_HASH, Inner, Prefix
from ..store.live_set import fork_item
from .environment import Environment, LinkId
from .events import ChangeRejected, Synced
from .messages import (
    BATCH_CHANGES_MAX,
    ITEM_BYTES,
    WALK_NODES_MAX,
    WANTED_ITEMS_MAX,
    Batch,
    Check,
    Checked,
    Given,
    Hinted,
    Hints,
    Message,
    Root,
    Told,
    Walk,
    Walked,
    Want,
    WantPolicies,
)
from .overlay import Link, Overlay
from .replica import Replica

COMPARE_S: Final = 10.0
"""How often the leader of a link shows its root: 26 bytes, and the longest that a lost push stays unnoticed."""
IN_FLIGHT_S: Final = 0.3
"""Roots that differ this soon after a change are likely to be equal again once pushes have landed."""
PATIENCE_S: Final = 2.0
"""Under steady publishing there is always something in flight: roots that differ for so long are synced anyway."""
NEWS_S: Final = 0.05
"""Delay before a root changed by sync is shown to other peers, so that a stream of batches is shown once."""
REPLY_LIMIT_S: Final = 10.0
"""A session that hears nothing for so long is given up; the link itself may live."""
SESSION_LIMIT_S: Final = 60.0
"""While others wait no session lasts longer, whatever comes: a peer that answers for ever must not keep them from
theirs. What a long one has brought so far stays."""
RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 30.0
"""Wait before a peer is tried again with which no sync ends equal: it may withhold, or refuse, for ever."""
WALK_STACK_MAX: Final = 1 << 16
"""Tree nodes still to be asked for: eight times what a walk through 16 million ids keeps; a peer that invents nodes
could otherwise go on to the depth of 64."""
WALKS_MAX: Final = 4
"""Walks in one session: each makes progress or is the last."""


class _Step(enum.Enum):
    """What the leader is waiting for."""

    HINTED = enum.auto()
    HINTS_CHECKED = enum.auto()
    WALKED = enum.auto()
    GIVEN = enum.auto()
    WALK_CHECKED = enum.auto()


@dataclass(slots=True)
class _Session:
    """A sync that this node leads."""

    link: Link
    deadline_s: float
    limit_s: float
    step: _Step = _Step.HINTED
    request: int = 0
    received: int = 0
    sent: int = 0
    progress: int = 0
    walks: int = 0
    more: bool = False
    lacks: Clock = ()
    asked: dict[Prefix, None] = field(default_factory=dict)
    stack: list[Prefix] = field(default_factory=list)
    wanted: list[bytes] = field(default_factory=list)
    asked_items: tuple[bytes, ...] = ()
    owed: list[bytes] = field(default_factory=list)


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


class Sync:
    """Anti-entropy with every peer."""

    def __init__(self, environment: Environment, replica: Replica, overlay: Overlay) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._peers: dict[LinkId, _Peer] = {}
        self._session: _Session | None = None
        self._waiting: dict[LinkId, None] = {}
        self._last_request = 0
        self._news_planned = False
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
            self._environment.call_later(self._environment.jittered(COMPARE_S), lambda: self._compare_regularly(peer))

    def link_down(self, link: Link) -> None:
        """Forget a peer; a session with it ends."""
        self._peers.pop(link.id, None)
        self._waiting.pop(link.id, None)
        if self._session is not None and self._session.link is link:
            self._end(equal=False, reason="the link was lost")

    def dropped(self, link: Link) -> None:
        """A message to this peer found its queue full: let it find out by its root what it lacks."""
        peer = self._peers.get(link.id)
        if peer is not None:
            self._show_root_later(peer, RETRY_FIRST_S)

    def handle(self, link: Link, message: Message) -> bool:
        """Take a message that is sync's; False if it is another machine's. Raises ProtocolViolation."""
        peer = self._peers[link.id]
        session = self._session if self._session is not None and self._session.link is link else None
        if session is not None:
            session.deadline_s = self._environment.now.monotonic_s + REPLY_LIMIT_S
        match message:
            case Root():
                self._compare(peer, message)
            case Batch():
                self._take(link, message, session)
            case Hints():
                self._answer_hints(link, message)
            case Check():
                self._overlay.send(link, Checked(message.request, self._replica.root, self._replica.policy_version))
            case Walk():
                self._answer_walk(link, message)
            case Want():
                parts = self._replica.live.parts_of_items(message.items)
                self._stream(link, _policies_first(parts), message.budget)
                self._overlay.send(link, Given(message.request))
            case WantPolicies():
                self._stream(link, self._replica.policies_after(message.have), SYNC_BUDGET_BYTES)
            case Hinted() | Checked() | Walked() | Given():
                if session is not None and message.request == session.request:
                    self._advance(session, message)
            case _:
                return False
        return True

    # -- comparing --------------------------------------------------------------------------------

    def _show_root(self, link: Link) -> None:
        if link.ready:
            self._overlay.send(link, Root(self._replica.root, self._replica.policy_version))

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
            self._environment.call_later(self._environment.jittered(COMPARE_S), lambda: self._compare_regularly(peer))

    def _compare(self, peer: _Peer, shown: Root) -> None:
        now_s = self._environment.now.monotonic_s
        first, peer.compared = not peer.compared, True
        if shown.root == self._replica.root:
            peer.unequal_since_s = None
            peer.retry_s = RETRY_FIRST_S
            peer.not_before_s = float("-inf")
            return
        if not peer.leads:
            if not first:
                self._show_root(peer.link)
            return
        if peer.unequal_since_s is None or now_s - peer.unequal_seen_s > PATIENCE_S:
            peer.unequal_since_s = now_s  # a follower that has become equal meanwhile has said nothing
        peer.unequal_seen_s = now_s
        in_flight = now_s - self._replica.last_change_s < IN_FLIGHT_S and now_s - peer.unequal_since_s < PATIENCE_S
        if in_flight and not first:
            self._show_root_later(peer, IN_FLIGHT_S)
        elif now_s < peer.not_before_s:
            self._show_root_later(peer, peer.not_before_s - now_s)
        else:
            self._waiting[peer.link.id] = None
            self._begin_next()

    # -- answering --------------------------------------------------------------------------------

    def _answer_hints(self, link: Link, hints: Hints) -> None:
        more = False
        if hints.root != self._replica.root:
            changes = self._lacked(hints.frontier, hints.complete, hints.policy)
            more = self._stream(link, changes, hints.budget)
        live = self._replica.live
        lacks = tuple((writer, live.highest(writer)) for writer, seq in hints.frontier if live.highest(writer) < seq)
        self._overlay.send(link, Hinted(hints.request, self._replica.root, self._replica.policy_version, lacks, more))

    def _answer_walk(self, link: Link, walk: Walk) -> None:
        tree = self._replica.live.tree
        differing = tuple(
            Told(prefix, tree.summary(prefix)) for prefix, digest in walk.nodes if tree.hash_at(prefix) != digest
        )
        self._overlay.send(link, Walked(walk.request, differing))

    def _lacked(self, frontier: Clock, complete: bool, policy: int) -> Iterator[Change]:
        """What a node with this frontier seems to lack: policies, then each writer's changes in order of number."""
        live = self._replica.live
        policies = {change.id: change for change in self._replica.policies_after(policy)}
        yield from policies.values()
        known = dict(frontier)
        for writer in live.writers():
            seq = known.get(writer, 0 if complete else None)
            if seq is None:
                continue
            for change_id in live.changes_after(writer, seq):
                if change_id not in policies:
                    part = live.part(change_id)
                    assert part is not None
                    yield part

    def _stream(self, link: Link, changes: Iterable[Change], budget: int) -> bool:
        """Send ``changes`` in batches until ``budget`` bytes are sent; whether some are left. At least one is sent."""
        batch: list[bytes] = []
        batched = streamed = 0
        for change in changes:
            data = change.encode()
            if streamed and streamed + len(data) > budget:
                self._send_batch(link, batch)
                return True
            if batch and (batched + len(data) > SYNC_BATCH_BYTES or len(batch) == BATCH_CHANGES_MAX):
                self._send_batch(link, batch)
                batch, batched = [], 0
            batch.append(data)
            batched += len(data)
            streamed += len(data)
        self._send_batch(link, batch)
        return False

    def _send_batch(self, link: Link, batch: list[bytes]) -> None:
        if batch:
            self._overlay.send(link, Batch(tuple(batch)))
            if self._session is not None and self._session.link is link:
                self._session.sent += len(batch)

    def _take(self, link: Link, batch: Batch, session: _Session | None) -> None:
        news = False
        for data in batch.changes:
            try:
                outcome = self._replica.receive(self._replica.decode(data), link.node_id)
            except UnknownPolicy:
                self._overlay.send(link, WantPolicies(self._replica.policy_version))
                break
            except (InvalidInput, Rejected) as error:
                self._environment.emit(ChangeRejected(link.node_id, str(error)))
                self._overlay.fault(link, str(error))
                if link.closing:
                    break  # it has had its chances; the rest is not even verified
                continue
            news = news or outcome.is_news
            if session is not None:
                session.received += 1
                session.progress += outcome.is_news
        if news:
            self._plan_news(link)

    def _plan_news(self, source: Link) -> None:
        """Show the root to the other peers soon: what came by sync is news to them too."""
        self._news_sources[source.id] = None
        if not self._news_planned:
            self._news_planned = True
            self._environment.call_later(NEWS_S, self._show_news)

    def _show_news(self) -> None:
        self._news_planned = False
        sources, self._news_sources = self._news_sources, {}
        for peer in list(self._peers.values()):
            if len(sources) > 1 or peer.link.id not in sources:
                self._show_root(peer.link)

    # -- leading ----------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        while self._session is None and self._waiting:
            link_id = next(iter(self._waiting))
            del self._waiting[link_id]
            peer = self._peers.get(link_id)
            now_s = self._environment.now.monotonic_s
            if peer is None or not peer.link.ready:
                continue
            if now_s < peer.not_before_s:  # a session with it has failed since it began to wait
                self._show_root_later(peer, peer.not_before_s - now_s)
            else:
                session = _Session(peer.link, now_s + REPLY_LIMIT_S, now_s + SESSION_LIMIT_S)
                self._session = session
                self._watch(session)
                self._send_hints(session)

    def _watch(self, session: _Session) -> None:
        """End the session when it has heard nothing for too long, or keeps others waiting for too long."""
        if self._session is not session:
            return
        now_s = self._environment.now.monotonic_s
        left_s = session.deadline_s - now_s
        if self._waiting and now_s >= session.limit_s:
            self._end(equal=False, reason=f"not done within {SESSION_LIMIT_S:g} s, and others wait")
        elif left_s <= 0:
            self._end(equal=False, reason=f"no answer within {REPLY_LIMIT_S:g} s")
        else:
            self._environment.call_later(left_s, lambda: self._watch(session))

    def _ask(self, session: _Session, step: _Step) -> int:
        self._last_request += 1
        session.request = self._last_request
        session.step = step
        return session.request

    def _advance(self, session: _Session, reply: Message) -> None:
        """Go on with what has come. Raises ProtocolViolation for an answer to another question."""
        match session.step, reply:
            case _Step.HINTED, Hinted():
                self._hinted(session, reply)
            case _Step.HINTS_CHECKED, Checked():
                if session.more and session.progress:
                    self._send_hints(session)
                else:
                    self._judge(session, reply.root)
            case _Step.WALKED, Walked():
                self._walked(session, reply)
            case _Step.GIVEN, Given():
                missing = [item for item in session.asked_items if not self._replica.live.tree.starting_with(item)]
                if len(missing) < len(session.asked_items):
                    session.wanted.extend(missing)
                self._walk_on(session)
            case _Step.WALK_CHECKED, Checked():
                if session.owed or session.wanted or session.stack:
                    self._walk_on(session)
                else:
                    self._judge(session, reply.root)
            case _:
                raise ProtocolViolation(f"{type(reply).__name__} answers another question than was asked")

    def _send_hints(self, session: _Session) -> None:
        session.progress = 0
        session.more = False
        frontier, complete = self._replica.live.frontier(FRONTIER_WRITERS_MAX)
        request = self._ask(session, _Step.HINTED)
        hints = Hints(
            request,
            self._replica.root,
            self._replica.policy_version,
            frontier,
            complete,
            SYNC_BUDGET_BYTES,
        )
        self._overlay.send(session.link, hints)

    def _hinted(self, session: _Session, reply: Hinted) -> None:
        if reply.root == self._replica.root:
            self._judge(session, reply.root)
            return
        session.more = reply.more
        sent_before = session.sent
        lacking = self._lacked(reply.lacks, False, reply.policy)
        session.more = self._stream(session.link, lacking, SYNC_BUDGET_BYTES) or session.more
        if reply.lacks != session.lacks:  # giving the same again would bring nothing
            session.lacks = reply.lacks
            session.progress += session.sent - sent_before
        if session.sent > sent_before or session.more:
            self._overlay.send(session.link, Check(self._ask(session, _Step.HINTS_CHECKED)))
        else:
            self._judge(session, reply.root)

    def _judge(self, session: _Session, their_root: bytes) -> None:
        """All is said for now: equal, or another walk, or enough."""
        if their_root == self._replica.root:
            self._end(equal=True, reason="equal")
        elif session.walks == 0 or (session.progress and session.walks < WALKS_MAX):
            session.walks += 1
            session.progress = 0
            session.stack = [()]
            self._walk_on(session)
        else:
            self._end(equal=False, reason="the peer's set still differs")

    def _walk_on(self, session: _Session) -> None:
        """The next step of a walk: settle what was found before looking for more, so that lists stay short."""
        many = WANTED_ITEMS_MAX if session.stack else 1
        if len(session.wanted) >= many:
            wanted, session.wanted = session.wanted[:WANTED_ITEMS_MAX], session.wanted[WANTED_ITEMS_MAX:]
            session.asked_items = tuple(wanted)
            request = self._ask(session, _Step.GIVEN)
            self._overlay.send(session.link, Want(request, session.asked_items, SYNC_BUDGET_BYTES))
        elif len(session.owed) >= many:
            self._give_owed(session)
            self._overlay.send(session.link, Check(self._ask(session, _Step.WALK_CHECKED)))
        elif session.stack:
            first = max(0, len(session.stack) - WALK_NODES_MAX)
            prefixes, session.stack = session.stack[first:], session.stack[:first]
            session.asked = dict.fromkeys(prefixes)
            tree = self._replica.live.tree
            nodes = tuple((prefix, tree.hash_at(prefix)) for prefix in prefixes)
            self._overlay.send(session.link, Walk(self._ask(session, _Step.WALKED), nodes))
        else:
            self._overlay.send(session.link, Check(self._ask(session, _Step.WALK_CHECKED)))

    def _give_owed(self, session: _Session) -> None:
        """Stream owed items up to the budget; the rest stays owed."""
        items, session.owed = session.owed[:WANTED_ITEMS_MAX], session.owed[WANTED_ITEMS_MAX:]
        here = [item for item in items if item in self._replica.live.tree]
        parts = _policies_first(self._replica.live.parts_of_items(here))
        sent_before = session.sent
        self._stream(session.link, parts, SYNC_BUDGET_BYTES)
        given = session.sent - sent_before
        for part in parts[given:]:
            session.owed.extend([part.version_id(index) for index, _ in part.entries] or [fork_item(part.id)])
        session.progress += given

    def _walked(self, session: _Session, reply: Walked) -> None:
        tree = self._replica.live.tree
        for told in reply.nodes:
            if told.prefix not in session.asked:
                raise ProtocolViolation("a tree node that was not asked for, or told already")
            del session.asked[told.prefix]
            if isinstance(told.summary, Inner):
                if len(session.stack) > WALK_STACK_MAX:
                    raise ProtocolViolation("a tree that branches everywhere: ids are hashes and spread evenly")
                for nibble, digest in enumerate(told.summary.hashes):
                    child = (*told.prefix, nibble)
                    if digest == tree.hash_at(child):
                        continue
                    if digest == EMPTY_HASH:
                        session.owed.extend(tree.items(child))
                    else:
                        session.stack.append(child)
            else:
                mine = tree.items(told.prefix)
                here = {item[:ITEM_BYTES] for item in mine}
                theirs = frozenset(told.summary.items)
                session.wanted.extend(item for item in told.summary.items if item not in here)
                session.owed.extend(item for item in mine if item[:ITEM_BYTES] not in theirs)
        self._walk_on(session)

    def _end(self, *, equal: bool, reason: str) -> None:
        session, self._session = self._session, None
        assert session is not None
        peer = self._peers.get(session.link.id)
        if peer is not None:
            if equal:
                peer.unequal_since_s = None
                peer.retry_s = RETRY_FIRST_S
                peer.not_before_s = float("-inf")
            else:
                peer.not_before_s = self._environment.now.monotonic_s + peer.retry_s
                self._show_root_later(peer, peer.retry_s)
                peer.retry_s = min(RETRY_CAP_S, 2 * peer.retry_s)
        if session.received or session.sent or not equal:
            self._environment.emit(
                Synced(session.link.node_id, equal, reason, session.received, session.sent, session.walks > 0)
            )
        self._begin_next()


def _policies_first(changes: list[Change]) -> list[Change]:
    """Ordered so that no change comes before the policy that it names."""
    return sorted(changes, key=lambda change: change.header.policy)
