"""Several nodes that speak, under partitions, loss, crashes, full and lost disks: all who are connected end with the
same, and nothing that was said is unsaid while a disk that holds it lives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gossipconf.model.errors import Rejected
from gossipconf.protocol.events import Said, StatementRefused
from gossipconf.protocol.messages import SaidBatch, SaidItems, SaidNews
from gossipconf.trust.statement import Kind
from gossipconf_sim.conditions import NetworkConditions
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.world import World
from tests.protocol.speaking import STAGES, StagedNode, canary
from tests.protocol.wire import Tapped
from tests.strategies import cluster, signer

NAMES = ("a", "b", "c", "d")
SETTLE_S = 90.0
"""Above the longest wait of any retry in the protocol."""

hosts = st.sampled_from(NAMES)


def sets(world: World) -> list[dict[bytes, list[bytes]]]:
    """Of each running node what it holds, by subject."""
    return [
        {one: sorted(node.statements._book.about(one)) for one in sorted(node.statements.subjects())}
        for node in world.running()
    ]


def alike(world: World) -> Callable[[], bool]:
    def check() -> bool:
        first, *others = sets(world)
        return all(one == first for one in others)

    return check


class Speakers(RuleBasedStateMachine):
    """Four hosts, two canaries of which votes matter, and two stages."""

    @initialize(seed=st.integers(0, 2**32), loss=st.sampled_from((0.0, 0.3)))
    def build(self, seed: int, loss: float) -> None:
        self.world = World(cluster(), seed, make_node=StagedNode, network=NetworkConditions(loss=loss))
        self.canaries: list[bytes] = []
        self.said: dict[tuple[str, Kind, bytes], None] = {}
        self.world.on_event = self.heard
        for name in NAMES:
            self.world.add(name, [other for other in NAMES if other != name][:2])
        self.publish("a", 0)
        self.world.run(5.0)

    def heard(self, host, event) -> None:
        if isinstance(event, Said):
            self.said[host.name, event.kind, event.subject] = None
        assert not isinstance(event, StatementRefused), event

    def up(self, name: str) -> bool:
        return self.world.hosts[name].node is not None

    @rule(name=hosts, number=st.integers(0, 1))
    def publish(self, name: str, number: int) -> None:
        if self.up(name):
            self.canaries.append(self.world.publish(name, signer("alice"), [canary(2, f"key/{number}")])[1].id)

    @rule(name=hosts, which=st.integers(-4, -1))
    def vote(self, name: str, which: int) -> None:
        if self.up(name) and -which <= len(self.canaries):
            with suppress(Rejected):
                self.world.declare(name, Kind.UNHEALTHY, self.canaries[which])

    @rule(name=hosts, kind=st.sampled_from((Kind.ACK, Kind.NACK)), stage=st.sampled_from(STAGES))
    def answer(self, name: str, kind: Kind, stage: bytes) -> None:
        if self.up(name):
            with suppress(Rejected):
                self.world.declare(name, kind, stage)

    # -- faults -------------------------------------------------------------------------------

    @rule(groups=st.lists(st.integers(0, 1), min_size=4, max_size=4))
    def partition(self, groups: list[int]) -> None:
        self.world.partition(*[[n for n, g in zip(NAMES, groups, strict=True) if g == group] for group in range(2)])

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @rule(one=hosts, other=hosts)
    def reset_link(self, one: str, other: str) -> None:
        self.world.reset_link(one, other)

    @rule(name=hosts)
    def crash(self, name: str) -> None:
        if self.up(name):
            self.world.crash(name)

    @rule(name=hosts)
    def restart(self, name: str) -> None:
        if not self.up(name):
            self.world.start(name)

    @rule(name=hosts)
    def lose_the_disk(self, name: str) -> None:
        """What only this node knew is lost with it."""
        if not self.up(name):
            for one in [one for one in self.said if one[0] == name]:
                del self.said[one]
            self.world.start(name, empty_disk=True)

    @rule(name=hosts, full=st.booleans())
    def fill_disk(self, name: str, full: bool) -> None:
        self.world.hosts[name].disk.full = full

    @rule(duration_s=st.sampled_from((0.001, 0.01, 0.1, 1.0, 5.0)))
    def run(self, duration_s: float) -> None:
        self.world.run(duration_s)

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def what_a_node_has_said_it_knows(self) -> None:
        if hasattr(self, "world"):
            for name, kind, subject in self.said:
                node = self.world.hosts[name].node
                if node is not None and node.statements._knows(subject):
                    assert node.statements.has_said(kind, subject)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.heal()
        for name in NAMES:
            self.world.hosts[name].disk.full = False
            if not self.up(name):
                self.world.start(name)
        assert self.world.run_until(self.world.converged, SETTLE_S)
        assert self.world.run_until(alike(self.world), SETTLE_S), sets(self.world)
        self.world.run(5.0)
        assert alike(self.world)()
        nodes = self.world.running()
        for name, kind, subject in self.said:
            for node in nodes:
                if node.statements._knows(subject):
                    held = [one.statement for one in node.statements.about(subject)]
                    assert any((one.node_id, one.kind) == (name, kind) for one in held)
        assert len({node.halts.halted for node in nodes}) == 1
        for one in nodes[0].statements.subjects():
            if one not in STAGES:
                assert (len(nodes[0].halts.votes(one)) >= 2) == (one in nodes[0].halts.halted)
        assert list(violations(self.world)) == []


Speakers.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestSpeakers = Speakers.TestCase


@pytest.mark.parametrize("count", [3, 40])
def test_two_halves_that_have_voted_apart_hold_the_same_soon_after(count: int) -> None:
    """One link joins them, and each statement crosses it once in each direction, if that."""
    names = [f"n{number:02d}" for number in range(count)]
    world = Tapped(*names, dials=False, acquainted=True)
    halves = names[: count // 2], names[count // 2 :]
    for half in halves:
        for one, other in pairwise(half):
            world.wire(one, other)
    world.wire(halves[0][0], halves[1][0])
    world.run(5.0)
    change = world.publish(names[0], signer("alice"), [canary(1_000)])[1]
    world.run(10.0)
    world.reset_link(halves[0][0], halves[1][0])
    for name in names:
        world.declare(name, Kind.UNHEALTHY, change.id)
    world.run(30.0)
    assert [len(node.halts.votes(change.id)) for node in world.running()] == [
        len(half) for half in halves for _ in half
    ]
    world.wire(halves[0][0], halves[1][0])
    healed_s = world.now_s
    assert world.run_until(lambda: all(len(node.halts.votes(change.id)) == count for node in world.running()), 60.0)
    assert world.now_s - healed_s < 3.0 + 0.6 * count / 2, "so many links in a row"
    across = [
        one
        for one in world.since(healed_s, SaidNews, SaidBatch, SaidItems)
        if {one.sender, one.receiver} == {halves[0][0], halves[1][0]}
    ]
    payload = sum(one.bytes for one in across if not isinstance(one.message, SaidItems))
    size = len(world.hosts[names[0]].running.statements.about(change.id)[0].data)
    assert payload <= 1.2 * count * (size + 6) + 40
