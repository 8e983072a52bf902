"""Drafts: a policy on its way from root to root, and the file in which it travels.

The file holds the policies before it too, so that a root can sign with no more than a
cluster file, however old, and no network. The first to sign becomes the writer of the
change; from then on every root signs the same change, in any order. Nothing in the file
is believed: its policies are judged one after the other, its signatures verified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..model.change import Change
from ..model.encoding import as_array, as_bytes, decode, encode
from ..model.errors import InvalidInput, NotAuthorised, Rejected
from ..model.limits import CHANGE_BYTES_MAX, FORM_BYTES_MAX, VALUE_BYTES_MAX
from .chain import PolicyChain
from .cluster import POLICIES_MAX, Cluster, draft_policy
from .file_kind import DRAFT, unusable
from .files import read_bounded, replace_file, write_new
from .keys import Signer, fingerprint
from .pledge import pledge
from .policy import Policy, policy_key
from .proposal import Support, check_file, check_proposal
from .signing import Reservation, approve

DRAFT_FILE_VERSION: Final = 1
KIND: Final = "a policy"
"""What the file says it is, so that a change's is named for what it is."""
FILE_BYTES_MAX: Final = 8 * CHANGE_BYTES_MAX
"""As a cluster file, whose policies it holds."""
ID_DIGITS: Final = 10
"""Of a change's id in a message, in hex: as the command line shows it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy that is proposed.

    policies:  the changes that carry the policies before it, by version
    change:    what has been signed; None before the first signature
    """

    cluster_id: bytes
    policies: tuple[Change, ...]
    policy: Policy
    change: Change | None = None

    def chain(self, cluster: Cluster) -> PolicyChain:
        """The chain that the draft is the successor of, from a cluster file and the draft. Raises Rejected."""
        chain = extended(cluster, self.policies)
        if not self.policy.settles:
            check_undisputed(chain)
        if chain.head.version != self.policy.version - 1:
            raise Rejected(
                f"this is a draft of policy {self.policy.version} and the newest one is {chain.head.version}; "
                "make a new one with: gossipconf policy edit"
            )
        return chain

    def support(self, chain: PolicyChain) -> Support:
        """Who has signed it, every signature verified, and who may. Raises Rejected or InvalidInput."""
        if self.change is None:
            return Support((), chain.head.threshold, chain.head.roots)
        entries = [entry for _, entry in self.change.entries]
        if self.change.header.policy != chain.head.version or [(one.key, one.value) for one in entries] != [
            (policy_key(self.policy.version), self.policy.encode())
        ]:
            raise Rejected("what has been signed in this file is not the policy that it shows; do not sign it")
        return check_proposal(chain, self.change)

    def signed(self, chain: PolicyChain, signer: Signer, key_file: Path, *, now_ms: int, incarnation: bytes) -> Draft:
        """The draft with ``signer``'s signature added, once it is remembered beside ``key_file``.

        ``incarnation``: 8 random bytes, which no agent hands out, for the first to sign.

        Raises NotAuthorised if it is no root of ``chain``'s head, and what `pledge` raises.
        """
        if signer.public not in chain.head.roots:
            raise NotAuthorised(
                f"{fingerprint(signer.public)} is no root of policy {chain.head.version}, which decides what follows"
            )
        change = self.change
        if change is None:
            change = draft_policy(chain, self.policy, signer, now_ms=now_ms, reservation=Reservation(incarnation, 1))
        pledge(key_file, self.cluster_id, self.policy.version, change.id)
        return replace(self, change=approve(change, signer))

    def encode(self) -> bytes:
        """The file's bytes."""
        return encode(
            [
                DRAFT_FILE_VERSION,
                KIND,
                self.cluster_id,
                [change.encode() for change in self.policies],
                self.policy.encode(),
                None if self.change is None else self.change.encode(),
            ]
        )

    def save(self, path: Path, *, is_new: bool) -> None:
        """Write the file, in place of an earlier one or (``is_new``) never. Raises KeyFileError."""
        (write_new if is_new else replace_file)(path, self.encode(), 0o644)

    @classmethod
    def load(cls, path: Path, cluster: Cluster) -> Draft:
        """Read a draft of ``cluster``; nothing of it is verified yet. Raises KeyFileError naming it, or Rejected."""
        data = read_bounded(path, FILE_BYTES_MAX)
        cluster_id = cluster.genesis.cluster_id
        try:
            fields = as_array(decode(data, "a draft", FILE_BYTES_MAX), "a draft")
            check_file(fields, DRAFT_FILE_VERSION, KIND, 6)
            if as_bytes(fields[2], "the cluster id", len(cluster_id)) != cluster_id:
                raise InvalidInput("it belongs to another cluster; choose with --cluster")
            policies = as_array(fields[3], "the policies", length_max=POLICIES_MAX)
            signed = fields[5]
            return cls(
                cluster_id,
                tuple(Change.decode(as_bytes(one, "a policy change"), cluster_id) for one in policies),
                Policy.decode(as_bytes(fields[4], "the policy", length_max=VALUE_BYTES_MAX)),
                None
                if signed is None
                else Change.decode(as_bytes(signed, "the signed change", length_max=FORM_BYTES_MAX), cluster_id),
            )
        except InvalidInput as error:
            raise unusable(path, DRAFT, data, error) from None


def check_undisputed(chain: PolicyChain) -> None:
    """Raise Rejected if ``chain`` has an open policy fork.

    What went on from one of its branches could not be in force where the other is, and who
    signs it cannot sign the policy of the same version any more that ends the fork.
    """
    if chain.disputed:
        version = chain.disputed[0]
        branches = chain.branches(version)
        raise Rejected(
            f"there are {len(branches)} policies {version}, a policy fork: "
            f"{', '.join(one.hex()[:ID_DIGITS] for one in branches)}; first the roots must say which of them is in "
            "force, with: gossipconf policy settle CHANGE"
        )


def extended(cluster: Cluster, policies: tuple[Change, ...] | list[Change]) -> PolicyChain:
    """A cluster file's chain, followed as far as ``policies`` lead. Raises Rejected."""
    chain = cluster.chain()
    for change in policies:
        if change.header.policy <= chain.head.version and change.id not in chain.accepted:
            chain.judge(change)
            chain.accept(change)
    return chain
