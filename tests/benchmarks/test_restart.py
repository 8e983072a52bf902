"""Connections at seeds are read from the kernel's table, and each is counted once."""

from __future__ import annotations

from benchmarks.restart import Arrivals, kernel_address, parse_connections

SEED = kernel_address("127.0.1.1", 8080)
TABLE = f"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: {SEED} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: {SEED} 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:9C40 {SEED} 01 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0100007F:9C41 {SEED} 06 00000000:00000000 03:00000F00 00000000     0        0 0 3
   4: 0100007F:9C42 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 4 1
"""


def test_an_address_as_the_kernel_writes_it() -> None:
    assert SEED == "0101007F:1F90"


def test_connections_are_seen_from_either_end_and_after_their_end() -> None:
    assert parse_connections(TABLE, [SEED]) == {SEED: ["0100007F:9C40", "0100007F:9C40", "0100007F:9C41"]}


def test_a_connection_is_counted_once() -> None:
    arrivals = Arrivals()
    arrivals.note(["a", "a", "b"], 1.0)
    arrivals.note(["b", "c"], 2.0)
    arrivals.note(["d"], 2.1)
    assert arrivals.times_s == [1.0, 1.0, 2.0, 2.1]
    assert arrivals.busiest() == 3, "from 1.0 to 2.0"
