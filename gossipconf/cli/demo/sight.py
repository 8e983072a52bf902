"""Sights: what an agent says of itself, asked again and again over its control socket.

Meant for timing: asynchronous and cheap. What it reports is the agent's word;
values and signatures are verified through ``session``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from ...model.errors import ControlError
from ...runtime.control_socket import LENGTH_BYTES, body_bytes, framed, short_path, unframed
from ..client import REPLY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Sight:
    """An agent at the moment `at_s` (trio's clock) at which its answer was here.

    root:       its fingerprint, which runs ahead of its readers by the time that its disk takes
    keys:       how many its readers see
    conflicts:  of how many slots its readers see siblings
    shown:      the signed versions of one key that its readers see
    peers:      whom it is linked to
    """

    at_s: float
    pid: int
    root: bytes
    keys: int
    conflicts: int
    shown: tuple[bytes, ...]
    peers: tuple[str, ...]


class Looker:
    """A connection to one agent, for `look`, with an eye on `key`. An async context manager."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
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
        shown = await self._ask({"op": "get", "key": self._key})
        reply = await self._ask({"op": "info"})
        return Sight(
            at_s=trio.current_time(),
            pid=reply["pid"],
            root=reply["root"],
            keys=reply["keys"],
            conflicts=reply["conflicts"],
            shown=tuple(version["change"] for version in shown["versions"]),
            peers=tuple(sorted({link["node"] for link in reply["links"]})),
        )

    async def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        assert self._stream is not None
        await self._stream.send_all(framed(request))
        size = body_bytes(await self._read(LENGTH_BYTES), REPLY_BYTES_MAX)
        reply = unframed(await self._read(size))
        if not reply["ok"]:
            raise ControlError(reply["message"])
        return reply

    async def _read(self, count: int) -> bytes:
        assert self._stream is not None
        data = bytearray()
        while len(data) < count:
            chunk = await self._stream.receive_some(count - len(data))
            if not chunk:
                raise trio.BrokenResourceError("the agent has closed the connection")
            data += chunk
        return bytes(data)
