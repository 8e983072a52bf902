"""Certificates: what the words of participants prove about a stage.

    committed   all of its participants have said ack; or one that is believed has said that it knows so
    aborted     one of its participants has said nack
    removed     all of its participants but those whom the roots have shut out have said that they will not
                commit it by acks any more: this stands for the nack of who has vanished

Committed and aborted exclude each other because a participant says ack or nack, once. The
removal of who has vanished cannot count by itself as his nack: his ack may be on somebody's disk
already, who serves the new epoch and cannot be reached. So each participant that is left gives
up the acks (`removal_subject`), on its disk first, and only when all have is the stage over. Who
knows it committed does not give up but says that (`committed_subject`), and those who have given
up believe who was asked as they were: one of the participants outside of what they have called
removed. One of those did not give up, or was told by another one that did not.

If all members of the new epoch are shut out, the removal is never certain: they may have gone on
to a further epoch among themselves. Then the stage stays open (docs/staging.md says what to do).

Pure functions. What has been said and who is shut out are arguments, never a clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from .epoch import Stage, committed_subject, removal_subject

Nodes = AbstractSet[str]


class Heard(Protocol):
    """What has been said, as far as is known here: by whom. Only what is said and signed by that node itself."""

    def acks(self, subject: bytes) -> Nodes:
        """Who has said ack to ``subject``."""

    def nacks(self, subject: bytes) -> Nodes:
        """Who has said nack to ``subject``."""


class Outcome(enum.Enum):
    """What has become of a stage, as far as is known here."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


def outcome_of(stage: Stage, heard: Heard, revoked: Iterable[Nodes], gave_up: Iterable[Nodes] = ()) -> Outcome:
    """What ``heard`` proves of ``stage``.

    ``revoked``: all that have been shut out, as it was after each policy that shut out more.
    ``gave_up``: whom the asker has called removed in this stage; acks of all convince it no more then.
    """
    if is_refused(stage, heard) or is_removed(stage, heard, revoked):
        return Outcome.ABORTED
    if is_committed(stage, heard, tuple(gave_up)):
        return Outcome.COMMITTED
    return Outcome.OPEN


def is_refused(stage: Stage, heard: Heard) -> bool:
    """Whether one participant has said nack."""
    return not heard.nacks(stage.id).isdisjoint(stage.participants)


def is_committed(stage: Stage, heard: Heard, gave_up: tuple[Nodes, ...] = ()) -> bool:
    """Whether all have said ack; or somebody who is believed by one who ``gave_up`` knows that they have."""
    if not gave_up and stage.participants <= heard.acks(stage.id):
        return True
    knowing = heard.acks(committed_subject(stage.id)) & stage.participants
    return bool(knowing) and all(knowing - removed for removed in gave_up)


def is_removed(stage: Stage, heard: Heard, revoked: Iterable[Nodes]) -> bool:
    """Whether all who are left have given up those who were shut out."""
    return any(
        stage.participants - removed <= heard.acks(removal_subject(stage.id, removed))
        for removed in removals(stage, revoked)
    )


def removals(stage: Stage, revoked: Iterable[Nodes]) -> list[Nodes]:
    """Those participants who were shut out, as after each policy that did so, where giving them up ends the stage."""
    found: dict[Nodes, None] = {}
    for nodes in revoked:
        removed = stage.participants & frozenset(nodes)
        if removed and not removed.issuperset(stage.epoch.members):
            found[removed] = None
    return list(found)


def is_asked(stage: Stage, heard: Heard, revoked: Iterable[Nodes]) -> bool:
    """Whether somebody has given up, whom one that knows the stage committed must tell so."""
    return any(heard.acks(removal_subject(stage.id, removed)) for removed in removals(stage, revoked))
