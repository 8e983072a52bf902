"""Links: authenticated connections that carry classed messages, over TLS 1.3 on TCP.

This file knows sockets, TLS, admission and the life of a link. It knows nothing of
what a message says, of who should be linked to whom, or of keepalives: a link whose
peer has silently vanished stays until its owner closes it.

The contract: each `dial` ends in exactly one of `connected` and `dial_failed`; each
`connected` in exactly one `closed`, after which (and after `Link.close`) nothing is
received on that link. Whatever a peer or the network does ends in one of these
callbacks or in `refused`, never in an exception. A callback that raises is a fault of
our own and leaves `Transport.run`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import trio

from gossipconf.model.errors import InvalidInput, TransportError
from gossipconf.protocol.frames import FrameClass
from gossipconf.runtime.address import format_address, parse_address
from gossipconf.runtime.link import STREAM_FAILURES, Link, failure_in_words
from gossipconf.runtime.pki import ALPN, PeerIdentity, read_chain
from gossipconf.runtime.tls import TlsStream

ACCEPT_PAUSE_S: Final = 0.1
"""Pause when the machine is out of file descriptors or memory: trying faster only burns the processor."""

STOPPING: Final = "this agent is stopping"


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """What protects a process from its network; each may differ from node to node."""

    connect_s: float = 3.0
    """TCP and TLS together. Three round trips to the far side of the world and one retransmission."""
    handshake_s: float = 3.0
    """TLS of an incoming connection, for the same reason."""
    accepts_per_s: float = 40.0
    """Incoming connections started a second, in the long run: about 4% of one core in handshakes (1 ms each)."""
    accepts_burst: int = 10
    """Those that are started at once. With what comes meanwhile no second sees more than 50, whoever restarts: a seed
    has its service to run. Who is turned away comes again soon, and most have other addresses by then."""
    handshakes_max: int = 64
    """Incoming handshakes at a time: strangers who connect and say nothing hold no more than this."""
    inbound_links_max: int = 512
    """Accepted links: far above any active view, below the usual 1,024 file descriptors."""


@dataclass(frozen=True, slots=True)
class TransportEvents:
    """Callbacks, all synchronous and on the trio thread. The module's docstring states their order."""

    connected: Callable[[Link], None]
    received: Callable[[Link, FrameClass, bytes], None]
    closed: Callable[[Link, str], None]
    """A link and, in words, why it ended."""
    dial_failed: Callable[[str, str], None]
    """The address as dialled and, in words, why there is no link."""
    refused: Callable[[str, str], None] = lambda remote, reason: None
    """An incoming connection that became no link: the remote address and why. For logs and counters."""


class Transport:
    """Listens, dials and keeps the links.

    *cluster_id* is compared with every peer's certificate; *refusal* says, after each handshake, why its peer
    is not wanted, or None. *source_host* is the local address
    of outgoing connections, for hosts with several; None leaves it to the routing table.
    """

    def __init__(
        self,
        *,
        server_context: ssl.SSLContext,
        client_context: ssl.SSLContext,
        cluster_id: bytes,
        events: TransportEvents,
        refusal: Callable[[PeerIdentity], str | None] = lambda peer: None,
        source_host: str | None = None,
        limits: TransportLimits | None = None,
    ) -> None:
        self._server_context = server_context
        self._client_context = client_context
        self._cluster_id = cluster_id
        self._events = events
        self._refusal = refusal
        self._source_host = source_host
        self._limits = limits or TransportLimits()
        self._numbers = itertools.count(1)
        self._listeners: list[trio.SocketListener] = []
        self._links: dict[int, Link] = {}
        self._opening: dict[int, trio.CancelScope] = {}
        self._handshakes = 0
        self._bucket = _TokenBucket(self._limits.accepts_per_s, self._limits.accepts_burst)
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        self._finished = trio.Event()
        self._stop_reason: str | None = None

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that are connected and not yet closed, oldest first."""
        return tuple(self._links.values())

    def use(self, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
        """From the next handshake on use these contexts; links that are open keep theirs."""
        self._server_context = server_context
        self._client_context = client_context

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Bind *host*:*port* (0: a free port) and return what was bound; accepting begins with `run`.

        Raises `TransportError` naming the address and the mend.
        """
        address = format_address(host, port)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except (OSError, UnicodeError, OverflowError) as error:
            raise TransportError(f"cannot listen on {address}: {_listen_mend(error)}") from error
        if port == 0:
            # A name with several addresses would get a different port for each; one can be advertised.
            for extra in listeners[1:]:
                extra.socket.close()
            del listeners[1:]
        self._listeners += listeners
        if self._nursery is not None:
            for listener in listeners:
                self._nursery.start_soon(self._accept, listener)
        bound = listeners[0].socket.getsockname()
        return bound[0], bound[1]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept, and hold all links, until cancelled or until `aclose`; may run once.

        Cancelling ends every link at once, with `closed` and `dial_failed` callbacks but without
        flushing. Raises only what a callback raised.
        """
        if self._nursery is not None or self._stop_reason is not None:
            raise RuntimeError("a Transport runs once")
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener in self._listeners:
                    nursery.start_soon(self._accept, listener)
                task_status.started()
                await self._stop.wait()
        finally:
            self._stop_reason = self._stop_reason or STOPPING
            self._close_listeners()
            self._finished.set()

    def dial(self, address: str) -> None:
        """Start a connection to *address*, `host:port` or `[v6]:port`; `run` must have begun.

        A malformed address fails like an unreachable one: addresses come from peers. After
        `aclose` or the end of `run` nothing happens, and no callback comes.
        """
        if self._stop_reason is not None:
            return
        if self._nursery is None:
            raise RuntimeError("Transport.dial() before Transport.run()")
        self._nursery.start_soon(self._dial, address)

    async def aclose(self, reason: str = STOPPING, *, grace_s: float = 5.0) -> None:
        """Stop accepting and dialling, flush every link for at most *grace_s* seconds, close; ends `run`."""
        self._stop_reason = self._stop_reason or reason
        self._stop.set()
        self._close_listeners()
        for opening in self._opening.values():
            opening.cancel()
        deadline = trio.current_time() + grace_s
        for link in self.links:
            link.finish(reason, deadline)
        if self._nursery is not None:
            await self._finished.wait()

    async def serve_stream(
        self, stream: trio.abc.Stream, *, outbound: bool, address: str, deadline: float | None = None
    ) -> None:
        """Run one link over *stream*, from the TLS handshake to its end; the stream is closed after.

        Works over any trio stream, so tests and simulators need no sockets. *deadline* (trio's
        clock) bounds the handshake.
        """
        if deadline is None:
            limit_s = self._limits.connect_s if outbound else self._limits.handshake_s
            deadline = trio.current_time() + limit_s
        secured: TlsStream | None = None
        peer: PeerIdentity | None = None
        failure = STOPPING  # stands if the handshake is cancelled from outside
        self._handshakes += not outbound
        try:
            with self._opening_scope(deadline) as scope:
                try:
                    secured, peer = await self._secure(stream, outbound=outbound)
                except TransportError as error:
                    failure = str(error)
            if self._stop_reason is not None:
                peer, failure = None, self._stop_reason
            elif scope.cancelled_caught:
                failure = "no TLS handshake within the limit"
        finally:
            self._handshakes -= not outbound
            if peer is None:
                try:
                    (self._events.dial_failed if outbound else self._events.refused)(address, failure)
                finally:
                    await trio.aclose_forcefully(stream)
        if secured is not None and peer is not None:
            await self._serve_link(secured, peer, outbound=outbound, address=address)

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        """Where a dial gets its connection: TCP. Raises OSError for one that fails.

        To be overridden, together with `listen`, where agents are linked without sockets.
        """
        return await trio.open_tcp_stream(host, port, local_address=self._source_host)

    def take(self, stream: trio.abc.Stream, remote: str) -> bool:
        """Begin to serve an incoming connection from *remote*; `run` must have begun.

        False if admission turns it away: `refused` has been called, and the caller closes the stream.
        """
        assert self._nursery is not None, "Transport.take() before Transport.run()"
        refusal = self._admit()
        if refusal is not None:
            self._events.refused(remote, refusal)
            return False
        self._nursery.start_soon(self._serve_taken, stream, remote)
        return True

    # -- opening --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opening_scope(self, deadline: float) -> Iterator[trio.CancelScope]:
        """A scope that `aclose` cancels, and that is cancelled from the start if it has been called."""
        with trio.CancelScope(deadline=deadline) as scope:
            if self._stop_reason is not None:
                scope.cancel()
            number = next(self._numbers)
            self._opening[number] = scope
            try:
                yield scope
            finally:
                del self._opening[number]

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.socket.close()

    async def _dial(self, address: str) -> None:
        deadline = trio.current_time() + self._limits.connect_s
        stream: trio.abc.Stream | None = None
        failure = STOPPING
        try:
            with self._opening_scope(deadline) as scope:
                try:
                    stream = await self.open_stream(*parse_address(address))
                except (InvalidInput, OSError, UnicodeError, ValueError) as error:
                    failure = failure_in_words(error)
            if self._stop_reason is not None:
                failure = self._stop_reason
            elif scope.cancelled_caught:
                failure = "no answer within the limit"
        finally:
            if stream is None:
                self._events.dial_failed(address, failure)
        if stream is not None:
            await self.serve_stream(stream, outbound=True, address=address, deadline=deadline)

    async def _accept(self, listener: trio.SocketListener) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._events.refused("listener", f"cannot accept: {error.strerror}")
                await trio.sleep(ACCEPT_PAUSE_S)
                continue
            if not self.take(stream, _remote_address(stream)):
                stream.socket.close()

    def _admit(self) -> str | None:
        """Why an incoming connection is turned away before TLS, or None."""
        if self._handshakes >= self._limits.handshakes_max:
            return f"{self._handshakes} handshakes are under way, the limit"
        inbound = sum(not link.outbound for link in self._links.values())
        if inbound >= self._limits.inbound_links_max:
            return f"{inbound} incoming links are open, the limit"
        if not self._bucket.take(trio.current_time()):
            return f"more than {self._limits.accepts_per_s:g} connections a second"
        return None

    async def _serve_taken(self, stream: trio.abc.Stream, remote: str) -> None:
        await self.serve_stream(stream, outbound=False, address=remote)

    async def _secure(self, stream: trio.abc.Stream, *, outbound: bool) -> tuple[TlsStream, PeerIdentity]:
        """Shake hands and check who it is. Raises `TransportError`; the caller closes *stream*."""
        context = self._client_context if outbound else self._server_context
        secured = TlsStream(stream, context, server_side=not outbound)
        try:
            await secured.do_handshake()
        except STREAM_FAILURES as error:
            raise TransportError(failure_in_words(error)) from error
        if secured.alpn != ALPN:
            raise TransportError(f"the peer does not speak {ALPN}")
        peer = read_chain(secured.peer_chain)
        if peer.cluster_id != self._cluster_id:
            raise TransportError(f"certificate is for cluster {peer.cluster_id.hex()}, not for ours")
        refusal = self._refusal(peer)
        if refusal is not None:
            raise TransportError(refusal)
        return secured, peer

    async def _serve_link(self, stream: TlsStream, peer: PeerIdentity, *, outbound: bool, address: str) -> None:
        link = Link(next(self._numbers), peer, outbound=outbound, address=address)
        self._links[link.id] = link
        try:
            try:
                self._events.connected(link)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            await link.serve(stream, self._events.received)
        finally:
            del self._links[link.id]
            self._events.closed(link, link.end(self._stop_reason or STOPPING))


class _TokenBucket:
    """Admits *rate_per_s* on average and *burst* at once."""

    __slots__ = ("_burst", "_rate_per_s", "_tokens", "_updated_s")

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._updated_s: float | None = None

    def take(self, now_s: float) -> bool:
        if self._updated_s is not None:
            gained = (now_s - self._updated_s) * self._rate_per_s
            self._tokens = min(self._burst, self._tokens + gained)
        self._updated_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def _remote_address(stream: trio.SocketStream) -> str:
    try:
        name = stream.socket.getpeername()
    except OSError:  # it has gone already
        return "unknown"
    return format_address(name[0], name[1])


def _listen_mend(error: BaseException) -> str:
    match error.errno if isinstance(error, OSError) else None:
        case errno.EADDRINUSE:
            return "the address is in use; stop the process that has it, or choose another port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; choose one of its own, or 0.0.0.0 for all"
        case errno.EACCES:
            return "not permitted; choose a port above 1023"
    return f"{failure_in_words(error)}; check the host and the port"
