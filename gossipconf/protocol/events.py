"""What a node tells its owner. Plain records; none of them asks for anything.

Peers failing is normal: it ends in one of these, never in an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..model.entry import Slot
from ..model.errors import GossipconfError
from ..model.version import Version
from ..trust.statement import Kind


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A link to a peer is ready."""

    link: int
    node_id: str
    address: str


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A ready link to a peer has ended."""

    link: int
    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """An address could not be reached; it will be tried again, for ever."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResolveFailed:
    """A seed's name could not be resolved, or has no address; what it had stands, and it is tried again, for ever."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """Versions became live here. ``source`` is the peer that they came from, None for this node."""

    change_id: bytes
    gained: tuple[Version, ...]
    retired: int
    source: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """A local publish is on disk: the acknowledgement. ``token`` is the caller's."""

    token: int
    change_id: bytes


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """A local publish was refused, and nothing of it was kept. ``error`` says why."""

    token: int
    error: GossipconfError


@dataclass(frozen=True, slots=True)
class ChangeRejected:
    """A peer sent a change that must not enter the store."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForkFound:
    """Two different changes with one writer and number are known: an alarm, not proof of guilt."""

    writer_id: bytes
    seq: int
    branches: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ConflictOpened:
    """These slots have several live versions from now on: they were changed in several places at once.

    Reads return the same one at every node; the others stay visible until a new change settles it.
    """

    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class ConflictClosed:
    """These slots have at most one live version again."""

    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class PolicyAccepted:
    """A new policy is in force for changes that name it."""

    version: int


@dataclass(frozen=True, slots=True)
class PolicyFork:
    """Two valid successors of one policy: the first is kept, the roots must end it."""

    version: int


@dataclass(frozen=True, slots=True)
class Voided:
    """Versions are void: they were live here, or have come since. They are kept in history.

    A floor says so, or a policy that settles a fork between two that would have judged them differently.
    """

    versions: tuple[Version, ...]
    source: str | None


@dataclass(frozen=True, slots=True)
class Synced:
    """A sync with a peer ended: equal roots, or the reason why not. Counts are of changes and bytes."""

    node_id: str
    equal: bool
    reason: str
    received: int
    sent: int
    walked: bool


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A node that booted from a checkpoint holds the same as these peers."""

    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BeaconRefused:
    """A peer sent a beacon that is not to be believed, or not now."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ViewStale:
    """No beacon has shown for longer than the limit that this node's view is current; the bound is in milliseconds."""

    at_most_ms: int


@dataclass(frozen=True, slots=True)
class DiskFailed:
    """Writing failed; nothing is lost from memory and the write is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class DiskRecovered:
    """Writing works again."""


@dataclass(frozen=True, slots=True)
class DuplicateNode:
    """Another agent runs under this node's own name: one of the two must be renamed."""

    address: str


@dataclass(frozen=True, slots=True)
class AckProgress:
    """Who has answered a question of this node, and applied what it asks; each replaces the one before.

    missing:      names of those that have not applied it, or a sample of them: they are ``total - applied``
    silent:       names of linked peers that do not answer, or a sample if there are more (``more_silent``)
    zones:        (zone, applied, total); who has no zone, or one of too many, is in the total only
    complete:     everybody who is connected has answered
    """

    question: int
    applied: int
    total: int
    missing: tuple[str, ...]
    silent: tuple[str, ...]
    more_silent: bool
    zones: tuple[tuple[str, int, int], ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class CertificateOffered:
    """An issuer has answered: PEM of a certificate and the intermediates after it, which nobody has looked at yet."""

    node_id: str
    certificate: bytes


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """An issuer has refused to renew this node's certificate, or has not answered."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateIssued:
    """This node has renewed a peer's certificate."""

    node_id: str


@dataclass(frozen=True, slots=True)
class Said:
    """This node has said something of a subject, and it is on disk."""

    kind: Kind
    subject: bytes


@dataclass(frozen=True, slots=True)
class SayFailed:
    """What this node was to say is not said."""

    kind: Kind
    subject: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class StatementRefused:
    """A peer sent a node's statement that is not to be believed."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A node has signed both ack and nack about one subject: its key is in use twice, or it is hostile."""

    node_id: str
    subject: bytes


@dataclass(frozen=True, slots=True)
class Voted:
    """A node has called a change unhealthy: ``votes`` count now, and ``limit`` hold it off."""

    change_id: bytes
    node_id: str
    votes: int
    limit: int


@dataclass(frozen=True, slots=True)
class Halted:
    """A change is held off from now on, by so many votes; of ``keys`` readers may read another value."""

    change_id: bytes
    keys: tuple[str, ...]
    votes: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """A change is held off no longer: the policy has shut out nodes whose votes were needed, or its limit has gone."""

    change_id: bytes
    keys: tuple[str, ...]
    votes: int


@dataclass(frozen=True, slots=True)
class StageAnswered:
    """This node has acked or nacked a stage, on disk. From an ack on a member is fenced: its readers get nothing."""

    prefix: str
    number: int
    stage_id: bytes
    is_ack: bool


@dataclass(frozen=True, slots=True)
class EpochCommitted:
    """A stage in which this node took part is committed; a member serves its epoch from now on."""

    prefix: str
    number: int
    stage_id: bytes
    is_member: bool


@dataclass(frozen=True, slots=True)
class StageAborted:
    """A stage that this node had acked is over; a member serves the epoch before it again."""

    prefix: str
    number: int
    stage_id: bytes


@dataclass(frozen=True, slots=True)
class StageInvalid:
    """An authorised entry under `_stages/` is no document of a stage, and nobody acts on it."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryMissing:
    """A stage asks this node, which was here before and has no memory of it: it says nothing. Its disk was lost, and it
    needs a new node id."""

    prefix: str
    number: int


Event: TypeAlias = (
    PeerUp
    | PeerDown
    | ConnectFailed
    | ResolveFailed
    | Applied
    | Published
    | PublishFailed
    | ChangeRejected
    | ForkFound
    | ConflictOpened
    | ConflictClosed
    | PolicyAccepted
    | PolicyFork
    | Voided
    | Synced
    | Confirmed
    | BeaconRefused
    | ViewStale
    | DiskFailed
    | DiskRecovered
    | DuplicateNode
    | AckProgress
    | CertificateOffered
    | RenewalFailed
    | CertificateIssued
    | Said
    | SayFailed
    | StatementRefused
    | Contradiction
    | Voted
    | Halted
    | Resumed
    | StageAnswered
    | EpochCommitted
    | StageAborted
    | StageInvalid
    | MemoryMissing
)
