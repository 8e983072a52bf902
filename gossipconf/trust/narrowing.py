"""Narrowing: which rights a policy takes away, and the floors without which that stops nobody.

Who has lost a right can still name the policy that gave it. So every narrowing carries a
floor for each key and prefix that lose something (see `trust.floor`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.key import covers
from ..model.version import Version
from .floor import Floor, keeping
from .membership import is_membership
from .policy import Policy, Role

Loss = tuple[bytes, str]
"""A key, and the prefix under which it may do less than before; empty: everything."""


def losses(before: Policy, after: Policy) -> tuple[Loss, ...]:
    """What ``after`` takes away, ascending. A key that no role has any more has lost everything.

    What is said of nodes gives nobody a right to write: a pardoned certificate has lost nothing.
    """
    left = {key for role in _writers(after) for key in role.keys}
    found: dict[Loss, None] = {}
    for role in _writers(before):
        for key in role.keys:
            if key not in left:
                found[key, ""] = None
                continue
            for prefix in role.prefixes:
                if not any(key in other.keys and _gives(other, role, prefix) for other in _writers(after)):
                    found[key, prefix] = None
    return tuple(sorted(found))


def bare(before: Policy, after: Policy) -> tuple[Loss, ...]:
    """Those losses about which ``after`` has no floor."""
    return tuple(
        loss for loss in losses(before, after) if not any(_is_about(one, loss, before) for one in after.floors)
    )


def floors_for(lost: Iterable[Loss], policy_max: int, live: Iterable[Version]) -> tuple[Floor, ...]:
    """A floor for each of these losses, which keeps what lives: ``live`` is all that is to stay."""
    versions = tuple(live)
    made = []
    for key, prefix in lost:
        floor = Floor(key, prefix, policy_max)
        kept = [one for one in versions if floor.has_in_scope(one.header.writer.key, one.header.policy, one.entry.key)]
        made.append(Floor(key, prefix, policy_max, keeping(kept)))
    return tuple(made)


def _writers(policy: Policy) -> list[Role]:
    """The roles that say who may write. In those that speak of nodes a key is a certificate, which signs nothing."""
    return [role for role in policy.roles if not is_membership(role.name)]


def _gives(role: Role, lost: Role, prefix: str) -> bool:
    """Whether ``role`` lets its holders do under ``prefix`` what ``lost`` did."""
    return (
        set(lost.operations) <= set(role.operations)
        and role.approvals <= lost.approvals
        and any(one == prefix or covers(one, prefix) for one in role.prefixes if prefix or not one)
    )


def _is_about(floor: Floor, loss: Loss, before: Policy) -> bool:
    key, prefix = loss
    return (
        floor.signer in (b"", key)
        and floor.policy_max == before.version
        and (not floor.prefix or (prefix != "" and covers(floor.prefix, prefix)))
    )
