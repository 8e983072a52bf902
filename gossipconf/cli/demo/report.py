"""The report: what the demo found out, for people (acts in a table) and for programs (one JSON object)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...model.errors import GossipconfError


class ClaimFailed(GossipconfError):
    """Something that the demo says of the agents has turned out not to be so."""


def require(holds: bool, claim: str) -> None:
    """Raise ClaimFailed unless `claim` holds."""
    if not holds:
        raise ClaimFailed(f"not true: {claim}")


@dataclass(frozen=True, slots=True)
class Act:
    """One line of the table. `took_ms`: how long what it tells of took."""

    what: str
    result: str
    took_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything measured or checked; times in whole milliseconds of a monotonic clock.

    start_ms:                 five processes started, until each is linked to the other four
    first_acknowledged_ms:    start of the first publish, until it is on the first agent's disk
    first_spread_ms:          the same start, until the last agent's readers see every key
    served_in_partition:      every agent returned every key with the right value during the cut
    published_in_partition:   by side: acknowledged, seen on all agents of the side and on none of the other
    restarted_in_partition:   after kill -9 an agent served every key with no other agent in reach
    restart_ms:               its process started, until its first answer
    empty_disk_boot_ms:       a process with an empty disk started, until it holds the same as its neighbour
    heal_to_converged_ms:     the network is whole again, until all fingerprints are equal
    conflicts:                keys that both sides had changed, seen by every agent with the same winner
    settle_ms:                start of the publish that settles them, until no agent sees a conflict
    fingerprints_equal:       at the end, of all agents
    """

    agents: int
    keys: int
    start_ms: int
    first_acknowledged_ms: int
    first_spread_ms: int
    served_in_partition: bool
    published_in_partition: dict[str, bool]
    restarted_in_partition: bool
    restart_ms: int
    empty_disk_boot_ms: int
    heal_to_converged_ms: int
    conflicts: int
    conflict_keys: list[str]
    settle_ms: int
    conflicts_at_end: int
    fingerprints_equal: bool
    fingerprint: str
    total_ms: int

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return asdict(self)
