"""The control interface: how the command line asks a running agent, over a Unix socket.

Requests and replies are msgpack maps behind a 4-byte length. Thin on purpose: it
hands out signed changes as they are, so that whoever asks can verify them and need
not believe the agent. Only the socket's owner may connect (mode 0600).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgpack
import trio

from .. import __version__
from ..model.change import PUBLIC_KEY_BYTES, Change
from ..model.entry import Slot
from ..model.errors import GossipconfError, InvalidInput
from ..model.key import check_key, check_prefix, check_variant
from ..model.limits import ENTRIES_MAX
from ..model.merkle import SparseTree
from ..model.version import Version
from ..protocol.presence import SILENT_S
from .control_socket import LENGTH_BYTES, REQUEST_BYTES_MAX, listen

if TYPE_CHECKING:
    from .agent import Agent

PAGE_ITEMS_MAX: Final = 1_000
"""Keys or versions in one reply; the asker comes again for more."""
PAGE_BYTES_MAX: Final = 4 << 20
"""A reply of values of 1 MiB each ends here."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlServer:
    """Answers requests for one agent."""

    def __init__(self, agent: Agent, path: Path) -> None:
        self._agent = agent
        self._path = path
        self._scope = trio.CancelScope()
        self._handlers: dict[str, Handler] = {
            "info": self._info,
            "policies": self._policies,
            "get": self._get,
            "list": self._list,
            "history": self._history,
            "status": self._status,
            "reserve": self._reserve,
            "publish": self._publish,
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `close` or cancelled. Raises ControlError if the socket cannot be made."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen(self._path)))
        try:
            with self._scope:
                task_status.started()  # bound and listening: a request that comes now waits for the loop below
                await trio.serve_listeners(self._serve, [listener])
        finally:
            with contextlib.suppress(OSError):  # gone already, or read-only by now: the next start replaces it
                self._path.unlink()

    def close(self) -> None:
        """Take no more requests."""
        self._scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection: requests one after another, until the asker goes away."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while (request := await _receive(stream)) is not None:
                    if request.get("op") == "watch":
                        await self._watch(stream, request)
                        return
                    await _send(stream, await self._answer(request))

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            handler = self._handlers.get(str(request.get("op")))
            if handler is None:
                raise InvalidInput(f"this agent does not know the request {request.get('op')!r}")
            return {"ok": True, **await handler(request)}
        except GossipconfError as error:
            return _refusal(error)

    # -- reading ----------------------------------------------------------------------------------

    async def _info(self, request: dict[str, Any]) -> dict[str, Any]:
        agent, node = self._agent, self._agent.node
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
            "version": __version__,
            "pid": os.getpid(),
            "policy": node.replica.policy_version,
            "root": node.root,
            "keys": len(agent.reads),
            "versions": len(node.replica.live),
            "conflicts": len(agent.reads.conflicts()),
            "forks": len(node.replica.live.forks()),
            "links": links,
            "disk_error": node.replica.disk_error,
            "started_ms": agent.started_ms,
            "data_dir": str(agent.settings.data.resolve()),
        }

    async def _policies(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"changes": [change.encode() for change in self._agent.node.replica.policies_after(0)]}

    async def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        key = check_key(_text(request, "key"))
        return {"versions": await self._signed(self._agent.reads.versions(key), {})}

    async def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        prefix = check_prefix(_text(request, "prefix"))
        after = request.get("after")
        limit = _limit(request)
        items: list[dict[str, Any]] = []
        trees: dict[bytes, SparseTree] = {}
        size = 0
        for key in list(self._agent.reads.keys(prefix, after if isinstance(after, str) else None)):
            if len(items) == limit or size > PAGE_BYTES_MAX:
                return {"items": items, "more": True}
            versions = await self._signed(self._agent.reads.versions(key), trees)
            size += sum(len(version["change"]) for version in versions)
            items.append({"key": key, "versions": versions})
        return {"items": items, "more": False}

    async def _history(self, request: dict[str, Any]) -> dict[str, Any]:
        key, prefix = request.get("key"), request.get("prefix")
        limit = _limit(request)
        if isinstance(key, str):
            keys = [check_key(key)]
        else:
            prefix = check_prefix(_text(request, "prefix"))
            keys = list(self._agent.reads.keys(prefix))
        trees: dict[bytes, SparseTree] = {}
        items = []
        for one in keys:
            signed = await self._signed(self._agent.reads.versions(one), trees)
            items += [{**version, "retired_ms": None} for version in signed]
        await self._agent.writer.flushed()
        past = await self._agent.writer.history(
            key=key if isinstance(key, str) else None, prefix=prefix if key is None else None, limit=limit
        )
        cluster_id = self._agent.node.replica.chain.cluster_id
        for row in past:
            index = Change.decode(row.data, cluster_id).entries[0][0]
            items.append({"change": row.data, "index": index, "retired_ms": row.retired_ms})
        return {"items": items[: limit + len(keys)]}

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        node, now_s = self._agent.node, trio.current_time()
        own = node.presence.own()
        members = [
            {
                "node": own.node_id,
                "zone": own.zone,
                "address": own.address,
                "state": "self",
                "root": own.root,
                "policy": own.policy,
                "versions": own.versions,
                "age_ms": 0,
                "lag_ms": None,
                "degraded": own.degraded,
            }
        ]
        for member in node.members():
            told = member.presence
            age_s = now_s - member.heard_s
            equal = told.root == own.root
            state = "silent" if age_s > SILENT_S else "equal" if equal else "differs"
            members.append(
                {
                    "node": told.node_id,
                    "zone": told.zone,
                    "address": told.address,
                    "state": state,
                    "root": told.root,
                    "policy": told.policy,
                    "versions": told.versions,
                    "age_ms": round(age_s * 1000),
                    "lag_ms": None if equal else round((now_s - member.equal_s) * 1000),
                    "degraded": told.degraded,
                }
            )
        return {"node": own.node_id, "root": own.root, "members": members}

    async def _watch(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        try:
            prefix = check_prefix(_text(request, "prefix"))
        except GossipconfError as error:
            await _send(stream, _refusal(error))
            return
        watcher = self._agent.reads.watch(prefix)
        try:
            await _send(stream, {"ok": True})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_end, stream, nursery.cancel_scope)
                while True:
                    trees: dict[bytes, SparseTree] = {}
                    for key in await watcher.take():
                        versions = await self._signed(self._agent.reads.versions(key), trees)
                        await _send(stream, {"event": "change", "key": key, "versions": versions})
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away
        finally:
            self._agent.reads.unwatch(watcher)

    async def _signed(self, versions: list[Version], trees: dict[bytes, SparseTree]) -> list[dict[str, Any]]:
        """Each version as a change that holds just its entry, with signature and proof.

        ``trees`` keeps the trees of the changes met in one request: a change of
        10,000 entries takes 50 ms to hash and is then cut up at once.
        """
        live = self._agent.node.replica.live
        signed = []
        for version in versions:
            change = live.part(version.change_id)
            if change is None or change.entry(version.index) is None:
                # Superseded a moment ago, and what supersedes it is not on disk yet.
                await self._agent.writer.flushed()
                current = self._agent.reads.versions(version.entry.key)
                return await self._signed(current, trees)
            tree = trees.get(change.id)
            if tree is None:
                tree = trees[change.id] = change.tree()
            signed.append({"change": change.single(version.index, tree).encode(), "index": version.index})
        return signed

    # -- publishing -------------------------------------------------------------------------------

    async def _reserve(self, request: dict[str, Any]) -> dict[str, Any]:
        signer = request.get("signer")
        if not isinstance(signer, bytes) or len(signer) != PUBLIC_KEY_BYTES:
            raise InvalidInput("the request needs 'signer', a public key of 32 bytes")
        slots = _slots(request.get("slots"))
        live = self._agent.node.replica.live
        replaced: dict[bytes, set[int]] = {}
        for slot in slots:
            for version in live.slot(slot):
                replaced.setdefault(version.change_id, set()).add(version.index)
        parts = []
        for change_id, indices in replaced.items():
            part = live.part(change_id)
            assert part is not None
            parts.append(part.restrict(indices).encode())
        reservation = self._agent.reserve(signer, slots)
        return {
            "incarnation": reservation.incarnation,
            "seq": reservation.seq,
            "replaced": parts,
            "policies": [change.encode() for change in self._agent.node.replica.policies_after(0)],
        }

    async def _publish(self, request: dict[str, Any]) -> dict[str, Any]:
        data = request.get("change")
        if not isinstance(data, bytes):
            raise InvalidInput("the request needs 'change', the bytes of a signed change")
        change = self._agent.node.replica.decode(data)
        await self._agent.publish(change)
        return {"id": change.id, "versions": change.header.count}


# -- requests -------------------------------------------------------------------------------------


def _text(request: dict[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"the request needs {name!r}, a string")
    return value


def _limit(request: dict[str, Any]) -> int:
    value = request.get("limit", PAGE_ITEMS_MAX)
    if type(value) is not int or value < 1:
        raise InvalidInput("'limit' must be a positive whole number")
    return min(value, PAGE_ITEMS_MAX)


def _slots(value: Any) -> list[Slot]:
    if not isinstance(value, list) or len(value) > ENTRIES_MAX:
        raise InvalidInput(f"the request needs 'slots', a list of at most {ENTRIES_MAX} [key, variant] pairs")
    slots = []
    for pair in value:
        match pair:
            case [str(key), str(variant)]:
                slots.append((check_key(key), check_variant(variant)))
            case _:
                raise InvalidInput("a slot is a pair of key and variant")
    return slots


def _refusal(error: GossipconfError) -> dict[str, Any]:
    return {"ok": False, "error": type(error).__name__, "message": str(error)}


# -- framing --------------------------------------------------------------------------------------


async def _receive(stream: trio.SocketStream) -> dict[str, Any] | None:
    """The next request, or None at the end; a malformed one ends the connection."""
    head = await _read_exactly(stream, LENGTH_BYTES)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > REQUEST_BYTES_MAX:
        await _send(stream, _refusal(InvalidInput(f"a request of {length} bytes; the limit is {REQUEST_BYTES_MAX}")))
        return None
    body = await _read_exactly(stream, length)
    if body is None:
        return None
    try:
        request = msgpack.unpackb(body, max_array_len=2 * ENTRIES_MAX)
    except (ValueError, msgpack.UnpackException):
        request = None
    if not isinstance(request, dict):
        await _send(stream, _refusal(InvalidInput("a request is a msgpack map")))
        return None
    return request


async def _read_exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = await stream.receive_some(min(65_536, count - len(data)))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


async def _send(stream: trio.SocketStream, reply: dict[str, Any]) -> None:
    body = msgpack.packb(reply)
    await stream.send_all(len(body).to_bytes(LENGTH_BYTES, "big") + body)


async def _cancel_at_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Watch for the asker's end while replies stream to it."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some(1024):
            pass
    scope.cancel()
