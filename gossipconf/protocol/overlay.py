"""The overlay: which peers this node keeps links to.

Persistent connections to a few near peers and a few far ones (`views`), filled from the
address book, which peers tell each other. Every link is bidirectional and opens with
`Hello` both ways. Between two nodes there is one link: of two, the one that the smaller
name dialled stays.

Silent links are closed (`keepalive`). Addresses that cannot be reached are tried again for
ever; when the view is full, about one a second in the whole component, whatever its size,
or one in CALM_FACTOR seconds while everybody is there.

Nothing ticks: each upkeep plans the next one, for when something can be due at the
earliest, and an input that changes this brings it forward. An idle node with a full
view wakes for its keepalives and its share of the probing only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ..model.encoding import as_array, as_int, as_text, decode, encode
from ..model.errors import FormatError, InvalidInput, ProtocolViolation
from ..model.limits import ADDRESS_BOOK_MAX, ADDRESS_BYTES_MAX
from ..store.journal_ops import PutMeta
from .address_book import AddressBook
from .complaints import Complaint, Complaints
from .environment import Connect, Disconnect, Environment, LinkId
from .events import ConnectFailed, DuplicateNode, PeerDown, PeerUp
from .frames import FrameClass
from .keepalive import Keepalive, look_s
from .link import FAR_AGREEING, Identity, Link
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
    WantAddresses,
    ZoneTold,
    agreed_version,
    encode_message,
)
from .neighbourhood import Neighbourhood
from .views import Wanted, surplus, wanted
from .zone import TAG_MAX, ZoneTag

SAVE_S: Final = 5.0
"""Delay before a changed address book is written, so that a burst of joins is one write."""
SAVE_FIRST_S: Final = 0.5
"""Delay of the first time: until then a node that is restarted knows its seeds only, and they may be gone."""
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
CALM_FACTOR: Final = 10
"""How much rarer probes are while nobody is missing: every probe is a handshake, most of what an idle cluster sends."""
TOLD_ADDRESSES_MAX: Final = 256
"""Addresses taken from one peer over the life of a link: it must not fill the book alone."""
NAMESAKE_REPEAT_S: Final = 3600.0
"""How often the same namesake is reported: it is dialled again and again."""
NAMESAKES_MAX: Final = 64
"""Namesakes remembered for that."""
ASK_S: Final = 1.0
"""Wait before peers are asked again for addresses of near nodes, while they are wanting; it doubles up to ASK_CAP_S."""
ASKED_MAX: Final = 3
"""Peers that are asked at a time."""
ASK_CAP_S: Final = 60.0
"""A zone of three nodes never has six near links: asking must cost nothing then."""
LOSSES_S: Final = 15.0
"""Time within which links are lost at once: as long as the slowest notice takes."""
SHAKEN_S: Final = 60.0
"""How long a node that has lost half of its links looks for others at full pace."""
PLACING_S: Final = 0.2
"""Pause between two measurements of a link that is not placed yet, so that one lost packet does not spoil several."""
REPLACING_S: Final = 2.0
"""And of one without label that was found far: it may have met a bad time."""
PONGS_MAX: Final = 24
"""Round trips after which a far link is believed to be one."""
EXCESS_STEP: Final = 4
"""Dials in a row that must fail before one more is made at once for each link that is wanted."""
EXCESS_MAX: Final = 8
"""Dials at once for each link that is wanted, when nearly all fail and the node is nearly alone: after a mass crash
most addresses are dead."""
MESSAGES: Final = (Hello, Ping, Pong, Addresses, WantAddresses, ZoneTold, Goodbye)
"""What the overlay takes."""
STOPPING: Final = "the agent is shutting down"
SAVED_ADDRESSES: Final = "addresses"
"""Name under which the journal keeps the address book."""
SAVED_ZONE: Final = "zone"
"""Name under which it keeps the tag of a zone without label."""


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
        on_placed: Callable[[Link], None],
        write_meta: Callable[[PutMeta], None],
        member_count: Callable[[], int],
        all_live: Callable[[], bool],
        zone: ZoneTag = 0,
    ) -> None:
        self.identity = identity
        self.book = book
        self.is_needed: Callable[[Link], bool] = lambda link: False
        self.boot = environment.rng.randbytes(NONCE_BYTES)
        self._environment = environment
        self._cluster_id = cluster_id
        self._on_up = on_up
        self._on_down = on_down
        self._on_placed = on_placed
        self._write_meta = write_meta
        self._member_count = member_count
        self._all_live = all_live
        self.complaints = Complaints()
        self.keepalive = Keepalive(environment, self.send)
        self.neighbourhood = Neighbourhood(environment, identity.zone, zone, self._tell_zone)
        self._links: dict[LinkId, Link] = {}
        self._ready: list[Link] | None = None
        self._dialling: dict[str, bool] = {}
        self._failures = 0
        self._losses: list[float] = []
        self._shaken_until_s = float("-inf")
        self._ask_s = 0.0
        self._ask_pause_s = ASK_S
        self._probing: dict[str, None] = {}
        self._namesakes: dict[bytes, float] = {}
        self._upkeep_s = float("inf")
        self._probe_s = float("inf")
        self._probe_share = 0
        self._save_planned = False
        self._saved = False
        self._stopping = False

    # -- reading ----------------------------------------------------------------------------------

    def ready_links(self) -> list[Link]:
        """Links on which both sides have said hello, oldest first."""
        if self._ready is None:
            self._ready = [link for link in self._links.values() if link.ready]
        return self._ready

    @property
    def zone(self) -> ZoneTag:
        """The tag of this node's zone; 0 if it knows no other."""
        return self.neighbourhood.zone

    @property
    def is_stopping(self) -> bool:
        """Whether all links are being closed for good."""
        return self._stopping

    @property
    def zone_nodes(self) -> int:
        """How many nodes of this node's own zone are known, itself included."""
        return 1 + self.book.count_in(self.zone)

    @property
    def health(self) -> int:
        """How little this node can trust its own judgement on others; 0 is well (see `keepalive`)."""
        return self.keepalive.health

    def wanted(self) -> Wanted:
        """The links that this node looks for."""
        knows_others = self.book.knows_other_than(self.zone) or any(link.is_far for link in self.ready_links())
        tuning = self._environment.tuning
        return wanted(self.zone_nodes, knows_others=bool(self.zone) and knows_others, tuning=tuning)

    def pushed(self, links: Iterable[Link]) -> None:
        """Something that gets no answer was sent on ``links``: see that their peers live."""
        for link in links:
            if not link.closing and self.keepalive.pushed(link):
                self._plan_upkeep(self._look_s(link))

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
        self._environment.call_later(self._environment.jittered(self._environment.tuning.shuffle_s), self._shuffle)

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
        wanted_near = outbound and self._dialling.pop(address, False)
        now_s = self._environment.now.monotonic_s
        link = self._links[link_id] = Link(link_id, node_id, outbound, address, now_s, now_s)
        link.wanted_near = wanted_near
        link.is_probe = outbound and address in self._probing
        self._probing.pop(address, None)
        self._plan_upkeep(self._look_s(link))
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
        self._failures += 1
        self.book.failed(address, self._environment.now.monotonic_s, self._environment.rng)
        self._upkeep_soon()
        self._environment.emit(ConnectFailed(address, reason))

    def disconnected(self, link_id: LinkId, reason: str) -> None:
        """A connection has ended."""
        link = self._links.pop(link_id)
        self._ready = None
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
                if self.keepalive.pong(link, message.token):
                    self._measured(link)
            case Addresses():
                self._told(link, message)
            case WantAddresses():
                if not link.closing:
                    self._tell_addresses(link, message.zone)
            case ZoneTold():
                self.neighbourhood.told(link, message.zone)
                self._note_zone(link)
            case Goodbye():
                if message.code == GoodbyeCode.FULL:
                    self._rest(link, FULL_REST_S)
                self.close(link, f"peer: {message.reason}")

    def _told(self, link: Link, told: Addresses) -> None:
        """Learn addresses: those that were asked for, and of others so many that no peer fills the book alone."""
        if link.asked:
            link.asked = False
        else:
            link.told += len(told.addresses)
            if link.told > TOLD_ADDRESSES_MAX:
                return
        for address, zone in zip(told.addresses, told.zones, strict=False):
            if address != self.identity.address:
                self.book.learn(address, self._environment.rng, zone, link.node_id)
        self._upkeep_soon()

    def _tell_addresses(self, link: Link, zone: ZoneTag = 0) -> None:
        addresses = tuple(self.book.sample(ADDRESSES_MAX, self._environment.rng, zone))
        self.send(link, Addresses(addresses, tuple(map(self.book.zone, addresses))))

    def _measured(self, link: Link) -> None:
        """A round trip was measured: it may show where the peer is."""
        if not link.ready:
            return
        before = link.near
        self.neighbourhood.measured(link)
        unsure = link.is_far and link.agreeing < FAR_AGREEING and link.pongs < PONGS_MAX
        if link.near is None or (unsure and not self.neighbourhood.knows_label(link)):
            pause_s = 0.0 if link.pongs < FAR_AGREEING else PLACING_S if link.near is None else REPLACING_S
            self._environment.call_later(pause_s, lambda: self._measure_again(link))
        if link.near is not before:  # it counts among others now
            if link.is_far:
                self._on_placed(link)
            self._make_room(link)

    def _measure_again(self, link: Link) -> None:
        if link.ready:
            self.keepalive.ping(link)

    def _tell_zone(self, told: ZoneTold) -> None:
        self.send_all(self.ready_links(), told)
        self._plan_save()

    def _note_zone(self, link: Link) -> None:
        if link.hello is not None:
            self.book.place(link.node_id, link.zone)

    def set_seeds(self, addresses: Iterable[str]) -> None:
        """These and only these addresses are seeds now; those that are new are dialled at once if there is room."""
        self.book.set_seeds(addresses)
        self._plan_upkeep(self._environment.now.monotonic_s)

    def visit(self, address: str) -> None:
        """Dial ``address`` although there may be no room; the link goes again once it has served: see `close_probe`."""
        busy = {*self._dialling, *(link.address for link in self._links.values() if not link.closing)}
        if address not in busy and address != self.identity.address and not self._stopping:
            self._probing[address] = None
            self._connect(address)

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
        if link.is_probe and link.equal and not self.is_needed(link) and self._is_beyond(link):
            self.close(link, "it holds the same, and the view is full", GoodbyeCode.LEAVING)

    def _is_beyond(self, link: Link) -> bool:
        """Whether there are more links of its kind than are wanted."""
        view = self.wanted()
        alike = sum(one.is_far is link.is_far for one in self.ready_links())
        return alike > (view.far if link.is_far else view.near)

    def fault(self, link: Link, reason: str) -> None:
        """Count an invalid change or message of a peer; too many close the link."""
        link.faults += 1
        self.complaints.note(link.node_id, Complaint.INVALID)
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
        self._note_loss(link)
        link.closing = True
        self._ready = None
        self._upkeep_soon()
        self._environment.output(Disconnect(link.id, reason))
        if was_ready:
            self._on_down(link)
            self._environment.emit(PeerDown(link.id, link.node_id, reason))

    def _note_loss(self, link: Link) -> None:
        """A link has ended. Who loses most of its links at once may be part of a small rest that knows nobody else of
        the others: it looks around at full pace for a while, whatever its share."""
        if not link.lost:
            return
        now_s = self._environment.now.monotonic_s
        self._losses = [at_s for at_s in self._losses if at_s > now_s - LOSSES_S] + [now_s]
        if 2 * len(self._losses) >= self.wanted().links:
            self._shaken_until_s = now_s + SHAKEN_S
            self._upkeep_soon()

    # -- hello ------------------------------------------------------------------------------------

    def _greeted(self, link: Link, hello: Hello) -> None:
        if link.hello is not None:
            raise ProtocolViolation("a second hello")
        if hello.cluster != self._cluster_id:
            raise ProtocolViolation(f"hello from cluster {hello.cluster.hex()[:8]}…")
        if hello.node_id != link.node_id:
            raise ProtocolViolation(f"hello from {hello.node_id!r} under the certificate of {link.node_id!r}")
        version = agreed_version(hello)
        if version is None:
            raise ProtocolViolation(
                f"peer speaks protocol {hello.version_min} to {hello.version_max}, "
                f"this node {VERSION_MIN} to {VERSION_MAX}"
            )
        if hello.node_id == self.identity.node_id:
            self._met_namesake(link, hello)
            return
        link.greeted = True
        self._failures = 0
        link.hello, link.version = hello, version
        self._ready = None
        self.neighbourhood.greeted(link)
        if link.outbound:
            self.book.met(link.address, link.node_id, self._environment.rng, link.zone)
        if hello.address:
            self.book.claimed(hello.address, link.node_id, self._environment.rng, link.zone)
        rivals = [other for other in self.ready_links() if other.node_id == link.node_id and other is not link]
        for rival in rivals:
            if link.outbound and rival.outbound and rival.hello and rival.hello.boot == hello.boot:
                continue  # dialled twice under two addresses: the peer keeps the one whose hello it has met last
            if self._outlives(rival, link):
                link.hello = None
                self._ready = None
                if link.address != hello.address:
                    self.book.rest(link.address, link.node_id, self._environment.now.monotonic_s + ALIAS_REST_S)
                self.close(link, "a link to this node exists already", GoodbyeCode.DUPLICATE)
                return
            self.close(rival, "replaced by another link to this node", GoodbyeCode.DUPLICATE)
        self._plan_save()
        self._upkeep_soon()  # the book knows something new, and there may be room
        self._environment.emit(PeerUp(link.id, link.node_id, hello.address or link.address))
        if self.zone and not self.neighbourhood.labelled:
            self.send(link, ZoneTold(self.zone))
        self._on_up(link)
        self._tell_addresses(link)
        self.keepalive.ping(link)
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
        victim = surplus(self.ready_links(), newest, self.wanted(), self._environment.rng)
        if victim is not None:
            self._rest(victim, FULL_REST_S)
            self.close(victim, "too many links", GoodbyeCode.FULL)

    def _rest(self, link: Link, rest_s: float) -> None:
        until_s = self._environment.now.monotonic_s + rest_s
        self.book.rest(link.address, link.node_id, until_s)
        if link.hello is not None:
            self.book.rest(link.hello.address, link.node_id, until_s)

    def _lose(self, link: Link, reason: str) -> None:
        if link.ready:
            link.lost = True
            self._note_loss(link)
            link.closing = True
            self._on_down(link)
            self._environment.emit(PeerDown(link.id, link.node_id, reason))

    def _look_s(self, link: Link) -> float:
        """When upkeep must look at a link, if nothing is heard of it."""
        tuning = self._environment.tuning
        return look_s(link, self._environment.now.monotonic_s, tuning) + tuning.refill_s

    # -- upkeep -----------------------------------------------------------------------------------

    def _upkeep_soon(self) -> None:
        """Something has changed that upkeep may have to act upon."""
        now_s = self._environment.now.monotonic_s
        if self._upkeep_s > now_s + self._environment.tuning.refill_s and not self._stopping:
            self._plan_upkeep(now_s + self._environment.jittered(self._environment.tuning.refill_s))

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
        pause_s = self._environment.jittered(self._environment.tuning.refill_s)
        self._upkeep_s = float("inf")
        next_s = self.keepalive.look(list(self._links.values()), self.close) + pause_s
        next_s = min(next_s, self._look_for_peers(now_s))
        if next_s < float("inf"):
            self._plan_upkeep(max(next_s, now_s + pause_s))

    def _look_for_peers(self, now_s: float) -> float:
        """Dial as many as there is room for, and at times one for whom there is none; return when to do so again.

        Where one kind is full and the other is wanting, perhaps for ever, nobody of the full kind would be dialled
        but by a probe, and a partition among them would stay.
        """
        open_links = [link for link in self._links.values() if not link.closing]
        lacking = self._lacking(open_links)
        if sum(not link.is_far for link in self.ready_links()) >= self.wanted().near:
            self._ask_pause_s = ASK_S
        probing = False
        if lacking.near > 0 and (lacking.far > 0 or not self.wanted().far):
            self._probe_share = 0  # all addresses have their turns
        else:
            probing = self._draw_probe(now_s) and not (self._probing if lacking.links > 0 else self._dialling)
            if lacking.links <= 0 and not probing:
                return self._probe_s
        busy_addresses = {*self._dialling, *(link.address for link in open_links if link.outbound)}
        busy_addresses.add(self.identity.address)
        busy_nodes = {link.node_id for link in open_links}
        due = self.book.due(now_s, busy_addresses, busy_nodes)
        if probing and due:
            address = self.book.probe(due, self._environment.rng)
            due.remove(address)
            self._probing[address] = None
            self._connect(address)
        if lacking.links <= 0:
            return self._probe_s
        excess = self._excess(lacking)
        wanting = self._dial(due, lacking.near * excess, near=True) > 0
        wanting |= self._dial(due, lacking.far * excess, near=False) > 0
        if lacking.near > 0:
            self._ask_for_near(now_s)
        busy_addresses.update(self._dialling)
        next_s = self.book.next_try_s(now_s, busy_addresses, busy_nodes) if wanting else float("inf")
        return min(next_s, self._probe_s) if self._probe_share else next_s

    def _lacking(self, open_links: list[Link]) -> Wanted:
        """How many links are missing of each kind; what is dialled counts as what it is hoped to be."""
        view = self.wanted()
        near = far = 0
        for link in open_links:
            if link.ready or link.outbound:  # strangers who say nothing fill no view
                is_near = not link.is_far if link.ready else link.wanted_near
                near += is_near
                far += not is_near
        hoped_near = sum(self._dialling.values())
        return Wanted(
            max(0, view.near - near - hoped_near), max(0, view.far - far - (len(self._dialling) - hoped_near))
        )

    def _excess(self, lacking: Wanted) -> int:
        """How many to dial for each link that is missing: more than one if nearly all links are and all dials fail."""
        if 2 * lacking.links <= self.wanted().links:
            return 1
        return min(EXCESS_MAX, 1 + self._failures // EXCESS_STEP)

    def _dial(self, due: list[str], count: int, *, near: bool) -> int:
        """Dial up to ``count`` of the addresses ``due`` that may be of the kind; return how many there were too few."""
        if count <= 0:
            return 0
        zone, may_be_near = self.zone, self.neighbourhood.may_be_near
        if near:
            fit = [address for address in due if may_be_near(self.book.zone(address))]
            same = [address for address in fit if self.book.zone(address) == zone]
            fit = same + [address for address in fit if self.book.zone(address) != zone] if zone else fit
        else:
            fit = [address for address in due if not zone or self.book.zone(address) != zone]
            same = []
        busy = [*self._dialling, *(link.address for link in self._links.values() if link.outbound and not link.closing)]
        chosen = self.book.choose(same, count, self._environment.rng, busy) if same else []
        others = [address for address in fit if address not in same]
        chosen += self.book.choose(others, count - len(chosen), self._environment.rng, [*busy, *chosen])
        for address in chosen:
            self._connect(address, near=near)
            due.remove(address)
        return count - len(chosen)

    def _ask_for_near(self, now_s: float) -> None:
        """Ask peers for addresses in this node's zone, the less often the longer it has not helped."""
        links = self.ready_links()
        if not self.zone or not links or now_s < self._ask_s:
            return
        for link in self._environment.rng.sample(links, min(len(links), ASKED_MAX)):
            link.asked = True
            self.send(link, WantAddresses(self.zone))
        self._ask_s = now_s + self._environment.jittered(self._ask_pause_s)
        self._ask_pause_s = min(ASK_CAP_S, 2 * self._ask_pause_s)
        self._environment.call_at(self._ask_s, self._upkeep_soon)

    def _draw_probe(self, now_s: float) -> bool:
        """Whether it is this node's turn to dial an address for which it has no room.

        The turns of each node come at random times, for all full nodes together about once a
        second. How long one has waited does not matter to what is still to come, so a turn can
        be drawn anew as soon as the share is another one.
        """
        share = 1 if now_s < self._shaken_until_s else self._share()
        drawn = self._probe_share > 0 and now_s >= self._probe_s  # a turn that has come is not drawn anew
        if drawn or share != self._probe_share:
            self._probe_share = share
            self._probe_s = now_s + self._environment.rng.expovariate(1 / share)
        return drawn

    def _share(self) -> int:
        """One probe in so many seconds is this node's."""
        calm = CALM_FACTOR if self._all_live() and not self.book.misses_somebody else 1
        return min(PROBE_SHARE_MAX, calm * max(1, self._member_count()))

    def _connect(self, address: str, *, near: bool = False) -> None:
        self._dialling[address] = near
        self._environment.output(Connect(address))

    def _shuffle(self) -> None:
        if self._stopping:
            return
        self._environment.call_later(self._environment.jittered(self._environment.tuning.shuffle_s), self._shuffle)
        links = self.ready_links()
        if links:
            self._tell_addresses(self._environment.rng.choice(links))

    def _plan_save(self) -> None:
        if not self._save_planned:
            self._save_planned = True
            self._environment.call_later(SAVE_S if self._saved else SAVE_FIRST_S, self._save)

    def _save(self) -> None:
        self._save_planned = False
        self._saved = True
        self._write_meta(PutMeta(SAVED_ADDRESSES, encode(self.book.saved())))
        if self.zone and not self.neighbourhood.labelled:
            self._write_meta(PutMeta(SAVED_ZONE, encode(self.zone)))


def decode_saved_addresses(data: bytes | None) -> list[tuple[str, ZoneTag]]:
    """The saved address book; nothing for one that cannot be read, since seeds remain."""
    if data is None:
        return []
    try:
        pairs = as_array(decode(data, "the address book", 1 << 20), "the address book", length_max=ADDRESS_BOOK_MAX)
        return [_decode_saved_address(pair) for pair in pairs]
    except (FormatError, InvalidInput):
        return []


def decode_saved_zone(data: bytes | None) -> ZoneTag:
    """The saved tag; 0 for what cannot be read: there will be another one."""
    try:
        return 0 if data is None else as_int(decode(data, "the zone's tag", 16), "a zone's tag", 0, TAG_MAX)
    except (FormatError, InvalidInput):
        return 0


def _decode_saved_address(value: Any) -> tuple[str, ZoneTag]:
    address, zone = as_array(value, "an address and its zone", 2)
    return as_text(address, "an address", ADDRESS_BYTES_MAX), as_int(zone, "a zone's tag", 0, TAG_MAX)
