"""A client's connection on which no send waits for ever: who takes nothing for a while is cut off.

The server's writes are shielded from cancellation, so that a reply is whole or the connection
gone; without a limit of their own a client that stops reading would keep a stopping agent alive.
"""

from __future__ import annotations

from typing import Final

import trio

SEND_S: Final = 10.0
"""In which a client takes one piece at least; nginx waits 60 s, for clients that are further than this machine."""
PIECE_BYTES: Final = 65_536


class ClientStream(trio.abc.HalfCloseableStream):
    """A socket's stream whose sends end: with success, or with BrokenResourceError and the connection."""

    def __init__(self, stream: trio.SocketStream, send_s: float = SEND_S) -> None:
        self._stream = stream
        self._send_s = send_s

    @property
    def socket(self) -> trio.socket.SocketType:
        """The connection."""
        return self._stream.socket

    def break_off(self) -> None:
        """Close at once, under whoever sends or receives."""
        self._stream.socket.close()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, piece by piece, each within ``send_s``."""
        view = memoryview(data)
        for begin in range(0, len(view), PIECE_BYTES):
            with trio.move_on_after(self._send_s) as scope:
                await self._stream.send_all(view[begin : begin + PIECE_BYTES])
            if scope.cancelled_caught:
                self.break_off()
                raise trio.BrokenResourceError(f"the client has taken nothing for {self._send_s:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        """See trio."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See trio."""
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See trio."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """See trio."""
        await self._stream.aclose()
