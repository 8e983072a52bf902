"""Hostile peers: what each says and leaves unsaid, message by message; and that honest nodes come through."""

from __future__ import annotations

import dataclasses
from collections import Counter
from math import sqrt
from typing import Any

import pytest

from gossipconf.model.entry import put
from gossipconf.model.limits import SEQ_MAX
from gossipconf.protocol.environment import Send
from gossipconf.protocol.events import ChangeRejected, PeerDown
from gossipconf.protocol.frontier import START_BYTES
from gossipconf.protocol.messages import (
    Addresses,
    Ask,
    Batch,
    Check,
    Checked,
    Hello,
    Hinted,
    Hints,
    Message,
    Ping,
    Push,
    Root,
    Roster,
    Told,
    Walk,
    Walked,
    Want,
    WantPolicies,
    decode_message,
    encode_message,
)
from gossipconf.store.hash_tree import NODE_HASH_BYTES
from gossipconf_sim.hostile.byzantine import (
    REPLAYED_MAX,
    Delay,
    Hostility,
    Lie,
    Replay,
    Slander,
    Stale,
    Subset,
    Suppress,
    Withhold,
    hostile,
)
from gossipconf_sim.hostile.flood import KINDS, Flood
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.run.meter import Meter
from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.admins import ADMIN, cluster
from gossipconf_sim.scenario.scenario import from_values
from gossipconf_sim.world.adversary import Adversary
from gossipconf_sim.world.stage import Stage
from gossipconf_sim.world.world import World
from tests.protocol.wire import Tapped

BEHAVIOURS = dataclasses.fields(Hostility)[0].metadata["option"].choices
ROOT = bytes(NODE_HASH_BYTES)
WRITER = bytes(START_BYTES)


class Arena:
    """A world in which host ``m`` is hostile; what it says to whom is noted as it arrives."""

    def __init__(self, adversary: Adversary, *others: str, seed: int = 0) -> None:
        self.world = World(cluster(), seed)
        self.said: list[tuple[float, str, Message]] = []
        self.world.on_arrival = self.note
        names = ("m", *others)
        for name in names:
            self.world.add(
                name, [one for one in names if one != name][:3], adversary=adversary if name == "m" else None
            )
        self.world.run(3.0)
        self.stage = Stage(self.world, self.world.random("stage"))
        adversary.plan(self.stage, self.world.hosts["m"])

    def note(self, host: Any, wire: Any, data: bytes) -> None:
        message = decode_message(data)
        assert message is not None
        if wire.other(host).name == "m":
            self.said.append((self.world.now_s, host.name, message))

    def publish(self, name: str, key: str = "k", value: bytes = b"1") -> bytes:
        return self.world.publish(name, ADMIN, [put(key, value)])[1].id

    def heard(self, name: str, *kinds: type[Any]) -> list[Message]:
        """What ``m`` has said to a host, all or of some kinds."""
        return [message for _, one, message in self.said if one == name and isinstance(message, kinds or object)]


def sent(message: Message, link: int = 1) -> Send:
    return Send(link, message.CLASS, encode_message(message))


def instead(adversary: Adversary, message: Message) -> list[Message | None]:
    """What goes out instead of a message."""
    host = Arena(Adversary()).world.hosts["m"]
    return [decode_message(one.message) for _, one in adversary.sends(host, sent(message))]


# -- one by one -----------------------------------------------------------------------------------


def test_who_does_nothing_ill_is_like_anybody_else() -> None:
    arena = Arena(Adversary(), "a", "b")
    arena.publish("m")
    arena.world.run(1.0)
    assert arena.world.converged()
    assert len(arena.heard("a", Push)) == len(arena.heard("b", Push)) == 1
    assert arena.world.hosts["m"].running.root == arena.world.hosts["a"].running.root


def test_suppress_passes_on_no_change_and_all_else() -> None:
    arena = Arena(Suppress(), "a", "b")
    arena.publish("m")
    arena.publish("a")
    arena.world.crash("b")
    arena.world.start("b", empty_disk=True)
    arena.world.run(60.0)
    assert arena.heard("a", Push, Batch) == arena.heard("b", Push, Batch) == []
    kinds = {type(message) for message in arena.heard("b")}
    assert kinds >= {Hello, Ping, Root, Roster, Addresses}


def test_delay_passes_changes_on_late_and_all_else_at_once() -> None:
    arena = Arena(Delay(2.0), "a")
    arena.publish("m")
    arena.world.run(1.0)
    begin_s = arena.world.now_s
    assert arena.heard("a", Push) == []
    arena.world.run(2.0)
    ((at_s, _, _),) = [one for one in arena.said if isinstance(one[2], Push)]
    assert begin_s + 1.0 < at_s < begin_s + 1.01
    early = [message for at_s, _, message in arena.said if at_s < 1.0]
    assert {type(message) for message in early} >= {Hello, Root, Roster}


def test_a_subset_starves_the_same_victims_everywhere() -> None:
    names = [f"h{number}" for number in range(400)]
    victims = [name for name in names if Subset(0.3).is_victim(name)]
    assert victims == [name for name in names if Subset(0.3).is_victim(name)]
    assert abs(len(victims) - 120) < 5 * sqrt(400 * 0.3 * 0.7)
    assert not any(Subset(0.0).is_victim(name) for name in names)
    assert all(Subset(1.0).is_victim(name) for name in names)
    arena = Arena(Subset(0.5), *names[:8])
    starved = {name for name in names[:8] if Subset(0.5).is_victim(name)}
    assert 0 < len(starved) < 8
    for number in range(5):
        arena.publish("m", f"k{number}")
    arena.world.run(30.0)
    linked = {wire.other(arena.world.hosts["m"]).name for wire in arena.world.hosts["m"].links.values()}
    assert {name for name in linked if arena.heard(name, Push)} == linked - starved
    assert all(arena.heard(name, Push, Batch) == [] for name in starved)
    assert arena.world.converged()


def test_who_withholds_says_to_each_peer_what_that_peer_has_said() -> None:
    adversary = Withhold()
    arena = Arena(adversary, "a", "b")
    world = arena.world
    world.partition(["m", "a"], ["b"])
    world.run(1.0)
    arena.publish("m")
    arena.publish("b", "other")
    world.run(60.0)
    assert world.hosts["m"].running.root != world.hosts["a"].running.root
    since = len(arena.said)
    world.run(60.0)
    claims = [message for _, name, message in arena.said[since:] if name == "a" and isinstance(message, Root)]
    assert {claim.root for claim in claims} == {world.hosts["a"].running.root}
    assert arena.heard("a", Push, Batch) == []
    assert {message.lacks for message in arena.heard("a", Hinted)} <= {()}
    world.heal()
    world.run(60.0)
    assert world.converged()
    assert world.hosts["a"].reads["other", ""]
    assert ("k", "") not in world.hosts["a"].reads


def test_who_withholds_says_nothing_of_its_state_before_it_knows_the_peers() -> None:
    arena = Arena(Adversary(), "a")
    (link,) = arena.world.hosts["m"].links
    adversary, host = Withhold(), arena.world.hosts["m"]
    assert list(adversary.sends(host, sent(Root(ROOT, 1), link))) == []
    assert adversary.hears(host, host.links[link], encode_message(Root(b"r" * NODE_HASH_BYTES, 7)))
    ((_, root),) = adversary.sends(host, sent(Root(ROOT, 1), link))
    assert decode_message(root.message) == Root(b"r" * NODE_HASH_BYTES, 7)
    hinted = Hinted(5, ROOT, 1, ((0, 3),), True)
    ((_, answer),) = adversary.sends(host, sent(hinted, link))
    assert decode_message(answer.message) == Hinted(5, b"r" * NODE_HASH_BYTES, 7, (), False)
    assert list(adversary.sends(host, sent(Push(1, 0, 0, b"x"), link))) == []
    assert list(adversary.sends(host, sent(Ping(1), link))) == [(0.0, sent(Ping(1), link))]


def test_replay_adds_an_old_message_to_each() -> None:
    arena = Arena(Adversary(), "a", "b")
    host = arena.world.hosts["m"]
    wires = list(host.links.values())
    adversary = Replay(arena.world.random("replay"))
    assert list(adversary.sends(host, sent(Ping(1), wires[0].id))) == [(0.0, sent(Ping(1), wires[0].id))]
    assert adversary.hears(host, wires[0], encode_message(Push(3, 0, 0, b"heard")))
    adversary.hears(host, wires[0], encode_message(Hello(1, 1, 0, bytes(32), "a", bytes(8), "", "", "")))
    ((_, first), (_, again)) = adversary.sends(host, sent(Check(1), wires[1].id))
    assert (first, again) == (sent(Check(1), wires[1].id), sent(Push(3, 0, 0, b"heard"), wires[1].id))
    for number in range(3 * REPLAYED_MAX):
        list(adversary.sends(host, sent(Push(1, 0, 0, b"%d" % number), wires[0].id)))
    replayed = [list(adversary.sends(host, sent(Ping(1), wires[0].id)))[1][1].message for _ in range(2_000)]
    numbers = {int(push.change) for push in map(decode_message, replayed) if isinstance(push, Push)}
    assert numbers == set(range(2 * REPLAYED_MAX, 3 * REPLAYED_MAX))


def test_replayed_changes_reach_others_and_change_nothing() -> None:
    arena = Arena(Replay(World(cluster()).random("replay")), "a", "b")
    for number in range(10):
        arena.publish("m" if number % 2 == 0 else "a", "k", b"%d" % number)  # its own changes it pushes to everybody
        arena.world.run(1.0)
    arena.world.run(30.0)
    pushes = Counter(message.change for message in arena.heard("b", Push) if isinstance(message, Push))
    assert max(pushes.values()) > 1, "nobody honest sends one twice to the same"
    assert arena.world.hosts["b"].reads["k", ""][0].entry.value == b"9"
    assert list(violations(arena.world)) == []


def test_a_stale_host_learns_nothing_restarts_and_serves_what_it_had() -> None:
    adversary = Stale(10.0)
    world = World(cluster())
    for name in "mab":
        world.add(name, [one for one in "mab" if one != name], adversary=adversary if name == "m" else None)
    world.run(3.0)
    world.publish("a", ADMIN, [put("k", b"old")])
    world.run(3.0)
    host = world.hosts["m"]
    old_root, old_disk = host.running.root, dict(host.disk.changes)
    adversary.plan(Stage(world, world.random("stage")), host)
    world.publish("a", ADMIN, [put("k", b"new")])
    world.run(35.0)
    assert host.boot == 4
    assert host.running.root == old_root
    assert host.disk.changes == old_disk
    world.partition(["m", "b"], ["a"])
    world.crash("b")
    world.start("b", empty_disk=True)
    world.run(30.0)
    assert world.hosts["b"].running.root == old_root, "whoever has nothing gets what it had"
    world.heal()
    world.run(60.0)
    assert world.converged()
    assert world.hosts["b"].reads["k", ""][0].entry.value == b"new"
    assert list(violations(world)) == []


def test_a_lie_turns_each_claim() -> None:
    lie = Lie(World(cluster()).random("lie"))
    for claim in (Root(ROOT, 1), Checked(4, ROOT, 1)):
        (one,), (other,) = instead(lie, claim), instead(lie, claim)
        assert isinstance(one, Root | Checked)
        assert isinstance(other, Root | Checked)
        assert one.root != other.root
        assert dataclasses.replace(one, root=ROOT) == claim
    (hints,) = instead(lie, Hints(4, ROOT, 1, (WRITER, (3,)), True, 100))
    assert isinstance(hints, Hints)
    assert hints.frontier == (WRITER, (SEQ_MAX,))
    (hinted,) = instead(lie, Hinted(4, ROOT, 1, ((5, 3),), False))
    assert isinstance(hinted, Hinted)
    assert (hinted.lacks, hinted.more) == (((5, SEQ_MAX),), True)
    deepest = tuple([1] * 64)
    told = (Told((1, 2), 0, bytes(8)), Told(deepest, 0, bytes(4)))
    (walked,) = instead(lie, Walked(4, told))
    assert isinstance(walked, Walked)
    assert walked.nodes[0].levels == 1
    assert len(walked.nodes[0].data) == 16 * 4
    assert walked.nodes[0].data != bytes(16 * 4)
    assert walked.nodes[1] == told[1]
    assert instead(lie, Ping(1)) == [Ping(1)]
    assert instead(lie, Check(1)) == [Check(1)]


def test_slander_calls_all_others_gone() -> None:
    arena = Arena(Slander(), "a", "b")
    arena.world.run(30.0)
    rosters = [message for message in arena.heard("a", Roster) if isinstance(message, Roster)]
    presences = [one.presence for roster in rosters for one in roster.sightings]
    assert {presence.node_id for presence in presences} == {"m", "b"}
    assert {presence.node_id for presence in presences if not presence.stopped} == {"m"}
    arena.publish("b")
    arena.world.run(1.0)
    assert {link.node_id for link in arena.world.hosts["a"].running.links()} == {"m", "b"}, "presence decides nothing"
    assert arena.world.converged()


def test_a_flood_says_each_kind_in_turn_on_every_link_at_its_rate() -> None:
    arena = Arena(Flood(World(cluster()).random("flood"), 36.0), "a", "b")
    arena.publish("a")
    arena.world.run(1.0)
    since = len(arena.said)
    said_before = arena.world.hostile_messages
    arena.world.run(10.0)
    added = [message for _, name, message in arena.said[since:] if name == "a"]
    kinds = Counter(type(message) for message in added)
    flood = (Root, Check, Hints, Walk, Want, WantPolicies, Addresses, Roster, Push, Batch, Ping, Ask)
    assert len(KINDS) == len(flood) == 12
    assert all(kinds[kind] >= 30 for kind in flood)
    assert 360 <= len(added) < 1.8 * 360
    assert 720 <= arena.world.hostile_messages - said_before < 1.8 * 720


def test_a_flood_is_legal() -> None:
    arena = Arena(Flood(World(cluster()).random("flood"), 100.0), "a", "b", "c")
    for number in range(5):
        arena.publish("a", f"k{number}")
        arena.world.run(3.0)
    for name in "abc":
        events = [event for _, event in arena.world.hosts[name].events]
        assert not [event for event in events if isinstance(event, ChangeRejected)]
        assert {event.node_id for event in events if isinstance(event, PeerDown)} <= {"a", "b", "c", "m"}
        assert not [event for event in events if isinstance(event, PeerDown) and "replaced" not in event.reason]
    assert list(violations(arena.world)) == []


def test_a_flood_that_is_down_says_nothing() -> None:
    arena = Arena(Flood(World(cluster()).random("flood"), 100.0), "a")
    arena.world.crash("m")
    before = arena.world.hostile_messages
    arena.world.run(10.0)
    assert arena.world.hostile_messages == before


def test_each_behaviour_has_its_class() -> None:
    rng = World(cluster()).random("x")
    made = {name: type(hostile(Hostility(name), rng)).__name__ for name in BEHAVIOURS}
    assert made == {name: name.capitalize() for name in BEHAVIOURS}
    assert len(made) == 9


# -- what honest nodes make of it -----------------------------------------------------------------


def scenario(*hostilities: dict[str, Any], **tables: Any) -> Any:
    values = {
        "nodes": 20,
        "publish": {"changes": 20, "every_ms": 500.0, "keys": 6, "entries": 2, "deletes": 0.1},
        "measure": {"idle_s": 0.0, "check_every_s": 2.0},
        "hostile": list(hostilities),
    }
    return from_values("byzantine", values | tables)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_honest_nodes_come_through_although_a_third_of_their_peers_is_hostile(behaviour: str) -> None:
    nodes = 10 if behaviour == "slander" else 20  # it costs much: each record is told again and again
    run = simulate(scenario({"behaviour": behaviour, "share": 0.3}, nodes=nodes), seed=1)
    result = run.result
    assert sum(run.hostile) == 0.3 * nodes
    assert result.violations == []
    assert result.delivered_fraction == 1.0
    assert result.convergence_ms is not None
    assert result.convergence_ms < 10_000


def test_honest_nodes_come_through_all_of_them_and_a_partition() -> None:
    hostilities = [{"behaviour": behaviour, "share": 0.04} for behaviour in BEHAVIOURS]
    partition = {"kind": "partition", "at_s": 2.0, "for_s": 20.0}
    run = simulate(scenario(*hostilities, nodes=25, faults=[partition]), seed=2)
    assert sum(run.hostile) == len(BEHAVIOURS)
    assert run.result.violations == []
    assert run.result.delivered_fraction == 1.0
    assert run.result.convergence_ms is not None


# -- what is not counted --------------------------------------------------------------------------


def test_no_checker_judges_a_hostile_host() -> None:
    arena = Arena(Suppress(), "a", "b")
    world = arena.world
    arena.publish("m", "acknowledged")
    world.run(1.0)
    assert [name for name, _, _ in world.acknowledged] == ["m"]
    host = world.hosts["m"]
    world.run(30.0)
    assert world.converged()
    assert host.running.root != world.hosts["a"].running.root
    world.whole_since_s, world.heal_limit_s = world.now_s - 20.0, 10.0
    host.violations.append(("monotonic", "m has gone back"))
    host.running.replica.live.tree.add(bytes(32))
    host.disk.changes.clear()
    assert list(violations(world)) == []
    host.adversary = None
    assert {found.split(":")[0] for found in violations(world)} >= {"monotonic", "convergent", "durable"}


def test_a_hostile_hosts_fingerprint_is_not_waited_for() -> None:
    arena = Arena(Suppress(), "a", "b")
    arena.publish("m")
    arena.world.run(1.0)
    assert arena.world.converged()
    unequal_s = arena.world.unequal_s
    arena.publish("m")
    arena.world.run(1.0)
    assert arena.world.unequal_s == unequal_s


def test_a_meter_counts_no_delivery_to_a_hostile_host() -> None:
    arena = Arena(Adversary(), "a", "b", "c")
    meter = Meter(arena.world)
    token, change = arena.world.publish("a", ADMIN, [put("k", b"1")])
    meter.track(arena.world.hosts["a"], change, token)
    arena.world.run(5.0)
    (tracked,) = meter.acknowledged()
    assert tracked.deliveries == len(tracked.delays_s) == 2
    assert arena.world.hosts["m"].index not in tracked.receivers
    assert tracked.copies <= 2 * 3  # from each of the others, to each of the two
    assert meter.missing(tracked) == []
    seen_s = tracked.visible_s
    assert seen_s is not None
    arena.world.crash("m")
    arena.world.start("m")
    arena.world.run(5.0)
    assert tracked.visible_s == seen_s


def test_copies_are_those_that_honest_nodes_get() -> None:
    figures = {}
    for share in (0.0, 0.3):
        run = simulate(scenario({"behaviour": "delay", "share": share, "delay_s": 0.0}, nodes=10), seed=4)
        figures[share] = run.result.payload_copies_per_node
    assert figures[0.3] == pytest.approx(figures[0.0], rel=0.05)


def test_what_hostile_hosts_send_is_counted_apart() -> None:
    world = Tapped("a", "b", of=cluster())
    world.hosts["b"].adversary = Adversary()
    world.run(30.0)
    before = world.hostile_messages, world.hostile_bytes
    begin_s = world.now_s
    world.run(60.0)
    said = [one for one in world.since(begin_s) if one.sender == "b"]
    assert world.hostile_messages - before[0] == len(said) > 0
    assert world.hostile_bytes - before[1] == sum(one.bytes + 4 for one in said)


def test_faults_and_publishers_leave_hostile_hosts_alone() -> None:
    crash = {"kind": "crash", "at_s": 1.0, "share": 1.0, "down_s": 1.0}
    run = simulate(scenario({"behaviour": "suppress", "share": 0.3}, faults=[crash]), seed=3)
    assert run.world is not None
    hosts = list(run.world.hosts.values())
    assert {host.boot for host in hosts if not host.honest} == {1}
    assert {host.boot for host in hosts if host.honest} == {2}
    assert {name for name, _, _ in run.world.acknowledged} <= {host.name for host in hosts if host.honest}
