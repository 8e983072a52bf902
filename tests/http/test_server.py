"""Connections: who is let in, who is cut off, and how a server ends."""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from hypercorn.trio.tcp_server import TCPServer

from gossipconf.http import server, stream
from gossipconf.http.server import HEAD_BYTES_MAX
from gossipconf.http.service import services
from gossipconf.http.stream import ClientStream
from gossipconf.model.errors import ConfigError
from gossipconf.runtime.agent import Agent
from gossipconf.runtime.http_endpoint import HttpEndpoint
from tests.runtime.cluster import HANG_S, Site

from .serving import LOOPBACK, ServedAgent, raw, served

TOKEN = "0123456789abcdef-secret"


def token_file(directory: Path, mode: int = 0o600, text: str = TOKEN + "\n") -> Path:
    path = directory / "http.token"
    path.write_text(text)
    path.chmod(mode)
    return path


# -- the token ------------------------------------------------------------------------------------


async def test_who_shows_the_token_is_answered(site: Site, tmp_path: Path) -> None:
    endpoint = HttpEndpoint(("127.0.0.1", 0), token_file(tmp_path))
    async with served(site, tmp_path, http=endpoint) as (_, client):
        for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"X-Consul-Token": TOKEN}):
            answer = await client.get("/nothing", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (404, "UnknownPath")


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "TokenMissing"),
        ({"Authorization": "Bearer wrong"}, "TokenWrong"),
        ({"Authorization": "Bearer"}, "TokenWrong"),
        ({"Authorization": f"Basic {TOKEN}"}, "TokenMissing"),
        ({"Authorization": f"Bearer {TOKEN}x"}, "TokenWrong"),
        ({"X-Consul-Token": TOKEN[:-1]}, "TokenWrong"),
    ],
)
async def test_nobody_else_is(site: Site, tmp_path: Path, headers: dict[str, str], error: str) -> None:
    endpoint = HttpEndpoint(("127.0.0.1", 0), token_file(tmp_path))
    async with served(site, tmp_path, http=endpoint) as (_, client):
        answer = await client.get("/nothing", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"] == error
        assert "Authorization: Bearer" in answer.json()["fix"]
        assert TOKEN not in answer.text


async def test_health_needs_no_token(site: Site, tmp_path: Path) -> None:
    endpoint = HttpEndpoint(("127.0.0.1", 0), token_file(tmp_path))
    async with served(site, tmp_path, http=endpoint) as (_, client):
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "10.0.0.1", "[2001:db8::1]:80", "", "localhost.evil"]
)
async def test_without_a_token_a_page_of_elsewhere_is_refused(site: Site, tmp_path: Path, host: str) -> None:
    async with served(site, tmp_path) as (agent, _):
        answer = await raw(agent, f"GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert b'"error":"WrongHost"' in answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "127.1.2.3", "[::1]:8765"])
async def test_this_machine_has_several_names(site: Site, tmp_path: Path, host: str) -> None:
    async with served(site, tmp_path) as (agent, _):
        answer = await raw(agent, f"GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 ")


# -- what is asked --------------------------------------------------------------------------------


async def test_an_unknown_path_and_a_wrong_method_are_told_as_json(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (_, client):
        answer = await client.get("/nothing/\N{SNOWMAN}")
        assert answer.status_code == 404
        assert "nothing" in answer.json()["message"]
        answer = await client.post("/health/live", content=b"x" * 100_000)
        assert answer.status_code == 405
        assert "GET" in answer.json()["fix"]


async def test_a_huge_query_is_refused_and_the_next_client_served(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        head = b"GET /health/live?x=" + b"x" * 4 * HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await raw(agent, head)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("data", [b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""])
async def test_what_is_no_http_ends_its_own_connection_only(
    site: Site, tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.01)
    async with served(site, tmp_path) as (agent, client):
        await raw(agent, data)
        assert (await client.get("/health/live")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_websocket_is_refused(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, _):
        answer = await raw(
            agent,
            b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 403 ")


# -- clients that do not behave -------------------------------------------------------------------


async def test_a_fault_is_answered_and_logged_once(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(site, tmp_path) as (agent, client):
        monkeypatch.setattr(type(agent.reads), "value_count", property(lambda self: 1 // 0))
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["error"]) == (500, "Fault")
        assert (await client.get("/health/live")).status_code == 200
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == ["a fault in answering GET '/health/ready'"]


async def test_a_connection_that_fails_harms_nobody(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(site, tmp_path) as (agent, client):
        with monkeypatch.context() as patch:

            async def fail(self: TCPServer) -> None:
                raise ExceptionGroup("several", [RuntimeError("odd")])

            patch.setattr(TCPServer, "run", fail)
            assert await raw(agent, b"GET /health/live HTTP/1.1\r\n\r\n") == b""
        assert (await client.get("/health/live")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_there_are_so_many_connections_at_most(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "connections_max", lambda: 1)
    async with served(site, tmp_path) as (agent, client):
        assert (await client.get("/health/live")).status_code == 200  # and keeps its connection
        assert await raw(agent, b"") == b""


async def test_who_takes_nothing_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the kernel holds for a client, more is sent here."""
    near, far = await _pair()
    async with far:
        slow = ClientStream(near)
        with pytest.raises(trio.BrokenResourceError, match="taken nothing for 10 s"):
            await slow.send_all(bytes(64 << 20))
        assert near.socket.fileno() == -1
    assert trio.current_time() >= stream.SEND_S


async def test_who_takes_little_is_served(autojump_clock: trio.testing.MockClock) -> None:
    near, far = await _pair()
    taken = 0

    async def take() -> None:
        nonlocal taken
        while data := await far.receive_some(stream.PIECE_BYTES):
            taken += len(data)
            await trio.sleep(stream.SEND_S / 4)

    async with far, trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await ClientStream(near).send_all(bytes(4 << 20))
        await near.aclose()
    assert taken == 4 << 20


async def _pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    near, far = trio.socket.socketpair()
    return trio.SocketStream(near), trio.SocketStream(far)


# -- the end --------------------------------------------------------------------------------------


async def test_a_stopping_agent_ends_with_an_idle_client_there(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        assert (await client.get("/health/live")).status_code == 200
        agent.stop()
        with trio.fail_after(HANG_S):
            await agent.finished.wait()
        with pytest.raises(httpx.TransportError):
            await client.get("/health/live")


async def test_a_killed_agent_ends_with_a_client_that_takes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's writes are shielded: it has to break them off."""
    async with served(site, tmp_path) as (agent, _):
        is_sending = trio.Event()
        send_all = trio.SocketStream.send_all

        async def send_noted(self: trio.SocketStream, data: bytes) -> None:
            if b"HTTP/1.1 200" in bytes(data):
                is_sending.set()
                data = bytes(64 << 20)
            await send_all(self, data)

        monkeypatch.setattr(trio.SocketStream, "send_all", send_noted)
        host, _, port = agent.http.addresses[0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as client:
            await send_all(client, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(HANG_S):
                await is_sending.wait()
                agent.scope.cancel()
                await agent.finished.wait()


# -- where it listens -----------------------------------------------------------------------------


async def test_a_unix_socket_is_its_owners_and_gone_afterwards(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with served(site, tmp_path, http=HttpEndpoint(path)) as (agent, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            assert (await client.get("/health/live")).json() == {"status": "live", "node": "a"}
        agent.stop()
        with trio.fail_after(HANG_S):
            await agent.finished.wait()
        assert not path.exists()


async def test_tls(site: Site, tmp_path: Path) -> None:
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    endpoint = HttpEndpoint(("127.0.0.1", 0), token_file(tmp_path), tmp_path / "crt", tmp_path / "key")
    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with served(site, tmp_path, http=endpoint) as (agent, _):
        url = agent.url.replace("http:", "https:")
        async with httpx.AsyncClient(verify=context, base_url=url, timeout=HANG_S) as client:
            assert (await client.get("/health/live")).status_code == 200
        assert await raw(agent, b"GET / HTTP/1.1\r\n\r\n") in {b"", b"\x15\x03\x01\x00\x02\x02\x46"}
        async with httpx.AsyncClient(verify=context, base_url=url, timeout=HANG_S) as client:
            assert (await client.get("/health/live")).status_code == 200


async def refusal(site: Site, tmp_path: Path, endpoint: HttpEndpoint) -> str:
    """With which words an agent does not start."""
    settings = site.settings("a", tmp_path / "a", http=endpoint)
    with pytest.raises(ConfigError) as caught:
        with trio.fail_after(HANG_S):
            await Agent(settings, services=services(settings)).run()
    return str(caught.value)


async def test_an_address_in_use_is_told(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path / "1") as (agent, _):
        host, _, port = agent.http.addresses[0].rpartition(":")
        message = await refusal(site, tmp_path, HttpEndpoint((host, int(port))))
    assert message == (
        f"option 'http': cannot listen on {host}:{port}: another program listens there; stop it, or take another port"
    )


async def test_something_in_the_place_of_the_socket_is_told(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    message = await refusal(site, tmp_path, HttpEndpoint(path))
    assert message.startswith(f"option 'http': Unix socket {path} cannot be made: ")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        (0o640, TOKEN, "others may read"),
        (0o604, TOKEN, "chmod 600"),
        (0o600, "short", "16 or more"),
        (0o600, "", "16 or more"),
        (0o600, "two words of more than 16", "without spaces"),
        (0o600, "x" * 5_000, "larger than 4096"),
    ],
)
async def test_a_bad_token_file_is_refused(site: Site, tmp_path: Path, mode: int, text: str, words: str) -> None:
    endpoint = HttpEndpoint(("127.0.0.1", 0), token_file(tmp_path, mode, text))
    message = await refusal(site, tmp_path, endpoint)
    assert message.startswith("option 'http_token': ")
    assert words in message


async def test_a_missing_token_file_is_told(site: Site, tmp_path: Path) -> None:
    message = await refusal(site, tmp_path, HttpEndpoint(("127.0.0.1", 0), tmp_path / "none"))
    assert message.startswith(f"option 'http_token': {tmp_path / 'none'} cannot be read")


async def test_bad_files_of_tls_are_refused(site: Site, tmp_path: Path) -> None:
    issued, other = trustme.CA().issue_cert("127.0.0.1"), trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    other.private_key_pem.write_to_path(tmp_path / "key")
    endpoint = HttpEndpoint(("127.0.0.1", 0), token_file(tmp_path), tmp_path / "crt", tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    assert "option 'http_private_key'" in await refusal(site, tmp_path, endpoint)
    (tmp_path / "key").chmod(0o600)
    assert "issued together" in await refusal(site, tmp_path, endpoint)
    (tmp_path / "crt").unlink()
    assert "option 'http_certificate'" in await refusal(site, tmp_path, endpoint)


def test_a_missing_extra_is_told(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415 - only here

    settings = site.settings("a", tmp_path, http=LOOPBACK)
    monkeypatch.delitem(sys.modules, "gossipconf.http.server")
    monkeypatch.setitem(sys.modules, "hypercorn.config", None)
    with pytest.raises(ConfigError, match=r"hypercorn.*pip install 'gossipconf\[http\]'"):
        services(settings)


def test_without_the_option_nothing_is_loaded(site: Site, tmp_path: Path) -> None:
    assert services(site.settings("a", tmp_path)) == ()


async def test_an_agent_without_a_server_says_so(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(Agent(site.settings("a", tmp_path / "a", http=LOOPBACK)).run)
        nursery.cancel_scope.cancel()
    assert "serves no HTTP" in caplog.text


def test_agents_differ_from_a_server_by_their_name(site: Site, tmp_path: Path) -> None:
    agent = ServedAgent(site.settings("a", tmp_path, http=LOOPBACK), None)  # type: ignore[arg-type]
    assert agent.http.addresses == ()
