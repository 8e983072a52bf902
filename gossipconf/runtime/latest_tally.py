"""The latest tally of a question, for one who reads more slowly than it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

import trio

from ..protocol.events import AckProgress

PAUSE_S: Final = 0.1
"""Between two tallies: people do not read faster."""


class LatestTally:
    """Takes tallies in, and gives out the latest one now and then."""

    def __init__(self) -> None:
        self._latest: AckProgress | None = None
        self._changed = trio.Event()

    def put(self, tally: AckProgress) -> None:
        """Take in the latest."""
        self._latest = tally
        self._changed.set()

    async def events(self, wait_s: float) -> AsyncGenerator[dict[str, Any], None]:
        """Tallies as events, the last one ``done``: when all have applied it, or after ``wait_s``."""
        until_s = trio.current_time() + wait_s
        while True:
            with trio.move_on_at(until_s):
                await self._changed.wait()
            self._changed = trio.Event()
            tally = self._latest
            assert tally is not None, "a question is told of as it is asked"
            done = (tally.complete and tally.applied == tally.total) or trio.current_time() >= until_s
            yield _event(tally, done=done)
            if done:
                return
            with trio.move_on_at(until_s):
                await trio.sleep(PAUSE_S)


def _event(tally: AckProgress, *, done: bool) -> dict[str, Any]:
    return {
        "event": "tally",
        "done": done,
        "applied": tally.applied,
        "total": tally.total,
        "complete": tally.complete,
        "missing": list(tally.missing),
        "silent": list(tally.silent),
        "more_silent": tally.more_silent,
        "zones": [{"zone": zone, "applied": applied, "total": total} for zone, applied, total in tally.zones],
    }
