"""Beacons: how old this node's view may be, by the word of a key that signs the state at an interval.

A beacon is a snapshot without contents: "at this time the set with this root was all that I
knew". A node that has had that root knows all that the signer knew then:

    it has had the root  ⇒  its view is at most (now - time) old

It need not have it still: a set only ever grows in knowledge, since what replaces or voids
something is an entry itself, so no set comes twice. Whoever withholds changes from a node
keeps it from the roots that later beacons state, and whoever withholds the beacons
shows nothing newer: in both cases the bound grows, which is all that a signature can give.

Beacons are soft state, passed on once over each link and never written
(docs/decisions/014): the latest of each signer, handed to each new peer. An older one of the
same signer is not even looked at, so a replay lowers nothing.

Clocks. Time is the signer's. Clocks may differ by a *skew* that settings name: by so much
each bound is longer, and a beacon from further in the future is refused. A bound never
shrinks by a clock here that is set back: it grows at least as the monotonic clock does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ..model.errors import BadSignature, Expired, FormatError, InvalidInput, Rejected, WrongCluster
from ..trust.keys import fingerprint
from ..trust.snapshot import Snapshot, may_sign
from .complaints import Complaint
from .environment import Environment, LinkId
from .events import BeaconRefused, ViewStale
from .link import Link
from .messages import Beacon
from .overlay import Overlay
from .replica import Replica
from .token_bucket import TokenBucket

MESSAGES: Final = (Beacon,)
SIGNERS_MAX: Final = 16
"""Signers whose beacons are kept and passed on; two or three are run, so that one may fail."""
ROOTS_REMEMBERED_MAX: Final = 4_096
"""Roots that this node has had (about 0.4 MB): four an hour for six weeks, or 70 a second for a minute."""
SIGNER_PER_S: Final = 1.0
SIGNER_BURST: Final = 8.0
"""Beacons of one signer that are taken: who holds such a key is no flood."""
VERIFIED_PER_S: Final = 2.0
VERIFIED_BURST: Final = 32.0
"""Beacons of one peer whose signature is verified: 0.2 ms of each second, whatever it sends."""


@dataclass(frozen=True, slots=True)
class FreshnessLimits:
    """How beacons are judged.

    skew_ms:   how far clocks may differ, in milliseconds
    limit_ms:  age of the view above which it is called stale, in milliseconds; None for none
    """

    skew_ms: int
    limit_ms: int | None


FRESHNESS_LIMITS: Final = FreshnessLimits(10_000, None)
"""Machines that keep time by the network are within a second; ten leave room for one that does so badly."""


class Freshness(enum.Enum):
    """What beacons say of this node's view."""

    NEVER = "never"
    """None has come yet whose root this node has had."""
    FRESH = "fresh"
    STALE = "stale"
    """The bound is above the limit that settings name."""
    EXPIRED = "expired"
    """The beacon that the bound rests on has expired: its signer said that another should have come by now."""


@dataclass(frozen=True, slots=True)
class View:
    """How old a view may be.

    at_most_ms:   bound on its age, or None if there is none
    time_ms:      time of the beacon that it rests on, by its signer's clock
    expires_ms:   when that beacon expires
    signer:       32 raw bytes
    """

    freshness: Freshness
    at_most_ms: int | None = None
    time_ms: int | None = None
    expires_ms: int | None = None
    signer: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Proof:
    """A beacon whose root this node has had; how far past its time was when it came, and the monotonic time of that."""

    snapshot: Snapshot
    age_ms: int
    since_s: float


@dataclass(slots=True)
class _Held:
    """The latest beacon of a signer, and when it came."""

    snapshot: Snapshot
    data: bytes
    age_ms: int
    since_s: float
    bucket: TokenBucket


class Beacons:
    """The latest beacon of each signer, and what they prove."""

    def __init__(self, environment: Environment, replica: Replica, overlay: Overlay, limits: FreshnessLimits) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._skew_ms = limits.skew_ms
        self._limit_ms = limits.limit_ms
        self._held: dict[bytes, _Held] = {}
        self._proof: _Proof | None = None
        self._roots: dict[bytes, None] = {}  # noted from the first beacon on: who runs none pays nothing
        self._buckets: dict[LinkId, TokenBucket] = {}

    def view(self) -> View:
        """How old this node's view may be now."""
        proof = self._proof
        if proof is None:
            return View(Freshness.NEVER)
        statement, now = proof.snapshot.statement, self._environment.now
        grown_ms = proof.age_ms + int((now.monotonic_s - proof.since_s) * 1000)
        at_most_ms = max(0, grown_ms, now.wall_ms - statement.time_ms) + self._skew_ms
        freshness = Freshness.FRESH
        if at_most_ms - self._skew_ms >= statement.expires_ms - statement.time_ms:
            freshness = Freshness.EXPIRED
        elif self._limit_ms is not None and at_most_ms > self._limit_ms:
            freshness = Freshness.STALE
        return View(freshness, at_most_ms, statement.time_ms, statement.expires_ms, proof.snapshot.key)

    # -- inputs -----------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Hand a new peer the latest of each signer."""
        for held in self._held.values():
            if self._is_current(held.snapshot):
                self._overlay.send(link, Beacon(held.data))

    def link_down(self, link: Link) -> None:
        """Forget a peer."""
        self._buckets.pop(link.id, None)

    def handle(self, link: Link, message: Beacon) -> None:
        """Take a beacon from a peer. Whatever is wrong with it is counted, and ends here."""
        try:
            snapshot = Snapshot.decode(message.snapshot)
            if self._is_news(snapshot) and self._may_verify(link):
                self._take(snapshot, message.snapshot, link)
        except (WrongCluster, BadSignature, InvalidInput) as error:  # what no honest peer passes on
            self._overlay.complaints.note(link.node_id, Complaint.INVALID)
            self._environment.emit(BeaconRefused(link.node_id, str(error)))
        except Rejected as error:  # honest peers may know another policy, or have another time
            self._environment.emit(BeaconRefused(link.node_id, str(error)))

    def submit(self, snapshot: Snapshot) -> None:
        """Take a beacon from this node's own side, and spread it. Raises a Rejected that says why not."""
        held = self._held.get(snapshot.key)
        if held is not None and held.snapshot.statement.time_ms >= snapshot.statement.time_ms:
            raise Rejected(
                f"a beacon by {fingerprint(snapshot.key)} of the same time or a later one is known; is the clock set "
                "back, or is the key in use elsewhere?"
            )
        self._take(snapshot, snapshot.encode(), None)

    def state_changed(self) -> None:
        """The root is another one: it may be what a beacon has stated already."""
        if self._held:
            self._note_root()
            for held in self._held.values():
                if held.snapshot.statement.root == self._replica.root:
                    self._prove(held)

    def policy_arrived(self) -> None:
        """A key that may sign no more has shown nothing: what rests on its word goes."""
        head = self._replica.chain.head
        for key in [key for key in self._held if not may_sign(head, key)]:
            del self._held[key]
        if self._proof is not None and not may_sign(head, self._proof.snapshot.key):
            self._proof = None
            for held in self._held.values():
                if held.snapshot.statement.root in self._roots:
                    self._prove(held)

    # -- inside -----------------------------------------------------------------------------------

    def _is_news(self, snapshot: Snapshot) -> bool:
        """Whether it is later than what is known of its signer, and does not come too often."""
        held = self._held.get(snapshot.key)
        if held is None:
            return True
        is_later = snapshot.statement.time_ms > held.snapshot.statement.time_ms
        return is_later and held.bucket.wait_s(self._environment.now.monotonic_s) == 0

    def _may_verify(self, link: Link) -> bool:
        bucket = self._buckets.get(link.id)
        if bucket is None:
            bucket = self._buckets[link.id] = TokenBucket(VERIFIED_PER_S, VERIFIED_BURST)
        return bucket.take(self._environment.now.monotonic_s)

    def _note_root(self) -> None:
        self._roots[self._replica.root] = None
        if len(self._roots) > ROOTS_REMEMBERED_MAX:
            del self._roots[next(iter(self._roots))]

    def _take(self, snapshot: Snapshot, data: bytes, source: Link | None) -> None:
        """Verify, keep, pass on. Raises InvalidInput or Rejected."""
        if snapshot.statement.contents is not None:
            raise FormatError("the snapshot is a checkpoint's, and no beacon")
        now = self._environment.now
        snapshot.check_time(now.wall_ms, self._skew_ms)
        snapshot.verify(self._replica.chain)
        age_ms = max(0, now.wall_ms - snapshot.statement.time_ms)
        known = self._held.get(snapshot.key)
        bucket = TokenBucket(SIGNER_PER_S, SIGNER_BURST) if known is None else known.bucket
        bucket.take(now.monotonic_s)
        held = self._held[snapshot.key] = _Held(snapshot, data, age_ms, now.monotonic_s, bucket)
        while len(self._held) > SIGNERS_MAX:
            del self._held[min(self._held, key=lambda key: self._held[key].snapshot.statement.time_ms)]
        self._note_root()
        if snapshot.statement.root in self._roots:
            self._prove(held)
        others = [link for link in self._overlay.ready_links() if link is not source]
        self._overlay.send_all(others, Beacon(data))

    def _is_current(self, snapshot: Snapshot) -> bool:
        try:
            snapshot.check_time(self._environment.now.wall_ms, self._skew_ms)
        except Expired:
            return False
        return may_sign(self._replica.chain.head, snapshot.key)

    def _prove(self, held: _Held) -> None:
        """This node has had the root that ``held`` states."""
        proof = self._proof
        if proof is not None and proof.snapshot.statement.time_ms >= held.snapshot.statement.time_ms:
            return
        self._proof = _Proof(held.snapshot, held.age_ms, held.since_s)
        if self._limit_ms is not None:
            left_ms = self._limit_ms - (self.view().at_most_ms or 0)
            self._environment.call_later(max(0, left_ms + 1) / 1000, lambda: self._tell_stale(held.snapshot))

    def _tell_stale(self, snapshot: Snapshot) -> None:
        if self._proof is not None and self._proof.snapshot is snapshot:  # nothing newer has come meanwhile
            self._environment.emit(ViewStale(self.view().at_most_ms or 0))
