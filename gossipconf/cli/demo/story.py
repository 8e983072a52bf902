"""The story: the acts of the demo, and the check behind every sentence that it says.

Knows what is to be seen and when it counts as seen. Knows nothing of processes
(`fleet`), of the network (`relay`) or of how it looks (`screen`). What the agents
say is believed for timing only; values are read verified, and compared with what
was published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

import trio

from ..files.value import TypedValue
from ..item import Item
from ..output import count
from . import shop
from .fleet import Fleet, Sights
from .relay import Place, Relay
from .report import Act, Report, require
from .stranger import is_turned_away

WEST: Final = ("a", "b", "c")
EAST: Final = ("d", "e")
NODES: Final = WEST + EAST
ZONES: Final = {node: "west" if node in WEST else "east" for node in NODES}

Values = Mapping[str, TypedValue]


class Audience(Protocol):
    """Whoever is told the story."""

    keys: int
    """How many keys an agent should come to hold: what the bars are drawn against."""
    full_ms: dict[str, int]
    """When each agent held them all, counted from the start of the publish."""

    def act(self, title: str) -> None:
        """A new act begins."""

    def say(self, text: str) -> None:
        """What is done now."""

    def saw(self, text: str) -> None:
        """What has been checked just now."""

    async def repeat_slowly(self) -> None:
        """All agents hold all keys: show again how they came to."""

    async def breathe(self) -> None:
        """An act is over: time to read."""


class Story:
    """One performance. `published` is what is put into the cluster, `expected` what every reader must then see."""

    def __init__(
        self,
        fleet: Fleet,
        relay: Relay,
        places: Collection[Place],
        audience: Audience,
        published: Values,
        expected: Values,
    ) -> None:
        self.acts: list[Act] = []
        self._fleet = fleet
        self._relay = relay
        self._places = places
        self._audience = audience
        self._published = published
        self._expected: Values = dict(expected)
        self._west: Values = {}
        self._east: Values = {}
        self._merged: Values = {}
        self._served: set[str] = set()
        self._published_by: dict[str, bool] = {"majority": False, "minority": False}
        self._restarted: set[str] = set()

    async def perform(self) -> Report:
        """All acts, in order. Raises ClaimFailed, or another GossipconfError from an agent's answer."""
        begin_s = trio.current_time()
        start_ms = await self._start()
        acknowledged_ms, spread_ms = await self._spread()
        await self._cut()
        await self._publish_on_both_sides()
        restart_ms = await self._restart_alone()
        boot_ms = await self._boot_from_neighbour()
        heal_ms, conflicts = await self._heal()
        settle_ms = await self._settle()
        roots = {sight.root for sight in self._fleet.sights.values() if sight}
        left = {sight.conflicts for sight in self._fleet.sights.values() if sight}
        require(len(roots) == 1 and left == {0}, "at the end all fingerprints are equal and no conflict is left")
        return Report(
            agents=len(NODES),
            keys=len(self._published),
            start_ms=start_ms,
            first_acknowledged_ms=acknowledged_ms,
            first_spread_ms=spread_ms,
            served_in_partition=self._served == set(NODES),
            published_in_partition=self._published_by,
            restarted_in_partition=self._restarted == {"e"},
            restart_ms=restart_ms,
            empty_disk_boot_ms=boot_ms,
            heal_to_converged_ms=heal_ms,
            conflicts=len(conflicts),
            conflict_keys=conflicts,
            settle_ms=settle_ms,
            conflicts_at_end=max(left),
            fingerprints_equal=len(roots) == 1,
            fingerprint=roots.pop().hex(),
            total_ms=_ms(trio.current_time() - begin_s),
        )

    # -- the acts ---------------------------------------------------------------------------------

    async def _start(self) -> int:
        audience, fleet = self._audience, self._fleet
        audience.act("Five agents start")
        audience.say("Five processes, each with a disk, an address and a certificate of its own. No server.")
        begin_s = trio.current_time()
        for node in NODES:
            await fleet.start(node)
        at_s = await fleet.until("every agent is linked to the other four", lambda sights: _linked(sights, NODES))
        require(len(set(fleet.pids().values())) == len(NODES), "the agents are separate processes")
        took_ms = _ms(at_s - begin_s)
        audience.saw(f"all linked to each other after {_time(took_ms)}")
        for place in self._places:
            away = await trio.to_thread.run_sync(is_turned_away, place.host, place.port, abandon_on_cancel=True)
            require(away, f"agent {place.node} asks a caller for a certificate, over TLS 1.3")
        audience.saw("each of them turns away a caller without a certificate (TLS 1.3)")
        await self._end("five agents started", "all linked, mutual TLS", took_ms)
        return took_ms

    async def _spread(self) -> tuple[int, int]:
        audience, fleet, total = self._audience, self._fleet, len(self._published)
        audience.act("The configuration of a shop is published, at agent a")
        audience.say(
            f"{count(total, 'key')} of six services, from YAML, TOML, JSON and .properties files, "
            "signed by the admin's key as one change."
        )
        audience.keys = total
        begin_s = trio.current_time()

        def note_who_is_full(sights: Sights) -> bool:
            for node, sight in sights.items():
                if sight and sight.keys == total and node not in audience.full_ms:
                    audience.full_ms[node] = _ms(sight.at_s - begin_s)
            return len(audience.full_ms) == len(NODES) and _equal(sights, NODES)

        acknowledged: list[float] = []

        async def publish() -> None:
            acknowledged.append(await fleet.publish("a", self._published, "the shop, as it is in the repository"))

        with fleet.closely():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                at_s = await fleet.until(
                    f"all readers see {total} keys, and all fingerprints are equal", note_who_is_full
                )
        for node in NODES:
            await self._check_reads(node, self._expected)
        acknowledged_ms, spread_ms = _ms(acknowledged[0] - begin_s), _ms(at_s - begin_s)
        audience.saw(
            f"on a's disk after {_time(acknowledged_ms)}, at the last agent's readers after {_time(spread_ms)}"
        )
        await audience.repeat_slowly()
        audience.saw("all values are right at all five, every signature verified, fingerprints equal")
        await self._end("configuration published at a", f"{total} keys read at all five", spread_ms)
        audience.full_ms.clear()
        return acknowledged_ms, spread_ms

    async def _cut(self) -> None:
        audience, fleet = self._audience, self._fleet
        audience.act("The network breaks: a b c on one side, d e on the other")
        audience.say("Nobody tells the agents. There is no leader to lose and no quorum to wait for.")
        begin_s = trio.current_time()
        self._relay.cut(WEST, EAST)
        at_s = await fleet.until("no link crosses the cut", _apart)
        served = [node for node in NODES if await self._check_reads(node, self._expected)]
        require(self._relay.crossing() == 0 and _apart(fleet.sights), "the cut still holds")
        self._served = set(served)
        audience.saw(f"all five go on serving: each returned all {len(self._expected)} keys, with the right values")
        await self._end("network cut into 3 + 2", "all five serve every key", _ms(at_s - begin_s))

    async def _publish_on_both_sides(self) -> None:
        audience, fleet = self._audience, self._fleet
        audience.act("Both sides publish")
        audience.say(
            "West throws a kill switch at a, east halves a rate limit at d. "
            f"And both, not knowing of each other, change {shop.SHARED_KEY}."
        )
        west = {**self._expected, shop.WEST_KEY: shop.WEST_VALUE, shop.SHARED_KEY: shop.SHARED_WEST}
        east = {**self._expected, shop.EAST_KEY: shop.EAST_VALUE, shop.SHARED_KEY: shop.SHARED_EAST}
        west_ms = await self._publish_at("a", WEST, west)
        east_ms = await self._publish_at("d", EAST, east)
        for name, side, wanted in (("majority", WEST, west), ("minority", EAST, east)):
            for node in side:  # its own side's changes are there, and the other side's are not
                await self._check_reads(node, wanted)
            self._published_by[name] = True
        require(_root(fleet.sights, "a") != _root(fleet.sights, "d"), "the two sides hold different states")
        require(self._relay.crossing() == 0 and _apart(fleet.sights), "the cut still holds")
        self._west, self._east = west, east
        audience.saw(f"west: on disk at a and seen by a b c after {_time(west_ms)}, by none of d e")
        audience.saw(f"east: on disk at d and seen by d e after {_time(east_ms)}, by none of a b c")
        await self._end("published on both sides", "each side sees its own", max(west_ms, east_ms))

    async def _publish_at(self, publisher: str, side: Collection[str], wanted: Values) -> int:
        """Publish at `publisher` what makes `wanted` of what all know; how long until all of `side` show it."""
        fleet = self._fleet
        changes = {key: value for key, value in wanted.items() if value != self._expected[key]}
        before = fleet.sights[publisher]
        begin_s = trio.current_time()
        with fleet.closely():
            await fleet.publish(publisher, changes, f"published at {publisher} while the network was cut")
            at_s = await fleet.until(
                f"what was published at {publisher} is at every agent of its side",
                lambda sights: _equal(sights, side) and _shown(sights, side) not in {None, before and before.shown},
            )
        return _ms(at_s - begin_s)

    async def _restart_alone(self) -> int:
        audience, fleet = self._audience, self._fleet
        audience.act("kill -9 for d and e; e starts again, alone")
        audience.say("The whole east side is gone. e has nothing but its disk: d is dead, a b c are behind the cut.")
        for node in EAST:
            await fleet.kill(node)
        begin_s = await fleet.start("e")
        at_s = await fleet.until("e answers again", lambda sights: sights["e"] is not None)
        await self._check_reads("e", self._east)
        sight = fleet.sights["e"]
        require(sight is not None and sight.peers == () and self._relay.is_cut, "e has no link to anybody")
        self._restarted.add("e")
        took_ms = _ms(at_s - begin_s)
        audience.saw(
            f"e serves all {len(self._east)} keys {_time(took_ms)} after its start, linked to nobody, "
            "and among them what was published during the cut"
        )
        await self._end("kill -9, restart without a peer", f"{len(self._east)} keys from its own disk", took_ms)
        return took_ms

    async def _boot_from_neighbour(self) -> int:
        audience, fleet = self._audience, self._fleet
        audience.act("d has lost its disk, and starts with an empty one")
        audience.say("Only e is in reach.")
        fleet.wipe("d")
        begin_s = await fleet.start("d")
        at_s = await fleet.until(
            "d's readers see what e's do, and the fingerprints are equal",
            lambda sights: _equal(sights, EAST) and _keys(sights, EAST) == {len(self._east)},
        )
        await self._check_reads("d", self._east)
        require(_apart(fleet.sights), "d was linked to nobody but e")
        took_ms = _ms(at_s - begin_s)
        audience.saw(f"d holds the same as e {_time(took_ms)} after its start, every signature verified")
        await self._end("empty disk, boot from neighbour", f"{len(self._east)} keys, fingerprint as e's", took_ms)
        return took_ms

    async def _heal(self) -> tuple[int, list[str]]:
        audience, fleet = self._audience, self._fleet
        audience.act("The network is whole again")
        audience.say("Again nobody tells the agents; they have never stopped trying.")
        require(_equal(fleet.sights, WEST) and _equal(fleet.sights, EAST), "each side is of one state")
        require(_root(fleet.sights, "a") != _root(fleet.sights, "d"), "the two sides differ before the heal")
        begin_s = trio.current_time()
        self._relay.heal()
        at_s = await fleet.until(
            "all five fingerprints are equal, and all readers see a conflict",
            lambda sights: _equal(sights, NODES) and len(_shown(sights, NODES) or ()) == 2,
        )
        merged = {**self._west, shop.EAST_KEY: shop.EAST_VALUE}
        del merged[shop.SHARED_KEY]
        winners = set()
        for node in NODES:
            items = await self._check_reads(node, merged, besides={shop.SHARED_KEY})
            siblings = items[shop.SHARED_KEY].versions
            values = {(version.entry.type, version.entry.value) for version in siblings}
            require(
                len(siblings) == 2 and values == {shop.SHARED_WEST, shop.SHARED_EAST},
                f"{node} shows both values of {shop.SHARED_KEY}",
            )
            conflicts = sorted(key for key, item in items.items() if item.is_conflict)
            require(conflicts == [shop.SHARED_KEY], f"{node} sees a conflict in {shop.SHARED_KEY} and nowhere else")
            winners.add(siblings[0].id)
        require(len(winners) == 1, "the same value wins at all five")
        self._merged = merged
        took_ms = _ms(at_s - begin_s)
        value = siblings[0].entry.value or b""
        audience.saw(f"fingerprints equal {_time(took_ms)} after the heal; what each side published is everywhere")
        audience.saw(
            f"all five show the conflict, {shop.SHARED_WEST[1].decode()} beside {shop.SHARED_EAST[1].decode()}, "
            f"and return {value.decode()}; nothing is lost"
        )
        await self._end("network healed", "equal, 1 conflict, shown by all", took_ms)
        return took_ms, conflicts

    async def _settle(self) -> int:
        audience, fleet = self._audience, self._fleet
        audience.act("The conflict is settled")
        audience.say(f"The teams agree on {shop.SHARED_SETTLED[1].decode()}; it is published at e, over both values.")
        begin_s = trio.current_time()
        with fleet.closely():
            await fleet.publish("e", {shop.SHARED_KEY: shop.SHARED_SETTLED}, "settled between west and east")
            at_s = await fleet.until(
                "no agent sees a conflict",
                lambda sights: _equal(sights, NODES) and len(_shown(sights, NODES) or ()) == 1,
            )
        for node in NODES:
            await self._check_reads(node, {**self._merged, shop.SHARED_KEY: shop.SHARED_SETTLED})
        took_ms = _ms(at_s - begin_s)
        audience.saw(f"after {_time(took_ms)} all five read {shop.SHARED_SETTLED[1].decode()}, and no conflict is left")
        await self._end("conflict settled by one publish", "none left at any of the five", took_ms)
        return took_ms

    # -- checks -----------------------------------------------------------------------------------

    async def _end(self, what: str, result: str, took_ms: int) -> None:
        self.acts.append(Act(what, result, took_ms))
        await self._audience.breathe()

    async def _check_reads(self, node: str, wanted: Values, besides: Collection[str] = ()) -> dict[str, Item]:
        """Read everything at an agent, verified, and compare; keys in `besides` may have any value."""
        items = await self._fleet.read(node)
        got = {
            key: (item.default.entry.type, item.default.entry.value)
            for key, item in items.items()
            if item.default is not None and key not in besides
        }
        wrong = sorted(key for key in got.keys() | wanted.keys() if got.get(key) != wanted.get(key))
        require(not wrong, f"{node} returns the right value of every key ({len(wrong)} wrong, such as {wrong[:1]})")
        return items


def _linked(sights: Sights, nodes: Collection[str]) -> bool:
    return all(sight is not None and set(sight.peers) == set(nodes) - {node} for node, sight in sights.items())


def _apart(sights: Sights) -> bool:
    """Whether no agent that answers has a link to the other side."""
    return all(ZONES[peer] == ZONES[node] for node, sight in sights.items() if sight for peer in sight.peers)


def _equal(sights: Sights, nodes: Collection[str]) -> bool:
    roots = {_root(sights, node) for node in nodes}
    return len(roots) == 1 and None not in roots


def _shown(sights: Sights, nodes: Collection[str]) -> tuple[bytes, ...] | None:
    """The signed versions of the contested key, if the readers at all of `nodes` see the same."""
    shown = {sight.shown if sight else None for sight in (sights[node] for node in nodes)}
    return shown.pop() if len(shown) == 1 else None


def _keys(sights: Sights, nodes: Collection[str]) -> set[int | None]:
    return {sight.keys if sight else None for sight in (sights[node] for node in nodes)}


def _root(sights: Sights, node: str) -> bytes | None:
    sight = sights[node]
    return None if sight is None else sight.root


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _time(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
