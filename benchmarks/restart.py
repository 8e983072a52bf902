"""Mass restart of real agents: all are stopped at once and come back within a minute, knowing few seeds.

`python -m benchmarks restart --agents 200 --seeds 3`; docs/benchmarks.md says what is counted. Connections at the
seeds are read from the kernel's table, where each stays for a minute after its end: none is missed between two looks,
and those that admission turns away are counted too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gossipconf.cli.client import Client
from gossipconf.cli.demo.fleet import free_places
from gossipconf.cli.operate import init, pki
from gossipconf.cli.session import Session
from gossipconf.cli.target import ADMIN_KEY, CLUSTER_FILE, NODES, SOCKET
from gossipconf.model.entry import ValueType, put
from gossipconf.model.errors import GossipconfError
from gossipconf.runtime.address import format_address
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.keys import load_signer

from .propagation.errors import BenchmarkError
from .propagation.places import AGENTS_MAX
from .propagation.processes import Processes

DESCRIPTION: Final = "N agents are stopped at once and start again within a minute: when all are linked and equal"

KEYS: Final = 50
"""Keys that all hold, so that there is something to be equal in."""
SETTLE_S: Final = 10.0
"""From all joined until all are stopped: address books are written five seconds after they have changed."""
JOIN_LIMIT_S: Final = 300.0
"""From the last start: two processors have 200 interpreters to start."""
LOOK_S: Final = 0.25
"""Between two looks at the kernel's table of connections: a second is counted this much too long, at most."""
PACE_S: Final = 0.1
"""Between two rounds of questions to those agents that have not joined yet."""
LISTENING: Final = "0A"
"""State of a listener in `/proc/net/tcp`, which is no connection."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--agents", type=int, default=200, help="agents (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, default=3, help="agents that all others are told of (default: %(default)s)"
    )
    parser.add_argument(
        "--within-s", type=float, default=60.0, help="from the first start to the last one (default: %(default)s)"
    )
    parser.add_argument(
        "--directory", type=Path, default=None, help="where disks are (default: the system's temporary)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of the first start and of the restart. Ends the program with one line where it cannot."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that what was started is ended, as with Ctrl-C
    if not 1 <= options.seeds < options.agents <= AGENTS_MAX:
        sys.exit(f"error: --seeds must be less than --agents, and these at most {AGENTS_MAX}")
    try:
        with tempfile.TemporaryDirectory(prefix="gossipconf-restart-", dir=options.directory) as directory:
            return _measure(options, Path(directory))
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; what was started has been ended")


def _measure(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    load_before = os.getloadavg()[0]
    cluster = _Agents(directory, options.agents, options.seeds)
    with Processes(directory) as processes:
        first = _start_all(cluster, processes, options.within_s)
        cluster.publish("before", KEYS)
        _wait_joined(cluster, processes, cluster.nodes, time.monotonic() + JOIN_LIMIT_S)
        time.sleep(SETTLE_S)
        processes.end()
        second = _start_all(cluster, processes, options.within_s)
        begin_s = time.monotonic()
        cluster.publish("after", 1)
        _wait_joined(cluster, processes, cluster.nodes, begin_s + JOIN_LIMIT_S)
        next_change_s = time.monotonic() - begin_s
        memory = processes.memory_mib()["agent"]
    return {
        "benchmark": "restart",
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": round(load_before, 2),
        "agents": options.agents,
        "seeds": options.seeds,
        "within_s": options.within_s,
        "first_start": first,
        "restart": second,
        "next_change_at_all_s": round(next_change_s, 2),
        **memory,
    }


def _start_all(cluster: _Agents, processes: Processes, within_s: float) -> dict[str, Any]:
    """Start all agents, evenly over ``within_s``, and wait until all are linked and hold what the first holds."""
    with SeedWatch(cluster.seeds) as watch:
        begin_s = time.monotonic()
        for number, node in enumerate(cluster.nodes):
            time.sleep(max(0.0, begin_s + within_s * number / (len(cluster.nodes) - 1) - time.monotonic()))
            processes.start("agent", node, cluster.command(node))
        last_start_s = time.monotonic()
        joined_s = _wait_joined(cluster, processes, cluster.nodes, last_start_s + JOIN_LIMIT_S)
        cpu_s = processes.cpu_s()["agent"]
    return {
        "last_start_s": round(last_start_s - begin_s, 2),
        "joined_after_last_start_s": round(joined_s - last_start_s, 2),
        "seed_connections": watch.count(),
        "seed_connections_per_s_max": watch.busiest(),
        "cpu_s": round(cpu_s, 1),
        "cpu_s_per_agent": round(cpu_s / len(cluster.nodes), 2),
    }


def _wait_joined(cluster: _Agents, processes: Processes, nodes: Sequence[str], deadline_s: float) -> float:
    """When the last one was seen linked, with the first one's fingerprint. Raises BenchmarkError after the deadline."""
    left = list(nodes)
    while True:
        processes.check()
        root = cluster.info(nodes[0]).get("root")
        left = [node for node in left if not _is_in(cluster.info(node), root)]
        if not left:
            return time.monotonic()
        if time.monotonic() > deadline_s:
            said = cluster.info(left[0])
            raise BenchmarkError(
                f"{len(left)} agents are not linked and equal in time, among them {left[0]}: it has "
                f"{said.get('links', 'not answered')} links; the end of its log: {processes.log_end(left[0])}"
            )
        time.sleep(PACE_S)


def _is_in(info: dict[str, Any], root: object) -> bool:
    return root is not None and info.get("root") == root and bool(info.get("links"))


class _Agents:
    """The directories of a cluster's agents, and what the agents say."""

    def __init__(self, directory: Path, agents: int, seeds: int) -> None:
        self.nodes = [f"n{number:03d}" for number in range(agents)]
        self._home = directory / "cluster"
        self._clients: dict[str, Client] = {}
        places = free_places(self.nodes)
        addresses = [format_address(place.host, place.port) for place in places]
        self.seeds = [(place.host, place.port) for place in places[:seeds]]
        with contextlib.redirect_stdout(io.StringIO()):  # what they would tell a person
            init.init(self._home, name="restart")
            for place, address in zip(places, addresses, strict=True):
                join = [seed for seed in addresses[:seeds] if seed != address]
                pki.make_node(place.node, listen=address, join=join, cluster=self._home)

    def command(self, node: str) -> list[str]:
        """What starts an agent."""
        return [sys.executable, "-m", "gossipconf.cli", "agent", "run", str(self._home / NODES / node)]

    def info(self, node: str) -> dict[str, Any]:
        """What an agent says of itself; nothing while it does not answer."""
        try:
            client = self._clients.get(node)
            if client is None:
                client = self._clients[node] = Client(self._home / NODES / node / SOCKET)
            return client.request("info")
        except GossipconfError:
            self._clients.pop(node, None)  # of an agent that has been stopped since
            return {}

    def publish(self, name: str, keys: int) -> None:
        """Publish a change at an agent that is no seed."""
        client = Client(self._home / NODES / self.nodes[-1] / SOCKET)
        session = Session(client, Cluster.load(self._home / CLUSTER_FILE))
        entries = [put(f"restart/{name}/{number}", b"x" * 100, ValueType.TEXT) for number in range(keys)]
        session.publish(entries, load_signer(self._home / ADMIN_KEY))


# -- connections at the seeds ---------------------------------------------------------------------


@dataclass(slots=True)
class Arrivals:
    """When connections were first seen at one address; ``clients``: all that were, by the other end."""

    clients: dict[str, None] = field(default_factory=dict)
    times_s: list[float] = field(default_factory=list)

    def note(self, clients: Iterable[str], at_s: float) -> None:
        """Those of ``clients`` that are new have come by ``at_s``."""
        for client in clients:
            if client not in self.clients:
                self.clients[client] = None
                self.times_s.append(at_s)

    def busiest(self) -> int:
        """The most that came within a second."""
        window: deque[float] = deque()
        most = 0
        for time_s in self.times_s:
            window.append(time_s)
            while window[0] < time_s - 1.0:
                window.popleft()
            most = max(most, len(window))
        return most


class SeedWatch:
    """Looks for connections to ``seeds``, from entry to exit."""

    def __init__(self, seeds: Sequence[tuple[str, int]]) -> None:
        self._arrivals = {kernel_address(host, port): Arrivals() for host, port in seeds}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seed-watch", daemon=True)

    def count(self) -> int:
        """Connections at all seeds."""
        return sum(len(one.times_s) for one in self._arrivals.values())

    def busiest(self) -> int:
        """The most that one seed was offered within a second."""
        return max(one.busiest() for one in self._arrivals.values())

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        text, now_s = Path("/proc/net/tcp").read_text(encoding="ascii"), time.monotonic()
        for seed, clients in parse_connections(text, self._arrivals).items():
            self._arrivals[seed].note(clients, now_s)

    def __enter__(self) -> Self:
        self._look()  # what is left of an earlier life is not new
        for one in self._arrivals.values():
            one.times_s.clear()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


def kernel_address(host: str, port: int) -> str:
    """An IPv4 address as in `/proc/net/tcp` of a little-endian machine."""
    number = "".join(f"{int(part):02X}" for part in reversed(host.split(".")))
    return f"{number}:{port:04X}"


def parse_connections(text: str, addresses: Iterable[str]) -> dict[str, list[str]]:
    """Of each of ``addresses`` the other ends of its connections, open or just over, seen from either end."""
    found: dict[str, list[str]] = {address: [] for address in addresses}
    for line in text.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == LISTENING:
            continue
        if local in found:
            found[local].append(remote)
        elif remote in found:
            found[remote].append(local)
    return found
