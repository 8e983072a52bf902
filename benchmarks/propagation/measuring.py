"""One system's run, from its start to its figures. The same steps for all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from .errors import BenchmarkError
from .figures import delivery_figures, spread_ms
from .marks import marked_value
from .observer import Observer
from .plan import Plan
from .system import System
from .traffic import Traffic, read_traffic

WARM_UP_CHANGES: Final = 3
"""Published first and not measured: they show that every listener listens, and load what is loaded at first use."""
WARM_UP_LIMIT_S: Final = 30.0
QUIET_S: Final = 5.0
"""Between the forming of the cluster and the baseline, for what a join leaves behind: gossip of who is there, saved
addresses."""
SETTLED_S: Final = 60.0
"""And that is waited for where the idle cluster is measured: nodes that were dropped as one link too many look for
another one half a minute later."""
SETTLE_S: Final = 3.0
"""After the last delivery, for what a change leaves behind: retransmissions, tellings of new roots. Counted with the
changes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment. ``traffic`` is None where the network is shared with others."""

    at_s: float
    cpu_s: dict[str, float]
    traffic: Traffic | None


def measure_system(system: System, plan: Plan, *, own_network: bool) -> dict[str, Any]:
    """Start ``system``, publish, and say what it took. Raises BenchmarkError."""
    system.start()
    with Observer(system.listeners()) as observer:
        _warm_up(system, observer, plan)
        time.sleep(SETTLED_S if plan.reports_idle else QUIET_S)
        first = _read(system, own_network)
        time.sleep(plan.baseline_s)
        second = _read(system, own_network)
        published_s, acknowledged_s = _publish(system, plan)
        observer.wait(list(published_s), plan.timeout_s)
        until_s = time.monotonic()
        delivered_s = observer.delivered_s()
        time.sleep(SETTLE_S)
        third = _read(system, own_network)
    memory = system.processes.memory_mib()
    system.processes.check()
    return {
        "version": system.version,
        "agents": plan.agents,
        **delivery_figures(published_s, delivered_s, plan.agents, until_s),
        "acknowledged_ms": spread_ms([acknowledged_s[number] - at_s for number, at_s in published_s.items()]),
        "per_change_per_agent": _cost_of_changes(first, second, third, plan),
        "idle_per_agent": _cost_of_idling(first, second, plan) if plan.reports_idle else None,
        "memory_per_agent": memory[system.agent_kind],
        "memory_by_kind": memory,
        "processes": {kind: sum(one.kind == kind for one in system.processes.started) for kind in memory},
    }


def _warm_up(system: System, observer: Observer, plan: Plan) -> None:
    """Publish until one change has reached everybody, then a few more."""
    numbers = range(plan.changes, 100_000_000)  # beyond those that are measured
    deadline_s = time.monotonic() + WARM_UP_LIMIT_S
    reached = 0
    for number in numbers:
        system.processes.check()
        system.publish(number, marked_value(number, plan.value_bytes))
        reached += observer.wait([number], 2.0)
        if reached == WARM_UP_CHANGES:
            return
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"no change reached all {plan.agents} agents within {WARM_UP_LIMIT_S:g} s")


def _publish(system: System, plan: Plan) -> tuple[dict[int, float], dict[int, float]]:
    """Publish on a schedule that waits for nobody; when each publish began, and when it was acknowledged."""
    published_s: dict[int, float] = {}
    acknowledged_s: dict[int, float] = {}
    begin_s = time.monotonic()
    for number in range(plan.changes):
        value = marked_value(number, plan.value_bytes)
        time.sleep(max(0.0, begin_s + number * plan.every_ms / 1000 - time.monotonic()))
        published_s[number] = time.monotonic()
        system.publish(number, value)
        acknowledged_s[number] = time.monotonic()
    return published_s, acknowledged_s


def _read(system: System, own_network: bool) -> Reading:
    traffic = read_traffic(system.own_connections()) if own_network else None
    return Reading(time.monotonic(), system.processes.cpu_s(), traffic)


def _cost_of_changes(first: Reading, second: Reading, third: Reading, plan: Plan) -> dict[str, Any]:
    """What the changes took beyond what idling (``first`` to ``second``) would have taken in their time."""
    share = (third.at_s - second.at_s) / (second.at_s - first.at_s)
    per = plan.changes * plan.agents
    idle, busy = _cpu_between(first, second), _cpu_between(second, third)
    by_kind = {kind: round((busy[kind] - idle[kind] * share) * 1000 / per, 3) for kind in busy}
    figures: dict[str, Any] = {"cpu_ms": round(sum(by_kind.values()), 3), "cpu_ms_by_kind": by_kind}
    if first.traffic is not None and second.traffic is not None and third.traffic is not None:
        net = (third.traffic - second.traffic) - (second.traffic - first.traffic) * share
        figures |= _traffic_figures(net * (1 / per), "")
    return figures


def _cost_of_idling(first: Reading, second: Reading, plan: Plan) -> dict[str, Any]:
    per = (second.at_s - first.at_s) * plan.agents
    by_kind = {kind: round(cpu_s * 1000 / per, 3) for kind, cpu_s in _cpu_between(first, second).items()}
    figures: dict[str, Any] = {
        "measured_s": round(second.at_s - first.at_s, 1),
        "cpu_ms_per_s": round(sum(by_kind.values()), 3),
        "cpu_ms_per_s_by_kind": by_kind,
    }
    if first.traffic is not None and second.traffic is not None:
        figures |= _traffic_figures((second.traffic - first.traffic) * (1 / per), "_per_s")
    return figures


def _cpu_between(begin: Reading, end: Reading) -> dict[str, float]:
    return {kind: end.cpu_s[kind] - begin.cpu_s[kind] for kind in end.cpu_s}


def _traffic_figures(traffic: Traffic, ending: str) -> dict[str, float]:
    return {
        f"payload_bytes{ending}": round(traffic.payload_bytes, 1),
        f"interface_bytes{ending}": round(traffic.interface_bytes, 1),
        f"packets{ending}": round(traffic.packets, 2),
    }
