"""Watches: a program waits for values that change. The latest wins, and a slow reader holds one item a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import trio

from ..model.key import check_prefix, covers
from .follower import Follower
from .reading import MISSING, read
from .snapshot import Cell, Snapshot, Source

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Update:
    """A key that gives something else, as of the moment at which this was taken from the watch."""

    key: str
    _snapshot: Snapshot = field(repr=False)

    @property
    def _cell(self) -> Cell | None:
        return self._snapshot.find(self.key)

    @property
    def exists(self) -> bool:
        """Whether the key has a value. Raises Fenced or NotAMember if it cannot be read by now."""
        return self._cell is not None

    @property
    def source(self) -> Source:
        """Where the value comes from; DEFAULT if there is none. Raises as `exists`."""
        cell = self._cell
        return Source.DEFAULT if cell is None else cell.source

    @overload
    def get(self) -> str: ...
    @overload
    def get(self, type: type[T]) -> T: ...
    @overload
    def get(self, type: type[T], default: D) -> T | D: ...
    def get(self, type: Any = str, default: Any = MISSING) -> Any:
        """The value, as `Agent.get` reads it."""
        return read(self._snapshot, self.key, type, default)


class Watch:
    """An async iterator of updates, from its creation on; it ends with the agent.

    Nothing waits for it. `close` it, or leave its ``with`` block, or let go of it, and nothing is kept for it.
    One task at a time takes from it.
    """

    def __init__(self, follower: Follower, prefix: str) -> None:
        """Raises InvalidInput for what is no prefix."""
        self.prefix = check_prefix(prefix)
        self._follower = follower
        self._changed: dict[str, None] = {}
        self._wake = trio.Event()
        self._has_ended = False
        follower.subscribe(self)

    def changed(self, keys: Sequence[str], unreadable: Sequence[str]) -> None:
        """Of what cannot be read any more the reader is told once it can be again."""
        for key in unreadable:
            self._changed.pop(key, None)
        news = [key for key in keys if covers(self.prefix, key)]
        self._changed.update(dict.fromkeys(news))
        if news:
            self._wake.set()

    def ended(self) -> None:
        """The agent has stopped: what has changed can still be taken."""
        self._has_ended = True
        self._wake.set()

    def close(self) -> None:
        """End the iteration, at once; what has not been taken is dropped."""
        self._follower.unsubscribe(self)
        self._changed.clear()
        self.ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        await trio.lowlevel.checkpoint()
        while not self._changed:
            if self._has_ended:
                raise StopAsyncIteration
            self._wake = trio.Event()
            await self._wake.wait()
        key = next(iter(self._changed))
        del self._changed[key]
        return Update(key, self._follower.snapshot)
