"""What the benchmark asks of a system: to start, to publish, and to let its agents be listened to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from .processes import Processes


class System(Protocol):
    """One of the systems that are compared. Made with a plan and `Processes`, which ends what it starts."""

    processes: Processes
    version: str
    agent_kind: str
    """The kind of process (see `Processes`) of which there is one for each agent."""

    def start(self) -> None:
        """Start and form the cluster, and begin to listen at every agent. Raises BenchmarkError."""
        ...

    def listeners(self) -> Sequence[int]:
        """Of each agent a descriptor on which it tells the values that it gets."""
        ...

    def publish(self, number: int, value: bytes) -> None:
        """Publish change ``number``; returns when the system has acknowledged it."""
        ...

    def own_connections(self) -> Sequence[socket.socket]:
        """TCP connections of the benchmark itself, that are not the system's traffic."""
        ...
