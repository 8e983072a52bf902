"""The target of a command: which cluster directory, which agent's socket and which key.

Knows where `init` and `pki node` put things, and the options and environment
variables that say otherwise. Opens no connection but to find an agent that answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from ..model.errors import AgentUnreachable, ConfigError
from ..trust.cluster import Cluster
from ..trust.keys import PublicKey, Signer, public_of
from .client import Client
from .passphrase import open_key
from .ssh_agent import SshAgent, choice_of

CLUSTER_FILE: Final = "cluster.gossipconf"
ADMIN_KEY: Final = Path("keys") / "admin"
ROOT_KEY: Final = Path("keys") / "root"
CA: Final = Path("ca")
NODES: Final = Path("nodes")
SOCKET: Final = Path("data") / "control.sock"

ClusterOption = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        metavar="DIR",
        envvar="GOSSIPCONF_CLUSTER",
        help=f"Cluster directory. Default: here, or the nearest directory above that has a {CLUSTER_FILE}.",
    ),
]
AgentOption = Annotated[
    Path | None,
    typer.Option(
        "--agent",
        metavar="NODE|DIR|SOCKET",
        envvar="GOSSIPCONF_AGENT",
        help="Agent to ask: a node of the cluster directory, an agent's directory or its control socket. "
        "Default: the first of the cluster that answers.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="FILE|agent[:KEY]",
        envvar="GOSSIPCONF_KEY",
        help="Private key to sign with: a file, or the ssh-agent's by its fingerprint (SHA256:…) or comment, which "
        f"may be left out if it has one. Default: {ADMIN_KEY} of the cluster directory.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Target:
    """`directory` has the cluster file; `agents` are sockets to try, in order."""

    directory: Path
    agents: Sequence[Path]

    @classmethod
    def find(cls, cluster: Path | None, agent: Path | None = None) -> Target:
        """What the two options, or their absence, mean. Raises ConfigError or AgentUnreachable."""
        directory = find_directory(cluster, agent)
        if agent is not None:
            return cls(directory, (_socket_named(directory, agent),))
        own = directory / SOCKET  # a node's directory has all that a reader needs
        return cls(directory, (own,) if own.exists() else _sockets_below(directory))

    def other(self, agent: str) -> Target:
        """The same for the one agent that is named: by the node of this cluster that it is, its socket or directory."""
        return Target(self.directory, (_socket_named(self.directory, Path(agent)),))

    def cluster(self) -> Cluster:
        """The cluster file, verified. Raises KeyFileError."""
        return Cluster.load(self.directory / CLUSTER_FILE)

    def signer(self, key: str | Path | None, passphrase_file: Path | None = None) -> Signer:
        """The key to sign with; a person may be asked for its passphrase. Raises KeyFileError or SshAgentError."""
        return signer_of(key or home(self.directory) / ADMIN_KEY, passphrase_file)

    def connect(self) -> Client:
        """A connection to the first agent that answers. Raises AgentUnreachable."""
        if not self.agents:
            node = next(iter(sorted((home(self.directory) / NODES).glob("*/agent.toml"))), None)
            start = "gossipconf agent run NODE" if node is None else f"gossipconf agent run {node.parent}"
            raise AgentUnreachable(
                f"no agent runs in {self.directory}; start one with: {start}; or name its socket with --agent"
            )
        for path in self.agents[:-1]:
            try:
                return Client(path)
            except AgentUnreachable:
                continue  # the next one may have been started
        try:
            return Client(self.agents[-1])
        except AgentUnreachable as error:
            if len(self.agents) == 1:
                raise
            raise AgentUnreachable(f"none of the {len(self.agents)} agents in {self.directory} answers") from error


def signer_of(key: str | Path, passphrase_file: Path | None = None) -> Signer:
    """What signs with the key file or ssh-agent's key that `key` names. Raises KeyFileError or SshAgentError."""
    choice = choice_of(key) if isinstance(key, str) else None
    if choice is not None:
        return SshAgent.find().signer(choice)
    return open_key(Path(key), passphrase_file).key


def public_key_of(key: str, passphrase_file: Path | None = None) -> PublicKey:
    """The public part of what `key` names, a public file too. Raises KeyFileError or SshAgentError."""
    choice = choice_of(key)
    if choice is not None:
        return SshAgent.find().key(choice)
    return public_of(Path(key), lambda path: open_key(path, passphrase_file).key)


def find_directory(cluster: Path | None, agent: Path | None = None) -> Path:
    """The directory of the cluster file: as named, else here or above, else the named agent's. Raises ConfigError."""
    if cluster is not None:
        directory = cluster.parent if cluster.name == CLUSTER_FILE else cluster
        if not (directory / CLUSTER_FILE).is_file():
            raise ConfigError(f"{directory} has no {CLUSTER_FILE}; make a cluster with: gossipconf init {directory}")
        return directory
    starts = [Path.cwd(), *([agent.absolute()] if agent is not None else [])]
    for start in starts:
        for directory in (start, *start.parents):
            if (directory / CLUSTER_FILE).is_file():
                return directory
    raise ConfigError(
        f"no {CLUSTER_FILE} here or in a directory above; name the cluster's directory with --cluster, "
        "or make a cluster with: gossipconf init DIR"
    )


def home(directory: Path) -> Path:
    """The cluster directory in which `directory`, a node's own, lies; else `directory` itself."""
    above = directory.absolute().parent
    if above.name == NODES.name and (above.parent / CLUSTER_FILE).is_file():
        return above.parent
    return directory


def _socket_named(directory: Path, agent: Path) -> Path:
    node = home(directory) / NODES / agent
    return _socket_of(node if node.is_dir() else agent)


def _socket_of(agent: Path) -> Path:
    if not agent.is_dir():
        return agent
    inner = agent / SOCKET
    return inner if inner.exists() or not (agent / SOCKET.name).exists() else agent / SOCKET.name


def _sockets_below(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted((home(directory) / NODES).glob(f"*/{SOCKET}")))
