"""What a run gives: the figures of `gossipconf-sim run --json`, by their names there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 99th percentile and maximum of a sample; the smallest value that so many do not exceed."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, sample: Iterable[float]) -> Spread | None:
        """The spread of a sample; None for an empty one."""
        ordered = sorted(sample)
        if not ordered:
            return None
        return cls(_quantile(ordered, 50), _quantile(ordered, 99), ordered[-1])


def _quantile(ordered: list[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


@dataclass(frozen=True, slots=True)
class Repair:
    """What it took to bring everybody up to date after the last fault.

    missing_bytes:  payload that live honest nodes lacked of what all together came to hold, at its end
    bytes:          payload and all else sent from then until all were equal, classes broadcast and sync
    """

    missing_bytes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Joining:
    """How nodes found their way in, and what it took from the seeds.

    first_link_s:               over honest nodes that run at the end: from their last start to their first link
    unlinked:                   those of them that never had one since
    seed_handshakes:            that all seeds admitted, from the start of the world on
    seed_handshakes_per_s_max:  the most that one of them admitted within a second
    seed_refusals:              dials that seeds refused because too many came at once
    """

    first_link_s: Spread | None
    unlinked: int
    seed_handshakes: int
    seed_handshakes_per_s_max: int
    seed_refusals: int


@dataclass(frozen=True, slots=True)
class Acks:
    """What it took to know who has applied a change, asked by another host as the change was acknowledged.

    asked, answered:  questions; and those whose asker came to know that all have applied it
    ack_ms:           from the acknowledgement until then
    by_delivery:      the same by the change's last delivery
    bytes_per_node:   received by a node for a question
    link_bytes_max:   of one question on one link, both ways together
    """

    asked: int
    answered: int
    ack_ms: Spread | None
    by_delivery: Spread | None
    bytes_per_node: float | None
    link_bytes_max: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """What became of a bad canary. Shares are of all honest nodes that run.

    share_intended:    that it is for in the end
    applied_at_limit:  that had read it when as many as the limit says had called it unhealthy
    applied:           that have read it at any time
    votes:             nodes that have called it unhealthy
    limit_s:           from its publish until so many had; None: never
    halted:            that hold it off at the end
    halt_ms:           over nodes: from that vote until they held it off
    """

    share_intended: float
    applied_at_limit: float
    applied: float
    votes: int
    limit_s: float | None
    halted: float
    halt_ms: Spread | None


@dataclass(frozen=True, slots=True)
class Epochs:
    """What became of the stages of a strict prefix.

    committed, aborted:  stages that some participant knows to be so; one that nobody knows to be either is neither
    complete:            of those committed the ones to which all participants had switched at the end
    switch_ms:           over these: from the last participant's ack, on its disk, until the last one had switched
    fence_ms:            the same from the first ack: the longest that anybody was fenced
    """

    committed: int
    aborted: int
    complete: int
    switch_ms: Spread | None
    fence_ms: Spread | None


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one run. Times are virtual; a change is measured unless it belongs to the warm-up.

    nodes, seed:            as asked for
    changes:                measured changes that were acknowledged
    unpublished:            measured changes that an agent refused, or that were lost with it before it answered
    delivered_fraction:     of the pairs (change, node that has been up and honest since its publish), the share that
                            has it at the end, or something that supersedes it
    last_delivery_ms:       over changes that nobody lacks: from the acknowledgement until the last such node has it
    delivery_ms:            the same over all pairs, the publisher left out
    visible_ms:             over changes: until readers at the last such node see it, which is after its disk has it
    hops:                   links on the way of first copies that were pushed
    payload_copies_per_node:  copies of a change that arrive at a node that is not its publisher
    duplicates_per_node:    those of them that were not the first
    messages_per_change_per_node, bytes_per_node_per_change:  all that was sent from the first measured publish until
                            all were equal after the last; bytes as in frames, before TLS
    messages_per_operation: all those messages by the number of changes and reads
    bytes_by_class:         the same bytes by frame class
    cross_zone_copies_per_change:  copies that crossed from a zone to another
    idle_bytes_per_node_per_s:  bytes sent at rest, at the end
    joined_s:               of a cold start: from the last start until all had links and held the same; None: never
    convergence_ms:         from the last fault's end or publish, whichever is later, until all were equal; None: never
    joining:                see `Joining`
    repair:                 see `Repair`; None without faults
    acks:                   see `Acks`; None if nobody asks
    canary:                 see `Rollout`; None if there is none
    epochs:                 see `Epochs`; None if nothing is staged
    violations:             what the checkers found
    events:                 arrivals, timers, writes and dials
    wall_s, events_per_s:   of real time, for all of the run
    peak_rss_mib:           of the process
    trace_sha256:           over every input of every node
    """

    scenario: str
    nodes: int
    seed: int
    changes: int
    unpublished: int
    delivered_fraction: float | None
    last_delivery_ms: Spread | None
    delivery_ms: Spread | None
    visible_ms: Spread | None
    hops: Spread | None
    payload_copies_per_node: float | None
    duplicates_per_node: float | None
    messages_per_change_per_node: float | None
    messages_per_operation: float | None
    bytes_per_node_per_change: float | None
    bytes_by_class: dict[str, int]
    cross_zone_copies_per_change: float | None
    idle_bytes_per_node_per_s: float | None
    joined_s: float | None
    convergence_ms: float | None
    joining: Joining
    repair: Repair | None
    acks: Acks | None
    canary: Rollout | None
    epochs: Epochs | None
    violations: list[str]
    events: int
    virtual_s: float
    wall_s: float
    events_per_s: float
    peak_rss_mib: float
    trace_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what is meant."""
        rounded = _rounded(dataclasses.asdict(self))
        assert isinstance(rounded, dict)
        return rounded


DIGITS = 4
"""Decimals in JSON: a tenth of a microsecond."""


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return value
