"""The sans-IO node: every input of the world in, every output out.

    inputs     start · connected · connect_failed · resolved · resolve_failed · disconnected ·
               received · dropped · timer · reserve · publish · persisted · recalled · merge ·
               submit_beacon · view · say · ask · cancel · renew · renewed · stop;
               each with `now`
    outputs    Send · Connect · Resolve · Disconnect · Persist · Show · Recall · Emit, and
               `next_timer_s`

One node is composed of small machines: `overlay` (links), `broadcast` (news), `sync`
(what news has missed), `presence` (who is there), `acks` (who has applied what), `seeds`
(the way in), `renewal` (certificates), `beacons` (how old the view may be), `statements`
(what nodes say of changes) with `halts` (what their votes hold off) and `stages` (epochs of
strict prefixes), over one `replica`.
The agent's shell and the simulator drive the same class. After each input take the
outputs and carry them out in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ..model.change import Change
from ..model.entry import Slot
from ..model.errors import ProtocolViolation
from ..store.checkpoint import Checkpoint
from ..store.journal_ops import PutMeta
from ..trust.chain import PolicyChain
from ..trust.policy import Policy
from ..trust.signing import Reservation
from ..trust.snapshot import Snapshot
from ..trust.statement import Kind, Notary
from . import acks, beacons, broadcast, overlay, presence, renewal, statements, sync
from .acks import Acks
from .address_book import AddressBook
from .beacons import FRESHNESS_LIMITS, Beacons, FreshnessLimits, View
from .broadcast import Broadcast
from .confirmation import Comparisons, Confirmation
from .decoders import Decoders
from .eagerness import Eagerness
from .environment import Environment, LinkId, Now, Output
from .frames import FrameClass
from .halts import Halts
from .link import Identity, Link
from .messages import Bundle, Checked, GoodbyeCode, Hinted, Hints, Message, Root
from .overlay import Overlay
from .presence import PresenceBoard
from .record import Record
from .renewal import Issue, Renewal
from .replica import Replica
from .roster import Member, SavedMembers
from .seeds import Seeds
from .sighting import Labels
from .stages import Stages
from .statements import Statements
from .subject import Subject
from .sync import Sync
from .tuning import LAN, Tuning
from .zone import ZoneTag


@dataclass(frozen=True, slots=True)
class Restored:
    """What a journal held: changes, headers of dead ones, the address book, ids of accepted policies, members.

    checkpoint:   what an empty journal was just filled with: verified, and its policies are known to the node's chain
    comparisons:  if it was once filled so, how far that is confirmed
    statements:   what nodes have said of changes, signed, by the row in which it stands
    epochs:       what this node has promised and serves of strict prefixes, by prefix
    """

    changes: tuple[Change, ...] = ()
    retired_headers: tuple[Change, ...] = ()
    addresses: tuple[tuple[str, ZoneTag], ...] = ()
    accepted_policies: tuple[bytes, ...] = ()
    members: SavedMembers = field(default_factory=SavedMembers)
    zone: ZoneTag = 0
    learned: Mapping[str, Eagerness] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    comparisons: Comparisons | None = None
    statements: Mapping[int, bytes] = field(default_factory=dict)
    epochs: Mapping[str, Record] = field(default_factory=dict)


class Node:
    """One member of a cluster, without any I/O.

    ``chain`` is the policy chain of a verified cluster file; ``policies`` are its
    policy changes, which the node replicates like any other. ``rng`` is the only
    source of randomness. ``seeds`` are addresses that can be dialled as they are, and
    ``seed_names`` what must be resolved first. ``decoders`` lets a driver of many nodes
    share what it decodes; ``tuning`` is this node's pace; ``freshness`` says how beacons are judged; ``notary``
    signs and verifies what nodes say of changes: without one it says nothing and believes nobody.
    Raises what `PolicyChain.judge` raises if ``restored`` holds a change that the policy
    does not allow.
    """

    def __init__(
        self,
        identity: Identity,
        chain: PolicyChain,
        *,
        rng: Random,
        seeds: Iterable[str] = (),
        seed_names: Iterable[str] = (),
        policies: Iterable[Change] = (),
        restored: Restored | None = None,
        decoders: Decoders | None = None,
        tuning: Tuning = LAN,
        labels: Labels = (),
        freshness: FreshnessLimits = FRESHNESS_LIMITS,
        notary: Notary | None = None,
    ) -> None:
        restored = restored or Restored()
        seeds = tuple(seeds)
        decoders = decoders or Decoders()
        self.environment = Environment(rng, tuning)
        self.replica = Replica(self.environment, chain, decoders.change)
        self.overlay = Overlay(
            self.environment,
            identity,
            chain.cluster_id,
            AddressBook(seeds, restored.addresses, retry_cap_s=tuning.retry_cap_s),
            on_up=self._link_up,
            on_down=self._link_down,
            on_placed=self._link_placed,
            write_meta=self._write_meta,
            member_count=self._member_count,
            all_live=self._all_live,
            zone=restored.zone,
        )
        self.confirmation = Confirmation(self.environment, restored.comparisons, self._write_meta)
        self.sync = Sync(
            self.environment,
            self.replica,
            self.overlay,
            on_taken=self._synced,
            on_equal=self.confirmation.compared_equal,
        )
        self.broadcast = Broadcast(
            self.environment,
            self.replica,
            self.overlay,
            give_up=self.sync.dropped,
            write_meta=self._write_meta,
            learned=restored.learned,
        )
        self.presence = PresenceBoard(
            self.environment,
            self.replica,
            self.overlay,
            write_meta=self._write_meta,
            remembered=restored.members,
            labels=labels,
        )
        self.seeds = Seeds(
            self.environment,
            seeds,
            seed_names,
            is_linked=lambda: bool(self.overlay.ready_links()),
            use=self.overlay.set_seeds,
        )
        self.acks = Acks(self.environment, self.replica, self.overlay)
        self.renewal = Renewal(self.environment, self.overlay, lambda: chain.head, self.presence.address_of)
        self.beacons = Beacons(self.environment, self.replica, self.overlay, freshness)
        self.statements = Statements(self.environment, self.replica, self.overlay, notary)
        self.halts = Halts(self.environment, self.replica, self.statements)
        self.stages = Stages(self.environment, self.replica, self.statements, identity.node_id)
        self._decode_message = decoders.message
        self._takers: dict[type[Any], Callable[[Link, Any], None]] = {
            Bundle: self._unbundle,
            **dict.fromkeys(broadcast.MESSAGES, self.broadcast.handle),
            **dict.fromkeys(presence.MESSAGES, self.presence.handle),
            **dict.fromkeys(overlay.MESSAGES, self.overlay.handle),
            **dict.fromkeys(sync.MESSAGES, self.sync.handle),
            **dict.fromkeys(acks.MESSAGES, self.acks.handle),
            **dict.fromkeys(renewal.MESSAGES, self.renewal.handle),
            **dict.fromkeys(beacons.MESSAGES, self.beacons.handle),
            **dict.fromkeys(statements.MESSAGES, self.statements.handle),
        }
        self._policies = tuple(policies)
        self._shown_root = b""
        self._policy: Policy | None = None
        self._settled_revision = -1
        if restored.checkpoint is not None:
            self.replica.adopt(restored.checkpoint)
        self.replica.restore(restored.changes, restored.retired_headers, restored.accepted_policies)
        self.stages.restore(restored.epochs)
        self.statements.restore(restored.statements)
        self.halts.restore()

    @property
    def identity(self) -> Identity:
        """What this node says of itself."""
        return self.overlay.identity

    @property
    def root(self) -> bytes:
        """The fingerprint of the replicated set: 16 bytes."""
        return self.replica.root

    @property
    def next_timer_s(self) -> float | None:
        """Monotonic time at which `timer` wants to be called, or None."""
        return self.environment.next_timer_s

    def links(self) -> list[Link]:
        """Ready links, oldest first."""
        return self.overlay.ready_links()

    def members(self) -> list[Member]:
        """All other members that were heard of, by name; in a crowd only neighbours (see `presence`)."""
        return self.presence.members()

    def take_outputs(self) -> list[Output]:
        """The outputs since the last call, in order."""
        return self.environment.take_outputs()

    # -- inputs -----------------------------------------------------------------------------------

    def start(self, now: Now) -> None:
        """Begin. Called once, before any other input."""
        self.environment.now = now
        self.replica.retire_left_behind()
        self.replica.add_policies(self._policies)
        self.presence.start()
        self.overlay.start()
        self.seeds.start()
        self._settle()

    def connected(self, now: Now, link_id: LinkId, node_id: str, *, outbound: bool, address: str) -> None:
        """A connection is open; the peer's certificate names ``node_id``. ``address`` is the one that was dialled."""
        self.environment.now = now
        self.overlay.connected(link_id, node_id, outbound, address)
        self._settle()

    def connect_failed(self, now: Now, address: str, reason: str) -> None:
        """A `Connect` has failed."""
        self.environment.now = now
        self.overlay.connect_failed(address, reason)
        self._settle()

    def resolved(self, now: Now, name: str, addresses: Iterable[str]) -> None:
        """A `Resolve` has succeeded: ``addresses`` are all that ``name`` stands for, and can be dialled as they are."""
        self.environment.now = now
        self.seeds.resolved(name, addresses)
        self._settle()

    def resolve_failed(self, now: Now, name: str, reason: str) -> None:
        """A `Resolve` has failed."""
        self.environment.now = now
        self.seeds.resolve_failed(name, reason)
        self._settle()

    def disconnected(self, now: Now, link_id: LinkId, reason: str) -> None:
        """A connection has ended, for whatever reason."""
        self.environment.now = now
        self.overlay.disconnected(link_id, reason)
        self._settle()

    def received(self, now: Now, link_id: LinkId, data: bytes) -> None:
        """A message has come over a link."""
        self.environment.now = now
        link = self.overlay.link(link_id)
        if link is None or link.closing:
            return
        try:
            message = self._decode_message(data)
            if message is not None:
                self._handle(link, message)
        except ProtocolViolation as error:
            self.overlay.close(link, str(error), GoodbyeCode.VIOLATION)
        self._settle()

    def dropped(self, now: Now, link_id: LinkId, frame_class: FrameClass) -> None:
        """A `Send` found the link's queue full: that message is lost. Config comes back by sync."""
        self.environment.now = now
        link = self.overlay.link(link_id)
        if link is None or link.closing:
            return
        if frame_class is FrameClass.CONTROL:
            self.overlay.close(link, "the peer does not read")
        elif link.ready and frame_class is FrameClass.ACK:
            self.presence.dropped(link)
            self.acks.dropped(link)
            self.statements.dropped(link)
        elif link.ready:
            self.broadcast.dropped(link)
            self.sync.dropped(link)
            self.statements.dropped(link)
        self._settle()

    def timer(self, now: Now) -> None:
        """Time has passed; may be called at any time."""
        self.environment.now = now
        self.environment.run_due()
        self._settle()

    def reserve(self, now: Now, signer: bytes, slots: Iterable[Slot]) -> Reservation:
        """The number under which ``signer`` (32 bytes) can publish to ``slots``. See `Replica.reserve`."""
        self.environment.now = now
        return self.replica.reserve(signer, slots)

    def publish(self, now: Now, token: int, change: Change, *, is_compared: bool = False) -> None:
        """Publish a signed change. `Published` or `PublishFailed` with ``token`` follows, once.

        ``is_compared``: only if it has seen all that is live here in its slots, see `Replica.publish`.
        """
        self.environment.now = now
        self.replica.publish(token, change, is_compared=is_compared)
        self._settle()

    def view(self, now: Now) -> View:
        """How old this node's view may be, by the beacons that have come."""
        self.environment.now = now
        return self.beacons.view()

    def submit_beacon(self, now: Now, snapshot: Snapshot) -> None:
        """Take a signed beacon and spread it. Raises InvalidInput, or a Rejected that says why not."""
        self.environment.now = now
        self.beacons.submit(snapshot)
        self._settle()

    def merge(self, now: Now, parts: Iterable[tuple[Change, bytes]]) -> int:
        """Take changes from a verified checkpoint as if a peer had sent them; return how many were news."""
        self.environment.now = now
        count = self.replica.merge(parts)
        self._settle()
        return count

    def persisted(self, now: Now, token: int, error: str | None = None) -> None:
        """A `Persist` is on disk, or has failed with ``error`` and left nothing."""
        self.environment.now = now
        change = self.replica.persisted(token, error)
        if change is not None:
            self.broadcast.spread(change)
        self._settle()

    def recalled(self, now: Now, found: Iterable[bytes]) -> None:
        """What a `Recall` has found: encoded changes."""
        self.environment.now = now
        self.replica.recalled(found)
        self._settle()

    def say(self, now: Now, kind: Kind, subject: bytes) -> None:
        """Say something of a change, signed; `Said` or `SayFailed` follows. Raises what `Statements.say` raises."""
        self.environment.now = now
        self.statements.say(kind, subject)
        self._settle()

    def ask(self, now: Now, subject: Subject, lease_s: float) -> int:
        """Ask who has applied ``subject``; `AckProgress` with the question's number follows. See `Acks.ask`."""
        self.environment.now = now
        return self.acks.ask(subject, lease_s)

    def cancel(self, now: Now, question: int) -> None:
        """End a question."""
        self.environment.now = now
        self.acks.cancel(question)

    def issue_with(self, issue: Issue) -> None:
        """From now on renew peers' certificates by ``issue``, while the policy calls this node an issuer."""
        self.renewal.issue = issue

    def renew(self, now: Now, request: bytes) -> bool:
        """Have this node's certificate renewed; whether the policy names an issuer. See `Renewal.ask`."""
        self.environment.now = now
        return self.renewal.ask(request)

    def renewed(self, now: Now) -> None:
        """No renewal is wanted any more."""
        self.environment.now = now
        self.renewal.finish()

    def stop(self, now: Now) -> None:
        """Say goodbye; no output but sends, disconnects and writes under way comes after this."""
        self.environment.now = now
        self.presence.stop()
        self.seeds.stop()
        self.overlay.stop()
        self.environment.clear_timers()

    # -- inside -----------------------------------------------------------------------------------

    def _handle(self, link: Link, message: Message) -> None:
        self.overlay.hear(link, message)
        if isinstance(message, Root | Hints | Hinted | Checked) and link.ready:
            self.presence.root_shown(link, message.root)
        self._takers[type(message)](link, message)

    def _unbundle(self, link: Link, bundle: Bundle) -> None:
        """Take the messages of a bundle one after the other. Raises ProtocolViolation."""
        for data in bundle.messages:
            message = self._decode_message(data)
            if message is None or link.closing:
                continue
            if not isinstance(message, broadcast.MESSAGES):
                raise ProtocolViolation(f"{type(message).__name__} in a bundle")
            self.broadcast.handle(link, message)

    def _link_up(self, link: Link) -> None:
        self.sync.link_up(link)
        self.broadcast.link_up(link)
        self.presence.link_up(link)
        self.acks.link_up(link)
        self.renewal.link_up(link)
        self.beacons.link_up(link)
        self.statements.link_up(link)

    def _link_down(self, link: Link) -> None:
        self.sync.link_down(link)
        self.broadcast.link_down(link)
        self.seeds.link_down()
        self.presence.link_down(link)
        self.acks.link_down(link)
        self.renewal.link_down(link)
        self.beacons.link_down(link)
        self.statements.link_down(link)

    def _link_placed(self, link: Link) -> None:
        self.broadcast.link_placed(link)

    def _synced(self, data: bytes) -> None:
        self.broadcast.synced(data)

    def _member_count(self) -> int:
        """How many share the probing: where presence does not count them all, as many as there are addresses."""
        count = len(self.presence)
        return max(count, len(self.overlay.book)) if self.presence.is_crowded else count

    def _all_live(self) -> bool:
        """Whether as many members live as there are addresses: then nobody is on another side."""
        return not self.presence.is_crowded and self.presence.live_count > len(self.overlay.book)

    def _write_meta(self, op: PutMeta) -> None:
        self.replica.write_meta(op)

    def _settle(self) -> None:
        """After each input: what follows from a changed state, whichever machine has changed it."""
        self.presence.settle()
        if self.replica.revision == self._settled_revision:
            return
        self._settled_revision = self.replica.revision
        if self.replica.chain.head is not self._policy:  # what settles a fork may have the number of the one before it
            self._policy = self.replica.chain.head
            self.broadcast.policy_arrived()
            self.beacons.policy_arrived()
        self.stages.settle()
        self.statements.settle()
        self.halts.settle()
        if self.replica.root != self._shown_root:
            self._shown_root = self.replica.root
            self.presence.state_changed()
            self.acks.state_changed()
            self.beacons.state_changed()
