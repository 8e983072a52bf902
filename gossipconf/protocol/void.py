"""What is void at this node: kept out of the live set, taken out of it, and kept aside.

`trust.floor` says which versions are void; here it takes effect. Void means as if never
received, so what a void version had superseded comes back: from history, and from peers.
Reads neither disk nor network, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model.change import Change
from ..model.errors import Rejected
from ..model.version import Version
from ..store.live_set import LiveSet, Outcome
from ..trust.chain import PolicyChain
from ..trust.policy import Policy, carries_policy
from .environment import Environment, Recall
from .events import Voided

QUARANTINED_MAX = 10_000
"""Void versions that came after their floor and are kept all the same, from a start on: who has stolen a key can sign
without end, and each is a row on the disk."""


class Void:
    """The floors of a policy chain at work."""

    def __init__(self, environment: Environment, chain: PolicyChain) -> None:
        self._environment = environment
        self._chain = chain
        self._quarantined = 0

    # -- what comes -------------------------------------------------------------------------------

    def sift(self, change: Change) -> tuple[Change | None, tuple[Version, ...]]:
        """``change`` without what floors void of it, and what they void. Of one without valid entries the header still
        counts where two changes have one number, or None is left."""
        floors = self._chain.floors
        if not floors:
            return change, ()
        void = tuple(version for version in change.versions if floors.is_void(version))
        indices = {index for index, _ in change.entries} - {version.index for version in void}
        if not indices and floors.is_branch_void(change):
            return None, void
        return (change.restrict(indices) if void else change), void

    def check(self, change: Change) -> None:
        """Raise Rejected if anything of ``change``, which is to be published here, is void."""
        if self.sift(change)[0] is not change:
            raise Rejected(
                f"a floor of a later policy voids what names policy {change.header.policy} here; "
                f"sign again under policy {self._chain.head.version}"
            )

    def is_branch(self, change: Change) -> bool:
        """Whether ``change`` counts where two changes have one number."""
        return not self._chain.floors.is_branch_void(change)

    def quarantine(self, void: tuple[Version, ...], source: str | None) -> tuple[Version, ...]:
        """What of the ``void`` that has come too late is to be kept, so that it can be listed and signed anew."""
        kept = void[: QUARANTINED_MAX - self._quarantined]
        if kept:
            self._quarantined += len(kept)
            self._environment.emit(Voided(kept, source))
        return kept

    # -- what lives -------------------------------------------------------------------------------

    def policy_accepted(self, policy: Policy, live: LiveSet, outcome: Outcome) -> bool:
        """Take out of ``live`` what is void under a policy that has come into force, and add that to ``outcome``.

        Returns whether anything is to come back: then a `Recall` is put out, and what it finds may be valid.
        """
        recall = self._settled(policy, live, outcome) if policy.settles else self._narrowed(policy, live, outcome)
        if recall is not None:
            self._environment.output(recall)
        return recall is not None

    def _narrowed(self, policy: Policy, live: LiveSet, outcome: Outcome) -> Recall | None:
        """A policy with floors is in force: what they void goes, and what that had superseded may come back, as may
        what they keep and former ones had voided, or what is void now had pushed out of a fork."""
        if not policy.floors:
            return None
        floors = self._chain.floors
        may_return = floors.have_former or bool(live.forks())
        versions = self._remove(live, floors.is_void, floors.is_branch_void, outcome)
        slots = dict.fromkeys(version.slot for version in versions)
        kept = dict.fromkeys(one.change_id for floor in policy.floors for one in floor.kept)
        back = tuple(one for one in kept if live.stored(one) is None) if may_return else ()
        return Recall(tuple(slots), back) if slots or back else None

    def _settled(self, policy: Policy, live: LiveSet, outcome: Outcome) -> Recall:
        """A policy fork is settled: what names a policy that is another one now may not be allowed any more, and what
        was refused or void may be. The former goes to history, from which, and from peers, the latter comes."""
        first = policy.version - 1
        floors = self._chain.floors

        def may_have_signed(change: Change, key: bytes) -> bool:
            return (
                change.header.policy < first or carries_policy(change) or self._chain.knows(key, change.header.policy)
            )

        def is_void(version: Version) -> bool:
            if floors.is_void(version):
                return True
            kept = live.stored(version.change_id)
            return (
                version.header.policy >= first and kept is not None and not self.allows(kept.restrict({version.index}))
            )

        def is_branch_void(header: Change) -> bool:
            return floors.is_branch_void(header) or (header.header.policy >= first and not self.allows(header))

        # Approvals go first: who may sign by one branch only could otherwise void, by approving it, what both allow.
        left = live.keep_signers(may_have_signed)
        outcome.touched |= left.touched
        outcome.stored |= left.stored
        self._remove(live, is_void, is_branch_void, outcome)
        return Recall((), (), everything=True)

    def _remove(
        self,
        live: LiveSet,
        is_void: Callable[[Version], bool],
        is_branch_void: Callable[[Change], bool],
        outcome: Outcome,
    ) -> tuple[Version, ...]:
        """Take what is void out of ``live``, and tell; returns the versions."""
        voided = live.void(is_void, is_branch_void)
        outcome.retired += voided.retired
        outcome.touched |= voided.touched
        outcome.stored |= voided.stored
        versions = tuple(version for version, _ in voided.retired)
        if versions:
            self._environment.emit(Voided(versions, None))
        return versions

    def allows(self, change: Change) -> bool:
        """Whether the policies in force allow ``change``, signatures apart."""
        try:
            self._chain.judge(change, signatures_checked=True)
        except Rejected:
            return False
        return True
