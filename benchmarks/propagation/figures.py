"""Statistics of deliveries, and one system's figures beside another's. Pure: no clock, no process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

LATE_S: Final = 1.0
"""A delivery later than this is a straggler: ten times what a person notices, and what users of gossip complain of."""

RATIOS: Final = (
    ("last_delivery_ms", "p50"),
    ("last_delivery_ms", "p90"),
    ("last_delivery_ms", "p99"),
    ("last_delivery_ms", "max"),
    ("per_change_per_agent", "cpu_ms"),
    ("per_change_per_agent", "payload_bytes"),
    ("per_change_per_agent", "interface_bytes"),
    ("per_change_per_agent", "packets"),
    ("idle_per_agent", "cpu_ms_per_s"),
    ("idle_per_agent", "payload_bytes_per_s"),
    ("idle_per_agent", "interface_bytes_per_s"),
    ("memory_per_agent", "pss_mib"),
    ("memory_per_agent", "rss_mib"),
)
"""Figures that are divided by the peer's: (group, name)."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that at least ``percent`` of them do not exceed (nearest rank)."""
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(int(rank), 1) - 1]


def spread_ms(seconds: Sequence[float]) -> dict[str, float]:
    """How many, p50, p90, p99 and maximum; in milliseconds."""
    summary = {f"p{percent}": round(percentile(seconds, percent) * 1000, 2) for percent in (50, 90, 99)}
    return {"n": len(seconds), **summary, "max": round(max(seconds) * 1000, 2)}


def delivery_figures(
    published_s: Mapping[int, float], delivered_s: Mapping[int, Mapping[int, float]], agents: int, until_s: float
) -> dict[str, Any]:
    """Figures of when changes were delivered.

    ``published_s``: when the publish of each change began. ``delivered_s``: of each change, when each agent had
    it. ``until_s``: when waiting ended; a missing delivery counts as one at that time, which is less than the truth.
    """
    lasts, each, missing = [], [], 0
    for number, begin_s in published_s.items():
        delays = [at_s - begin_s for at_s in delivered_s.get(number, {}).values()]
        absent = agents - len(delays)
        missing += absent
        delays += [until_s - begin_s] * absent
        each += delays
        lasts.append(max(delays))
    return {
        "last_delivery_ms": spread_ms(lasts),
        "any_delivery_ms": spread_ms(each),
        "stragglers": {"late": sum(delay > LATE_S for delay in each), "missing": missing, "late_after_s": LATE_S},
    }


def ratios(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Each of ours divided by theirs; None where one of the two is unknown or theirs is nothing."""
    found: dict[str, dict[str, float | None]] = {}
    for group, name in RATIOS:
        mine, other = ((system.get(group) or {}).get(name) for system in (ours, theirs))
        quotient = round(mine / other, 3) if mine is not None and other else None
        found.setdefault(group, {})[name] = quotient
    return found
