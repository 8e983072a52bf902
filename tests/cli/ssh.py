"""A real ssh-agent, and hostile ones that answer with what they are told to."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gossipconf.trust.ssh_wire import string

needs_ssh_agent = pytest.mark.skipif(
    shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None,
    reason="openssh-client is not installed: NOTHING IS TESTED AGAINST A REAL SSH-AGENT",
)

Answer = Callable[[socket.socket, bytes], None]
"""What a hostile agent does with a connection and the request's body."""


class RealAgent:
    """OpenSSH's agent, holding no keys at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment = os.environ | {"SSH_AUTH_SOCK": str(path)}

    def add(self, key: Path) -> None:
        """Load a key file that has no passphrase; its comment is the path that is named here."""
        self.run("ssh-add", "-q", str(key))

    def run(self, *command: str, **environment: str) -> None:
        """Run one of OpenSSH's programs against this agent."""
        subprocess.run(
            command, env=self._environment | environment, check=True, capture_output=True, stdin=subprocess.DEVNULL
        )

    def lock(self, passphrase: str, directory: Path, *, off: bool = False) -> None:
        """Lock or unlock it."""
        asker = directory / "ask"
        asker.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
        asker.chmod(0o700)
        self.run("ssh-add", "-X" if off else "-x", SSH_ASKPASS=str(asker), SSH_ASKPASS_REQUIRE="force")


@contextlib.contextmanager
def real_agent(directory: Path) -> Iterator[RealAgent]:
    """An ssh-agent that runs until the end."""
    path = directory / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "SSH_AUTH_SOCK" in process.stdout.readline()  # said once it listens
        yield RealAgent(path)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextlib.contextmanager
def hostile_agent(path: Path, answer: Answer) -> Iterator[None]:
    """A thread that lets `answer` deal with each connection, one after the other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=_serve, args=(server, answer))
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread's accept
            thread.join(30)
            assert not thread.is_alive()


def _serve(server: socket.socket, answer: Answer) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):  # the client hangs up as soon as it has seen enough
            answer(connection, _body(connection))


def _body(connection: socket.socket) -> bytes:
    size = int.from_bytes(_exactly(connection, 4), "big")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return data


def saying(*answers: bytes) -> Answer:
    """An agent that gives these answers in turn, framed, the last one for ever."""
    left = list(answers)

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(string(left.pop(0) if len(left) > 1 else left[0]))

    return answer


def identities(*keys: tuple[bytes, bytes]) -> bytes:
    """The answer that lists blobs and their comments."""
    return bytes([12]) + len(keys).to_bytes(4, "big") + b"".join(string(blob) + string(name) for blob, name in keys)
