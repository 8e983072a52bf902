"""Checkpoints: a snapshot with the bytes of everything that it speaks of, from which an empty disk boots.

    file      =  MAGIC ‖ length of the snapshot (4 bytes) ‖ snapshot ‖ contents
    contents  =  the replicated part of each change, one after another: those that carry policies
                 first, by number, then the others by change id

Whoever makes one has verified every signature in it. Whoever boots from one verifies each
policy, the one signature of the snapshot, and then only hashes:

    SHA-256 of the contents       is what the snapshot states: no byte is altered, not even of
                                  a signature, which no change id covers
    fingerprint of what they say  is what the snapshot states: it is the set that was signed

Knows bytes and judgement. Opens no file, writes nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..model import bulk
from ..model.change import Change
from ..model.errors import FormatError, LimitExceeded, Rejected, WrongCluster
from ..model.hashing import CONTENTS_TAG, tagged_hash
from ..model.key import covers
from ..model.limits import CHECKPOINT_BYTES_MAX, FRONTIER_WRITERS_MAX, SNAPSHOT_BYTES_MAX
from ..trust.keys import Signer
from ..trust.policy import POLICY_PREFIX, Policy, PolicyChain, policy_key
from ..trust.snapshot import Snapshot, Statement, sign_snapshot
from .live_set import LiveSet

MAGIC: Final = b"gossipconf checkpoint 1\n"
_LENGTH_BYTES: Final = 4


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
        """Take a file apart. Raises FormatError or LimitExceeded."""
        check_size(len(data))
        if not data.startswith(MAGIC):
            raise FormatError("it does not begin as a checkpoint of this release does")
        begin = len(MAGIC) + _LENGTH_BYTES
        length = int.from_bytes(data[len(MAGIC) : begin], "big")
        if length > SNAPSHOT_BYTES_MAX:
            raise LimitExceeded(f"its snapshot claims {length} bytes, the limit is {SNAPSHOT_BYTES_MAX}")
        if len(data) < begin + length:
            raise FormatError("it is cut off within its snapshot; copy it again")
        return cls(Snapshot.decode(data[begin : begin + length]), data[begin + length :])

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
        policies = list(islice(read, statement.policy))
        for number, (change, _) in enumerate(policies, 1):
            _learn(chain, change, number)
        self.snapshot.verify(chain)
        self.snapshot.check_time(now_ms, skew_ms)
        parts = [*policies, *read]
        live = LiveSet.of([change for change, _ in parts], statement.frontier)
        if live.root != statement.root:
            raise Rejected("its contents have another fingerprint than the one that was signed")
        if len({change.id for change, _ in parts}) < len(parts) or not _is_bare(live, parts):
            raise Rejected("its contents have a change twice, or what was replaced long ago")
        _check_policies(live, chain, statement.policy)
        return Checkpoint(self.snapshot, live, tuple(parts), tuple(change.id for change, _ in policies))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an opened checkpoint holds, verified.

    live:      the replicated set
    parts:     its changes, each with its bytes for a journal
    policies:  ids of the changes that carry policies 1, 2, …
    """

    snapshot: Snapshot
    live: LiveSet
    parts: tuple[tuple[Change, bytes], ...]
    policies: tuple[bytes, ...]


def seal(parts: Iterable[Change], chain: PolicyChain, signer: Signer, *, time_ms: int, expires_ms: int) -> Sealed:
    """A checkpoint of ``parts``, each of which is judged first, signatures too, and signed by ``signer``.

    ``chain`` knows all policies in ``parts``. Raises what judging raises, Rejected for an open policy fork, and
    NotAuthorised if the policy does not let ``signer`` sign snapshots.
    """
    judged = []
    for part in parts:
        chain.judge(part)
        judged.append(part)
    live = LiveSet.of(judged)
    frontier, _ = live.frontier(FRONTIER_WRITERS_MAX)
    _check_policies(live, chain, chain.head.version)
    contents = b"".join(part.encode() for part in sorted(live.parts(), key=_place))
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


def carries_policy(change: Change) -> bool:
    """Whether an entry of ``change`` is a policy."""
    return any(covers(POLICY_PREFIX, entry.key) for _, entry in change.entries)


def _is_bare(live: LiveSet, parts: list[tuple[Change, bytes]]) -> bool:
    """Whether ``parts`` have nothing besides what lives and the headers of forks."""
    return sum([len(part.entries) for part, _ in parts]) == len(live)


def _place(part: Change) -> tuple[bool, int, bytes]:
    """Where a part lies among the contents."""
    is_policy = carries_policy(part)
    return not is_policy, part.header.policy if is_policy else 0, part.id


def _learn(chain: PolicyChain, change: Change, number: int) -> None:
    """Judge the change that carries policy ``number`` and accept it, if it is news."""
    chain.judge(change)
    ((_, entry),) = change.entries if len(change.entries) == 1 else ((0, None),)
    if entry is None or entry.key != policy_key(number) or entry.value is None:
        raise Rejected(f"policy {number} does not lie where its snapshot says")
    if number <= chain.head.version and Policy.decode(entry.value) != chain[number]:
        raise Rejected(
            f"its policy {number} is another one than is known here: a policy fork, which the roots must end"
        )
    chain.accept(change)


def _check_policies(live: LiveSet, chain: PolicyChain, version: int) -> None:
    """Each policy is there once and no other: an open fork must not be settled by who boots from what."""
    expected = {(policy_key(number), "") for number in range(1, version + 1)}
    found = {slot for slot in live.slots() if slot[0].startswith(POLICY_PREFIX)}  # as `covers`, in a third of the time
    if found != expected or any(len(live.slot(slot)) != 1 for slot in found):
        raise Rejected(
            f"it holds other policies than 1 to {version}, each once; after a policy fork the roots must end it first"
        )
