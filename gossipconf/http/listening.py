"""What the endpoint's options lead to: listening sockets, the token, TLS. Each error names its option and the mend."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from ..model.errors import ConfigError, ControlError, KeyFileError
from ..runtime.address import format_address
from ..runtime.control_socket import listen as listen_unix
from ..runtime.http_endpoint import HttpEndpoint
from ..runtime.pem import check_private
from ..trust.files import read_bounded

TOKEN_BYTES_MAX: Final = 4_096
"""As much as fits into a header of any proxy."""
TOKEN_CHARACTERS_MIN: Final = 16
"""Of a random one: 96 bits in base64, which nobody guesses at 10,000 a second."""
MENDS: Final = {
    errno.EADDRINUSE: "another program listens there; stop it, or take another port",
    errno.EADDRNOTAVAIL: "no network interface of this machine has that address",
    errno.EACCES: "ports below 1024 need a privilege; take another one",
}


async def listen(endpoint: HttpEndpoint) -> Sequence[trio.SocketListener]:
    """Listening sockets; of a name with several addresses one for each. Raises ConfigError."""
    if isinstance(endpoint.bind, Path):
        try:
            return [trio.SocketListener(trio.socket.from_stdlib_socket(listen_unix(endpoint.bind, "Unix socket")))]
        except ControlError as error:
            raise ConfigError(f"option 'http': {error}") from None
    host, port = endpoint.bind
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except (OSError, UnicodeError) as error:
        mend = MENDS.get(getattr(error, "errno", None) or 0) or getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"option 'http': cannot listen on {endpoint}: {mend}") from None
    for extra in listeners[1:] if port == 0 else ():
        extra.socket.close()  # each would get a port of its own, and only one can be told
    return listeners[:1] if port == 0 else listeners


def address_of(listener: trio.SocketListener) -> str:
    """Where a listening socket is reached: host and port, or a path."""
    name = listener.socket.getsockname()
    return name if isinstance(name, str) else format_address(name[0], name[1])


def load_token(path: Path | None) -> bytes | None:
    """The token in a file, its one line; None without a file. Raises ConfigError."""
    if path is None:
        return None
    try:
        data = read_bounded(path, TOKEN_BYTES_MAX).strip()
        mode = path.stat().st_mode & 0o777
    except (KeyFileError, OSError) as error:
        raise ConfigError(f"option 'http_token': {error}") from None
    if mode & 0o077:
        raise ConfigError(f"option 'http_token': others may read {path} (mode {mode:04o}); run: chmod 600 {path}")
    if len(data) < TOKEN_CHARACTERS_MIN or not all(0x21 <= byte <= 0x7E for byte in data):
        raise ConfigError(
            f"option 'http_token': {path} must hold one line of {TOKEN_CHARACTERS_MIN} or more printable characters "
            f"without spaces; make one with: (umask 077; openssl rand -base64 32 > {path})"
        )
    return data


def load_tls(endpoint: HttpEndpoint) -> ssl.SSLContext | None:
    """The server's side of TLS, or None without a certificate. Raises ConfigError."""
    if endpoint.certificate is None or endpoint.private_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    for option, path in (("http_certificate", endpoint.certificate), ("http_private_key", endpoint.private_key)):
        if not os.access(path, os.R_OK):
            raise ConfigError(
                f"option {option!r}: {path} cannot be read; is the path right, and may the agent read it?"
            )
    try:
        check_private(endpoint.private_key)
        # A passphrase would be asked for on the terminal: an agent starts with nobody there.
        context.load_cert_chain(endpoint.certificate, endpoint.private_key, password=lambda: "")
    except KeyFileError as error:
        raise ConfigError(f"option 'http_private_key': {error}") from None
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise ConfigError(
            f"option 'http_certificate': {endpoint.certificate} and {endpoint.private_key} are no certificate and its "
            "private key in PEM without passphrase; use the two that were issued together"
        ) from None
    return context
