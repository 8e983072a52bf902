"""A flood: messages that are all legal, and cost whoever gets them.

Questions with long answers, comparisons that always fail, addresses and nodes that are
not there, changes and parts of changes that everybody has. One of each kind in turn, on
every link, at a steady rate.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from random import Random
from typing import Final

from gossipconf.model.change import Change
from gossipconf.model.limits import SYNC_BUDGET_BYTES
from gossipconf.protocol.environment import Send
from gossipconf.protocol.fields import WIDTH_MIN
from gossipconf.protocol.messages import (
    ADDRESSES_MAX,
    EPOCH_MAX,
    LEASE_MS_MAX,
    NONCE_BYTES,
    PRESENCES_MAX,
    WALK_NODES_MAX,
    WANTED_ITEMS_MAX,
    WIDTH_MAX,
    Addresses,
    Ask,
    Batch,
    Check,
    Hints,
    Message,
    Ping,
    Push,
    Root,
    Roster,
    Walk,
    Want,
    WantPolicies,
    encode_message,
)
from gossipconf.protocol.sighting import Presence, Sighting
from gossipconf.protocol.subject import Subject
from gossipconf.store.hash_tree import FANOUT, NODE_HASH_BYTES

from ..world.adversary import Adversary
from ..world.host import Host
from ..world.stage import Stage

BURST_S: Final = 0.1
"""What is due is sent so often: as dense as a busy peer's own messages."""
PARTS_MAX: Final = 64
"""Parts of changes in one message."""
PREFIX_NIBBLES: Final = 3
"""Depth of the tree nodes asked for: 4,096 of them, so that a question names others each time."""

Maker = Callable[["Flood", Host], Message]


class Flood(Adversary):
    """Adds ``per_s`` messages a second on each of its links, from the first publish on."""

    def __init__(self, rng: Random, per_s: float) -> None:
        self._rng = rng
        self._per_s = per_s
        self._due = 0.0
        self._next = cycle(KINDS)
        self._invented = 0

    def plan(self, stage: Stage, host: Host) -> None:
        """Begin."""
        stage.every(BURST_S, self._burst, stage, host)

    def _burst(self, stage: Stage, host: Host) -> None:
        self._due += self._per_s * BURST_S
        count, self._due = int(self._due), self._due % 1
        for _ in range(count if host.node is not None else 0):
            message = next(self._next)(self, host)
            data = encode_message(message)
            for link in host.running.links():
                stage.world.say(host, Send(link.id, message.CLASS, data))

    # -- kinds ------------------------------------------------------------------------------------

    def ping(self, host: Host) -> Message:
        """Wants an answer, and keeps the link."""
        return Ping(self._number())

    def root(self, host: Host) -> Message:
        """Wants to be compared: nobody holds this."""
        return Root(self._bytes(NODE_HASH_BYTES), host.running.replica.policy_version)

    def check(self, host: Host) -> Message:
        """Wants an answer."""
        return Check(self._number())

    def hints(self, host: Host) -> Message:
        """Wants everything, as if it had nothing: the answer is as long as what one answer may bring."""
        return Hints(self._number(), self._bytes(NODE_HASH_BYTES), 0, (b"", ()), True, SYNC_BUDGET_BYTES)

    def walk(self, host: Host) -> Message:
        """Wants many nodes of the tree."""
        prefixes = (tuple(self._rng.randrange(FANOUT) for _ in range(PREFIX_NIBBLES)) for _ in range(WALK_NODES_MAX))
        nodes = tuple((prefix, self._bytes(WIDTH_MIN)) for prefix in dict.fromkeys(prefixes))
        return Walk(self._number(), WIDTH_MIN, 1, nodes)

    def want(self, host: Host) -> Message:
        """Wants all that it holds itself, item by item."""
        items = tuple(item[:WIDTH_MAX] for item in host.running.replica.live.tree.items())
        return Want(self._number(), items[:WANTED_ITEMS_MAX], SYNC_BUDGET_BYTES)

    def want_policies(self, host: Host) -> Message:
        """Wants all policies."""
        return WantPolicies(0)

    def addresses(self, host: Host) -> Message:
        """Addresses at which nobody is."""
        addresses = tuple(f"invented-{self._number():x}:1" for _ in range(ADDRESSES_MAX))
        return Addresses(addresses, (0,) * len(addresses))

    def presences(self, host: Host) -> Message:
        """Nodes that are not there, each seen just now."""
        own = host.running.presence.own()
        return Roster(tuple(Sighting(self._invent(own)) for _ in range(PRESENCES_MAX)))

    def push(self, host: Host) -> Message:
        """A change that everybody has."""
        whole = [part for part in self._parts(host) if part.is_whole]
        return Push(1, 0, 0, self._rng.choice(whole).encode()) if whole else self.ping(host)

    def parts(self, host: Host) -> Message:
        """Parts of changes: bare headers, and single entries."""
        found = self._parts(host)
        chosen = (self._rng.choice(found) for _ in range(min(PARTS_MAX, len(found))))
        cut = (one.restrict([index for index, _ in one.entries[: self._rng.randrange(2)]]) for one in chosen)
        return Batch(tuple(one.encode() for one in cut))

    def ask(self, host: Host) -> Message:
        """A question to all, for as long as there is one."""
        subject = Subject(root=self._bytes(NODE_HASH_BYTES))
        return Ask(self._bytes(NONCE_BYTES), EPOCH_MAX, 0, subject, LEASE_MS_MAX, LEASE_MS_MAX, True)

    # -- inventing --------------------------------------------------------------------------------

    def _parts(self, host: Host) -> list[Change]:
        return list(host.running.replica.live.parts())

    def _invent(self, like: Presence) -> Presence:
        self._invented += 1
        return Presence(
            node_id=f"{like.node_id}-invented-{self._invented}",
            boot=self._bytes(NONCE_BYTES),
            started_ms=like.started_ms,
            count=1,
            zone=like.zone,
            address=f"invented-{self._number():x}:1",
            root=self._bytes(NODE_HASH_BYTES),
            policy=like.policy,
            versions=like.versions,
            degraded=True,
        )

    def _number(self) -> int:
        return self._rng.randrange(1 << 62)

    def _bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)


KINDS: Final[tuple[Maker, ...]] = (
    Flood.ping,
    Flood.root,
    Flood.check,
    Flood.hints,
    Flood.walk,
    Flood.want,
    Flood.want_policies,
    Flood.addresses,
    Flood.presences,
    Flood.push,
    Flood.parts,
    Flood.ask,
)
"""What is sent, in turn."""
