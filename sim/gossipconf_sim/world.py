"""A world for nodes: unmodified `Node` objects, real messages, a virtual clock.

Every output of a node is carried out as the agent's shell would: messages travel
over reliable, ordered links with latency, writes take time and may be lost by a
crash, dials fail across a partition. All randomness comes from one seed, and no set
is iterated, so that the same seed gives the same run.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, Slot
from gossipconf.model.errors import InvalidInput, Rejected
from gossipconf.model.version import Version
from gossipconf.protocol.environment import Connect, Disconnect, Emit, Now, Output, Persist, Send, Show
from gossipconf.protocol.events import Event, Published, PublishFailed
from gossipconf.protocol.node import Node, Restored
from gossipconf.protocol.overlay import SAVED_ADDRESSES, Identity, decode_saved_addresses
from gossipconf.protocol.presence import SAVED_MEMBERS, decode_saved_members
from gossipconf.protocol.replica import SAVED_POLICIES, decode_saved_policies
from gossipconf.store.journal_ops import DropChange, JournalOp, PutChange, PutMeta
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.keys import Signer, verify
from gossipconf.trust.policy import PolicyChain
from gossipconf.trust.signing import compose


@dataclass(frozen=True, slots=True)
class Physics:
    """Delays of the world, in seconds.

    latency_s:   least and most one-way delay of a message, drawn uniformly for each
    disk_s:      least and most duration of a write
    refuse_s:    how long a dial to a dead or unreachable node takes to fail
    notice_s:    how long until an end of a cut link learns that it is gone
    epoch_ms:    wall-clock time at the start
    """

    latency_s: tuple[float, float] = (0.0005, 0.002)
    disk_s: tuple[float, float] = (0.0005, 0.002)
    refuse_s: float = 0.01
    notice_s: float = 0.05
    epoch_ms: int = 1_800_000_000_000


@dataclass(slots=True)
class Disk:
    """What of a node survives a crash. Of history only what a restart reads: one retired version a change."""

    changes: dict[bytes, bytes] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)
    retired: dict[bytes, bytes] = field(default_factory=dict)

    def write(self, ops: Iterable[JournalOp]) -> None:
        """Carry out a transaction."""
        for op in ops:
            if isinstance(op, PutChange):
                self.changes[op.change_id] = op.data
            elif isinstance(op, DropChange):
                self.changes.pop(op.change_id, None)
            elif isinstance(op, PutMeta):
                self.meta[op.name] = op.value
            else:
                self.retired[op.change_id] = op.data


@dataclass(slots=True)
class Host:
    """Where a node runs: its disk, its links, what its readers see and what it has told.

    returned:    winners that readers were given since the disk was new, in order
    violations:  what went wrong the moment it did, for the checkers to report
    """

    name: str
    address: str
    seeds: tuple[str, ...]
    disk: Disk = field(default_factory=Disk)
    node: Node | None = None
    boot: int = 0
    wiped_s: float = 0.0
    links: dict[int, _Wire] = field(default_factory=dict)
    reads: dict[Slot, tuple[Version, ...]] = field(default_factory=dict)
    returned: dict[Slot, list[Version]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    disk_full: bool = False
    disk_free_s: float = 0.0
    last_write: int = 0
    refused_to: int = 0
    bytes_sent: int = 0
    timer_at_s: float | None = None


@dataclass(slots=True)
class _Wire:
    """One connection between two hosts, in order each way."""

    id: int
    ends: tuple[Host, Host]
    boots: tuple[int, int]
    last_arrival_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    cut: bool = False

    def other(self, host: Host) -> Host:
        return self.ends[1] if host is self.ends[0] else self.ends[0]


class World:
    """Hosts, links between them, and the heap of what happens next."""

    def __init__(self, cluster: Cluster, seed: int = 0, physics: Physics | None = None) -> None:
        self.cluster = cluster
        self.physics = physics or Physics()
        self.now_s = 0.0
        self.hosts: dict[str, Host] = {}
        self.events_run = 0
        self._rng = Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = itertools.count()
        self._wires = itertools.count(1)
        self._tokens = itertools.count(1)
        self._group: dict[str, int] = {}
        self._verified: set[tuple[bytes, bytes, bytes]] = set()
        self._outcomes: dict[int, Event] = {}
        self.mutilated: dict[bytes, None] = {}
        self.acknowledged: list[tuple[str, float, Change]] = []
        self.submitted: dict[int, tuple[str, int, Change]] = {}

    # -- hosts ------------------------------------------------------------------------------------

    def add(self, name: str, seeds: Sequence[str] = ()) -> Host:
        """A new host with an empty disk; its node starts at once. ``seeds`` are names of other hosts."""
        host = self.hosts[name] = Host(name, f"{name}:1", tuple(f"{seed}:1" for seed in seeds))
        self.start(name)
        return host

    def start(self, name: str, *, empty_disk: bool = False) -> None:
        """Start a stopped host's node from its disk, or from none."""
        host = self.hosts[name]
        assert host.node is None, f"{name} runs already"
        if empty_disk:
            host.disk = Disk()
            host.wiped_s = self.now_s
            host.returned = {}
        host.boot += 1
        host.last_write = host.refused_to = 0
        cluster_id = self.cluster.genesis.cluster_id
        restored = Restored(
            changes=tuple(Change.decode(data, cluster_id) for data in host.disk.changes.values()),
            retired_headers=tuple(
                Change.decode(data, cluster_id).restrict(()) for data in reversed(host.disk.retired.values())
            ),
            members=decode_saved_members(host.disk.meta.get(SAVED_MEMBERS)),
            accepted_policies=decode_saved_policies(host.disk.meta.get(SAVED_POLICIES)),
            addresses=tuple(decode_saved_addresses(host.disk.meta.get(SAVED_ADDRESSES))),
        )
        host.node = Node(
            Identity(name, host.address),
            PolicyChain(self.cluster.genesis, self.verify),
            rng=Random(self._rng.getrandbits(64)),
            seeds=host.seeds,
            policies=self.cluster.policies,
            restored=restored,
        )
        host.reads = {}
        self._show(host, tuple(host.node.replica.live.slots().items()))
        host.violations += [
            f"{name} has lost {slot} over a restart"
            for slot, returned in host.returned.items()
            if slot not in host.reads and not self.is_void(returned[-1])
        ]
        host.node.start(self._now())
        self._settle(host)

    def crash(self, name: str) -> None:
        """kill -9: the node is gone, and with it all that is not on its disk."""
        host = self.hosts[name]
        host.node = None
        host.timer_at_s = None
        host.disk_free_s = 0.0
        host.reads = {}
        for wire in list(host.links.values()):
            self._cut(wire, "the peer has crashed")

    def running(self) -> list[Node]:
        """The nodes that run."""
        return [host.node for host in self.hosts.values() if host.node is not None]

    def is_void(self, version: Version) -> bool:
        """Whether some running node has pushed this version's change out of an overfull fork."""
        number = (version.writer_id, version.header.seq)
        return any(
            number in node.replica.live.forks() and version.change_id not in node.replica.live.forks()[number]
            for node in self.running()
        )

    # -- network ----------------------------------------------------------------------------------

    def partition(self, *groups: Iterable[str]) -> None:
        """Only hosts of the same group reach each other; a host that is not named is alone with the unnamed."""
        self._group = {name: number for number, group in enumerate(groups, 1) for name in group}
        for host in self.hosts.values():
            for wire in list(host.links.values()):
                if not self._reachable(*wire.ends):
                    self._cut(wire, "the network is partitioned")

    def inject(self, name: str, change: Change) -> None:
        """Put a change into a running node as if a peer that nobody trusts had sent it; what is invalid is refused."""
        host = self.hosts[name]
        assert host.node is not None
        if not change.is_whole:
            self.mutilated[change.id] = None
        with contextlib.suppress(Rejected, InvalidInput):
            host.node.replica.receive(host.node.replica.decode(change.encode()), "a stranger")
        self._settle(host)

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self._group = {}

    def reset_link(self, one: str, other: str) -> None:
        """Break the connections between two hosts once; what was under way is lost."""
        for wire in list(self.hosts[one].links.values()):
            if wire.other(self.hosts[one]).name == other:
                self._cut(wire, "connection reset")

    def _reachable(self, one: Host, other: Host) -> bool:
        return self._group.get(one.name, 0) == self._group.get(other.name, 0)

    # -- publishing -------------------------------------------------------------------------------

    def publish(self, name: str, signer: Signer, entries: Sequence[Entry], comment: str = "") -> tuple[int, Change]:
        """Sign and publish at a host, as the command line does. `outcome` of the token tells what came of it."""
        host = self.hosts[name]
        assert host.node is not None
        slots = [entry.slot for entry in entries]
        reservation = host.node.reserve(self._now(), signer.public, slots)
        live = host.node.replica.live
        replaced = {one.change_id: live.part(one.change_id) for slot in slots for one in live.slot(slot)}
        change = compose(
            entries,
            [part for part in replaced.values() if part is not None],
            chain=host.node.replica.chain,
            signer=signer,
            reservation=reservation,
            now_ms=self._now().wall_ms,
            comment=comment,
        )
        return self.submit(name, change), change

    def submit(self, name: str, change: Change) -> int:
        """Hand a signed change to a host's agent, whoever made it; returns the token of its outcome."""
        host = self.hosts[name]
        assert host.node is not None
        token = next(self._tokens)
        self.submitted[token] = (name, host.boot, change)
        host.node.publish(self._now(), token, change)
        self._settle(host)
        return token

    def outcome(self, token: int) -> Event | None:
        """`Published`, `PublishFailed`, or None while it is open or after a crash."""
        return self._outcomes.get(token)

    # -- time -------------------------------------------------------------------------------------

    def run(self, duration_s: float) -> None:
        """Let virtual time pass."""
        self.run_until(lambda: False, duration_s)

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Let virtual time pass until ``condition`` holds, at most ``limit_s``; whether it holds."""
        end_s = self.now_s + limit_s
        while not condition():
            if not self._heap or self._heap[0][0] > end_s:
                self.now_s = end_s
                return condition()
            self.now_s, _, action = heapq.heappop(self._heap)
            self.events_run += 1
            action()
        return True

    def converged(self) -> bool:
        """Whether all running nodes have the same fingerprint."""
        return len({node.root for node in self.running()}) <= 1

    def _now(self) -> Now:
        return Now(self.now_s, self.physics.epoch_ms + int(self.now_s * 1000))

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._tie), action))

    def _between(self, bounds: tuple[float, float]) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * self._rng.random()

    # -- carrying out outputs ---------------------------------------------------------------------

    def _settle(self, host: Host) -> None:
        """Carry out what a node has put out, and arm its timer."""
        node = host.node
        if node is None:
            return
        for output in node.take_outputs():
            self._carry_out(host, output)
        due_s = node.next_timer_s
        if due_s is not None and (host.timer_at_s is None or due_s < host.timer_at_s):
            host.timer_at_s = due_s
            boot = host.boot
            self._later(max(0.0, due_s - self.now_s), lambda: self._timer(host, boot, due_s))

    def _timer(self, host: Host, boot: int, due_s: float) -> None:
        if host.node is not None and host.boot == boot and host.timer_at_s == due_s:
            host.timer_at_s = None
            host.node.timer(self._now())
            self._settle(host)

    def _carry_out(self, host: Host, output: Output) -> None:
        match output:
            case Send():
                self._send(host, output)
            case Connect():
                self._connect(host, output.address)
            case Disconnect():
                wire = host.links.get(output.link)
                if wire is not None:
                    self._close(host, wire, output.reason)
            case Persist():
                boot = host.boot
                host.last_write = output.token
                host.disk_free_s = max(host.disk_free_s, self.now_s) + self._between(self.physics.disk_s)
                self._later(host.disk_free_s - self.now_s, lambda: self._persist(host, boot, output))
            case Show():
                self._show(host, output.reads)
            case Emit():
                host.events.append((self.now_s, output.event))
                if isinstance(output.event, Published | PublishFailed):
                    self._outcomes[output.event.token] = output.event
                if isinstance(output.event, Published):
                    name, _, change = self.submitted[output.event.token]
                    self.acknowledged.append((name, self.now_s, change))

    def _persist(self, host: Host, boot: int, persist: Persist) -> None:
        """A write is done."""
        if host.node is None or host.boot != boot:
            return
        if host.disk_full or persist.token <= host.refused_to:
            if host.disk_full:
                host.refused_to = host.last_write  # what was put out by now rests on this one
            host.node.persisted(self._now(), persist.token, "no space left on device")
        else:
            host.disk.write(persist.ops)
            self._show(host, persist.reads)
            host.node.persisted(self._now(), persist.token)
        self._settle(host)

    def _send(self, host: Host, send: Send) -> None:
        wire = host.links.get(send.link)
        if wire is None or wire.cut:
            return
        host.bytes_sent += len(send.message)
        side = wire.ends.index(host)
        arrival_s = max(wire.last_arrival_s[side], self.now_s + self._between(self.physics.latency_s))
        wire.last_arrival_s[side] = arrival_s
        receiver = wire.other(host)
        self._later(arrival_s - self.now_s, lambda: self._arrive(receiver, wire, send.message))

    def _arrive(self, host: Host, wire: _Wire, message: bytes) -> None:
        if wire.cut or host.node is None or wire.id not in host.links:
            return
        host.node.received(self._now(), wire.id, message)
        self._settle(host)

    def _connect(self, host: Host, address: str) -> None:
        boot = host.boot
        self._later(
            2 * self._between(self.physics.latency_s) + self.physics.refuse_s,
            lambda: self._finish_connect(host, boot, address),
        )

    def _finish_connect(self, host: Host, boot: int, address: str) -> None:
        if host.node is None or host.boot != boot:
            return
        target = next((other for other in self.hosts.values() if other.address == address), None)
        if target is None or target.node is None or not self._reachable(host, target):
            host.node.connect_failed(self._now(), address, "unreachable")
            self._settle(host)
            return
        wire = _Wire(next(self._wires), (host, target), (host.boot, target.boot))
        host.links[wire.id] = target.links[wire.id] = wire
        host.node.connected(self._now(), wire.id, target.name, outbound=True, address=address)
        target.node.connected(self._now(), wire.id, host.name, outbound=False, address=f"{host.name}:0")
        self._settle(host)
        self._settle(target)

    def _close(self, host: Host, wire: _Wire, reason: str) -> None:
        """One end closes after what it has sent; the other learns of it after the last message."""
        del host.links[wire.id]
        if host.node is not None:
            self._later(0.0, lambda: self._lost(host, wire, reason))
        other = wire.other(host)
        side = wire.ends.index(host)
        delay_s = max(0.0, wire.last_arrival_s[side] - self.now_s) + self.physics.latency_s[1]
        self._later(delay_s, lambda: self._drop_end(other, wire, "closed by the peer"))

    def _cut(self, wire: _Wire, reason: str) -> None:
        wire.cut = True
        for host in wire.ends:
            if host.node is None:
                host.links.pop(wire.id, None)
            else:
                self._later(self.physics.notice_s, lambda host=host: self._drop_end(host, wire, reason))  # type: ignore[misc]

    def _drop_end(self, host: Host, wire: _Wire, reason: str) -> None:
        if host.links.pop(wire.id, None) is not None:
            self._lost(host, wire, reason)

    def _lost(self, host: Host, wire: _Wire, reason: str) -> None:
        boot = wire.boots[wire.ends.index(host)]
        if host.node is not None and host.boot == boot:
            host.node.disconnected(self._now(), wire.id, reason)
            self._settle(host)

    def _show(self, host: Host, reads: Iterable[tuple[Slot, tuple[Version, ...]]]) -> None:
        for slot, versions in reads:
            if not versions:
                if not all(map(self.is_void, host.reads.pop(slot, ()))):
                    host.violations.append(f"{host.name} has nothing to return for {slot} any more")
                continue
            host.reads[slot] = versions
            before = host.returned.setdefault(slot, [])
            if any(earlier.supersedes(versions[0]) and not self.is_void(earlier) for earlier in before):
                host.violations.append(f"{host.name} returns an older version of {slot} than before")
            if not before or before[-1].id != versions[0].id:
                before.append(versions[0])

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        """Real verification, once for identical bytes: thousands of nodes check the same signature."""
        key = (public, signature, message)
        if key not in self._verified:
            verify(public, signature, message)
            self._verified.add(key)
