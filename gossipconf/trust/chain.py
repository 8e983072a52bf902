"""The chain of policies at a node: which are in force, and what they allow.

A change is judged by the policy that it names, never by when it arrives. Where the roots
have signed two policies n, each node keeps the one that it has accepted first, until a policy
n+1 that names both and has the signatures of both thresholds settles which of them is in
force. It counts before any other policy n+1.

Knows documents and judgements; keeps no change and talks to nobody.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model.change import Change, signed_bytes
from ..model.entry import Entry, Operation
from ..model.errors import InvalidInput, NotAuthorised, Rejected, UnknownPolicy, WrongCluster
from ..model.key import covers, is_system_key
from .floor import Floors
from .keys import fingerprint, verify
from .parameter import VALUE_BYTES
from .policy import POLICY_PREFIX, Genesis, Policy, carried, carries_policy, policy_key, proposals_of
from .strict import STAGE, StageKey, is_first, is_stage_key, strict_over, strict_prefixes, ways_to_stage

Verify = Callable[[bytes, bytes, bytes], None]
"""verify(public key, signature, message): raises BadSignature. An argument so that a simulation may remember
what it has verified already."""


class PolicyChain:
    """The policies that a node has accepted, from the genesis on, and its judge of changes."""

    def __init__(self, genesis: Genesis, verify_signature: Verify = verify) -> None:
        self.genesis = genesis
        self.cluster_id = genesis.cluster_id
        self._verify = verify_signature
        self.floors = Floors()
        self._policies = [Policy(0, genesis.roots, genesis.threshold)]
        self._ids = [b""]
        self._rivals: dict[int, dict[bytes, Policy]] = {}
        self._read_last: tuple[Change, Policy | None] | None = None

    @property
    def accepted(self) -> tuple[bytes, ...]:
        """The ids of the changes that carry the policies in force, from policy 1 on."""
        return tuple(self._ids[1:])

    @property
    def forked(self) -> tuple[int, ...]:
        """The versions of which the roots have signed several policies, ascending; settled ones too."""
        return tuple(sorted(self._rivals))

    def is_disputed(self, version: int) -> bool:
        """Whether there are several policies of this version, and no later one that says which is in force."""
        if version not in self._rivals or version > self.head.version:
            return False
        later = self._policies[version + 1] if version < self.head.version else None
        return not (later and later.settles) and not self._policies[version].settles

    @property
    def disputed(self) -> tuple[int, ...]:
        """The versions about which there is an open policy fork, ascending."""
        return tuple(version for version in self.forked if self.is_disputed(version))

    def branches(self, version: int) -> tuple[bytes, ...]:
        """The ids of the changes that carry a policy of this version, the one in force first."""
        return (*self._ids[version : version + 1], *sorted(self._rivals.get(version, ())))

    def floors_of(self, version: int) -> Floors:
        """The floors of the policies in force up to this version: what one who knew no later one held void."""
        floors = Floors()
        for policy in self._policies[: version + 1]:
            floors.add(policy.floors)
        return floors

    @property
    def head(self) -> Policy:
        """The latest policy."""
        return self._policies[-1]

    def __getitem__(self, version: int) -> Policy:
        """Policy ``version``. Raises UnknownPolicy if it is not here yet."""
        if version >= len(self._policies):
            raise UnknownPolicy(f"the change names policy {version}, the newest here is {self.head.version}")
        return self._policies[version]

    def knows(self, key: bytes, version: int) -> bool:
        """Whether ``key`` may sign anything that names policy ``version``, as far as is known here."""
        return version > self.head.version or self._policies[version].knows(key)

    def judge(self, change: Change, *, signatures_checked: bool = False) -> None:
        """Raise unless the policy that ``change`` names allows every entry that is here.

        Raises WrongCluster, UnknownPolicy, BadSignature or NotAuthorised. ``signatures_checked``
        skips the signatures (only) of a body that this node has verified before.
        """
        self._check_cluster(change)
        policy = self[change.header.policy]
        signers = frozenset(key for key, _ in change.signatures())
        if carries_policy(change):
            self._check_roots(policy, change, signers)
            if not signatures_checked:
                self._check_signatures(change)
                signatures_checked = True
        branches = self._settled_by(change)
        if branches:
            _check_settlement(branches, change, signers)
        else:
            self._check_known(policy, change)
            for _, entry in change.entries:
                self._check_entry(policy, change, entry, signers)
        if not signatures_checked:
            self._check_signatures(change)

    def set_aside(self, version: int) -> tuple[Policy, ...]:
        """The policies of this version that a fork has left without force here."""
        return tuple(policy for _, policy in sorted(self._rivals.get(version, {}).items()))

    def judge_as_set_aside(self, change: Change) -> None:
        """Raise unless a policy that was set aside allows every entry of ``change`` that is here: it was in force for
        somebody once, and is void. Raises WrongCluster, NotAuthorised or BadSignature."""
        self._check_cluster(change)
        signers = frozenset(key for key, _ in change.signatures())
        refusal = NotAuthorised(f"no policy {change.header.policy} was set aside")
        for policy in self.set_aside(change.header.policy):
            try:
                self._check_known(policy, change)
                for _, entry in change.entries:
                    self._check_entry(policy, change, entry, signers)
            except NotAuthorised as error:
                refusal = error
                continue
            self._check_signatures(change)
            return
        raise refusal

    def accept(self, change: Change) -> Policy | None:
        """Take over the policy that a judged ``change`` carries, if it is the next one or settles a fork; return it.

        With one that settles a fork other policies may be in force for what has been judged before.
        """
        policy = self._carried(change)
        if policy is None or change.id in self._ids:
            return None
        if not (self._is_open_to(policy) if policy.settles else policy.version == self.head.version + 1):
            self._rivals.setdefault(policy.version, {})[change.id] = policy
            return None
        if policy.settles:
            self._rewind(policy)
        self._rivals.get(policy.version, {}).pop(change.id, None)
        self._policies.append(policy)
        self._ids.append(change.id)
        self.floors.add(policy.floors)
        return policy

    def _is_open_to(self, policy: Policy) -> bool:
        """Whether ``policy`` decides about a policy that is in force here, and nothing has decided yet.

        One that decides between others only has not asked the roots of that one: whoever holds the keys of roots that
        were replaced could sign two rivals, and a policy that settles between these.
        """
        version = policy.version
        settled = version <= self.head.version and self._policies[version].settles
        return self._ids[version - 1] in policy.settles and not settled

    def _rewind(self, policy: Policy) -> None:
        """Put in force, of the version before ``policy``, the one that it says; what came after others is set aside."""
        version = policy.version - 1
        prevailing = policy.settles[0]
        if self._ids[version] != prevailing:
            self._rivals[version][self._ids[version]] = self._policies[version]
            self._policies[version] = self._rivals[version].pop(prevailing)
            self._ids[version] = prevailing
        for number in range(policy.version, len(self._ids)):
            self._rivals.setdefault(number, {})[self._ids[number]] = self._policies[number]
        del self._policies[policy.version :], self._ids[policy.version :]
        self.floors = self.floors_of(self.head.version)

    def _settled_by(self, change: Change) -> tuple[Policy, ...]:
        """The policies between which the one in ``change`` decides. Raises UnknownPolicy if one is not here yet."""
        try:
            policy = self._carried(change)
        except InvalidInput:  # whether its signers may do that is the first question
            return ()
        if policy is None or not policy.settles:
            return ()
        if policy.version != change.header.policy + 1:
            raise Rejected(f"a change that names policy {change.header.policy} contains policy {policy.version}")
        version = policy.version - 1
        known = self._rivals.get(version, {}) | {self._ids[version]: self._policies[version]}
        for one in policy.settles:
            if one not in known:
                raise UnknownPolicy(f"the change settles between policies {version}, of which one is not here yet")
        return tuple(known[one] for one in policy.settles)

    def _carried(self, change: Change) -> Policy | None:
        """`carried`, read once for the steps of judging and accepting one change: 1 MiB takes 0.2 s."""
        if self._read_last is None or self._read_last[0] is not change:
            self._read_last = (change, carried(change))
        return self._read_last[1]

    def _check_cluster(self, change: Change) -> None:
        if change.header.cluster != self.cluster_id:
            raise WrongCluster(f"the change belongs to cluster {change.header.cluster.hex()[:8]}…")

    def _check_signatures(self, change: Change) -> None:
        message = signed_bytes(change.id)
        for key, signature in change.signatures():
            self._verify(key, signature, message)

    def _check_roots(self, policy: Policy, change: Change, signers: frozenset[bytes]) -> None:
        """Raise unless enough signers of a policy are roots to look into it, and the others are known.

        Before that, and before their signatures are verified, nothing of it is read: 1 MiB takes 0.2 s, and whoever
        made it up could name policies between which it settles, and be asked for them instead of blamed.
        """
        rivals = self._rivals.get(policy.version, {}).values()
        if not any(_signed(one, signers) >= one.threshold for one in (policy, *rivals)):
            raise _too_few(f"a policy after policy {policy.version}", policy, signers)
        if not any(signer in one.roots for one in rivals for signer in signers):
            self._check_known(policy, change)

    def _check_known(self, policy: Policy, change: Change) -> None:
        """Every signer must be somebody: cheap, and before any signature is verified (invariant 8).

        A relay could otherwise pad a change with approvals by keys of its own until
        those that count no longer fit.
        """
        for key, _ in change.signatures():
            if not policy.knows(key):
                raise NotAuthorised(
                    f"the change is signed by {fingerprint(key)}, which policy {policy.version} does not know"
                )

    def _check_entry(self, policy: Policy, change: Change, entry: Entry, signers: frozenset[bytes]) -> None:
        if covers(POLICY_PREFIX, entry.key):
            self._check_policy_entry(policy, change, entry, signers)
        elif is_stage_key(entry.key):
            _check_stage_entry(policy, change, entry, signers)
        elif (strict := _strict_over(policy, entry.key)) is not None:
            raise NotAuthorised(
                f"{entry.key!r}: policy {policy.version} calls {strict!r} strict, where values change in epochs and an "
                "ordinary publish is void; see: gossipconf stage prepare"
            )
        elif not _may_propose(policy, change, entry) and not any(
            change.header.writer.key in role.keys and role.allows(entry, signers) for role in policy.roles
        ):
            operation = entry.operation.name.lower()
            raise NotAuthorised(
                f"policy {policy.version} does not let {fingerprint(change.header.writer.key)} {operation} "
                f"{entry.key!r}" + _nearest_permission(policy, change.header.writer.key, entry)
            )
        elif entry.value is not None and policy.parameters:
            _check_size(policy, entry, len(entry.value))

    def _check_policy_entry(self, policy: Policy, change: Change, entry: Entry, signers: frozenset[bytes]) -> None:
        if entry.key != policy_key(policy.version + 1) or entry.slot[1] or entry.value is None or entry.seen:
            raise NotAuthorised(
                f"a change that names policy {policy.version} may put {policy_key(policy.version + 1)!r} once "
                f"and no other key under {POLICY_PREFIX}/; it has {entry.key!r}"
            )
        if change.header.count != 1:
            raise NotAuthorised("a policy must be the only entry of its change")
        if _signed(policy, signers) < policy.threshold:
            raise _too_few(repr(entry.key), policy, signers)
        successor = self._carried(change)
        assert successor is not None
        if successor.version != policy.version + 1:
            raise Rejected(f"{entry.key!r} contains policy {successor.version}")


def _signed(policy: Policy, signers: frozenset[bytes]) -> int:
    """How many roots of ``policy`` have signed."""
    return sum(root in signers for root in policy.roots)


def _too_few(what: str, policy: Policy, signers: frozenset[bytes], which: str = "") -> NotAuthorised:
    """What to raise when the roots' threshold is not reached; ``which`` says whose roots they are."""
    return NotAuthorised(
        f"{what} has the signatures of {_signed(policy, signers)} of {len(policy.roots)} roots{which}, "
        f"{policy.threshold} are needed"
    )


def _check_settlement(branches: tuple[Policy, ...], change: Change, signers: frozenset[bytes]) -> None:
    """A policy that settles a fork needs the thresholds of all its branches, and nobody else's signature."""
    (_, entry) = change.entries[0]
    key = policy_key(change.header.policy + 1)
    if change.header.count != 1 or entry.key != key or entry.slot[1] or entry.seen:
        raise NotAuthorised(f"a policy that settles a fork must be the only entry of its change, {key!r}, put once")
    for branch in branches:
        if _signed(branch, signers) < branch.threshold:
            raise _too_few(repr(key), branch, signers, " of one policy between which it decides")
    for signer in signers:
        if not any(signer in branch.roots for branch in branches):
            raise NotAuthorised(f"the change is signed by {fingerprint(signer)}, which is no root")


def _strict_over(policy: Policy, key: str) -> str | None:
    """The strict prefix over ``key`` by ``policy``."""
    return strict_over(strict_prefixes(policy.parameters), key) if policy.parameters else None


def _check_size(policy: Policy, entry: Entry, size_bytes: int) -> None:
    """An ordinary value is no larger than the policy permits. System entries have the format's limit alone: a proposal
    contains a whole change."""
    limit = VALUE_BYTES.of(policy.parameters)
    if size_bytes > limit and not is_system_key(entry.key):
        raise NotAuthorised(
            f"the value of {entry.key!r} has {size_bytes} bytes, policy {policy.version} permits {limit} "
            f"(its parameter {VALUE_BYTES.name})"
        )


def _check_stage_entry(policy: Policy, change: Change, entry: Entry, signers: frozenset[bytes]) -> None:
    """A stage, or what asks for its end, needs the operation `stage` for its prefix; a first epoch the roots."""
    named = StageKey.parse(entry.key)
    if named is None or entry.slot[1]:
        raise NotAuthorised(
            f"{entry.key!r} names no stage: its keys are _stages/<prefix>/<number>/<id>, and no variants"
        )
    if named.prefix not in strict_prefixes(policy.parameters):
        raise NotAuthorised(
            f"policy {policy.version} does not call {named.prefix!r} strict, so it has no stages; a policy with the "
            f"parameter strict/{named.prefix} = 1 would"
        )
    writer = change.header.writer.key
    is_put = entry.operation is Operation.PUT
    ways = ways_to_stage(policy, writer, named, is_put=is_put)
    if any(sum(key in signers for key in keys) >= needed for needed, keys in ways):
        return
    if is_first(named, is_put=is_put):
        what = f"the first epoch of {named.prefix!r}, which says whose agreement counts from then on,"
        raise _too_few(what, policy, signers)
    raise NotAuthorised(
        f"policy {policy.version} does not let {fingerprint(writer)} stage {named.prefix!r}; a role with that prefix "
        f"and the operation {STAGE!r}, and enough approvals if it needs more, would"
    )


def _may_propose(policy: Policy, change: Change, entry: Entry) -> bool:
    """Whether ``entry`` is a proposal or a partial signature of the writer's own: plain data, which takes no effect.

    Nobody else's: whoever may approve could otherwise delete what others have proposed or signed.
    """
    key = change.header.writer.key
    return covers(proposals_of(key), entry.key) and any(
        key in role.keys and role.approvals > 1 for role in policy.roles
    )


def _nearest_permission(policy: Policy, key: bytes, entry: Entry) -> str:
    """What the signer may do, or what is still missing, for the error message."""
    roles = [role for role in policy.roles if key in role.keys]
    for role in roles:
        if any(covers(prefix, entry.key) for prefix in role.prefixes) and role.approvals > 1:
            return f"; role {role.name!r} needs {role.approvals} approvals: propose it first"
    prefixes = sorted({prefix or "(all keys)" for role in roles for prefix in role.prefixes})
    if is_system_key(entry.key) and not any(prefix.startswith("_") for prefix in prefixes):
        return "; keys that begin with _ are the system's"
    return f"; it may write under: {', '.join(prefixes)}" if prefixes else ""
