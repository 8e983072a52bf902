"""Records: changes as an agent's log has them, the last signed first, each verified before anybody sees it.

Knows the requests `log` and `change`, and what of their replies is signed. How many of a
change's entries live, and when they were replaced, is the agent's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ...model.change import Change
from ...model.errors import ControlError, InvalidInput
from ...model.key import covers
from ...model.limits import ID_DIGITS_MIN
from ...model.version import Version, versions_of
from ...trust.keys import fingerprint, load_public
from ...trust.policy import Policy
from ..change_id import is_beginning
from ..exits import NotFound
from ..item import Past
from ..replies import field_of
from ..session import Session

PAGE_CHANGES: Final = 1_000
"""Changes asked for at a time; an agent sends fewer where they are large."""

STATE_STYLES: Final = {"live": "", "partly": "", "replaced": "dim", "void": "yellow"}
"""What may have become of a change or a version, by the words for it."""

WriterOption = Annotated[
    str | None,
    typer.Option("--writer", metavar="KEY|FINGERPRINT|ROLE", help="Signed by this key first, or by a role's keys."),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Versions of one ``key``, or of all that ``prefix`` covers; signed from ``since_ms`` on and before ``until_ms``.

    ``signers``: the keys of the writers; None: anybody's.
    """

    key: str | None = None
    prefix: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    signers: tuple[bytes, ...] | None = None

    def takes(self, version: Version) -> bool:
        """Whether ``version`` is one of them."""
        header = version.header
        key = version.entry.key
        return (
            (covers(self.prefix, key) if self.key is None else key == self.key)
            and (self.since_ms is None or header.time_ms >= self.since_ms)
            and (self.until_ms is None or header.time_ms < self.until_ms)
            and (self.signers is None or header.writer.key in self.signers)
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One change, with those of its wanted entries that are here.

    change:         a form of it, for its header and all signatures
    versions:       by key, variant and id; perhaps not all
    live, retired:  how many of what is wanted live, and how many have been replaced or are void
    """

    change: Change
    versions: tuple[Past, ...]
    live: int
    retired: int

    @property
    def count(self) -> int:
        """How many of the wanted entries the agent has."""
        return self.live + self.retired

    def state(self, session: Session) -> str:
        """live, partly, replaced or void: all that is known of it is, or, where nothing lives, all of it is void."""
        if self.live:
            return "partly" if self.retired else "live"
        return "void" if all(session.is_void(one.version) for one in self.versions) else "replaced"


def records(session: Session, wanted: Wanted, *, limit: int | None, entries: int | None = None) -> Iterator[Record]:
    """At most ``limit`` changes that have such versions, at most ``entries`` of each. Raises as `Session.get`."""
    before: list[Any] | None = None
    left = limit
    while left is None or left > 0:
        reply = session.request(
            "log",
            key=wanted.key,
            prefix=wanted.prefix,
            since_ms=wanted.since_ms,
            until_ms=wanted.until_ms,
            signers=None if wanted.signers is None else list(wanted.signers),
            before=before,
            limit=PAGE_CHANGES if left is None else min(left, PAGE_CHANGES),
            entries=entries,
        )
        found = [_record(session, raw, wanted) for raw in field_of(reply, "changes", list)]
        yield from found
        left = None if left is None else left - len(found)
        following = field_of(reply, "next", list | None)
        if following is None:
            return
        if not found or (before is not None and following >= before):
            raise ControlError("the agent's log goes round; is it of another version?")
        before = following


def versions(session: Session, wanted: Wanted, limit: int | None) -> Sequence[Past]:
    """At most ``limit`` such versions, the last signed first. Raises as `Session.get`."""
    found: list[Past] = []
    for record in records(session, wanted, limit=limit, entries=limit):
        found += record.versions
        if limit is not None and len(found) >= limit:
            break
    return sorted(found, key=lambda one: (-one.version.header.time_ms, one.version.entry.key, one.version.id))[:limit]


def beside_epochs(session: Session, key: str) -> str:
    """Where the past of a strict prefix is told, after an error that says what is not here; else nothing."""
    prefix = session.strict_over(key)
    return "" if prefix is None else f"; {prefix!r} is strict, and comes in epochs: see gossipconf log _stages/{prefix}"


def record_named(session: Session, start: str) -> Record:
    """The change whose id begins with ``start``, with all of its entries that are here.

    Raises NotFound, InvalidInput if there are several, and as `Session.get`.
    """
    if not is_beginning(start):
        raise InvalidInput(f"{start!r} is no change: an id, or {ID_DIGITS_MIN} of its first hex digits or more")
    raws = field_of(session.request("change", change=start), "changes", list)
    found = [_record(session, raw, None) for raw in raws if field_of(raw, "parts", list)]
    for record in found:
        if not record.change.id.hex().startswith(start.lower()):
            raise ControlError("the agent answers with another change; is it of another version?")
    if not found:
        raise NotFound(
            f"{session.node} knows no change {start}; it may not have come here yet, or have died long ago: "
            "ask the agent where it was published"
        )
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} changes begin with {start}; give more digits")
    return found[0]


def _record(session: Session, raw: Any, wanted: Wanted | None) -> Record:
    """``wanted``: what was asked for; None: all of a change."""
    past: list[Past] = []
    fullest: Change | None = None
    for pair in field_of(raw, "parts", list):
        data, retired_ms = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        change = session.part(data, is_past=retired_ms is not None)
        if fullest is not None and change.id != fullest.id:
            raise ControlError("the agent mixes two changes; is it of another version?")
        if fullest is None or len(change.approvals) > len(fullest.approvals):
            fullest = change
        past += [Past(version, retired_ms) for version in versions_of(change)]
    if fullest is None or not past or not all(wanted is None or wanted.takes(one.version) for one in past):
        raise ControlError("the agent's log has what was not asked for, or nothing; is it of another version?")
    past.sort(key=lambda one: (*one.version.slot, one.version.id))
    return Record(fullest, tuple(past), field_of(raw, "live", int), field_of(raw, "retired", int))


# -- writers --------------------------------------------------------------------------------------


def signers_named(session: Session, name: str) -> tuple[bytes, ...]:
    """The keys that ``name`` means: a role's under any policy, that of a fingerprint's beginning, or of a public file.

    Raises InvalidInput or KeyFileError.
    """
    policies = [session.chain[version] for version in range(session.chain.head.version + 1)]
    held = _holders(policies)
    if name in held:
        return tuple(sorted(held[name]))
    known = {key for keys in held.values() for key in keys}
    if name.startswith("SHA256:"):
        found = sorted(key for key in known if fingerprint(key).startswith(name))
        if len(found) != 1:
            few = "no key begins" if not found else f"{len(found)} keys begin"
            raise InvalidInput(f"{few} with {name} in any policy; see: gossipconf policy show")
        return tuple(found)
    if Path(name).is_file():
        return (load_public(Path(name)),)
    raise InvalidInput(
        f"--writer {name}: no role, fingerprint (SHA256:…) or public key file is called so; roles are "
        f"{', '.join(sorted(held))}"
    )


def _holders(policies: Sequence[Policy]) -> dict[str, set[bytes]]:
    """Role -> who has had it; the roots as `root`, unless a role is called so."""
    held: dict[str, set[bytes]] = {}
    for policy in policies:
        for role in policy.roles:
            held.setdefault(role.name, set()).update(role.keys)
    held.setdefault("root", {root for policy in policies for root in policy.roots})
    return held
