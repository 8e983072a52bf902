"""Policies: which keys may write which prefixes.

The genesis names the root keys and a threshold; its hash is the cluster id.
Policy n is the value of the entry `_policy/n` in a change that names policy n-1
and carries signatures of at least the threshold of n-1's roots.

Knows the documents; what they allow is judged by the chain of them (`chain`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from ..model.change import PUBLIC_KEY_BYTES, Change
from ..model.encoding import as_array, as_bytes, as_int, as_text, decode, encode
from ..model.entry import Entry, Operation
from ..model.errors import FormatError, InvalidInput
from ..model.hashing import GENESIS_TAG, HASH_BYTES, tagged_hash
from ..model.key import check_prefix, check_printable, covers
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
from .floor import POLICY_ROOT, Floor, floors_from_wire

POLICY_PREFIX: Final = POLICY_ROOT
PROPOSAL_PREFIX: Final = "_proposals"
"""Below it everybody whose role needs approvals has a place of their own, for proposals and partial signatures."""
ROLE_NAME_BYTES_MAX: Final = 128
POLICY_FIELDS: Final = 6
POLICY_FIELDS_MAX: Final = 8
"""With what it settles, and names."""
NAMES_MAX: Final = 1_024
"""Keys to which one policy gives names: a tenth of its value of 1 MiB."""
NAME_BYTES_MAX: Final = 64
"""`user@host` of a .pub file, with room."""
SETTLED_MAX: Final = 8
"""Policies of one version between which another decides: roots who sign more have lost control."""
PARAMETERS_MAX: Final = 64
"""Named parameters of one policy."""
GENESIS_BYTES_MAX: Final = 4_096
"""A name, a time, a salt and at most 16 root keys."""
SALT_BYTES: Final = 16

OPERATIONS: Final = ("put", "delete", "stage", "snapshot")
"""What a role may be allowed to do; the last two belong to staged prefixes and snapshots."""


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
    that is in force. ``names`` says what people call the holders of keys, ascending by key; it decides nothing.
    """

    version: int
    roots: tuple[bytes, ...]
    threshold: int
    roles: tuple[Role, ...] = ()
    parameters: tuple[tuple[str, int], ...] = ()
    floors: tuple[Floor, ...] = ()
    settles: tuple[bytes, ...] = ()
    names: tuple[tuple[bytes, str], ...] = ()

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
        if self.names:
            fields += [self.settles, self.names]
        elif self.settles:
            fields.append(self.settles)
        return encode(fields)

    @classmethod
    def decode(cls, data: bytes) -> Policy:
        """Check and read. Raises FormatError, InvalidInput or LimitExceeded."""
        fields = as_array(decode(data, "a policy", VALUE_BYTES_MAX), "a policy")
        if not POLICY_FIELDS <= len(fields) <= POLICY_FIELDS_MAX:
            raise FormatError(
                f"a policy has {POLICY_FIELDS} fields, one more if it settles a fork, two more if it has names, "
                f"not {len(fields)}"
            )
        extra = fields[POLICY_FIELDS:]
        has_names = len(fields) == POLICY_FIELDS_MAX
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
            settles=() if not extra or (has_names and extra[0] == ()) else _settled(extra[0]),
            names=_names(extra[1]) if has_names else (),
        )

    def knows(self, key: bytes) -> bool:
        """Whether ``key`` is a root's or in a role."""
        return key in self.roots or any(key in role.keys for role in self.roles)

    def name(self, key: bytes) -> str | None:
        """What the holder of ``key`` is called, if this policy says so."""
        at = bisect_left(self.names, (key, ""))
        return self.names[at][1] if at < len(self.names) and self.names[at][0] == key else None


def carried(change: Change) -> Policy | None:
    """The policy that ``change`` carries, or None. Raises FormatError, InvalidInput or LimitExceeded."""
    for _, entry in change.entries:
        if covers(POLICY_PREFIX, entry.key) and entry.value is not None:
            return Policy.decode(entry.value)
    return None


def _settled(value: Any) -> tuple[bytes, ...]:
    ids = as_array(value, "what a policy settles", length_max=SETTLED_MAX)
    for one in ids:
        as_bytes(one, "a policy that another settles", HASH_BYTES)
    if len(ids) < 2 or len(set(ids)) != len(ids):
        raise FormatError("a policy settles between two others at least, each named once")
    if any(left >= right for left, right in pairwise(ids[1:])):
        raise FormatError("what a policy settles must be in ascending order after the one that is in force")
    return tuple(ids)


def _names(value: Any) -> tuple[tuple[bytes, str], ...]:
    pairs = []
    for pair in as_array(value, "the names", length_max=NAMES_MAX):
        key, name = as_array(pair, "a name", 2)
        pairs.append((as_bytes(key, "a key that has a name", PUBLIC_KEY_BYTES), check_name(name)))
    if not pairs:
        raise FormatError("a policy without names has no field for them")
    _ascending([key for key, _ in pairs], "the keys that have names")
    return tuple(pairs)


def check_name(name: Any) -> str:
    """``name`` if a key's holder can be called so. Raises FormatError, InvalidInput or LimitExceeded."""
    text = as_text(name, "a name", NAME_BYTES_MAX)
    check_printable(text, "name")
    if not text or text != text.strip(" "):
        raise InvalidInput(f"name {text!r} must not be empty, or begin or end with a space")
    return text


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


def carries_policy(change: Change) -> bool:
    """Whether an entry of ``change`` is a policy."""
    return any(covers(POLICY_PREFIX, entry.key) for _, entry in change.entries)


def policy_changes(changes: Iterable[Change]) -> list[Change]:
    """Those of ``changes`` that carry a policy, by version."""
    return sorted(filter(carries_policy, changes), key=lambda change: change.header.policy)
