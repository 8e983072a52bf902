"""Policies: which keys may write which prefixes.

The genesis names the root keys and a threshold; its hash is the cluster id.
Policy n is the value of the entry `_policy/n` in a change that names policy n-1
and carries signatures of at least the threshold of n-1's roots. A change is
judged by the policy that it names, never by when it arrives.

Where the roots have signed two policies n, each node keeps the one that it has accepted
first, until a policy n+1 that names both and has the signatures of both thresholds
settles which of them is in force. It counts before any other policy n+1.

Knows documents and judgements; keeps no change and talks to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from ..model.change import PUBLIC_KEY_BYTES, Change, signed_bytes
from ..model.encoding import as_array, as_bytes, as_int, as_text, decode, encode
from ..model.entry import Entry, Operation
from ..model.errors import FormatError, InvalidInput, NotAuthorised, Rejected, UnknownPolicy, WrongCluster
from ..model.hashing import GENESIS_TAG, HASH_BYTES, tagged_hash
from ..model.key import check_prefix, covers, is_system_key
from ..model.limits import (
    COMMENT_BYTES_MAX,
    KEY_BYTES_MAX,
    POLICY_VERSION_MAX,
    ROLE_KEYS_MAX,
    ROLE_PREFIXES_MAX,
    ROLES_MAX,
    ROOT_KEYS_MAX,
    SIGNATURES_MAX,
    TIME_MS_MAX,
    VALUE_BYTES_MAX,
)
from .floor import POLICY_ROOT, Floor, Floors, floors_from_wire
from .keys import fingerprint, verify

POLICY_PREFIX: Final = POLICY_ROOT
PROPOSAL_PREFIX: Final = "_proposals"
"""Below it everybody whose role needs approvals has a place of their own, for proposals and partial signatures."""
ROLE_NAME_BYTES_MAX: Final = 128
POLICY_FIELDS: Final = 6
SETTLED_MAX: Final = 8
"""Policies of one version between which another decides: roots who sign more have lost control."""
PARAMETERS_MAX: Final = 64
"""Named parameters of one policy."""
GENESIS_BYTES_MAX: Final = 4_096
"""A name, a time, a salt and at most 16 root keys."""
SALT_BYTES: Final = 16

OPERATIONS: Final = ("put", "delete", "stage", "snapshot")
"""What a role may be allowed to do; the last two belong to staged prefixes and snapshots."""

Verify = Callable[[bytes, bytes, bytes], None]
"""verify(public key, signature, message): raises BadSignature. An argument so that a simulation may remember
what it has verified already."""


def policy_key(version: int) -> str:
    """The key under which policy ``version`` is published."""
    return f"{POLICY_PREFIX}/{version}"


def is_policy_key(key: str) -> bool:
    """Whether an entry under ``key`` is part of the chain of policies."""
    return covers(POLICY_PREFIX, key)


def proposals_of(key: bytes) -> str:
    """The prefix under which the holder of ``key`` (32 bytes) may propose, and nobody else."""
    return f"{PROPOSAL_PREFIX}/{key.hex()}"


@dataclass(frozen=True, slots=True)
class Genesis:
    """Where a cluster begins: name, root keys (32 raw bytes each, ascending), threshold above half."""

    name: str
    created_ms: int
    salt: bytes
    roots: tuple[bytes, ...]
    threshold: int

    def encode(self) -> bytes:
        """Canonical bytes, whose tagged hash is the cluster id."""
        return encode([self.name, self.created_ms, self.salt, self.roots, self.threshold])

    @property
    def cluster_id(self) -> bytes:
        """32 bytes, in every signed body."""
        return tagged_hash(GENESIS_TAG, self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Genesis:
        """Check and read. Raises FormatError or LimitExceeded."""
        fields = as_array(decode(data, "the genesis", GENESIS_BYTES_MAX), "the genesis", 5)
        roots, threshold = decode_roots(fields[3], fields[4])
        return cls(
            name=as_text(fields[0], "the cluster's name", COMMENT_BYTES_MAX),
            created_ms=as_int(fields[1], "the genesis time", 0, TIME_MS_MAX),
            salt=as_bytes(fields[2], "the genesis salt", SALT_BYTES),
            roots=roots,
            threshold=threshold,
        )


@dataclass(frozen=True, slots=True)
class Role:
    """Who may do what where: keys, prefixes (whole segments; "" is all but `_`), operations, approvals m of n."""

    name: str
    keys: tuple[bytes, ...]
    prefixes: tuple[str, ...]
    operations: tuple[str, ...] = ("put", "delete")
    approvals: int = 1

    def to_wire(self) -> list[Any]:
        """The array inside a policy document."""
        return [self.name, self.keys, self.prefixes, self.operations, self.approvals]

    @classmethod
    def from_wire(cls, value: Any) -> Role:
        """Check and read. Raises FormatError, InvalidInput or LimitExceeded."""
        name, keys, prefixes, operations, approvals = as_array(value, "a role", 5)
        as_text(name, "a role's name", ROLE_NAME_BYTES_MAX)
        what = f"role {name!r}"
        keys = _ascending(as_array(keys, f"the keys of {what}", length_max=ROLE_KEYS_MAX), f"the keys of {what}")
        for key in keys:
            as_bytes(key, f"a key of {what}", PUBLIC_KEY_BYTES)
        prefixes = as_array(prefixes, f"the prefixes of {what}", length_max=ROLE_PREFIXES_MAX)
        for prefix in prefixes:
            check_prefix(as_text(prefix, f"a prefix of {what}", KEY_BYTES_MAX))
        _ascending(prefixes, f"the prefixes of {what}")
        operations = as_array(operations, f"the operations of {what}", length_max=len(OPERATIONS))
        for operation in operations:
            if operation not in OPERATIONS:
                raise FormatError(f"{what} allows {operation!r}; operations are {', '.join(OPERATIONS)}")
        if list(operations) != [one for one in OPERATIONS if one in operations]:
            raise FormatError(f"the operations of {what} must be in the order {', '.join(OPERATIONS)}")
        as_int(approvals, f"the approvals of {what}", 1, min(max(len(keys), 1), SIGNATURES_MAX))
        return cls(name, keys, prefixes, operations, approvals)

    def allows(self, entry: Entry, signers: frozenset[bytes]) -> bool:
        """Whether this role and these signers suffice for ``entry``."""
        return self.governs(entry) and sum(key in signers for key in self.keys) >= self.approvals

    def governs(self, entry: Entry) -> bool:
        """Whether this role's holders may do this here, once enough of them have signed."""
        operation = "put" if entry.operation is Operation.PUT else "delete"
        return operation in self.operations and any(covers(prefix, entry.key) for prefix in self.prefixes)


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the rules. Version 0 is the genesis itself: roots, and no roles.

    ``floors`` are those that this version adds; all of a chain's stay in force (see `trust.floor`).
    ``settles`` names the changes that carry the policies of the version before, if there are several, first the one
    that is in force.
    """

    version: int
    roots: tuple[bytes, ...]
    threshold: int
    roles: tuple[Role, ...] = ()
    parameters: tuple[tuple[str, int], ...] = ()
    floors: tuple[Floor, ...] = ()
    settles: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Canonical bytes: the value of the entry `_policy/<version>`."""
        fields = [
            self.version,
            self.roots,
            self.threshold,
            [role.to_wire() for role in self.roles],
            self.parameters,
            [floor.to_wire() for floor in self.floors],
        ]
        return encode([*fields, self.settles] if self.settles else fields)

    @classmethod
    def decode(cls, data: bytes) -> Policy:
        """Check and read. Raises FormatError, InvalidInput or LimitExceeded."""
        fields = as_array(decode(data, "a policy", VALUE_BYTES_MAX), "a policy")
        if len(fields) not in (POLICY_FIELDS, POLICY_FIELDS + 1):
            raise FormatError(
                f"a policy has {POLICY_FIELDS} fields, or one more if it settles a fork, not {len(fields)}"
            )
        roots, threshold = decode_roots(fields[1], fields[2])
        roles = tuple(Role.from_wire(role) for role in as_array(fields[3], "the roles", length_max=ROLES_MAX))
        names = [role.name for role in roles]
        if len(set(names)) != len(names):
            raise FormatError("two roles of a policy have the same name")
        parameters = []
        for pair in as_array(fields[4], "the parameters", length_max=PARAMETERS_MAX):
            name, number = as_array(pair, "a parameter", 2)
            as_text(name, "a parameter's name", ROLE_NAME_BYTES_MAX)
            parameters.append((name, as_int(number, f"parameter {name!r}", 0, TIME_MS_MAX)))
        _ascending([name for name, _ in parameters], "the parameters")
        version = as_int(fields[0], "the policy version", 1, POLICY_VERSION_MAX)
        return cls(
            version=version,
            roots=roots,
            threshold=threshold,
            roles=roles,
            parameters=tuple(parameters),
            floors=floors_from_wire(fields[5], version),
            settles=_settled(fields[POLICY_FIELDS]) if len(fields) > POLICY_FIELDS else (),
        )

    def knows(self, key: bytes) -> bool:
        """Whether ``key`` is a root's or in a role."""
        return key in self.roots or any(key in role.keys for role in self.roles)


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
        if change.header.cluster != self.cluster_id:
            raise WrongCluster(f"the change belongs to cluster {change.header.cluster.hex()[:8]}…")
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
        if change.header.cluster != self.cluster_id:
            raise WrongCluster(f"the change belongs to cluster {change.header.cluster.hex()[:8]}…")
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
            message = signed_bytes(change.id)
            for key, signature in change.signatures():
                self._verify(key, signature, message)
            return
        raise refusal

    def accept(self, change: Change) -> Policy | None:
        """Take over the policy that a judged ``change`` carries, if it is the next one or settles a fork; return it.

        With one that settles a fork other policies may be in force for what has been judged before.
        """
        policy = carried(change)
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
            policy = carried(change)
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
        if not any(sum(root in signers for root in one.roots) >= one.threshold for one in (policy, *rivals)):
            signed = sum(root in signers for root in policy.roots)
            raise NotAuthorised(
                f"a policy after policy {policy.version} has the signatures of {signed} of {len(policy.roots)} roots, "
                f"{policy.threshold} are needed"
            )
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
        elif not _may_propose(policy, change, entry) and not any(
            change.header.writer.key in role.keys and role.allows(entry, signers) for role in policy.roles
        ):
            operation = entry.operation.name.lower()
            raise NotAuthorised(
                f"policy {policy.version} does not let {fingerprint(change.header.writer.key)} {operation} "
                f"{entry.key!r}" + _nearest_permission(policy, change.header.writer.key, entry)
            )

    def _check_policy_entry(self, policy: Policy, change: Change, entry: Entry, signers: frozenset[bytes]) -> None:
        if entry.key != policy_key(policy.version + 1) or entry.slot[1] or entry.value is None or entry.seen:
            raise NotAuthorised(
                f"a change that names policy {policy.version} may put {policy_key(policy.version + 1)!r} once "
                f"and no other key under {POLICY_PREFIX}/; it has {entry.key!r}"
            )
        if change.header.count != 1:
            raise NotAuthorised("a policy must be the only entry of its change")
        signed = sum(root in signers for root in policy.roots)
        if signed < policy.threshold:
            raise NotAuthorised(
                f"{entry.key!r} has the signatures of {signed} of {len(policy.roots)} roots, "
                f"{policy.threshold} are needed"
            )
        successor = Policy.decode(entry.value)
        if successor.version != policy.version + 1:
            raise Rejected(f"{entry.key!r} contains policy {successor.version}")


def carried(change: Change) -> Policy | None:
    """The policy that ``change`` carries, or None. Raises FormatError, InvalidInput or LimitExceeded."""
    for _, entry in change.entries:
        if covers(POLICY_PREFIX, entry.key) and entry.value is not None:
            return Policy.decode(entry.value)
    return None


def _check_settlement(branches: tuple[Policy, ...], change: Change, signers: frozenset[bytes]) -> None:
    """A policy that settles a fork needs the thresholds of all its branches, and nobody else's signature."""
    (_, entry) = change.entries[0]
    key = policy_key(change.header.policy + 1)
    if change.header.count != 1 or entry.key != key or entry.slot[1] or entry.seen:
        raise NotAuthorised(f"a policy that settles a fork must be the only entry of its change, {key!r}, put once")
    for branch in branches:
        signed = sum(root in signers for root in branch.roots)
        if signed < branch.threshold:
            raise NotAuthorised(
                f"{key!r} has the signatures of {signed} of {len(branch.roots)} roots of one policy between which it "
                f"decides, {branch.threshold} are needed"
            )
    for signer in signers:
        if not any(signer in branch.roots for branch in branches):
            raise NotAuthorised(f"the change is signed by {fingerprint(signer)}, which is no root")


def _settled(value: Any) -> tuple[bytes, ...]:
    ids = as_array(value, "what a policy settles", length_max=SETTLED_MAX)
    for one in ids:
        as_bytes(one, "a policy that another settles", HASH_BYTES)
    if len(ids) < 2 or len(set(ids)) != len(ids):
        raise FormatError("a policy settles between two others at least, each named once")
    if any(left >= right for left, right in pairwise(ids[1:])):
        raise FormatError("what a policy settles must be in ascending order after the one that is in force")
    return tuple(ids)


def decode_roots(roots: Any, threshold: Any) -> tuple[tuple[bytes, ...], int]:
    """Check root keys and a threshold above half of them. Raises FormatError or LimitExceeded."""
    roots = _ascending(as_array(roots, "the root keys", length_max=ROOT_KEYS_MAX), "the root keys")
    for root in roots:
        as_bytes(root, "a root key", PUBLIC_KEY_BYTES)
    if not roots:
        raise FormatError("there must be at least one root key")
    as_int(threshold, "the root threshold", 1, len(roots))
    if 2 * threshold <= len(roots):
        raise FormatError(f"the root threshold must be above half of {len(roots)} keys, not {threshold}")
    return roots, threshold


def _ascending(values: Any, what: str) -> Any:
    for left, right in pairwise(values):
        if type(left) is not type(right) or not isinstance(left, str | bytes) or left >= right:
            raise FormatError(f"{what} must be in strictly ascending order")
    return values


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


def carries_policy(change: Change) -> bool:
    """Whether an entry of ``change`` is a policy."""
    return any(covers(POLICY_PREFIX, entry.key) for _, entry in change.entries)


def policy_changes(changes: Iterable[Change]) -> list[Change]:
    """Those of ``changes`` that carry a policy, by version."""
    return sorted(filter(carries_policy, changes), key=lambda change: change.header.policy)
