"""Comparing rosters: what two peers do not know alike is exchanged, and nothing else.

On each link the node with the larger name leads: it shows the digest of its roster when
the link is new and about once a minute, and the other answers with its own. Equal digests
end a comparison. Else

    the other    shows the digests of ROSTER_BUCKETS parts
    the leader   sends its records of parts that are empty there, and names its items of
                 the others that differ
    the other    sends the records that were not named, and names the items that it wants
    the leader   sends those

in pieces that fit a queue, and they compare again until they are equal: anti-entropy by
digests as in R. van Renesse, D. Dumitriu, V. Gough and C. Thomas, "Efficient
reconciliation and flow control for anti-entropy protocols" (2008), with a tree of one level.

A node leads one comparison at a time, so that a newcomer with eight links is told its
roster once. What it has learned so it does not pass on; it shows its other peers that
its roster is another one, and whoever lacks something asks. Peers that stay different are
asked ever less often: they may lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from .environment import Environment, LinkId
from .link import Link
from .messages import PRESENCES_MAX, WANTED_RECORDS_MAX, RosterDigest, RosterItems
from .messages import Roster as RosterMessage
from .overlay import Overlay
from .roster import MEMBERS_MAX, Member, Roster
from .sighting import TAG_BYTES, Sighting

COMPARE_S: Final = 60.0
"""How often the leader of a link shows its digest: 36 bytes each way, and the longest that lost news stay unnoticed."""
SHOW_S: Final = 0.5
"""Pause after which a roster that has changed by a comparison is shown to others, and before the same two compare
again: what comes meanwhile is compared together."""
LIMIT_S: Final = 5.0
"""A comparison that has not ended by then is given up."""
PAUSE_GROWTH: Final = 1.5
"""How much longer the pause is after each comparison that brought nothing new: a whole roster can be given in the
first five, and whoever says for ever that it has nothing is given ever less."""
PAUSE_MAX_S: Final = 60.0
"""Longest such pause."""
ANSWER_S: Final = 0.25
"""A question about items is answered at most so often on a link: it costs 100 bytes to ask and 40 KB to answer."""
ROSTER_BYTES: Final = 16 << 10
"""Records in one message: about one frame."""
BUDGET_BYTES: Final = 40 << 10
"""Records sent in one comparison: a link's queue of this class holds 64 KiB."""


@dataclass(slots=True)
class _Peer:
    """What is remembered of a link."""

    link: Link
    leads: bool
    crowded: bool = False
    members: int = 1
    pause_s: float = SHOW_S
    due_s: float = float("inf")
    compared: bool = False
    not_before_s: float = float("-inf")
    answered_s: float = float("-inf")


class Comparison:
    """The rosters of all peers, beside this node's own."""

    def __init__(
        self,
        environment: Environment,
        overlay: Overlay,
        roster: Roster,
        *,
        root: Callable[[], bytes],
        sighting: Callable[[Member | None], Sighting],
    ) -> None:
        self._environment = environment
        self._rng = environment.fork()
        self._overlay = overlay
        self._roster = roster
        self._root = root
        self._sighting = sighting
        self._peers: dict[LinkId, _Peer] = {}
        self._waiting: dict[LinkId, None] = {}
        self._led: _Peer | None = None
        self._turn = 0
        self._learned = False
        self._wake_s = float("inf")
        self._regular_s = float("inf")
        self._sources: dict[LinkId, None] = {}
        self._showing = False
        overlay.is_needed = self._is_needed

    # -- links ------------------------------------------------------------------------------------

    @property
    def peers_crowded(self) -> bool:
        """Whether most peers know of too many members for a roster."""
        return 2 * sum(peer.crowded for peer in self._peers.values()) > len(self._peers)

    def _is_needed(self, link: Link) -> bool:
        """Whether a new link must stay until rosters have been compared: it may be the only one into another half."""
        peer = self._peers.get(link.id)
        young = self._environment.now.monotonic_s < link.opened_s + 2 * LIMIT_S
        return peer is not None and young and not peer.compared

    def _compared(self, peer: _Peer) -> None:
        if not peer.compared:
            peer.compared = True
            self._overlay.close_probe(peer.link)

    def members_of(self, link: Link) -> int:
        """How many members a peer says it knows, as far as that can be."""
        peer = self._peers.get(link.id)
        return 1 if peer is None else peer.members

    def link_up(self, link: Link) -> None:
        """Compare with a new peer at once, and now and then."""
        peer = self._peers[link.id] = _Peer(link, leads=self._overlay.identity.node_id > link.node_id)
        if peer.leads:
            self._plan_regular(peer)
            self._want(peer)

    def link_down(self, link: Link) -> None:
        """Forget a peer."""
        peer = self._peers.pop(link.id, None)
        self._waiting.pop(link.id, None)
        if peer is not None and self._led is peer:
            self._end()

    def dropped(self, link: Link) -> None:
        """Something for this peer found its queue full: compare, once that is empty."""
        peer = self._peers.get(link.id)
        if peer is not None:
            peer.not_before_s = self._environment.now.monotonic_s + LIMIT_S
            self.learned(link, from_it=False)

    def _plan_regular(self, peer: _Peer) -> None:
        """Have the next comparison that nobody asks for, of those that this node leads."""
        peer.due_s = self._environment.now.monotonic_s + self._environment.jittered(COMPARE_S, self._rng)
        if peer.due_s < self._regular_s:
            self._regular_s = peer.due_s
            self._environment.call_at(peer.due_s, self._regularly)

    def _regularly(self) -> None:
        now_s = self._environment.now.monotonic_s
        if now_s < self._regular_s:
            return  # an earlier one was planned meanwhile, and has planned anew
        self._regular_s = float("inf")
        for peer in [one for one in self._peers.values() if one.leads]:
            if peer.due_s <= now_s:
                self._plan_regular(peer)
                self._want(peer)
            elif peer.due_s < self._regular_s:
                self._regular_s = peer.due_s
                self._environment.call_at(peer.due_s, self._regularly)

    # -- showing ----------------------------------------------------------------------------------

    def learned(self, link: Link, *, from_it: bool = True) -> None:
        """This node's roster has become another one by what ``link`` has told: the others may lack the same."""
        peer = self._peers.get(link.id)
        if from_it:
            if peer is not None and peer is self._led:
                self._learned = True
            self._sources[link.id] = None
        if not self._showing:
            self._showing = True
            self._environment.call_later(self._environment.jittered(SHOW_S, self._rng), self._show)

    def _show(self) -> None:
        self._showing = False
        sources, self._sources = self._sources, {}
        shown = []
        for peer in self._peers.values():
            if len(sources) == 1 and peer.link.id in sources:
                continue
            if peer.leads:
                self._want(peer)
            else:
                shown.append(peer.link)
        self._overlay.send_all(shown, self._digest(with_buckets=False))

    def _digest(self, *, with_buckets: bool) -> RosterDigest:
        roster = self._roster
        buckets = roster.bucket_digests if with_buckets else b""
        return RosterDigest(roster.digest, self._root(), buckets, roster.live_count, roster.crowded)

    # -- leading ----------------------------------------------------------------------------------

    def _want(self, peer: _Peer) -> None:
        self._waiting[peer.link.id] = None
        self._begin()

    def _begin(self) -> None:
        """Compare with the first that waits and may be asked by now."""
        now_s = self._environment.now.monotonic_s
        next_s = float("inf")
        for link_id in list(self._waiting):
            if self._led is not None:
                return
            peer = self._peers[link_id]
            if now_s < peer.not_before_s:
                next_s = min(next_s, peer.not_before_s)
                continue
            del self._waiting[link_id]
            self._led, self._learned = peer, False
            self._turn += 1
            self._environment.call_later(LIMIT_S, partial(self._give_up, self._turn))
            self._overlay.send(peer.link, self._digest(with_buckets=False))
        if next_s < self._wake_s:
            self._wake_s = next_s
            self._environment.call_at(next_s, self._wake)

    def _wake(self) -> None:
        self._wake_s = float("inf")
        self._begin()

    def _give_up(self, turn: int) -> None:
        if self._led is not None and self._turn == turn:
            self._end()

    def _end(self, *, equal: bool = False, again: bool = False) -> None:
        """The comparison is over. ``again``: something was exchanged, and they may be equal now."""
        peer, self._led = self._led, None
        assert peer is not None
        if equal or self._learned:
            peer.pause_s = SHOW_S
        peer.not_before_s = self._environment.now.monotonic_s + peer.pause_s
        if again:
            peer.pause_s = min(PAUSE_MAX_S, PAUSE_GROWTH * peer.pause_s)
            if peer.link.id in self._peers:
                self._waiting[peer.link.id] = None
        self._begin()

    # -- messages ---------------------------------------------------------------------------------

    def handle_digest(self, link: Link, message: RosterDigest) -> bool:
        """A peer shows its roster in short; whether it is equal to this node's."""
        peer = self._peers[link.id]
        peer.crowded = message.crowded
        peer.members = min(message.members, MEMBERS_MAX)
        equal = message.digest == self._roster.digest
        compares = not equal and not message.crowded and not self._roster.crowded
        if not peer.leads:
            self._overlay.send(link, self._digest(with_buckets=compares))
        elif self._led is not peer:
            if compares:
                self._want(peer)
        elif compares and message.buckets:
            self._ask(peer, message.buckets)
        else:
            self._end(equal=equal, again=compares)
        if not compares:
            self._compared(peer)
        return equal

    def _ask(self, peer: _Peer, buckets: bytes) -> None:
        """Send what the other has nothing of, and ask about the rest."""
        differing = self._roster.differing_buckets(buckets)
        items = self._roster.items(number for number, _ in differing)
        given = [member for number, is_empty in differing if is_empty for member in items[number].values()]
        self._send_records(peer.link, given)
        held = tuple((number, b"".join(items[number])) for number, is_empty in differing if not is_empty)
        if held:
            self._overlay.send(peer.link, RosterItems(held, b""))
        else:
            self._end(again=bool(given))

    def handle_items(self, link: Link, message: RosterItems) -> None:
        """The leader asks about some buckets; or the other answers."""
        peer = self._peers[link.id]
        if peer.leads:
            if self._led is peer:
                self._send_records(link, self._named(message.wanted))
                self._end(again=True)
        elif not self._roster.crowded:
            now_s = self._environment.now.monotonic_s
            if now_s >= peer.answered_s + ANSWER_S:
                peer.answered_s = now_s
                self._answer(link, message)

    def _answer(self, link: Link, message: RosterItems) -> None:
        theirs = {number: frozenset(_cut(items)) for number, items in message.held}
        items = self._roster.items(theirs)
        given = [
            member for number, mine in items.items() for item, member in mine.items() if item not in theirs[number]
        ]
        self._send_records(link, given)
        wanted = [item for number, held in message.held for item in _cut(held) if item not in items[number]]
        self._overlay.send(link, RosterItems((), b"".join(wanted[:WANTED_RECORDS_MAX])))

    def _named(self, wanted: bytes) -> list[Member | None]:
        """The members of these items; what has changed meanwhile is left out."""
        if not wanted:
            return []
        names = frozenset(_cut(wanted))
        own = [None] if self._roster.own.tag in names else []
        return own + [one for one in self._roster if one.shared and one.item.to_bytes(TAG_BYTES) in names]

    def _send_records(self, link: Link, members: list[Member | None]) -> None:
        budget = BUDGET_BYTES
        batch: list[Sighting] = []
        size = 0
        for member in members:
            sighting = self._sighting(member)
            length = len(sighting.presence.wire)
            if length > budget:
                break
            budget -= length
            if batch and (size + length > ROSTER_BYTES or len(batch) == PRESENCES_MAX):
                self._overlay.send(link, RosterMessage(tuple(batch), news=False))
                batch, size = [], 0
            batch.append(sighting)
            size += length
        if batch:
            self._overlay.send(link, RosterMessage(tuple(batch), news=False))


def _cut(items: bytes) -> list[bytes]:
    return [items[first : first + TAG_BYTES] for first in range(0, len(items), TAG_BYTES)]
