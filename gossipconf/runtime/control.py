"""The control interface: how the command line asks a running agent, over a Unix socket.

Requests and replies are msgpack maps behind a 4-byte length. Thin on purpose: signed changes
are handed out as they are (`handout`, `logbook`), so that whoever asks can verify them and need
not believe the agent; what it says beside them is in `account` and `staging`. Here are the
connections, what streams, and what is published. Only the socket's owner may connect (mode 0600).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ..model.change import PUBLIC_KEY_BYTES
from ..model.errors import ControlError, GossipconfError, InvalidInput, StrictRead, UnknownChange
from ..model.key import check_key, check_prefix
from ..model.merkle import SparseTree
from ..protocol.subject import Subject
from ..trust.snapshot import Snapshot
from . import account, handout, logbook, staging
from .complaint import told
from .control_request import PAGE_BYTES_MAX, hex_of, receive, slots_of, text_of, wait_s_of
from .control_socket import framed, listen
from .latest_tally import LatestTally

if TYPE_CHECKING:
    from .agent import Agent

FORKS_TOLD_MAX: Final = 1_000
"""Forks in a reply, with eight headers of some 300 bytes each: who has that many has one cause."""
ANSWER_S: Final = 10.0
"""A question stands so much longer than its asker waits, so that it is the waiting that ends."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Streamer = Callable[[trio.SocketStream, dict[str, Any]], Awaitable[None]]


class ControlServer:
    """Answers requests for one agent."""

    def __init__(self, agent: Agent, path: Path) -> None:
        self._agent = agent
        self._path = path
        self._is_closing = False
        self._waiting: dict[int, trio.CancelScope] = {}
        self._finished = trio.Event()
        self._handlers: dict[str, Handler] = {
            "info": lambda request: account.info(agent, request),
            "policies": self._policies,
            "forks": self._forks,
            "get": lambda request: handout.get(agent, request),
            "list": lambda request: handout.page(agent, request),
            "ids": lambda request: handout.ids(agent, request),
            "log": lambda request: logbook.page(agent, request),
            "change": lambda request: logbook.named(agent, request),
            "status": lambda request: account.status(agent, request),
            "reserve": self._reserve,
            "publish": self._publish,
            "unwrap": lambda request: handout.unwrap(agent, request),
            "beacon": self._beacon,
            "stages": lambda request: staging.progress(agent, request),
            "unhealthy": self._unhealthy,
        }
        self._streams: dict[str, Streamer] = {"watch": self._watch, "acks": self._acks, "contents": self._contents}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until `close` and the last answer. Raises ControlError if it cannot listen."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen(self._path)))
        try:
            async with trio.open_nursery() as connections:
                with self._until_closing():
                    task_status.started()  # bound and listening: a request that comes now waits for the loop below
                    await trio.serve_listeners(self._serve, [listener], handler_nursery=connections)
        finally:
            self._finished.set()
            with contextlib.suppress(OSError):  # gone already, or read-only by now: the next start replaces it
                self._path.unlink()

    def close(self) -> None:
        """Take no more connections and requests, and end the watches. What has been asked is still answered."""
        self._is_closing = True
        for scope in self._waiting.values():
            scope.cancel()

    async def finished(self) -> None:
        """Wait until nobody is being answered any more."""
        await self._finished.wait()

    @contextlib.contextmanager
    def _until_closing(self) -> Iterator[None]:
        """Around what waits for others and may be cut off by `close` without harm."""
        with trio.CancelScope() as scope:
            if self._is_closing:
                scope.cancel()
            self._waiting[id(scope)] = scope
            try:
                yield
            finally:
                del self._waiting[id(scope)]

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection: requests one after another, until the asker goes away."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while (request := await self._next(stream)) is not None:
                    stream_of = self._streams.get(str(request.get("op")))
                    if stream_of is not None:
                        with self._until_closing():
                            await stream_of(stream, request)
                        return
                    await _send(stream, await self._answer(request))

    async def _next(self, stream: trio.SocketStream) -> dict[str, Any] | None:
        """The next request, or None at the end; a malformed one ends the connection."""
        try:
            with self._until_closing():
                return await receive(stream)
        except InvalidInput as error:
            await _send(stream, _refusal(error))
        return None

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            handler = self._handlers.get(str(request.get("op")))
            if handler is None:
                raise InvalidInput(f"this agent does not know the request {request.get('op')!r}")
            return {"ok": True, **await handler(request)}
        except GossipconfError as error:
            return _refusal(error)

    # -- reading ----------------------------------------------------------------------------------

    async def _policies(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"changes": [change.encode() for change in self._agent.node.replica.policies_after(0)]}

    async def _forks(self, request: dict[str, Any]) -> dict[str, Any]:
        """The forks that are known, each as its branches: a bare header, and whether anything of that change lives."""
        live = self._agent.node.replica.live
        known = sorted(live.forks().items())
        return {
            "forks": [
                [{"header": header.encode(), "lives": live.has_live_part(header.id)} for header in branches.values()]
                for _, branches in known[:FORKS_TOLD_MAX]
            ],
            "more": len(known) > FORKS_TOLD_MAX,
        }

    async def _contents(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        """All that is replicated, as it is now, in pages of changes; the last page is marked."""
        parts = list(self._agent.node.replica.live.parts())
        page: list[bytes] = []
        size = 0
        try:
            await _send(stream, {"ok": True})
            for part in parts:
                page.append(part.encode())
                size += len(page[-1])
                if size > PAGE_BYTES_MAX:
                    await _send(stream, {"event": "contents", "changes": page, "done": False})
                    page, size = [], 0
            await _send(stream, {"event": "contents", "changes": page, "done": True})
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away

    async def _watch(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        try:
            prefix = check_prefix(text_of(request, "prefix"))
        except GossipconfError as error:
            await _send(stream, _refusal(error))
            return
        watcher = self._agent.reads.watch(prefix)
        try:
            await _send(stream, {"ok": True})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_end, stream, nursery.cancel_scope)
                while True:
                    trees: dict[bytes, SparseTree] = {}
                    for key in await watcher.take():
                        try:
                            event = {
                                "event": "change",
                                "key": key,
                                "versions": await handout.signed(self._agent, key, trees),
                            }
                        except StrictRead:
                            continue  # fenced meanwhile: the key is told of again when it can be read
                        except ControlError as error:
                            event = _refusal(error)  # and the asker hangs up
                        await _send(stream, event)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away
        finally:
            self._agent.reads.unwatch(watcher)

    async def _acks(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        """Tallies as they change, until everybody has applied it or the time is over; the last one is marked."""
        tally = LatestTally()
        try:
            wait_s = wait_s_of(request)
            question = self._agent.ask(self._subject(request), wait_s + ANSWER_S, tally.put)
        except GossipconfError as error:
            await _send(stream, _refusal(error))
            return
        try:
            await _send(stream, {"ok": True})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_end, stream, nursery.cancel_scope)
                async with aclosing(tally.events(wait_s)) as events:
                    async for event in events:
                        await _send(stream, event)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away
        finally:
            self._agent.cancel(question)

    def _subject(self, request: dict[str, Any]) -> Subject:
        """What is asked: the change that ``change`` names, or this agent's own state."""
        replica = self._agent.node.replica
        if request.get("change") is None:
            return Subject(root=replica.root)
        start = hex_of(request, "change")
        found = replica.live.named(start)
        if not found:
            raise UnknownChange(
                f"this agent knows no change {start}; it may not have come here yet, or have died long ago: "
                "ask the agent where it was published"
            )
        if len(found) > 1:
            raise InvalidInput(f"{len(found)} changes begin with {start}; give more digits")
        return Subject.of(found, replica.live)

    # -- publishing -------------------------------------------------------------------------------

    async def _reserve(self, request: dict[str, Any]) -> dict[str, Any]:
        signer = request.get("signer")
        if not isinstance(signer, bytes) or len(signer) != PUBLIC_KEY_BYTES:
            raise InvalidInput("the request needs 'signer', a public key of 32 bytes")
        slots = slots_of(request)
        if self._agent.node.replica.is_publishing(slots):
            await self._agent.writer.flushed()  # what another command is publishing there now is to be replaced
        reservation = self._agent.reserve(signer, slots)
        return {
            "incarnation": reservation.incarnation,
            "seq": reservation.seq,
            "replaced": [part.encode() for part in self._agent.node.replica.live.parts_in(slots)],
            "policies": [change.encode() for change in self._agent.node.replica.policies_after(0)],
        }

    async def _publish(self, request: dict[str, Any]) -> dict[str, Any]:
        data = request.get("change")
        if not isinstance(data, bytes):
            raise InvalidInput("the request needs 'change', the bytes of a signed change")
        change = self._agent.node.replica.decode(data)
        await self._agent.publish(change, is_compared=request.get("compared") is True)
        return {"id": change.id, "versions": change.header.count}

    async def _beacon(self, request: dict[str, Any]) -> dict[str, Any]:
        data = request.get("snapshot")
        if not isinstance(data, bytes):
            raise InvalidInput("the request needs 'snapshot', the bytes of a signed snapshot")
        self._agent.submit_beacon(Snapshot.decode(data))
        return {}

    async def _unhealthy(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call what is read of ``key``, or of the change that ``change`` begins, unhealthy: this agent's vote."""
        key = None if request.get("key") is None else check_key(text_of(request, "key"))
        change = None if key is not None else hex_of(request, "change")
        return told(await self._agent.report_unhealthy(key, change, text_of(request, "reason")))


def _refusal(error: GossipconfError) -> dict[str, Any]:
    return {"ok": False, "error": type(error).__name__, "message": str(error)}


async def _send(stream: trio.SocketStream, reply: dict[str, Any]) -> None:
    await stream.send_all(framed(reply))


async def _cancel_at_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Watch for the asker's end while replies stream to it."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some(1024):
            pass
    scope.cancel()
