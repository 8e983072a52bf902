"""etcd: members at their defaults, and for each agent an `etcdctl watch`, a process with a connection of its own.

The watchers are shared out among the members. Publishing is a put over the JSON gateway of a member, on a connection
that stays.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Sequence
from typing import Final

from .errors import BenchmarkError
from .places import Place, free_places
from .plan import Plan
from .processes import Processes, wait_until

PREFIX: Final = "bench/"
KEYS: Final = 16
"""As many as gossipconf's publishers write in turn."""
TIMEOUT_S: Final = 10.0
START_LIMIT_S: Final = 60.0


class Etcd:
    """Of the System protocol. Its kinds of processes: watcher, which is the agent here, and member."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.processes = processes
        self._plan = plan
        self._server, self._client = programs()
        self.version = _version(self._server)
        self.agent_kind = "watcher"
        self._pipes: list[int] = []
        self._publishers: list[http.client.HTTPConnection] = []

    def start(self) -> None:
        places = free_places(self._plan.etcd_members, ports=2)
        for number in range(len(places)):
            self.processes.start("member", f"etcd{number}", self._command(number, places))
        for place in places:
            wait_until(
                f"etcd is ready at {place.address(0)}",
                lambda place=place: _is_ready(place),
                self.processes,
                limit_s=START_LIMIT_S,
            )
        for number in range(self._plan.agents):
            endpoint = f"--endpoints=http://{places[number % len(places)].address(0)}"
            command = [self._client, endpoint, "watch", "--prefix", PREFIX]
            watcher = self.processes.start(
                "watcher", f"watch{number:03d}", command, environment={"ETCDCTL_API": "3"}, piped=True
            )
            assert watcher.stdout is not None
            self._pipes.append(watcher.stdout.fileno())
        for number in range(self._plan.publishers):
            place = places[number % len(places)]
            connection = http.client.HTTPConnection(place.host, place.ports[0], timeout=TIMEOUT_S)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._publishers.append(connection)

    def listeners(self) -> Sequence[int]:
        return self._pipes

    def publish(self, number: int, value: bytes) -> None:
        turn, publisher = divmod(number, len(self._publishers))
        key = f"{PREFIX}{publisher}/{turn % KEYS}".encode()
        body = json.dumps({"key": _base64(key), "value": _base64(value)})
        connection = self._publishers[publisher]
        connection.request("POST", "/v3/kv/put", body)
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != http.client.OK:
            raise BenchmarkError(f"etcd refuses a put: {text.decode(errors='replace')}")

    def own_connections(self) -> Sequence[socket.socket]:
        return [connection.sock for connection in self._publishers]

    def _command(self, number: int, places: Sequence[Place]) -> list[str]:
        client, peer = (f"http://{places[number].address(port)}" for port in (0, 1))
        cluster = ",".join(f"m{other}=http://{place.address(1)}" for other, place in enumerate(places))
        options = {
            "name": f"m{number}",
            "data-dir": str(self._plan.directory / f"m{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "initial-cluster-state": "new",
        }
        return [self._server, *(f"--{name}={value}" for name, value in options.items())]


def _is_ready(place: Place) -> bool:
    connection = http.client.HTTPConnection(place.host, place.ports[0], timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        reply = connection.getresponse()
        return reply.status == http.client.OK and json.loads(reply.read())["health"] == "true"
    except OSError:
        return False
    finally:
        connection.close()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def programs() -> tuple[str, str]:
    """The paths of etcd and etcdctl. Raises BenchmarkError."""
    found = {name: shutil.which(name) for name in ("etcd", "etcdctl")}
    for name, package in (("etcd", "etcd-server"), ("etcdctl", "etcd-client")):
        if found[name] is None:
            raise BenchmarkError(
                f"there is no program {name!r}; install Debian's package {package!r}, or leave the peer out"
            )
    return str(found["etcd"]), str(found["etcdctl"])


def _version(path: str) -> str:
    output = subprocess.run([path, "--version"], capture_output=True, check=True, text=True).stdout
    return output.splitlines()[0].rpartition(" ")[2]
