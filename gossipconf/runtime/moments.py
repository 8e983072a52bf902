"""Moments: when time alone changes what readers see, by the wall clock.

A value that expires or becomes active does so without any message, so whoever watches it must
be woken. The moments of all live versions are kept, past ones too: a wall clock may be set back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio

from ..model.entry import Slot
from ..model.version import Version
from ..store.resolution import Reader, is_timeless, moments

LOOK_S: Final = 30.0
"""The wall clock is looked at so often while a moment is ahead or behind: machines sleep, and clocks are set."""


class Moments:
    """The moments of the live versions for ``reader``, each with its key, in order of time."""

    def __init__(self, reader: Reader | None = None, slots: Iterable[tuple[Slot, Sequence[Version]]] = ()) -> None:
        """``slots``: with the versions that live as it begins."""
        self._reader = reader
        self._all: list[tuple[int, str]] = []
        for slot, versions in slots:
            self._all += self._of(slot[0], versions)
        self._all.sort()
        self._changed = trio.Event()

    def replace(self, key: str, before: Sequence[Version], versions: Sequence[Version]) -> None:
        """A slot of ``key`` holds ``versions`` now, and held ``before``."""
        gone, new = self._of(key, before), self._of(key, versions)
        for one in gone:
            del self._all[bisect_left(self._all, one)]
        for one in new:
            insort(self._all, one)
        if gone or new:
            self._changed.set()

    def between(self, one_ms: int, other_ms: int) -> list[str]:
        """The keys whose outcome may differ at the two times, in order of the earlier moments."""
        least, most = sorted((one_ms, other_ms))
        first, end = (bisect_right(self._all, time_ms, key=_time_of) for time_ms in (least, most))
        return list(dict.fromkeys(key for _, key in self._all[first:end]))

    def after(self, time_ms: int) -> int | None:
        """The first moment after a time, or None."""
        position = bisect_right(self._all, time_ms, key=_time_of)
        return self._all[position][0] if position < len(self._all) else None

    async def run(self, wall_ms: Callable[[], int], moved: Callable[[int, int], None]) -> None:
        """Call ``moved`` with the time looked at last and now, as often as a moment has passed since. For ever.

        ``wall_ms``: the wall clock, in ms since 1970.
        """
        seen_ms = wall_ms()
        while True:
            self._changed = trio.Event()
            with trio.move_on_after(self._wait_s(seen_ms)):
                await self._changed.wait()
            now_ms = wall_ms()
            moved(seen_ms, now_ms)
            seen_ms = now_ms

    def _wait_s(self, now_ms: int) -> float:
        if not self._all:
            return float("inf")
        following = self.after(now_ms)
        return LOOK_S if following is None else min(LOOK_S, (following - now_ms) / 1000)

    def _of(self, key: str, versions: Iterable[Version]) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for version in versions:
            if not is_timeless(version):  # a store of 100,000 versions is looked through at each start
                found += [(moment, key) for moment in moments(version, self._reader)]
        return found


def _time_of(one: tuple[int, str]) -> int:
    return one[0]
