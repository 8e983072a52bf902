"""A running agent that answers HTTP, and clients of it: httpx where one behaves, a bare stream where not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import trio

from gossipconf.http.server import HttpServer
from gossipconf.runtime.http_endpoint import HttpEndpoint
from tests.runtime.cluster import HANG_S, Bell, Fleet, Site, WatchedAgent, fleet_of

LOOPBACK = HttpEndpoint(("127.0.0.1", 0))


class ServedAgent(WatchedAgent):
    """An agent with a server."""

    def __init__(self, settings: Any, bell: Bell, look_up: Any = None) -> None:
        super().__init__(settings, bell, look_up)
        self.http = HttpServer(self, settings.http or LOOPBACK)
        self._services = [self.http]

    @property
    def url(self) -> str:
        return f"http://{self.http.addresses[0]}"


class ServedFleet(Fleet):
    """Agents that answer HTTP."""

    AGENT = ServedAgent


@contextlib.asynccontextmanager
async def served(
    site: Site, data: Path, *join: str, **options: Any
) -> AsyncIterator[tuple[ServedAgent, httpx.AsyncClient]]:
    """One agent, and a client of it."""
    async with fleet_of(site, data, ServedFleet) as fleet:
        agent = await fleet.start("a", *join, **{"http": LOOPBACK} | options)
        assert isinstance(agent, ServedAgent)
        async with httpx.AsyncClient(base_url=agent.url, timeout=HANG_S) as client:
            yield agent, client


async def raw(agent: ServedAgent, data: bytes) -> bytes:
    """What the agent answers to these bytes, until it hangs up."""
    host, _, port = agent.http.addresses[0].rpartition(":")
    with trio.fail_after(HANG_S):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(data)
            found = b""
            with contextlib.suppress(trio.BrokenResourceError):
                while chunk := await stream.receive_some(65_536):
                    found += chunk
            return found
