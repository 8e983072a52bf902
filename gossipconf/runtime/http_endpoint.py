"""The agent's HTTP endpoint as its settings name it: where it listens, for whom, and which of that is refused.

Knows names, addresses and paths; opens nothing. What is served there is the layer `http`'s.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ..model.errors import InvalidInput
from .address import format_address, parse_listen

LOOPBACK_NAME = "localhost"


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """Where an agent answers HTTP.

    bind:         host and port, port 0 takes a free one; or the path of a Unix socket
    token:        file with the token that a client must show, or None
    certificate:  the server's certificate for TLS and what is between it and its CA, or None
    private_key:  of that certificate
    """

    bind: tuple[str, int] | Path
    token: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return isinstance(self.bind, Path) or is_loopback(self.bind[0])

    def __str__(self) -> str:
        return str(self.bind) if isinstance(self.bind, Path) else format_address(*self.bind)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address of this machine that no other one reaches, or the name of one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == LOOPBACK_NAME


def endpoint_of(base: Path, bind: str, token: str, certificate: str, private_key: str) -> HttpEndpoint | None:
    """The endpoint that the options of these names tell, "" where they are not set; relative paths are below ``base``.

    Raises InvalidInput that names the option and the mend.
    """
    if not bind:
        for option, value in (("token", token), ("certificate", certificate), ("private_key", private_key)):
            if value:
                raise InvalidInput(f"option 'http_{option}' is set, and 'http' is not; add http = \"127.0.0.1:8765\"")
        return None
    if bool(certificate) != bool(private_key):
        missing = "http_private_key" if certificate else "http_certificate"
        raise InvalidInput(f"option {missing!r} is missing: TLS needs a certificate and its private key")
    try:
        where = base / bind if "/" in bind else parse_listen(bind)
    except InvalidInput as error:
        raise InvalidInput(
            f"option 'http': {error}; or write the path of a Unix socket, such as './http.sock'"
        ) from None
    paths = (base / one if one else None for one in (token, certificate, private_key))
    endpoint = HttpEndpoint(where, *paths)
    if isinstance(where, Path) and certificate:
        raise InvalidInput("option 'http_certificate' is set, and 'http' is a Unix socket, which has no TLS; remove it")
    if not endpoint.is_local:
        for option, path, what in (
            ("http_certificate", endpoint.certificate, "TLS"),
            ("http_token", endpoint.token, "a token"),
        ):
            if path is None:
                raise InvalidInput(
                    f"option 'http' is {bind}, which other machines reach, and that needs {what}; "
                    f"set {option!r} to a file, or 'http' to a loopback address such as 127.0.0.1:8765"
                )
    return endpoint
