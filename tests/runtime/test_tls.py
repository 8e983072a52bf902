"""TLS over sockets and over any stream: what is sent arrives whole and in order, and every end has its name."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme

from gossipconf.runtime.tls import TlsStream

LIMIT_S = 30.0
RECORD_OVERHEAD_BYTES = 5 + 1 + 16
"""Header, content type and tag of a TLS 1.3 record."""
Pair = tuple[trio.abc.Stream, trio.abc.Stream]


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the client and for the server, each with a certificate."""
    authority = trustme.CA()
    made = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["test/1"])
        authority.configure_trust(context)
        authority.issue_cert("node").configure_cert(context)
        made.append(context)
    return made[0], made[1]


async def socket_pair() -> Pair:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    left = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
    right = await listeners[0].accept()
    await listeners[0].aclose()
    return left, right


async def memory_pair() -> Pair:
    return trio.testing.memory_stream_pair()


@asynccontextmanager
async def secured(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], make: Callable[[], Awaitable[Pair]]
) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    left, right = await make()
    client = TlsStream(left, contexts[0], server_side=False)
    server = TlsStream(right, contexts[1], server_side=True)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        await server.send_all(b"!")
        assert await client.receive_some() == b"!"  # and with it the tickets: closing over what is unread resets TCP
        yield client, server
    await trio.aclose_forcefully(left)
    await trio.aclose_forcefully(right)


async def receive_exactly(stream: TlsStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        assert piece, f"ended after {len(data)} bytes"
        data += piece
    return data


both = pytest.mark.parametrize("make", [socket_pair, memory_pair])


@both
async def test_bytes_go_both_ways(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], make: Callable[[], Awaitable[Pair]]
) -> None:
    async with secured(contexts, make) as (client, server):
        assert client.alpn == server.alpn == "test/1"
        assert client.peer_chain
        assert client.peer_chain != server.peer_chain
        for sender, receiver in ((client, server), (server, client)):
            for data in (b"x", bytes(16_384), bytes(range(256)) * 400):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sender.send_all, data)
                    assert await receive_exactly(receiver, len(data)) == data


async def test_a_socket_takes_a_message_at_once_and_a_stream_leaves_it_to_send_all(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with secured(contexts, socket_pair) as (client, server):
        assert client.sends_at_once
        assert client.send_nowait(b"now")
        assert await server.receive_some() == b"now"
    async with secured(contexts, memory_pair) as (client, server):
        assert not client.sends_at_once
        assert not client.send_nowait(b"then")
        await client.send_all(b"")
        assert await server.receive_some() == b"then"


async def test_what_a_full_socket_does_not_take_is_sent_later_and_in_order(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with secured(contexts, socket_pair) as (client, server):
        pieces = [b"%09d " % 0 * 1_000]
        while client.send_nowait(pieces[-1]):
            pieces.append(b"%09d " % len(pieces) * 1_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"the end")
            expected = b"".join([*pieces, b"the end"])
            assert await receive_exactly(server, len(expected)) == expected
        assert client.send_nowait(b"and on")
        assert await server.receive_some() == b"and on"


@both
async def test_a_goodbye_is_an_end_and_its_lack_is_a_failure(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], make: Callable[[], Awaitable[Pair]]
) -> None:
    async with secured(contexts, make) as (client, server):
        await client.send_all(b"last words")
        await client.aclose()
        assert await server.receive_some() == b"last words"
        assert await server.receive_some() == b""
    pair = await make()
    async with secured(contexts, lambda: _made(pair)) as (_, server):
        await pair[0].aclose()  # under TLS's feet
        with pytest.raises(trio.BrokenResourceError) as raised:
            await server.receive_some()
        assert isinstance(raised.value.__cause__, ssl.SSLEOFError)


async def test_altered_bytes_are_a_failure(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    left, right = trio.testing.memory_stream_pair()
    async with secured(contexts, lambda: _made((left, right))) as (_, server):
        await left.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError) as raised:
            await server.receive_some()
        assert isinstance(raised.value.__cause__, ssl.SSLError)


async def _made(pair: Pair) -> Pair:
    return pair


async def test_what_fails_at_once_is_told_by_the_next_send(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with secured(contexts, socket_pair) as (client, server):
        await trio.aclose_forcefully(server)
        while client.send_nowait(bytes(16_384)):
            pass  # until the peer's machine has said that nobody listens
        with pytest.raises(trio.BrokenResourceError) as raised:
            await client.send_all(b"")
        assert isinstance(raised.value.__cause__, OSError)


async def test_a_refused_certificate_reaches_the_peer_as_an_alert(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    left, right = trio.testing.memory_stream_pair()
    client = TlsStream(left, stranger, server_side=False)
    server = TlsStream(right, contexts[1], server_side=True)

    async def refuse() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await server.do_handshake()

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            await client.do_handshake()  # under TLS 1.3 the client is done before it is judged
            with pytest.raises(trio.BrokenResourceError) as raised:
                await client.receive_some()
    assert "CERTIFICATE_REQUIRED" in str(raised.value.__cause__)


@both
async def test_a_read_of_many_small_records_leaves_others_their_turns(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], make: Callable[[], Awaitable[Pair]]
) -> None:
    async with secured(contexts, make) as (client, server):
        for _ in range(50):
            await client.send_all(b"x")
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await receive_exactly(server, 50)
            nursery.cancel_scope.cancel()
        assert turns >= 45  # not exactly: in which turn a task begins is trio's choice


async def test_nothing_follows_a_send_that_was_cut_off(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Whoever does not know how much of a record has gone must not send another byte."""
    left, right = trio.testing.memory_stream_pair()
    async with secured(contexts, lambda: _made((left, right))) as (client, _):
        deliver = left.send_stream.send_all_hook
        assert deliver is not None

        async def deliver_and_hang() -> None:
            await deliver()
            await trio.sleep_forever()

        left.send_stream.send_all_hook = deliver_and_hang
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, bytes(1_000))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        left.send_stream.send_all_hook = deliver
        await client.aclose()
        sent = await right.receive_some()
        assert len(sent) == 1_000 + RECORD_OVERHEAD_BYTES
        assert await right.receive_some() == b""
