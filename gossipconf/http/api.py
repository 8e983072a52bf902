"""The native API for reading, under `/api/v1`: a key, keys, status, members, conflicts, history.

Each answer is one page at most: what is larger is asked for again with `after` or `before`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..model.change import Change
from ..model.errors import InvalidInput
from ..model.hashing import HASH_BYTES
from ..model.key import check_key, check_prefix
from ..model.limits import TIME_MS_MAX
from ..model.version import versions_of
from ..runtime import account, logbook
from ..runtime.json_form import json_time
from ..runtime.resolver import Resolver
from ..trust.keys import fingerprint
from .openapi import document
from .problem import Problem
from .reading import BYTES, MEDIA_TYPES, Json, json_plain, json_read, json_version, read

if TYPE_CHECKING:
    from ..runtime.agent import Agent

ROOT: Final = "/api/v1"
PAGE_ITEMS: Final = 100
PAGE_ITEMS_MAX: Final = 1_000
PAGE_BYTES_MAX: Final = 1 << 20
"""Of values in one page, beyond which it ends: some 20 ms to write as JSON, in which nothing else is done here."""
HISTORY_ITEMS_MAX: Final = 100
"""Changes in a page of history."""
HISTORY_ENTRIES: Final = 100
"""Entries told of each."""
LOOKED_AT_MAX: Final = 10_000
"""Keys looked at for a page: many in a row may have no value."""


class Api:
    """Answers readers of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def routes(self) -> list[Route]:
        """What is answered where."""
        return [
            Route(f"{ROOT}/kv", self.keys),
            Route(f"{ROOT}/kv/{{key:path}}", self.key),
            Route(f"{ROOT}/status", self.status),
            Route(f"{ROOT}/members", self.members),
            Route(f"{ROOT}/conflicts", self.conflicts),
            Route(f"{ROOT}/history", self.history),
            Route(f"{ROOT}/openapi.json", self.openapi),
        ]

    async def key(self, request: Request) -> Response:
        """What is read of a key: with `?raw` the value as it is."""
        version, resolution = await read(self._agent, check_key(request.path_params["key"]))
        if "raw" not in request.query_params:
            return Json(json_read(self._agent, version, resolution))
        headers = {
            "ETag": f'"{version.id.hex()}"',
            "Content-Type": MEDIA_TYPES.get(version.entry.type, BYTES),
            "X-Content-Type-Options": "nosniff",
            "X-Gossipconf-Change": version.change_id.hex(),
            "Cache-Control": "no-cache",
        }
        if headers["ETag"] in {one.strip() for one in request.headers.get("If-None-Match", "").split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(version.entry.value, headers=headers)

    async def keys(self, request: Request) -> Response:
        """The keys under `prefix` that have a value here, in order, after `after`."""
        prefix, after, limit = _prefix(request), _after(request), _limit(request, PAGE_ITEMS_MAX)
        reads, resolver = self._agent.reads, Resolver(self._agent)
        items: list[dict[str, Any]] = []
        size, last, following = 0, after, None
        for number, key in enumerate(reads.keys(prefix, after)):
            if len(items) == limit or size > PAGE_BYTES_MAX or number == LOOKED_AT_MAX:
                following = last
                break
            last = key
            resolution = resolver.resolution(key)
            if resolution.version is not None:
                items.append(json_read(self._agent, resolution.version, resolution))
                size += sum(len(one.version.entry.value or b"") for one in resolution.candidates)
        return Json({"items": items, "next": following, "unreadable": reads.strict.unreadable(prefix)})

    async def status(self, request: Request) -> Response:
        """The agent itself."""
        told = await account.info(self._agent, {}) | await account.status(self._agent, {})
        members = told.pop("members")
        told.pop("data_dir")
        view = told["view"]
        told["view"] = view | {"signer": None if view["signer"] is None else fingerprint(view["signer"])}
        return Json(json_plain(told | {"members": len(members), "started": json_time(told.pop("started_ms"))}))

    async def members(self, request: Request) -> Response:
        """The agent and all others that it knows."""
        told = await account.status(self._agent, {})
        return Json({"members": json_plain(told["members"]), "crowded": told["crowded"]})

    async def conflicts(self, request: Request) -> Response:
        """Keys with several live versions in a slot, and these."""
        after, limit = _after(request), _limit(request, PAGE_ITEMS_MAX)
        reads = self._agent.reads
        keys = sorted({key for key, _ in reads.conflicts()})
        begin = 0 if after is None else bisect_right(keys, after)
        items: list[dict[str, Any]] = []
        size = 0
        for key in keys[begin : begin + limit]:
            if size > PAGE_BYTES_MAX:
                break
            versions = reads.ordinary(key)
            size += sum(len(version.entry.value or b"") for version in versions)
            items.append({"key": key, "versions": list(map(json_version, versions))})
        return Json({"items": items, "next": items[-1]["key"] if begin + len(items) < len(keys) and items else None})

    async def history(self, request: Request) -> Response:
        """Changes of a key or under a prefix, the last signed first: what of them lives, and when the rest died."""
        query = request.query_params
        if ("key" in query) == ("prefix" in query):
            raise InvalidInput("history needs one of 'key' and 'prefix'; an empty prefix stands for all keys")
        asked: dict[str, Any] = {"limit": _limit(request, HISTORY_ITEMS_MAX), "entries": HISTORY_ENTRIES}
        asked |= {name: query[name] for name in ("key", "prefix") if name in query}
        if "before" in query:
            asked["before"] = _place(query["before"])
        told = await logbook.page(self._agent, asked)
        following = told["next"]
        items = [self._change(change["parts"], change["live"], change["retired"]) for change in told["changes"]]
        await trio.lowlevel.checkpoint()
        return Json(
            {
                "items": [item for item in items if item is not None],
                "next": None if following is None else f"{following[0]}.{following[1].hex()}",
            }
        )

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return Json(document())

    def _change(self, parts: Iterable[tuple[bytes, int | None]], live: int, retired: int) -> dict[str, Any] | None:
        replica = self._agent.node.replica
        versions = []
        for data, retired_ms in parts:
            is_void = retired_ms is not None and not replica.may_return(data)
            when = None if retired_ms is None else json_time(retired_ms)
            found = versions_of(Change.decode(data, replica.chain.cluster_id))
            versions += [{**json_version(one), "retired": when, "void": is_void} for one in found]
        if not versions:
            return None
        first = versions[0]
        told = {name: first[name] for name in ("change", "time", "signer", "comment", "policy")}
        return told | {"live": live, "retired": retired, "versions": versions}


def _prefix(request: Request) -> str:
    return check_prefix(request.query_params.get("prefix", ""))


def _after(request: Request) -> str | None:
    after = request.query_params.get("after")
    return None if after is None else check_key(after)


def _limit(request: Request, most: int) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return min(PAGE_ITEMS, most)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise Problem(400, "InvalidInput", "'limit' is no number of items", f"give a whole number, 1 to {most}")
    return int(text)


def _place(text: str) -> tuple[int, bytes]:
    """Where a page of history begins, as the one before it has told."""
    time_ms, _, change = text.partition(".")
    try:
        if time_ms.isascii() and time_ms.isdigit() and len(time_ms) <= len(str(TIME_MS_MAX)):
            place = int(time_ms), bytes.fromhex(change)
            if place[0] <= TIME_MS_MAX and len(place[1]) == HASH_BYTES:
                return place
    except ValueError:
        pass
    raise InvalidInput("'before' must be the 'next' of another page")
