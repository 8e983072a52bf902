"""Moments: watchers are woken when time alone changes what they would read, whichever way the clock goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.entry import Slot, put
from gossipconf.model.version import Version
from gossipconf.runtime import agent as agent_module
from gossipconf.runtime.moments import LOOK_S, Moments
from gossipconf.runtime.reads import ReadView
from tests import strategies as gen

from .cluster import HANG_S, NOW_MS, Site, asking, fleet_of, prepare

HOUR_MS = 3_600_000


def version(key: str, *, seq: int = 1, expires_ms: int | None = None, activation_ms: int | None = None) -> Version:
    entry = put(key, b"1", variant="v", expires_ms=expires_ms)
    (made,) = gen.body([entry], gen.WRITERS[0], seq, activation_ms=activation_ms).versions
    return made


steps = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.lists(st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(1, 9)), max_size=2),
    ),
    max_size=8,
)


@given(steps, st.integers(0, 10), st.integers(0, 10))
def test_moments_are_those_of_the_versions_that_live(steps, one_ms, other_ms):
    moments = Moments()
    held: dict[str, tuple[Version, ...]] = {}
    for number, (key, times) in enumerate(steps):
        made = tuple(
            version(key, seq=1 + 2 * number + place, expires_ms=expires_ms, activation_ms=activation_ms)
            for place, (expires_ms, activation_ms) in enumerate(times)
        )
        moments.replace(key, held.get(key, ()), made)
        held[key] = made
    times_of = {
        key: [at for one in made for at in (one.entry.expires_ms, one.header.activation_ms) if at is not None]
        for key, made in held.items()
    }
    least, most = sorted((one_ms, other_ms))
    assert set(moments.between(one_ms, other_ms)) == {
        key for key, times in times_of.items() if any(least < at <= most for at in times)
    }
    at_once = Moments(None, [((key, "v"), made) for key, made in held.items()])
    assert at_once.between(one_ms, other_ms) == moments.between(one_ms, other_ms)
    later = [at for times in times_of.values() for at in times if at > one_ms]
    assert moments.after(one_ms) == min(later, default=None)


class Clock:
    """A wall clock on trio's, that can be set."""

    def __init__(self) -> None:
        self.set_ms = NOW_MS

    def __call__(self) -> int:
        return self.set_ms + round(trio.current_time() * 1000)


def slots(*versions: Version) -> tuple[tuple[Slot, tuple[Version, ...]], ...]:
    return tuple((one.slot, (one,)) for one in versions)


async def test_watchers_wake_at_each_moment_and_at_no_other(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    wall_ms = Clock()
    view = ReadView({})
    nursery.start_soon(view.moments.run, wall_ms, view.clock_moved)
    await trio.testing.wait_all_tasks_blocked()
    view.show(slots(version("late", expires_ms=NOW_MS + 2 * HOUR_MS), version("soon", activation_ms=NOW_MS + 5_000)))
    watcher = view.watch("")
    woken = []
    for _ in range(2):
        keys = await watcher.take()
        woken.append((keys, wall_ms() - NOW_MS))
    assert woken == [(["soon"], 5_000), (["late"], 2 * HOUR_MS)]
    with trio.move_on_after(10 * LOOK_S):
        await watcher.take()
        pytest.fail("nothing changes any more")
    nursery.cancel_scope.cancel()


async def test_a_clock_that_is_set_is_noticed(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    wall_ms = Clock()
    view = ReadView(dict(slots(version("k", expires_ms=NOW_MS + HOUR_MS))))
    nursery.start_soon(view.moments.run, wall_ms, view.clock_moved)
    watcher = view.watch("k")
    for _ in range(2):  # forwards: it expires; back: it has not expired
        await trio.testing.wait_all_tasks_blocked()
        begin_s = trio.current_time()
        wall_ms.set_ms += 2 * HOUR_MS if wall_ms.set_ms == NOW_MS else -2 * HOUR_MS
        assert await watcher.take() == ["k"]
        assert trio.current_time() - begin_s <= LOOK_S
    nursery.cancel_scope.cancel()


async def test_one_that_was_replaced_wakes_nobody(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    wall_ms = Clock()
    before, after = version("k", expires_ms=NOW_MS + 5_000), version("k", seq=2)
    view = ReadView(dict(slots(before)))
    nursery.start_soon(view.moments.run, wall_ms, view.clock_moved)
    view.show(slots(after))
    watcher = view.watch("k")
    with trio.move_on_after(3_600):
        await watcher.take()
        pytest.fail("it does not expire any more")
    nursery.cancel_scope.cancel()


async def test_a_watch_at_an_agent_tells_of_an_expiry(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_wall_ms", Clock())
    mock_clock.rate = 1.0
    site = Site(tmp_path / "site")
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            assert await asker.ask("watch", prefix="shop") == {"ok": True}
            change = prepare(agent, put("shop/price", b"1", expires_ms=NOW_MS + 10 * HOUR_MS))
            with trio.fail_after(HANG_S):
                await agent.publish(change)
            published = await asker.reply()
            mock_clock.jump(10 * HOUR_MS / 1000)
            expired = await asker.reply()
            assert published is not None
            assert published["key"] == "shop/price"
            assert expired == published  # the set is the same: what has changed is what is read of it
