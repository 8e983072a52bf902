"""The agent: a node with its sockets, its journal and its clocks.

Carries a node's outputs out and the world's events in, all on the trio thread, and
decides nothing itself. Peers failing end as log lines; a fault of our own leaves
`run`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import trio

from ..model.change import Change
from ..model.entry import Slot, ValueType
from ..model.errors import (
    ControlError,
    DiscoveryError,
    GossipconfError,
    InvalidInput,
    NotRecipient,
    Rejected,
)
from ..model.version import Version
from ..protocol import events as ev
from ..protocol.environment import Connect, Disconnect, Emit, Now, Output, Persist, Recall, Resolve, Send, Show
from ..protocol.frames import FrameClass
from ..protocol.node import Node
from ..protocol.subject import Subject
from ..store.checkpoint import Checkpoint
from ..store.journal import Journal
from ..store.resolution import Reader
from ..trust.cluster import Cluster
from ..trust.membership import Membership
from ..trust.sealed import Place, unwrap
from ..trust.signing import Reservation
from ..trust.snapshot import Snapshot
from ..trust.statement import Kind
from .address import format_address
from .boot import JOURNAL_FILE, boot, make_directory, make_node
from .complaint import Complained, Votes, complain
from .control import ControlServer
from .credentials import Credentials
from .discovery import Discovery, LookUp, check_extra
from .error_group import one_error
from .event_log import EventLog
from .inspector import Inspector
from .issuing import Issuing
from .last_good import LastGood, ValueHeldBack
from .last_good import load as load_held_back
from .link import Link
from .own_identity import IdentityEvent, NodeRevoked, OwnIdentity
from .pending import Pending
from .pki import PeerIdentity
from .reads import ReadView
from .recollection import recollect
from .renewer import Renewer
from .settings import AgentSettings
from .transport import Transport, TransportEvents, TransportLimits
from .writer import JournalWriter

MERGED_AT_ONCE: Final = 64
"""Changes of a checkpoint merged before others have their turn: about 10 ms of signatures."""
FAREWELL_S: Final = 3.0
"""How long a stopping agent tries to send what is queued."""
STOPPING: Final = "the agent is stopping, and takes no publish or question any more"

EPOCHS_CHANGE: Final = (ev.StageAnswered, ev.EpochCommitted, ev.StageAborted, ev.PolicyAccepted)
"""After these a strict prefix may be served otherwise, or not at all."""

log = logging.getLogger("gossipconf")

T = TypeVar("T")


class Service(Protocol):
    """What serves an agent's readers beside the command line: begun with the agent, and the first to end."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until `close` and the last answer; started once clients can connect."""

    def close(self) -> None:
        """Take no more clients and requests; what has been asked is still answered."""

    async def finished(self) -> None:
        """Wait until nobody is being answered any more."""


class Agent:
    """One agent. `run` it in a nursery; `stop` ends it gracefully.

    So that it can be driven without sockets, and a run repeated, what it takes from its machine
    can be given: ``rng``, the one source of its node's randomness; ``wall_ms``, the wall clock in
    milliseconds since 1970 (the other clock is trio's); ``make_transport``, called as `Transport`;
    ``look_up``, which gives the addresses that a seed's name stands for.

    ``services``: makes, for this agent, what else it serves; of layers of which this one knows nothing.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        rng: random.Random | None = None,
        wall_ms: Callable[[], int] | None = None,
        make_transport: Callable[..., Transport] = Transport,
        look_up: LookUp | None = None,
        services: Sequence[Callable[[Agent], Service]] = (),
    ) -> None:
        self.settings = settings
        self._rng = rng or random.SystemRandom()
        self._wall_ms = wall_ms or _wall_ms
        self._make_transport = make_transport
        self._look_up = look_up or Discovery().look_up
        self.started_ms = self._wall_ms()
        self.reader = Reader.of(settings.node, settings.zone, dict(settings.labels))
        self._node: Node | None = None
        self._reads: ReadView | None = None
        self._inspector: Inspector | None = None
        self._last_good: LastGood | None = None
        self._transport: Transport | None = None
        self._nursery: trio.Nursery | None = None
        self._writer: JournalWriter | None = None
        self._identity: OwnIdentity | None = None
        self._renewer = Renewer(self, None)
        self._membership = Membership()
        self._own_refusal: str | None = None
        self._links: dict[int, Link] = {}
        self._waiting: dict[int, Callable[[GossipconfError | None], None]] = {}
        self._asking: dict[int, Callable[[ev.AckProgress], None]] = {}
        self._saying: dict[tuple[Kind, bytes], list[Callable[[GossipconfError | None], None]]] = {}
        self._tokens = itertools.count(1)
        self._event_log = EventLog()
        self._stop = trio.Event()
        self._armed_s = float("inf")
        self._timer_changed = trio.Event()
        self._busy = False
        self._services = [make(self) for make in services]

    # -- what the control interface may ask -------------------------------------------------------

    @property
    def node(self) -> Node:
        """The protocol machine. Raises RuntimeError before `run` has started it."""
        return _started(self._node)

    @property
    def reads(self) -> ReadView:
        """What readers see."""
        return _started(self._reads)

    @property
    def inspector(self) -> Inspector:
        """What looks at values before they are published here."""
        return _started(self._inspector)

    @property
    def last_good(self) -> LastGood:
        """What is held back from readers because it fails a schema."""
        return _started(self._last_good)

    @property
    def writer(self) -> JournalWriter:
        """The journal's writer."""
        return _started(self._writer)

    @property
    def credentials(self) -> Credentials:
        """Key and certificate in use."""
        return _started(self._identity).credentials

    def transport_link(self, link_id: int) -> Link | None:
        """The connection behind a protocol link."""
        return self._links.get(link_id)

    def content_key(self, version: Version) -> bytes:
        """The key that opens the sealed value of ``version``, if it is sealed to this agent.

        Raises NotRecipient, SealMoved or SealBroken. What is opened stays in memory.
        """
        entry = version.entry
        if entry.type is not ValueType.SEALED or entry.value is None:
            raise InvalidInput(f"{entry.key!r} is not a sealed value")
        recipient = self.credentials.recipient
        if recipient is None:
            raise NotRecipient(f"{entry.key!r} is sealed, and this agent has no {self.settings.files.seal_key}")
        return unwrap(entry.value, Place(version.header.cluster, entry.key, entry.variant), recipient)

    def reserve(self, signer: bytes, slots: list[Slot]) -> Reservation:
        """The number under which ``signer`` can publish to ``slots``."""
        return self.node.reserve(self.now(), signer, slots)

    def submit_beacon(self, snapshot: Snapshot) -> None:
        """Spread a signed beacon. Raises InvalidInput, a Rejected that says why not, or ControlError while stopping."""
        if self._stop.is_set():
            raise ControlError(STOPPING)
        self._input(lambda: self.node.submit_beacon(self.now(), snapshot))

    async def publish(self, change: Change, *, is_compared: bool = False, is_checked: bool = False) -> None:
        """Publish a signed change; returns once it is on disk. Raises what refused it.

        Its values are checked first, see `Inspector.check`, unless ``is_checked``: they were before it was signed, and
        its number is used at once. ``is_compared``: see `Replica.publish`.

        Raises ControlError once the agent stops; whether it is on disk then shows at the next start.
        """
        if not is_checked:
            await self.inspector.check([entry for _, entry in change.entries])
        if self._stop.is_set():
            raise ControlError(STOPPING)
        token = next(self._tokens)
        pending = Pending()
        self._waiting[token] = pending.finish
        self._input(lambda: self.node.publish(self.now(), token, change, is_compared=is_compared))
        await pending.wait()

    async def say(self, kind: Kind, subject: bytes) -> None:
        """Say something of a change, signed with this node's certificate; returns once it is on disk, at once if it is.

        Raises what `Statements.say` raises, Rejected if it is not said in the end, ControlError once the agent stops.
        """
        if self._stop.is_set():
            raise ControlError(STOPPING)
        pending = Pending()
        waiting = self._saying.setdefault((kind, subject), [])
        waiting.append(pending.finish)
        try:
            self._input(lambda: self.node.say(self.now(), kind, subject))
            await pending.wait()
        finally:
            waiting.remove(pending.finish)
            if not waiting and self._saying.get((kind, subject)) is waiting:
                del self._saying[kind, subject]

    async def report_unhealthy(self, key: str | None, change: str | None = None, reason: str = "") -> Votes:
        """Call what this agent reads of ``key``, or the change whose id begins with ``change``, unhealthy: one vote,
        for good. See `complaint.complain`."""
        return await complain(self, key, change, reason)

    def ask(self, subject: Subject, lease_s: float, told: Callable[[ev.AckProgress], None]) -> int:
        """Ask who has applied ``subject``: ``told`` is called with each tally, until `cancel` or ``lease_s`` is over.

        Raises ControlError once the agent stops, and what `Acks.ask` raises.
        """
        if self._stop.is_set():
            raise ControlError(STOPPING)
        question = 0

        def ask() -> None:
            nonlocal question
            question = self.node.ask(self.now(), subject, lease_s)
            self._asking[question] = told

        self._input(ask)
        return question

    def cancel(self, question: int) -> None:
        """Want to know no more of a question."""
        del self._asking[question]
        if not self._stop.is_set():
            self._input(lambda: self.node.cancel(self.now(), question))

    def stop(self) -> None:
        """Begin to stop: farewell to peers, what is queued is sent and written."""
        self._stop.set()

    async def reload(self) -> None:
        """Read key, certificate and CA again, for new connections; an event tells what has come of it."""
        if self._identity is not None:
            await self._identity.reload()

    def ask_renewal(self, request: bytes) -> bool:
        """Ask issuers to renew this agent's certificate; whether the policy names any. See `Renewal.ask`."""
        asked = False

        def ask() -> None:
            nonlocal asked
            asked = self.node.renew(self.now(), request)

        self._input(ask)
        return asked

    def start_soon(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run ``task`` while the agent runs."""
        assert self._nursery is not None
        self._nursery.start_soon(task, *arguments)

    def tell(self, event: ev.Event | IdentityEvent | Complained | ValueHeldBack) -> None:
        """Tell people, in the log."""
        if isinstance(event, ValueHeldBack):
            self._event_log.write_held_back(event, trio.current_time())
        else:
            self._event_log.write(event, trio.current_time())

    def now(self) -> Now:
        """The two clocks."""
        return Now(trio.current_time(), self._wall_ms())

    # -- life -------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`. Started once peers and the command line can connect.

        Raises ConfigError, KeyFileError, JournalError or TransportError for what is
        wrong at the start, and JournalError for a journal that is found damaged.
        """
        settings = self.settings
        check_extra(settings.join)
        if settings.http is not None and not self._services:
            log.warning("option 'http' is set, and what runs this agent serves no HTTP; `gossipconf agent run` does")
        cluster = Cluster.load(settings.cluster)
        cluster_id = cluster.genesis.cluster_id
        if settings.ticket is not None:
            self._renewer = Renewer(self, Issuing(settings.ticket, cluster_id, settings.issued_days))
        identity = self._identity = OwnIdentity(
            settings.files,
            settings.node,
            cluster_id,
            use=self._use,
            tell=self.tell,
            renew=self._renewer.renew,
            wall_ms=self._wall_ms,
        )
        self._look_at_recipient()
        make_directory(settings.data)
        transport = self._transport = self._make_transport(
            server_context=identity.credentials.server_context,
            client_context=identity.credentials.client_context,
            cluster_id=cluster_id,
            refusal=self._refusal,
            events=TransportEvents(self._connected, self._received, self._closed, self._dial_failed, _refused),
            source_host=settings.source_host,
            limits=TransportLimits(connect_s=settings.tuning.dial_s),
        )
        path = settings.data / JOURNAL_FILE
        journal = await trio.to_thread.run_sync(
            lambda: Journal.open(path, cluster_id=cluster_id, node_id=settings.node)
        )
        with contextlib.closing(journal):
            chain = cluster.chain()
            restored, checkpoint = await trio.to_thread.run_sync(boot, journal, chain, settings, self._wall_ms())
            bound = await transport.listen(*settings.listen)
            address = settings.advertise or format_address(*bound)
            try:
                self._node = make_node(settings, cluster, chain, restored, address, path, self._rng, identity.notary)
                if self._renewer.can_issue:
                    self._node.issue_with(
                        lambda link, node_id, request: self._renewer.issue(self._links[link], node_id, request)
                    )
                self._take_membership()
                self._reads = ReadView(self._node.replica.live.slots(), self.reader)
                self._reads.epochs_changed(self._node.stages)
                self._inspector = Inspector(self._reads)
                held_back = await trio.to_thread.run_sync(load_held_back, journal)
                self._last_good = LastGood(self._reads, self._inspector, self.tell, held_back)
                self._writer = JournalWriter(journal, self._written, self._last_good.look)
                log.info("agent %s serves cluster %r on %s", settings.node, cluster.genesis.name, address)
                with one_error():
                    await self._run_tasks(checkpoint, task_status)
            finally:
                self._stop.set()
                for finish in (*self._waiting.values(), *itertools.chain(*self._saying.values())):
                    finish(ControlError(STOPPING))
                with trio.CancelScope(shield=True):
                    await transport.aclose()  # at once: it has ended, or was never run and only listens
        log.info("agent %s has stopped", settings.node)

    async def _merge(self, checkpoint: Checkpoint) -> None:
        """Take over what the disk, which held something already, lacks of a checkpoint: each change is judged."""
        news = 0
        for begin in range(0, len(checkpoint.parts), MERGED_AT_ONCE):
            batch = checkpoint.parts[begin : begin + MERGED_AT_ONCE]

            def merge(batch: tuple[tuple[Change, bytes], ...] = batch) -> None:
                nonlocal news
                news += self.node.merge(self.now(), batch)

            self._input(merge)
            await trio.lowlevel.checkpoint()
        log.info(
            "the disk held something: of the %d changes in %s %d were news, and verified one by one",
            len(checkpoint.parts),
            self.settings.checkpoint,
            news,
        )

    async def _run_tasks(self, checkpoint: Checkpoint | None, task_status: trio.TaskStatus[None]) -> None:
        transport, writer = self._transport, self.writer
        assert transport is not None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(writer.run)
            nursery.start_soon(writer.sweep_history, self.settings.history_days, self._wall_ms)
            nursery.start_soon(self.reads.moments.run, self._wall_ms, self.reads.clock_moved)
            control = ControlServer(self, self.settings.control_socket)
            await nursery.start(control.run)
            for service in self._services:
                await nursery.start(service.run)
            await nursery.start(transport.run)
            self._input(lambda: self.node.start(self.now()))  # at once: no handshake is done by now
            nursery.start_soon(self._tick)
            assert self._identity is not None
            nursery.start_soon(self._identity.run)
            if checkpoint is not None:
                nursery.start_soon(self._merge, checkpoint)
            task_status.started()
            await self._stop.wait()
            for one in (*self._services, control):
                one.close()
            with trio.move_on_after(FAREWELL_S):
                await writer.flushed()  # what is acknowledged by this is still spread
                for one in (*self._services, control):
                    await one.finished()  # and its asker told
            self._input(lambda: self.node.stop(self.now()))
            with trio.move_on_after(2 * FAREWELL_S):
                await transport.aclose(grace_s=FAREWELL_S)
                await writer.flushed()
            nursery.cancel_scope.cancel()

    def _use(self, credentials: Credentials) -> None:
        assert self._transport is not None
        self._transport.use(credentials.server_context, credentials.client_context)
        self._look_at_recipient()
        self._look_at_oneself()
        self._input(lambda: self.node.renewed(self.now()))

    def _look_at_recipient(self) -> None:
        """Tell that this node has no key to open sealed values with."""
        if self.credentials.recipient is None:
            log.info("no %s: this agent opens no sealed values", self.settings.files.seal_key)

    def _refusal(self, peer: PeerIdentity) -> str | None:
        """Why the policy keeps a peer out."""
        return self._membership.refusal(peer.node_id, peer.certificates)

    def _take_membership(self) -> None:
        """A policy has come into force: close the links to those whom it keeps out."""
        self._membership = Membership.of(self.node.replica.chain.head)
        for link in tuple(self._links.values()):
            refusal = self._refusal(link.peer)
            if refusal is not None:
                link.close(refusal)
        self._look_at_oneself()

    def _look_at_oneself(self) -> None:
        """Tell, once, that the policy keeps this node itself out."""
        refusal = self._refusal(self.credentials.identity)
        if refusal is not None and refusal != self._own_refusal:
            self.tell(NodeRevoked(refusal))
        self._own_refusal = refusal

    async def _tick(self) -> None:
        """Call the node's timer when it is due."""
        while True:
            due_s = self.node.next_timer_s
            self._armed_s = float("inf") if due_s is None else due_s
            self._timer_changed = trio.Event()
            with trio.move_on_at(self._armed_s):
                await self._timer_changed.wait()
                continue
            self._input(lambda: self.node.timer(self.now()))

    # -- inputs -----------------------------------------------------------------------------------

    def _connected(self, link: Link) -> None:
        self._links[link.id] = link
        self._input(
            lambda: self.node.connected(
                self.now(), link.id, link.peer.node_id, outbound=link.outbound, address=link.address
            )
        )

    def _received(self, link: Link, frame_class: FrameClass, message: bytes) -> None:
        self._input(lambda: self.node.received(self.now(), link.id, message))

    def _closed(self, link: Link, reason: str) -> None:
        del self._links[link.id]
        self._input(lambda: self.node.disconnected(self.now(), link.id, reason))

    def _dial_failed(self, address: str, reason: str) -> None:
        self._input(lambda: self.node.connect_failed(self.now(), address, reason))

    async def _resolve(self, name: str) -> None:
        try:
            addresses = await self._look_up(name)
        except DiscoveryError as error:
            reason = str(error)
            self._input(lambda: self.node.resolve_failed(self.now(), name, reason))
        else:
            log.debug("%s stands for %s", name, ", ".join(addresses) or "nothing")
            self._input(lambda: self.node.resolved(self.now(), name, addresses))

    def _written(self, persist: Persist, error: str | None) -> None:
        if error is None:
            self.last_good.taken()
            self.reads.show(persist.reads)
        else:
            self.last_good.lost()
        self._input(lambda: self.node.persisted(self.now(), persist.token, error))

    async def _recall(self, recall: Recall) -> None:
        await recollect(
            recall,
            self.writer,
            self.node.replica.may_return,
            lambda found: self._input(lambda: self.node.recalled(self.now(), found)),
        )

    # -- outputs ----------------------------------------------------------------------------------

    def _input(self, action: Callable[[], None]) -> None:
        """Give the node an input, and carry out what it puts out, in order."""
        action()
        if self._busy:
            return  # an output has caused this input: the loop below takes what it puts out
        self._busy = True
        try:
            while outputs := self.node.take_outputs():
                for output in outputs:
                    self._carry_out(output)
            due_s = self.node.next_timer_s
            if due_s is not None and due_s < self._armed_s:
                self._timer_changed.set()
        finally:
            self._busy = False

    def _carry_out(self, output: Output) -> None:
        assert self._transport is not None
        match output:
            case Send():
                link = self._links.get(output.link)
                if link is not None and not link.send(output.frame_class, output.message) and not link.closing:
                    self.node.dropped(self.now(), output.link, output.frame_class)
            case Connect():
                self._transport.dial(output.address)
            case Resolve():
                assert self._nursery is not None
                self._nursery.start_soon(self._resolve, output.name)
            case Disconnect():
                link = self._links.get(output.link)
                if link is None:
                    pass
                elif self._stop.is_set():
                    link.finish(output.reason, trio.current_time() + FAREWELL_S)  # the last copy may be on its way
                else:
                    link.close(output.reason)
            case Persist():
                self.writer.write(output)
            case Show():
                self.reads.show(output.reads)
            case Recall():
                assert self._nursery is not None
                self._nursery.start_soon(self._recall, output)
            case Emit():
                self._tell(output.event)

    def _tell(self, event: ev.Event) -> None:
        match event:
            case ev.Published():
                self._waiting.pop(event.token)(None)
            case ev.PublishFailed():
                self._waiting.pop(event.token)(event.error)
            case ev.CertificateOffered():
                self._renewer.take(event.node_id, event.certificate)
            case ev.Said():
                self._finish_saying(event, None)
            case ev.SayFailed():
                self._finish_saying(event, Rejected(f"it is not said: {event.reason}"))
                self.tell(event)
            case ev.AckProgress():
                if event.question in self._asking:
                    self._asking[event.question](event)
            case _:
                self.tell(event)
                if isinstance(event, ev.PolicyAccepted):
                    self._take_membership()
                if isinstance(event, EPOCHS_CHANGE):
                    self.reads.epochs_changed(self.node.stages)
                elif isinstance(event, ev.Halted | ev.Resumed):
                    self.reads.held_off(event.keys)

    def _finish_saying(self, event: ev.Said | ev.SayFailed, error: GossipconfError | None) -> None:
        for finish in self._saying.pop((event.kind, event.subject), ()):
            finish(error)


def _started(part: T | None) -> T:
    """A part of an agent that is there once `run` has begun. Raises RuntimeError before."""
    if part is None:
        raise RuntimeError("the agent has not started")
    return part


def _refused(remote: str, reason: str) -> None:
    log.debug("refused a connection from %s: %s", remote, reason)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
