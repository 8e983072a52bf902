"""Places: a loopback address for each process of a peer, with ports that are free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

AGENTS_MAX: Final = 254
"""Addresses of the network below, and of the demo's, which gossipconf's agents use."""
NETWORK: Final = "127.0.2"


@dataclass(frozen=True, slots=True)
class Place:
    """A host and its ports."""

    host: str
    ports: tuple[int, ...]

    def address(self, index: int) -> str:
        """`host:port` of one of the ports."""
        return f"{self.host}:{self.ports[index]}"


def free_places(count: int, *, ports: int) -> list[Place]:
    """``count`` places with ``ports`` ports each, free for TCP and UDP at the moment."""
    places = []
    for number in range(1, count + 1):
        host = f"{NETWORK}.{number}"
        with ExitStack() as probes:  # held together, so that one is not found twice
            places.append(Place(host, tuple(_free_port(host, probes) for _ in range(ports))))
    return places


def _free_port(host: str, probes: ExitStack) -> int:
    for port in _candidates(host, probes):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: candidates never end")


def _candidates(host: str, probes: ExitStack) -> Iterator[int]:
    while True:
        probe = probes.enter_context(socket.socket())
        probe.bind((host, 0))
        yield probe.getsockname()[1]
