"""What the kernel's counters say, against texts of theirs and against a connection whose bytes are known."""

from __future__ import annotations

import socket

import pytest

from benchmarks.propagation.traffic import (
    TCP_HEADERS_BYTES,
    UDP_HEADERS_BYTES,
    Traffic,
    connection_traffic,
    parse_datagrams,
    parse_interface,
)

DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
  eth0: 999       9    0    0    0     0          0         0      999       9    0    0    0     0
    lo:12345     67    0    0    0     0          0         0    12345      67    0    0    0     0
"""
SNMP = """\
Tcp: RtoAlgorithm InSegs OutSegs
Tcp: 1 500 600
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors
Udp: 70 1 2 73 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams
UdpLite: 0 0 0 0
"""


def test_the_interface_and_the_datagrams_are_read() -> None:
    assert parse_interface(DEV) == (12345, 67)
    assert parse_datagrams(SNMP) == 73


def test_a_namespace_without_loopback_is_an_error() -> None:
    with pytest.raises(ValueError, match="no line for lo"):
        parse_interface(DEV.replace("lo:", "l1:"))


def test_payload_is_what_headers_leave() -> None:
    traffic = Traffic(10 * UDP_HEADERS_BYTES + 1_000 + 5 * TCP_HEADERS_BYTES + 300, packets=15, datagrams=10)
    assert traffic.payload_bytes == 1_300
    assert (traffic - traffic).payload_bytes == 0
    assert (traffic * 0.5).payload_bytes == 650


def test_what_a_connection_has_carried_is_what_was_sent_over_it() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
        server.accept()[0] as theirs,
    ):
        _exchange(ours, theirs, 6, 3)  # from here on no handshake is left to be acknowledged
        before = connection_traffic(ours)
        for _ in range(10):
            _exchange(ours, theirs, 100, 30)
        carried = connection_traffic(ours) - before
    assert carried.payload_bytes == 10 * (100 + 30)
    assert carried.packets >= 20


def _exchange(ours: socket.socket, theirs: socket.socket, there_bytes: int, back_bytes: int) -> None:
    ours.sendall(bytes(there_bytes))
    theirs.recv(there_bytes, socket.MSG_WAITALL)
    theirs.sendall(bytes(back_bytes))
    ours.recv(back_bytes, socket.MSG_WAITALL)
