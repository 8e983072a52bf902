"""The guard at the door: who may ask at all, and what becomes of a fault.

With a token a client must show it. Without one everybody on this machine may read, but no web
page that a browser of this machine has open: a page of elsewhere that gives its own name this
machine's address (DNS rebinding) is told by the `Host` that its browser sends.
"""

from __future__ import annotations

import hmac
import logging
from typing import Final

import trio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ..runtime.http_endpoint import is_loopback
from .problem import Problem

OPEN: Final = ("/health/live", "/health/ready")
"""Asked by orchestrators, which have no token; they say nothing of any configuration."""
GONE: Final = (ClientDisconnect, trio.BrokenResourceError, trio.ClosedResourceError)
"""What is raised where a client has hung up."""

log = logging.getLogger("gossipconf.http")


class Guard:
    """Lets requests through to an application. ``token``: None for none; ``local``: `Host` must name this machine."""

    def __init__(self, app: ASGIApp, *, token: bytes | None, local: bool) -> None:
        self._app = app
        self._token = token
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._refusal(scope)
        try:
            await (self._app if refused is None else refused.response())(scope, receive, send)
        except GONE as error:
            log.debug("a client has hung up: %r", error)
        except Exception:
            log.exception("a fault in answering %s %r", scope["method"], scope["path"])  # told to the client by `app`

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1")
            if self._local and not is_loopback(_name_of(host)):
                return Problem(
                    421,
                    "WrongHost",
                    f"this agent answers on this machine only, and is no {host!r}",
                    "ask it by its address, such as 127.0.0.1, or give the agent an 'http_token'",
                )
            return None
        if scope["path"] in OPEN:
            return None
        shown = _shown(headers)
        if shown is not None and hmac.compare_digest(shown, self._token):
            return None
        return Problem(
            401,
            "TokenMissing" if shown is None else "TokenWrong",
            "this agent answers only who shows its token" if shown is None else "that is not this agent's token",
            "send 'Authorization: Bearer TOKEN', with the content of the file that 'http_token' names",
            {"WWW-Authenticate": "Bearer"},
        )


def _shown(headers: dict[bytes, bytes]) -> bytes | None:
    """The token that a client shows: as a bearer (RFC 6750), or as Consul's clients do."""
    kind, _, token = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return token.strip()
    return headers.get(b"x-consul-token")


def _name_of(host: str) -> str:
    """A `Host` header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
