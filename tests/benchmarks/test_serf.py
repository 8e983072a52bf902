"""Serf's RPC, as its documentation gives it, against a stand-in for an agent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgpack
import pytest

from benchmarks.propagation.errors import BenchmarkError
from benchmarks.propagation.serf import Rpc


@contextmanager
def answering(*replies: bytes) -> Iterator[tuple[tuple[str, int], list[Any]]]:
    """A server of one connection that answers each request (header and body) with the next of ``replies``."""
    heard: list[Any] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            unpacker = msgpack.Unpacker()
            for reply in replies:
                parts: list[Any] = []
                while len(parts) < 2:
                    unpacker.feed(connection.recv(4096))
                    parts += list(unpacker)
                heard.append(tuple(parts))
                connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname(), heard
        thread.join()


def test_requests_and_replies_are_as_documented() -> None:
    members = msgpack.packb({"Seq": 2, "Error": ""}) + msgpack.packb({"Members": [{"Status": "alive"}]})
    with (
        answering(msgpack.packb({"Seq": 1, "Error": ""}), members) as (address, heard),
        closing(Rpc(*address)) as rpc,
    ):
        assert rpc.call("handshake", {"Version": 1}) is None
        body = rpc.call("event", {"Name": "bench", "Payload": b"x" * 100, "Coalesce": False}, has_body=True)
    assert body == {"Members": [{"Status": "alive"}]}
    assert heard[0] == ({"Command": "handshake", "Seq": 1}, {"Version": 1})
    assert heard[1] == ({"Command": "event", "Seq": 2}, {"Name": "bench", "Payload": "x" * 100, "Coalesce": False})


def test_a_refusal_is_told_in_serfs_words() -> None:
    reply = msgpack.packb({"Seq": 1, "Error": "user event exceeds size limit"})
    with (
        answering(reply) as (address, _),
        closing(Rpc(*address)) as rpc,
        pytest.raises(BenchmarkError, match="exceeds size limit"),
    ):
        rpc.call("event", {"Name": "bench"})
