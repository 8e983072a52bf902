"""Floors: what a policy declares void, which means as if it had never been received.

A floor of policy n names a scope and what of it is kept. It applies to changes that name an
earlier policy; a version in its scope that is not kept is void, from whomever and whenever
it comes. Of several floors with a version in their scopes the latest decides, so that a
later one may reinstate what an earlier one has voided.

What is kept is listed in the policy itself and not behind a hash, so that whoever has the
policy can judge: a list that must be fetched can be withheld (docs/decisions/016-floors.md).
Policies themselves are in no scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from ..model.change import PUBLIC_KEY_BYTES, Change
from ..model.encoding import as_array, as_bytes, as_int, as_text
from ..model.errors import FormatError
from ..model.hashing import HASH_BYTES
from ..model.key import check_prefix, covers
from ..model.limits import ENTRIES_MAX, KEY_BYTES_MAX
from ..model.version import Version
from .strict import staged_prefix

FLOORS_MAX: Final = 64
"""Floors of one policy: a stolen key is one, a narrowed role one for each key and prefix that it loses."""
KEPT_MAX: Final = 28_000
"""Changes that one policy can keep: at 36 bytes each they fill its value of 1 MiB."""
POLICY_ROOT: Final = "_policy"
"""First segment of the keys that no floor covers: the chain of policies is ended by its roots alone."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A change that stays, with all its entries, or with those ``indices`` only (ascending) if there are any."""

    change_id: bytes
    indices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Floor:
    """One statement of what is void.

    signer:      32 bytes, the key of the writers in its scope; empty: any
    prefix:      of the keys in its scope, by whole segments, and of the prefixes that are staged; empty: all, system
                 entries too
    policy_max:  the newest policy that a change in its scope names
    kept:        what of the scope is not void, ascending by change id
    """

    signer: bytes
    prefix: str
    policy_max: int
    kept: tuple[Kept, ...] = ()

    def to_wire(self) -> list[Any]:
        """The array inside a policy document."""
        return [self.signer, self.prefix, self.policy_max, [[one.change_id, one.indices] for one in self.kept]]

    @classmethod
    def from_wire(cls, value: Any, version: int) -> Floor:
        """Check and read a floor of policy ``version``. Raises FormatError, InvalidInput or LimitExceeded."""
        signer, prefix, policy_max, listed = as_array(value, "a floor", 4)
        as_bytes(signer, "the key of a floor", length_max=PUBLIC_KEY_BYTES)
        if len(signer) not in (0, PUBLIC_KEY_BYTES):
            raise FormatError(f"the key of a floor has {PUBLIC_KEY_BYTES} bytes or none, not {len(signer)}")
        check_prefix(as_text(prefix, "the prefix of a floor", KEY_BYTES_MAX))
        as_int(policy_max, "the newest policy in a floor's scope", 0, version - 1)
        kept = tuple(map(_kept_from_wire, as_array(listed, "what a floor keeps", length_max=KEPT_MAX)))
        if any(left.change_id >= right.change_id for left, right in pairwise(kept)):
            raise FormatError("what a floor keeps must be in strictly ascending order of change ids")
        return cls(signer, prefix, policy_max, kept)

    def has_in_scope(self, writer_key: bytes, policy: int, key: str) -> bool:
        """Whether a version is in the scope, by the key of its writer, the policy that it names and its own key."""
        return (
            policy <= self.policy_max
            and self.signer in (b"", writer_key)
            and not covers(POLICY_ROOT, key)
            and (not self.prefix or covers(self.prefix, key) or covers(self.prefix, staged_prefix(key)))
        )

    def is_about_all_of(self, writer_key: bytes, policy: int) -> bool:
        """Whether every entry of a change is in the scope, whatever its key."""
        return not self.prefix and policy <= self.policy_max and self.signer in (b"", writer_key)


class Floors:
    """All floors of a chain of policies."""

    def __init__(self) -> None:
        self._latest_first: list[tuple[Floor, dict[bytes, tuple[int, ...]]]] = []
        self._policies = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._latest_first)

    @property
    def have_former(self) -> bool:
        """Whether there are floors of more than one policy: then the latest may reinstate what others have voided."""
        return self._policies > 1

    def add(self, floors: Sequence[Floor]) -> None:
        """Take over those of the next policy, in their order."""
        self._policies += bool(floors)
        for floor in floors:
            self._latest_first.insert(0, (floor, {one.change_id: one.indices for one in floor.kept}))

    def is_void(self, version: Version) -> bool:
        """Whether a version is void."""
        header = version.header
        for floor, kept in self._latest_first:
            if floor.has_in_scope(header.writer.key, header.policy, version.entry.key):
                indices = kept.get(version.change_id)
                return indices is None or (indices != () and version.index not in indices)
        return False

    def is_branch_void(self, change: Change) -> bool:
        """Whether a change counts no longer as a branch of a fork. By its header alone, which tells no keys: so only
        floors about all keys can say so."""
        for floor, kept in self._latest_first:
            if floor.is_about_all_of(change.header.writer.key, change.header.policy):
                return change.id not in kept
        return False


def keeping(versions: Iterable[Version]) -> tuple[Kept, ...]:
    """What a floor lists to keep these versions, and no other entries of their changes."""
    indices: dict[bytes, set[int]] = {}
    counts: dict[bytes, int] = {}
    for version in versions:
        indices.setdefault(version.change_id, set()).add(version.index)
        counts[version.change_id] = version.header.count
    return tuple(
        Kept(change_id, () if len(some) == counts[change_id] else tuple(sorted(some)))
        for change_id, some in sorted(indices.items())
    )


def floors_from_wire(value: Any, version: int) -> tuple[Floor, ...]:
    """Check and read the floors of policy ``version``. Raises FormatError, InvalidInput or LimitExceeded."""
    floors = tuple(Floor.from_wire(one, version) for one in as_array(value, "the floors", length_max=FLOORS_MAX))
    kept = sum(len(floor.kept) for floor in floors)
    if kept > KEPT_MAX:
        raise FormatError(f"the floors of a policy keep {kept} changes, the limit is {KEPT_MAX}")
    return floors


def _kept_from_wire(value: Any) -> Kept:
    change_id, listed = as_array(value, "what a floor keeps", 2)
    as_bytes(change_id, "a change that a floor keeps", HASH_BYTES)
    indices: Sequence[int] = as_array(listed, "the entries that a floor keeps", length_max=ENTRIES_MAX)
    for index in indices:
        as_int(index, "an entry that a floor keeps", 0, ENTRIES_MAX - 1)
    if any(left >= right for left, right in pairwise(indices)):
        raise FormatError("the entries that a floor keeps must be in strictly ascending order")
    return Kept(change_id, tuple(indices))
