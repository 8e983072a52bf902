"""Verification: what an agent delivers, judged on this machine before anybody sees it.

The policy chain starts at this machine's own cluster file, and is followed as far as agents know
it. Knows keys, policies and changes; asks an agent only for newer policies, by a function that it
is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..model.change import Change
from ..model.errors import ControlError, InvalidInput, Rejected, UnknownPolicy
from ..model.key import covers
from ..model.version import Version
from ..trust.chain import PolicyChain
from ..trust.cluster import Cluster
from ..trust.keys import fingerprint


class Verifier:
    """A policy chain, and what it says of changes and of who has signed them."""

    def __init__(self, cluster: Cluster, newer: Callable[[], Sequence[Any]]) -> None:
        """``newer``: asks for all changes that carry policies, encoded, as often as one is named that is unknown."""
        self._newer = newer
        self._set_aside = set[bytes]()  # changes in history that only a policy without force allows
        self._judged: set[tuple[bytes, tuple[tuple[bytes, bytes], ...]]] = set()
        self.cluster = cluster
        self.chain: PolicyChain = cluster.chain()
        self._policy_changes = {change.id: change for change in cluster.policies}  # those set aside, too

    @property
    def policies(self) -> list[Change]:
        """The changes that carry the policies of ``chain``, from version 1 on."""
        return [self._policy_changes[change_id] for change_id in self.chain.accepted]

    @property
    def policy_changes(self) -> list[Change]:
        """All that carry policies, those that are not in force after those that are, by version."""
        accepted = self.chain.accepted
        return sorted(self._policy_changes.values(), key=lambda one: (one.header.policy, one.id not in accepted))

    def learn(self, encoded: Sequence[Any]) -> None:
        """Follow the policy chain as far as the agent knows it."""
        self.follow(map(self.decode, encoded))

    def follow(self, changes: Iterable[Change]) -> None:
        """The same with changes that are decoded. Raises Rejected for a policy that does not verify."""
        for change in changes:
            known = self._policy_changes.get(change.id)
            try:
                self.chain.judge(change)
            except Rejected:
                if known is None and change.header.policy != self.chain.head.version:
                    continue  # it follows a branch of a policy fork that is not in force here
                raise
            self.chain.accept(change)
            # The agent may know of more signatures than the cluster file.
            self._policy_changes[change.id] = change if known is None else known.union(change)

    # -- what changes are -------------------------------------------------------------------------

    def decode(self, data: Any) -> Change:
        """A change of this cluster, of which nothing is verified yet. Raises ControlError."""
        if not isinstance(data, bytes):
            raise ControlError("the agent's reply has no change where one belongs; is it another version?")
        try:
            return Change.decode(data, self.chain.cluster_id)
        except InvalidInput as error:
            raise ControlError(f"the agent delivers what is no change, and it is not shown: {error}") from None

    def part(self, data: Any, *, is_past: bool = False) -> Change:
        """A part of a change, verified. ``is_past``: a policy fork may have left it without force. Raises Rejected."""
        change = self.decode(data)
        try:
            self._judge(change)
        except Rejected:
            if not is_past or change.header.policy not in self.chain.forked:
                raise
            self.chain.judge_as_set_aside(change)
            self._set_aside.add(change.id)
        return change

    def verified(self, data: bytes) -> Change:
        """A form of a change whose signatures are verified, and nothing else: it may lack some. Raises Rejected."""
        change = self.decode(data)
        self._judge(change.restrict(()))
        return change

    def _judge(self, change: Change) -> None:
        # One change of many keys comes once per key; its signatures are over the header and need checking once.
        proof = (change.id, change.signatures())
        checked = proof in self._judged
        try:
            self.chain.judge(change, signatures_checked=checked)
        except UnknownPolicy:  # published since this session began
            self.learn(self._newer())
            self.chain.judge(change, signatures_checked=checked)
        except Rejected as error:
            raise type(error)(f"the agent delivers what does not verify, and it is not shown: {error}") from None
        self._judged.add(proof)

    def is_void(self, version: Version) -> bool:
        """Whether a floor voids a version of the history, or a settled policy fork."""
        return self.chain.floors.is_void(version) or version.change_id in self._set_aside

    # -- who has signed ---------------------------------------------------------------------------

    def signer_of(self, version: Version) -> tuple[str, str]:
        """Who signed: the role's name under the policy that the change names (or "root"), and the fingerprint."""
        key = version.header.writer.key
        return self.role_of(key, version.header.policy, version.entry.key), fingerprint(key)

    def role_of(self, key: bytes, policy: int, at: str) -> str:
        """The role in which the holder of `key` signs for the key `at` under a policy, or "root"."""
        in_force = [self.chain[policy]] if policy <= self.chain.head.version else []
        known = (*in_force, *self.chain.set_aside(policy))
        roles = [role for one in known for role in one.roles if key in role.keys]
        covering = [role for role in roles if any(covers(prefix, at) for prefix in role.prefixes)]
        return next((role.name for role in (*covering, *roles)), "root")

    def name_of(self, key: bytes, policy: int) -> str | None:
        """What the holder of `key` is called: by the policy in force, or else by the one under which it signed."""
        head = self.chain.head
        return head.name(key) or (self.chain[policy].name(key) if policy <= head.version else None)
