"""Sights: what an agent says of itself, asked again and again over its control socket.

Meant for timing: asynchronous and cheap. What it reports is the agent's word;
values and signatures are verified through ``session``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgpack
import trio

from ...model.errors import ControlError
from ...runtime.control import short_path

_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Sight:
    """An agent at the moment `at_s` (trio's clock) at which its answer was here.

    root:  its fingerprint; keys: how many its readers see; peers: whom it is linked to
    """

    at_s: float
    pid: int
    root: bytes
    keys: int
    conflicts: int
    peers: tuple[str, ...]


class Looker:
    """A connection to one agent, for `look`. An async context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: trio.SocketStream | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises OSError."""
        with short_path(self._path) as name:
            self._stream = await trio.open_unix_socket(name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        await trio.aclose_forcefully(self._stream)

    async def look(self) -> Sight:
        """Ask once. Raises trio.BrokenResourceError if the agent has gone, ControlError if it refuses."""
        assert self._stream is not None
        body = msgpack.packb({"op": "info"})
        await self._stream.send_all(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
        size = int.from_bytes(await self._read(_LENGTH_BYTES), "big")
        reply: dict[str, Any] = msgpack.unpackb(await self._read(size))
        if not reply["ok"]:
            raise ControlError(reply["message"])
        return Sight(
            at_s=trio.current_time(),
            pid=reply["pid"],
            root=reply["root"],
            keys=reply["keys"],
            conflicts=reply["conflicts"],
            peers=tuple(sorted({link["node"] for link in reply["links"]})),
        )

    async def _read(self, count: int) -> bytes:
        assert self._stream is not None
        data = bytearray()
        while len(data) < count:
            chunk = await self._stream.receive_some(count - len(data))
            if not chunk:
                raise trio.BrokenResourceError("the agent has closed the connection")
            data += chunk
        return bytes(data)
