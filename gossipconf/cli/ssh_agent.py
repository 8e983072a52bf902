"""The ssh-agent: which Ed25519 keys it holds, and signatures by them.

Knows the socket and the two requests that are needed (draft-ietf-sshm-ssh-agent): list
the keys, sign. The agent is the user's own, and still trusted with nothing: whatever
listens there is bounded in length and time, and a signature is verified before it is used.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..model.errors import BadSignature, FormatError, SshAgentError
from ..runtime.control_socket import short_path
from ..trust.keys import PublicKey, Signer, fingerprint, verify
from ..trust.ssh_wire import LENGTH_BYTES, Reader, ed25519_of, public_blob, signature_of, string
from .output import escaped

SOCKET_VARIABLE: Final = "SSH_AUTH_SOCK"
SCHEME: Final = "agent"
"""`agent`, `agent:SHA256:…` and `agent:COMMENT` in the place of a key file."""

MESSAGE_BYTES_MAX: Final = 256 << 10
"""What OpenSSH's agent takes and gives at most (AGENT_MAX_LEN)."""
KEYS_MAX: Final = 2_048
"""OpenSSH's own bound for the keys of one agent."""
KEYS_SHOWN_MAX: Final = 8
"""Keys named in an error; `key show agent` lists them all."""
LIST_TIMEOUT_S: Final = 5.0
"""An agent lists its keys from memory; one behind a slow ssh connection takes a round trip."""
SIGN_TIMEOUT_S: Final = 60.0
"""Somebody may have to confirm it (`ssh-add -c`) or to touch a token."""

FAILURE: Final = 5
REQUEST_IDENTITIES: Final = 11
IDENTITIES_ANSWER: Final = 12
SIGN_REQUEST: Final = 13
SIGN_RESPONSE: Final = 14
NO_FLAGS: Final = bytes(4)
"""Flags choose a hash for RSA; Ed25519 has none to choose."""


class SshAgent:
    """One ssh-agent. Each request has a connection of its own, so nothing is left open while a person thinks."""

    def __init__(
        self, path: Path, *, list_timeout_s: float = LIST_TIMEOUT_S, sign_timeout_s: float = SIGN_TIMEOUT_S
    ) -> None:
        self.path = path
        self._list_timeout_s = list_timeout_s
        self._sign_timeout_s = sign_timeout_s

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> SshAgent:
        """The agent that the environment names. Raises SshAgentError."""
        name = environment.get(SOCKET_VARIABLE)
        if not name:
            raise SshAgentError(
                f"no ssh-agent: {SOCKET_VARIABLE} is not set; start one with: eval $(ssh-agent), then ssh-add"
            )
        return cls(Path(name))

    def public_keys(self) -> Sequence[PublicKey]:
        """Its Ed25519 keys in its own order, each once; keys of other types are left out. Raises SshAgentError."""
        kind, reader = self._ask(bytes([REQUEST_IDENTITIES]), self._list_timeout_s)
        if kind == FAILURE:
            raise SshAgentError(f"the ssh-agent at {self.path} refuses to list its keys; unlock it with: ssh-add -X")
        if kind != IDENTITIES_ANSWER:
            raise self._nonsense(f"its answer is of type {kind}")
        found: dict[bytes, PublicKey] = {}
        try:
            number = reader.number()
            if number > KEYS_MAX:
                raise FormatError(f"it claims {number} keys; the limit is {KEYS_MAX}")
            for _ in range(number):
                public = ed25519_of(reader.string())
                comment = reader.string().decode(errors="replace")
                if public is not None:
                    found.setdefault(public, PublicKey(public, comment))
            reader.end()
        except FormatError as error:
            raise self._nonsense(str(error)) from None
        return tuple(found.values())

    def signer(self, choice: str) -> AgentSigner:
        """What signs with the key that `choice` names, as in `key`. Raises SshAgentError."""
        return AgentSigner(self, self.key(choice).public)

    def key(self, choice: str) -> PublicKey:
        """The key that `choice` names by its fingerprint or comment; with "" the only one. Raises SshAgentError."""
        keys = self.public_keys()
        if not keys:
            raise SshAgentError(
                f"the ssh-agent at {self.path} offers no Ed25519 key; add one with: ssh-add FILE, "
                "or, if it is locked, unlock it with: ssh-add -X"
            )
        chosen = [key for key in keys if choice in ("", fingerprint(key.public))]
        chosen = chosen or [key for key in keys if key.comment == choice]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            raise SshAgentError(
                f"the ssh-agent has {len(chosen)} Ed25519 keys that this names; name one of: {_named(chosen)}"
            )
        raise SshAgentError(
            f"the ssh-agent has no Ed25519 key {choice!r}; it has: {_named(keys)}. Add a key with: ssh-add FILE"
        )

    def sign(self, public: bytes, message: bytes) -> bytes:
        """The signature of `message` by the agent's key `public`, verified. Raises SshAgentError."""
        request = bytes([SIGN_REQUEST]) + string(public_blob(public)) + string(message) + NO_FLAGS
        kind, reader = self._ask(request, self._sign_timeout_s)
        if kind == FAILURE:
            raise SshAgentError(
                f"the ssh-agent refuses to sign with {fingerprint(public)}: somebody declined, the key was removed "
                "(add it with: ssh-add FILE), or the agent is locked (unlock it with: ssh-add -X)"
            )
        if kind != SIGN_RESPONSE:
            raise self._nonsense(f"its answer is of type {kind}")
        try:
            signature = signature_of(reader.string())
            reader.end()
            verify(public, signature, message)
        except (FormatError, BadSignature) as error:
            raise self._nonsense(str(error)) from None
        return signature

    # -- the socket -------------------------------------------------------------------------------

    def _ask(self, request: bytes, timeout_s: float) -> tuple[int, Reader]:
        """Send one request; its answer's type, and what reads the rest."""
        deadline_s = time.monotonic() + timeout_s
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                with short_path(self.path) as name:
                    connection.connect(name)
                connection.sendall(string(request))
                size = int.from_bytes(self._read(connection, LENGTH_BYTES, deadline_s), "big")
                if not 1 <= size <= MESSAGE_BYTES_MAX:
                    raise self._nonsense(f"its answer has {size} bytes; the limit is {MESSAGE_BYTES_MAX}")
                answer = self._read(connection, size, deadline_s)
        except TimeoutError:
            raise SshAgentError(
                f"the ssh-agent at {self.path} does not answer within {timeout_s:g} s; is it waiting for somebody, "
                "or stopped?"
            ) from None
        except OSError as error:
            raise SshAgentError(
                f"no ssh-agent at {self.path} ({SOCKET_VARIABLE}): {error.strerror or error}; start one with: "
                "eval $(ssh-agent), then ssh-add"
            ) from None
        return answer[0], Reader(answer[1:], "its answer")

    def _read(self, connection: socket.socket, size: int, deadline_s: float) -> bytes:
        """`size` bytes, by one deadline for all of them: an answer that drips in does not wait for ever."""
        data = bytearray()
        while len(data) < size:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            piece = connection.recv(size - len(data))
            if not piece:
                raise self._nonsense("it hangs up in the middle")
            data += piece
        return bytes(data)

    def _nonsense(self, why: str) -> SshAgentError:
        return SshAgentError(
            f"what listens at {self.path} does not answer as an ssh-agent does ({why}); is {SOCKET_VARIABLE} right?"
        )


class AgentSigner(Signer):
    """A key that an ssh-agent holds and signs with."""

    __slots__ = ("_agent",)

    def __init__(self, agent: SshAgent, public: bytes) -> None:
        self._agent = agent
        self.public = public

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``message``. Raises SshAgentError."""
        return self._agent.sign(self.public, message)


def choice_of(key: str) -> str | None:
    """Which key of the ssh-agent `key` names, "" for the only one; None if `key` is a file."""
    if key == SCHEME:
        return ""
    scheme, colon, choice = key.partition(":")
    return choice if colon and scheme == SCHEME else None


def _named(keys: Sequence[PublicKey]) -> str:
    """Keys in a line of an error."""
    names = [f"{SCHEME}:{fingerprint(key.public)} ({escaped(key.comment)})" for key in keys[:KEYS_SHOWN_MAX]]
    more = len(keys) - len(names)
    return ", ".join(names) + (f" and {more} more (gossipconf key show agent)" if more else "")
