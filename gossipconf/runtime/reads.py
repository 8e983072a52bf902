"""What readers see: the live versions that are on this node's disk, and who watches them.

Which of a key's versions a reader gets is `store.resolution`'s to say; here only when that may change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge

import trio

from ..model.entry import Slot
from ..model.key import SYSTEM_PREFIX, covers, is_system_key
from ..model.version import Version
from ..protocol.conflicts import in_conflict
from ..protocol.environment import Reads
from ..protocol.stages import Stages
from ..store.resolution import Reader
from .moments import Moments
from .strict_reads import StrictReads


class Watcher:
    """A reader that wants to know of changes under a prefix.

    Latest wins: a key that changes twice before it is taken is told once, so that a
    slow reader holds at most one item a key.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._changed: dict[str, None] = {}
        self._wake = trio.Event()

    def notify(self, key: str) -> None:
        """``key`` has changed."""
        self._changed[key] = None
        self._wake.set()

    async def take(self) -> list[str]:
        """Wait until something has changed; return the keys, in order of their first change."""
        await self._wake.wait()
        return self.take_now()

    def take_now(self) -> list[str]:
        """The same without waiting: nothing if nothing has changed, and whoever waits goes on waiting."""
        if self._wake.is_set():
            self._wake = trio.Event()
        keys, self._changed = list(self._changed), {}
        return keys

    def epochs_changed(self) -> None:
        """What is served of strict prefixes has changed, or may not be read any more. Called at once, before anything
        is sent; the keys that can be read otherwise are told as well."""


class ReadView:
    """Slots with their live versions, the winner first. ``reader``: by whom they are read."""

    def __init__(self, slots: Mapping[Slot, tuple[Version, ...]], reader: Reader | None = None) -> None:
        self._slots = dict(slots)
        self._keys = sorted({key for key, _ in self._slots})
        self._variants: dict[str, dict[str, None]] = {}
        for key, variant in sorted(self._slots):
            self._variants.setdefault(key, {})[variant] = None
        self._value_count = sum(_is_value(slot, versions) for slot, versions in self._slots.items())
        self._conflicts = {slot: None for slot, versions in self._slots.items() if in_conflict(slot, len(versions))}
        self._watchers: list[Watcher] = []
        self.strict = StrictReads()
        self.moments = Moments(reader, self._slots.items())

    def show(self, reads: Reads) -> None:
        """Take over new states of slots, and tell the watchers."""
        for slot, versions in reads:
            before = self._slots.get(slot, ())
            if before == versions:
                continue
            self.moments.replace(slot[0], before, versions)
            if versions:
                self._put(slot, versions)
            else:
                self._remove(slot)
            self._notify(slot[0])

    def clock_moved(self, before_ms: int, now_ms: int) -> None:
        """Tell the watchers of what time alone has changed, forwards or back."""
        for key in self.moments.between(before_ms, now_ms):
            self._notify(key)

    def epochs_changed(self, stages: Stages) -> None:
        """Take over which epochs of strict prefixes are served, and tell the watchers."""
        for key in self.strict.update(stages, self._slots):
            self._tell(key)
        for watcher in self._watchers:
            watcher.epochs_changed()

    def held_off(self, keys: Iterable[str]) -> None:
        """Tell the watchers of ``keys`` of which something is held off now, or is no longer."""
        for key in keys:
            self._notify(key)

    def _notify(self, key: str) -> None:
        if self.strict.over(key) is None:  # there an ordinary change is seen by nobody
            self._tell(key)

    def _tell(self, key: str) -> None:
        for watcher in self._watchers:
            if covers(watcher.prefix, key):
                watcher.notify(key)

    def versions(self, key: str) -> list[Version]:
        """The live versions of ``key``: of each variant the winner first, the default variant first.

        Of a key under a strict prefix the value in the epoch that is served. Raises Fenced or NotAMember there.
        """
        strict = self.strict.over(key)
        return self.ordinary(key) if strict is None else self.strict.versions(strict, key)

    def ordinary(self, key: str) -> list[Version]:
        """What ordinary changes have put at ``key``, whether readers see it or not."""
        return [version for variant in self._variants.get(key, ()) for version in self._slots[key, variant]]

    def versions_of(self, keys: Iterable[str]) -> Iterator[Version]:
        """The same of many keys, as far as they are here; for as long as nothing changes."""
        variants, slots = self._variants, self._slots
        for key in keys:
            for variant in variants.get(key, ()):
                yield from slots[key, variant]

    def keys(self, prefix: str = "", after: str | None = None) -> Iterator[str]:
        """Keys under ``prefix`` greater than ``after``, in order, tombstones included; of strict prefixes those of the
        epoch that is served, and none where it cannot be read."""
        if not self.strict:
            return self.ordinary_keys(prefix, after)
        strict = (key for key in self.strict.readable_keys() if covers(prefix, key) and (after is None or key > after))
        return merge((key for key in self.ordinary_keys(prefix, after) if self.strict.over(key) is None), strict)

    def ordinary_keys(self, prefix: str = "", after: str | None = None) -> Iterator[str]:
        """The same of ordinary changes only, whether readers see them or not."""
        start = 0 if after is None else bisect_right(self._keys, after)
        for first, end in _ranges(prefix):
            stop = len(self._keys) if end is None else bisect_left(self._keys, end)
            for position in range(max(start, bisect_left(self._keys, first)), stop):
                yield self._keys[position]

    def watch(self, prefix: str) -> Watcher:
        """A watcher of keys under ``prefix``; `unwatch` it at the end."""
        watcher = Watcher(prefix)
        self.add(watcher)
        return watcher

    def add(self, watcher: Watcher) -> None:
        """Tell ``watcher`` from now on, until `unwatch`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` nothing more."""
        self._watchers.remove(watcher)

    @property
    def value_count(self) -> int:
        """Keys of users that have a value: counted as they come and go, for every command asks."""
        return self._value_count

    def conflicts(self) -> list[Slot]:
        """Slots of which readers see siblings, in no order: kept as they come and go, for every command asks."""
        if not self.strict:
            return list(self._conflicts)
        return [slot for slot in self._conflicts if self.strict.over(slot[0]) is None]

    def _put(self, slot: Slot, versions: tuple[Version, ...]) -> None:
        key, variant = slot
        if key not in self._variants:
            self._variants[key] = {}
            insort(self._keys, key)
        if variant not in self._variants[key]:
            self._variants[key] = dict.fromkeys(sorted([*self._variants[key], variant]))
        self._value_count += _is_value(slot, versions) - _is_value(slot, self._slots.get(slot, ()))
        self._slots[slot] = versions
        if in_conflict(slot, len(versions)):
            self._conflicts[slot] = None
        else:
            self._conflicts.pop(slot, None)

    def _remove(self, slot: Slot) -> None:
        key, variant = slot
        before = self._slots.pop(slot, None)
        if before is None:
            return
        self._value_count -= _is_value(slot, before)
        self._conflicts.pop(slot, None)
        del self._variants[key][variant]
        if not self._variants[key]:
            del self._variants[key]
            del self._keys[bisect_left(self._keys, key)]


def _is_value(slot: Slot, versions: Sequence[Version]) -> bool:
    """Whether a slot gives a user's key a value for all."""
    key, variant = slot
    return bool(versions) and not variant and not is_system_key(key) and versions[0].entry.value is not None


def _ranges(prefix: str) -> tuple[tuple[str, str | None], ...]:
    """Where the keys that `covers` gives to ``prefix`` lie among all in order: from each first to before its end.

    A prefix's own key and those under it are apart: `a`, then `a-b`, then `a/b`.
    """
    if not prefix:
        return ("", SYSTEM_PREFIX), (_next(SYSTEM_PREFIX), None)
    return (prefix, prefix + "\0"), (prefix + "/", prefix + _next("/"))


def _next(character: str) -> str:
    return chr(ord(character) + 1)
