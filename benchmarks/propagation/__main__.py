"""The process that measures one system: `python -m benchmarks.propagation SYSTEM PLAN [--own-network]`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final

from .agents import Agents
from .errors import BenchmarkError
from .etcd import Etcd
from .isolation import raise_loopback
from .measuring import measure_system
from .plan import Plan
from .processes import Processes
from .serf import Serf
from .system import System

SYSTEMS: Final[Mapping[str, Callable[[Plan, Processes], System]]] = {"gossipconf": Agents, "serf": Serf, "etcd": Etcd}


def main() -> None:
    """Measure, print the figures as JSON. Ends what it started, upon SIGTERM too."""
    name, text, *rest = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    own_network = "--own-network" in rest
    if own_network:
        raise_loopback()
    plan = Plan.from_json(text)
    try:
        with Processes(plan.directory) as processes:
            figures = measure_system(SYSTEMS[name](plan, processes), plan, own_network=own_network)
    except BenchmarkError as error:
        sys.exit(f"error: {name}: {error}")
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
