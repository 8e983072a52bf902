"""The overlay: which peers this node keeps links to.

A first, simple form behind its final interface: a small random active view over
persistent connections, filled from the address book, which peers tell each other.
Every link is bidirectional and opens with `Hello` both ways. Between two nodes
there is one link: of two, the one that the smaller name dialled stays.

A link that was silent for three keepalives is closed. Addresses that cannot be
reached are tried again for ever; when the view is full, about one a second in the
whole component, whatever its size.

Nothing ticks: each upkeep plans the next one, for when something can be due at the
earliest, and an input that changes this brings it forward. An idle node with a full
view wakes for its keepalives and its share of the probing only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..model.encoding import as_array, as_text, decode, encode
from ..model.errors import FormatError, InvalidInput, ProtocolViolation
from ..model.limits import ADDRESS_BOOK_MAX, ADDRESS_BYTES_MAX
from ..store.journal_ops import PutMeta
from .address_book import AddressBook
from .environment import Connect, Disconnect, Environment, LinkId
from .events import ConnectFailed, DuplicateNode, PeerDown, PeerUp
from .frames import FrameClass
from .messages import (
    ADDRESSES_MAX,
    NONCE_BYTES,
    VERSION_MAX,
    VERSION_MIN,
    Addresses,
    Goodbye,
    GoodbyeCode,
    Hello,
    Message,
    Ping,
    Pong,
    encode_message,
)

ACTIVE_TARGET: Final = 8
"""Links that a node looks for: a random graph of this degree stays connected when half of the nodes vanish."""
ACTIVE_MAX: Final = 16
"""Links that a node accepts: twice the target, so that newcomers find room."""
MAINTAIN_S: Final = 0.5
"""How often links are counted at most: the delay before a lost one is replaced, and how late a silence is noticed, so
that silences which end about together are looked at together."""
HELLO_LIMIT_S: Final = 3.0
"""A link whose peer has not said hello by then is closed."""
KEEPALIVE_S: Final = 5.0
"""A link on which nothing was heard for so long is pinged."""
SILENCES_MAX: Final = 3
"""Keepalives without a sign of life after which a link is closed."""
SHUFFLE_S: Final = 30.0
"""How often addresses are told to one random peer."""
SAVE_S: Final = 5.0
"""Delay before a changed address book is written, so that a burst of joins is one write."""
FULL_REST_S: Final = 30.0
"""How long a peer that has dropped this link as one too many is left alone."""
ALIAS_REST_S: Final = 10.0
"""How long a seed that leads to a node with a link under another address is left alone: it may lead elsewhere later."""
FAULTS_MAX: Final = 8
"""Invalid changes or messages after which a link is closed; an honest peer sends none."""
FAULTS_REST_S: Final = 60.0
"""How long such a peer is not dialled: it would send the same again."""
PROBE_SHARE_MAX: Final = 256
"""Full nodes share the probing of other addresses, about one a second in all; beyond so many members each does its
part nevertheless, since members can be invented."""
TOLD_ADDRESSES_MAX: Final = 256
"""Addresses taken from one peer over the life of a link: it must not fill the book alone."""
NAMESAKE_REPEAT_S: Final = 3600.0
"""How often the same namesake is reported: it is dialled again and again."""
NAMESAKES_MAX: Final = 64
"""Namesakes remembered for that."""
MESSAGES: Final = (Hello, Ping, Pong, Addresses, Goodbye)
"""What the overlay takes."""
STOPPING: Final = "the agent is shutting down"
SAVED_ADDRESSES: Final = "addresses"
"""Name under which the journal keeps the address book."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What this node says of itself in `Hello`."""

    node_id: str
    address: str
    zone: str = ""
    software: str = ""


@dataclass(slots=True)
class Link:
    """One connection, from the shell's `connected` to its `disconnected`. ``greeted``: its peer's hello was right."""

    id: LinkId
    node_id: str
    outbound: bool
    address: str
    opened_s: float
    heard_s: float
    hello: Hello | None = None
    greeted: bool = False
    pings: int = 0
    ping_s: float | None = None
    rtt_s: float | None = None
    faults: int = 0
    told: int = 0
    is_probe: bool = False
    closing: bool = False
    lost: bool = False
    equal: bool = False

    @property
    def ready(self) -> bool:
        """Whether both sides have said hello and nobody is closing it."""
        return self.hello is not None and not self.closing


class Overlay:
    """Links and whom to dial next."""

    def __init__(
        self,
        environment: Environment,
        identity: Identity,
        cluster_id: bytes,
        book: AddressBook,
        *,
        on_up: Callable[[Link], None],
        on_down: Callable[[Link], None],
        write_meta: Callable[[PutMeta], None],
        member_count: Callable[[], int],
    ) -> None:
        self.identity = identity
        self.book = book
        self.health = 0
        self.is_needed: Callable[[Link], bool] = lambda link: False
        self.boot = environment.rng.randbytes(NONCE_BYTES)
        self._environment = environment
        self._cluster_id = cluster_id
        self._on_up = on_up
        self._on_down = on_down
        self._write_meta = write_meta
        self._member_count = member_count
        self._links: dict[LinkId, Link] = {}
        self._dialling: dict[str, None] = {}
        self._probing: dict[str, None] = {}
        self._namesakes: dict[bytes, float] = {}
        self._upkeep_s = float("inf")
        self._probe_s = float("inf")
        self._probe_share = 0
        self._save_planned = False
        self._stopping = False

    # -- reading ----------------------------------------------------------------------------------

    def ready_links(self) -> list[Link]:
        """Links on which both sides have said hello, oldest first."""
        return [link for link in self._links.values() if link.ready]

    def link(self, link_id: LinkId) -> Link | None:
        """A link that is still open, or None."""
        return self._links.get(link_id)

    def send(self, link: Link, message: Message) -> None:
        """Send ``message`` if the link is still good."""
        self.send_all((link,), message)

    def send_all(self, links: Iterable[Link], message: Message) -> None:
        """Send ``message`` on each of ``links`` that is still good; it is encoded once."""
        good = [link.id for link in links if not link.closing]
        if good:
            data = encode_message(message)
            for link_id in good:
                self._environment.send(link_id, message.CLASS, data)

    # -- inputs -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for peers."""
        self._upkeep()
        self._environment.call_later(self._environment.jittered(SHUFFLE_S), self._shuffle)

    def stop(self) -> None:
        """Say goodbye on every link and dial no more."""
        self._stopping = True
        for link in list(self._links.values()):
            if not link.closing:
                # In the class that is sent last, for the peer hears nothing after it.
                farewell = encode_message(Goodbye.saying(GoodbyeCode.LEAVING, STOPPING))
                self._environment.send(link.id, FrameClass.SYNC, farewell)
            self.close(link, STOPPING)

    def connected(self, link_id: LinkId, node_id: str, outbound: bool, address: str) -> None:
        """A connection is open; its peer's certificate says ``node_id``."""
        if outbound:
            self._dialling.pop(address, None)
        now_s = self._environment.now.monotonic_s
        link = self._links[link_id] = Link(link_id, node_id, outbound, address, now_s, now_s)
        link.is_probe = outbound and address in self._probing
        self._probing.pop(address, None)
        self._plan_upkeep(_look_s(link, now_s) + MAINTAIN_S)
        identity = self.identity
        hello = Hello(
            version_min=VERSION_MIN,
            version_max=VERSION_MAX,
            capabilities=0,
            cluster=self._cluster_id,
            node_id=identity.node_id,
            boot=self.boot,
            address=identity.address,
            zone=identity.zone,
            software=identity.software,
        )
        self.send(link, hello)
        if self._stopping:
            self.close(link, STOPPING, GoodbyeCode.LEAVING)

    def connect_failed(self, address: str, reason: str) -> None:
        """A dial has failed."""
        self._dialling.pop(address, None)
        self._probing.pop(address, None)
        self.book.failed(address, self._environment.now.monotonic_s, self._environment.rng)
        self._upkeep_soon()
        self._environment.emit(ConnectFailed(address, reason))

    def disconnected(self, link_id: LinkId, reason: str) -> None:
        """A connection has ended."""
        link = self._links.pop(link_id)
        link.lost = link.lost or not link.closing
        if link.outbound and not link.greeted:
            self.book.failed(link.address, self._environment.now.monotonic_s, self._environment.rng)
            self._environment.emit(ConnectFailed(link.address, reason))
        self._upkeep_soon()
        self._lose(link, reason)

    def hear(self, link: Link, message: Message) -> None:
        """Any message is a sign of life; the first must be hello. Raises ProtocolViolation."""
        link.heard_s = self._environment.now.monotonic_s
        if link.hello is None and type(message) is not Hello:
            raise ProtocolViolation(f"{type(message).__name__} before hello")

    def handle(self, link: Link, message: Message) -> None:
        """Take one of MESSAGES. Raises ProtocolViolation."""
        match message:
            case Hello():
                self._greeted(link, message)
            case Ping():
                self.send(link, Pong(message.token))
            case Pong():
                if link.ping_s is not None and message.token == link.pings:
                    link.rtt_s = self._environment.now.monotonic_s - link.ping_s
                    link.ping_s = None
            case Addresses():
                link.told += len(message.addresses)
                if link.told <= TOLD_ADDRESSES_MAX:
                    self._learn(message.addresses)
            case Goodbye():
                if message.code == GoodbyeCode.FULL:
                    self._rest(link, FULL_REST_S)
                self.close(link, f"peer: {message.reason}")

    def _learn(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if address != self.identity.address:
                self.book.learn(address, self._environment.rng)
        self._upkeep_soon()

    def report_namesake(self, boot: bytes, address: str) -> None:
        """Another agent runs under this node's name: tell, but the same one not more than once an hour."""
        now_s = self._environment.now.monotonic_s
        if now_s - self._namesakes.get(boot, float("-inf")) < NAMESAKE_REPEAT_S:
            return
        if len(self._namesakes) < NAMESAKES_MAX:
            self._namesakes[boot] = now_s
            self._environment.emit(DuplicateNode(address))

    def compared_equal(self, link: Link) -> None:
        """A link that was opened only to see whether its node holds the same has served; a full view needs no other."""
        link.equal = True
        self.close_probe(link)

    def close_probe(self, link: Link) -> None:
        """Close such a link once nothing is left to compare (see `is_needed`)."""
        if link.is_probe and link.equal and not self.is_needed(link) and len(self.ready_links()) > ACTIVE_TARGET:
            self.close(link, "it holds the same, and the view is full", GoodbyeCode.LEAVING)

    def fault(self, link: Link, reason: str) -> None:
        """Count an invalid change or message of a peer; too many close the link."""
        link.faults += 1
        if link.faults >= FAULTS_MAX and not link.closing:
            self._rest(link, FAULTS_REST_S)
            self.close(link, f"{link.faults} invalid messages, the last: {reason}")

    def close(self, link: Link, reason: str, goodbye: GoodbyeCode | None = None) -> None:
        """Close a link; the machines above lose it at once."""
        if link.closing:
            return
        if goodbye is not None:
            self.send(link, Goodbye.saying(goodbye, reason))
        was_ready = link.ready
        link.closing = True
        self._upkeep_soon()
        self._environment.output(Disconnect(link.id, reason))
        if was_ready:
            self._on_down(link)
            self._environment.emit(PeerDown(link.id, link.node_id, reason))

    # -- hello ------------------------------------------------------------------------------------

    def _greeted(self, link: Link, hello: Hello) -> None:
        if link.hello is not None:
            raise ProtocolViolation("a second hello")
        if hello.cluster != self._cluster_id:
            raise ProtocolViolation(f"hello from cluster {hello.cluster.hex()[:8]}…")
        if hello.node_id != link.node_id:
            raise ProtocolViolation(f"hello from {hello.node_id!r} under the certificate of {link.node_id!r}")
        if hello.version_max < VERSION_MIN or hello.version_min > VERSION_MAX:
            raise ProtocolViolation(
                f"peer speaks protocol {hello.version_min} to {hello.version_max}, "
                f"this node {VERSION_MIN} to {VERSION_MAX}"
            )
        if hello.node_id == self.identity.node_id:
            self._met_namesake(link, hello)
            return
        link.greeted = True
        if link.outbound:
            self.book.met(link.address, link.node_id, self._environment.rng)
        if hello.address:
            self.book.claimed(hello.address, link.node_id, self._environment.rng)
        link.hello = hello
        rivals = [other for other in self.ready_links() if other.node_id == link.node_id and other is not link]
        for rival in rivals:
            if link.outbound and rival.outbound and rival.hello and rival.hello.boot == hello.boot:
                continue  # dialled twice under two addresses: the peer keeps the one whose hello it has met last
            if self._outlives(rival, link):
                link.hello = None
                if link.address != hello.address:
                    self.book.rest(link.address, link.node_id, self._environment.now.monotonic_s + ALIAS_REST_S)
                self.close(link, "a link to this node exists already", GoodbyeCode.DUPLICATE)
                return
            self.close(rival, "replaced by another link to this node", GoodbyeCode.DUPLICATE)
        self._plan_save()
        self._upkeep_soon()  # the book knows something new, and there may be room
        self._environment.emit(PeerUp(link.id, link.node_id, hello.address or link.address))
        self._on_up(link)
        self.send(link, Addresses(tuple(self.book.sample(ADDRESSES_MAX, self._environment.rng))))
        self._ping(link)
        self._make_room(link)

    def _met_namesake(self, link: Link, hello: Hello) -> None:
        if hello.boot == self.boot:
            self.book.forget(link.address)
            self.close(link, "this is the agent itself")
        else:
            self.report_namesake(hello.boot, link.address)
            self.close(link, f"two agents run under the name {hello.node_id!r}; give each its own certificate")

    def _outlives(self, old: Link, new: Link) -> bool:
        """Whether of two links to one node the old one stays: both ends decide alike."""
        assert old.hello is not None
        assert new.hello is not None
        if old.hello.boot != new.hello.boot or old.outbound == new.outbound:
            return False
        dialled_by_me = self.identity.node_id < old.node_id
        return old.outbound == dialled_by_me

    def _make_room(self, newest: Link) -> None:
        links = self.ready_links()
        if len(links) > ACTIVE_MAX:
            victim = self._environment.rng.choice([link for link in links if link is not newest])
            self._rest(victim, FULL_REST_S)
            self.close(victim, "too many links", GoodbyeCode.FULL)

    def _rest(self, link: Link, rest_s: float) -> None:
        until_s = self._environment.now.monotonic_s + rest_s
        self.book.rest(link.address, link.node_id, until_s)
        if link.hello is not None:
            self.book.rest(link.hello.address, link.node_id, until_s)

    def _lose(self, link: Link, reason: str) -> None:
        if link.ready:
            link.closing = True
            self._on_down(link)
            self._environment.emit(PeerDown(link.id, link.node_id, reason))

    # -- upkeep -----------------------------------------------------------------------------------

    def _upkeep_soon(self) -> None:
        """Something has changed that upkeep may have to act upon."""
        now_s = self._environment.now.monotonic_s
        if self._upkeep_s > now_s + MAINTAIN_S and not self._stopping:
            self._plan_upkeep(now_s + self._environment.jittered(MAINTAIN_S))

    def _plan_upkeep(self, at_s: float) -> None:
        """Have the next upkeep at ``at_s``, if none comes earlier."""
        if at_s < self._upkeep_s:
            self._upkeep_s = at_s
            self._environment.call_at(at_s, self._planned_upkeep)

    def _planned_upkeep(self) -> None:
        if self._environment.now.monotonic_s >= self._upkeep_s:  # else one was brought forward, and has planned anew
            self._upkeep()

    def _upkeep(self) -> None:
        """Do what is due, and plan the next upkeep."""
        if self._stopping:
            return
        now_s = self._environment.now.monotonic_s
        pause_s = self._environment.jittered(MAINTAIN_S)
        self._upkeep_s = float("inf")
        next_s = min(self._keep_alive(now_s) + pause_s, self._look_for_peers(now_s))
        if next_s < float("inf"):
            self._plan_upkeep(max(next_s, now_s + pause_s))

    def _keep_alive(self, now_s: float) -> float:
        """Ping or close the links that are silent; return when one must be looked at again."""
        next_s = float("inf")
        for link in list(self._links.values()):
            if link.closing:
                continue
            if link.hello is None and link.opened_s + HELLO_LIMIT_S < now_s:
                self.close(link, f"no hello within {HELLO_LIMIT_S:g} s")
            elif link.heard_s + KEEPALIVE_S * SILENCES_MAX < now_s:
                link.lost = True
                self.close(link, f"silent for {KEEPALIVE_S * SILENCES_MAX:g} s")
            else:
                if link.ready and link.heard_s + KEEPALIVE_S < now_s and link.ping_s is None:
                    self._ping(link)
                next_s = min(next_s, _look_s(link, now_s))
        return next_s

    def _look_for_peers(self, now_s: float) -> float:
        """Dial as many as there is room for, or at times one for whom there is none; return when to do so again."""
        open_links = [link for link in self._links.values() if not link.closing]
        counted = sum(link.ready or link.outbound for link in open_links)  # strangers who say nothing fill no view
        room = ACTIVE_TARGET - counted - len(self._dialling)
        if room > 0:
            self._probe_share = 0
        elif not self._draw_probe(now_s) or self._dialling:
            return self._probe_s
        busy_addresses = {*self._dialling, *(link.address for link in open_links if link.outbound)}
        busy_addresses.add(self.identity.address)
        busy_nodes = {link.node_id for link in open_links}
        due = self.book.due(now_s, busy_addresses, busy_nodes)
        if room <= 0:
            if due:
                address = self.book.probe(due, self._environment.rng)
                self._probing[address] = None
                self._connect(address)
            return self._probe_s
        for address in self.book.choose(due, room, self._environment.rng):
            self._connect(address)
            busy_addresses.add(address)
        return self.book.next_try_s(busy_addresses, busy_nodes) if len(due) < room else float("inf")

    def _draw_probe(self, now_s: float) -> bool:
        """Whether it is this node's turn to dial an address for which it has no room.

        The turns of each node come at random times, for all full nodes together about once a
        second. How long one has waited does not matter to what is still to come, so a turn can
        be drawn anew as soon as the share is another one.
        """
        share = min(PROBE_SHARE_MAX, max(1, self._member_count()))
        drawn = self._probe_share > 0 and now_s >= self._probe_s  # a turn that has come is not drawn anew
        if drawn or share != self._probe_share:
            self._probe_share = share
            self._probe_s = now_s + self._environment.rng.expovariate(1 / share)
        return drawn

    def _connect(self, address: str) -> None:
        self._dialling[address] = None
        self._environment.output(Connect(address))

    def _ping(self, link: Link) -> None:
        link.pings += 1
        link.ping_s = self._environment.now.monotonic_s
        self.send(link, Ping(link.pings))

    def _shuffle(self) -> None:
        if self._stopping:
            return
        self._environment.call_later(self._environment.jittered(SHUFFLE_S), self._shuffle)
        links = self.ready_links()
        if links:
            sample = tuple(self.book.sample(ADDRESSES_MAX, self._environment.rng))
            self.send(self._environment.rng.choice(links), Addresses(sample))

    def _plan_save(self) -> None:
        if not self._save_planned:
            self._save_planned = True
            self._environment.call_later(SAVE_S, self._save)

    def _save(self) -> None:
        self._save_planned = False
        self._write_meta(PutMeta(SAVED_ADDRESSES, encode(self.book.saved())))


def _look_s(link: Link, now_s: float) -> float:
    """When upkeep must look at an open link: once it may have to be pinged, or closed if a ping stays unanswered."""
    if link.hello is None:
        return link.opened_s + HELLO_LIMIT_S
    quiet_s = link.heard_s if link.ping_s is None else max(link.heard_s, link.ping_s)
    silent_s = quiet_s + KEEPALIVE_S
    return silent_s if silent_s >= now_s else link.heard_s + KEEPALIVE_S * SILENCES_MAX


def decode_saved_addresses(data: bytes | None) -> list[str]:
    """The saved address book; nothing for one that cannot be read, since seeds remain."""
    if data is None:
        return []
    try:
        values = as_array(decode(data, "the address book", 1 << 20), "the address book", length_max=ADDRESS_BOOK_MAX)
        return [as_text(value, "an address", ADDRESS_BYTES_MAX) for value in values]
    except (FormatError, InvalidInput):
        return []
