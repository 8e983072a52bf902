"""Seeds: addresses that the operator vouches for, as written or behind names that must be resolved.

Plans when each name is resolved, holds the latest results, and says which addresses are
seeds now. Knows no DNS and dials nobody: whoever drives the node carries `Resolve` out.

Names are resolved at the start and again for ever. While the node has no link that is
soon, with a wait that doubles up to a cap; else every few minutes, so that seeds are
fresh when they are needed. A result replaces that name's last one; a failure, or a name
without addresses, replaces nothing: a resolver may be down for hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from .environment import Environment, Resolve
from .events import ResolveFailed

RESOLVE_FIRST_S: Final = 1.0
"""Wait before a name is resolved again, the first time that its addresses led to no link."""
RESOLVE_CAP_S: Final = 30.0
"""A node without a link finds a new address of a name this long after a resolver gives it out, and costs that resolver
one question in this time."""
REFRESH_S: Final = 300.0
"""How often a linked node resolves each name: addresses of a service that moves are known before they are needed."""
NAME_ADDRESSES_MAX: Final = 64
"""Addresses used of one name, drawn at random: a way in, not a membership list. Beyond, a service of thousands would
fill the book."""
SEED_ADDRESSES_MAX: Final = 256
"""Addresses used of all seeds: a quarter of the book. Names share what literal seeds leave."""
NO_ADDRESS: Final = "the name has no address"


@dataclass(slots=True)
class _Name:
    """What is known of one name.

    addresses:    of its last good resolution
    fruitless:    resolutions since the node was last linked at the end of one
    ended_s:      when the last one ended
    due_s:        when the next one begins; infinity while one is under way
    is_under_way: whether an answer is awaited
    """

    addresses: tuple[str, ...] = ()
    fruitless: int = 0
    ended_s: float = float("-inf")
    due_s: float = float("inf")
    is_under_way: bool = False

    @property
    def wait_s(self) -> float:
        """How long to wait after the last resolution while there is no link."""
        return min(RESOLVE_CAP_S, RESOLVE_FIRST_S * 2.0 ** min(max(0, self.fruitless - 1), 16))


class Seeds:
    """Literal seeds, and names with what they resolve to.

    is_linked:  whether the node has a ready link
    use:        told all addresses that are seeds, whenever a resolution has succeeded
    """

    def __init__(
        self,
        environment: Environment,
        literals: Iterable[str],
        names: Iterable[str],
        *,
        is_linked: Callable[[], bool],
        use: Callable[[Iterable[str]], None],
    ) -> None:
        self._environment = environment
        self._literals = tuple(dict.fromkeys(literals))
        self._names = {name: _Name() for name in names}
        self._is_linked = is_linked
        self._use = use
        self._stopping = False
        share = (SEED_ADDRESSES_MAX - len(self._literals)) // max(1, len(self._names))
        self._share = max(1, min(NAME_ADDRESSES_MAX, share))

    # -- inputs -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Resolve every name."""
        for name in self._names:
            self._resolve(name)

    def stop(self) -> None:
        """Resolve no more."""
        self._stopping = True

    def resolved(self, name: str, addresses: Iterable[str]) -> None:
        """A `Resolve` has succeeded; without addresses it counts as failed."""
        found = list(dict.fromkeys(addresses))
        if not found:
            self.resolve_failed(name, NO_ADDRESS)
            return
        record = self._names[name]
        record.addresses = self._chosen(record.addresses, found)
        resolved = (address for one in self._names.values() for address in one.addresses)
        if not self._stopping:
            self._use((*self._literals, *resolved))
        self._ended(name)

    def resolve_failed(self, name: str, reason: str) -> None:
        """A `Resolve` has failed: what the name had before stands."""
        self._environment.emit(ResolveFailed(name, reason))
        self._ended(name)

    def link_down(self) -> None:
        """A ready link is gone; if it was the last one its peers may have moved."""
        if self._stopping or not self._names or self._is_linked():
            return
        for name, record in self._names.items():
            soon_s = self._environment.now.monotonic_s + self._environment.jittered(RESOLVE_FIRST_S)
            self._plan(name, max(soon_s, record.ended_s + record.wait_s))

    # -- inside -----------------------------------------------------------------------------------

    def _chosen(self, before: tuple[str, ...], found: list[str]) -> tuple[str, ...]:
        """Of the addresses ``found`` those to use: what was used stays, the rest by lot and in an order drawn by lot.

        In a resolver's own order all nodes would dial the same few first.
        """
        kept = [address for address in before if address in found]
        fresh = [address for address in found if address not in kept]
        return (*kept, *self._environment.rng.sample(fresh, min(len(fresh), self._share - len(kept))))

    def _ended(self, name: str) -> None:
        record = self._names[name]
        record.is_under_way = False
        now_s = record.ended_s = self._environment.now.monotonic_s
        record.fruitless = 0 if self._is_linked() else record.fruitless + 1
        wait_s = record.wait_s if record.fruitless else REFRESH_S
        self._plan(name, now_s + self._environment.jittered(wait_s))

    def _plan(self, name: str, at_s: float) -> None:
        """Resolve ``name`` at ``at_s``, unless that is to happen earlier."""
        record = self._names[name]
        if not record.is_under_way and not self._stopping and at_s < record.due_s:
            record.due_s = at_s
            self._environment.call_at(at_s, partial(self._due, name, at_s))

    def _due(self, name: str, at_s: float) -> None:
        record = self._names[name]
        if record.due_s != at_s or self._stopping:
            return  # one was brought forward, and has planned anew
        record.due_s = float("inf")
        if self._is_linked() and at_s - record.ended_s < REFRESH_S / 2:  # planned when there was no link
            self._plan(name, record.ended_s + self._environment.jittered(REFRESH_S))
        else:
            self._resolve(name)

    def _resolve(self, name: str) -> None:
        self._names[name].is_under_way = True
        self._environment.output(Resolve(name))
