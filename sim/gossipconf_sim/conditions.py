"""Conditions: how the network and the machines of a world behave from its first moment on.

Frozen records; each condition is a named option with its unit. What changes at a
moment of the run is a fault (`faults`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gossipconf.protocol.tuning import DEFAULT_PRESET, PRESETS, Tuning

from .options import option


@dataclass(frozen=True, slots=True)
class NetworkConditions:
    """Links are TCP with TLS: ordered and reliable until they break."""

    latency_ms: tuple[float, float] = option(
        (0.25, 0.75),
        "one-way delay of a link in ms, drawn once for each pair of hosts; with placed zones unused",
        least=0,
    )
    jitter: tuple[float, float] = option(
        (1.0, 1.15), "factor on the one-way delay, drawn for each message", least=0, most=1000
    )
    rtt_base_ms: float = option(4.0, "round trip between placed zones in ms, before distance", least=0)
    km_per_rtt_ms: float = option(75.0, "great-circle km that cost one ms of round trip between placed zones", least=1)
    rtt_inside_ms: float = option(1.0, "round trip inside a placed zone in ms", least=0)
    loss: float = option(
        0.0, "share of packets lost; TCP sends again, and what follows on the link waits", least=0, most=0.99
    )
    retransmit_ms: float = option(
        200.0, "wait before the first retransmission in ms, beside the round trip; it doubles", least=1
    )
    drop: float = option(
        0.0,
        "share of messages that vanish inside a link, which TCP never does: harsher than any network",
        least=0,
        most=1,
    )
    duplicate: float = option(0.0, "share of messages that arrive twice, which TCP never does either", least=0, most=1)
    resets_per_link_per_h: float = option(0.0, "how often a connection breaks, in times an hour", least=0)
    bandwidth_mbit_s: float = option(
        0.0, "uplink of each host in Mbit/s, with the agent's own queues; 0: no limit", least=0
    )
    dial_timeout_s: float = option(3.0, "time after which a dial without an answer fails, in s", least=0.001)
    notice_ms: float = option(50.0, "time after which an end learns of a connection that was reset, in ms", least=0)
    accepts_per_s: float = option(
        40.0, "incoming connections that an agent admits a second, as the shipped agent", least=0.1
    )
    accepts_burst: float = option(10.0, "incoming connections that it admits at once", least=1)


@dataclass(frozen=True, slots=True)
class HostConditions:
    """Machines, disks and clocks, and the pace of the nodes on them."""

    disk_ms: tuple[float, float] = option(
        (0.5, 2.0), "duration of a write to disk in ms; what waits is written together", least=0
    )
    processing_us: float = option(0.0, "processor time for each message in µs, one after the other; 0: none", least=0)
    zone_labels: bool = option(True, "whether nodes know the names of their zones")
    clock_skew_ms: float = option(0.0, "wall clocks are wrong by up to this many ms, either way", least=0)
    preset: str = option(DEFAULT_PRESET, "pace of all nodes, as an agent's option of that name", choices=tuple(PRESETS))
    batching_ms: float = option(
        0.0, "time in ms for which nodes collect changes before they pass them on; 0: as the preset says", least=0
    )
    roster_members: int = option(
        0, "members up to which a node keeps a roster of all; 0: as the preset says", least=0, most=2_000
    )

    near_links: int = option(0, "links that a node looks for in its own zone; 0: as the preset says", least=0, most=64)
    far_links: int = option(0, "links that it looks for in other zones; 0: as the preset says", least=0, most=64)

    def tuning(self) -> Tuning:
        """The pace of every node."""
        tuning = PRESETS[self.preset]
        asked: dict[str, Any] = {
            "batching_s": self.batching_ms / 1000,
            "roster_members": self.roster_members,
            "near_links": self.near_links,
            "far_links": self.far_links,
        }
        return replace(tuning, **{name: value for name, value in asked.items() if value})
