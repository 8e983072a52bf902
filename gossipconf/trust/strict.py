"""Strict prefixes: which they are, and the system's keys under which their stages stand.

The policy parameter `strict/<prefix>` = 1 makes a prefix strict: its values come in epochs
(`protocol.epoch`), and an ordinary publish to it is void. A stage proposes an epoch, and
its document stands under

    _stages/<prefix>/<number of the epoch>/<id of the epoch>
    _stages/<prefix>/<number of the epoch>/<id of the epoch>/abort      somebody asks for its end

so that who may publish it is seen from the key alone. It needs the operation `stage` for the
prefix. That of a first epoch says for ever whose agreement counts, and nothing excludes a rival
with other members; it needs the threshold of the roots.

Knows keys and parameters; neither documents nor signatures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..model.errors import InvalidInput, LimitExceeded
from ..model.hashing import HASH_BYTES
from ..model.key import check_key, covers, is_system_key

if TYPE_CHECKING:
    from .policy import Policy

STAGE: Final = "stage"
"""The operation that a role must have."""
STAGES_ROOT: Final = "_stages"
STRICT_PARAMETER: Final = "strict/"
"""Before the prefix, the name of the policy parameter that makes it strict with the value 1."""
STRICT_PREFIX_BYTES_MAX: Final = 400
"""A key has 512 bytes, and `_stages/`, a number, an id and `/abort` take 90."""
EPOCH_NUMBER_MAX: Final = 10**9 - 1
"""An epoch a second for 31 years."""
_ABORT: Final = "abort"


@dataclass(frozen=True, slots=True)
class StageKey:
    """What a key under `_stages/` names: an epoch of a prefix, and whether it asks for the end of its stage."""

    prefix: str
    number: int
    epoch_id: bytes
    is_abort: bool = False

    def __str__(self) -> str:
        return "/".join(
            (STAGES_ROOT, self.prefix, str(self.number), self.epoch_id.hex(), *((_ABORT,) if self.is_abort else ()))
        )

    @classmethod
    def parse(cls, key: str) -> StageKey | None:
        """Read a key; None if it names no stage."""
        segments = key.split("/")
        is_abort = segments[-1] == _ABORT
        if is_abort:
            del segments[-1]
        if len(segments) < 4 or segments[0] != STAGES_ROOT:
            return None
        *prefix, number, epoch_id = segments[1:]
        if len(epoch_id) != 2 * HASH_BYTES or not number.isascii() or not number.isdigit():
            return None
        try:
            found = cls("/".join(prefix), int(number), bytes.fromhex(epoch_id), is_abort)
        except ValueError:
            return None
        return found if str(found) == key and 1 <= found.number <= EPOCH_NUMBER_MAX else None


def is_stage_key(key: str) -> bool:
    """Whether an entry under ``key`` belongs to the stages of some prefix, or should."""
    return covers(STAGES_ROOT, key)


def staged_prefix(key: str) -> str:
    """The prefix whose stage ``key`` names; ``key`` itself if it names none. By it rights and floors are looked up."""
    named = StageKey.parse(key) if is_stage_key(key) else None
    return key if named is None else named.prefix


def is_first(named: StageKey, *, is_put: bool) -> bool:
    """Whether an entry of this key, put or deleted, proposes a first epoch."""
    return named.number == 1 and is_put and not named.is_abort


def ways_to_stage(
    policy: Policy, writer: bytes, named: StageKey, *, is_put: bool
) -> list[tuple[int, tuple[bytes, ...]]]:
    """How an entry of this key by ``writer`` may be allowed: by so many signatures of these keys; any one will do."""
    ways = [(policy.threshold, policy.roots)]
    if is_first(named, is_put=is_put):
        return ways
    return ways + [
        (role.approvals, role.keys)
        for role in policy.roles
        if writer in role.keys
        and STAGE in role.operations
        and any(covers(prefix, named.prefix) for prefix in role.prefixes)
    ]


def strict_prefixes(parameters: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """The prefixes that a policy with these parameters calls strict, ascending."""
    return tuple(
        sorted(
            name.removeprefix(STRICT_PARAMETER)
            for name, number in parameters
            if name.startswith(STRICT_PARAMETER) and number == 1
        )
    )


def strict_over(prefixes: Iterable[str], key: str) -> str | None:
    """The strict prefix to which ``key`` belongs, the longest of several; None: it is an ordinary key."""
    found = [prefix for prefix in prefixes if prefix and covers(prefix, key)]
    return max(found, key=len) if found else None


def check_strict_prefix(prefix: str) -> str:
    """``prefix`` if it can be strict. Raises InvalidInput or LimitExceeded."""
    check_key(prefix)
    if is_system_key(prefix):
        raise InvalidInput(f"{prefix!r} is the system's own, and cannot be strict")
    if len(prefix.encode()) > STRICT_PREFIX_BYTES_MAX:
        raise LimitExceeded(f"a strict prefix has at most {STRICT_PREFIX_BYTES_MAX} bytes: {prefix[:40]!r}…")
    return prefix
