"""The feed: which keys have changed since the server began, by a number that rises, and who waits for that.

One watcher of the agent's readers stands for all clients. Latest wins, for each client and in
what is remembered for those that come back: a key that changes twice is told once, so that a
client that takes nothing holds one item a key at most, and nobody else waits for it.

Knows keys and numbers; what is told of a key is `events`'.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from typing import Final

import trio

from ..model.key import covers
from ..runtime.reads import ReadView, Watcher

REMEMBERED_MAX: Final = 10_000
"""Keys that have changed last, for clients that come back: 1 MB. Who was away for more is told everything again."""
RENDERED_MAX: Final = 256
"""Of the latest, what is told of them: 10,000 clients of one key are told the same bytes."""
PLACE: Final = re.compile(r"([0-9a-f]{16})\.([0-9]{1,15})")


class Follower:
    """A client that wants to know of changes under a prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._changed: dict[str, int] = {}
        self._wake = trio.Event()

    @property
    def is_waiting(self) -> bool:
        """Whether a change waits to be told."""
        return bool(self._changed)

    def wake(self) -> None:
        """Something else is to be looked at."""
        self._wake.set()

    def notify(self, key: str, number: int) -> None:
        """``key`` has changed, and that is the latest of all."""
        self._changed.pop(key, None)
        self._changed[key] = number
        self._wake.set()

    async def wait(self) -> None:
        """Wait for a change, or for `wake`."""
        if not self._changed:
            await self._wake.wait()
        self._wake = trio.Event()

    def take(self) -> tuple[str, int]:
        """The key that has waited longest to be told, and the number of its last change."""
        key = next(iter(self._changed))
        return key, self._changed.pop(key)


class _Watcher(Watcher):
    """The one watcher of the agent's readers."""

    def __init__(self, feed: Feed) -> None:
        super().__init__("")
        self._feed = feed

    def epochs_changed(self) -> None:
        """Each client is told which strict prefixes it may not read, if that has changed for it. What has changed with
        that is noted now, so that no client hears that it may read before it hears what."""
        if self._changed:  # else who waits in `take` would wait on
            for key in self.take_now():
                self._feed.note(key)
        self._feed.wake_all()


class Feed:
    """The changes of one agent's readers."""

    def __init__(self) -> None:
        self.number = 0
        self.rendered: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._id = secrets.token_hex(8)
        self._latest: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0
        self._followers: dict[Follower, None] = {}

    async def run(self, reads: ReadView, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow ``reads`` until cancelled."""
        watcher = _Watcher(self)
        reads.add(watcher)
        try:
            task_status.started()
            while True:
                for key in await watcher.take():
                    self.note(key)
        finally:
            reads.unwatch(watcher)

    def note(self, key: str) -> None:
        """``key`` may be read otherwise from now on."""
        self.number += 1
        self._latest[key] = self.number
        self._latest.move_to_end(key)
        if len(self._latest) > REMEMBERED_MAX:
            _, self._forgotten = self._latest.popitem(last=False)
        for follower in self._followers:
            if covers(follower.prefix, key):
                follower.notify(key, self.number)

    def wake_all(self) -> None:
        """Have all followers look at what they may read."""
        for follower in self._followers:
            follower.wake()

    def follow(self, prefix: str) -> Follower:
        """Tell a new follower from now on; `unfollow` it at the end."""
        follower = Follower(prefix)
        self._followers[follower] = None
        return follower

    def unfollow(self, follower: Follower) -> None:
        """Tell it nothing more."""
        del self._followers[follower]

    def resume(self, place: str, follower: Follower) -> bool:
        """Tell ``follower`` what has changed since ``place``; False if that is forgotten, or of another run."""
        found = PLACE.fullmatch(place)
        if found is None or found[1] != self._id or not self._forgotten <= int(found[2]) <= self.number:
            return False
        for key, number in self._latest.items():
            if number > int(found[2]) and covers(follower.prefix, key):
                follower.notify(key, number)
        return True

    def place(self, number: int) -> str:
        """Where a client is that has been told all up to ``number``."""
        return f"{self._id}.{number}"

    def keep(self, key: str, number: int, rendered: bytes) -> None:
        """Remember what is told of a key."""
        self.rendered[key, number] = rendered
        if len(self.rendered) > RENDERED_MAX:
            self.rendered.popitem(last=False)
