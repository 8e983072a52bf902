"""Handing out: the versions that readers see, each as a signed change that whoever asks verifies.

Knows requests and replies of the control interface; `control` has the connections.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio

from ..model.errors import ControlError
from ..model.key import check_key, check_prefix
from ..model.merkle import SparseTree
from ..model.version import Version
from ..protocol.halts import limit_of as limit_of_votes
from .complaint import told, votes_on
from .control_request import PAGE_BYTES_MAX, limit_of, text_of

if TYPE_CHECKING:
    from .agent import Agent

FENCE_WAIT_S: Final = 20.0
"""A read that a fence lets wait is answered so late at most: its asker hangs up after 30 s untold."""
IDS_KEYS_MAX: Final = 5_000
"""Keys in a reply that has only ids: a few milliseconds, and half a megabyte."""


async def get(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """The live versions of ``key``; of one that is fenced once it is not, if that takes not too long."""
    key = check_key(text_of(request, "key"))
    with trio.move_on_after(FENCE_WAIT_S):
        await agent.reads.strict.settled(key)
    return {"versions": await signed(agent, key, {})}


async def page(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """A page of the keys under ``prefix`` with their live versions; with ``ordinary`` whatever is strict by now."""
    prefix = check_prefix(text_of(request, "prefix"))
    after = request.get("after")
    limit = limit_of(request)
    items: list[dict[str, Any]] = []
    trees: dict[bytes, SparseTree] = {}
    size = 0
    reads, is_ordinary = agent.reads, request.get("ordinary") is True
    listed, read = (reads.ordinary_keys, reads.ordinary) if is_ordinary else (reads.keys, reads.versions)
    for key in list(islice(listed(prefix, after if isinstance(after, str) else None), limit + 1)):
        if len(items) == limit or size > PAGE_BYTES_MAX:
            return {"items": items, "more": True}
        versions = await signed(agent, key, trees, read)
        size += sum(len(version["change"]) for version in versions)
        items.append({"key": key, "versions": versions})
    return {"items": items, "more": False, "unreadable": agent.reads.strict.unreadable(prefix)}


async def ids(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """Keys and the ids of their live versions, and no more: for comparing two agents."""
    prefix = check_prefix(text_of(request, "prefix"))
    after = request.get("after")
    reads = agent.reads
    keys = list(islice(reads.keys(prefix, after if isinstance(after, str) else None), IDS_KEYS_MAX + 1))
    listed = [[key, [version.id for version in reads.versions(key)]] for key in keys[:IDS_KEYS_MAX]]
    return {"keys": listed, "more": len(keys) > IDS_KEYS_MAX}


async def unwrap(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """The content key of a sealed value that readers see.

    Not the value: with the key the asker opens the signed envelope itself, which commits to the key.
    """
    key = check_key(text_of(request, "key"))
    found = next((one for one in agent.reads.versions(key) if one.id == request.get("version")), None)
    if found is None:
        raise ControlError(f"{key!r} has been replaced meanwhile, or has no such version; read it again")
    return {"content_key": agent.content_key(found)}


async def signed(
    agent: Agent, key: str, trees: dict[bytes, SparseTree], read: Callable[[str], list[Version]] | None = None
) -> list[dict[str, Any]]:
    """The versions of ``key`` that readers see, each as a change that holds just its entry, with proof.

    ``trees`` keeps the trees of the changes met in one request: a change of
    10,000 entries takes 50 ms to hash and is then cut up at once. Raises
    ControlError for a version whose signature is nowhere any more.
    """
    for is_last_look in (False, True):
        versions = (read or agent.reads.versions)(key)
        found = [_single(agent, version, trees) for version in versions]
        forms = [
            {"change": data, "index": version.index, **_votes(agent, version), **_held_back(agent, version)}
            for version, data in zip(versions, found, strict=True)
            if data is not None
        ]
        if len(forms) == len(versions):
            return forms
        if not is_last_look:
            await agent.writer.flushed()  # what supersedes it may be on disk then, and seen instead
    raise ControlError(
        f"{key!r} has been replaced by a change that the disk does not take, and the signature of what readers "
        "still see is lost; make room on the agent's disk, or ask another agent"
    )


def _votes(agent: Agent, version: Version) -> dict[str, Any]:
    """How votes on a version's change stand, if there are any."""
    found = votes_on(agent, version.change_id) if limit_of_votes(version.entry) is not None else None
    return {} if found is None or not found.nodes else {"votes": told(found)}


def _held_back(agent: Agent, version: Version) -> dict[str, Any]:
    """Why readers here do not see a version, and what they see in its place."""
    unfit = agent.last_good.unfit.get(version.id)
    if unfit is None:
        return {}
    replica = agent.node.replica
    if unfit.data is None or not replica.may_return(unfit.data):  # it may have become void meanwhile
        return {"unfit": unfit.problem, "good": None}
    index = replica.decode(unfit.data).entries[0][0]
    return {"unfit": unfit.problem, "good": {"change": unfit.data, "index": index}}


def _single(agent: Agent, version: Version, trees: dict[bytes, SparseTree]) -> bytes | None:
    """The encoded change of just ``version``, from among the live, or from what a slow disk has yet to take."""
    replica = agent.node.replica
    live = replica.live
    change = live.stored(version.change_id)  # and not its living part, which would be cut out anew for each key
    if change is None or change.entry(version.index) is None:
        return replica.retiring(version.id)
    tree = trees.get(change.id)
    if tree is None or (version.index, version.index + 1) not in tree.known:  # it has grown since
        tree = trees[change.id] = live.tree_of(change)
    return change.single(version.index, tree).encode()
