"""What goes over the loopback interface of a network namespace, and what of it is the system's own.

Counted is what the interface receives: every byte once, TCP and UDP with their IP headers and acknowledgements.
The payload is what is left without these headers: of TCP and UDP the bytes that the system has handed to its
sockets, for TLS that is the records. Connections of the benchmark itself are taken out, by what the kernel says of
their sockets.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

UDP_HEADERS_BYTES: Final = 20 + 8
"""IPv4 without options, and UDP."""
TCP_HEADERS_BYTES: Final = 20 + 20 + 12
"""IPv4 without options, and TCP with timestamps, as every segment after the first two of a connection has them."""
LOOPBACK: Final = "lo"

_TCP_INFO: Final = struct.Struct("=8B24I4Q2I")  # linux/tcp.h: up to and with tcpi_segs_in
_BYTES_ACKED, _BYTES_RECEIVED, _SEGMENTS_OUT, _SEGMENTS_IN = 34, 35, 36, 37


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes and packets since a namespace began, or in a time."""

    interface_bytes: float
    packets: float
    datagrams: float

    @property
    def payload_bytes(self) -> float:
        """Without the headers of IP, TCP and UDP. Acknowledgements alone have none."""
        segments = self.packets - self.datagrams
        return self.interface_bytes - self.datagrams * UDP_HEADERS_BYTES - segments * TCP_HEADERS_BYTES

    def __sub__(self, other: Self) -> Traffic:
        return Traffic(
            self.interface_bytes - other.interface_bytes,
            self.packets - other.packets,
            self.datagrams - other.datagrams,
        )

    def __mul__(self, factor: float) -> Traffic:
        return Traffic(self.interface_bytes * factor, self.packets * factor, self.datagrams * factor)


def read_traffic(own: Iterable[socket.socket]) -> Traffic:
    """What this namespace's loopback has received until now, without the TCP connections ``own`` of the benchmark."""
    counted = parse_interface(Path("/proc/net/dev").read_text(encoding="ascii"))
    datagrams = parse_datagrams(Path("/proc/net/snmp").read_text(encoding="ascii"))
    total = Traffic(*counted, datagrams)
    for connection in own:
        total -= connection_traffic(connection)
    return total


def parse_interface(text: str) -> tuple[int, int]:
    """(bytes, packets) received by the loopback interface, from `/proc/net/dev`."""
    for line in text.splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == LOOPBACK:
            received = counters.split()
            return int(received[0]), int(received[1])
    raise ValueError(f"/proc/net/dev has no line for {LOOPBACK}")


def parse_datagrams(text: str) -> int:
    """UDP datagrams sent, from `/proc/net/snmp`."""
    names, values = (line.split() for line in text.splitlines() if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])


def connection_traffic(connection: socket.socket) -> Traffic:
    """What one of two ends of a TCP connection has sent and received."""
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    fields = _TCP_INFO.unpack(raw)
    packets = fields[_SEGMENTS_OUT] + fields[_SEGMENTS_IN]
    return Traffic(fields[_BYTES_ACKED] + fields[_BYTES_RECEIVED] + packets * TCP_HEADERS_BYTES, packets, 0)
