"""The account that an agent gives of itself and of others: `info` and `status` for the command line.

Nothing of it is signed: it is as good as the agent that says it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio

from .. import __version__
from ..protocol.confirmation import PEERS_WANTED
from .complaint import all_votes, told

if TYPE_CHECKING:
    from .agent import Agent

VOTED_KEYS_MAX: Final = 100
"""Keys named of a change that somebody calls unhealthy: enough to know it by."""
UNFIT_TOLD_MAX: Final = 8
"""Values that fail a schema which `status` names; `list` shows all."""


async def info(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """What the agent is, and what it has."""
    node = agent.node
    genesis = node.replica.chain.genesis
    links = []
    for link in node.links():
        connection = agent.transport_link(link.id)
        links.append(
            {
                "node": link.node_id,
                "address": link.address,
                "outbound": link.outbound,
                "rtt_ms": None if link.rtt_s is None else round(link.rtt_s * 1000, 3),
                "bytes_in": connection.bytes_in if connection else 0,
                "bytes_out": connection.bytes_out if connection else 0,
            }
        )
    return {
        "node": node.identity.node_id,
        "cluster": genesis.cluster_id.hex(),
        "cluster_name": genesis.name,
        "address": node.identity.address,
        "zone": node.identity.zone,
        "labels": dict(agent.settings.labels),
        "version": __version__,
        "pid": os.getpid(),
        "policy": node.replica.policy_version,
        "root": node.root,
        "keys": agent.reads.value_count,
        "versions": len(node.replica.live),
        "conflicts": len(agent.reads.conflicts()),
        "schemas": len(agent.inspector.schemas.texts),
        "forks": len(node.replica.live.forks()),
        "links": links,
        "disk_error": node.replica.disk_error,
        "unconfirmed": _unconfirmed(agent),
        "view": _view(agent),
        "started_ms": agent.started_ms,
        "data_dir": str(agent.settings.data.resolve()),
    }


async def status(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """Who is there, with which state, and what an operator should know of the agent itself."""
    node, now_s = agent.node, trio.current_time()
    own = node.presence.own()
    members: list[dict[str, Any]] = [
        {
            "node": own.node_id,
            "zone": own.zone,
            "address": own.address,
            "labels": dict(own.labels),
            "state": "self",
            "root": own.root,
            "policy": own.policy,
            "versions": own.versions,
            "age_ms": 0,
            "told_ms": 0,
            "lag_ms": None,
            "degraded": own.degraded,
            "complaints": {},
        }
    ]
    for member in node.members():
        record, standing = member.presence, node.presence.standing(member, now_s)
        same = member.root == own.root  # then it held the same policies and versions too, whatever its record says
        members.append(
            {
                "node": record.node_id,
                "zone": record.zone,
                "address": record.address,
                "labels": dict(record.labels),
                "state": standing.state.value,
                "root": member.root,
                "policy": own.policy if same else record.policy,
                "versions": own.versions if same else record.versions,
                "age_ms": _ms(standing.heard_age_s),
                "told_ms": _ms(standing.told_age_s),
                "lag_ms": _ms(standing.lag_s),
                "degraded": record.degraded,
                "complaints": node.overlay.complaints.of(record.node_id),
            }
        )
    return {
        "node": own.node_id,
        "root": own.root,
        "crowded": node.presence.is_crowded,
        "members": members,
        "certificate": _certificate(agent),
        "unconfirmed": _unconfirmed(agent),
        "view": _view(agent),
        "votes": [{**told(one), "keys": list(_keys(agent, one.change_id))} for one in all_votes(agent)],
        "conflicts": len(agent.reads.conflicts()),
        "unfit": {
            "number": len(agent.last_good.unfit),
            "keys": sorted({one.slot[0] for one in islice(agent.last_good.unfit.values(), UNFIT_TOLD_MAX)}),
        },
    }


def _keys(agent: Agent, change_id: bytes) -> Iterator[str]:
    """The keys of which something of a change lives; the first VOTED_KEYS_MAX."""
    part = agent.node.replica.live.part(change_id)
    return iter(()) if part is None else islice((entry.key for _, entry in part.entries), VOTED_KEYS_MAX)


def _certificate(agent: Agent) -> dict[str, Any]:
    """How long the agent's certificate holds, and the one above it that ends first."""
    credentials, now_ms = agent.credentials, agent.now().wall_ms
    own, chain = credentials.lifetime, credentials.chain
    return {
        "ends_ms": own.ends_ms,
        "days_left": own.days_left(now_ms),
        "chain_ends_ms": chain.ends_ms,
        "chain_days_left": chain.days_left(now_ms),
        "ending": now_ms >= min(own.ending_ms, chain.ending_ms),
    }


def _view(agent: Agent) -> dict[str, Any]:
    """How old what readers see may be, by the beacons that have come."""
    view = agent.node.view(agent.now())
    return {
        "freshness": view.freshness.value,
        "at_most_ms": view.at_most_ms,
        "time_ms": view.time_ms,
        "expires_ms": view.expires_ms,
        "signer": view.signer,
        "limit_ms": agent.settings.stale_after_s * 1000 or None,
    }


def _unconfirmed(agent: Agent) -> dict[str, Any] | None:
    """How far what came from a checkpoint is compared; None once that is enough."""
    found = agent.node.confirmation.unconfirmed
    if found is None:
        return None
    return {"checkpoint_ms": found.checkpoint_ms, "equal": list(found.equal), "wanted": PEERS_WANTED}


def _ms(duration_s: float | None) -> int | None:
    return None if duration_s is None else round(duration_s * 1000)
