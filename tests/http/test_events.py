"""Server-sent events: what a client is told, what it is told when it comes back, and that a slow one harms nobody."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.http import events, feed
from gossipconf.http.feed import Feed
from gossipconf.model.entry import delete, put
from gossipconf.model.key import covers
from tests.runtime.cluster import HANG_S, Site, publish, publish_entries

from .serving import ServedAgent, served

Event = tuple[str, Any, str | None]


class Stream:
    """Events as they come. By h11: httpx leaves its streams to the garbage collector, which trio warns of."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._held = b""

    async def ask(self, place: str, query: dict[str, str]) -> None:
        target = f"/api/v1/watch?{urlencode(query)}"
        headers = [("Host", "localhost"), *([("Last-Event-ID", place)] if place else [])]
        request = self._http.send(h11.Request(method="GET", target=target, headers=headers))
        await self._stream.send_all(request + self._http.send(h11.EndOfMessage()))
        answer = await self.part()
        assert isinstance(answer, h11.Response)
        assert answer.status_code == 200
        assert (b"content-type", b"text/event-stream") in answer.headers

    async def part(self) -> Any:
        """What comes next of the answer."""
        with trio.fail_after(HANG_S):
            while (found := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(65_536))
        return found

    async def block(self) -> str:
        """The lines up to the next empty one."""
        while b"\n\n" not in self._held:
            data = await self.part()
            assert isinstance(data, h11.Data), data
            self._held += bytes(data.data)
        block, _, self._held = self._held.partition(b"\n\n")
        return block.decode()

    async def next(self) -> Event:
        """Name, data and id of the next event."""
        while True:
            fields = dict(line.split(": ", 1) for line in (await self.block()).split("\n"))
            if "event" in fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id")

    async def told(self) -> tuple[str, Any]:
        """Key and value of the next event; None for one that is gone, the name of any other event."""
        name, data, _ = await self.next()
        return (data["key"], data.get("value")) if name in {"change", "gone"} else (name, None)

    async def until(self, name: str) -> list[Event]:
        """All events to the next of this name."""
        found = [await self.next()]
        while found[-1][0] != name:
            found.append(await self.next())
        return found


@contextlib.asynccontextmanager
async def watching(agent: ServedAgent, place: str = "", **query: str) -> AsyncIterator[Stream]:
    host, _, port = agent.http.addresses[0].rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as connection:
        stream = Stream(connection)
        await stream.ask(place, query)
        yield stream


async def test_first_what_there_is_then_each_change(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, _):
        await publish_entries(agent, put("shop/a", b"1"), put("shop/b", b"2"), put("other", b"3"))
        async with watching(agent, prefix="shop") as stream:
            assert [await stream.told() for _ in range(3)] == [("shop/a", "1"), ("shop/b", "2"), ("ready", None)]
            await publish(agent, "other", b"4")
            await publish(agent, "shop/b", b"5")
            assert await stream.told() == ("shop/b", "5")
            await publish_entries(agent, delete("shop/a"))
            name, data, _ = await stream.next()
            assert (name, data) == ("gone", {"key": "shop/a"})


async def test_an_event_is_what_a_read_is(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client), watching(agent, list="no") as stream:
        await stream.until("ready")
        await publish(agent, "shop/a", b"1\n\ndata: 2\r\n")
        _, data, _ = await stream.next()
        assert data == (await client.get("/api/v1/kv/shop/a")).json()


async def test_who_comes_back_is_told_what_it_missed(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, _):
        await publish(agent, "shop/a", b"1")
        async with watching(agent, prefix="shop") as stream:
            [*_, (_, _, place)] = await stream.until("ready")
        for key, value in (("shop/b", b"2"), ("other", b"3"), ("shop/c", b"4"), ("shop/b", b"5")):
            await publish(agent, key, value)
        assert place is not None
        async with watching(agent, place, prefix="shop") as stream:
            name, _, ready = await stream.next()
            assert (name, ready) == ("ready", None), "what it has missed comes after this"
            first = await stream.next()
            assert (first[1]["key"], first[1]["value"]) == ("shop/c", "4")
            assert await stream.told() == ("shop/b", "5")
        async with watching(agent, prefix="shop", last_event_id=str(first[2])) as stream:
            await stream.until("ready")
            assert await stream.told() == ("shop/b", "5")


@pytest.mark.parametrize("place", ["0123456789abcdef.1", "nonsense", "0123456789abcdef." + "9" * 99, "\x7f"])
async def test_who_was_elsewhere_is_told_all_again(site: Site, tmp_path: Path, place: str) -> None:
    async with served(site, tmp_path) as (agent, _):
        await publish(agent, "shop/a", b"1")
        async with watching(agent, last_event_id=place) as stream:
            assert [await stream.told() for _ in range(3)] == [("reset", None), ("shop/a", "1"), ("ready", None)]


async def test_who_was_away_too_long_is_told_all_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REMEMBERED_MAX", 1)
    async with served(site, tmp_path) as (agent, _):
        async with watching(agent) as stream:
            [(_, _, place)] = await stream.until("ready")
            for key in ("a", "b"):
                await publish(agent, key, b"1")
                await stream.told()
        assert place is not None
        async with watching(agent, place) as stream:
            assert await stream.told() == ("reset", None)


async def test_signs_of_life(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SIGN_OF_LIFE_S", 0.01)
    async with served(site, tmp_path) as (agent, _), watching(agent) as stream:
        await stream.until("ready")
        assert await stream.block() == ": "


async def test_a_client_that_takes_nothing_harms_nobody(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, _):
        host, _, port = agent.http.addresses[0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as slow:
            await slow.send_all(b"GET /api/v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"ready" in await _until(slow, b"ready")
            async with watching(agent) as stream:
                await stream.until("ready")
                for number in range(40):
                    value = b"%d" % number * 100_000
                    await publish(agent, "shop/a", value)
                    assert await stream.told() == ("shop/a", value.decode())
            held, *_ = agent.http._feed._followers
            assert len(held._changed) <= 1, "latest wins"


async def _until(stream: trio.SocketStream, text: bytes) -> bytes:
    found = b""
    with trio.fail_after(HANG_S):
        while text not in found:
            found += await stream.receive_some(65_536)
    return found


async def test_who_hangs_up_is_forgotten(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with served(site, tmp_path) as (agent, client):
        async with watching(agent) as stream:
            await stream.until("ready")
            assert len(agent.http._feed._followers) == 1
        with trio.fail_after(HANG_S):
            while agent.http._feed._followers:
                await trio.lowlevel.checkpoint()
        await publish(agent, "shop/a", b"1")
        assert (await client.get("/health/live")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stopping_agent_ends_the_stream_whole(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(site, tmp_path) as (agent, _), watching(agent) as stream:
        await stream.until("ready")
        agent.stop()
        assert isinstance(await stream.part(), h11.EndOfMessage), "and no reply that is cut off"
        with trio.fail_after(HANG_S):
            await agent.finished.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("query", [{"prefix": "a/"}, {"list": "maybe"}])
async def test_a_malformed_watch_is_refused(site: Site, tmp_path: Path, query: dict[str, str]) -> None:
    async with served(site, tmp_path) as (_, client):
        answer = await client.get("/api/v1/watch", params=query)
        assert (answer.status_code, answer.json()["error"]) == (400, "InvalidInput")


async def test_a_head_ends(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        assert (await client.head("/api/v1/watch")).status_code == 200
        assert not agent.http._feed._followers


async def test_a_fence_is_told_first_and_its_end_after_what_is_read_then(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(site, tmp_path) as (agent, _), watching(agent, prefix="shop") as stream:
        await stream.until("ready")
        fenced: dict[str, str] = {}
        monkeypatch.setattr(agent.reads.strict, "unreadable", lambda prefix: dict(fenced))
        fenced["shop/pay"] = "fenced"
        agent.reads.epochs_changed(agent.node.stages)
        assert (await stream.next())[:2] == ("strict", {"unreadable": {"shop/pay": "fenced"}})
        fenced.clear()
        agent.reads._tell("shop/pay/a")  # as an epoch that is committed does it: what differs, then the standing
        agent.reads._tell("shop/pay/b")
        agent.reads.epochs_changed(agent.node.stages)
        assert [(await stream.next())[0] for _ in range(3)] == ["gone", "gone", "strict"]


async def test_who_comes_while_there_is_a_fence_is_told_what_is_behind_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(site, tmp_path) as (agent, _):
        await publish(agent, "shop/a", b"1")
        fenced = {"shop": "fenced"}
        monkeypatch.setattr(agent.reads.strict, "unreadable", lambda prefix: dict(fenced))
        async with watching(agent, list="no") as stream:
            assert (await stream.next())[:2] == ("strict", {"unreadable": fenced})
            assert (await stream.next())[0::2] == ("ready", None), "it has not been told all: it must not resume here"
            fenced.clear()
            agent.reads.epochs_changed(agent.node.stages)
            assert await stream.told() == ("shop/a", "1")
            assert (await stream.next())[:2] == ("strict", {"unreadable": {}})
            await publish(agent, "shop/a", b"2")
            name, _, place = await stream.next()
            assert name == "change"
            assert place is not None


# -- the feed -------------------------------------------------------------------------------------

KEYS = ("a", "a/x", "a/y", "b")


@given(st.lists(st.sampled_from(KEYS), max_size=30), st.integers(0, 30), st.sampled_from(("", "a", "a/x", "b")))
def test_who_resumes_is_told_each_key_that_has_changed_once_and_in_order(
    keys: list[str], before: int, prefix: str
) -> None:
    told = Feed()
    for key in keys[:before]:
        told.note(key)
    place = told.place(told.number)
    for key in keys[before:]:
        told.note(key)
    follower = told.follow(prefix)
    assert told.resume(place, follower)
    missed = [key for key in keys[before:] if covers(prefix, key)]
    last = {key: number for number, key in enumerate(keys, 1)}
    assert follower._changed == {key: last[key] for key in missed}
    assert list(follower._changed.values()) == sorted(follower._changed.values())


def test_a_place_of_the_future_is_none() -> None:
    told = Feed()
    assert told.resume(told.place(0), told.follow(""))
    assert not told.resume(told.place(1), told.follow(""))
