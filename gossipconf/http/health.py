"""Health for orchestrators: whether the agent runs, and whether a service may rely on it.

    live    the agent answers
    ready   it can write its disk, and has configuration or has met somebody

A partition makes nobody unready: an agent that has configuration, from before or from its disk,
serves it with nobody there, and taking its service away would be the failure that it is there
to prevent. How old the view may be is a threshold that the asker names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .problem import Problem

if TYPE_CHECKING:
    from ..runtime.agent import Agent

AGE_S_MAX: Final = 31_536_000
"""A year: an agent that is to be ready with an older view names no limit."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of being ready, and in words how it stands."""

    name: str
    is_ok: bool
    reason: str


NAMES: Final = ("disk", "joined", "fresh")
"""The checks; `fresh` only where a limit is named."""


def checks(agent: Agent, max_age_s: int | None) -> list[Check]:
    """All conditions of being ready."""
    found = [_disk(agent), _joined(agent)]
    return found if max_age_s is None else [*found, _fresh(agent, max_age_s)]


def _disk(agent: Agent) -> Check:
    error = agent.node.replica.disk_error
    if error is None:
        return Check("disk", True, "what is published and received is written")
    return Check("disk", False, f"the journal cannot be written: {error}")


def _joined(agent: Agent) -> Check:
    links, keys = len(agent.node.links()), agent.reads.value_count
    if links:
        return Check("joined", True, f"linked to {links}")
    if keys:
        return Check("joined", True, f"linked to nobody, and serves the {keys} keys that it has")
    if not agent.settings.join:
        return Check("joined", True, "its settings name no seeds: it may be the first")
    return Check("joined", False, "has no configuration yet, and is linked to none of its seeds")


def _fresh(agent: Agent, max_age_s: int) -> Check:
    at_most_ms = agent.node.view(agent.now()).at_most_ms
    if at_most_ms is None:
        return Check("fresh", False, "no beacon has shown how old its view is; are beacons run?")
    reason = f"its view is at most {at_most_ms / 1000:.0f} s old, the limit is {max_age_s} s"
    return Check("fresh", at_most_ms <= max_age_s * 1000, reason)


def routes(agent: Agent) -> list[Route]:
    """What answers orchestrators."""

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "live", "node": agent.settings.node})

    async def ready(request: Request) -> Response:
        left_out = request.query_params.getlist("exclude")
        unknown = [name for name in left_out if name not in NAMES]
        if unknown:
            raise Problem(
                400, "InvalidInput", f"there is no check {unknown[0]!r}", f"exclude one of: {', '.join(NAMES)}"
            )
        made = [one for one in checks(agent, _age_of(request)) if one.name not in left_out]
        is_ready = all(one.is_ok for one in made)
        body = {
            "status": "ready" if is_ready else "not ready",
            "node": agent.settings.node,
            "checks": [{"name": one.name, "ok": one.is_ok, "reason": one.reason} for one in made],
        }
        return JSONResponse(body, 200 if is_ready else 503)

    return [Route("/health/live", live), Route("/health/ready", ready)]


def _age_of(request: Request) -> int | None:
    text = request.query_params.get("max_age_s")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(AGE_S_MAX)) and int(text) <= AGE_S_MAX):
        raise Problem(
            400, "InvalidInput", "'max_age_s' is no age", f"give whole seconds, 0 to {AGE_S_MAX}, as ?max_age_s=600"
        )
    return int(text)
