"""Serf: agents at their LAN defaults, user events of the same payload, listened to over the RPC stream of each.

Serf's RPC (https://github.com/hashicorp/serf, `docs/agent/rpc.html`) is msgpack in the old specification, which has
no type for bytes, over TCP: for each request a header and perhaps a body, for each reply the same.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack

from .errors import BenchmarkError
from .places import Place, free_places
from .plan import Plan
from .processes import Processes, wait_until

EVENT: Final = "bench"
EVENT_BYTES_MAX: Final = 450
"""Serf refuses events of more than 512 bytes with their name and header."""
RPC_TIMEOUT_S: Final = 10.0
START_LIMIT_S: Final = 60.0


class Serf:
    """Of the System protocol."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        if plan.value_bytes > EVENT_BYTES_MAX:
            raise BenchmarkError(f"Serf takes no event above about {EVENT_BYTES_MAX} bytes; lower --value-bytes")
        self.processes = processes
        self._plan = plan
        self._program = program()
        self.version = _version(self._program)
        self.agent_kind = "agent"
        self._streams: list[Rpc] = []
        self._publishers: list[Rpc] = []

    def start(self) -> None:
        places = free_places(self._plan.agents, ports=2)
        for number, place in enumerate(places):
            self.processes.start("agent", f"serf{number:03d}", self._command(number, place))
        connections = [self._connect(place) for place in places]
        first = places[0]
        for connection in connections[1:]:
            connection.call("join", {"Existing": [first.address(0)], "Replay": False}, has_body=True)
        wait_until(
            "all Serf agents know each other",
            lambda: all(_alive(connection) == len(places) for connection in connections),
            self.processes,
            limit_s=START_LIMIT_S,
        )
        for connection in connections:
            connection.call("stream", {"Type": "user"})
        self._streams = connections
        self._publishers = [self._connect(place) for place in places[-self._plan.publishers :]]

    def listeners(self) -> Sequence[int]:
        return [stream.socket.fileno() for stream in self._streams]

    def publish(self, number: int, value: bytes) -> None:
        publisher = self._publishers[number % len(self._publishers)]
        publisher.call("event", {"Name": EVENT, "Payload": value, "Coalesce": False})

    def own_connections(self) -> Sequence[socket.socket]:
        return [connection.socket for connection in (*self._streams, *self._publishers)]

    def _command(self, number: int, place: Place) -> list[str]:
        name = f"-node=n{number:03d}"
        addresses = [f"-bind={place.address(0)}", f"-rpc-addr={place.address(1)}"]
        return [self._program, "agent", name, *addresses, "-profile=lan", "-log-level=warn"]

    def _connect(self, place: Place) -> Rpc:
        found: list[Rpc] = []

        def is_there() -> bool:
            with contextlib.suppress(ConnectionRefusedError):
                found.append(Rpc(place.host, place.ports[1]))
            return bool(found)

        wait_until(f"Serf answers at {place.address(1)}", is_there, self.processes, limit_s=START_LIMIT_S)
        found[0].call("handshake", {"Version": 1})
        return found[0]


class Rpc:
    """One RPC connection. After `stream` nothing but events comes over it."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=RPC_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unpacker = msgpack.Unpacker(raw=False, unicode_errors="replace", strict_map_key=False)
        self._sequence = 0

    def call(self, command: str, body: Mapping[str, Any], *, has_body: bool = False) -> Any:
        """Send a request; return the reply's body if the command has one. Raises BenchmarkError."""
        self._sequence += 1
        header = {"Command": command, "Seq": self._sequence}
        request = b"".join(msgpack.packb(part, use_bin_type=False) for part in (header, body) if part)
        self.socket.sendall(request)
        reply = self._next()
        if reply["Error"]:
            raise BenchmarkError(f"Serf refuses {command!r}: {reply['Error']}")
        return self._next() if has_body else None

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _next(self) -> Any:
        while True:
            for message in self._unpacker:
                return message
            data = self.socket.recv(65_536)
            if not data:
                raise BenchmarkError("Serf has closed an RPC connection")
            self._unpacker.feed(data)


def _alive(connection: Rpc) -> int:
    members = connection.call("members", {}, has_body=True)["Members"]
    return sum(member["Status"] == "alive" for member in members)


def program() -> str:
    """Serf's path. Raises BenchmarkError."""
    path = shutil.which("serf")
    if path is None:
        raise BenchmarkError("there is no program 'serf'; install Debian's package 'serf', or leave the peer out")
    return path


def _version(path: str) -> str:
    """What the package says: the program's own word lags behind it."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["dpkg-query", "--show", "--showformat=${Version}", "serf"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    return subprocess.run([path, "version"], capture_output=True, check=True, text=True).stdout.splitlines()[0]
