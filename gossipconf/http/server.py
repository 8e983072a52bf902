"""The server: connections of HTTP clients, from accepting them to the last answer.

Knows sockets, limits and how to stop; what is answered is `app`'s. HTTP itself is hypercorn's,
of which one connection at a time is run here: in its own server a connection that fails ends
them all, and one that takes nothing is waited for without limit.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from ..runtime.http_endpoint import HttpEndpoint
from .app import make_app
from .feed import Feed
from .listening import address_of, listen, load_tls, load_token
from .stream import ClientStream

if TYPE_CHECKING:
    from ..runtime.agent import Agent

CONNECTIONS_MAX: Final = 12_000
"""Watchers of 10,000 processes and some commands; some 30 KiB each."""
FILES_SHARE: Final = 2
"""Connections have one of so many parts of the files that the process may open: links and the journal need some."""
IDLE_S: Final = 30.0
"""For which a connection may be without a request, or a request's head be incomplete."""
GRACE_S: Final = 2.0
"""In which a stopping server finishes its answers: less than the agent's farewell."""
HEAD_BYTES_MAX: Final = 16 * 1024
"""Request line and headers: nginx takes 8 KiB for the line and as much again, and a key is 512 bytes at most."""

log = logging.getLogger("gossipconf.http")


class HttpServer:
    """Answers HTTP for one agent, as its settings say. See `runtime.agent.Service`."""

    def __init__(self, agent: Agent, endpoint: HttpEndpoint) -> None:
        self.addresses: tuple[str, ...] = ()
        """Where it listens, once it does."""
        self._agent = agent
        self._endpoint = endpoint
        self._connections: dict[int, ClientStream] = {}
        self._connections_max = connections_max()
        self._feed = Feed()
        self._accepting = trio.CancelScope()
        self._closing = trio.Event()
        self._last_gone = trio.Event()
        self._finished = trio.Event()
        self._context = WorkerContext(None)
        self._config = _config()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until `close` and the last answer. Raises ConfigError for what is wrong."""
        token, tls = load_token(self._endpoint.token), load_tls(self._endpoint)
        app = _wrapped(make_app(self._agent, self._endpoint, token, self._feed, self._closing))

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream, app, tls)

        listeners = await listen(self._endpoint)
        self.addresses = tuple(map(address_of, listeners))
        log.info("HTTP is answered at %s", ", ".join(self.addresses))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break_off_at_end)
                await nursery.start(self._feed.run, self._agent.reads)
                task_status.started()
                with self._accepting:
                    await trio.serve_listeners(serve, list(listeners), handler_nursery=nursery)
                self._closing.set()
                await self._context.terminated.set()
                with trio.move_on_after(GRACE_S):
                    while self._connections:
                        self._last_gone = trio.Event()
                        await self._last_gone.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._finished.set()
            if isinstance(self._endpoint.bind, Path):
                with contextlib.suppress(OSError):  # gone already, or read-only by now: the next start replaces it
                    self._endpoint.bind.unlink()

    def close(self) -> None:
        """Accept no more, end the watches and idle connections; what has been asked is still answered."""
        self._accepting.cancel()

    async def finished(self) -> None:
        """Wait until nobody is being answered any more."""
        await self._finished.wait()

    async def _serve(self, accepted: trio.SocketStream, app: AppWrapper, tls: ssl.SSLContext | None) -> None:
        """One connection, which ends itself only, however it ends."""
        if len(self._connections) >= self._connections_max:
            log.debug("refused an HTTP connection: there are %d", len(self._connections))
            await trio.aclose_forcefully(accepted)
            return
        stream = ClientStream(accepted)
        self._connections[id(stream)] = stream
        served = stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            await TCPServer(app, self._config, self._context, ConnectionState({}), served).run()  # type: ignore[arg-type]
        except Exception as error:
            log.debug("an HTTP connection has failed: %r", error)
        except BaseExceptionGroup as group:
            cancelled, others = group.split(trio.Cancelled)
            if others is not None:
                log.debug("an HTTP connection has failed: %r", others)
            if cancelled is not None:
                raise cancelled from None
        finally:
            stream.break_off()
            del self._connections[id(stream)]
            if not self._connections:
                self._last_gone.set()

    async def _break_off_at_end(self) -> None:
        """Writes are shielded from cancellation, and end by this."""
        try:
            await trio.sleep_forever()
        finally:
            for stream in self._connections.values():
                stream.break_off()


def connections_max() -> int:
    """How many clients this process may have at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, soft // FILES_SHARE)


def _wrapped(app: ASGIApp) -> AppWrapper:
    """An application as hypercorn calls it. Its types are stricter than Starlette's: both mean ASGI."""
    return wrap_app(cast(ASGIFramework, app), 0, "asgi")


def _config() -> Config:
    config = Config()
    config.errorlog = log  # and not a handler of its own on stderr
    config.accesslog = None
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_S
    config.h11_max_incomplete_size = HEAD_BYTES_MAX
    return config
