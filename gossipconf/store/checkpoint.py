"""Checkpoints: a snapshot with the bytes of everything that it speaks of, from which an empty disk boots.

    file      =  MAGIC ‖ length of the snapshot (4 bytes) ‖ snapshot ‖ contents
    contents  =  the replicated part of each change, one after another: those that carry policies
                 first, by number, of one number the one in force first; then the others by change id

Whoever makes one has verified every signature in it. Whoever boots from one verifies each
policy, the one signature of the snapshot, and then only hashes:

    SHA-256 of the contents       is what the snapshot states: no byte is altered, not even of
                                  a signature, which no change id covers
    fingerprint of what they say  is what the snapshot states: it is the set that was signed

All is judged under the chain that its own policies make, those included that lost a policy
fork. What a later floor voids, which only the reader knows of, is left out after that.

Knows bytes and judgement. Opens no file, writes nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final, TypeAlias

from ..model import bulk
from ..model.change import Change
from ..model.errors import FormatError, LimitExceeded, Rejected, WrongCluster
from ..model.hashing import CONTENTS_TAG, tagged_hash
from ..model.limits import CHECKPOINT_BYTES_MAX, FRONTIER_WRITERS_MAX, SNAPSHOT_BYTES_MAX
from ..trust.chain import PolicyChain
from ..trust.file_kind import BYTES_LOOKED_AT, CHECKPOINT, wrong_kind
from ..trust.floor import Floors
from ..trust.keys import Signer
from ..trust.policy import POLICY_PREFIX, Policy, carries_policy, policy_key
from ..trust.snapshot import Snapshot, Statement, sign_snapshot
from .live_set import LiveSet

MAGIC: Final = b"gossipconf checkpoint 1\n"
_LENGTH_BYTES: Final = 4

Part: TypeAlias = tuple[Change, bytes]
"""What is replicated of a change, and its bytes."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A checkpoint as it lies in a file: the snapshot, which nobody has verified yet, and the contents' bytes."""

    snapshot: Snapshot
    contents: bytes

    def encode(self) -> bytes:
        """The file's bytes. Raises LimitExceeded if no reader would take so many."""
        snapshot = self.snapshot.encode()
        size = len(MAGIC) + _LENGTH_BYTES + len(snapshot) + len(self.contents)
        check_size(size)
        return b"".join((MAGIC, len(snapshot).to_bytes(_LENGTH_BYTES, "big"), snapshot, self.contents))

    @classmethod
    def decode(cls, data: bytes) -> Sealed:
        """Take a file's bytes apart. Raises FormatError or LimitExceeded."""
        check_size(len(data))
        return cls.read(BytesIO(data))

    @classmethod
    def read(cls, file: BinaryIO) -> Sealed:
        """Read a checkpoint, of a permitted size, in pieces: cutting so many bytes apart would copy them. Raises
        FormatError or LimitExceeded."""
        start = file.read(len(MAGIC) + _LENGTH_BYTES)
        if not start.startswith(MAGIC):
            wrong = wrong_kind(CHECKPOINT, start + file.read(BYTES_LOOKED_AT))
            raise FormatError(wrong or "it is a checkpoint of another release")
        length = int.from_bytes(start[len(MAGIC) :], "big")
        if length > SNAPSHOT_BYTES_MAX:
            raise LimitExceeded(f"its snapshot claims {length} bytes, the limit is {SNAPSHOT_BYTES_MAX}")
        snapshot = file.read(length)
        if len(start) < len(MAGIC) + _LENGTH_BYTES or len(snapshot) < length:
            raise FormatError("it is cut off within its snapshot; copy it again")
        return cls(Snapshot.decode(snapshot), file.read())

    def open(self, chain: PolicyChain, now_ms: int, skew_ms: int) -> Checkpoint:
        """Verify everything, and teach ``chain`` the policies.

        Raises FormatError, LimitExceeded, or a Rejected: WrongCluster, Expired, NotAuthorised, BadSignature, or
        Rejected itself for contents that are not what was signed. Then ``chain`` may know more policies than before,
        each properly signed, and nothing else has happened.
        """
        statement = self.snapshot.statement
        if statement.cluster != chain.cluster_id:
            raise WrongCluster(
                f"it belongs to cluster {statement.cluster.hex()[:8]}…, this is {chain.cluster_id.hex()[:8]}…"
            )
        if statement.contents is None:
            raise FormatError("its snapshot is a beacon, which states no contents")
        if tagged_hash(CONTENTS_TAG, self.contents) != statement.contents:
            raise Rejected("its contents are not those that were signed: cut off or altered; copy it again")
        read = bulk.read(self.contents, chain.cluster_id)
        parts: list[Part] = []
        for part in read:
            parts.append(part)
            if not carries_policy(part[0]):
                break
        policies = [change for change, _ in parts if carries_policy(change)]
        in_force = _learn(chain, policies, statement.policy)
        self.snapshot.verify(chain)
        self.snapshot.check_time(now_ms, skew_ms)
        parts += read
        floors = chain.floors_of(statement.policy)
        live = LiveSet.of(
            [change for change, _ in parts], statement.frontier, floors.is_branch_void if floors else None
        )
        if live.root != statement.root:
            raise Rejected("its contents have another fingerprint than the one that was signed")
        if not _is_bare(live, parts):
            raise Rejected("its contents have a change twice, or what was replaced long ago")
        _check_policies(live, chain, statement.policy)
        _check_floors(live, floors)
        if chain.head.version > statement.policy:
            parts = _without_void(live, chain, parts)
        return Checkpoint(self.snapshot, live, tuple(parts), in_force)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an opened checkpoint holds, verified.

    live:      the replicated set, without what a floor voids that is later than the checkpoint
    parts:     its changes, each with its bytes for a journal
    policies:  ids of the changes that carry the policies in force, 1, 2, …
    """

    snapshot: Snapshot
    live: LiveSet
    parts: tuple[Part, ...]
    policies: tuple[bytes, ...]


def seal(parts: Iterable[Change], chain: PolicyChain, signer: Signer, *, time_ms: int, expires_ms: int) -> Sealed:
    """A checkpoint of ``parts``, each of which is judged first, signatures too, and signed by ``signer``.

    ``chain`` knows all policies in ``parts``. Raises what judging raises, Rejected for an open policy fork or what is
    void, and NotAuthorised if the policy does not let ``signer`` sign snapshots.
    """
    judged = []
    for part in parts:
        chain.judge(part)
        judged.append(part)
    live = LiveSet.of(judged, is_branch_void=chain.floors.is_branch_void if chain.floors else None)
    frontier, _ = live.frontier(FRONTIER_WRITERS_MAX)
    _check_policies(live, chain, chain.head.version)
    _check_floors(live, chain.floors)
    in_force = frozenset(chain.accepted)
    ordered = sorted(live.parts(), key=lambda part: _place(part, in_force))
    contents = b"".join(part.encode() for part in ordered)
    statement = Statement(
        cluster=chain.cluster_id,
        policy=chain.head.version,
        time_ms=time_ms,
        expires_ms=expires_ms,
        root=live.root,
        frontier=frontier,
        contents=tagged_hash(CONTENTS_TAG, contents),
    )
    return Sealed(sign_snapshot(statement, signer, chain), contents)


def check_size(size_bytes: int) -> None:
    """Raise LimitExceeded for a file that is larger than any checkpoint may be."""
    if size_bytes > CHECKPOINT_BYTES_MAX:
        raise LimitExceeded(f"it has {size_bytes} bytes, the limit of a checkpoint is {CHECKPOINT_BYTES_MAX}")


def _is_bare(live: LiveSet, parts: list[Part]) -> bool:
    """Whether ``parts`` have nothing besides what lives and the headers of forks, and each change once."""
    return len(parts) == live.part_count and sum([len(part.entries) for part, _ in parts]) == len(live)


def _place(part: Change, in_force: Container[bytes]) -> tuple[bool, int, bool, bytes]:
    """Where a part lies among the contents."""
    is_policy = carries_policy(part)
    return not is_policy, part.header.policy if is_policy else 0, is_policy and part.id not in in_force, part.id


def _learn(chain: PolicyChain, policies: Iterable[Change], version: int) -> tuple[bytes, ...]:
    """Judge and accept the changes that carry policies 1 to ``version``; return the ids of those in force."""
    in_force: list[bytes] = []
    for change in policies:
        number = change.header.policy + 1
        if number > len(in_force) + 1 or number < len(in_force):
            raise _misplaced(len(in_force) + 1)
        is_first = number > len(in_force)
        if is_first and not _are_accepted(in_force, chain) and not _settles(change):
            raise _other_policy(in_force, chain)  # what follows would be judged by another policy than was meant
        chain.judge(change)
        chain.accept(change)
        if is_first:
            in_force.append(change.id)
    if len(in_force) != version:
        raise _misplaced(min(len(in_force), version) + 1)
    if not _are_accepted(in_force, chain):
        raise _other_policy(in_force, chain)
    return tuple(in_force)


def _are_accepted(in_force: list[bytes], chain: PolicyChain) -> bool:
    return chain.accepted[: len(in_force)] == tuple(in_force)


def _settles(change: Change) -> bool:
    return any(entry.value is not None and Policy.decode(entry.value).settles for _, entry in change.entries)


def _misplaced(number: int) -> Rejected:
    return Rejected(f"policy {number} does not lie where its snapshot says")


def _other_policy(in_force: list[bytes], chain: PolicyChain) -> Rejected:
    number = next(n for n, (one, two) in enumerate(zip(in_force, chain.accepted, strict=False), 1) if one != two)
    return Rejected(f"its policy {number} is another one than is known here: a policy fork, which the roots must end")


def _check_policies(live: LiveSet, chain: PolicyChain, version: int) -> None:
    """Each policy is there, with its rivals if the roots have settled a fork, and no other: an open fork must not be
    settled by who boots from what."""
    expected = {(policy_key(number), "") for number in range(1, version + 1)}
    found = {slot for slot in live.slots() if slot[0].startswith(POLICY_PREFIX)}  # as `covers`, in a third of the time
    if found != expected:
        raise Rejected(f"it holds other policies than 1 to {version}")
    for number in range(1, version + 1):
        ids = {one.change_id for one in live.slot((policy_key(number), ""))}
        known = chain.branches(number)
        if known[0] not in ids or not ids.issubset(known) or (len(ids) > 1 and chain.is_disputed(number)):
            raise Rejected(
                f"it holds {len(ids)} of the policies {number}, and no policy says which is in force: a policy fork, "
                "which the roots must end first"
            )


def _check_floors(live: LiveSet, floors: Floors) -> None:
    """Nothing that is void lives."""
    if floors:
        for versions in live.slots().values():
            for version in versions:
                if floors.is_void(version):
                    raise Rejected(f"it holds a version of {version.entry.key!r} that a floor of its policies voids")


def _without_void(live: LiveSet, chain: PolicyChain, parts: list[Part]) -> list[Part]:
    """What of ``parts`` is left under later policies; ``live`` loses what is void, too."""
    live.void(chain.floors.is_void, chain.floors.is_branch_void)
    left = []
    for change, data in parts:
        form = live.part(change.id)
        if form is not None:
            left.append((change, data) if form is change else (form, form.encode()))
    return left
