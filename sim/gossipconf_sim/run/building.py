"""Building: the world of a scenario as it is before its first moment. Hosts, disks and places; nothing runs yet."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import chain, combinations, pairwise
from random import Random
from typing import Final

from gossipconf.model.encoding import encode
from gossipconf.model.entry import put
from gossipconf.protocol.overlay import SAVED_ADDRESSES, SAVED_ZONE
from gossipconf.protocol.presence import SAVED_MEMBERS
from gossipconf.protocol.roster import SavedMembers
from gossipconf.protocol.tuning import Tuning
from gossipconf.protocol.views import SMALL_ZONE, wanted
from gossipconf.protocol.zone import tag_of
from gossipconf.trust.signing import Reservation, compose

from ..hostile.byzantine import hostile
from ..network.zones import pair_delays, place
from ..scenario.admins import ADMIN, cluster
from ..scenario.scenario import Scenario
from ..world.host import Disk
from ..world.world import MakeNode, World

BOOK_NEAR: Final = 100
"""Addresses in a host's own zone that it remembers from an earlier life,"""
BOOK_FAR: Final = 100
"""and anywhere."""
BOOK_NODES_MAX: Final = 20_000
"""Nodes of a world up to which they do: an address takes 200 bytes at each."""
PRELOAD_INCARNATION: Final = b"preload_"


def build(scenario: Scenario, seed: int, make_node: MakeNode) -> World:
    """Hosts that do not run yet."""
    width = len(str(scenario.nodes - 1))
    names = [f"n{number:0{width}d}" for number in range(scenario.nodes)]
    world = World(
        cluster(),
        seed,
        network=scenario.network,
        hosts=scenario.hosts,
        zone_delays_s=pair_delays(scenario.zones, scenario.network),
        make_node=make_node,
        keep_events=False,
    )
    rng = world.random("scenario")
    world.twin = rng.choice(names)
    hostilities = [
        one for one in scenario.hostile for _ in range(max(bool(one.share), round(one.share * scenario.nodes)))
    ][: scenario.nodes // 2]
    places = dict(zip(rng.sample(range(1, scenario.nodes), len(hostilities)), hostilities, strict=True))
    loaded = _preload(scenario, world)
    remembered = _earlier_life(scenario, names)
    zones = place(scenario.zones, scenario.nodes, rng)
    books = _earlier_books(scenario, zones, world)
    for number, (name, zone) in enumerate(zip(names, zones, strict=True)):
        adversary = None
        if number in places:
            adversary = hostile(places[number], world.random("hostile", name))
        disk = Disk(meta=remembered | books(number))
        if number < scenario.seeds or scenario.preload.on == "all":
            disk.changes |= loaded
        host = world.add(name, zone=zone, disk=disk, adversary=adversary, start=False)
        if number < scenario.seeds:
            host.admitted_s = array("d")
    return world


def _preload(scenario: Scenario, world: World) -> dict[bytes, bytes]:
    """One change and the policy that it names, as journal rows."""
    options = scenario.preload
    if not options.keys:
        return {}
    rng = world.random("preload")
    entries = [
        put(f"preloaded/{number}", rng.randbytes((options.value_bytes + 1) // 2).hex()[: options.value_bytes].encode())
        for number in range(options.keys)
    ]
    chain = world.cluster.chain(world.verify)
    reservation = Reservation(PRELOAD_INCARNATION, 1)
    change = compose(entries, [], chain=chain, signer=ADMIN, reservation=reservation, now_ms=world.clock_ms())
    return {one.id: one.encode() for one in (*world.cluster.policies, change)}


def _earlier_life(scenario: Scenario, names: list[str]) -> dict[str, bytes]:
    """What else is on a disk after an earlier life in a crowd: that there are too many for a roster.

    Without it each of thousands of nodes would count the same crowd again, at once.
    """
    if scenario.start != "joined" or len(names) <= scenario.hosts.tuning().roster_members:
        return {}
    return {SAVED_MEMBERS: SavedMembers(crowded=True).encode()}


def _earlier_books(scenario: Scenario, zones: list[str], world: World) -> Callable[[int], dict[str, bytes]]:
    """What each host remembers of the others' addresses from an earlier life.

    Without it all would have to find out at once who is near, and who is left after a crash of most.
    """
    if scenario.start != "joined" or not 1 < len(zones) <= BOOK_NODES_MAX:
        return lambda number: {}
    rng = world.random("books")
    members: dict[str, list[int]] = {}
    for host, zone in enumerate(zones):
        members.setdefault(zone, []).append(host)
    width = len(str(scenario.nodes - 1))

    def book(number: int) -> dict[str, bytes]:
        own = members[zones[number]]
        known = {*rng.sample(own, min(len(own), BOOK_NEAR)), *rng.sample(range(len(zones)), min(len(zones), BOOK_FAR))}
        saved = [(f"n{one:0{width}d}:1", tag_of(zones[one])) for one in sorted(known - {number})]
        return {SAVED_ADDRESSES: encode(saved), SAVED_ZONE: encode(tag_of(zones[number]))}

    return book


def earlier_links(zones: list[str], tuning: Tuning, rng: Random) -> Iterator[tuple[int, int]]:
    """The links of hosts in these zones as overlays of an earlier life would have left them, each pair once.

    Inside each zone, and across zones, random regular graphs.
    """
    members: dict[str, list[int]] = {}
    for host, zone in enumerate(zones):
        members.setdefault(zone, []).append(host)
    seen: set[tuple[int, int]] = set()
    candidates: list[Iterator[tuple[int, int]]] = [
        random_regular(hosts, wanted(len(hosts), knows_others=len(members) > 1, tuning=tuning).near, rng)
        for hosts in members.values()
    ]
    if len(members) > 1:
        everywhere = random_regular(list(range(len(zones))), tuning.far_links, rng)
        candidates.append((one, other) for one, other in everywhere if zones[one] != zones[other])
        candidates.append(_few_far(members, zones, tuning.far_links, rng))
    for one, other in chain.from_iterable(candidates):
        pair = (min(one, other), max(one, other))
        if pair not in seen:
            seen.add(pair)
            yield one, other


def _few_far(members: dict[str, list[int]], zones: list[str], more: int, rng: Random) -> Iterator[tuple[int, int]]:
    """More far links for the hosts of small zones."""
    for hosts in members.values():
        for one in hosts if len(hosts) < SMALL_ZONE else ():
            for other in rng.sample(range(len(zones)), min(len(zones), more)):
                if zones[other] != zones[one]:
                    yield one, other


def random_regular(hosts: list[int], degree: int, rng: Random) -> Iterator[tuple[int, int]]:
    """The links of a random regular graph: all where they are few, else random Hamiltonian cycles, so it is connected.

    J. H. Kim and N. C. Wormald, "Random matchings which induce Hamilton cycles" (2001): what holds of random
    regular graphs with high probability holds of such unions.
    """
    if len(hosts) <= degree + 1:
        yield from combinations(hosts, 2)
        return
    for _ in range(degree // 2):
        order = rng.sample(hosts, len(hosts))
        yield from pairwise([*order, order[0]])
