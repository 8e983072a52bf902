"""Directories of configuration files to load, and a cluster to talk to."""

from __future__ import annotations

import io
import logging
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from gossipconf.cli.client import Client
from gossipconf.cli.files.documents import load
from gossipconf.cli.item import Item
from gossipconf.cli.main import main
from gossipconf.cli.session import Session, open_session
from gossipconf.cli.target import Target
from gossipconf.model.errors import InvalidInput
from gossipconf.runtime.agent import Agent
from gossipconf.runtime.settings import load as load_settings
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.keys import Signer, load_signer
from gossipconf.trust.policy import Role

from .fake_agent import CLUSTER as FAKE_CLUSTER
from .fake_agent import FakeAgent


@pytest.fixture
def write(tmp_path):
    """Write files below a fresh directory and return the directory."""

    def write_files(**files: str | bytes) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return lambda files: write_files(**files)


@pytest.fixture
def entries(write):
    """The entries of one file, below the prefix `f`."""
    return lambda suffix, content: dict(load(write({f"f{suffix}": content}) / f"f{suffix}").entries)


@pytest.fixture
def refusal(write):
    """The message with which a directory of files is refused."""

    def message(files: dict[str, str | bytes], error: type[InvalidInput] = InvalidInput) -> str:
        directory = write(files)
        with pytest.raises(error) as caught:
            load(directory)
        assert type(caught.value) is error
        return str(caught.value).replace(f"{directory}/", "")

    return message


# -- an agent that says what a test wants ----------------------------------------------------------


@pytest.fixture
def agent(tmp_path):
    fake = FakeAgent(tmp_path / "control.sock")
    yield fake
    fake.stop()


@pytest.fixture
def session(agent):
    with Client(agent.path) as client:
        yield Session(client, FAKE_CLUSTER)


# -- a cluster of one agent -----------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What one command did."""

    code: int
    stdout: bytes
    err: str

    @property
    def out(self) -> str:
        return self.stdout.decode()


def command(*arguments: str) -> int:
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code or 0


@pytest.fixture
def run(capsysbinary, monkeypatch):
    """Run a command; `stdin` is what it reads, and no terminal."""

    def call(*arguments: str | Path, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = command(*arguments)
        captured = capsysbinary.readouterr()
        return Result(code, captured.out, captured.err.decode())

    for name in ("GOSSIPCONF_CLUSTER", "GOSSIPCONF_AGENT", "GOSSIPCONF_KEY", "GOSSIPCONF_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    logger = logging.getLogger("gossipconf")
    before = logger.handlers[:], logger.level, logger.propagate
    yield call
    logger.handlers[:], logger.propagate = before[0], before[2]  # `agent run` has its own
    logger.setLevel(before[1])


class AgentThread:
    """A real agent on trio in a thread of its own; `start` returns once it can be asked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)  # a set-up that fails must end, not hang

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._token.run_sync_soon(self._agent.stop)
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self._failure is None

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._agent = Agent(load_settings(self._directory))
        async with trio.open_nursery() as nursery:
            await nursery.start(self._agent.run)
            self._ready.set()


@pytest.fixture(scope="session")
def cluster_directory(tmp_path_factory):
    """A cluster with one running agent, `a`; its admin key may write all keys. Tests use keys of their own."""
    directory = tmp_path_factory.mktemp("c") / "shop"
    assert command("init", directory) == 0
    assert command("pki", "node", "a", "--listen", "127.0.0.1:0", "--cluster", directory) == 0
    agent = AgentThread(directory / "nodes" / "a")
    agent.start()
    yield directory
    agent.stop()


@pytest.fixture
def cluster(cluster_directory, monkeypatch, run):
    """The cluster's directory, and the working directory in it."""
    monkeypatch.chdir(cluster_directory)
    return cluster_directory


# -- a cluster in which nobody decides alone ------------------------------------------------------

ROOTS = ("root", "root-b", "root-c")
PAYERS = ("dave", "erin", "frank")


@pytest.fixture(scope="session")
def quorum_directory(tmp_path_factory):
    """Three roots of which two must sign, three payers of which two must under `pay`; agents `a` and, from it, `b`."""
    directory = tmp_path_factory.mktemp("q") / "bank"
    assert command("init", directory) == 0
    (directory / "cluster.gossipconf").unlink()
    signers = {name: Signer.generate() for name in (*ROOTS[1:], *PAYERS)}
    for name, signer in signers.items():
        signer.save(directory / "keys" / name)
    signers |= {name: load_signer(directory / "keys" / name) for name in ("root", "admin")}
    roles = [
        Role("admins", (signers["admin"].public,), ("shop",)),
        Role("payments", tuple(sorted(signers[name].public for name in PAYERS)), ("pay",), approvals=2),
    ]
    roots = [signers[name] for name in ROOTS]
    cluster = found_cluster("bank", roots, roles, threshold=2, now_ms=1_000, salt=bytes(16))
    cluster.save(directory / "cluster.gossipconf")
    shutil.rmtree(directory / "ca")
    assert command("pki", "ca", "--cluster", directory) == 0
    agents = []
    join: tuple[str, ...] = ()
    for name in ("a", "b"):
        assert command("pki", "node", name, "--listen", "127.0.0.1:0", *join, "--cluster", directory) == 0
        agents.append(AgentThread(directory / "nodes" / name))
        agents[-1].start()
        with open_session(Target.find(directory, directory / "nodes" / name)) as session:
            join = ("--join", session.info["address"])
    yield directory
    for agent in agents:
        agent.stop()


@pytest.fixture
def quorum(quorum_directory, monkeypatch, run):
    """The cluster's directory, and the working directory in it; commands ask agent `a`."""
    monkeypatch.chdir(quorum_directory)
    monkeypatch.setenv("GOSSIPCONF_AGENT", str(quorum_directory / "nodes" / "a"))
    return quorum_directory


def wait_at(directory: Path, name: str, key: str, condition: Callable[[Item], bool]) -> Item:
    """What agent `name` has at `key`, once that is as it should be; it is looked at whenever it changes there."""
    with (
        open_session(Target.find(directory, directory / "nodes" / name)) as session,
        Client(session._client.path) as stream,
    ):
        changes = stream.watch(key)
        while not condition(item := session.get(key)):
            next(changes)
        return item


class Agents:
    """A cluster of one root and one admin of everything; its agents run in threads, and can be apart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: dict[str, AgentThread] = {}
        assert command("init", directory) == 0
        self._join: tuple[str, ...] = ()

    def add(self, name: str) -> None:
        """Make a node and start it."""
        self.make(name)
        self.start(name)

    def make(self, name: str) -> None:
        """Make a node, which joins the one whose address is settled."""
        assert command("pki", "node", name, "--listen", "127.0.0.1:0", *self._join, "--cluster", self.directory) == 0

    def settle_address(self, name: str, address: str) -> None:
        """The port that an agent was given is its own from now on, and others join by it."""
        toml = self.directory / "nodes" / name / "agent.toml"
        toml.write_text(toml.read_text().replace('"127.0.0.1:0"', f'"{address}"'))
        self._join = ("--join", address)

    def address(self, name: str) -> str:
        """Where a running agent is reached."""
        with open_session(Target.find(self.directory, self.directory / "nodes" / name)) as session:
            return str(session.info["address"])

    def start(self, name: str) -> None:
        self.running[name] = AgentThread(self.directory / "nodes" / name)
        self.running[name].start()

    def stop(self, name: str) -> None:
        self.running.pop(name).stop()

    def stop_all(self) -> None:
        for name in list(self.running):
            self.stop(name)

    def wait(self, name: str, key: str, value: bytes | None = None) -> None:
        """Until agent ``name`` has something at ``key``, or ``value``."""
        wait_at(
            self.directory,
            name,
            key,
            lambda item: bool(item.default if value is None else item.default and item.default.entry.value == value),
        )


@pytest.fixture
def agents(tmp_path, run):
    """A cluster whose agents a test makes and stops itself; what still runs at the end is stopped."""
    made = Agents(tmp_path / "shop")
    yield made
    made.stop_all()
