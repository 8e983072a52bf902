"""The board: what is proposed under `_proposals/`, every piece verified, the signatures of one change put together.

Each who may approve has a place there (`trust.policy`): a proposal lies whole in its
proposer's, and a form without entries, which carries signatures, in an approver's. So
nobody overwrites another's. Knows what lies there and what is live; shows and signs
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ...model.change import Change
from ...model.clock import seq_of
from ...model.errors import ControlError, InvalidInput, Rejected
from ...model.version import Version
from ...trust.policy import PROPOSAL_PREFIX, proposals_of
from ...trust.proposal import Support, check_proposal
from ..change_id import begins
from ..session import Session

_PLACE: Final = re.compile(rf"{PROPOSAL_PREFIX}/([0-9a-f]{{64}})/([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal with all signatures that lie on the board.

    `places`: the keys under which its forms lie; `is_done`: it has been published.
    """

    change: Change
    support: Support
    places: Sequence[str]
    is_done: bool


@dataclass(frozen=True, slots=True)
class Board:
    """`proposals`, the oldest first; `strays`: keys of what is none, or could never be valid."""

    proposals: Sequence[Proposed]
    strays: Sequence[str]

    def named(self, start: str) -> list[Proposed]:
        """Those whose change ids begin with the hex digits `start`."""
        return [one for one in self.proposals if begins(one.change.id, start)]


def place_of(key: bytes, change_id: bytes) -> str:
    """Where the holder of `key` puts what it says of a change."""
    return f"{proposals_of(key)}/{change_id.hex()}"


def read_board(session: Session) -> Board:
    """What the agent has. Signatures without their proposal are left out: it was withdrawn, or has not come yet."""
    forms: dict[bytes, list[tuple[str, Change]]] = {}
    strays: list[str] = []
    for item in session.items(PROPOSAL_PREFIX):
        for version in item.versions:
            if version.entry.value is None:
                continue  # withdrawn
            form = _form(session, item.key, version.entry.value)
            if form is None:
                strays.append(item.key)
            else:
                forms.setdefault(form.id, []).append((item.key, form))
    found = []
    for pieces in forms.values():
        places = tuple(dict.fromkeys(place for place, _ in pieces))
        change = _joined([form for _, form in pieces])
        if change is None:
            continue
        try:
            support = check_proposal(session.chain, change)
        except (Rejected, InvalidInput):
            strays.extend(places)
            continue
        found.append(Proposed(change, support, places, is_published(session, change)))
    return Board(sorted(found, key=lambda one: (one.change.header.time_ms, one.change.id)), strays)


def finished(session: Session, board: Board, key: bytes) -> list[str]:
    """What the holder of `key` has put for proposals that have been published since: it has no use any more."""
    own = proposals_of(key) + "/"
    return [place for one in board.proposals if one.is_done for place in one.places if place.startswith(own)]


def is_published(session: Session, change: Change) -> bool:
    """Whether a change lives, or something that has seen it: nothing else has the same writer."""
    _, entry = change.entries[0]
    return any(
        seq_of(version.clock, change.writer_id) >= change.header.seq
        for version in session.get(entry.key).versions
        if version.slot == entry.slot
    )


def moved(change: Change, live: Iterable[Version]) -> list[Version]:
    """The `live` versions that `change` has not seen: published since it was proposed, they would stay beside it."""
    mine = {version.slot: version for version in change.versions}
    return [
        one for one in live if one.change_id != change.id and one.slot in mine and not mine[one.slot].supersedes(one)
    ]


def _form(session: Session, key: str, data: bytes) -> Change | None:
    """A form of a change with verified signatures, if that is what lies at a key of the board."""
    place = _PLACE.fullmatch(key)
    try:
        form = session.verified(data)
    except (Rejected, InvalidInput, ControlError):
        return None
    return form if place is not None and form.id.hex() == place[2] else None


def _joined(forms: Sequence[Change]) -> Change | None:
    """The whole change with all signatures, if somebody has put it there whole."""
    whole = next((form for form in forms if form.is_whole), None)
    if whole is not None:
        for form in forms:
            if not form.entries or form.is_whole:
                whole = whole.union(form)
    return whole
