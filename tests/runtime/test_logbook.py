"""The logbook: what an agent tells of the changes that it has, living and replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.model.limits import VALUE_BYTES_MAX
from gossipconf.runtime import logbook

from .cluster import ADMIN, CLERK, HANG_S, Site, WatchedAgent, asking, fleet_of, prepare, publish


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("logbook"))


async def put_all(agent: WatchedAgent, *keys: str, value: bytes = b"1", signer: Any = ADMIN) -> Change:
    """One change of several keys."""
    change = prepare(agent, *(put(key, value) for key in keys), signer=signer)
    with trio.fail_after(HANG_S):
        await agent.publish(change)
    return change


def told(site: Site, reply: dict[str, Any]) -> list[tuple[bytes, dict[str, bool], int, int]]:
    """Of each change of a reply its id, key -> whether it lives, and the two counts."""
    assert reply["ok"], reply
    found = []
    for one in reply["changes"]:
        keys: dict[str, bool] = {}
        ids = set()
        for data, retired_ms in one["parts"]:
            change = Change.decode(data, site.cluster_id)
            ids.add(change.id)
            keys |= {entry.key: retired_ms is None for _, entry in change.entries}
        assert len(ids) == 1
        found.append((ids.pop(), keys, one["live"], one["retired"]))
    return found


async def test_a_change_is_told_with_what_lives_and_what_is_replaced(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        first = await put_all(agent, "shop/a", "shop/b", "other")
        second = await publish(agent, "shop/a", b"2")
        async with asking(agent) as asker:
            everything = told(site, await asker.ask("log", prefix=""))
            assert everything == [
                (second.id, {"shop/a": True}, 1, 0),
                (first.id, {"shop/a": False, "shop/b": True, "other": True}, 2, 1),
            ]
            assert told(site, await asker.ask("log", prefix="other")) == [(first.id, {"other": True}, 1, 0)]
            assert told(site, await asker.ask("log", key="shop/a"))[1] == (first.id, {"shop/a": False}, 0, 1)
            assert told(site, await asker.ask("change", change=first.id.hex()[:12])) == everything[1:]
            assert told(site, await asker.ask("log", prefix="", entries=1))[1][1:] == (
                {"shop/a": False, "other": True},
                2,
                1,
            )
            policies = told(site, await asker.ask("log", prefix="_policy"))
            assert [list(keys) for _, keys, _, _ in policies] == [["_policy/1"]]
            assert (await asker.ask("change", change="0123456789"))["changes"] == []


async def test_pages_end_where_the_next_begins(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "KEYS_AT_ONCE", 2)
    monkeypatch.setattr(logbook, "SPARE_FACTOR", 1)
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        for number in range(8):
            await publish(agent, f"many/{number % 5}", str(number).encode())
        async with asking(agent) as asker:
            whole = told(site, await asker.ask("log", prefix="many"))
            assert len(whole) == 8
            pages: list[Any] = []
            before = None
            while True:
                reply = await asker.ask("log", prefix="many", limit=3, before=before)
                pages += told(site, reply)
                before = reply["next"]
                if before is None:
                    break
            assert pages == whole


async def test_a_page_of_large_values_ends_early(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "CHANGES_AT_ONCE", 3)
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        for number in range(7):
            await publish(agent, "big", bytes([number]) * VALUE_BYTES_MAX)
        async with asking(agent) as asker:
            first = await asker.ask("log", key="big")
            rest = await asker.ask("log", key="big", before=first["next"])
            assert (len(first["changes"]), len(rest["changes"]), rest["next"]) == (4, 3, None)


async def test_times_and_signers(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        old = await publish(agent, "shop/a", b"1")
        new = await publish(agent, "shop/a", b"2")
        clerk = await put_all(agent, "shop/clerk", signer=CLERK)
        times = {change.id: change.header.time_ms for change in (old, new, clerk)}
        assert times[old.id] < times[new.id]

        async with asking(agent) as asker:

            async def ids(**fields: Any) -> set[bytes]:
                return {one for one, *_ in told(site, await asker.ask("log", prefix="", **fields))}

            assert await ids() == {old.id, new.id, clerk.id}
            assert await ids(until_ms=times[new.id]) == {old.id, clerk.id}
            assert await ids(since_ms=times[new.id]) == {new.id}
            assert await ids(signers=[ADMIN.public]) == {old.id, new.id}
            assert await ids(signers=[CLERK.public]) == {clerk.id}
            assert await ids(signers=[]) == set()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prefix": "a/"},
        {"key": 5},
        {"prefix": "", "since_ms": -1},
        {"prefix": "", "until_ms": "1"},
        {"prefix": "", "entries": 0},
        {"prefix": "", "limit": 0},
        {"prefix": "", "signers": "all"},
        {"prefix": "", "signers": [b"short"]},
        {"prefix": "", "signers": [bytes(32)] * 1_001},
        {"prefix": "", "before": [1]},
        {"prefix": "", "before": [1, b"short"]},
        {"prefix": "", "before": [-1, bytes(32)]},
    ],
    ids=lambda fields: str(fields)[:40],
)
async def test_malformed_questions_are_named(site: Site, tmp_path: Path, fields: dict[str, Any]) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            await asker.send(msgpack.packb({"op": "log", **fields}))
            reply = await asker.reply()
            assert reply is not None
            assert (reply["ok"], reply["error"]) == (False, "InvalidInput")
            assert (await asker.ask("log", prefix=""))["ok"]
            assert not (await asker.ask("change", change="abc"))["ok"]
