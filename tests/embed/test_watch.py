"""Watches: nothing is missed from the call on, the latest wins, and a slow reader holds one item a key."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gossipconf.embed.watch import Watch
from gossipconf.model.entry import delete
from gossipconf.model.errors import InvalidInput

from .core import Core, followed, text


async def take(watch: Watch, count: int) -> list[tuple[str, str | None]]:
    updates = [await anext(watch) for _ in range(count)]
    return [(update.key, update.get(default=None)) for update in updates]


async def test_a_slow_reader_holds_one_item_a_key_and_gets_the_latest():
    core = Core(text("a", "0"))
    follower = followed(core)
    watch = Watch(follower, "")
    for number in range(1, 1001):
        core.show(text("a", str(number)), text("b", str(number)))
        follower.catch_up()
    assert len(watch._changed) == 2
    assert await take(watch, 2) == [("a", "1000"), ("b", "1000")]
    core.show(text("b", "last"))
    follower.catch_up()
    assert await take(watch, 1) == [("b", "last")]


async def test_only_what_is_under_the_prefix_and_differs():
    core = Core(text("shop/a", "1"))
    follower = followed(core)
    watch = Watch(follower, "shop")
    core.show(text("shops", "x"), text("shop/b", "2"), delete("shop/a"))
    core.reads.held_off(["shop/b"])
    follower.catch_up()
    assert await take(watch, 2) == [("shop/b", "2"), ("shop/a", None)]
    assert not watch._changed
    with pytest.raises(InvalidInput):
        Watch(follower, "a//b")


async def test_it_waits_and_ends_with_the_agent():
    core = Core()
    follower = followed(core)
    seen = []

    async def read(watch: Watch) -> None:
        async for update in watch:
            seen.append((update.key, update.get()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, Watch(follower, ""))
        nursery.start_soon(follower.run)
        await wait_all_tasks_blocked()
        core.show(text("a", "1"))
        await wait_all_tasks_blocked()
        assert seen == [("a", "1")]
        core.show(text("a", "2"))
        follower.end()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [("a", "1"), ("a", "2")], "what has changed before the end is still told"
    assert [update async for update in Watch(follower, "")] == []


async def test_what_is_closed_or_let_go_of_is_forgotten():
    core = Core()
    follower = followed(core)
    with Watch(follower, "") as watch:
        core.show(text("a", "1"))
        follower.catch_up()
    assert [update async for update in watch] == []
    forgotten = weakref.ref(Watch(follower, ""))
    gc.collect()
    assert forgotten() is None
    assert len(follower._subscribers) == 0
