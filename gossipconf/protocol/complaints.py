"""Complaints: how often each peer has sent what is invalid, kept an answer back, or held less than it says.

They are counted and shown (`gossipconf status`), for whoever runs the cluster to judge:
a broken disk, a lossy network and a liar look alike from here. What a peer keeps back
comes from others in any case.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import Enum
from typing import Final

PEERS_MAX: Final = 256
"""Peers of whom that is kept, the latest: more than a node ever has links with at a time."""


class Complaint(Enum):
    """What can be held against a peer."""

    INVALID = "invalid"
    """A change or message that no honest peer sends."""
    UNANSWERED = "unanswered"
    """It announced a change, and did not send it when it was asked."""
    UNEQUAL = "unequal"
    """A sync with it ended, and it still says that it holds something else."""


class Complaints:
    """Counts by peer, since this node started."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, Counter[Complaint]] = OrderedDict()

    def note(self, node_id: str, complaint: Complaint) -> None:
        """Count one."""
        if node_id not in self._counts and len(self._counts) == PEERS_MAX:
            self._counts.popitem(last=False)
        self._counts.setdefault(node_id, Counter())[complaint] += 1
        self._counts.move_to_end(node_id)

    def of(self, node_id: str) -> dict[str, int]:
        """The counts of a peer, by the complaints' names; those of none are left out."""
        counts = self._counts.get(node_id, Counter())
        return {complaint.value: counts[complaint] for complaint in Complaint if counts[complaint]}
