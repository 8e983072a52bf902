"""A question as one node holds it: what its links have said, who its parent is, and what it says itself.

Knows the rules of the tree and no clock, no timer and no wire (see `acks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .environment import LinkId
from .link import Link
from .messages import HOPS_MAX
from .subject import Subject
from .tally import TORN_MAX, Tally

PAUSE_LEAST_S: Final = 0.0005
"""Shortest pause between two reports: half of the shortest way between two machines."""
PAUSE_MOST_S: Final = 0.25
"""Longest pause: what people see as at once; four reports a second on a link."""
PAUSE_SHARE: Final = 0.25
"""A pause is this share of the time since things began to change. So the reports of a burst are as many as the
logarithm of its length, and the last one is late by a fixed share of it, whether it takes 3 ms or 3 s."""
QUIET_S: Final = 1.0
"""After so long without a report the next one begins a new burst."""


REJOINS_MAX: Final = 3
"""How often a node may go deeper in one epoch: nodes that have all lost the way would go deeper below each other."""


@dataclass(slots=True)
class Side:
    """What the node at the other end of a link has said in this epoch; its last word counts.

    depth:     of its `Ask`, which says that it is not this node's child; None before it
    report:    of its `Report`, which says that it is; None otherwise
    due_s:     when it is called silent, or asked again
    wait_s:    between two times of being asked
    is_late:   the link is younger than the epoch: who is there is most likely counted already, and not waited for
    """

    link: Link
    due_s: float
    wait_s: float
    depth: int | None = None
    report: Tally | None = None
    is_silent: bool = False
    is_late: bool = False

    @property
    def has_answered(self) -> bool:
        """Whether it has said anything."""
        return self.depth is not None or self.report is not None


@dataclass(slots=True)
class Question:
    """One question at one node, in its current epoch. Times are monotonic seconds.

    number:      by which the asker's owner knows it; None at all other nodes
    parent:      link to which reports go; None at the asker, and at a node that has lost it
    expires_s:   when it is forgotten
    begun_s:     when the epoch came here
    patience_s:  how long a link may be silent
    part_s:      when the first report goes even if links are silent
    torn:        see `Tally`; of this node's own links
    is_mended:   whether it has lost a link or left a parent: whoever calls it torn is to know that it is here
    rejoins:     how often it has gone deeper
    sent:        what the parent was told last, at sent_s
    burst_s:     when the first of the reports was sent that came without a quiet time between them
    """

    id: bytes
    subject: Subject
    number: int | None
    name: str
    zone: str
    applied: bool
    expires_s: float
    epoch: int = 0
    depth: int = 0
    parent: LinkId | None = None
    begun_s: float = 0.0
    patience_s: float = 0.0
    part_s: float = 0.0
    sides: dict[LinkId, Side] = field(default_factory=dict)
    torn: dict[str, None] = field(default_factory=dict)
    is_mended: bool = False
    rejoins: int = 0
    sent: Tally | None = None
    sent_s: float = float("-inf")
    burst_s: float = 0.0
    is_changed: bool = True
    planned_s: float = float("inf")

    @property
    def is_own(self) -> bool:
        """Whether this node is the asker."""
        return self.number is not None

    def begin(
        self, epoch: int, depth: int, parent: LinkId | None, now_s: float, patience_s: float, is_mended: bool
    ) -> None:
        """Begin an epoch: what was said before counts no more. ``is_mended``: a link was lost just now."""
        self.epoch, self.depth, self.parent = epoch, depth, parent
        self.begun_s = now_s
        self.patience_s = patience_s
        self.sides = {}
        self.torn = {}
        self.is_mended = is_mended
        self.rejoins = 0
        self.sent = None
        self.sent_s = float("-inf")
        self.is_changed = True

    def add_side(self, link: Link, now_s: float, *, is_late: bool = False) -> None:
        """A link to which the question goes now."""
        self.sides[link.id] = Side(link, now_s + self.patience_s, self.patience_s, is_late=is_late)
        self.is_changed = True

    # -- what others say --------------------------------------------------------------------------

    def hear_ask(self, side: Side, depth: int) -> None:
        """The other end is not, or no longer, a child."""
        if side.report is not None:
            self._tear(side.link.node_id)
        side.depth, side.report, side.is_silent = depth, None, False
        self.is_changed = True

    def hear_report(self, side: Side, tally: Tally) -> None:
        """The other end is a child, and this is all that is known of its part."""
        self.torn.pop(side.link.node_id, None)
        side.report, side.is_silent = tally, False
        self.is_changed = True

    def lose(self, side: Side, now_s: float) -> None:
        """A link has ended. If it led to a child, or may have, its part counts no more unless it tells elsewhere."""
        del self.sides[side.link.id]
        if side.report is not None or not side.has_answered:
            self._tear(side.link.node_id)
        # Whoever has long heard that this node is no child of it does not call it torn.
        self.is_mended |= side.link.id == self.parent or now_s < self.begun_s + self.patience_s
        self.is_changed = True

    def _tear(self, name: str) -> None:
        if len(self.torn) < TORN_MAX:
            self.torn[name] = None

    # -- the tree ---------------------------------------------------------------------------------

    def is_above(self, side: Side) -> bool:
        """Whether the other end may be the parent: it is nearer to the asker; of equal ones the smaller name is."""
        return (
            not side.link.closing
            and side.report is None
            and side.depth is not None
            and (side.depth, side.link.node_id) < (self.depth, self.name)
        )

    def has_parent(self) -> bool:
        """Whether there is a parent, and it is above."""
        side = None if self.parent is None else self.sides.get(self.parent)
        return side is not None and self.is_above(side)

    def adopt_parent(self) -> None:
        """Take the one nearest to the asker of those above for the parent, or none."""
        is_free = self.depth < HOPS_MAX  # else all are above, those below too
        above = [side for side in self.sides.values() if is_free and self.is_above(side)]
        best = min(above, key=_nearness, default=None)
        self.parent = None if best is None else best.link.id
        self.is_mended = True
        self.sent = None
        self.is_changed = True

    def rejoin(self) -> bool:
        """Nobody is above: let the children go, and once there are none go below whoever is nearest to the asker.

        Whether there is a new depth, which must be told on all links: HOPS_MAX, that of nobody's parent, lets go.
        """
        if self.rejoins >= REJOINS_MAX:
            return False
        if any(side.report is not None for side in self.sides.values()):
            has_told, self.depth = self.depth == HOPS_MAX, HOPS_MAX
            return not has_told
        sides = [side for side in self.sides.values() if side.depth is not None and not side.link.closing]
        best = min(sides, key=_nearness, default=None)
        if best is None or best.depth is None or best.depth >= HOPS_MAX - 1:
            return False
        self.rejoins += 1
        self.depth = best.depth + 1
        self.parent = best.link.id
        return True

    # -- what this node says ----------------------------------------------------------------------

    def awaited(self) -> list[Side]:
        """Links that have not answered."""
        return [side for side in self.sides.values() if not side.has_answered]

    def tally(self) -> Tally:
        """This node and its children."""
        self.is_changed = False
        unanswered = self.awaited()
        silent = tuple(side.link.node_id for side in unanswered if side.is_silent)
        alone = Tally.alone(self.name, self.zone, applied=self.applied)
        own = Tally(
            alone.applied,
            alone.total,
            alone.missing,
            alone.zones,
            silent=silent,
            awaited=sum(not side.is_silent and not side.is_late for side in unanswered),
            torn=tuple(self.torn),
            mended=(self.name,) if self.is_mended else (),
        )
        reports = (side.report for side in self.sides.values() if side.report is not None)
        return Tally.together((own, *reports), self.id)

    def report_s(self) -> float:
        """When the parent may be told what has changed."""
        if self.sent is not None:
            pause_s = PAUSE_SHARE * (self.sent_s - self.burst_s)
            return self.sent_s + min(max(pause_s, PAUSE_LEAST_S), PAUSE_MOST_S)
        is_part = any(not side.is_silent and not side.is_late for side in self.awaited())
        return self.part_s if is_part else self.begun_s

    def told(self, tally: Tally, now_s: float) -> None:
        """The parent has been told."""
        if now_s - self.sent_s > QUIET_S:
            self.burst_s = now_s
        self.sent, self.sent_s = tally, now_s


def _nearness(side: Side) -> tuple[int, str]:
    """By which of several the parent is chosen."""
    assert side.depth is not None
    return side.depth, side.link.node_id
