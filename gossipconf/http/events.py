"""Server-sent events: what is read under a prefix, and each change of it, for as long as the client stays.

    change   what is read of a key now, as `/api/v1/kv/KEY` has it
    gone     the key has no value here any more
    strict   the strict prefixes here that may not be read now, and why: all of them, or none
    ready    all that there is has been told; what follows are changes
    reset    what was told before counts no more: everything is told again

A client that comes back with the id of the last event is told what it has missed, or all again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..model.errors import InvalidInput, StrictRead
from ..model.key import check_prefix, covers
from ..runtime.resolver import Resolver
from .feed import Feed, Follower
from .reading import Json, json_read

if TYPE_CHECKING:
    from ..runtime.agent import Agent

PATH: Final = "/api/v1/watch"
SIGN_OF_LIFE_S: Final = 15.0
"""Proxies end a connection on which nothing comes for a minute; WHATWG's page on events advises so much."""
KEYS_AT_ONCE: Final = 1_000
"""Keys found before their values are told."""
RETRY_MS: Final = 1_000
"""After which a browser comes back."""

Say = Callable[[bytes], Awaitable[None]]


class EventStream(Response):
    """The events of one client."""

    def __init__(self, agent: Agent, feed: Feed, closing: trio.Event, prefix: str, place: str, *, lists: bool) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        del self.headers["content-length"]  # it has no end
        self._agent = agent
        self._feed = feed
        self._closing = closing
        self._prefix = prefix
        self._place = place
        self._lists = lists
        self._unreadable: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell, until the client goes away or the server closes."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        follower = self._feed.follow(self._prefix)
        try:
            if scope["method"] != "HEAD":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                    nursery.start_soon(_until_closing, self._closing, nursery.cancel_scope)
                    await self._tell(follower, send)
        finally:
            self._feed.unfollow(follower)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, follower: Follower, send: Send) -> None:
        async def say(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        begin = self._feed.number
        await say(f"retry: {RETRY_MS}\n\n".encode())
        await self._tell_strict(say, is_last=True)
        if self._place and self._feed.resume(self._place, follower):
            await say(_event("ready", {}))
        else:
            if self._place:
                await say(_event("reset", {}))
            if self._lists:
                await self._list(self._prefix, say)
            await say(self._id(begin) + _event("ready", {}))
        while True:
            await self._tell_strict(say, is_last=not follower.is_waiting)
            if follower.is_waiting:
                await self._tell_change(*follower.take(), say)
                continue
            with trio.move_on_after(SIGN_OF_LIFE_S) as scope:
                await follower.wait()
            if scope.cancelled_caught:
                await say(b": \n\n")

    async def _tell_strict(self, say: Say, *, is_last: bool) -> None:
        """Tell which strict prefixes may not be read: of one that is fenced before any change; of one that may be read
        again after all that waits and all that is read there, for a client that came meanwhile has none of it."""
        now = self._agent.reads.strict.unreadable(self._prefix)
        if not is_last:
            now = self._unreadable | now
        if now == self._unreadable:
            return
        for freed in sorted(self._unreadable.keys() - now.keys()):
            await self._list(freed if covers(self._prefix, freed) else self._prefix, say)
        self._unreadable = now
        await say(_event("strict", {"unreadable": now}))

    async def _list(self, prefix: str, say: Say) -> None:
        """All keys with a value, some at a time: what comes or goes meanwhile is told after this."""
        last: str | None = None
        while keys := list(islice(self._agent.reads.keys(prefix, last), KEYS_AT_ONCE)):
            for key in keys:
                with contextlib.suppress(StrictRead):  # fenced meanwhile
                    event = _read(self._agent, key)
                    if event is not None:
                        await say(_event("change", event))
            last = keys[-1]

    async def _tell_change(self, key: str, number: int, say: Say) -> None:
        told = self._feed.rendered.get((key, number))
        if told is None:
            try:
                event = _read(self._agent, key)
            except StrictRead:  # fenced meanwhile: it is told when it can be read
                return
            told = _event("gone", {"key": key}) if event is None else _event("change", event)
            self._feed.keep(key, number, told)
        await say(self._id(number) + told)

    def _id(self, number: int) -> bytes:
        """The line that says how far a client has been told; none while it has to be told something of before."""
        return b"" if self._unreadable else f"id: {self._feed.place(number)}\n".encode()


def routes(agent: Agent, feed: Feed, closing: trio.Event) -> list[Route]:
    """What answers watchers."""

    async def watch(request: Request) -> Response:
        query = request.query_params
        prefix = check_prefix(query.get("prefix", ""))
        lists = query.get("list", "yes")
        if lists not in {"yes", "no"}:
            raise InvalidInput("'list' must be yes or no: whether what there is is told first")
        place = request.headers.get("Last-Event-ID", query.get("last_event_id", ""))
        return EventStream(agent, feed, closing, prefix, place, lists=lists == "yes")

    return [Route(PATH, watch)]


def _read(agent: Agent, key: str) -> dict[str, Any] | None:
    """What is read of a key; None for nothing. Raises StrictRead."""
    resolution = Resolver(agent).resolution(key)
    return None if resolution.version is None else json_read(agent, resolution.version, resolution)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\n".encode() + b"data: " + bytes(Json(data).body) + b"\n\n"


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _until_closing(closing: trio.Event, scope: trio.CancelScope) -> None:
    await closing.wait()
    scope.cancel()
