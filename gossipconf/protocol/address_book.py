"""The address book: where nodes were last reached, and when to try each again.

It never gives an address up while there is room: a partition may last ten days.
Retries back off to a cap and go on for ever. A full book spreads over the zones: for a
zone with less than its share one makes room that is only heard of in the fullest. Pure
data; the overlay dials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from ..model.limits import ADDRESS_BOOK_MAX
from .tuning import LAN
from .zone import ZoneTag

RETRY_FIRST_S: Final = 0.25
LOST_SHARE: Final = 0.75
"""Share of dials and probes that go where a node was met and is no more, or to seeds; the rest look elsewhere."""
SOURCES_MAX: Final = 4
"""Peers remembered as having told one address."""
HEARSAY_RETRY_CAP_S: Final = 60.0
"""Addresses at which nobody was ever met are tried for ever too, but a thousand invented ones must cost little."""


@dataclass(slots=True)
class _Address:
    """What is known of one address.

    ``node_id`` is whose it is, empty if unknown; ``verified``: a dial has found that node there.
    ``zone`` is the tag of its zone, 0 if unknown. ``sources`` are peers that have told it, the first of them.
    """

    is_seed: bool
    zone: ZoneTag = 0
    node_id: str = ""
    verified: bool = False
    failures: int = 0
    next_try_s: float = float("-inf")
    sources: tuple[str, ...] = ()


class AddressBook:
    """Addresses of other nodes: seeds, saved ones, those told by peers."""

    def __init__(
        self, seeds: Iterable[str], saved: Iterable[tuple[str, ZoneTag]] = (), *, retry_cap_s: float = LAN.retry_cap_s
    ) -> None:
        self._retry_cap_s = retry_cap_s
        self._addresses: dict[str, _Address] = {}
        self._zones: dict[ZoneTag, int] = {}
        for address, zone in saved:
            self._add(address, _Address(is_seed=False, zone=zone))
        for address in seeds:
            if address not in self._addresses:
                self._add(address, _Address(is_seed=True))
            self._addresses[address].is_seed = True

    def __len__(self) -> int:
        return len(self._addresses)

    def __contains__(self, address: str) -> bool:
        return address in self._addresses

    def zone(self, address: str) -> ZoneTag:
        """The tag of an address's zone; 0 if that, or the address, is unknown."""
        record = self._addresses.get(address)
        return record.zone if record else 0

    def count_in(self, zone: ZoneTag) -> int:
        """How many addresses are in ``zone``."""
        return self._zones.get(zone, 0)

    @property
    def misses_somebody(self) -> bool:
        """Whether an address fails at which somebody is said to be, or that is a seed."""
        return any(record.failures and (record.node_id or record.is_seed) for record in self._addresses.values())

    def knows_other_than(self, zone: ZoneTag) -> bool:
        """Whether an address is known to be in another zone than ``zone``."""
        return any(other not in (0, zone) for other in self._zones)

    def learn(self, address: str, rng: Random, zone: ZoneTag = 0, source: str = "") -> None:
        """Take in an address, or of a known one its zone. A full book forgets a random one for it, never a seed:

        one that fails, if possible where no node was met; so whoever floods a book cannot drive out the other
        side of a partition: only if nodes were met at all addresses does one of these that fail now make room.
        Failing that, one only heard of in the zone with the most, if ``zone`` has less than its share. A liar can
        invent zones too, so nobody who was met makes room for one.
        """
        record = self._addresses.get(address)
        if record is not None:
            if zone and not record.verified:
                self._move(record, zone)
            if source and source not in record.sources and len(record.sources) < SOURCES_MAX:
                record.sources += (source,)
            return
        if not address:
            return
        if len(self._addresses) >= ADDRESS_BOOK_MAX:
            victim = self._victim(rng, zone)
            if victim is None:
                return
            self._remove(victim)
        self._add(address, _Address(is_seed=False, zone=zone, sources=(source,) if source else ()))

    def _victim(self, rng: Random, zone: ZoneTag) -> str | None:
        failing = [
            (known, record.node_id)
            for known, record in self._addresses.items()
            if not record.is_seed and record.failures
        ]
        candidates = [known for known, node_id in failing if not node_id]
        if not candidates and all(record.node_id or record.is_seed for record in self._addresses.values()):
            candidates = [known for known, _ in failing]
        if not candidates and zone and self.count_in(zone) < ADDRESS_BOOK_MAX // (len(self._zones) + 1):
            fullest = max(self._zones, key=lambda one: (self._zones[one], one))
            candidates = [
                known
                for known, record in self._addresses.items()
                if record.zone == fullest and not record.is_seed and not record.node_id
            ]
        return rng.choice(candidates) if candidates else None

    def _add(self, address: str, record: _Address) -> None:
        self._addresses[address] = record
        self._zones[record.zone] = self._zones.get(record.zone, 0) + 1

    def _remove(self, address: str) -> None:
        self._leave(self._addresses.pop(address).zone)

    def _leave(self, zone: ZoneTag) -> None:
        self._zones[zone] -= 1
        if not self._zones[zone]:
            del self._zones[zone]

    def _move(self, record: _Address, zone: ZoneTag) -> None:
        if record.zone != zone:
            self._leave(record.zone)
            record.zone = zone
            self._zones[zone] = self._zones.get(zone, 0) + 1

    def set_seeds(self, addresses: Iterable[str]) -> None:
        """These and only these are seeds now; what was one stays as an ordinary address, while there is room."""
        seeds = dict.fromkeys(addresses)
        for address, record in self._addresses.items():
            record.is_seed = address in seeds
        for address in seeds:
            if address not in self._addresses:
                self._add(address, _Address(is_seed=True))
        ordinary = [known for known, record in self._addresses.items() if not record.is_seed]
        ordinary.sort(key=lambda known: (bool(self._addresses[known].node_id), not self._addresses[known].failures))
        for known in ordinary[: max(0, len(self._addresses) - ADDRESS_BOOK_MAX)]:
            self._remove(known)  # where nobody was met first, and what fails before what does not

    def seeds(self) -> list[str]:
        """The addresses that are seeds now."""
        return [address for address, record in self._addresses.items() if record.is_seed]

    def met(self, address: str, node_id: str, rng: Random, zone: ZoneTag = 0) -> None:
        """``address`` was dialled and ``node_id`` was there. Where that node was met before it is no more."""
        self.learn(address, rng, zone)
        for known, record in list(self._addresses.items()):
            if record.node_id == node_id and known != address:
                if record.verified and not record.is_seed:
                    self._remove(known)
                else:
                    record.node_id, record.verified = "", False
        if address in self._addresses:
            met = self._addresses[address]
            met.node_id, met.verified = node_id, True
            if zone:
                self._move(met, zone)
            met.failures = 0
            met.next_try_s = float("-inf")

    def claimed(self, address: str, node_id: str, rng: Random, zone: ZoneTag = 0) -> None:
        """``node_id`` says that it can be dialled at ``address``.

        A claim proves nothing: it never takes an address from another node, it replaces
        only this node's last claim, and a dial decides.
        """
        self.learn(address, rng, zone)
        claim = self._addresses.get(address)
        if claim is None or claim.node_id or claim.is_seed:
            return
        for record in self._addresses.values():
            if record.node_id == node_id and not record.verified:
                record.node_id = ""
        claim.node_id = node_id

    def place(self, node_id: str, zone: ZoneTag) -> None:
        """A node has told the tag of its zone itself."""
        for record in self._addresses.values():
            if record.node_id == node_id:
                self._move(record, zone)

    def failed(self, address: str, now_s: float, rng: Random) -> None:
        """``address`` could not be reached: double the wait, up to the cap, with jitter."""
        record = self._addresses.get(address)
        if record is not None:
            cap_s = self._retry_cap_s if record.node_id or record.is_seed else HEARSAY_RETRY_CAP_S
            wait_s = min(cap_s, RETRY_FIRST_S * 2 ** min(record.failures, 16))
            record.failures += 1
            record.next_try_s = now_s + wait_s * (0.5 + 0.5 * rng.random())

    def rest(self, address: str, node_id: str, until_s: float) -> None:
        """Do not dial ``address``, where ``node_id`` was met, before ``until_s``: that node wants no link now."""
        record = self._addresses.get(address)
        if record is not None and record.verified and record.node_id == node_id:
            record.next_try_s = until_s

    def forget(self, address: str) -> None:
        """Remove an address that turned out to be this node's own."""
        if address in self._addresses:
            self._remove(address)

    def due(self, now_s: float, busy_addresses: Collection[str], busy_nodes: Collection[str]) -> list[str]:
        """Addresses worth dialling now: not busy, not resting; those where a node was met first, seeds last."""
        found = [
            (record.is_seed and not record.node_id, record.failures, position, address)
            for position, (address, record) in enumerate(self._addresses.items())
            if record.next_try_s <= now_s and address not in busy_addresses and record.node_id not in busy_nodes
        ]
        return [address for *_, address in sorted(found)]

    def next_try_s(self, now_s: float, busy_addresses: Collection[str], busy_nodes: Collection[str]) -> float:
        """When the next address that rests now and is not busy becomes worth dialling; infinity if there is none."""
        waits = (
            record.next_try_s
            for address, record in self._addresses.items()
            if record.next_try_s > now_s and address not in busy_addresses and record.node_id not in busy_nodes
        )
        return min(waits, default=float("inf"))

    def choose(self, due: Sequence[str], count: int, rng: Random, busy: Iterable[str] = ()) -> list[str]:
        """Up to ``count`` of the addresses ``due``, in the order in which to dial them; ``busy`` were dialled before.

        No source fills a view: of addresses that are alike the first is one told by a peer that has told the fewest of
        those that are dialled. So whoever tells more than all others together gets no more of the links than they.

        Where some were lost they get most of the turns. In order of failures alone they would never
        get one while a peer goes on to invent addresses, and a partition would stay.
        """
        lost = [address for address in due if self._is_lost(address)]
        others = self._shuffled([address for address in due if not self._is_lost(address)], rng)
        told = Counter(source for address in busy for source in self._sources(address)[:1])
        chosen: list[str] = []
        while len(chosen) < count and (lost or others):
            if lost and (not others or rng.random() < LOST_SHARE):
                chosen.append(lost.pop(0))
                continue
            at, source = self._least_told(others, told)
            told[source] += 1
            chosen.append(others.pop(at))
        return chosen

    def _sources(self, address: str) -> tuple[str, ...]:
        record = self._addresses.get(address)
        return record.sources if record else ()

    def _least_told(self, addresses: Sequence[str], told: Counter[str]) -> tuple[int, str]:
        """Of the first of ``addresses`` and its likes, which to dial, and whom that is owed to."""
        record = self._addresses[addresses[0]]
        best = 0, min(self._sources(addresses[0]), key=lambda one: told[one], default="")
        for at, address in enumerate(addresses):
            if not told[best[1]] or self._rank(self._addresses[address]) != self._rank(record):
                break
            source = min(self._sources(address), key=lambda one: told[one], default="")
            if told[source] < told[best[1]]:
                best = at, source
        return best

    def _shuffled(self, due: Sequence[str], rng: Random) -> list[str]:
        """``due`` in its order of failures, and in random order where these are equal: nodes that start together do
        not all dial the same few."""

        return sorted(rng.sample(due, len(due)), key=lambda address: self._rank(self._addresses[address]))

    @staticmethod
    def _rank(record: _Address) -> tuple[bool, int]:
        """What to dial first: seeds come last, and what has failed before after what has not."""
        return record.is_seed and not record.node_id, record.failures

    def _is_lost(self, address: str) -> bool:
        """Whether somebody vouches for ``address``, and it fails: a node was met there, or it is a seed."""
        record = self._addresses[address]
        return record.failures > 0 and (record.verified or record.is_seed)

    def probe(self, due: Sequence[str], rng: Random) -> str:
        """Of the addresses ``due``, one to look behind: mostly one that was lost, the other side of a partition."""
        lost = [address for address in due if self._is_lost(address)]
        return rng.choice(lost if lost and rng.random() < LOST_SHARE else due)

    def sample(self, count: int, rng: Random, zone: ZoneTag = 0) -> list[str]:
        """Up to ``count`` random addresses at which a node was met; or of those in ``zone``, met or only heard of."""
        good = [
            address
            for address, record in self._addresses.items()
            if not record.failures and (record.zone == zone if zone else record.node_id)
        ]
        return rng.sample(good, min(count, len(good)))

    def saved(self) -> list[tuple[str, ZoneTag]]:
        """What to keep over a restart: addresses at which a node was met, and their zones."""
        return [(address, record.zone) for address, record in self._addresses.items() if record.node_id]
