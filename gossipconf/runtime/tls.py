"""TLS over a trio stream, for links: few wake-ups, and a send that need not wait.

An idle agent that gets a small message and passes it on pays for turns of the event loop, not for
cryptography. trio's own `SSLStream` takes a turn for each lock and each attempt on the socket;
here a message costs one turn to receive, and none to send while the socket takes it at once
(figures in docs/benchmarks.md). It does less, too: one reader and one writer, and no bytes that were
read too far are ever given back.

Knows `ssl` and sockets. Knows nothing of certificates' contents, frames or links.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from typing import Final

import trio

READ_BYTES: Final = 65_536
"""Of the network at a time: four TLS records."""


def verified_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The certificates by which the other end was verified, its own first, a trusted one last; DER."""
    if sys.version_info >= (3, 13):
        return connection.get_verified_chain()
    # The same, which Python 3.10 to 3.12 have but do not document.
    verified = connection._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in verified]


class TlsStream(trio.abc.Stream):
    """TLS on one side of ``transport``. `do_handshake` comes first.

    One task may receive while another sends. Raises `trio.BrokenResourceError` when the peer or
    the network fails, with the reason (`ssl.SSLError`, `OSError`) as its cause; an end without TLS's
    own goodbye counts as such, since anybody on the way can forge it.
    """

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._socket = transport.socket if isinstance(transport, trio.SocketStream) else None
        self._unsent = b""
        self._failure: Exception | None = None
        self._is_cut = False

    @property
    def alpn(self) -> str | None:
        """The protocol that both sides have agreed on."""
        return self._ssl.selected_alpn_protocol()

    @property
    def peer_chain(self) -> list[bytes]:
        """The peer's certificate and those above it up to a trusted one, as the context has verified them; DER."""
        return verified_chain(self._ssl)

    async def do_handshake(self) -> None:
        """Shake hands. On failure the peer is sent the alert that says why, where it still listens."""
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError as error:
                try:
                    await self._flush()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # it is gone; the reason that we have stands
                raise trio.BrokenResourceError from error
            else:
                await self._flush()
                return

    @property
    def sends_at_once(self) -> bool:
        """Whether `send_nowait` ever sends anything: over a socket."""
        return self._socket is not None

    def send_nowait(self, data: bytes) -> bool:
        """Encrypt ``data`` and send what the network takes at once; whether that is all.

        If not, `send_all` must come next: it sends the rest, or raises what has failed here.
        """
        try:
            self._encrypt(data)
            if self._socket is not None:
                self._unsent = self._unsent[os.write(self._socket.fileno(), self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._failure = error
            return False
        return not self._unsent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send ``data``, after whatever `send_nowait` has left."""
        if data:
            try:
                self._encrypt(data)
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the network."""
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Decrypted bytes, of one TLS record at most; b"" after the peer's goodbye."""
        has_waited = False
        while True:
            if self._incoming.pending or self._incoming.eof or self._ssl.pending():
                try:
                    data = self._ssl.read(max_bytes or READ_BYTES)
                except ssl.SSLWantReadError:
                    pass  # a record is incomplete, or it was of TLS itself: the answer goes with what is sent next
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError from error
                else:
                    if not has_waited:  # a read can hold thousands of small records: others' turn
                        await trio.lowlevel.checkpoint()
                    return data
            await self._fill()
            has_waited = True

    async def aclose(self) -> None:
        """Say TLS's goodbye where the peer still listens, and close; does not wait for the peer's own."""
        try:
            if not self._is_cut:
                with contextlib.suppress(OSError):  # as a rule it wants the peer's goodbye next; ours is in the buffer
                    self._ssl.unwrap()
                await self._flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # nobody listens
        finally:
            await self._transport.aclose()

    # -- inside -----------------------------------------------------------------------------------

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        self._ssl.write(data)
        self._unsent += self._outgoing.read()

    async def _flush(self) -> None:
        """Send all that is encrypted."""
        if self._failure is not None:
            raise trio.BrokenResourceError from self._failure
        self._unsent += self._outgoing.read()
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            self._is_cut = True  # stays if this is cancelled: nobody knows what has gone, so nothing may follow
            await self._transport.send_all(unsent)
            self._is_cut = False

    async def _fill(self) -> None:
        """Wait for bytes of the network, and take them or its end."""
        data = await self._receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _receive(self) -> bytes | bytearray:
        if self._socket is None:
            return await self._transport.receive_some(READ_BYTES)
        # Without trio's first attempt, which nearly always fails: nothing is read until something has come.
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket.fileno(), READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error
