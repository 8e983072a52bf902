"""The cluster file: what every agent and every admin is given, and nothing secret.

It holds the genesis and the policy changes up to some version. It is enough to
verify everything else, and every policy in it is verified when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..model.change import Change, Header, Writer
from ..model.encoding import as_array, as_bytes, as_int, decode, encode
from ..model.entry import Entry, ValueType
from ..model.errors import InvalidInput, Rejected
from ..model.limits import CHANGE_BYTES_MAX
from ..model.merkle import SparseTree
from .chain import PolicyChain, Verify
from .file_kind import CLUSTER, unusable
from .files import read_bounded, write_new
from .keys import Signer, verify
from .policy import GENESIS_BYTES_MAX, Genesis, Policy, Role, policy_key
from .signing import Reservation, approve, sign_change

CLUSTER_FILE_VERSION: Final = 1
FILE_BYTES_MAX: Final = 8 * CHANGE_BYTES_MAX
"""Policies are small, but for those with floors."""
POLICIES_MAX: Final = 1_024
"""Policy changes in a cluster file; agents learn later ones from each other."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A genesis and the policy changes that a file carries."""

    genesis: Genesis
    policies: tuple[Change, ...]

    def chain(self, verify_signature: Verify = verify) -> PolicyChain:
        """A policy chain up to the last policy here, each one judged. Raises Rejected."""
        chain = PolicyChain(self.genesis, verify_signature)
        for change in self.policies:
            chain.judge(change)
            if chain.accept(change) is None:
                raise Rejected(f"the cluster file's policy after version {chain.head.version} is not its successor")
        return chain

    def encode(self) -> bytes:
        """The file's bytes."""
        return encode([CLUSTER_FILE_VERSION, self.genesis.encode(), [change.encode() for change in self.policies]])

    @classmethod
    def decode(cls, data: bytes) -> Cluster:
        """Check and read. Raises FormatError, LimitExceeded or Rejected."""
        fields = as_array(decode(data, "the cluster file", FILE_BYTES_MAX), "the cluster file", 3)
        as_int(fields[0], "the cluster file's version", CLUSTER_FILE_VERSION, CLUSTER_FILE_VERSION)
        genesis = Genesis.decode(as_bytes(fields[1], "the genesis", length_max=GENESIS_BYTES_MAX))
        changes = as_array(fields[2], "the policies", length_max=POLICIES_MAX)
        cluster = cls(
            genesis,
            tuple(Change.decode(as_bytes(change, "a policy change"), genesis.cluster_id) for change in changes),
        )
        cluster.chain()
        return cluster

    def save(self, path: Path) -> None:
        """Write a new file. Raises KeyFileError rather than overwrite."""
        write_new(path, self.encode(), 0o644)

    @classmethod
    def load(cls, path: Path) -> Cluster:
        """Read and verify a cluster file. Raises KeyFileError naming it."""
        data = read_bounded(path, FILE_BYTES_MAX)
        try:
            return cls.decode(data)
        except (InvalidInput, Rejected) as error:
            raise unusable(path, CLUSTER, data, error) from None


def found_cluster(
    name: str, roots: Sequence[Signer], roles: Sequence[Role], *, threshold: int, now_ms: int, salt: bytes
) -> Cluster:
    """A new cluster: its genesis, and policy 1 with ``roles``, signed by the ``roots``.

    ``salt`` is 16 random bytes that make the cluster id unique. Raises FormatError
    for a threshold that is not above half.
    """
    publics = tuple(sorted(root.public for root in roots))
    genesis = Genesis.decode(Genesis(name, now_ms, salt, publics, threshold).encode())
    policy = Policy.decode(Policy(1, publics, threshold, tuple(roles)).encode())
    change = sign_policy(PolicyChain(genesis), policy, roots, now_ms=now_ms, reservation=Reservation(salt[:8], 1))
    return Cluster(genesis, (change,))


def sign_policy(
    chain: PolicyChain, policy: Policy, roots: Sequence[Signer], *, now_ms: int, reservation: Reservation
) -> Change:
    """The change that makes ``policy`` the successor of ``chain``'s head, signed by all ``roots``.

    Raises NotAuthorised if they are fewer than the threshold.
    """
    change = draft_policy(chain, policy, roots[0], now_ms=now_ms, reservation=reservation)
    for root in roots[1:]:
        change = approve(change, root)
    chain.judge(change)
    return change


def draft_policy(chain: PolicyChain, policy: Policy, root: Signer, *, now_ms: int, reservation: Reservation) -> Change:
    """The change that proposes ``policy`` as the successor of ``chain``'s head, with the first ``root``'s signature."""
    entry = Entry(policy_key(policy.version), policy.encode(), ValueType.BYTES)
    tree = SparseTree(1, {0: entry.leaf()}, ())
    header = Header(
        cluster=chain.cluster_id,
        policy=chain.head.version,
        writer=Writer(root.public, reservation.incarnation),
        seq=reservation.seq,
        time_ms=now_ms,
        count=1,
        size=tree.size,
        root=tree.root,
        comment=f"policy {policy.version}",
    )
    return sign_change(header, ((0, entry),), root)
