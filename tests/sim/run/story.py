"""Stories of a few nodes, told once and acted twice: by the simulator, and by real agents.

Knows the vocabulary, its two interpreters, and what is told of an act: what each node has
said, and at the end its fingerprint and what its readers see.

The agents are those that ship: links and handshakes over TLS 1.3, a journal on SQLite, a
control socket that is asked as the command line asks it. Their connections are in memory,
their clocks are trio's mock clock, and their generators are seeded as the simulator's are.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

import pytest
import trio
import trio.testing

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry
from gossipconf.model.errors import JournalWriteFailed
from gossipconf.model.version import Version
from gossipconf.protocol import events as ev
from gossipconf.runtime.agent import Agent
from gossipconf.runtime.boot import JOURNAL_FILE
from gossipconf.store.journal import Journal, JournalOp
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import POLICY_PREFIX
from gossipconf.trust.signing import Reservation, compose
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.world.world import EPOCH_MS, World
from tests.runtime.cluster import ADMIN, Asker, Site, asking
from tests.runtime.memory_network import Delay, MemoryNetwork, PatientClock

# -- the vocabulary -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """A new node, with the names of its seeds, which it has resolved as an agent does."""

    name: str
    seeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kill:
    """kill -9."""

    name: str


@dataclass(frozen=True, slots=True)
class Restart:
    """A killed node starts again, from its disk or from none."""

    name: str
    empty_disk: bool = False


@dataclass(frozen=True, slots=True)
class Publish:
    """Somebody prepares one change at a node, signs it and publishes it there."""

    name: str
    entries: tuple[Entry, ...]
    signer: Signer = ADMIN


@dataclass(frozen=True, slots=True)
class Submit:
    """Somebody publishes at a node what was signed elsewhere."""

    name: str
    change: Change


@dataclass(frozen=True, slots=True)
class Fill:
    """A node's disk takes no writes any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """It takes writes again."""

    name: str


@dataclass(frozen=True, slots=True)
class Cut:
    """Only nodes of one group reach each other, and their connections to others break."""

    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Heal:
    """Everybody reaches everybody."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Time passes."""

    duration_s: float


Step: TypeAlias = Start | Kill | Restart | Publish | Submit | Fill | Clear | Cut | Heal | Wait


# -- what is told ---------------------------------------------------------------------------------

UNTOLD: Final = frozenset(
    {
        (ev.PeerUp, "link"),
        (ev.PeerDown, "link"),
        (ev.PeerDown, "reason"),
        (ev.ConnectFailed, "reason"),
        (ev.ResolveFailed, "reason"),
        (ev.Published, "token"),
        (ev.PublishFailed, "token"),
        (ev.DiskFailed, "reason"),
    }
)
"""What has a reason to differ: numbers that the shell gives, and words that it has from the operating system."""


@dataclass(slots=True)
class Account:
    """What came of a story, node by node.

    events:        what the node has told, one line each, over all its starts
    fingerprints:  of the nodes that run at the end
    reads:         what their readers see then: of each key the live versions, the winner first
    """

    events: dict[str, list[str]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    reads: dict[str, dict[str, str]] = field(default_factory=dict)

    def close(self, name: str, root: bytes, reads: Iterable[tuple[str, Sequence[Version]]]) -> None:
        """Take down how a node ends."""
        self.fingerprints[name] = root.hex()
        self.reads[name] = {key: spelled(tuple(versions)) for key, versions in sorted(reads)}


def line(event: ev.Event) -> str:
    """An event in a line: its name, and every field that is told."""
    names = [one.name for one in dataclasses.fields(event) if (type(event), one.name) not in UNTOLD]
    return " ".join([type(event).__name__, *(f"{name}={spelled(getattr(event, name))}" for name in names)])


def spelled(value: object) -> str:
    """A field of an event, so that equal lines mean equal fields."""
    match value:
        case bytes():
            return value.hex()
        case Version():
            return f"{value.entry.key}@{value.id.hex()}"
        case tuple():
            return f"[{' '.join(map(spelled, value))}]"
        case Exception():
            return type(value).__name__
    return repr(value)


# -- in the simulator -----------------------------------------------------------------------------


def new_world(site: Site, seed: int, **options: Any) -> World:
    """A world in which a message takes the time that its two hosts are apart, and a write none."""
    network = NetworkConditions(jitter=(1.0, 1.0))
    return World(site.cluster, seed, network=network, hosts=HostConditions(disk_ms=(0.0, 0.0)), **options)


def simulate(story: Sequence[Step], world: World) -> Account:
    """Act ``story`` in a new world."""
    for step in story:
        match step:
            case Start():
                world.names |= {address: (address,) for address in map(address_of, step.seeds)}
                world.add(step.name, seed_names=list(map(address_of, step.seeds)))
            case Kill():
                world.crash(step.name)
            case Restart():
                world.start(step.name, empty_disk=step.empty_disk)
            case Publish():
                world.publish(step.name, step.signer, step.entries)
            case Submit():
                world.submit(step.name, step.change)
            case Fill() | Clear():
                world.hosts[step.name].disk.full = isinstance(step, Fill)
            case Cut():
                world.partition(*step.groups)
            case Heal():
                world.heal()
            case Wait():
                world.run(step.duration_s)
    account = Account()
    for name, host in world.hosts.items():
        account.events[name] = [line(event) for _, event in host.events]
        if host.node is not None:
            account.close(name, host.node.root, ((key, versions) for (key, _), versions in host.reads.items()))
    return account


# -- with real agents -----------------------------------------------------------------------------


class TellingAgent(Agent):
    """An agent whose events are taken down, until it is killed: what it does on its way out nobody would see."""

    def __init__(self, events: list[str], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.killed = trio.CancelScope()
        self._events = events

    async def live(self) -> None:
        """Run until it is killed."""
        with self.killed:
            await self.run()

    def _tell(self, event: ev.Event) -> None:
        if not self.killed.cancel_called:
            self._events.append(line(event))
        super()._tell(event)


class Troupe:
    """Agents that act a story, each in a directory of its own in ``data``."""

    def __init__(
        self, site: Site, data: Path, seed: int, network: MemoryNetwork, clock: PatientClock, nursery: trio.Nursery
    ) -> None:
        self.account = Account()
        self.full: set[Path] = set()
        self._site = site
        self._data = data
        self._seed = seed
        self._network = network
        self._clock = clock
        self._nursery = nursery
        self._agents: dict[str, TellingAgent] = {}
        self._seeds: dict[str, tuple[str, ...]] = {}
        self._boots: dict[str, int] = defaultdict(int)

    async def act(self, step: Step) -> None:
        """Act one step, to the end of all that follows from it at once."""
        match step:
            case Start():
                self._seeds[step.name] = tuple(map(address_of, step.seeds))
                self.account.events[step.name] = []
                self._start(step.name)
            case Kill():
                self._network.vanish(step.name)
                self._agents.pop(step.name).killed.cancel()
            case Restart():
                if step.empty_disk:
                    shutil.rmtree(self._data / step.name)
                self._start(step.name)
            case Publish():
                await self._ask(step.name, lambda asker: self._prepared(asker, step))
            case Submit():
                await self._ask(step.name, lambda asker: _ready(step.change))
            case Fill():
                self.full.add(self._journal(step.name))
            case Clear():
                self.full.remove(self._journal(step.name))
            case Cut():
                self._network.cut(*step.groups)
            case Heal():
                self._network.heal()
            case Wait():
                await self._clock.run(step.duration_s)
        await self._clock.settle()

    def close(self) -> None:
        """Take down how it ends."""
        for name, agent in self._agents.items():
            keys = [*agent.reads.keys(), *agent.reads.keys(POLICY_PREFIX)]
            self.account.close(name, agent.node.root, ((key, agent.reads.versions(key)) for key in keys))
            agent.killed.cancel()

    def _start(self, name: str) -> None:
        self._boots[name] += 1
        agent = self._agents[name] = TellingAgent(
            self.account.events[name],
            self._site.settings(name, self._data / name, self._seeds[name], listen=(name, 1)),
            rng=Random(f"{self._seed}/{name}/{self._boots[name]}"),
            wall_ms=wall_ms,
            make_transport=self._network.transport_of(name),
            look_up=_look_up,
        )
        self._nursery.start_soon(agent.live)

    def _journal(self, name: str) -> Path:
        return (self._data / name / JOURNAL_FILE).resolve()

    async def _ask(self, name: str, prepare: Callable[[Asker], Awaitable[Change]]) -> None:
        """Publish over the control socket what ``prepare`` makes, and get an answer before any time passes."""
        answered = trio.Event()

        async def publish() -> None:
            async with asking(self._agents[name]) as asker:  # type: ignore[arg-type]  # all it needs is the settings
                change = await prepare(asker)
                await asker.ask("publish", change=change.encode())
            answered.set()

        self._nursery.start_soon(publish)
        await self._clock.settle()
        assert answered.is_set(), f"{name} does not answer a publish"

    async def _prepared(self, asker: Asker, step: Publish) -> Change:
        """As the command line does it: under the newest policy, and in the place of what is there."""
        slots = [list(entry.slot) for entry in step.entries]
        reply = await asker.ask("reserve", signer=step.signer.public, slots=slots)
        policies, replaced = (
            [Change.decode(data, self._site.cluster_id) for data in reply[name]] for name in ("policies", "replaced")
        )
        chain = self._site.cluster.chain()
        for policy in policies:
            chain.judge(policy)
            chain.accept(policy)
        reservation = Reservation(reply["incarnation"], reply["seq"])
        return compose(
            step.entries, replaced, chain=chain, signer=step.signer, reservation=reservation, now_ms=wall_ms()
        )


async def _look_up(name: str) -> tuple[str]:
    """To the network of a story, names are addresses."""
    return (name,)


async def _ready(change: Change) -> Change:
    return change


def address_of(name: str) -> str:
    """Where a node listens."""
    return f"{name}:1"


def wall_ms() -> int:
    """The wall clock of a world."""
    return EPOCH_MS + int(trio.current_time() * 1000)


@contextmanager
def full_disks(full: Collection[Path]) -> Iterator[None]:
    """The journals that are in ``full`` at the time take no writes."""
    commit = Journal.commit

    def commit_if_there_is_room(journal: Journal, ops: Sequence[JournalOp]) -> None:
        if journal.path in full:
            raise JournalWriteFailed("the disk is full")
        commit(journal, ops)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "commit", commit_if_there_is_room)
        yield


def enact(story: Sequence[Step], site: Site, data: Path, seed: int, delay: Delay, notice_s: float) -> Account:
    """Act ``story`` with agents whose directories are in ``data``; ``delay`` and ``notice_s`` as in `MemoryNetwork`."""
    clock = trio.testing.MockClock()

    async def main() -> Account:
        network = MemoryNetwork(delay, notice_s)
        async with trio.open_nursery() as nursery:
            troupe = Troupe(site, data, seed, network, PatientClock(clock, network), nursery)
            with full_disks(troupe.full):
                for step in story:
                    await troupe.act(step)
                troupe.close()
        return troupe.account

    return trio.run(main, clock=clock)
