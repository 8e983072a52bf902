"""Transports over real TLS on the loopback, and over memory streams where the clock matters.

The scenario words: `Peer` is a transport with a recorder of its callbacks; `until`
waits for what the recorder has seen. Nothing sleeps and nothing is timed; the
`fail_after` around each scenario only ends a hang.
"""

from __future__ import annotations

import random
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipconf.model.errors import LimitExceeded, TransportError
from gossipconf.model.limits import MESSAGE_BYTES_MAX
from gossipconf.protocol.frames import QUEUE_BYTES_MAX, FrameClass
from gossipconf.runtime import pki
from gossipconf.runtime.link import CLOSE_FLUSH_S, Link
from gossipconf.runtime.pki import (
    NodeFiles,
    PeerIdentity,
    client_context,
    create_ca,
    issue_node,
    server_context,
)
from gossipconf.runtime.transport import Transport, TransportEvents, TransportLimits, _TokenBucket

CLUSTER, OTHER_CLUSTER = bytes(range(32)), bytes(32)
HANG_S = 30


@dataclass
class Nodes:
    """Certificates made once for the module: node a and b of our CA, and a node of another CA."""

    ca: Path
    a: NodeFiles
    b: NodeFiles
    stranger: NodeFiles
    both_trusted: NodeFiles
    """The stranger, but trusting our CA too: it accepts us, and we refuse it."""
    expired: tuple[ssl.SSLContext, ssl.SSLContext]
    """Server and client context of a node of ours whose certificate has run out."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    directory = tmp_path_factory.mktemp("transport")
    ca = directory / "ca"
    create_ca(ca, CLUSTER)
    create_ca(directory / "other-ca", CLUSTER)
    a, b = (issue_node(ca, name, directory / name) for name in "ab")
    stranger = issue_node(directory / "other-ca", "stranger", directory / "stranger")
    bundle = directory / "bundle.crt"
    bundle.write_bytes(stranger.ca.read_bytes() + a.ca.read_bytes())
    both = NodeFiles(stranger.key, stranger.certificate, bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pki, "now", lambda: datetime.now(UTC) - timedelta(days=2))
        create_ca(directory / "late-ca", CLUSTER)
        late = issue_node(directory / "late-ca", "late", directory / "late", days=1)
        expired = server_context(late), client_context(late)
    for context in expired:
        context.load_verify_locations(a.ca)
    # Our nodes trust the second CA as well, so that nothing but the date is wrong with "late".
    for files in (a, b):
        files.ca.write_bytes((ca / "ca.crt").read_bytes() + late.ca.read_bytes())
    return Nodes(ca, a, b, stranger, both, expired)


@dataclass
class Peer:
    """A transport and what its callbacks have reported, in order."""

    transport: Transport = field(init=False)
    address: str = ""
    connected: list[Link] = field(default_factory=list)
    received: list[tuple[FrameClass, bytes]] = field(default_factory=list)
    closed: list[tuple[Link, str]] = field(default_factory=list)
    dial_failed: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    on_connected: Callable[[Link], None] = lambda link: None
    on_received: Callable[[Link, FrameClass, bytes], None] = lambda link, frame_class, message: None
    _news: trio.Event = field(default_factory=trio.Event)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def events(self) -> TransportEvents:
        def connected(link: Link) -> None:
            self.connected.append(link)
            self._tell()
            self.on_connected(link)

        def received(link: Link, frame_class: FrameClass, message: bytes) -> None:
            assert link in self.connected
            assert not link.closing
            self.received.append((frame_class, message))
            self._tell()
            self.on_received(link, frame_class, message)

        def closed(link: Link, reason: str) -> None:
            assert link in self.connected
            assert all(link is not other for other, _ in self.closed), "closed twice"
            assert not link.send(FrameClass.CONTROL, b"too late")
            self.closed.append((link, reason))
            self._tell()

        def dial_failed(address: str, reason: str) -> None:
            self.dial_failed.append((address, reason))
            self._tell()

        def refused(remote: str, reason: str) -> None:
            self.refused.append(reason)
            self._tell()

        return TransportEvents(connected, received, closed, dial_failed, refused)

    async def until(self, seen: Callable[[], object]) -> None:
        with trio.fail_after(HANG_S):
            while not seen():
                await self._news.wait()

    async def link(self) -> Link:
        await self.until(lambda: self.connected)
        return self.connected[0]

    async def end_reason(self) -> str:
        await self.until(lambda: self.closed)
        return self.closed[0][1]

    async def dial_reason(self) -> str:
        await self.until(lambda: self.dial_failed)
        return self.dial_failed[0][1]

    async def refusal(self) -> str:
        await self.until(lambda: self.refused)
        return self.refused[0]


def make_peer(
    files: NodeFiles,
    *,
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
    cluster_id: bytes = CLUSTER,
    source_host: str | None = None,
    limits: TransportLimits | None = None,
) -> Peer:
    peer = Peer()
    peer.transport = Transport(
        server_context=server or server_context(files),
        client_context=client or client_context(files),
        cluster_id=cluster_id,
        events=peer.events(),
        source_host=source_host,
        limits=limits,
    )
    return peer


@asynccontextmanager
async def running(*peers: Peer) -> AsyncIterator[None]:
    """Run *peers*, each listening on a free port; cancelled at the end of the block."""
    async with trio.open_nursery() as nursery:
        for peer in peers:
            host, port = await peer.transport.listen("127.0.0.1", 0)
            peer.address = f"{host}:{port}"
            await nursery.start(peer.transport.run)
        yield
        nursery.cancel_scope.cancel()


async def raw_connection(address: str) -> trio.SocketStream:
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def raw_tls(address: str, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    """A connection of a program that speaks TLS with our certificate, but not frames."""
    stream = trio.SSLStream(await raw_connection(address), context)
    await stream.do_handshake()
    return stream


def body(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


# -- messages ---------------------------------------------------------------------------------------


async def test_messages_of_all_classes_both_ways(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        at_a, at_b = await a.link(), await b.link()
        assert (at_a.peer.node_id, at_a.outbound, at_a.address) == ("b", True, b.address)
        assert (at_b.peer.node_id, at_b.outbound) == ("a", False)
        assert at_b.peer.cluster_id == CLUSTER
        sent = [(each, body(length, length)) for each in FrameClass for length in (1, 5_000, 40_000)]
        sent.append((FrameClass.SYNC, body(MESSAGE_BYTES_MAX)))
        for link in (at_a, at_b):
            assert all(link.send(each, message) for each, message in sent)
        for peer in (a, b):
            await peer.until(lambda peer=peer: len(peer.received) == len(sent))
            for each in FrameClass:
                assert [m for c, m in peer.received if c is each] == [m for c, m in sent if c is each]
        assert at_a.queue_bytes() == at_b.queue_bytes() == 0
        assert at_a.bytes_out == at_b.bytes_in == at_b.bytes_out == at_a.bytes_in > 8 << 20


async def test_control_overtakes_a_long_sync_message(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        link = await a.link()
        link.send(FrameClass.SYNC, body(MESSAGE_BYTES_MAX))
        while not link.bytes_out:
            await trio.lowlevel.checkpoint()
        assert link.queue_bytes(FrameClass.SYNC) > 0
        link.send(FrameClass.CONTROL, b"ping")
        await b.until(lambda: len(b.received) == 2)
        assert [each for each, _ in b.received] == [FrameClass.CONTROL, FrameClass.SYNC]


async def test_a_full_queue_takes_no_more_and_others_go_on(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        link = await a.link()
        part = body(QUEUE_BYTES_MAX[FrameClass.SYNC] // 4)
        assert [link.send(FrameClass.SYNC, part) for _ in range(7)] == [True] * 6 + [False]
        assert link.send(FrameClass.CONTROL, b"ping")
        with pytest.raises(LimitExceeded):
            link.send(FrameClass.SYNC, bytes(MESSAGE_BYTES_MAX + 1))
        await b.until(lambda: len(b.received) == 7)  # the ping is one of them
        assert link.send(FrameClass.SYNC, part), "room again once sent"


async def test_source_host_is_where_links_come_from(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a, source_host="127.0.0.2"), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        assert (await b.link()).address.startswith("127.0.0.2:")


# -- who is let in ----------------------------------------------------------------------------------


async def test_a_server_of_another_ca_is_refused_and_told_so(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.stranger)
    async with running(a, b):
        a.transport.dial(b.address)
        assert "the peer's certificate is refused" in await a.dial_reason()
        assert await b.refusal() == "the peer refuses our certificate: it trusts another CA"
        assert not a.connected
        assert not b.connected


async def test_a_client_of_another_ca_learns_it_at_its_first_read(nodes: Nodes) -> None:
    a, b = make_peer(nodes.both_trusted), make_peer(nodes.b)
    a.on_connected = lambda link: link.send(FrameClass.CONTROL, b"hello") and None
    async with running(a, b):
        a.transport.dial(b.address)
        assert "refuses our certificate" in await a.end_reason()
        assert "the peer's certificate is refused" in await b.refusal()
        assert not b.connected
        assert not a.dial_failed


async def test_a_client_without_certificate(nodes: Nodes) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(nodes.a.ca)
    bare.set_alpn_protocols([pki.ALPN])
    a, b = make_peer(nodes.a, client=bare), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        assert await a.end_reason() == "the peer requires a certificate and got none"
        assert await b.refusal() == "the peer sent no certificate"


async def test_a_client_of_another_cluster_under_the_same_ca(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b, cluster_id=OTHER_CLUSTER)
    async with running(a, b):
        a.transport.dial(b.address)
        assert await b.refusal() == f"certificate is for cluster {CLUSTER.hex()}, not for ours"
        assert "before it sent anything" in await a.end_reason()


async def test_a_server_of_another_cluster_under_the_same_ca(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a, cluster_id=OTHER_CLUSTER), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        assert await a.dial_reason() == f"certificate is for cluster {CLUSTER.hex()}, not for ours"
        await b.end_reason()
        assert not a.connected


async def test_an_expired_client(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a, client=nodes.expired[1]), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        assert await a.end_reason() == "the peer refuses our certificate: expired"
        assert await b.refusal() == "the peer's certificate is refused: certificate has expired"


async def test_an_expired_server(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b, server=nodes.expired[0])
    async with running(a, b):
        a.transport.dial(b.address)
        assert await a.dial_reason() == "the peer's certificate is refused: certificate has expired"
        assert await b.refusal() == "the peer refuses our certificate: expired"


async def test_tls_of_another_protocol(nodes: Nodes) -> None:
    other = client_context(nodes.a)
    other.set_alpn_protocols(["h2"])
    a, b = make_peer(nodes.a, client=other), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        assert await a.dial_reason() == "the peer does not speak gossipconf/1"
        await b.until(lambda: b.refused or b.closed)
        assert not b.connected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "closed the connection"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak TLS but HTTP"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not speak TLS"),
        (bytes(1000), ""),
    ],
)
async def test_strangers_and_port_scans_leave_the_listener_well(nodes: Nodes, data: bytes, words: str) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(a, b):
        async with await raw_connection(b.address) as stream:
            if data:
                await stream.send_all(data)
            await stream.send_eof()
            assert words in await b.refusal()
        a.transport.dial(b.address)
        await b.link()


async def test_more_than_the_burst_is_turned_away_before_tls(nodes: Nodes) -> None:
    limits = TransportLimits(accepts_per_s=1e-9, accepts_burst=2)
    a, b = make_peer(nodes.a), make_peer(nodes.b, limits=limits)
    async with running(a, b):
        for _ in range(3):
            a.transport.dial(b.address)
        assert await b.refusal() == "more than 1e-09 connections a second"
        await b.until(lambda: len(b.connected) == 2)
        assert "connection" in await a.dial_reason()
        assert len(a.connected) == 2


async def test_silent_strangers_hold_no_more_than_the_handshakes_allowed(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b, limits=TransportLimits(handshakes_max=1, handshake_s=1e9))
    async with running(a, b):
        silent = await raw_connection(b.address)
        while not b.transport._handshakes:
            await trio.lowlevel.checkpoint()
        a.transport.dial(b.address)
        assert await b.refusal() == "1 handshakes are under way, the limit"
        await silent.aclose()
        await b.until(lambda: len(b.refused) == 2)
        a.transport.dial(b.address)
        await b.link()


async def test_no_more_incoming_links_than_the_limit(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b, limits=TransportLimits(inbound_links_max=1))
    async with running(a, b):
        a.transport.dial(b.address)
        await b.link()
        a.transport.dial(b.address)
        assert await b.refusal() == "1 incoming links are open, the limit"


def test_the_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    bucket = _TokenBucket(rate_per_s=2.0, burst=3)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5) for _ in range(2)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


# -- failing peers ----------------------------------------------------------------------------------


async def test_a_frame_that_claims_four_gib(nodes: Nodes) -> None:
    b = make_peer(nodes.b)
    async with running(b), await raw_tls(b.address, client_context(nodes.a)) as stream:
        await stream.send_all(b"\xff\xff\xff\xff")
        reason = await b.end_reason()
        assert reason.startswith("protocol violation: ")
        assert "4294967295 bytes" in reason


@pytest.mark.parametrize("unfinished", [b"", b"\x80\x00\x00\x05hel"])
async def test_a_killed_peer_is_closed_once(nodes: Nodes, unfinished: bytes) -> None:
    b = make_peer(nodes.b)
    async with running(b):
        stream = await raw_tls(b.address, client_context(nodes.a))
        link = await b.link()
        if unfinished:
            await stream.send_all(unfinished)
            while not link.bytes_in:
                await trio.lowlevel.checkpoint()
        # What a kill -9 with unread data, or a firewall, does: a reset instead of an end.
        linger = struct.pack("ii", 1, 0)
        stream.transport_stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        await trio.aclose_forcefully(stream)
        assert await b.end_reason() == "connection reset by peer"
    assert len(b.closed) == 1
    assert b.received == []


async def test_a_peer_that_dies_while_much_is_queued(nodes: Nodes) -> None:
    b = make_peer(nodes.b)
    async with running(b):
        stream = await raw_tls(b.address, client_context(nodes.a))
        link = await b.link()
        link.send(FrameClass.SYNC, body(MESSAGE_BYTES_MAX))
        await stream.receive_some(100)
        await trio.aclose_forcefully(stream)
        assert await b.end_reason()
    assert len(b.closed) == 1


async def test_a_tcp_end_without_tls_goodbye_is_told_from_a_close(nodes: Nodes) -> None:
    b = make_peer(nodes.b)
    async with running(b):
        stream = await raw_tls(b.address, client_context(nodes.a))
        await b.link()
        await stream.transport_stream.send_eof()
        assert await b.end_reason() == "the peer closed the connection without a goodbye"
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("address", ["nonsense", "a..b:1", "host:99999", "", "\0:7"])
async def test_dialling_a_bad_address_fails_like_any_dial(nodes: Nodes, address: str) -> None:
    a = make_peer(nodes.a)
    async with running(a):
        a.transport.dial(address)
        assert "is not host:port" in await a.dial_reason()
        assert a.dial_failed[0][0] == address


async def test_dialling_a_closed_port(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(b):
        pass
    async with running(a):
        a.transport.dial(b.address)
        assert await a.dial_reason() == "connection refused"


async def test_a_port_in_use_is_named_with_the_mend(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(a):
        port = int(a.address.rpartition(":")[2])
        with pytest.raises(TransportError, match=f"cannot listen on 127.0.0.1:{port}: the address is in use; "):
            await b.transport.listen("127.0.0.1", port)


async def test_an_address_that_is_not_ours(nodes: Nodes) -> None:
    with pytest.raises(TransportError, match=r"192\.0\.2\.1:0: this machine has no such address"):
        await make_peer(nodes.a).transport.listen("192.0.2.1", 0)


# -- closing ----------------------------------------------------------------------------------------


async def test_close_sends_waiting_control_and_receives_nothing_more(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(a, b):
        a.transport.dial(b.address)
        at_a, at_b = await a.link(), await b.link()
        b.on_received = lambda link, frame_class, message: link.close("enough")
        at_a.send(FrameClass.CONTROL, b"1")
        at_a.send(FrameClass.CONTROL, b"2")
        at_b.send(FrameClass.SYNC, body(1 << 20))
        at_b.send(FrameClass.CONTROL, b"goodbye")
        assert await b.end_reason() == "enough"
        assert await a.end_reason() == "the peer closed the link"
        assert b.received == [(FrameClass.CONTROL, b"1")]
        assert (FrameClass.CONTROL, b"goodbye") in a.received
        at_b.close("again")
    assert [reason for _, reason in b.closed] == ["enough"]


async def test_graceful_close_flushes_and_ends_run(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    sent = [(FrameClass.BROADCAST, body(8 << 20)), (FrameClass.SYNC, body(4 << 20))]
    async with running(b):
        async with trio.open_nursery() as nursery:
            await nursery.start(a.transport.run)
            a.transport.dial(b.address)
            link = await a.link()
            assert all(link.send(each, message) for each, message in sent)
            await a.transport.aclose("upgrade", grace_s=HANG_S)
        assert a.closed == [(link, "upgrade")]
        assert await b.end_reason() == "the peer closed the link"
        assert b.received == sent
        a.transport.dial(b.address)
    assert not a.dial_failed


async def test_cancelling_run_closes_all_quietly(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    async with running(b):
        async with running(a):
            a.transport.dial(b.address)
            await a.link()
            a.transport.dial(b.address)
        assert [reason for _, reason in a.closed] == ["this agent is stopping"]
        assert len(a.connected) + len(a.dial_failed) == 2
        await b.end_reason()


@pytest.mark.parametrize("tls_begun", [False, True])
async def test_closing_cancels_dials_under_way(nodes: Nodes, tls_begun: bool) -> None:
    a = make_peer(nodes.a, limits=TransportLimits(connect_s=1e9))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0], running(a):
        a.transport.dial(f"127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        async with await listeners[0].accept() as silent:
            if tls_begun:
                await silent.receive_some()
            with trio.fail_after(HANG_S):
                await a.transport.aclose("upgrade")
        assert [reason for _, reason in a.dial_failed] == ["upgrade"]


async def test_closing_a_transport_that_never_ran_frees_its_port(nodes: Nodes) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    _, port = await a.transport.listen("127.0.0.1", 0)
    await a.transport.aclose()
    assert await b.transport.listen("127.0.0.1", port) == ("127.0.0.1", port)
    await b.transport.aclose()


@pytest.mark.parametrize("which", ["on_connected", "on_received"])
async def test_a_fault_in_a_callback_leaves_run(nodes: Nodes, which: str) -> None:
    def fault(*_: object) -> None:
        raise OSError("a bug of ours that looks like the network")

    a, b = make_peer(nodes.a), make_peer(nodes.b)
    setattr(b, which, fault)
    a.on_connected = lambda link: link.send(FrameClass.CONTROL, b"hello") and None

    async def until_the_fault() -> None:
        async with running(b):
            a.transport.dial(b.address)
            await trio.sleep_forever()

    async with running(a):
        with pytest.raises(BaseExceptionGroup) as raised:
            await until_the_fault()
        assert raised.value.split(lambda error: "a bug of ours" in str(error))[1] is None
        await a.end_reason()
    assert len(b.closed) == 1


# -- any stream, virtual time -----------------------------------------------------------------------


async def test_links_run_over_any_stream(nodes: Nodes, autojump_clock: trio.testing.MockClock) -> None:
    a, b = make_peer(nodes.a), make_peer(nodes.b)
    left, right = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: a.transport.serve_stream(left, outbound=True, address="b:1"))
        nursery.start_soon(lambda: b.transport.serve_stream(right, outbound=False, address="a:1"))
        (await a.link()).send(FrameClass.ACK, b"one")
        await b.until(lambda: b.received)
        (await b.link()).close("done")
    assert b.received == [(FrameClass.ACK, b"one")]
    assert (b.closed[0][1], a.closed[0][1]) == ("done", "the peer closed the link")


@pytest.mark.parametrize("outbound", [True, False])
async def test_a_handshake_that_stalls_ends_at_its_limit(
    nodes: Nodes, autojump_clock: trio.testing.MockClock, outbound: bool
) -> None:
    a = make_peer(nodes.a)
    left, right = trio.testing.memory_stream_pair()
    await a.transport.serve_stream(left, outbound=outbound, address="b:1")
    reasons = [reason for _, reason in a.dial_failed] if outbound else a.refused
    assert reasons == ["no TLS handshake within the limit"]
    assert autojump_clock.current_time() == 3.0
    assert await right.receive_some() is not None


async def test_a_peer_that_stops_reading_cannot_hold_up_a_close(
    nodes: Nodes, autojump_clock: trio.testing.MockClock
) -> None:
    a = make_peer(nodes.a)
    left, right = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: a.transport.serve_stream(left, outbound=True, address="b:1"))
        stuck = trio.SSLStream(right, server_context(nodes.b), server_side=True)
        await stuck.do_handshake()
        link = await a.link()
        link.send(FrameClass.SYNC, body(1 << 20))
        await trio.testing.wait_all_tasks_blocked()
        began_s = trio.current_time()
        link.close("too slow")
        assert link.queue_bytes(FrameClass.SYNC) == 0
    assert [reason for _, reason in a.closed] == ["too slow"]
    assert autojump_clock.current_time() - began_s == CLOSE_FLUSH_S


class RefusedStream(trio.abc.Stream):
    """A stream whose writes fail first and whose reads then tell why: a certificate refused under TLS 1.3."""

    def __init__(self) -> None:
        self.write_failed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.write_failed.set()
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("not needed")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.write_failed.wait()
        alert = ssl.SSLError(1, "alert")
        alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
        raise trio.BrokenResourceError from alert

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_the_reader_knows_better_why_a_write_failed() -> None:
    link = Link(1, PeerIdentity("b", CLUSTER, 0), outbound=True, address="b:1")
    link.send(FrameClass.CONTROL, b"hello")
    await link.serve(RefusedStream(), lambda *_: None)
    assert link.end("unknown") == "the peer refuses our certificate: it trusts another CA"
