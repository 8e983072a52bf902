"""Group commit: what waits for the disk is written in one transaction, in order.

A publish waits for one commit; whatever comes while that is under way shares the
next. SQLite runs in a worker thread, one call at a time.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio

from ..model.errors import JournalBusy, JournalWriteFailed
from ..protocol.environment import Persist
from ..store.journal import Journal
from ..store.journal_ops import JournalOp, Retire

GROUP_OPS_MAX: Final = 2_000
"""Rows in one transaction: about 0.2 s of writing, the longest that a publish waits behind a sync."""
HISTORY_SWEEP_S: Final = 3_600.0
"""How often history is looked through for what is too old."""

WRITE_REFUSED: Final = (JournalWriteFailed, JournalBusy)
"""What may take the same write later: a full disk, or a file that another program, such as a backup, has open."""

T = TypeVar("T")

Look = Callable[[Sequence[Persist]], Awaitable[Sequence[JournalOp]]]
"""look(group): called before a group of writes, for what has to be written in the same transaction."""

Done = Callable[[Persist, str | None], None]
"""done(write, error): called once for each write, in order, on the trio thread."""


class JournalWriter:
    """Writes to the journal on behalf of a node."""

    def __init__(self, journal: Journal, done: Done, look: Look | None = None) -> None:
        self._journal = journal
        self._done = done
        self._look = look
        self._queue: deque[Persist] = deque()
        self._wake = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._lock = trio.Lock()

    def write(self, persist: Persist) -> None:
        """Queue a write; `done` will be called for it."""
        self._queue.append(persist)
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until nothing waits for the disk."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled. Raises JournalError for a damaged journal."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._queue:
                group = self._take_group()
                ops = [op for persist in group for op in persist.ops]
                with trio.CancelScope(shield=True):  # a write that has begun is finished, and told of
                    if self._look is not None:
                        ops += await self._look(group)
                    error = await self._commit(ops)
                    if error is not None:
                        # What was queued meanwhile rests on what has failed: it fails too (see `Persist`).
                        group += self._queue
                        self._queue.clear()
                    for persist in group:
                        self._done(persist, error)
            self._idle.set()

    async def read(self, question: Callable[[Journal], T]) -> T:
        """What ``question`` finds in the journal."""
        async with self._lock:
            return await trio.to_thread.run_sync(question, self._journal)

    async def history_after(self, place: tuple[str, bytes], *, key: str | None, limit: int) -> list[Retire]:
        """Retired versions by key and version id, those after ``place``."""
        async with self._lock:  # given back after each of many calls: a publish waits for one
            return await trio.to_thread.run_sync(lambda: self._journal.history_after(place, key=key, limit=limit))

    async def sweep_history(self, days: int, now_ms: Callable[[], int]) -> None:
        """Forget history older than ``days``, for ever."""
        while True:
            before_ms = now_ms() - days * 86_400_000
            with contextlib.suppress(*WRITE_REFUSED):  # reported by the next write; the sweep comes again
                while await self._expire_batch(before_ms):
                    pass
            await trio.sleep(HISTORY_SWEEP_S)

    async def _expire_batch(self, before_ms: int) -> int:
        async with self._lock:  # given back after each batch: a publish waits for one and not for a month's
            return await trio.to_thread.run_sync(self._journal.expire_history, before_ms)

    def _take_group(self) -> list[Persist]:
        group: list[Persist] = []
        rows = 0
        while self._queue and (not group or rows + len(self._queue[0].ops) <= GROUP_OPS_MAX):
            persist = self._queue.popleft()
            rows += len(persist.ops)
            group.append(persist)
        return group

    async def _commit(self, ops: list[JournalOp]) -> str | None:
        if not ops:
            return None
        async with self._lock:
            try:
                await trio.to_thread.run_sync(self._journal.commit, ops)
            except WRITE_REFUSED as error:
                return str(error)
        return None
