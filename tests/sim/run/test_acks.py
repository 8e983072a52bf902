"""Asking who has applied a change in large worlds: within three times the dissemination, at a bounded price."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gossipconf.model.entry import put
from gossipconf.protocol.events import AckProgress, Applied, Event
from gossipconf.protocol.node import Node
from gossipconf.protocol.subject import Subject
from gossipconf.protocol.views import ONLY_NEAR
from gossipconf_sim.run.building import build, random_regular
from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.admins import ADMIN
from gossipconf_sim.scenario.scenario import load
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.world import World

THOUSAND = pytest.param(1_000, marks=pytest.mark.slow)
NOTICE_MS = 0.5
"""A reset travels as a packet does."""


@pytest.mark.parametrize("nodes", [100, THOUSAND])
def test_all_is_known_within_three_times_the_dissemination(nodes: int) -> None:
    result = simulate(load("acks", {"nodes": nodes, "publish.changes": 4})).result
    acks = result.acks
    assert acks is not None
    assert (acks.asked, acks.answered) == (4, 4)
    assert acks.by_delivery is not None
    assert acks.by_delivery.max <= 3
    assert acks.bytes_per_node is not None
    assert acks.bytes_per_node < 1_100, "an Ask each way on each link, and a Report"
    assert acks.link_bytes_max < 1_000, "flat on each link"
    assert result.violations == []


def test_nothing_is_asked_and_nothing_sent_without_the_option() -> None:
    overrides = {"nodes": 20, "publish.changes": 2, "publish.ask": False, "measure.idle_s": 1.0}
    assert simulate(load("acks", overrides)).result.acks is None


@dataclass
class Answer:
    """When a change was everywhere, and when its asker knew; in s after the question."""

    delivered_s: float
    known_s: float
    epochs: int


def ask_while_links_break(nodes: int, seed: int, links: int, after_s: float) -> Answer:
    """Publish and ask in a data centre, and break some links ``after_s``."""
    scenario = load("lan", {"nodes": nodes, "network.notice_ms": NOTICE_MS})
    world = build(scenario, seed, Node)
    hosts = list(world.hosts.values())
    for host in hosts:
        world.start(host.name)
    world.run(0.0)
    for one, other in random_regular(list(range(nodes)), ONLY_NEAR, world.random("links")):
        world.link(hosts[one].name, hosts[other].name)
    world.run(5.0)
    rng = world.random("breaking")
    origin, asker = rng.sample(hosts, 2)
    token, change = world.publish(origin.name, ADMIN, [put("asked", b"x" * 400)])
    assert world.run_until(lambda: world.outcome(token) is not None, 1.0)
    applied: list[float] = []
    known: list[float] = []
    asked_s = world.now_s

    def note(host: Host, event: Event) -> None:
        if isinstance(event, Applied):
            applied.append(world.now_s - asked_s)
        if isinstance(event, AckProgress) and event.complete and event.applied == event.total == nodes:
            known.append(world.now_s - asked_s)

    world.on_event = note
    world.ask(asker.name, Subject.of([change], origin.running.replica.live), 60.0)
    world.schedule.later(after_s, _break, world, links)
    assert world.run_until(lambda: bool(known), 30.0)
    return Answer(max(applied), known[0], asker.running.acks.questions()[0].epoch)


def _break(world: World, links: int) -> None:
    for wire in world.random("wires").sample(list(world.network.wires()), links):
        world.network.reset(wire, "cut")


@pytest.mark.parametrize(("nodes", "links"), [(200, 4), pytest.param(1_000, 20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_links_that_break_meanwhile_do_not_make_it_later(nodes: int, links: int, seed: int) -> None:
    answer = ask_while_links_break(nodes, seed, links, 0.001)
    assert answer.known_s <= 3 * answer.delivered_s
    assert answer.epochs == 1, "re-parenting was enough"


@pytest.mark.parametrize("after_s", [0.0005, 0.002, 0.004])
def test_where_many_break_a_new_epoch_tells(after_s: float) -> None:
    answer = ask_while_links_break(200, 3, 200, after_s)
    assert answer.known_s < 5.0
