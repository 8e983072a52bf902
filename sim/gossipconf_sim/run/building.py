"""Building: the world of a scenario as it is before its first moment. Hosts, disks and places; nothing runs yet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Final

from gossipconf.model.entry import put
from gossipconf.protocol.overlay import ACTIVE_TARGET
from gossipconf.protocol.presence import SAVED_MEMBERS
from gossipconf.protocol.roster import MEMBERS_MAX, SavedMembers
from gossipconf.trust.signing import Reservation, compose

from ..hostile.byzantine import hostile
from ..network.zones import pair_delays, place
from ..scenario.admins import ADMIN, cluster
from ..scenario.scenario import Scenario
from ..world.host import Disk
from ..world.world import MakeNode, World

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
    for number, (name, zone) in enumerate(zip(names, place(scenario.zones, scenario.nodes, rng), strict=True)):
        adversary = None
        if number in places:
            adversary = hostile(places[number], world.random("hostile", name))
        disk = Disk(meta=dict(remembered))
        if number < scenario.seeds or scenario.preload.on == "all":
            disk.changes |= loaded
        world.add(name, zone=zone, disk=disk, adversary=adversary, start=False)
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
    if scenario.start != "joined" or len(names) <= MEMBERS_MAX:
        return {}
    return {SAVED_MEMBERS: SavedMembers(crowded=True).encode()}


def random_regular(nodes: int, world: World) -> Iterator[tuple[int, int]]:
    """The links of a random regular graph: all where they are few, else random Hamiltonian cycles, so it is connected.

    J. H. Kim and N. C. Wormald, "Random matchings which induce Hamilton cycles" (2001): what holds of random
    regular graphs with high probability holds of such unions.
    """
    if nodes <= ACTIVE_TARGET + 1:
        yield from combinations(range(nodes), 2)
        return
    rng = world.random("links")
    seen = set()
    for _ in range(ACTIVE_TARGET // 2):
        order = list(range(nodes))
        rng.shuffle(order)
        for one, other in pairwise([*order, order[0]]):
            pair = (min(one, other), max(one, other))
            if pair not in seen:
                seen.add(pair)
                yield one, other
