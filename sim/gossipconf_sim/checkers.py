"""The invariants of the design, each as a checker over a world.

A checker looks at nodes from outside and returns what is wrong, in words; an empty
list means that the invariant holds now. Invariants 9 (heals) and 10 (deterministic)
are statements about whole runs and are checked by `gossipconf_sim.world` runs in the
tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Final

from gossipconf.model.change import Change
from gossipconf.model.errors import GossipconfError
from gossipconf.model.limits import ADDRESS_BOOK_MAX, FORK_BRANCHES_MAX, RETIRED_HEADERS_MAX
from gossipconf.model.version import Version, versions_of
from gossipconf.protocol.node import Node
from gossipconf.protocol.overlay import ACTIVE_MAX
from gossipconf.store.live_set import LiveSet
from gossipconf.trust.policy import PolicyChain, policy_changes

from .world import World

Checker = Callable[[World], list[str]]


def authentic(world: World) -> list[str]:
    """1. A node stores only what the policy authorises: every kept part is judged again, signatures too."""
    wrong = []
    for node in world.running():
        chain = world.cluster.chain(world.verify)
        parts = list(node.replica.live.parts())
        for part in policy_changes(parts):
            if _refusal(chain, part) is None:
                chain.accept(part)
        for part in parts:
            reason = _refusal(chain, part)
            if reason:
                wrong.append(f"{_name(node)} keeps change {part.id.hex()[:8]}: {reason}")
    return wrong


def convergent(world: World) -> list[str]:
    """2. Equal fingerprint if and only if equal replicated set; equal sets give equal reads of every slot."""
    wrong = []
    for one, other in combinations(world.running(), 2):
        mine, theirs = one.replica.live, other.replica.live
        same_items = mine.tree.items() == theirs.tree.items()
        if same_items != (mine.root == theirs.root):
            wrong.append(f"{_name(one)} and {_name(other)}: sets equal: {same_items}, roots equal: {not same_items}")
        if same_items and _ids(mine) != _ids(theirs):
            wrong.append(f"{_name(one)} and {_name(other)} hold the same set and disagree on a slot")
    for node in world.running():
        rebuilt = LiveSet()
        for part in node.replica.live.parts():
            rebuilt.add(part)
        if rebuilt.root != node.root:
            wrong.append(f"{_name(node)}: rebuilding the set from its parts gives another fingerprint")
    return wrong


def durable(world: World) -> list[str]:
    """3. An acknowledged publish is on its agent's disk, or a version that supersedes it is."""
    wrong = []
    on_disk: dict[str, list[Version]] = {}
    for name, acknowledged_s, change in world.acknowledged:
        host = world.hosts[name]
        if host.wiped_s >= acknowledged_s:
            continue
        if name not in on_disk:
            cluster_id = world.cluster.genesis.cluster_id
            kept = (Change.decode(data, cluster_id) for data in host.disk.changes.values())
            on_disk[name] = [version for part in kept for version in versions_of(part)]
        wrong += [
            f"{name} acknowledged {version.entry.key!r} of {change.id.hex()[:8]} and has it no more"
            for version in versions_of(change)
            if not any(kept.id == version.id or kept.supersedes(version) for kept in on_disk[name])
            and not world.is_void(version)
        ]
    return wrong


def available_and_monotonic(world: World) -> list[str]:
    """4 and 5. What was read once is read again, or something newer, over restarts too (seen as it happens)."""
    return [violation for host in world.hosts.values() for violation in host.violations]


def atomic(world: World) -> list[str]:
    """6. Of a change that lives in part, every other entry has been superseded, not forgotten.

    Changes of which a stranger has handed out parts are left out: who withholds the rest
    is repaired by honest peers, but not at once.
    """
    wrong = []
    for node in world.running():
        live = node.replica.live
        for _, _, change in world.acknowledged:
            if change.id in world.mutilated:
                continue
            versions = list(versions_of(change))
            if not any(version.id in live.tree for version in versions):
                continue
            wrong += [
                f"{_name(node)} has applied change {change.id.hex()[:8]} without {version.entry.key!r}"
                for version in versions
                if version.id not in live.tree
                and not any(one.supersedes(version) for one in live.slot(version.slot))
                and not world.is_void(version)
            ]
    return wrong


def no_silent_divergence(world: World) -> list[str]:
    """7. Once fingerprints are equal, a fork known to one node is known to all."""
    wrong = []
    for one, other in combinations(world.running(), 2):
        if one.root == other.root and dict(one.replica.live.forks()).keys() != dict(other.replica.live.forks()).keys():
            wrong.append(f"{_name(one)} and {_name(other)} are equal and know different forks")
    return wrong


def bounded(world: World) -> list[str]:
    """8. What a node keeps about others has its named limits."""
    wrong = []
    for node in world.running():
        sizes = {
            "links": (len(node.links()), ACTIVE_MAX + 1),
            "addresses": (len(node.overlay.book), ADDRESS_BOOK_MAX),
            "retired headers": (node.replica.live.retired_count, RETIRED_HEADERS_MAX),
            "branches of a fork": (
                max((len(branches) for branches in node.replica.live.forks().values()), default=0),
                FORK_BRANCHES_MAX,
            ),
        }
        wrong += [f"{_name(node)}: {size} {what}" for what, (size, limit) in sizes.items() if size > limit]
    return wrong


CHECKERS: Final[dict[str, Checker]] = {
    "authentic": authentic,
    "convergent": convergent,
    "durable": durable,
    "available and monotonic": available_and_monotonic,
    "atomic": atomic,
    "no silent divergence": no_silent_divergence,
    "bounded": bounded,
}
"""Every checker, by the name of its invariant."""


def violations(world: World) -> Iterator[str]:
    """What every checker finds wrong now."""
    for name, checker in CHECKERS.items():
        for finding in checker(world):
            yield f"{name}: {finding}"


def _refusal(chain: PolicyChain, part: Change) -> str | None:
    try:
        chain.judge(part)
    except GossipconfError as error:
        return str(error)
    return None


def _ids(live: LiveSet) -> dict[tuple[str, str], tuple[bytes, ...]]:
    return {slot: tuple(version.id for version in versions) for slot, versions in live.slots().items()}


def _name(node: Node) -> str:
    return node.identity.node_id
