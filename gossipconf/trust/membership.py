"""What a policy says of nodes: who issues certificates, and who is shut out.

Both are roles whose names begin with `_`, so that the format needs nothing new and a release
that does not know them takes the policy all the same. They let nobody write anything: they have
no operations.

    _issuers   prefixes `_nodes/<node id>`: agents that renew others' certificates
    _revoked   prefixes `_nodes/<node id>`: nodes that no peer talks to any more;
               keys: SHA-256 of certificates, with which goes whatever they have issued

A role has so many prefixes and keys; what does not fit stands in `_revoked/2`, `_revoked/3` and so on.

Knows policies. Knows no certificate and no link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, TypeVar

from ..model.errors import InvalidInput
from ..model.key import check_node_id
from ..model.limits import ROLE_KEYS_MAX, ROLE_PREFIXES_MAX
from .policy import Policy, Role

ISSUERS: Final = "_issuers"
REVOKED: Final = "_revoked"
NODES_PREFIX: Final = "_nodes/"
FINGERPRINT_BYTES: Final = 32
"""A SHA-256, which is as long as a public key: it fits where a role has its keys."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Membership:
    """Who issues, and who is shut out, by policy ``version``; each list ascending and without doubles.

    issuers:       node ids; who is revoked issues nothing
    nodes:         node ids that are revoked
    certificates:  fingerprints (SHA-256, 32 bytes) that are revoked
    """

    version: int = 0
    issuers: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    certificates: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, policy: Policy) -> Membership:
        """What ``policy`` says."""
        revoked = sorted({node for role in _roles(policy, REVOKED) for node in _nodes_of(role)})
        named = sorted({node for role in _roles(policy, ISSUERS) for node in _nodes_of(role)})
        return cls(
            policy.version,
            tuple(node for node in named if node not in revoked),
            tuple(revoked),
            tuple(sorted({key for role in _roles(policy, REVOKED) for key in role.keys})),
        )

    def refusal(self, node_id: str, certificates: Iterable[bytes] = ()) -> str | None:
        """Why nobody talks to a node; None: all is well.

        ``certificates``: fingerprints of its chain, its own first, and of all other forms that these can have.
        """
        if node_id in self.nodes:
            return f"policy {self.version} has revoked node {node_id!r}"
        for number, certificate in enumerate(certificates):
            if certificate in self.certificates:
                what = "the certificate of" if number == 0 else "a certificate that stands for"
                return f"policy {self.version} has revoked {what} node {node_id!r}, SHA256:{certificate.hex()[:16]}…"
        return None

    def roles(self) -> tuple[Role, ...]:
        """The roles that say this, for a policy. Raises InvalidInput for what is no node id or fingerprint."""
        for node in (*self.issuers, *self.nodes):
            check_node_id(node)
        if any(len(certificate) != FINGERPRINT_BYTES for certificate in self.certificates):
            raise InvalidInput(f"a certificate's fingerprint is a SHA-256, {FINGERPRINT_BYTES} bytes")
        return (*_roles_of(ISSUERS, self.issuers, ()), *_roles_of(REVOKED, self.nodes, self.certificates))


def is_membership(role_name: str) -> bool:
    """Whether a role of this name speaks of nodes, and not of who may write."""
    return any(is_kind(role_name, kind) for kind in (ISSUERS, REVOKED))


def is_kind(role_name: str, kind: str) -> bool:
    """Whether a role of this name is one of ``kind``, ISSUERS or REVOKED."""
    return role_name == kind or role_name.startswith(f"{kind}/")


def with_membership(roles: Iterable[Role], membership: Membership) -> tuple[Role, ...]:
    """``roles`` with ``membership`` in the place of what they said of nodes."""
    return (*(role for role in roles if not is_membership(role.name)), *membership.roles())


def _roles(policy: Policy, kind: str) -> Iterator[Role]:
    return (role for role in policy.roles if is_kind(role.name, kind))


def _nodes_of(role: Role) -> list[str]:
    return [prefix.removeprefix(NODES_PREFIX) for prefix in role.prefixes if prefix.startswith(NODES_PREFIX)]


def _roles_of(kind: str, nodes: Sequence[str], certificates: Sequence[bytes]) -> Iterator[Role]:
    prefixes = _parts(sorted({f"{NODES_PREFIX}{node}" for node in nodes}), ROLE_PREFIXES_MAX)
    keys = _parts(sorted(set(certificates)), ROLE_KEYS_MAX)
    for number, (some_keys, some_prefixes) in enumerate(zip_longest(keys, prefixes), 1):
        name = kind if number == 1 else f"{kind}/{number}"
        yield Role(name, some_keys or (), some_prefixes or (), operations=())


def _parts(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))
