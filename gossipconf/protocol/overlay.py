"""The overlay: which peers this node keeps links to.

A first, simple form behind its final interface: a small random active view over
persistent connections, filled from the address book, which peers tell each other.
Every link is bidirectional and opens with `Hello` both ways. Between two nodes
there is one link: of two, the one that the smaller name dialled stays.

A link that was silent for three keepalives is closed. Addresses that cannot be
reached are tried again for ever; when the view is full, about one a second in the
whole component, whatever its size.
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
"""How often links are counted: the delay before a lost one is replaced."""
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
        if not link.closing:
            self._environment.send(link.id, message.CLASS, encode_message(message))

    # -- inputs -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for peers."""
        self._maintain()
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
        self._environment.emit(ConnectFailed(address, reason))

    def disconnected(self, link_id: LinkId, reason: str) -> None:
        """A connection has ended."""
        link = self._links.pop(link_id)
        if link.outbound and not link.greeted:
            self.book.failed(link.address, self._environment.now.monotonic_s, self._environment.rng)
            self._environment.emit(ConnectFailed(link.address, reason))
        self._lose(link, reason)

    def handle(self, link: Link, message: Message) -> bool:
        """Take a message that is the overlay's; False if it is another machine's. Raises ProtocolViolation."""
        link.heard_s = self._environment.now.monotonic_s
        match message:
            case Hello():
                self._greeted(link, message)
            case _ if link.hello is None:
                raise ProtocolViolation(f"{type(message).__name__} before hello")
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
            case _:
                return False
        return True

    def _learn(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if address != self.identity.address:
                self.book.learn(address, self._environment.rng)

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
        if link.is_probe and len(self.ready_links()) > ACTIVE_TARGET:
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

    def _maintain(self) -> None:
        if self._stopping:
            return
        self._environment.call_later(self._environment.jittered(MAINTAIN_S), self._maintain)
        now_s = self._environment.now.monotonic_s
        for link in list(self._links.values()):
            if link.closing:
                continue
            if link.hello is None and now_s - link.opened_s > HELLO_LIMIT_S:
                self.close(link, f"no hello within {HELLO_LIMIT_S:g} s")
            elif now_s - link.heard_s > KEEPALIVE_S * SILENCES_MAX:
                self.close(link, f"silent for {KEEPALIVE_S * SILENCES_MAX:g} s")
            elif link.ready and now_s - link.heard_s > KEEPALIVE_S and link.ping_s is None:
                self._ping(link)
        for address in self._worth_dialling(now_s):
            self._dialling[address] = None
            self._environment.output(Connect(address))

    def _worth_dialling(self, now_s: float) -> list[str]:
        open_links = [link for link in self._links.values() if not link.closing]
        busy_addresses = {*self._dialling, *(link.address for link in open_links if link.outbound)}
        busy_addresses.add(self.identity.address)
        busy_nodes = {link.node_id for link in open_links}
        due = self.book.due(now_s, busy_addresses, busy_nodes)
        counted = [link for link in open_links if link.ready or link.outbound]  # strangers who say nothing fill no view
        room = ACTIVE_TARGET - len(counted) - len(self._dialling)
        if room > 0:
            return due[:room]
        share = min(PROBE_SHARE_MAX, max(1, self._member_count()))
        if not due or self._dialling or self._environment.rng.random() * share >= MAINTAIN_S:
            return []
        address = self.book.probe(due, self._environment.rng)
        self._probing[address] = None
        return [address]

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


def decode_saved_addresses(data: bytes | None) -> list[str]:
    """The saved address book; nothing for one that cannot be read, since seeds remain."""
    if data is None:
        return []
    try:
        values = as_array(decode(data, "the address book", 1 << 20), "the address book", length_max=ADDRESS_BOOK_MAX)
        return [as_text(value, "an address", ADDRESS_BYTES_MAX) for value in values]
    except (FormatError, InvalidInput):
        return []
