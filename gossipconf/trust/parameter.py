"""Parameters: the named numbers of a policy that this release knows.

A node takes a policy with others too: they may be of a later release, and its roots have signed
it. Only who writes a policy is asked whether a name means anything (`fault`).

Knows names and numbers; what they rule is judged where it happens (`chain`, `strict`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from ..model.errors import InvalidInput
from ..model.limits import VALUE_BYTES_MAX
from .strict import STRICT_PARAMETER, check_strict_prefix


@dataclass(frozen=True, slots=True)
class Parameter:
    """A name, the numbers that make sense, the one that counts where a policy says none, and a line for people."""

    name: str
    least: int
    most: int
    default: int
    meaning: str

    def of(self, parameters: Iterable[tuple[str, int]]) -> int:
        """What a policy with these ``parameters`` says, whatever number that is: every node must read it alike."""
        return next((number for name, number in parameters if name == self.name), self.default)


VALUE_BYTES: Final = Parameter(
    "value_bytes_max", 1, VALUE_BYTES_MAX, VALUE_BYTES_MAX, "bytes of a value at most, but for system entries"
)

KNOWN: Final = (VALUE_BYTES,)
"""Those with a fixed name. Besides them there is `strict/<prefix>` (`strict`)."""

_BY_NAME: Final = {one.name: one for one in KNOWN}


def meaning_of(name: str) -> str | None:
    """What a parameter says, in a line; None: this release does not know it."""
    if name.startswith(STRICT_PARAMETER):
        return "1: values under this prefix change in epochs"
    found = _BY_NAME.get(name)
    return found.meaning if found else None


def fault(name: str, number: int) -> str | None:
    """What is wrong with a parameter that somebody is about to set; None: nothing."""
    if name.startswith(STRICT_PARAMETER):
        try:
            check_strict_prefix(name.removeprefix(STRICT_PARAMETER))
        except InvalidInput as error:
            return str(error)
        return None if number == 1 else "must be 1; leave it out for a prefix that is not strict"
    found = _BY_NAME.get(name)
    if found is None:
        names = {one: one for one in _BY_NAME} | {STRICT_PARAMETER.rstrip("/"): f"{STRICT_PARAMETER}PREFIX"}
        near = get_close_matches(name.partition("/")[0], names, n=1)
        meant = f"did you mean {names[near[0]]}?" if near else f"there are {', '.join(names.values())}"
        return f"is no parameter that this release knows; {meant}"
    if not found.least <= number <= found.most:
        return f"must be {found.least} to {found.most}, not {number}"
    return None
