"""Publishing over HTTP: a change that its client has signed is taken as it is. No key is ever asked for."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..model.limits import MESSAGE_BYTES_MAX
from .problem import Problem
from .reading import Json

if TYPE_CHECKING:
    from ..runtime.agent import Agent

PATH: Final = "/api/v1/changes"
BODY_S: Final = 30.0
"""In which a change has come: 8 MiB over a line of 2 Mbit/s."""


def routes(agent: Agent) -> list[Route]:
    """What answers publishers."""

    async def publish(request: Request) -> Response:
        change = agent.node.replica.decode(await _body(request))
        await agent.publish(change, is_compared="compared" in request.query_params)
        return Json({"change": change.id.hex(), "versions": change.header.count}, 201)

    return [Route(PATH, publish, methods=["POST"])]


async def _body(request: Request) -> bytes:
    """All that the client sends. Raises Problem beyond the limits, before what is beyond them is kept."""
    data = bytearray()
    with trio.move_on_after(BODY_S):
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > MESSAGE_BYTES_MAX:
                    fix = "publish in several changes"
                    raise Problem(413, "LimitExceeded", f"a change has {MESSAGE_BYTES_MAX} bytes at most", fix)
        return bytes(data)
    raise Problem(408, "TooSlow", f"the change has not come within {BODY_S:g} s", "send it again")
