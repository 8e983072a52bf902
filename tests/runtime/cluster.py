"""What the tests of running agents are told in: a site, its agents, its admin, and a peer driven by hand.

A `Site` has a cluster file and a CA; a `Fleet` runs agents of it in this process, with
real sockets and disks. Nothing sleeps: each input of any agent rings one bell, and
`until` looks again at each ring.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, put
from gossipconf.model.hashing import HASH_BYTES
from gossipconf.protocol.frames import FrameClass, FrameDecoder, encode_frames
from gossipconf.protocol.messages import NONCE_BYTES, Goodbye, Hello, Message, decode_message, encode_message
from gossipconf.runtime.address import parse_address
from gossipconf.runtime.agent import Agent
from gossipconf.runtime.control_socket import short_path
from gossipconf.runtime.discovery import LookUp
from gossipconf.runtime.pki import NodeFiles, client_context, create_ca, issue_node
from gossipconf.runtime.settings import AgentSettings
from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import Reservation, compose

HANG_S = 20
"""Only ends a hang; no test waits for it."""
NOW_MS = 1_700_000_000_000

ROOT, ADMIN, CLERK, STRANGER, KEEPER = (Signer.from_seed(bytes([number]) * 32) for number in range(1, 6))
"""ADMIN may write everything, CLERK only under `shop`, STRANGER nothing; KEEPER signs snapshots."""


class Bell:
    """Rings at each input of any agent."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = trio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(HANG_S):
            while not condition():
                await self._rung.wait()


class WatchedAgent(Agent):
    """An agent whose inputs ring a bell."""

    def __init__(self, settings: AgentSettings, bell: Bell, look_up: LookUp | None = None) -> None:
        super().__init__(settings, look_up=look_up)
        self.finished = trio.Event()
        self.scope = trio.CancelScope()
        self._bell = bell

    def _input(self, action: Callable[[], None]) -> None:
        super()._input(action)
        self._bell.ring()

    @property
    def address(self) -> str:
        return self.node.identity.address

    def value(self, key: str) -> bytes | None:
        """What a reader gets."""
        versions = self.reads.versions(key)
        return versions[0].entry.value if versions else None

    def shown(self) -> dict[str, list[bytes]]:
        """The versions of each key that readers see."""
        return {key: [version.id for version in self.reads.versions(key)] for key, _ in self.reads._slots}

    def values(self) -> dict[str, bytes | None]:
        return {key: self.value(key) for key in list(self.reads.keys())}


class Site:
    """A cluster file, a CA, and certificates made once."""

    ADMIN_PREFIXES: tuple[str, ...] = ("",)

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        roles = [Role("admins", (ADMIN.public,), self.ADMIN_PREFIXES), Role("clerks", (CLERK.public,), ("shop",))]
        roles.append(Role("keepers", (KEEPER.public,), ("",), ("snapshot",)))
        self.cluster: Cluster = found_cluster("shop", [ROOT], roles, threshold=1, now_ms=1, salt=bytes(16))
        self.cluster_id = self.cluster.genesis.cluster_id
        self.file = directory / "cluster.gossipconf"
        self.cluster.save(self.file)
        create_ca(directory / "ca", self.cluster_id)

    def certificate(self, name: str) -> NodeFiles:
        directory = self.directory / name
        if not directory.exists():
            return issue_node(self.directory / "ca", name, directory)
        return NodeFiles.inside(directory)

    def settings(self, name: str, data: Path, join: Sequence[str] = (), **options: Any) -> AgentSettings:
        known: dict[str, Any] = {"listen": ("127.0.0.1", 0), "join": tuple(join)} | options
        return AgentSettings(name, cluster=self.file, files=self.certificate(name), data=data, **known)


class Fleet:
    """Agents of one site in one nursery; `data` has a directory for each."""

    AGENT = WatchedAgent

    def __init__(self, site: Site, data: Path, nursery: trio.Nursery) -> None:
        self.site = site
        self.data = data
        self.bell = Bell()
        self._nursery = nursery

    async def start(
        self, name: str, *join: WatchedAgent | str, look_up: LookUp | None = None, **options: Any
    ) -> WatchedAgent:
        """Start (again) the agent ``name``, with seeds; returns once it serves."""
        seeds = [one if isinstance(one, str) else one.address for one in join]
        data = options.pop("data", self.data / name)
        agent = self.AGENT(self.site.settings(name, data, seeds, **options), self.bell, look_up)
        await self._nursery.start(_run, agent)
        return agent

    async def stop(self, *agents: WatchedAgent) -> None:
        """End gracefully."""
        with trio.fail_after(HANG_S):
            for agent in agents:
                agent.stop()
            for agent in agents:
                await agent.finished.wait()

    async def kill(self, agent: WatchedAgent) -> None:
        """End at once: no goodbye, nothing flushed."""
        agent.scope.cancel()
        await agent.finished.wait()

    async def until(self, condition: Callable[[], object]) -> None:
        await self.bell.until(condition)

    async def linked(self, *agents: WatchedAgent) -> None:
        """Wait until each of ``agents`` has a link to each other one."""
        names = {agent.settings.node for agent in agents}
        await self.until(
            lambda: all(
                names - {agent.settings.node} <= {link.node_id for link in agent.node.links()} for agent in agents
            )
        )

    async def settled(self, *agents: WatchedAgent) -> None:
        """Wait until all hold the same set and their readers see it."""
        await self.until(
            lambda: (
                len({agent.node.root for agent in agents}) == 1
                and all(agent.shown() == live(agent) for agent in agents)
            )
        )


async def _run(agent: WatchedAgent, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    try:
        with agent.scope:
            await agent.run(task_status=task_status)
    finally:
        agent.finished.set()


def live(agent: WatchedAgent) -> dict[str, list[bytes]]:
    """What the replicated state says, whether it is on disk or not: each key's versions."""
    found: dict[str, list[bytes]] = {}
    for (key, _), versions in sorted(agent.node.replica.live.slots().items()):
        found.setdefault(key, []).extend(version.id for version in versions)
    return found


@contextlib.asynccontextmanager
async def fleet_of(site: Site, data: Path, kind: type[Fleet] = Fleet) -> AsyncIterator[Fleet]:
    """A fleet whose agents are killed at the end of the block."""
    async with trio.open_nursery() as nursery:
        yield kind(site, data, nursery)
        nursery.cancel_scope.cancel()


# -- the admin ------------------------------------------------------------------------------------


def prepare(
    agent: WatchedAgent, *entries: Entry, signer: Signer = ADMIN, reservation: Reservation | None = None
) -> Change:
    """Sign a change that replaces what ``agent`` has in these slots."""
    slots = [entry.slot for entry in entries]
    live = agent.node.replica.live
    replaced = []
    for slot in slots:
        for version in live.slot(slot):
            part = live.part(version.change_id)
            assert part is not None
            replaced.append(part.restrict((version.index,)))
    return compose(
        entries,
        replaced,
        chain=agent.node.replica.chain,
        signer=signer,
        reservation=reservation or agent.reserve(signer.public, slots),
        now_ms=NOW_MS,
    )


async def publish(agent: WatchedAgent, key: str, value: bytes) -> Change:
    """Put one value; returns once it is acknowledged."""
    return await publish_entries(agent, put(key, value))


async def publish_entries(agent: WatchedAgent, *entries: Entry) -> Change:
    """Publish one change; returns once it is acknowledged."""
    change = prepare(agent, *entries)
    with trio.fail_after(HANG_S):
        await agent.publish(change)
    return change


class Asker:
    """One connection to an agent's control socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """A request and its reply."""
        await self.send(msgpack.packb({"op": op, **fields}))
        reply = await self.reply()
        assert reply is not None, "the agent has hung up"
        return reply

    async def send(self, body: bytes) -> None:
        await self.stream.send_all(len(body).to_bytes(4, "big") + body)

    async def reply(self) -> dict[str, Any] | None:
        """The next reply, or None at the end."""
        with trio.fail_after(HANG_S):
            head = await self._exactly(4)
            if head is None:
                return None
            body = await self._exactly(int.from_bytes(head, "big"))
        assert body is not None
        return msgpack.unpackb(body)

    async def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            chunk = await self.stream.receive_some(count - len(data))
            if not chunk:
                return None
            data += chunk
        return data


@contextlib.asynccontextmanager
async def asking(agent: WatchedAgent) -> AsyncIterator[Asker]:
    """A connection to the control socket of ``agent``."""
    with short_path(agent.settings.control_socket) as name:
        stream = await trio.open_unix_socket(name)
    async with stream:
        yield Asker(stream)


# -- a peer driven by hand ------------------------------------------------------------------------


class RawPeer:
    """A program with a valid certificate that says what the test wants."""

    def __init__(self, site: Site, name: str, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.name = name
        self.stream = stream
        self.goodbye = ""
        self._site = site
        self._decoder = FrameDecoder()
        self._inbox: deque[Message] = deque()

    def hello(self, **fields: Any) -> Hello:
        """An honest hello, but for ``fields``."""
        honest = Hello(1, 1, 0, self._site.cluster_id, self.name, bytes(NONCE_BYTES), "", "", "raw")
        return replace(honest, **fields)

    async def greet(self) -> None:
        """Say hello, and wait for theirs."""
        await self.send(self.hello())
        await self.expect(Hello)

    async def send(self, *messages: Message) -> None:
        """Send messages as an honest peer would."""
        for message in messages:
            await self.send_payload(message.CLASS, encode_message(message))

    async def send_payload(self, frame_class: FrameClass, payload: bytes) -> None:
        """Send any bytes as one message."""
        await self.send_bytes(b"".join(encode_frames(frame_class, payload)))

    async def send_bytes(self, data: bytes) -> None:
        """Send any bytes; silent if the agent has hung up."""
        with trio.fail_after(HANG_S), contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)

    async def next(self) -> Message | None:
        """The next message that the agent sends, or None once it has hung up."""
        with trio.fail_after(HANG_S):
            while not self._inbox:
                try:
                    data = await self.stream.receive_some(65_536)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return None
                if not data:
                    return None
                for _, payload in self._decoder.feed(data):
                    message = decode_message(payload)
                    assert message is not None
                    self._inbox.append(message)
        message = self._inbox.popleft()
        if isinstance(message, Goodbye):
            self.goodbye = message.reason
        return message

    async def expect(self, kind: type[Any], condition: Callable[[Any], bool] = lambda message: True) -> Any:
        """Skip to the next message of ``kind``."""
        while (message := await self.next()) is not None:
            if isinstance(message, kind) and condition(message):
                return message
        raise AssertionError(f"the agent has hung up ({self.goodbye!r}) before it sent a {kind.__name__}")

    async def end(self) -> str:
        """Read until the agent hangs up; the reason that it gave, or ""."""
        while await self.next() is not None:
            pass
        return self.goodbye


@contextlib.asynccontextmanager
async def raw_peer(site: Site, name: str, agent: WatchedAgent) -> AsyncIterator[RawPeer]:
    """A connection to ``agent`` under the certificate of ``name``, before any hello."""
    host, port = parse_address(agent.address)
    stream = trio.SSLStream(await trio.open_tcp_stream(host, port), client_context(site.certificate(name)))
    await stream.do_handshake()
    try:
        yield RawPeer(site, name, stream)
    finally:
        await trio.aclose_forcefully(stream)


@contextlib.contextmanager
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Peers failing is normal: no traceback and no error in the log, whatever they do."""
    with caplog.at_level(logging.DEBUG):
        yield
    loud = [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in loud] == []


UNKNOWN_CLUSTER = bytes(HASH_BYTES)
