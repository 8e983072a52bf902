"""The client of an agent's control socket: requests, replies and the stream of a watch.

Knows the socket and how errors travel. Knows nothing of what a reply means and
verifies nothing (``session`` does). Blocking: a command has one thing to do at a time.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ..model import errors
from ..model.errors import AgentUnreachable, ControlError, GossipconfError, InvalidInput
from ..runtime.control_socket import LENGTH_BYTES, body_bytes, framed, short_path, unframed

REPLY_BYTES_MAX: Final = 256 << 20
"""Far above any page (4 MiB) or set of siblings. The agent is this user's own, yet the socket may be a stray."""

TIMEOUT_S: Final = 30.0
"""An agent answers from memory; publishing waits for its disk, which may be a busy one."""


class Client:
    """One connection to one agent. A context manager; not for several threads."""

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        """Connect to the socket at `path`. Raises AgentUnreachable naming it and the mend."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._connect()
        except BaseException:
            self._socket.close()
            raise

    def _connect(self) -> None:
        try:
            with short_path(self.path) as name:
                self._socket.connect(name)
        except FileNotFoundError:
            raise AgentUnreachable(f"no agent at {self.path}: there is no such socket; start it first") from None
        except ConnectionRefusedError:
            raise AgentUnreachable(f"no agent answers at {self.path}: it has stopped; start it again") from None
        except PermissionError:
            raise AgentUnreachable(f"{self.path} may be used by its owner only; run as the agent's user") from None
        except OSError as error:
            raise AgentUnreachable(f"no agent at {self.path}: {error.strerror or error}") from None

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request and return its reply.

        Raises the error of ``model.errors`` that the agent names, AgentUnreachable
        if it goes away, ControlError for a reply that is none.
        """
        self._send({"op": op, **fields})
        reply = self._receive()
        if reply.get("ok") is True:
            return reply
        raise _named_error(reply)

    def watch(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The events below `prefix` as they come; of no other use from then on. Raises as `request`.

        The subscription stands when this returns.
        """
        return self.stream("watch", prefix=prefix)

    def stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """What follows a request as it comes; of no other use from then on. Raises as `request`."""
        self.request(op, **fields)
        self._socket.settimeout(None)
        return self._events()

    def _events(self) -> Iterator[dict[str, Any]]:
        while True:
            event = self._receive()
            if event.get("ok") is False:  # the agent cannot go on, and says why
                raise _named_error(event)
            yield event

    def fileno(self) -> int:
        """The connection, for whoever waits for many at once: replies are never read further than they go."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(framed(message))
        except OSError as error:
            raise self._lost(error) from None

    def _receive(self) -> dict[str, Any]:
        try:
            return unframed(self._read(body_bytes(self._read(LENGTH_BYTES), REPLY_BYTES_MAX)))
        except InvalidInput as error:
            raise ControlError(
                f"{self.path} does not answer as an agent does ({error}); is it an agent's control socket?"
            ) from None

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                piece = self._socket.recv(min(size - len(data), 1 << 20))
            except OSError as error:
                raise self._lost(error) from None
            if not piece:
                raise AgentUnreachable(f"the agent at {self.path} closed the connection; has it been stopped?")
            data += piece
        return bytes(data)

    def _lost(self, error: OSError) -> AgentUnreachable:
        if isinstance(error, TimeoutError):
            return AgentUnreachable(f"the agent at {self.path} does not answer in time; look at its log")
        return AgentUnreachable(f"the connection to the agent at {self.path} is lost: {error.strerror or error}")


def _named_error(reply: dict[str, Any]) -> GossipconfError:
    """The error that a refusal names; a ControlError if this version has no such class."""
    kind = getattr(errors, str(reply.get("error")), None)
    message = str(reply.get("message") or "the agent refuses the request and does not say why")
    if isinstance(kind, type) and issubclass(kind, GossipconfError):
        return kind(message)
    return ControlError(message)
