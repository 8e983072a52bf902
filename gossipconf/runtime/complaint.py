"""Complaints of applications: which change somebody calls unhealthy who reads it at this agent, and what comes of it.

Only what the agent reads now can be complained of, and only where it carries a limit of votes:
a machine that has not applied a canary knows nothing of its health.

Knows what is read and what nodes have said; signs nothing itself (see `protocol.statements`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..model.errors import InvalidInput, LimitExceeded, Rejected
from ..model.limits import COMMENT_BYTES_MAX
from ..model.version import Version
from ..store.resolution import Resolution, Verdict, resolve
from ..trust.statement import Kind

if TYPE_CHECKING:
    from .agent import Agent

REASON_BYTES_MAX: Final = COMMENT_BYTES_MAX
"""A line in the log."""


@dataclass(frozen=True, slots=True)
class Votes:
    """How votes on a change stand at this agent: the nodes that have called it unhealthy, how many hold it off, whether
    they do."""

    change_id: bytes
    nodes: tuple[str, ...]
    limit: int
    is_halted: bool


@dataclass(frozen=True, slots=True)
class Complained:
    """An application here has called a change unhealthy that it reads in ``key``; ``reason`` is its own words."""

    key: str
    change_id: bytes
    reason: str


def votes_on(agent: Agent, change_id: bytes) -> Votes | None:
    """Votes on a change; None if nothing lives of it that carries a limit."""
    halts = agent.node.halts
    limit = halts.limit(change_id)
    return None if limit is None else Votes(change_id, halts.votes(change_id), limit, change_id in halts.halted)


def all_votes(agent: Agent) -> list[Votes]:
    """Of all changes that anybody has called unhealthy."""
    found = (votes_on(agent, change_id) for change_id in agent.node.statements.subjects())
    return [one for one in found if one is not None and one.nodes]


def told(found: Votes) -> dict[str, Any]:
    """The same for whoever asks over the control socket."""
    return {
        "change": found.change_id,
        "nodes": list(found.nodes),
        "limit": found.limit,
        "halted": found.is_halted,
    }


async def complain(agent: Agent, key: str | None, change: str | None, reason: str) -> Votes:
    """Call what this agent reads of ``key``, or the change whose id begins with ``change``, unhealthy, for good.

    Returns how the votes stand once this agent's own is on disk; also if it was before. Raises Rejected for what this
    agent does not read or what carries no limit, InvalidInput for a change that is not told from others, ControlError
    once the agent stops, and what `Statements.say` raises.
    """
    if len(reason.encode()) > REASON_BYTES_MAX:
        raise LimitExceeded(f"the reason has {len(reason.encode())} bytes, the limit is {REASON_BYTES_MAX}")
    version = _of_key(agent, key) if key is not None else _of_change(agent, change or "")
    name, change_id = version.entry.key, version.change_id
    if agent.node.halts.limit(change_id) is None:
        raise Rejected(
            f"what this agent reads of {name!r} carries no limit of votes, so that nothing could come of it; "
            "publish a variant with: gossipconf put --variant NAME --percent N --halt-after VOTES"
        )
    if change_id not in agent.node.halts.halted:
        agent.tell(Complained(name, change_id, reason))
        await agent.say(Kind.UNHEALTHY, change_id)
    found = votes_on(agent, change_id)
    if found is None:
        raise Rejected(f"what this agent has read of {name!r} has been replaced meanwhile")
    return found


def _of_key(agent: Agent, key: str) -> Version:
    resolution = _resolution(agent, key)
    found = resolution.version or _halted(resolution)
    if found is None:
        raise Rejected(f"this agent reads no value of {key!r}, and has nothing to call unhealthy")
    if agent.node.halts.limit(found.change_id) is None:
        found = _halted(resolution) or found
    return found


def _of_change(agent: Agent, start: str) -> Version:
    named = agent.node.replica.live.named(start)
    if len(named) != 1:
        what = "no change begins" if not named else f"{len(named)} changes begin"
        raise InvalidInput(f"{what} with {start} here; see what is read with: gossipconf get --all KEY")
    keys = dict.fromkeys(version.entry.key for version in named[0].versions)
    read = (_read_of(_resolution(agent, key), named[0].id) for key in keys)
    found = next((one for one in read if one is not None), None)
    if found is None:
        raise Rejected(f"this agent reads nothing of change {start}, and does not know whether it is healthy")
    return found


def _read_of(resolution: Resolution, change_id: bytes) -> Version | None:
    """What is read of a change, or would be if it were not held off."""
    candidates: Iterable[Version] = (
        one.version for one in resolution.candidates if one.verdict in {Verdict.READ, Verdict.HALTED}
    )
    return next((one for one in candidates if one.change_id == change_id), None)


def _halted(resolution: Resolution) -> Version | None:
    return next((one.version for one in resolution.candidates if one.verdict is Verdict.HALTED), None)


def _resolution(agent: Agent, key: str) -> Resolution:
    unfit = agent.last_good.unfit.keys()
    return resolve(agent.reads.versions(key), agent.reader, agent.now().wall_ms, agent.node.halts.halted, unfit)
