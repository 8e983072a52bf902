"""Broadcast: a new change goes to every active peer at once, never on a tick.

A first, simple form behind its final interface: each node forwards the first copy
of a change to all its links but the one that it came over. A change that was valid
and new is forwarded before it is on this node's disk; one of which nothing lives any
more is not forwarded, because its successors are.
"""

from __future__ import annotations

from typing import Final

from ..model.change import Change
from ..model.errors import InvalidInput, ProtocolViolation, Rejected, UnknownPolicy
from ..model.limits import CHANGE_BYTES_MAX
from .environment import Environment, LinkId
from .events import ChangeRejected
from .messages import HOPS_MAX, Push, WantPolicies
from .overlay import Link, Overlay
from .replica import Replica

RECENT_MAX: Final = 10_000
"""Digests of payloads met lately, so that a copy costs a hash and not a decoding: 10 s at 500 changes a second at
least, as half of them are forgotten at a time."""
WAITING_MAX: Final = 64
"""Changes held while the policy that they name is fetched; sync brings back what does not fit."""
WAITING_BYTES_MAX: Final = 2 * CHANGE_BYTES_MAX
"""Their bytes: nobody can verify them yet, so a peer could fill the memory with whatever it likes."""


class Broadcast:
    """Spreads changes while they are news."""

    def __init__(self, environment: Environment, replica: Replica, overlay: Overlay) -> None:
        self.duplicates = 0
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._recent: set[bytes] = set()
        self._earlier: set[bytes] = set()
        self._waiting: dict[bytes, tuple[Link, Push]] = {}
        self._asked: dict[LinkId, None] = {}

    def spread(self, change: Change) -> None:
        """Send a change that was published here to every peer."""
        push = Push(1, change.encode())
        self._remember(push.digest)
        self._forward(push, None)

    def handle(self, link: Link, push: Push) -> None:
        """Take a pushed change. Raises ProtocolViolation for one that no honest peer sends."""
        digest = push.digest
        if digest in self._recent or digest in self._earlier or digest in self._waiting:
            self.duplicates += 1
        else:
            self._take(link, push)

    def policy_arrived(self) -> None:
        """Try what was waiting for a policy again."""
        waiting, self._waiting = self._waiting, {}
        self._asked.clear()
        for link, push in waiting.values():
            self._take(link, push)

    def link_down(self, link: Link) -> None:
        """What waited for this peer's policy is dropped; sync brings it back."""
        self._asked.pop(link.id, None)
        for digest, (source, _) in list(self._waiting.items()):
            if source is link:
                del self._waiting[digest]

    def _take(self, link: Link, push: Push) -> None:
        change = None
        try:
            change = self._replica.decode(push.change)
            if not change.is_whole:
                raise ProtocolViolation("a part of a change was pushed; parts belong to sync")
            outcome = self._replica.receive(change, link.node_id, push.change)
        except UnknownPolicy:
            self._wait(link, push)
            return
        except (InvalidInput, Rejected) as error:
            self._environment.emit(ChangeRejected(link.node_id, str(error)))
            if change is None or not self._replica.is_disputed(change):
                self._overlay.fault(link, str(error))
            return
        self._remember(push.digest)
        if outcome.is_news:
            self._forward(Push(min(push.hops + 1, HOPS_MAX), push.change), link)

    def _wait(self, link: Link, push: Push) -> None:
        held_bytes = sum(len(waiting.change) for _, waiting in self._waiting.values())
        if len(self._waiting) < WAITING_MAX and held_bytes + len(push.change) <= WAITING_BYTES_MAX:
            self._waiting[push.digest] = (link, push)
        if link.id not in self._asked:
            self._asked[link.id] = None
            self._overlay.send(link, WantPolicies(self._replica.policy_version))

    def _forward(self, push: Push, source: Link | None) -> None:
        self._overlay.send_all([link for link in self._overlay.ready_links() if link is not source], push)

    def _remember(self, digest: bytes) -> None:
        self._recent.add(digest)
        if len(self._recent) > RECENT_MAX // 2:
            self._earlier, self._recent = self._recent, set()
