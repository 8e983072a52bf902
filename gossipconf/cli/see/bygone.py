"""Bygone states: what a slot held before a version, or at a moment, from the versions of it that history has.

A function of versions; knows no agent, no clock and no command. A version says what it has
replaced (`seen`), so a hole in history shows: where something is gone that may have been
read then, nobody guesses.

    before a version v   the versions that v replaced; of several the winner
    at a moment t        of all that were signed at t or earlier those that none of them replaced; the winner

Signed times rise along what is replaced (a signer sets at least 1 ms more), so what was
signed by t is closed: nothing in it was replaced by anything later. What is void counts for
nothing, as if never received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ...model.clock import covers, join
from ...model.entry import Operation
from ...model.errors import GossipconfError
from ...model.version import Version, live, winner

IsVoid = Callable[[Version], bool]


class Forgotten(GossipconfError):
    """History does not have all that is needed to tell."""


def before(version: Version, known: Iterable[Version], is_void: IsVoid) -> Version | None:
    """What the slot of `version` held before it; None if it had no value. `known`: all versions of the slot.

    Raises Forgotten.
    """
    replaced = _replaced(version, known)
    return _winner(one for one in replaced if not is_void(one))


def at(time_ms: int, known: Sequence[Version], is_void: IsVoid) -> Version | None:
    """What a slot held at a moment (ms since 1970); None if it had no value. `known`: all versions of the slot.

    Raises Forgotten.
    """
    for version in known:
        if version.header.time_ms > time_ms:
            _replaced(version, known)  # what is gone may have been signed before that moment, or after it
    return _winner(one for one in known if one.header.time_ms <= time_ms and not is_void(one))


def base(siblings: Sequence[Version], known: Iterable[Version], is_void: IsVoid) -> Version | None:
    """The last version that all `siblings` have replaced: what they were made from. None if there was none.

    Raises Forgotten.
    """
    common = [one for one in known if all(sibling.supersedes(one) for sibling in siblings)]
    if not common and all(sibling.entry.seen for sibling in siblings):
        for sibling in siblings:
            _replaced(sibling, known)
    valid = [one for one in common if not is_void(one)]
    return winner(live(valid)) if valid else None


def _replaced(version: Version, known: Iterable[Version]) -> list[Version]:
    """The known versions that `version` replaced. Raises Forgotten if it has seen others."""
    found = [one for one in known if version.supersedes(one)]
    if not covers(join(one.clock for one in found), version.entry.seen):
        raise Forgotten(f"what {version.entry.key!r} was before is not in this agent's history")
    return found


def _winner(versions: Iterable[Version]) -> Version | None:
    found = list(versions)
    version = winner(live(found)) if found else None
    return version if version is not None and version.entry.operation is Operation.PUT else None
