"""A world for nodes: unmodified `Node` objects, real messages, a virtual clock.

Every output of a node is carried out as the agent's shell would: messages travel over
the network, writes take time and may be lost by a crash, dials fail across a cut. All
randomness comes from one seed and no set is iterated, so that the same seed gives the
same run.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Final, cast

from gossipconf import __version__
from gossipconf.model.change import Change
from gossipconf.model.encoding import encode
from gossipconf.model.entry import Entry, Slot
from gossipconf.model.errors import InvalidInput, Rejected
from gossipconf.model.limits import FORK_BRANCHES_MAX
from gossipconf.model.version import Version
from gossipconf.protocol.eagerness import SAVED_LEARNED, decode_learned
from gossipconf.protocol.environment import Connect, Disconnect, Emit, Now, Persist, Recall, Resolve, Send, Show
from gossipconf.protocol.events import (
    EpochCommitted,
    Event,
    ForkFound,
    Published,
    PublishFailed,
    StageAborted,
    StageAnswered,
    Voided,
)
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.link import Identity
from gossipconf.protocol.messages import Batch
from gossipconf.protocol.node import Node, Restored
from gossipconf.protocol.overlay import SAVED_ADDRESSES, SAVED_ZONE, decode_saved_zone
from gossipconf.protocol.presence import SAVED_MEMBERS
from gossipconf.protocol.record import records_in
from gossipconf.protocol.replica import SAVED_POLICIES, decode_saved_policies
from gossipconf.protocol.statement_book import rows_of
from gossipconf.protocol.subject import Subject
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.signing import compose
from gossipconf.trust.statement import Kind

from ..conditions import HostConditions, NetworkConditions
from ..network.cut import Cut, sides_of
from ..network.network import Network
from ..network.wire import Wire
from ..network.zones import PairDelays
from .adversary import Adversary
from .host import Disk, Host
from .interning import Interning
from .notary import Registry
from .schedule import Schedule
from .trace import Input, Trace
from .twin import Twin

COMMITTED_SHARE: Final = 0.95
"""Of the duration of a write, when it is on disk; the rest passes until the process knows."""
EPOCH_MS: Final = 1_800_000_000_000
"""Wall-clock time at the start of every world: January 2027."""

FAREWELL_S: Final = 3.0
"""How long a stopping agent waits for its disk, as the shipped one."""
FLUSH_LOOK_S: Final = 0.001
"""How often it is looked whether the disk is done."""

SOFTWARE: Final = f"gossipconf/{__version__}"
"""What agents say of themselves in `Hello`."""

MakeNode = Callable[..., Node]
"""Called as `Node` is; tests and the checker of determinism put something else in its place."""


class World:
    """Hosts, the network between them, and what each node puts out.

    on_event:       told of every event of every node
    on_arrival:     told of every message that a node is given, before it is
    on_visible:     told of the id of every change that readers of a host come to see
    handling:       the message that a node is dealing with now, or None
    names:          addresses that each name stands for; any other name has none
    names_are_down: whether nothing is resolved
    acknowledged:   (host, virtual s, change) of every publish that an agent has acknowledged
    stage_events:   (virtual s, host, event) of whatever became of a stage at a node
    mutilated:      ids of changes of which strangers have handed out parts
    injected:       changes that strangers have put in and a node has taken, by id
    forks_found:    (writer id, seq) of every fork that an honest node has told of: hosts, and when
    whole_since_s:  since when nothing is wrong and nobody publishes, if whoever drives the world says so
    heal_limit_s:   how long honest nodes then may differ
    unequal_s:      when the fingerprints of honest nodes last differed
    shaken_s:       when something last happened to a host: a start, an end, a pause, another fingerprint; or to a cut
    hostile_traffic: bytes and messages by frame class that hostile hosts have sent, of all that was

    ``make_node`` is called as `Node` is; ``twin`` names a host that gets two nodes (see `twin`).
    """

    def __init__(
        self,
        cluster: Cluster,
        seed: int = 0,
        *,
        network: NetworkConditions | None = None,
        hosts: HostConditions | None = None,
        zone_delays_s: PairDelays | None = None,
        make_node: MakeNode = Node,
        twin: str | None = None,
        keep_events: bool = True,
    ) -> None:
        self.cluster = cluster
        self.seed = seed
        self.schedule = Schedule()
        self.interning = Interning()
        self.registry = Registry(seed, self.verify)
        self.trace = Trace()
        self.hosts: dict[str, Host] = {}
        self.conditions = hosts or HostConditions()
        conditions = network or NetworkConditions()
        self.network = Network(self.schedule, conditions, self.random("network"), self.delay, self)
        self.on_event: Callable[[Host, Event], None] | None = None
        self.on_arrival: Callable[[Host, Wire, bytes], None] | None = None
        self.on_visible: Callable[[Host, bytes], None] | None = None
        self.handling: bytes | None = None
        self.names: dict[str, tuple[str, ...]] = {}
        self.names_are_down = False
        self.mutilated: dict[bytes, None] = {}
        self.injected: dict[bytes, Change] = {}
        self.acknowledged: list[tuple[str, float, Change]] = []
        self.stage_events: list[tuple[float, str, StageAnswered | EpochCommitted | StageAborted]] = []
        self.submitted: dict[int, tuple[str, int, Change]] = {}
        self.forks_found: dict[tuple[bytes, int], dict[str, float]] = {}
        self.whole_since_s: float | None = None
        self.heal_limit_s = 0.0
        self.unequal_s = 0.0
        self.shaken_s = 0.0
        self.hostile_traffic = ([0] * len(FrameClass), [0] * len(FrameClass))
        self._zone_delays_s = zone_delays_s or {}
        self._make_node = make_node
        self.twin = twin
        self._keep_events = keep_events
        self._rng = self.random("world")
        self._disk_rng = self.random("disks")
        self._tuning = self.conditions.tuning()
        self._tokens = itertools.count(1)
        self._outcomes: dict[int, Event] = {}
        self.branches_found: dict[
            tuple[bytes, int], dict[bytes, Change]
        ] = {}  # of forks, as honest nodes have found them
        self.set_aside: dict[bytes, None] = {}  # ids of versions that honest nodes have told of as void
        self._roots: dict[bytes, int] = {}
        self._processing_s = self.conditions.processing_us / 1e6
        self._has_more = False
        self._now = Now(0.0, EPOCH_MS)
        self._carry: dict[type[Any], Callable[[Host, Any], None]] = {
            Send: self._send,
            Connect: self._connect,
            Resolve: self._resolve,
            Disconnect: self._disconnect,
            Persist: self._persist,
            Show: self._shown,
            Recall: self._recall,
            Emit: self._emit,
        }

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return self.schedule.now_s

    def random(self, *names: object) -> Random:
        """A generator of its own for each purpose, so that what one draws does not move the others."""
        return Random("/".join(map(str, (self.seed, *names))))

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        """Real verification, once for identical bytes. Raises BadSignature."""
        self.interning.verify(public, signature, message)

    # -- hosts ------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        seeds: Sequence[str] = (),
        *,
        seed_names: Sequence[str] = (),
        zone: str = "",
        disk: Disk | None = None,
        adversary: Adversary | None = None,
        start: bool = True,
    ) -> Host:
        """A new host; its node starts at once, or by a later `start`.

        seeds:      names of other hosts, whose addresses it knows
        seed_names: what it must have resolved; see `names`
        disk:       what it has from before
        adversary:  what stands between its node and the network, if it is hostile
        """
        host = Host(
            name,
            len(self.hosts),
            f"{name}:1",
            tuple(f"{seed}:1" for seed in seeds),
            tuple(seed_names),
        )
        host.zone = zone
        host.adversary = adversary
        host.disk = disk or Disk()
        host.skew_ms = round(self.conditions.clock_skew_ms * (2 * self._rng.random() - 1))
        self.hosts[name] = host
        self.network.attach(host)
        if start:
            self.start(name)
        return host

    def start(self, name: str, *, empty_disk: bool = False) -> None:
        """Start a stopped host's node from its disk, or from none."""
        host = self.hosts[name]
        assert host.node is None, f"{name} runs already"
        if empty_disk:
            host.disk = Disk(full=host.disk.full, slowness=host.disk.slowness)
            host.wiped_s = self.now_s
            host.returned = {}
        host.boot += 1
        host.unreachable = False
        self.network.appear(host)
        host.started_s = self.now_s
        host.revision = -1
        self._note(Input.START, host)
        restored = self._restored(host)
        if name == self.twin:
            host.node = cast(Node, Twin(lambda: self._node(host, restored)))
        else:
            host.node = self._node(host, restored)
        host.reads = {}
        self._show(host, host.node.replica.live.slots().items())
        host.violations += [
            ("available", f"{name} has lost {slot} over a restart")
            for slot, returned in host.returned.items()
            if slot not in host.reads and not self.is_void(returned[-1])
        ]
        self._count_root(host, host.node.root)
        host.node.start(self._clock(host))
        self._settle(host)
        for prefix in host.node.stages.strict:
            self._compare_epochs(host, prefix)

    def _node(self, host: Host, restored: Restored) -> Node:
        return self._make_node(
            Identity(host.name, host.address, host.zone if self.conditions.zone_labels else "", SOFTWARE),
            self.cluster.chain(self.verify),
            rng=self.random(host.name, host.boot),
            seeds=host.seeds,
            seed_names=host.seed_names,
            policies=self.cluster.policies,
            restored=restored,
            decoders=self.interning.decoders,
            tuning=self._tuning,
            notary=self.registry.notary(host.name),
        )

    def _restored(self, host: Host) -> Restored:
        """What the agent's shell reads from a journal."""
        cluster_id, disk = self.cluster.genesis.cluster_id, host.disk
        return Restored(
            changes=tuple(self.interning.change(data, cluster_id) for data in disk.changes.values()),
            retired_headers=tuple(self._retired_headers(disk)),
            members=self.interning.members(disk.meta.get(SAVED_MEMBERS)),
            accepted_policies=decode_saved_policies(disk.meta.get(SAVED_POLICIES)),
            addresses=self.interning.addresses(disk.meta.get(SAVED_ADDRESSES)),
            zone=decode_saved_zone(disk.meta.get(SAVED_ZONE)),
            learned=decode_learned(disk.meta.get(SAVED_LEARNED)),
            statements=rows_of(disk.meta),
            epochs=records_in(disk.meta),
        )

    def _retired_headers(self, disk: Disk) -> Iterator[Change]:
        """Of each change in history its bare header, the latest first."""
        cluster_id = self.cluster.genesis.cluster_id
        retired = (self.interning.change(data, cluster_id) for data in reversed(disk.retired.values()))
        return iter({change.id: change.restrict(()) for change in retired}.values())

    def crash(self, name: str, *, silent: bool = False) -> None:
        """kill -9: the node is gone, and with it all that is not on its disk.

        ``silent``: the machine is gone too, so that peers are not told and must notice.
        """
        host = self.hosts[name]
        self._note(Input.CRASH, host)
        host.node = None
        host.timer_at_s = None
        host.paused = None
        host.processor_free_s = 0.0
        host.disk.lose_power()
        host.reads = {}
        host.unreachable = silent
        self._uncount_root(host)
        self.network.vanish(host, silent=silent)

    def stop(self, name: str) -> None:
        """SIGTERM: once what waits for the disk is there, farewell to peers; then the process is gone."""
        host = self.hosts[name]
        self._stop(host, host.boot, self.now_s + FAREWELL_S)

    def _stop(self, host: Host, boot: int, until_s: float) -> None:
        if host.node is None or host.boot != boot or self._waits(host, self._stop, host, boot, until_s):
            return
        if host.disk.busy and self.now_s < until_s:
            self.schedule.later(FLUSH_LOOK_S, self._stop, host, boot, until_s)
            return
        self._note(Input.STOP, host)
        host.node.stop(self._clock(host))
        self._settle(host)
        self.crash(host.name)

    def pause(self, name: str) -> None:
        """Stop the process: nothing is lost, and nothing happens until `resume`."""
        host = self.hosts[name]
        if host.node is not None and host.paused is None:
            host.paused = []

    def resume(self, name: str) -> None:
        """Let a paused process go on with what has come meanwhile."""
        host = self.hosts[name]
        waiting, host.paused = host.paused or [], None
        self.shaken_s = self.now_s
        for action, arguments in waiting:
            action(*arguments)

    def running(self) -> list[Node]:
        """The nodes that run."""
        return [host.node for host in self.hosts.values() if host.node is not None]

    def honest(self) -> list[Host]:
        """The hosts whose nodes run and are honest."""
        return [host for host in self.hosts.values() if host.node is not None and host.adversary is None]

    def is_void(self, version: Version) -> bool:
        """Whether an honest node has pushed this version's change out of an overfull fork, or has a floor about it."""
        number = (version.writer_id, version.header.seq)
        replicas = [host.running.replica for host in self.honest()]
        known = (replica.live.forks().get(number, {}) for replica in replicas)
        return any(len(one) == FORK_BRANCHES_MAX and version.change_id not in one for one in known) or any(
            replica.chain.floors.is_void(version) or (replica.chain.forked and version.id in self.set_aside)
            for replica in replicas
        )

    @property
    def hostile_bytes(self) -> int:
        """Bytes that hostile hosts have sent."""
        return sum(self.hostile_traffic[0])

    @property
    def hostile_messages(self) -> int:
        """Messages that hostile hosts have sent."""
        return sum(self.hostile_traffic[1])

    # -- network ----------------------------------------------------------------------------------

    def delay(self, one: Host, other: Host) -> float:
        """One-way delay between two hosts in seconds, without jitter: always the same for a pair."""
        if self._zone_delays_s:
            return self._zone_delays_s[one.zone, other.zone]
        low_ms, high_ms = self.network.conditions.latency_ms
        if low_ms == high_ms:
            return low_ms / 1000
        pair = sorted((one.index, other.index))
        return (low_ms + (high_ms - low_ms) * self.random("delay", *pair).random()) / 1000

    def partition(self, *groups: Iterable[str], silent: bool = False, one_way: bool = False) -> Cut:
        """Only hosts of the same group reach each other; a host that is not named is alone with the unnamed.

        ``silent`` and ``one_way`` as in `Cut`; the unnamed are the lowest side.
        """
        self.network.mend_all()
        named = [list(map(self.hosts.__getitem__, group)) for group in groups]
        indices = {host.index for group in named for host in group}
        unnamed = [host for host in self.hosts.values() if host.index not in indices]
        cut = Cut(sides_of([unnamed, *named]), one_way=one_way, silent=silent)
        self.network.cut(cut)
        return cut

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self.network.mend_all()

    def link(self, one: str, other: str) -> None:
        """Connect two hosts now, as if ``one`` had dialled."""
        self.network.connect(self.hosts[one], self.hosts[other])

    def reset_link(self, one: str, other: str) -> None:
        """Break the connections between two hosts once; what was under way is lost."""
        for wire in list(self.hosts[one].links.values()):
            if wire.other(self.hosts[one]).name == other:
                self.network.reset(wire, "connection reset")

    def inject(self, name: str, change: Change) -> None:
        """Put a change into a running node as if a peer that nobody trusts had sent it; what is invalid is refused."""
        node = self.hosts[name].running
        if not change.is_whole:
            self.mutilated[change.id] = None
        for one in node.both if isinstance(node, Twin) else (node,):
            with contextlib.suppress(Rejected, InvalidInput):
                one.replica.receive(one.replica.decode(change.encode()), "a stranger")
                self.injected[change.id] = change
        self._settle(self.hosts[name])

    # -- publishing -------------------------------------------------------------------------------

    def publish(self, name: str, signer: Signer, entries: Sequence[Entry], comment: str = "") -> tuple[int, Change]:
        """Sign and publish at a host, as the command line does. `outcome` of the token tells what came of it."""
        host = self.hosts[name]
        node, now = host.running, self._clock(host)
        slots = [entry.slot for entry in entries]
        reservation = node.reserve(now, signer.public, slots)
        live = node.replica.live
        replaced = {one.change_id: live.part(one.change_id) for slot in slots for one in live.slot(slot)}
        change = compose(
            entries,
            [part for part in replaced.values() if part is not None],
            chain=node.replica.chain,
            signer=signer,
            reservation=reservation,
            now_ms=now.wall_ms,
            comment=comment,
        )
        return self.submit(name, change), change

    def submit(self, name: str, change: Change) -> int:
        """Hand a signed change to a host's agent, whoever made it; returns the token of its outcome."""
        host = self.hosts[name]
        token = next(self._tokens)
        self.submitted[token] = (name, host.boot, change)
        self._publish(host, host.boot, token, change)
        return token

    def _publish(self, host: Host, boot: int, token: int, change: Change) -> None:
        if host.node is None or host.boot != boot or self._waits(host, self._publish, host, boot, token, change):
            return
        self._note(Input.PUBLISH, host, change.id, token)
        host.node.publish(self._clock(host), token, change)
        self._settle(host)

    def outcome(self, token: int) -> Event | None:
        """`Published`, `PublishFailed`, or None while it is open or after a crash."""
        return self._outcomes.get(token)

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, name: str, subject: Subject, lease_s: float) -> int:
        """Ask at a host who has applied ``subject``; the number of the question, whose `AckProgress` are events."""
        host = self.hosts[name]
        question = host.running.ask(self._clock(host), subject, lease_s)
        self._note(Input.ASK, host, encode(subject.to_wire()), question)
        self._settle(host)
        return question

    def declare(self, name: str, kind: Kind, subject: bytes) -> None:
        """Let a host's node say something of a change, signed. Raises what `Node.say` raises."""
        host = self.hosts[name]
        self._note(Input.SAY, host, bytes([kind]) + subject)
        host.running.say(self._clock(host), kind, subject)
        self._settle(host)

    def cancel(self, name: str, question: int) -> None:
        """End a question of a host that runs."""
        host = self.hosts[name]
        self._note(Input.CANCEL, host, about=question)
        host.running.cancel(self._clock(host), question)
        self._settle(host)

    # -- time -------------------------------------------------------------------------------------

    @property
    def events_run(self) -> int:
        """What has happened so far: arrivals, timers, writes, dials."""
        return self.schedule.events_run

    def run(self, duration_s: float) -> None:
        """Let virtual time pass."""
        self.schedule.run(self.now_s + duration_s)

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Let virtual time pass until ``condition`` holds, at most ``limit_s``; whether it holds."""
        return self.schedule.run_until(condition, self.now_s + limit_s)

    def census(self) -> tuple[int, int]:
        """How many honest nodes run, and how many different fingerprints they have."""
        return sum(self._roots.values()), len(self._roots)

    def converged(self) -> bool:
        """Whether all running honest nodes have the same fingerprint."""
        return len(self._roots) <= 1

    def _clock(self, host: Host) -> Now:
        now_s = self.schedule.now_s
        if host.skew_ms:
            return Now(now_s, EPOCH_MS + int(now_s * 1000) + host.skew_ms)
        if self._now.monotonic_s != now_s:
            self._now = Now(now_s, EPOCH_MS + int(now_s * 1000))
        return self._now

    def clock_ms(self) -> int:
        """Wall-clock time of who has no host, in milliseconds since 1970."""
        return EPOCH_MS + int(self.schedule.now_s * 1000)

    def _note(self, kind: Input, host: Host, data: bytes = b"", about: int = 0) -> None:
        self.trace.note(self.schedule.now_s, kind, host.index, data, about)

    def _waits(self, host: Host, action: Callable[..., None], *arguments: Any) -> bool:
        """Whether the process is paused; then ``action`` comes when it goes on."""
        if host.paused is None:
            return False
        host.paused.append((action, arguments))
        return True

    # -- inputs of nodes: what the network, the disk and the clock say ------------------------------

    def arrived(self, host: Host, wire: Wire, message: bytes) -> None:
        """A message has arrived at a host; its node gets it when the processor is free."""
        if self._processing_s:
            host.processor_free_s = max(host.processor_free_s, self.now_s) + self._processing_s
            self.schedule.at(host.processor_free_s, self._received, host, wire, message)
        else:
            self._received(host, wire, message)

    def _received(self, host: Host, wire: Wire, message: bytes) -> None:
        if host.paused is not None:
            host.paused.append((self._received, (host, wire, message)))
            return
        node = host.node
        if node is None or wire.id not in host.links:
            return
        if host.adversary is not None and not host.adversary.hears(host, wire, message):
            return
        self.trace.note(self.schedule.now_s, Input.RECEIVED, host.index, message, wire.id)
        if self.on_arrival is not None:
            self.on_arrival(host, wire, message)
        self.handling = message
        node.received(self._clock(host), wire.id, message)
        self._settle(host)
        self.handling = None

    def opened(self, host: Host, wire: Wire, *, outbound: bool, address: str) -> None:
        """A connection is open."""
        self._opened(host, host.boot, wire, outbound, address)

    def _opened(self, host: Host, boot: int, wire: Wire, outbound: bool, address: str) -> None:
        if (
            host.node is None
            or host.boot != boot
            or self._waits(host, self._opened, host, boot, wire, outbound, address)
        ):
            return
        self._note(Input.CONNECTED, host, address.encode(), wire.id)
        peer = wire.other(host).name
        host.node.connected(self._clock(host), wire.id, peer, outbound=outbound, address=address)
        self._settle(host)

    def refused(self, host: Host, boot: int, address: str, reason: str) -> None:
        """A dial has failed."""
        if host.node is None or host.boot != boot or self._waits(host, self.refused, host, boot, address, reason):
            return
        self._note(Input.CONNECT_FAILED, host, address.encode())
        host.node.connect_failed(self._clock(host), address, reason)
        self._settle(host)

    def _looked_up(self, host: Host, boot: int, name: str) -> None:
        if host.node is None or host.boot != boot or self._waits(host, self._looked_up, host, boot, name):
            return
        if self.names_are_down:
            self._note(Input.RESOLVE_FAILED, host, name.encode())
            host.node.resolve_failed(self._clock(host), name, "no resolver answers")
        else:
            addresses = self.names.get(name, ())
            self._note(Input.RESOLVED, host, " ".join((name, *addresses)).encode())
            host.node.resolved(self._clock(host), name, addresses)
        self._settle(host)

    def lost(self, host: Host, wire: Wire, reason: str) -> None:
        """The host's end of a connection is gone."""
        boot = wire.boots[wire.side_of(host)]
        if host.node is None or host.boot != boot or self._waits(host, self.lost, host, wire, reason):
            return
        self._note(Input.DISCONNECTED, host, reason.encode(), wire.id)
        host.node.disconnected(self._clock(host), wire.id, reason)
        self._settle(host)

    def dropped(self, host: Host, wire: Wire, frame_class: FrameClass) -> None:
        """A message of a host found its queue full; `_settle`, which has sent it, goes on with what the node says."""
        assert host.node is not None
        self._note(Input.DROPPED, host, frame_class.name.encode(), wire.id)
        self._has_more = True
        host.node.dropped(self._clock(host), wire.id, frame_class)

    def _timer(self, host: Host, boot: int, due_s: float) -> None:
        if host.node is None or host.boot != boot or host.timer_at_s != due_s:
            return
        if self._waits(host, self._timer, host, boot, due_s):
            return
        host.timer_at_s = None
        self.trace.note(self.schedule.now_s, Input.TIMER, host.index)
        host.node.timer(self._clock(host))
        self._settle(host)

    # -- outputs of nodes ---------------------------------------------------------------------------

    def _settle(self, host: Host) -> None:
        """Carry out what a node has put out, and arm its timer."""
        node = host.node
        if node is None:
            return
        carry = self._carry
        self._has_more = True
        while self._has_more:  # again only if an output has caused an input
            self._has_more = False
            for output in node.take_outputs():
                carry[type(output)](host, output)
        due_s = node.next_timer_s
        if due_s is not None and (host.timer_at_s is None or due_s < host.timer_at_s):
            host.timer_at_s = due_s
            self.schedule.at(due_s, self._timer, host, host.boot, due_s)
        revision = node.replica.revision
        if revision != host.revision:
            host.revision = revision
            self._count_root(host, node.root)

    def _send(self, host: Host, send: Send) -> None:
        wire = host.links.get(send.link)
        if wire is None:
            return
        if host.adversary is None:
            self.network.send(host, wire, send.frame_class, send.message)
            return
        for delay_s, instead in host.adversary.sends(host, send):
            if delay_s:
                self.schedule.later(delay_s, self.say, host, instead)
            else:
                self._say(host, instead)

    def say(self, host: Host, send: Send) -> None:
        """Let a hostile host send, whatever its node wants."""
        if host.node is not None and not self._waits(host, self.say, host, send):
            self._say(host, send)
            self._settle(host)

    def _say(self, host: Host, send: Send) -> None:
        wire = host.links.get(send.link)
        if wire is not None:
            network, kind = self.network, send.frame_class
            bytes_before, messages_before = network.sent_bytes[kind], network.sent_messages[kind]
            network.send(host, wire, kind, send.message)
            self.hostile_traffic[0][kind] += network.sent_bytes[kind] - bytes_before
            self.hostile_traffic[1][kind] += network.sent_messages[kind] - messages_before
            if kind is FrameClass.SYNC:
                self._mark_mutilated(send.message)

    def _mark_mutilated(self, data: bytes) -> None:
        """Note of which changes a hostile host hands out parts."""
        message = self.interning.message(data)
        for one in message.changes if isinstance(message, Batch) else ():
            change = self.interning.change(one, self.cluster.genesis.cluster_id)
            if not change.is_whole:
                self.mutilated[change.id] = None

    def _connect(self, host: Host, connect: Connect) -> None:
        self.network.dial(host, connect.address)

    def _resolve(self, host: Host, resolve: Resolve) -> None:
        self.schedule.later(0.0, self._looked_up, host, host.boot, resolve.name)

    def _disconnect(self, host: Host, disconnect: Disconnect) -> None:
        wire = host.links.get(disconnect.link)
        if wire is not None:
            self.network.close(host, wire)
            self.schedule.later(0.0, self.lost, host, wire, disconnect.reason)

    def _shown(self, host: Host, show: Show) -> None:
        self._show(host, show.reads)

    def _emit(self, host: Host, emit: Emit) -> None:
        event = emit.event
        if self._keep_events:
            host.events.append((self.now_s, event))
        if isinstance(event, Published | PublishFailed):
            self._outcomes[event.token] = event
            if isinstance(event, Published):
                name, _, change = self.submitted[event.token]
                self.acknowledged.append((name, self.now_s, change))
        if isinstance(event, Voided) and host.honest:
            self.set_aside.update((version.id, None) for version in event.versions)
        if isinstance(event, ForkFound) and host.honest:
            number = (event.writer_id, event.seq)
            self.forks_found.setdefault(number, {})[host.name] = self.now_s
            self.branches_found.setdefault(number, {}).update(host.running.replica.live.forks().get(number, {}))
        if isinstance(event, StageAnswered | EpochCommitted | StageAborted):
            self.stage_events.append((self.now_s, host.name, event))
            self._compare_epochs(host, event.prefix)
        if self.on_event is not None:
            self.on_event(host, event)

    def _compare_epochs(self, host: Host, prefix: str) -> None:
        """All who serve a strict prefix serve the same epoch of it. Who was shut out by any policy is asked no more."""
        honest = self.honest()
        shut_out = frozenset[str]().union(*(one.running.stages.shut_out for one in honest))
        served: dict[bytes, str] = {}
        for one in honest:
            stage = one.running.stages.standing(prefix).served
            if stage is not None and one.name not in shut_out:
                served.setdefault(stage.id, one.name)
        if len(served) > 1:
            words = " and ".join(f"{name} serves {epoch.hex()[:8]}" for epoch, name in served.items())
            host.violations.append(("together", f"of {prefix}, {words}"))

    # -- disk ---------------------------------------------------------------------------------------

    def _persist(self, host: Host, persist: Persist) -> None:
        host.disk.waiting.append(persist)
        if not host.disk.busy:
            self._write(host)

    def _write(self, host: Host) -> None:
        """Begin to write what waits, in one transaction."""
        disk = host.disk
        group = disk.take_group()
        disk.busy = bool(group)
        if group:
            duration_s = 0.0
            if _touches_disk(group):
                low_ms, high_ms = self.conditions.disk_ms
                duration_s = (low_ms + (high_ms - low_ms) * self._disk_rng.random()) * disk.slowness / 1000
            self.schedule.later(COMMITTED_SHARE * duration_s, self._commit, host, host.boot, group)
            self.schedule.later(duration_s, self._written, host, host.boot, group)

    def _commit(self, host: Host, boot: int, group: list[Persist]) -> None:
        """The transaction is on disk, and nobody knows: a crash may come in between."""
        if host.boot == boot and host.disk.busy and not host.disk.full:
            for persist in group:
                host.disk.write(persist.ops, self.interning.form)
                host.disk.committed.append(persist.token)

    def _written(self, host: Host, boot: int, group: list[Persist]) -> None:
        """The transaction has ended, well or badly, and the process is told."""
        if host.node is None or host.boot != boot or self._waits(host, self._written, host, boot, group):
            return
        disk, error = host.disk, ""
        committed, disk.committed = dict.fromkeys(disk.committed), []
        if _touches_disk(group) and not all(persist.token in committed for persist in group):
            error = "no space left on device"
            group, disk.waiting = group + disk.waiting, []  # what was queued meanwhile rests on what has failed
        for persist in group:
            if not error:
                self._show(host, persist.reads)
            self._note(Input.PERSISTED, host, error.encode(), persist.token)
            host.node.persisted(self._clock(host), persist.token, error or None)
            self._settle(host)
        self._write(host)

    def _recall(self, host: Host, recall: Recall) -> None:
        self.schedule.later(0.0, self._recalled, host, host.boot, recall)

    def _recalled(self, host: Host, boot: int, recall: Recall) -> None:
        """A node is given what its history has of these slots and changes."""
        if host.node is None or host.boot != boot or self._waits(host, self._recalled, host, boot, recall):
            return
        slots, change_ids = frozenset(recall.slots), frozenset(recall.change_ids)
        retired = {
            data: self.interning.change(data, self.cluster.genesis.cluster_id) for data in host.disk.retired.values()
        }
        found = [
            data
            for data, change in retired.items()
            if recall.everything or change.id in change_ids or any(version.slot in slots for version in change.versions)
        ]
        self._note(Input.RECALLED, host, b"".join(found))
        host.node.recalled(self._clock(host), found)
        self._settle(host)

    # -- readers ------------------------------------------------------------------------------------

    def _show(self, host: Host, reads: Iterable[tuple[Slot, tuple[Version, ...]]]) -> None:
        """Readers see this now; a violation is what no reader must ever see."""
        for slot, versions in reads:
            if not versions:
                if not all(map(self.is_void, host.reads.pop(slot, ()))):
                    host.violations.append(("available", f"{host.name} has nothing to return for {slot} any more"))
                continue
            seen = host.reads.get(slot, ())
            host.reads[slot] = versions
            if self.on_visible is not None:
                for version in versions:
                    if version not in seen:
                        self.on_visible(host, version.change_id)
            before = host.returned.get(slot)
            if before is None:
                host.returned[slot] = versions[:1]
            elif before[-1].id != versions[0].id:
                self._return(host, slot, before, versions[0])

    def _return(self, host: Host, slot: Slot, before: tuple[Version, ...], winner: Version) -> None:
        """Readers get another version. Of those before, what it supersedes need not be remembered: the order is
        transitive, so what supersedes an older one supersedes whatever that one has superseded."""
        if any(earlier.supersedes(winner) and not self.is_void(earlier) for earlier in before):
            host.violations.append(("monotonic", f"{host.name} returns an older version of {slot} than before"))
        kept = tuple(one for one in before if one.id != winner.id and not winner.supersedes(one))
        host.returned[slot] = (*kept, winner)

    # -- fingerprints -------------------------------------------------------------------------------

    def _count_root(self, host: Host, root: bytes) -> None:
        """Keep the account of which fingerprints honest nodes have, and of when they last differed."""
        if host.adversary is not None:
            host.root = root
            return
        self._uncount_root(host)
        host.root = root
        self.shaken_s = self.now_s
        self._roots[root] = self._roots.get(root, 0) + 1

    def _uncount_root(self, host: Host) -> None:
        if host.root in self._roots and host.adversary is None:
            if len(self._roots) > 1:
                self.unequal_s = self.now_s
            self.shaken_s = self.now_s
            self._roots[host.root] -= 1
            if not self._roots[host.root]:
                del self._roots[host.root]
        host.root = b""


def _touches_disk(group: Iterable[Persist]) -> bool:
    """Whether there is anything to write: what only shows readers something waits its turn and no more."""
    return any(persist.ops for persist in group)
