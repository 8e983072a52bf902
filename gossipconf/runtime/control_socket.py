"""The control socket's path, limits and framing, for the agent and for whoever asks it. Imports no trio."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgpack

from ..model.errors import ControlError, InvalidInput, LimitExceeded
from ..model.limits import MESSAGE_BYTES_MAX

LENGTH_BYTES: Final = 4
"""A request or reply is a msgpack map behind its length, big-endian."""
WAIT_S_MAX: Final = 3_000
"""Seconds for which a tally may be waited for: a rollout before lunch."""
REQUEST_BYTES_MAX: Final = MESSAGE_BYTES_MAX
"""A publish of the largest change."""
SOCKET_PATH_BYTES_MAX: Final = 107
"""What the kernel takes as a Unix socket's path (sun_path, without its end)."""
BACKLOG: Final = 64
"""Askers that wait to be accepted: scripts that run one command a key."""


# -- framing --------------------------------------------------------------------------------------


def framed(message: Mapping[str, Any]) -> bytes:
    """A request or reply as it goes over the socket."""
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_bytes(head: bytes, limit_bytes: int) -> int:
    """How long the body behind ``head`` is. Raises LimitExceeded: nothing is allocated for a claim above the limit."""
    size = int.from_bytes(head, "big")
    if size > limit_bytes:
        raise LimitExceeded(f"a message of {size} bytes; the limit is {limit_bytes}")
    return size


def unframed(body: bytes) -> dict[str, Any]:
    """The request or reply in ``body``. Raises InvalidInput."""
    try:
        message = msgpack.unpackb(body)  # which takes no claim of more items than there are bytes
    except (ValueError, msgpack.UnpackException):
        message = None
    if not isinstance(message, dict):
        raise InvalidInput("a message on the control socket is a msgpack map")
    return message


# -- the path -------------------------------------------------------------------------------------


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for the socket ``path`` that fits the kernel's limit, however deep the directory."""
    plain = os.fspath(path)
    if len(os.fsencode(plain)) <= SOCKET_PATH_BYTES_MAX:
        yield plain
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def listen(path: Path, what: str = "control socket") -> socket.socket:
    """A listening socket for its owner only, in place of one that a killed agent left behind. Raises ControlError."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with short_path(path) as name:
            _remove_stale(path, name)
            server.bind(name)
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise ControlError(f"{what} {path} cannot be made: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    return server


def _remove_stale(path: Path, name: str) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something that is not a socket is in its place")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another agent is listening on it")
