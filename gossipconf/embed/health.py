"""The health of an agent, as a program may want to show it. Nothing of it is a reason not to read."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.beacons import Freshness
from ..runtime.agent import Agent


@dataclass(frozen=True, slots=True)
class Health:
    """How an agent stands at a moment.

    node:           its name
    is_serving:     whether it still runs
    joined:         whether it is linked to another agent
    peers:          the names of the agents that it is linked to, in order
    root:           the fingerprint of what is replicated, in hex: equal exactly where the same is held
    keys:           user keys that the cluster has a value of for all
    freshness:      by beacons: how far this view may be behind; `Freshness` has the meanings
    at_most_ms:     age of the view, in ms, by the newest beacon; None if it is not known
    conflicts:      keys with more than one live version in a slot
    forks:          forks that are known
    held_back:      values that fail a schema here, in place of which the last good ones are read
    is_unconfirmed: whether what a checkpoint gave has not been compared with enough peers yet
    disk_error:     why the disk takes nothing, or None
    """

    node: str
    is_serving: bool
    joined: bool
    peers: tuple[str, ...]
    root: str
    keys: int
    freshness: Freshness
    at_most_ms: int | None
    conflicts: int
    forks: int
    held_back: int
    is_unconfirmed: bool
    disk_error: str | None


def health_of(agent: Agent, *, is_serving: bool) -> Health:
    """How ``agent`` stands now."""
    node = agent.node
    peers = tuple(sorted({link.node_id for link in node.links()}))
    view = node.view(agent.now())
    return Health(
        node=node.identity.node_id,
        is_serving=is_serving,
        joined=bool(peers),
        peers=peers,
        root=node.root.hex(),
        keys=agent.reads.value_count,
        freshness=view.freshness,
        at_most_ms=view.at_most_ms,
        conflicts=len(agent.reads.conflicts()),
        forks=len(node.replica.live.forks()),
        held_back=len(agent.last_good.unfit),
        is_unconfirmed=node.confirmation.unconfirmed is not None,
        disk_error=node.replica.disk_error,
    )
