"""The control interface: how the command line asks a running agent, over a Unix socket.

Requests and replies are msgpack maps behind a 4-byte length. Thin on purpose: it
hands out signed changes as they are, so that whoever asks can verify them and need
not believe the agent. Only the socket's owner may connect (mode 0600).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from .. import __version__
from ..model.change import PUBLIC_KEY_BYTES, Change
from ..model.errors import ControlError, GossipconfError, InvalidInput, StrictRead
from ..model.key import check_key, check_prefix
from ..model.merkle import SparseTree
from ..model.version import Version
from ..protocol.confirmation import PEERS_WANTED
from ..protocol.halts import limit_of as limit_of_votes
from ..protocol.subject import Subject
from ..trust.snapshot import Snapshot
from . import logbook, staging
from .complaint import Standing, standing, standings
from .control_request import hex_of, limit_of, receive, skip_of, slots_of, text_of, wait_s_of
from .control_socket import framed, listen
from .latest_tally import LatestTally

if TYPE_CHECKING:
    from .agent import Agent

FORKS_TOLD_MAX: Final = 1_000
"""Forks in a reply, with eight headers of some 300 bytes each: who has that many has one cause."""
PAGE_BYTES_MAX: Final = 4 << 20
"""A reply of values of 1 MiB each ends here."""
ANSWER_S: Final = 10.0
"""A question stands so much longer than its asker waits, so that it is the waiting that ends."""
FENCE_WAIT_S: Final = 20.0
"""A read that a fence lets wait is answered so late at most: its asker hangs up after 30 s untold."""
IDS_KEYS_MAX: Final = 5_000
"""Keys in a reply that has only ids: a few milliseconds, and half a megabyte."""
VOTED_KEYS_MAX: Final = 100
"""Keys named of a change that somebody calls unhealthy: enough to know it by."""
UNFIT_TOLD_MAX: Final = 8
"""Values that fail a schema which `status` names; `list` shows all."""
HISTORY_ROWS: Final = 100
"""Rows of history read at a time: at most as many MiB held for one asker."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Streamer = Callable[[trio.SocketStream, dict[str, Any]], Awaitable[None]]


class ControlServer:
    """Answers requests for one agent."""

    def __init__(self, agent: Agent, path: Path) -> None:
        self._agent = agent
        self._path = path
        self._is_closing = False
        self._waiting: dict[int, trio.CancelScope] = {}
        self._finished = trio.Event()
        self._handlers: dict[str, Handler] = {
            "info": self._info,
            "policies": self._policies,
            "forks": self._forks,
            "get": self._get,
            "list": self._list,
            "ids": self._ids,
            "history": self._history,
            "log": lambda request: logbook.page(agent, request),
            "change": lambda request: logbook.named(agent, request),
            "status": self._status,
            "reserve": self._reserve,
            "publish": self._publish,
            "unwrap": self._unwrap,
            "beacon": self._beacon,
            "stages": lambda request: staging.progress(agent, request),
            "unhealthy": self._unhealthy,
        }
        self._streams: dict[str, Streamer] = {"watch": self._watch, "acks": self._acks, "contents": self._contents}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until `close` and the last answer. Raises ControlError if it cannot listen."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen(self._path)))
        try:
            async with trio.open_nursery() as connections:
                with self._until_closing():
                    task_status.started()  # bound and listening: a request that comes now waits for the loop below
                    await trio.serve_listeners(self._serve, [listener], handler_nursery=connections)
        finally:
            self._finished.set()
            with contextlib.suppress(OSError):  # gone already, or read-only by now: the next start replaces it
                self._path.unlink()

    def close(self) -> None:
        """Take no more connections and requests, and end the watches. What has been asked is still answered."""
        self._is_closing = True
        for scope in self._waiting.values():
            scope.cancel()

    async def finished(self) -> None:
        """Wait until nobody is being answered any more."""
        await self._finished.wait()

    @contextlib.contextmanager
    def _until_closing(self) -> Iterator[None]:
        """Around what waits for others and may be cut off by `close` without harm."""
        with trio.CancelScope() as scope:
            if self._is_closing:
                scope.cancel()
            self._waiting[id(scope)] = scope
            try:
                yield
            finally:
                del self._waiting[id(scope)]

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection: requests one after another, until the asker goes away."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while (request := await self._next(stream)) is not None:
                    stream_of = self._streams.get(str(request.get("op")))
                    if stream_of is not None:
                        with self._until_closing():
                            await stream_of(stream, request)
                        return
                    await _send(stream, await self._answer(request))

    async def _next(self, stream: trio.SocketStream) -> dict[str, Any] | None:
        """The next request, or None at the end; a malformed one ends the connection."""
        try:
            with self._until_closing():
                return await receive(stream)
        except InvalidInput as error:
            await _send(stream, _refusal(error))
        return None

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
            "labels": dict(agent.settings.labels),
            "version": __version__,
            "pid": os.getpid(),
            "policy": node.replica.policy_version,
            "root": node.root,
            "keys": agent.reads.value_count,
            "versions": len(node.replica.live),
            "conflicts": len(node.replica.conflicts),
            "schemas": len(agent.inspector.schemas.texts),
            "forks": len(node.replica.live.forks()),
            "links": links,
            "disk_error": node.replica.disk_error,
            "unconfirmed": self._unconfirmed(),
            "view": self._view(),
            "started_ms": agent.started_ms,
            "data_dir": str(agent.settings.data.resolve()),
        }

    async def _policies(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"changes": [change.encode() for change in self._agent.node.replica.policies_after(0)]}

    async def _forks(self, request: dict[str, Any]) -> dict[str, Any]:
        """The forks that are known, each as its branches: a bare header, and whether anything of that change lives."""
        live = self._agent.node.replica.live
        known = sorted(live.forks().items())
        return {
            "forks": [
                [{"header": header.encode(), "lives": live.has_live_part(header.id)} for header in branches.values()]
                for _, branches in known[:FORKS_TOLD_MAX]
            ],
            "more": len(known) > FORKS_TOLD_MAX,
        }

    async def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        key = check_key(text_of(request, "key"))
        with trio.move_on_after(FENCE_WAIT_S):
            await self._agent.reads.strict.settled(key)
        return {"versions": await self._signed(key, {})}

    async def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        prefix = check_prefix(text_of(request, "prefix"))
        after = request.get("after")
        limit = limit_of(request)
        items: list[dict[str, Any]] = []
        trees: dict[bytes, SparseTree] = {}
        size = 0
        reads, is_ordinary = self._agent.reads, request.get("ordinary") is True
        listed, read = (reads.ordinary_keys, reads.ordinary) if is_ordinary else (reads.keys, reads.versions)
        for key in list(islice(listed(prefix, after if isinstance(after, str) else None), limit + 1)):
            if len(items) == limit or size > PAGE_BYTES_MAX:
                return {"items": items, "more": True}
            versions = await self._signed(key, trees, read)
            size += sum(len(version["change"]) for version in versions)
            items.append({"key": key, "versions": versions})
        return {"items": items, "more": False, "unreadable": self._agent.reads.strict.unreadable(prefix)}

    async def _ids(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keys and the ids of their live versions, and no more: for comparing two agents."""
        prefix = check_prefix(text_of(request, "prefix"))
        after = request.get("after")
        reads = self._agent.reads
        keys = list(islice(reads.keys(prefix, after if isinstance(after, str) else None), IDS_KEYS_MAX + 1))
        listed = [[key, [version.id for version in reads.versions(key)]] for key in keys[:IDS_KEYS_MAX]]
        return {"keys": listed, "more": len(keys) > IDS_KEYS_MAX}

    async def _history(self, request: dict[str, Any]) -> dict[str, Any]:
        """Retired versions, the last retired first; ``next`` is the ``skip`` of the following page, None at the end."""
        key = prefix = None
        if request.get("key") is not None:
            key = check_key(text_of(request, "key"))
        else:
            prefix = check_prefix(text_of(request, "prefix"))
        limit, skip = limit_of(request), skip_of(request)
        cluster_id = self._agent.node.replica.chain.cluster_id
        items: list[dict[str, Any]] = []
        size = 0
        await self._agent.writer.flushed()
        while True:
            wanted = skip + min(limit - len(items), HISTORY_ROWS)
            rows = await self._agent.writer.history(key=key, prefix=prefix, limit=wanted)
            for row in rows[skip:]:
                skip += 1
                entries = Change.decode(row.data, cluster_id).entries
                if not entries:
                    continue  # no row that this release writes; whatever did, it says nothing of a value
                items.append({"change": row.data, "index": entries[0][0], "retired_ms": row.retired_ms})
                size += len(row.data)
                if len(items) == limit or size > PAGE_BYTES_MAX:
                    return {"items": items, "next": skip}
            if len(rows) < wanted:
                return {"items": items, "next": None}

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        node, now_s = self._agent.node, trio.current_time()
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
            told, standing = member.presence, node.presence.standing(member, now_s)
            same = member.root == own.root  # then it held the same policies and versions too, whatever its record says
            members.append(
                {
                    "node": told.node_id,
                    "zone": told.zone,
                    "address": told.address,
                    "labels": dict(told.labels),
                    "state": standing.state.value,
                    "root": member.root,
                    "policy": own.policy if same else told.policy,
                    "versions": own.versions if same else told.versions,
                    "age_ms": _ms(standing.heard_age_s),
                    "told_ms": _ms(standing.told_age_s),
                    "lag_ms": _ms(standing.lag_s),
                    "degraded": told.degraded,
                    "complaints": node.overlay.complaints.of(told.node_id),
                }
            )
        return {
            "node": own.node_id,
            "root": own.root,
            "crowded": node.presence.is_crowded,
            "members": members,
            "certificate": self._certificate(),
            "unconfirmed": self._unconfirmed(),
            "view": self._view(),
            "votes": [{**_told(one), "keys": list(self._keys(one.change_id))} for one in standings(self._agent)],
            "conflicts": len(node.replica.conflicts),
            "unfit": {
                "number": len(self._agent.last_good.unfit),
                "keys": sorted({one.slot[0] for one in islice(self._agent.last_good.unfit.values(), UNFIT_TOLD_MAX)}),
            },
        }

    def _keys(self, change_id: bytes) -> Iterator[str]:
        """The keys of which something of a change lives; the first VOTED_KEYS_MAX."""
        part = self._agent.node.replica.live.part(change_id)
        return iter(()) if part is None else islice((entry.key for _, entry in part.entries), VOTED_KEYS_MAX)

    def _certificate(self) -> dict[str, Any]:
        """How long the agent's certificate holds, and the one above it that ends first."""
        credentials, now_ms = self._agent.credentials, self._agent.now().wall_ms
        own, chain = credentials.lifetime, credentials.chain
        return {
            "ends_ms": own.ends_ms,
            "days_left": own.days_left(now_ms),
            "chain_ends_ms": chain.ends_ms,
            "chain_days_left": chain.days_left(now_ms),
            "ending": now_ms >= min(own.ending_ms, chain.ending_ms),
        }

    def _view(self) -> dict[str, Any]:
        """How old what readers see may be, by the beacons that have come."""
        view = self._agent.node.view(self._agent.now())
        return {
            "freshness": view.freshness.value,
            "at_most_ms": view.at_most_ms,
            "time_ms": view.time_ms,
            "expires_ms": view.expires_ms,
            "signer": view.signer,
            "limit_ms": self._agent.settings.stale_after_s * 1000 or None,
        }

    def _unconfirmed(self) -> dict[str, Any] | None:
        """How far what came from a checkpoint is compared; None once that is enough."""
        found = self._agent.node.confirmation.unconfirmed
        if found is None:
            return None
        return {"checkpoint_ms": found.checkpoint_ms, "equal": list(found.equal), "wanted": PEERS_WANTED}

    async def _contents(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        """All that is replicated, as it is now, in pages of changes; the last page is marked."""
        parts = list(self._agent.node.replica.live.parts())
        page: list[bytes] = []
        size = 0
        try:
            await _send(stream, {"ok": True})
            for part in parts:
                page.append(part.encode())
                size += len(page[-1])
                if size > PAGE_BYTES_MAX:
                    await _send(stream, {"event": "contents", "changes": page, "done": False})
                    page, size = [], 0
            await _send(stream, {"event": "contents", "changes": page, "done": True})
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away

    async def _watch(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        try:
            prefix = check_prefix(text_of(request, "prefix"))
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
                        try:
                            event = {"event": "change", "key": key, "versions": await self._signed(key, trees)}
                        except StrictRead:
                            continue  # fenced meanwhile: the key is told of again when it can be read
                        except ControlError as error:
                            event = _refusal(error)  # and the asker hangs up
                        await _send(stream, event)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away
        finally:
            self._agent.reads.unwatch(watcher)

    async def _acks(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        """Tallies as they change, until everybody has applied it or the time is over; the last one is marked."""
        tally = LatestTally()
        try:
            wait_s = wait_s_of(request)
            question = self._agent.ask(self._subject(request), wait_s + ANSWER_S, tally.put)
        except GossipconfError as error:
            await _send(stream, _refusal(error))
            return
        try:
            await _send(stream, {"ok": True})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_end, stream, nursery.cancel_scope)
                async with aclosing(tally.events(wait_s)) as events:
                    async for event in events:
                        await _send(stream, event)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the asker has gone away
        finally:
            self._agent.cancel(question)

    def _subject(self, request: dict[str, Any]) -> Subject:
        """What is asked: the change that ``change`` names, or this agent's own state."""
        replica = self._agent.node.replica
        if request.get("change") is None:
            return Subject(root=replica.root)
        start = hex_of(request, "change")
        found = replica.live.named(start)
        if not found:
            raise ControlError(
                f"this agent knows no change {start}; it may not have come here yet, or have died long ago: "
                "ask the agent where it was published"
            )
        if len(found) > 1:
            raise InvalidInput(f"{len(found)} changes begin with {start}; give more digits")
        return Subject.of(found, replica.live)

    async def _unwrap(self, request: dict[str, Any]) -> dict[str, Any]:
        """The content key of a sealed value that readers see.

        Not the value: with the key the asker opens the signed envelope itself, which commits to the key.
        """
        key = check_key(text_of(request, "key"))
        found = next((one for one in self._agent.reads.versions(key) if one.id == request.get("version")), None)
        if found is None:
            raise ControlError(f"{key!r} has been replaced meanwhile, or has no such version; read it again")
        return {"content_key": self._agent.content_key(found)}

    async def _signed(
        self, key: str, trees: dict[bytes, SparseTree], read: Callable[[str], list[Version]] | None = None
    ) -> list[dict[str, Any]]:
        """The versions of ``key`` that readers see, each as a change that holds just its entry, with proof.

        ``trees`` keeps the trees of the changes met in one request: a change of
        10,000 entries takes 50 ms to hash and is then cut up at once. Raises
        ControlError for a version whose signature is nowhere any more.
        """
        for is_last_look in (False, True):
            versions = (read or self._agent.reads.versions)(key)
            found = [self._single(version, trees) for version in versions]
            signed = [
                {"change": data, "index": version.index, **self._votes(version), **self._held_back(version)}
                for version, data in zip(versions, found, strict=True)
                if data is not None
            ]
            if len(signed) == len(versions):
                return signed
            if not is_last_look:
                await self._agent.writer.flushed()  # what supersedes it may be on disk then, and seen instead
        raise ControlError(
            f"{key!r} has been replaced by a change that the disk does not take, and the signature of what readers "
            "still see is lost; make room on the agent's disk, or ask another agent"
        )

    def _votes(self, version: Version) -> dict[str, Any]:
        """How votes on a version's change stand, if there are any."""
        found = standing(self._agent, version.change_id) if limit_of_votes(version.entry) is not None else None
        return {} if found is None or not found.votes else {"votes": _told(found)}

    def _held_back(self, version: Version) -> dict[str, Any]:
        """Why readers here do not see a version, and what they see in its place."""
        unfit = self._agent.last_good.unfit.get(version.id)
        if unfit is None:
            return {}
        replica = self._agent.node.replica
        if unfit.data is None or not replica.may_return(unfit.data):  # it may have become void meanwhile
            return {"unfit": unfit.problem, "good": None}
        index = replica.decode(unfit.data).entries[0][0]
        return {"unfit": unfit.problem, "good": {"change": unfit.data, "index": index}}

    def _single(self, version: Version, trees: dict[bytes, SparseTree]) -> bytes | None:
        """The encoded change of just ``version``, from among the live, or from what a slow disk has yet to take."""
        replica = self._agent.node.replica
        live = replica.live
        change = live.stored(version.change_id)  # and not its living part, which would be cut out anew for each key
        if change is None or change.entry(version.index) is None:
            return replica.retiring(version.id)
        tree = trees.get(change.id)
        if tree is None or (version.index, version.index + 1) not in tree.known:  # it has grown since
            tree = trees[change.id] = live.tree_of(change)
        return change.single(version.index, tree).encode()

    # -- publishing -------------------------------------------------------------------------------

    async def _reserve(self, request: dict[str, Any]) -> dict[str, Any]:
        signer = request.get("signer")
        if not isinstance(signer, bytes) or len(signer) != PUBLIC_KEY_BYTES:
            raise InvalidInput("the request needs 'signer', a public key of 32 bytes")
        slots = slots_of(request)
        if self._agent.node.replica.is_publishing(slots):
            await self._agent.writer.flushed()  # what another command is publishing there now is to be replaced
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
        await self._agent.publish(change, is_compared=request.get("compared") is True)
        return {"id": change.id, "versions": change.header.count}

    async def _beacon(self, request: dict[str, Any]) -> dict[str, Any]:
        data = request.get("snapshot")
        if not isinstance(data, bytes):
            raise InvalidInput("the request needs 'snapshot', the bytes of a signed snapshot")
        self._agent.submit_beacon(Snapshot.decode(data))
        return {}

    async def _unhealthy(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call what is read of ``key``, or of the change that ``change`` begins, unhealthy: this agent's vote."""
        key = None if request.get("key") is None else check_key(text_of(request, "key"))
        change = None if key is not None else hex_of(request, "change")
        return _told(await self._agent.report_unhealthy(key, change, text_of(request, "reason")))


def _told(found: Standing) -> dict[str, Any]:
    return {
        "change": found.change_id,
        "nodes": list(found.votes),
        "limit": found.limit,
        "halted": found.is_halted,
    }


def _ms(duration_s: float | None) -> int | None:
    return None if duration_s is None else round(duration_s * 1000)


def _refusal(error: GossipconfError) -> dict[str, Any]:
    return {"ok": False, "error": type(error).__name__, "message": str(error)}


async def _send(stream: trio.SocketStream, reply: dict[str, Any]) -> None:
    await stream.send_all(framed(reply))


async def _cancel_at_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Watch for the asker's end while replies stream to it."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some(1024):
            pass
    scope.cancel()
