"""What the command line asks of stages: how each stands as this agent knows it. Nothing of it is signed; the documents
beside it are bound by their hashes, and the words that it counts were verified here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.participant import Standing
from ..protocol.stages import Progress
from ..trust.strict import check_strict_prefix
from .control_request import text_of

if TYPE_CHECKING:
    from .agent import Agent


async def progress(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """All strict prefixes, or the one that ``prefix`` names, and the stages of each."""
    stages = agent.node.stages
    named = request.get("prefix")
    prefixes = stages.prefixes() if named is None else [check_strict_prefix(text_of(request, "prefix"))]
    return {
        "prefixes": [
            {
                "prefix": prefix,
                "strict": prefix in stages.strict,
                **_standing(stages.standing(prefix)),
                "stages": [_stage(one) for one in stages.progress(prefix)],
            }
            for prefix in prefixes
        ],
        "revoked": sorted(stages.shut_out),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    if standing.is_barred:
        state = "revoked"
    elif standing.epoch is None:
        state = "no member"
    else:
        state = "served" if standing.fence is None else "fenced"
    return {
        "state": state,
        "epoch": None if standing.epoch is None else standing.epoch.id,
        "fence": None if standing.fence is None else standing.fence.id,
    }


def _stage(one: Progress) -> dict[str, Any]:
    return {
        "document": one.stage.bare().encode(),
        "outcome": one.outcome.value,
        "acked": list(one.acked),
        "nacked": list(one.nacked),
        "missing": list(one.missing),
        "revoked": list(one.revoked),
        "asked_to_end": one.asked_to_end,
    }
