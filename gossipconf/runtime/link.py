"""A link: one authenticated connection that carries classed messages, from its first frame to its end.

This file knows a trio stream, frames and why streams fail. It knows nothing of how
the stream was opened (see `transport`), nor of what a message says. Its rule: the
first reason to end is the one that is reported, and after it nothing is received.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Final

import trio

from gossipconf.model.errors import ProtocolViolation
from gossipconf.model.limits import FRAME_BYTES_MAX
from gossipconf.protocol.frames import HEADER_BYTES, FrameClass, FrameDecoder, FrameQueue
from gossipconf.runtime.pki import PeerIdentity
from gossipconf.runtime.tls import TlsStream

WRITE_BYTES: Final = HEADER_BYTES + FRAME_BYTES_MAX
"""One write is one TLS record: small frames share its overhead, and nothing urgent waits for more."""

READ_BYTES: Final = 65_536
"""Eight such records a read: fewer wake-ups under load, little memory held when idle."""

CLOSE_FLUSH_S: Final = 1.0
"""How long a closing link may take over its last control messages and TLS goodbye."""

STREAM_FAILURES: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
"""What a stream raises when the peer or the network fails (`ssl.SSLError` is an `OSError`)."""

Received = Callable[["Link", FrameClass, bytes], None]


class Link:
    """One authenticated connection. `id` rises and is unique in its transport."""

    __slots__ = (
        "_end_reason",
        "_free",
        "_queue",
        "_scope",
        "_send_failure",
        "_wake",
        "address",
        "bytes_in",
        "bytes_out",
        "id",
        "outbound",
        "peer",
    )

    def __init__(self, number: int, peer: PeerIdentity, *, outbound: bool, address: str) -> None:
        self.id = number
        self.peer = peer
        self.outbound = outbound
        self.address = address
        """The address dialled, or for an incoming link the remote socket's."""
        self.bytes_in = 0
        """Frame bytes received, as they were before TLS."""
        self.bytes_out = 0
        """Frame bytes handed to the stream, as they were before TLS."""
        self._queue = FrameQueue()
        self._free: TlsStream | None = None  # while nothing waits to be sent over it
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._end_reason: str | None = None
        self._send_failure: str | None = None

    def __repr__(self) -> str:
        direction = "to" if self.outbound else "from"
        return f"<Link {self.id} {direction} {self.peer.node_id} at {self.address}>"

    @property
    def closing(self) -> bool:
        """True from `close`, or from the end of the connection, on."""
        return self._end_reason is not None

    def send(self, frame_class: FrameClass, message: bytes) -> bool:
        """Send *message*, at once if nothing waits before it, or queue it; never blocks.

        False if it was not taken: its class is full or the link is closing. Raises `InvalidInput` for
        an empty message, `LimitExceeded` for one above `MESSAGE_BYTES_MAX`.
        """
        if self.closing or not self._queue.put(frame_class, message, trio.current_time()):
            return False
        if self._free is None:
            self._wake.set()
        elif self._queue.held_bytes() > FRAME_BYTES_MAX:  # to be interleaved with what others have to do
            self._leave_to_task()
        else:
            # Here and now: a turn of the event loop for each link costs more than all else in passing a change on.
            batch = self._queue.take(WRITE_BYTES)
            self.bytes_out += len(batch)
            if not self._free.send_nowait(batch):
                self._leave_to_task()
        return True

    def queue_bytes(self, frame_class: FrameClass | None = None) -> int:
        """Message bytes that wait to be sent, of one class or of all."""
        return self._queue.held_bytes(frame_class)

    def close(self, reason: str) -> None:
        """Begin to close. Control messages already queued still go out, for `CLOSE_FLUSH_S` at most.

        Nothing is received after this call; `closed` follows later, with the first *reason* given.
        """
        if not self.closing:
            self._queue.drop_all_but(FrameClass.CONTROL)
            self.finish(reason, trio.current_time() + CLOSE_FLUSH_S)

    def finish(self, reason: str, deadline: float) -> None:
        """As `close`, but send all that is queued, until *deadline* (trio's clock) at most."""
        if not self.closing:
            self._end_reason = reason
            self._scope.deadline = min(self._scope.deadline, deadline)
            self._leave_to_task()

    async def serve(self, stream: trio.abc.Stream, received: Received) -> None:
        """Carry messages until the link ends; *stream* is closed then. Raises only what *received* raises."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, stream, received)
                    if await self._transmit(stream):
                        nursery.cancel_scope.cancel()
                await stream.aclose()
        finally:
            await trio.aclose_forcefully(stream)

    def end(self, otherwise: str) -> str:
        """Mark the link as ended and return why: *otherwise* if it had no reason of its own."""
        self._end_reason = self._end_reason or self._send_failure or otherwise
        return self._end_reason

    def _broken(self, reason: str) -> None:
        """The connection is of no more use: end now."""
        self._end_reason = self._end_reason or reason
        self._scope.cancel()

    def _leave_to_task(self) -> None:
        """From now on `_transmit` sends, until nothing waits."""
        self._free = None
        self._wake.set()

    async def _transmit(self, stream: trio.abc.Stream) -> bool:
        """Send until the link closes and its queue is empty (True), or the connection fails (False)."""
        while True:
            batch = self._queue.take(WRITE_BYTES)
            try:
                await stream.send_all(batch)  # if it is empty, then what `send` could not send to the end
            except STREAM_FAILURES as error:
                # The receiver often knows better why, such as the alert that refuses our
                # certificate, and is about to find the connection broken too: let it speak.
                self._send_failure = self._in_words(error)
                self._scope.deadline = min(self._scope.deadline, trio.current_time() + CLOSE_FLUSH_S)
                return False
            self.bytes_out += len(batch)
            if self._queue.held_bytes():
                continue
            if self.closing:
                return True
            self._wake = trio.Event()
            self._free = stream if isinstance(stream, TlsStream) and stream.sends_at_once else None
            await self._wake.wait()

    async def _receive(self, stream: trio.abc.Stream, received: Received) -> None:
        decoder = FrameDecoder()
        while True:
            try:
                data = await stream.receive_some(READ_BYTES)
            except STREAM_FAILURES as error:
                self._broken(self._in_words(error))
                return
            if not data:
                self._broken("the peer closed the link")
                return
            self.bytes_in += len(data)
            if self.closing:
                continue  # read on, so that a peer that only sends still gets our last messages
            try:
                messages = decoder.feed(data)
            except ProtocolViolation as error:
                self._broken(f"protocol violation: {error}")
                return
            for position, (frame_class, message) in enumerate(messages):
                if self.closing:
                    break
                if position:  # hundreds of small and costly ones fit into a read: others' turn
                    await trio.lowlevel.checkpoint()
                received(self, frame_class, message)

    def _in_words(self, error: BaseException) -> str:
        reason = failure_in_words(error)
        if self.outbound and not self.bytes_in and "certificate" not in reason:
            # Under TLS 1.3 the dialling side is done before the other has looked at its certificate.
            return f"{reason}, before it sent anything: perhaps it refuses our certificate or has no room"
        return reason


# OpenSSL's reason codes, by their ends: the beginnings differ between its versions.
_TLS_WORDS: Final = (
    ("ALERT_UNKNOWN_CA", "the peer refuses our certificate: it trusts another CA"),
    ("ALERT_CERTIFICATE_EXPIRED", "the peer refuses our certificate: expired"),
    ("ALERT_CERTIFICATE_REQUIRED", "the peer requires a certificate and got none"),
    ("ALERT_BAD_CERTIFICATE", "the peer refuses our certificate"),
    ("ALERT_CERTIFICATE_UNKNOWN", "the peer refuses our certificate"),
    ("ALERT_PROTOCOL_VERSION", "the peer has no TLS version in common with us; TLS 1.3 is needed"),
    ("UNSUPPORTED_PROTOCOL", "the peer has no TLS version in common with us; TLS 1.3 is needed"),
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "the peer sent no certificate"),
    ("WRONG_VERSION_NUMBER", "the peer does not speak TLS"),
    ("HTTP_REQUEST", "the peer does not speak TLS but HTTP"),
)


def failure_in_words(error: BaseException) -> str:
    """The root of *error* in words: trio wraps the operating system's and OpenSSL's reasons."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            break
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError):
        return "the peer closed the connection without a goodbye"
    if isinstance(error, ssl.SSLError):
        code = error.reason or str(error)
        return next((words for end, words in _TLS_WORDS if code.endswith(end)), f"TLS fails: {code}")
    if isinstance(error, OSError) and error.strerror:
        # trio puts the address into the text, which the caller has; a resolver's errno is negative.
        text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        return text[0].lower() + text[1:]
    return str(error) or "the connection is broken"
