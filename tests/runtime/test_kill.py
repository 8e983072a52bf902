"""kill -9 of real agents while an admin publishes: no acknowledged change is lost.

An acknowledged change is live or in history afterwards, with its value. A publish whose
acknowledgement was lost with the agent may be either there or not. The kills come at
random moments; the seed decides which publishes they fall into, and is printed.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.runtime.control_socket import short_path
from gossipconf.trust.signing import Reservation, compose

from .cluster import ADMIN, NOW_MS, Site

PUBLISHES = 200
KILLS = 10
KEYS = 7
PROGRAM = """
import sys
from pathlib import Path
from gossipconf.runtime import process, settings
process.run(settings.load(Path(sys.argv[1])), lambda running: print("ready", flush=True))
"""


class HungUp(Exception):
    """The agent has gone while it was asked."""


@dataclass
class Process:
    """An agent in a process of its own, with its settings file."""

    site: Site
    data: Path
    name: str
    join: list[str] = field(default_factory=list)
    popen: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start (again), and wait until it serves."""
        files = self.site.certificate(self.name)
        self.data.mkdir(exist_ok=True)
        config = self.data / "agent.toml"
        options = {
            "node": self.name,
            "listen": "127.0.0.1:0",
            "cluster": str(self.site.file),
            "private_key": str(files.key),
            "certificate": str(files.certificate),
            "ca": str(files.ca),
            "data": str(self.data / "data"),
        }
        lines = [f'{name} = "{value}"' for name, value in options.items()]
        config.write_text("\n".join([*lines, f"join = {self.join!r}"]) + "\n")
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(config)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == "ready\n", "the agent did not start"

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.reap(-signal.SIGKILL)

    def stop(self) -> None:
        assert self.popen is not None
        self.popen.terminate()
        self.reap(0)

    def reap(self, expected: int) -> None:
        assert self.popen is not None
        assert self.popen.stdout is not None
        assert self.popen.wait(timeout=60) == expected
        self.popen.stdout.close()
        self.popen = None

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """A request over a fresh connection. Raises HungUp if the agent goes before its answer."""
        try:
            with (
                socket.socket(socket.AF_UNIX) as connection,
                short_path(self.data / "data" / "control.sock") as name,
            ):
                connection.settimeout(60)
                connection.connect(name)
                body = msgpack.packb({"op": op, **fields})
                connection.sendall(len(body).to_bytes(4, "big") + body)
                stream = connection.makefile("rb")
                head = stream.read(4)
                reply = stream.read(int.from_bytes(head, "big"))
                if len(head) < 4 or len(reply) < int.from_bytes(head, "big"):
                    raise HungUp
        except (ConnectionError, FileNotFoundError) as error:
            raise HungUp from error
        return msgpack.unpackb(reply)


def publish(agent: Process, site: Site, key: str, value: bytes) -> Change:
    """One publish as an admin does it; returns once acknowledged."""
    reply = agent.ask("reserve", signer=ADMIN.public, slots=[[key, ""]])
    assert reply["ok"], reply
    change = compose(
        [put(key, value)],
        [Change.decode(part, site.cluster_id) for part in reply["replaced"]],
        chain=site.cluster.chain(),
        signer=ADMIN,
        reservation=Reservation(reply["incarnation"], reply["seq"]),
        now_ms=NOW_MS,
    )
    reply = agent.ask("publish", change=change.encode())
    assert reply["ok"], reply
    return change


def held(agent: Process, site: Site) -> dict[bytes, bytes | None]:
    """Every version that is live or in history, by change: its value."""
    found = {}
    for number in range(KEYS):
        log = agent.ask("log", key=f"k/{number}", limit=1_000)
        assert log["next"] is None
        for data, _ in (part for one in log["changes"] for part in one["parts"]):
            change = Change.decode(data, site.cluster_id)
            site.cluster.chain().judge(change)
            found[change.id] = change.entries[0][1].value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("neighbours", [0, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_acknowledged_change_is_lost(tmp_path: Path, neighbours: int, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    site = Site(tmp_path / "site")
    peers: list[Process] = []
    processes: list[Process] = []
    try:
        for number in range(neighbours):
            join = [peer.ask("info")["address"] for peer in peers]
            peer = Process(site, tmp_path / f"peer{number}", f"peer{number}", join)
            processes.append(peer)
            peer.start()
            peers.append(peer)
        victim = Process(site, tmp_path / "victim", "victim", [peer.ask("info")["address"] for peer in peers])
        processes.append(victim)
        victim.start()
        acknowledged, kills = _publish_under_fire(victim, site, rng)
        victim.kill()
        victim.start()
        found = held(victim, site)
        lost = {change_id.hex()[:8] for change_id in acknowledged if change_id not in found}
        assert lost == set(), f"{len(lost)} of {len(acknowledged)} acknowledged changes are lost"
        assert {change_id: found[change_id] for change_id in acknowledged} == acknowledged
        assert len(acknowledged) == PUBLISHES
        assert kills >= KILLS
        victim.stop()
        victim.start()
        assert held(victim, site) == found
        for process in processes:
            process.stop()
    finally:
        for process in processes:
            if process.popen is not None:
                process.popen.kill()
                process.popen.wait()
                assert process.popen.stdout is not None
                process.popen.stdout.close()


def _publish_under_fire(victim: Process, site: Site, rng: random.Random) -> tuple[dict[bytes, bytes], int]:
    """Publish PUBLISHES values one after another, whatever happens; what was acknowledged, and the kills."""
    acknowledged: dict[bytes, bytes] = {}
    doomed = set(rng.sample(range(PUBLISHES), KILLS))
    kills = 0
    number = 0
    while number < PUBLISHES:
        shot = None
        if number in doomed:
            doomed.discard(number)
            assert victim.popen is not None
            shot = threading.Timer(rng.uniform(0, 0.03), victim.popen.kill)
            shot.start()
        try:
            while True:  # under fire go on until it falls, so that the shot can fall anywhere in a publish
                value = f"{number}".encode()
                change = publish(victim, site, f"k/{rng.randrange(KEYS)}", value)
                acknowledged[change.id] = value
                number += 1
                if shot is None or number == PUBLISHES:
                    break
        except HungUp:
            assert shot is not None, "the agent fell without a shot"
        if shot is not None:
            shot.join()
            victim.reap(-signal.SIGKILL)
            kills += 1
            victim.start()
            doomed = {max(doomed_number, number) for doomed_number in doomed}
            while len(doomed) < KILLS - kills and len(doomed) < PUBLISHES - number:
                doomed.add(rng.randrange(number, PUBLISHES))
    return acknowledged, kills
