"""Addresses as people and peers write them: `host:port`, or `[v6]:port`. Knows no sockets and no DNS.

A seed is an address or `srv:NAME`, where NAME has SRV records that give hosts and ports.
"""

from __future__ import annotations

import contextlib
import re
from ipaddress import IPv6Address, ip_address
from typing import Final

from gossipconf.model.errors import InvalidInput
from gossipconf.model.limits import ADDRESS_BYTES_MAX

PORT_MAX: Final = 65_535
SRV_PREFIX: Final = "srv:"
"""Begins a seed whose hosts and ports are in SRV records (RFC 2782)."""
SEED_FORMS: Final = "host:port, [IPv6 address]:port or srv:NAME"

# Stricter than a resolver, which raises UnicodeError for empty or overlong labels: addresses come from peers.
_HOST: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_PORT: Final = re.compile(r"[0-9]{1,5}")


def parse_address(address: str) -> tuple[str, int]:
    """Split *address* into host (an IPv6 address without its brackets) and port.

    Raises `InvalidInput` naming the address and the form.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        host_is_good = _is_ipv6(host)
    else:
        host_is_good = _HOST.fullmatch(host) is not None
    port_is_good = _PORT.fullmatch(port) is not None and 1 <= int(port) <= PORT_MAX
    if not (host_is_good and port_is_good) or len(address) > ADDRESS_BYTES_MAX:
        shown = repr(address[:ADDRESS_BYTES_MAX])
        raise InvalidInput(f"address {shown} is not host:port or [IPv6 address]:port, port 1 to {PORT_MAX}")
    return host, int(port)


def parse_listen(listen: str) -> tuple[str, int]:
    """Like `parse_address`, but port 0 is allowed: the system chooses. Raises `InvalidInput`."""
    host, _, port = listen.rpartition(":")
    if port == "0" and len(listen) <= ADDRESS_BYTES_MAX:
        with contextlib.suppress(InvalidInput):  # and then the whole is refused in its own words
            return parse_address(f"{host}:1")[0], 0
    return parse_address(listen)


def check_seed(seed: str) -> None:
    """Raise `InvalidInput`, naming the seed and the forms, for what is none."""
    if seed.startswith(SRV_PREFIX):
        name = seed.removeprefix(SRV_PREFIX)
        if _HOST.fullmatch(name) is None or len(seed) > ADDRESS_BYTES_MAX:
            shown = repr(seed[:ADDRESS_BYTES_MAX])
            raise InvalidInput(
                f"{shown} is not srv:NAME, such as srv:_gossipconf._tcp.example.org; the port is in the SRV records"
            )
        return
    try:
        parse_address(seed)
    except InvalidInput:
        raise InvalidInput(f"{seed[:ADDRESS_BYTES_MAX]!r} is not {SEED_FORMS}, port 1 to {PORT_MAX}") from None


def needs_resolving(seed: str) -> bool:
    """Whether a seed is a name; else it is an address that can be dialled as it is."""
    if seed.startswith(SRV_PREFIX):
        return True
    try:
        ip_address(parse_address(seed)[0])
    except ValueError:
        return True
    return False


def format_address(host: str, port: int) -> str:
    """The form that `parse_address` takes."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return host.isascii()
