"""The figures as a table for people and for `docs/benchmarks.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ROWS: Final = (
    ("last delivery p50, ms", "last_delivery_ms", "p50"),
    ("last delivery p90, ms", "last_delivery_ms", "p90"),
    ("last delivery p99, ms", "last_delivery_ms", "p99"),
    ("last delivery maximum, ms", "last_delivery_ms", "max"),
    ("acknowledged p50, ms", "acknowledged_ms", "p50"),
    ("deliveries after 1 s", "stragglers", "late"),
    ("deliveries missing", "stragglers", "missing"),
    ("payload, bytes per change per agent", "per_change_per_agent", "payload_bytes"),
    ("with headers and ACKs, bytes", "per_change_per_agent", "interface_bytes"),
    ("packets per change per agent", "per_change_per_agent", "packets"),
    ("CPU, ms per change per agent", "per_change_per_agent", "cpu_ms"),
    ("idle payload, B/s per agent", "idle_per_agent", "payload_bytes_per_s"),
    ("idle with headers and ACKs, B/s", "idle_per_agent", "interface_bytes_per_s"),
    ("idle CPU, ms/s per agent", "idle_per_agent", "cpu_ms_per_s"),
    ("RSS of an agent, MiB", "memory_per_agent", "rss_mib"),
    ("PSS of an agent, MiB", "memory_per_agent", "pss_mib"),
)


def markdown(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """One column a system; a dash for what was not measured."""
    lines = ["| | " + " | ".join(systems) + " |", "|---|" + "---|" * len(systems)]
    for title, group, name in ROWS:
        cells = [(figures.get(group) or {}).get(name) for figures in systems.values()]
        lines.append(f"| {title} | " + " | ".join("–" if cell is None else f"{cell:,}" for cell in cells) + " |")
    return "\n".join(lines) + "\n"
