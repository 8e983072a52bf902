"""gossipconf: agents as processes, made by the code of `init` and `pki node`, listened to as `watch` does."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Sequence
from typing import Final

from gossipconf import __version__
from gossipconf.cli.client import Client
from gossipconf.cli.demo.fleet import free_places
from gossipconf.cli.operate import init, pki
from gossipconf.cli.session import Session
from gossipconf.cli.target import ADMIN_KEY, CLUSTER_FILE, NODES, SOCKET
from gossipconf.model.entry import ValueType, put
from gossipconf.model.errors import AgentUnreachable
from gossipconf.runtime.address import format_address
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.keys import load_signer

from .plan import Plan
from .processes import Processes, wait_until

SEEDS: Final = 3
"""Agents that the others are told of at their start."""
KEYS: Final = 16
"""Keys that each publisher writes in turn: changes replace earlier ones, as configuration does, and a watch, which
tells the latest of a key, has told each before the next."""
PREFIX: Final = "bench"
START_LIMIT_S: Final = 120.0
"""An agent starts in half a second of processor time, and all share the processors."""


class Agents:
    """Of the System protocol."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.processes = processes
        self.version = __version__
        self.agent_kind = "agent"
        self._plan = plan
        self._home = plan.directory / "cluster"
        self._nodes = [f"n{number:03d}" for number in range(plan.agents)]
        self._watches: list[Client] = []
        self._sessions: list[Session] = []

    def start(self) -> None:
        self._make()
        for node in self._nodes:
            command = [sys.executable, "-m", "gossipconf.cli", "agent", "run", str(self._home / NODES / node)]
            self.processes.start("agent", node, command)
        clients = [self._connect(node) for node in self._nodes]
        wait_until("all agents are linked and hold the same", lambda: _agree(clients), self.processes, limit_s=60.0)
        for client in clients:
            client.watch(PREFIX)
        self._watches = clients
        cluster = Cluster.load(self._home / CLUSTER_FILE)
        self._signer = load_signer(self._home / ADMIN_KEY)
        publishers = self._nodes[-self._plan.publishers :]  # not the seeds, which have more links
        self._sessions = [Session(self._connect(node), cluster) for node in publishers]

    def listeners(self) -> Sequence[int]:
        return [client.fileno() for client in self._watches]

    def publish(self, number: int, value: bytes) -> None:
        turn, session = divmod(number, len(self._sessions))
        key = f"{PREFIX}/{session}/{turn % KEYS}"
        self._sessions[session].publish([put(key, value, ValueType.TEXT)], self._signer)

    def own_connections(self) -> Sequence[socket.socket]:
        return ()  # Unix sockets

    def _make(self) -> None:
        places = free_places(self._nodes)
        addresses = [format_address(place.host, place.port) for place in places]
        with contextlib.redirect_stdout(io.StringIO()):  # what they would tell a person
            init.init(self._home, name="bench")
            for place, address in zip(places, addresses, strict=True):
                seeds = [seed for seed in addresses[:SEEDS] if seed != address]
                pki.make_node(place.node, listen=address, join=seeds, cluster=self._home)

    def _connect(self, node: str) -> Client:
        """Wait for an agent's control socket."""
        path = self._home / NODES / node / SOCKET
        found: list[Client] = []

        def is_there() -> bool:
            with contextlib.suppress(AgentUnreachable):
                found.append(Client(path))
            return bool(found)

        wait_until(f"agent {node} answers", is_there, self.processes, limit_s=START_LIMIT_S)
        return found[0]


def _agree(clients: Sequence[Client]) -> bool:
    answers = [client.request("info") for client in clients]
    linked = len(answers) == 1 or all(answer["links"] for answer in answers)
    return linked and len({answer["root"] for answer in answers}) == 1
