"""Hostile peers: shipped nodes whose messages pass through somebody who means ill.

They hold valid certificates and real changes and speak the protocol; they hold no
admin's key. Each behaviour is a small class; `hostile` makes one by its name. What a
flooding one says is in `flood`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from gossipconf.model.limits import SEQ_MAX
from gossipconf.protocol.environment import Send
from gossipconf.protocol.fields import WIDTH_MIN
from gossipconf.protocol.messages import (
    Addresses,
    Batch,
    Checked,
    Hinted,
    Hints,
    Message,
    Push,
    Root,
    Roster,
    Signs,
    Walked,
    decode_message,
    encode_message,
)
from gossipconf.protocol.sighting import Sighting
from gossipconf.store.hash_tree import DEPTH_MAX, FANOUT, NODE_HASH_BYTES

from ..network.wire import Wire
from ..options import option
from ..world.adversary import Adversary, Delayed
from ..world.host import Disk, Host
from ..world.stage import Stage
from .flood import Flood

REPLAYED_MAX: Final = 100
"""Old messages that a replaying peer keeps."""

PAYLOADS: Final = frozenset((Push.TYPE, Batch.TYPE))
"""Types of messages that carry changes."""
REPLAYABLE: Final = PAYLOADS | {Root.TYPE, Roster.TYPE, Signs.TYPE, Addresses.TYPE}
"""Types that are legal at any time: the others open, answer or close something."""
CLAIMS: Final = frozenset((Root.TYPE, Hints.TYPE, Hinted.TYPE, Checked.TYPE))
"""Types in which a node says what it holds."""


BEHAVIOURS: Final = ("suppress", "delay", "subset", "withhold", "replay", "stale", "lie", "slander", "flood")
"""What hostile peers can do."""


@dataclass(frozen=True, slots=True)
class Hostility:
    """Some of the hosts are hostile, for the whole run."""

    behaviour: str = option(
        "suppress",
        "what they do. suppress: pass on no change; delay: pass changes on late; subset: keep them from chosen "
        "victims, all from the same; withhold: pass on none and claim to hold what each peer holds; replay: send old "
        "messages again; stale: learn nothing new, and restart from an old disk; lie: about what they hold; slander: "
        "call all others gone; flood: ask, invent and repeat",
        choices=BEHAVIOURS,
    )
    share: float = option(0.1, "share of the hosts", least=0, most=1)
    delay_s: float = option(5.0, "by how many s a delaying host delays", least=0)
    victims: float = option(0.5, "share of all hosts that get nothing from those that feed a subset", least=0, most=1)
    restart_s: float = option(10.0, "s between two restarts of a stale host", least=0.1)
    flood_per_s: float = option(20.0, "messages that a flooding host adds on each link a second", least=0.1)


def message_type(message: bytes) -> int:
    """The type of an encoded message: it follows the array's header, which is one byte for fewer than 16 fields."""
    return message[1]


class Suppress(Adversary):
    """Passes on nothing: no push, and no answer with changes."""

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """All but payloads."""
        return () if message_type(send.message) in PAYLOADS else ((0.0, send),)


class Delay(Adversary):
    """Passes everything on, payloads late."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """Payloads after the delay."""
        return ((self._delay_s if message_type(send.message) in PAYLOADS else 0.0, send),)


class Subset(Adversary):
    """Keeps changes from victims. All such hosts have the same ones, so that together they try to part a cluster."""

    def __init__(self, share: float) -> None:
        self._share = share

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """All, but no payload to a victim."""
        starves = message_type(send.message) in PAYLOADS and self.is_victim(host.links[send.link].other(host).name)
        return () if starves else ((0.0, send),)

    def is_victim(self, name: str) -> bool:
        """Whether a host is one: nothing but its name decides."""
        return Random(f"victim/{name}").random() < self._share


class Withhold(Suppress):
    """Passes on nothing, and says of itself whatever makes a peer believe that both hold the same."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[bytes, int]] = {}

    def hears(self, host: Host, wire: Wire, message: bytes) -> bool:
        """Remember what the peer holds."""
        if message_type(message) in CLAIMS:
            claim = decode_message(message)
            assert isinstance(claim, Root | Hints | Hinted | Checked)
            self._heard[wire.id] = (claim.root, claim.policy)
        return True

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """No payload; the peer's own root in the place of each root, and nothing that it lacks."""
        if message_type(send.message) not in CLAIMS:
            return super().sends(host, send)
        if send.link not in self._heard:
            return ()
        claim = decode_message(send.message)
        assert isinstance(claim, Root | Hints | Hinted | Checked)
        root, policy = self._heard[send.link]
        claim = dataclasses.replace(claim, root=root, policy=policy)
        if isinstance(claim, Hinted):
            claim = dataclasses.replace(claim, lacks=(), more=False)
        return ((0.0, dataclasses.replace(send, message=encode_message(claim))),)


class Replay(Adversary):
    """With each message sends an old one once more, its own or one that it has heard: changes, claims, presence."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._old: deque[Send] = deque(maxlen=REPLAYED_MAX)

    def hears(self, host: Host, wire: Wire, message: bytes) -> bool:
        """Remember what others say."""
        decoded = decode_message(message)
        if decoded is not None:
            self._remember(Send(wire.id, decoded.CLASS, message))
        return True

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """The message, and one from the past."""
        yield 0.0, send
        if self._old:
            yield 0.0, dataclasses.replace(self._rng.choice(self._old), link=send.link)
        self._remember(send)

    def _remember(self, send: Send) -> None:
        if message_type(send.message) in REPLAYABLE:
            self._old.append(send)


class Stale(Adversary):
    """Learns no change after the first publish, serves what it had, and restarts from an old copy of its disk."""

    def __init__(self, restart_s: float) -> None:
        self._restart_s = restart_s
        self._copy: Disk | None = None

    def plan(self, stage: Stage, host: Host) -> None:
        """Copy the disk, and restart from the copy now and then."""
        self._copy = copy_of(host.disk)
        stage.every(self._restart_s, self._restart, stage, host)

    def hears(self, host: Host, wire: Wire, message: bytes) -> bool:
        """No payload, once there is a copy."""
        return self._copy is None or message_type(message) not in PAYLOADS

    def _restart(self, stage: Stage, host: Host) -> None:
        assert self._copy is not None
        stage.crash(host, down_s=0.0)
        host.disk = copy_of(self._copy)


class Lie(Adversary):
    """Claims to have seen all, to hold something else each time and to lack everything."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """The message, with its claims turned into lies."""
        message = decode_message(send.message)
        assert message is not None
        return ((0.0, dataclasses.replace(send, message=encode_message(self._turned(message)))),)

    def _turned(self, message: Message) -> Message:
        match message:
            case Root() | Checked():
                return dataclasses.replace(message, root=self._root())
            case Hints():
                starts, seqs = message.frontier
                return dataclasses.replace(message, frontier=(starts, (SEQ_MAX,) * len(seqs)), root=self._root())
            case Hinted():
                lacks = tuple((place, SEQ_MAX) for place, _ in message.lacks)
                return dataclasses.replace(message, lacks=lacks, root=self._root(), more=True)
            case Walked():
                nodes = tuple(
                    dataclasses.replace(told, levels=1, data=self._rng.randbytes(FANOUT * WIDTH_MIN))
                    if len(told.prefix) < DEPTH_MAX
                    else told
                    for told in message.nodes
                )
                return dataclasses.replace(message, nodes=nodes)
        return message

    def _root(self) -> bytes:
        return self._rng.randbytes(NODE_HASH_BYTES)


class Slander(Adversary):
    """Says of all others that they have stopped, and makes what it says newer than what they say."""

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """The message, with presence records turned."""
        if message_type(send.message) != Roster.TYPE:
            return ((0.0, send),)
        roster = decode_message(send.message)
        assert isinstance(roster, Roster)
        turned = Roster(
            tuple(one if one.presence.node_id == host.name else _gone(one) for one in roster.sightings), roster.news
        )
        return ((0.0, dataclasses.replace(send, message=encode_message(turned))),)


def _gone(sighting: Sighting) -> Sighting:
    presence = sighting.presence
    return dataclasses.replace(sighting, presence=dataclasses.replace(presence, stopped=True, count=presence.count + 1))


def copy_of(disk: Disk) -> Disk:
    """A backup: what is on a disk now."""
    return Disk(changes=dict(disk.changes), meta=dict(disk.meta), retired=dict(disk.retired))


def hostile(hostility: Hostility, rng: Random) -> Adversary:
    """One hostile host's behaviour."""
    make: dict[str, Callable[[], Adversary]] = {
        "suppress": Suppress,
        "delay": lambda: Delay(hostility.delay_s),
        "subset": lambda: Subset(hostility.victims),
        "withhold": Withhold,
        "replay": lambda: Replay(rng),
        "stale": lambda: Stale(hostility.restart_s),
        "lie": lambda: Lie(rng),
        "slander": Slander,
        "flood": lambda: Flood(rng, hostility.flood_per_s),
    }
    return make[hostility.behaviour]()
