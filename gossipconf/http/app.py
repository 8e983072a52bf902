"""The application: which path is answered by what, and how errors look. Knows no sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..model.errors import GossipconfError
from ..runtime.http_endpoint import HttpEndpoint
from . import events, health, metrics, publishing
from .api import Api
from .feed import Feed
from .guard import Guard
from .problem import Problem, problem_of

if TYPE_CHECKING:
    from ..runtime.agent import Agent


def make_app(agent: Agent, endpoint: HttpEndpoint, token: bytes | None, feed: Feed, closing: trio.Event) -> ASGIApp:
    """What answers for ``agent``, whose changes ``feed`` tells. ``closing`` is set once the server ends its streams."""
    routes = [*health.routes(agent), *metrics.routes(agent), *Api(agent).routes()]
    routes += [*events.routes(agent, feed, closing), *publishing.routes(agent)]
    app = Starlette(
        routes=routes,
        exception_handlers={Problem: _problem, GossipconfError: _error, HTTPException: _refused, Exception: _fault},
    )
    is_tcp = isinstance(endpoint.bind, tuple)
    return Guard(app, token=token, local=is_tcp)


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GossipconfError)
    return problem_of(error).response()


async def _fault(request: Request, error: Exception) -> Response:
    """What is ours to mend; it is logged by `guard`."""
    return Problem(500, "Fault", "the agent has a fault in answering this", "see the agent's log").response()


async def _refused(request: Request, error: Exception) -> Response:
    """What the router refuses."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        message = f"there is nothing at {request.url.path!r}"
        return Problem(404, "UnknownPath", message, "see /api/v1/openapi.json for what there is").response()
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET")
        message = f"{request.method} is not for {request.url.path!r}"
        return Problem(405, "WrongMethod", message, f"use one of: {allowed}", error.headers).response()
    return Problem(error.status_code, "Refused", error.detail, "see /api/v1/openapi.json").response()
