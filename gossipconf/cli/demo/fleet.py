"""The fleet: the demo's agents as processes, and what they are seen to do.

Knows directories, processes and signals, and how to wait until the agents' own
answers show something. Knows nothing of the story.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from ...model import entry as entries
from ...model.errors import ConfigError
from ...runtime.address import format_address
from ...runtime.settings import SETTINGS_FILE
from ...trust.cluster import Cluster
from ...trust.keys import load_signer
from ..client import Client
from ..files.value import TypedValue
from ..item import Item
from ..operate import init, pki
from ..session import Session
from ..target import ADMIN_KEY, CLUSTER_FILE, NODES, SOCKET
from .relay import Place
from .report import ClaimFailed
from .sight import Looker, Sight

CLOSE_PACE_S: Final = 0.004
"""Pause between two looks at an agent while something is measured."""
IDLE_PACE_S: Final = 0.1
"""The same while nothing is: the machine's processors are for the agents."""
LIMIT_S: Final = 20.0
"""How long anything may take that is expected; a slow machine needs some of it, a fault all of it."""
FAREWELL_S: Final = 4.0
"""How long an agent may take to stop before it is killed: longer than an agent's own farewell."""
LOG_FILE: Final = "agent.log"
LOG_TAIL_LINES: Final = 6

Sights = Mapping[str, Sight | None]


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """An agent to be made: where it is, in which zone, and the relay's address for it."""

    place: Place
    zone: str
    address: str


def free_places(nodes: Sequence[str], network: str = "127.0.1") -> list[Place]:
    """A place for each node: `network`.1, .2 and so on, with a port that is free now. Raises ConfigError."""
    places = []
    for number, node in enumerate(nodes, 1):
        host = f"{network}.{number}"
        with socket.socket() as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                raise ConfigError(
                    f"the demo gives each agent a loopback address of its own, and {host} cannot be used here "
                    f"({error.strerror}); Linux has them all, on macOS run the demo in a container"
                ) from None
            places.append(Place(node, host, probe.getsockname()[1]))
    return places


class Fleet:
    """Agents below `directory`, a cluster directory as `gossipconf init` makes it.

    `run` looks at them all the time, with an eye on `key`; `end` stops every process, whatever has happened.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self.directory = directory
        self._key = key
        self.sights: dict[str, Sight | None] = {}
        self._processes: dict[str, trio.Process] = {}
        self._watchers = 0
        self._hurry = trio.Event()
        self._changed = trio.Event()

    # -- making -----------------------------------------------------------------------------------

    def make(self, name: str, plans: Sequence[AgentPlan]) -> None:
        """Found the cluster and make a directory for each agent, by the code of `init` and `pki node`.

        Raises what these raise, such as InvalidInput for a directory that is not empty.
        """
        with contextlib.redirect_stdout(io.StringIO()):  # what they would tell a person does not fit the story
            init.init(self.directory, name=name)
            for plan in plans:
                place = plan.place
                pki.make_node(
                    place.node,
                    listen=format_address(place.host, place.port),
                    advertise=plan.address,
                    join=[other.address for other in plans if other is not plan],
                    zone=plan.zone,
                    cluster=self.directory,
                )
                with (self._home(place.node) / SETTINGS_FILE).open("a", encoding="utf-8") as file:
                    file.write(f'source_host = "{place.host}"\n')
        self.sights = {plan.place.node: None for plan in plans}

    @property
    def nodes(self) -> tuple[str, ...]:
        """All agents, running or not."""
        return tuple(self.sights)

    def socket_of(self, node: str) -> Path:
        """An agent's control socket."""
        return self._home(node) / SOCKET

    def is_running(self, node: str) -> bool:
        """Whether its process has been started and not been ended by us."""
        return node in self._processes

    def pids(self) -> dict[str, int]:
        """The process ids of the agents that run."""
        return {node: process.pid for node, process in self._processes.items()}

    def _home(self, node: str) -> Path:
        return self.directory / NODES / node

    # -- processes --------------------------------------------------------------------------------

    async def start(self, node: str) -> float:
        """Start an agent's process; the moment (trio's clock) before it."""
        moment_s = trio.current_time()
        with (self._home(node) / LOG_FILE).open("ab") as log:
            self._processes[node] = await trio.lowlevel.open_process(
                [sys.executable, "-m", "gossipconf.cli", "agent", "run", str(self._home(node))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends the agents itself
            )
        return moment_s

    async def kill(self, node: str) -> None:
        """kill -9."""
        process = self._processes.pop(node)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        self.sights[node] = None

    def wipe(self, node: str) -> None:
        """Take away the disk of an agent that does not run: its journal and all else in its data directory."""
        assert node not in self._processes
        shutil.rmtree((self._home(node) / SOCKET).parent)

    async def end(self) -> None:
        """End every process that was started: SIGTERM, then SIGKILL."""
        with trio.CancelScope(shield=True):
            for process in self._processes.values():
                process.send_signal(signal.SIGTERM)
            with trio.move_on_after(FAREWELL_S):
                for process in self._processes.values():
                    await process.wait()
            for process in self._processes.values():
                process.kill()  # does nothing to one that has ended
                await process.wait()
            self._processes.clear()

    def log_tails(self) -> Iterator[tuple[Path, list[str]]]:
        """The last lines of each agent's log."""
        for node in self.nodes:
            path = self._home(node) / LOG_FILE
            if path.exists():
                yield path, path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]

    # -- looking ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at every agent until cancelled."""
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(self._watch, node)

    @contextlib.contextmanager
    def closely(self) -> Iterator[None]:
        """Look often in here."""
        self._watchers += 1
        self._hurry.set()
        self._hurry = trio.Event()
        try:
            yield
        finally:
            self._watchers -= 1

    async def until(self, claim: str, condition: Callable[[Sights], bool], *, limit_s: float = LIMIT_S) -> float:
        """Wait until the agents' answers meet `condition`; the moment (trio's clock) of the one that did.

        Raises ClaimFailed, with what was seen last, after `limit_s`, or if an agent ends by itself.
        """
        with self.closely(), trio.move_on_after(limit_s):
            while not condition(self.sights):
                self._check_alive(claim)
                await self._changed.wait()
            return max((sight.at_s for sight in self.sights.values() if sight), default=trio.current_time())
        seen = "; ".join(f"{node}: {_in_words(sight)}" for node, sight in self.sights.items())
        raise ClaimFailed(f"not true within {limit_s:g} s: {claim} ({seen})")

    def _check_alive(self, claim: str) -> None:
        for node, process in self._processes.items():
            if process.poll() is not None:
                raise ClaimFailed(f"not true: {claim}: agent {node} has ended by itself (code {process.returncode})")

    async def _watch(self, node: str) -> None:
        while True:
            try:
                async with Looker(self.socket_of(node), self._key) as looker:
                    while True:
                        self._saw(node, await looker.look())
                        await self._pause()
            except (OSError, trio.BrokenResourceError):
                self._saw(node, None)  # not started yet, or gone
            await self._pause()

    def _saw(self, node: str, sight: Sight | None) -> None:
        process = self._processes.get(node)
        if sight is not None and (process is None or process.pid != sight.pid):
            sight = None  # a late answer of a process that has been killed since
        self.sights[node] = sight
        self._changed.set()
        self._changed = trio.Event()

    async def _pause(self) -> None:
        if self._watchers:
            await trio.sleep(CLOSE_PACE_S)
        else:
            with trio.move_on_after(IDLE_PACE_S):
                await self._hurry.wait()

    # -- reading and publishing, verified ---------------------------------------------------------

    async def read(self, node: str) -> dict[str, Item]:
        """Everything that an agent's readers see, every signature and proof verified against the cluster file."""

        def read_all() -> dict[str, Item]:
            with self._session(node) as session:
                return {item.key: item for item in session.items("")}

        return await trio.to_thread.run_sync(read_all, abandon_on_cancel=True)

    async def publish(self, node: str, values: Mapping[str, TypedValue], comment: str) -> float:
        """Sign one change of `values` and hand it to an agent; the moment (trio's clock) at which it is on its disk."""
        puts = [entries.put(key, value, kind) for key, (kind, value) in values.items()]

        def sign_and_publish() -> None:
            signer = load_signer(self.directory / ADMIN_KEY)
            with self._session(node) as session:
                session.publish(puts, signer, comment=comment)

        await trio.to_thread.run_sync(sign_and_publish, abandon_on_cancel=True)
        return trio.current_time()

    @contextlib.contextmanager
    def _session(self, node: str) -> Iterator[Session]:
        cluster = Cluster.load(self.directory / CLUSTER_FILE)
        with Client(self.socket_of(node)) as client:
            yield Session(client, cluster)


def _in_words(sight: Sight | None) -> str:
    if sight is None:
        return "does not answer"
    return f"{sight.keys} keys, {sight.root.hex()[:8]}, linked to {' '.join(sight.peers) or 'nobody'}"
