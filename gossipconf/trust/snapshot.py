"""Snapshots: a signed statement of what the replicated set was, and when.

A snapshot says: at this time, by the clock of whoever signed, the set with this
fingerprint was the whole of what I knew. With the bytes of all changes it is a
checkpoint, from which an empty disk boots; alone it is a beacon, by which agents know
how old their view is. It deletes nothing and is never an entry: nobody's state depends
on whether a snapshot came.

So it may be judged by the present too. The policy that a snapshot names must let its
key sign one, and so must the newest policy that the reader knows: a key that was
withdrawn signs no snapshot any more, whatever policy it names.

Knows the document and its judgement; keeps none and reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..model.change import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from ..model.clock import EMPTY, Clock, decode_clock
from ..model.encoding import as_array, as_bytes, as_int, decode, encode
from ..model.errors import BadSignature, Expired, FormatError, NotAuthorised, WrongCluster
from ..model.hashing import HASH_BYTES, SNAPSHOT_TAG
from ..model.limits import FRONTIER_WRITERS_MAX, POLICY_VERSION_MAX, SNAPSHOT_BYTES_MAX, TIME_MS_MAX
from .chain import PolicyChain, Verify
from .keys import Signer, fingerprint, verify
from .policy import Policy

OPERATION: Final = "snapshot"
"""The operation that a role must allow (see ``policy.OPERATIONS``)."""
ROOT_BYTES: Final = 16
"""A fingerprint of the replicated set."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed. Times are milliseconds since 1970, UTC, by the signer's clock.

    policy:      the newest policy that the signer knew; it must allow the signer to sign this
    expires_ms:  from then on the statement says nothing any more; always after ``time_ms``
    root:        fingerprint of the hash tree over everything replicated
    frontier:    {writer: highest number} of recently active writers: a hint, empty in a beacon
    contents:    SHA-256 of a checkpoint's bytes of changes; None in a beacon
    """

    cluster: bytes
    policy: int
    time_ms: int
    expires_ms: int
    root: bytes
    frontier: Clock = EMPTY
    contents: bytes | None = None

    def encode(self) -> bytes:
        """The canonical bytes that are signed, after their domain tag."""
        return encode(
            [self.cluster, self.policy, self.time_ms, self.expires_ms, self.root, self.frontier, self.contents]
        )

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Check and read. Raises FormatError or LimitExceeded."""
        fields = as_array(decode(data, "a snapshot's statement", SNAPSHOT_BYTES_MAX), "a snapshot's statement", 7)
        cluster, policy, time_ms, expires_ms, root, frontier, contents = fields
        statement = cls(
            cluster=as_bytes(cluster, "the cluster of a snapshot", HASH_BYTES),
            policy=as_int(policy, "the policy version of a snapshot", 0, POLICY_VERSION_MAX),
            time_ms=as_int(time_ms, "the time of a snapshot", 0, TIME_MS_MAX),
            expires_ms=as_int(expires_ms, "the expiry of a snapshot", 0, TIME_MS_MAX),
            root=as_bytes(root, "the root of a snapshot", ROOT_BYTES),
            frontier=decode_clock(frontier, "the frontier of a snapshot", FRONTIER_WRITERS_MAX),
            contents=None if contents is None else as_bytes(contents, "the contents of a snapshot", HASH_BYTES),
        )
        if statement.expires_ms <= statement.time_ms:
            raise FormatError("a snapshot must expire after the time that it states")
        return statement


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A statement, the key (32 raw bytes) that signed it, and its signature."""

    statement: Statement
    key: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The canonical bytes that travel."""
        return encode([self.statement.encode(), self.key, self.signature])

    @classmethod
    def decode(cls, data: bytes) -> Snapshot:
        """Check and read, but not the signature. Raises FormatError or LimitExceeded."""
        statement, key, signature = as_array(decode(data, "a snapshot", SNAPSHOT_BYTES_MAX), "a snapshot", 3)
        return cls(
            Statement.decode(as_bytes(statement, "a snapshot's statement")),
            as_bytes(key, "the key of a snapshot", PUBLIC_KEY_BYTES),
            as_bytes(signature, "the signature of a snapshot", SIGNATURE_BYTES),
        )

    def verify(self, chain: PolicyChain, verify_signature: Verify = verify) -> None:
        """Raise unless its key may sign snapshots of ``chain``'s cluster, and has signed this one.

        Raises WrongCluster, UnknownPolicy, NotAuthorised or BadSignature; the signature,
        which costs most, comes last. Says nothing of the time: see `check_time`.
        """
        statement = self.statement
        if statement.cluster != chain.cluster_id:
            raise WrongCluster(
                f"the snapshot belongs to cluster {statement.cluster.hex()[:8]}…, this is {chain.cluster_id.hex()[:8]}…"
            )
        for policy in (chain[statement.policy], chain.head):
            if not may_sign(policy, self.key):
                raise NotAuthorised(
                    f"policy {policy.version} does not let {fingerprint(self.key)} sign snapshots; a role that has "
                    f"the key, the operation {OPERATION!r}, all keys as prefix and one approval would"
                )
        try:
            verify_signature(self.key, self.signature, SNAPSHOT_TAG + statement.encode())
        except BadSignature:
            raise BadSignature(f"the snapshot's signature by {fingerprint(self.key)} does not verify") from None

    def check_time(self, now_ms: int, skew_ms: int) -> None:
        """Raise Expired unless the statement holds at ``now_ms``, where clocks may differ by ``skew_ms``."""
        statement = self.statement
        if now_ms >= statement.expires_ms + skew_ms:
            raise Expired(
                f"the snapshot has expired {(now_ms - statement.expires_ms) // 1000} s ago by this machine's clock; "
                "take a newer one"
            )
        if statement.time_ms > now_ms + skew_ms:
            raise Expired(
                f"the snapshot is of {(statement.time_ms - now_ms) // 1000} s from now by this machine's clock; "
                "set the clocks of both machines"
            )


def sign_snapshot(statement: Statement, signer: Signer, chain: PolicyChain) -> Snapshot:
    """The snapshot with ``signer``'s signature. Raises what reading and verifying it would raise."""
    data = statement.encode()
    snapshot = Snapshot(statement, signer.public, signer.sign(SNAPSHOT_TAG + data))
    Snapshot.decode(snapshot.encode()).verify(chain)
    return snapshot


def may_sign(policy: Policy, key: bytes) -> bool:
    """Whether ``policy`` lets ``key`` sign snapshots by itself.

    A snapshot speaks of every key, so a role for some prefixes does not do.
    """
    return any(
        key in role.keys and OPERATION in role.operations and "" in role.prefixes and role.approvals == 1
        for role in policy.roles
    )
