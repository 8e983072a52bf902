"""Two versions of the protocol in one cluster: everything that the newer one says beyond the older one is skipped.

The newer version is made here, of the present node: it says more at the end of every message and of every record
inside one, it has messages of its own, it sets capabilities, and it speaks up to version 2. A third one has left
version 1 behind. They live in one world with present nodes, through publishes, partitions, holes, forks and restarts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, get_args
from unittest.mock import patch

import pytest

from gossipconf.model.encoding import encode, unpack
from gossipconf.model.entry import put
from gossipconf.protocol import messages, overlay
from gossipconf.protocol.environment import Now, Output, Send
from gossipconf.protocol.events import AckProgress, ChangeRejected, ConnectFailed, PeerDown, PeerUp
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import (
    Ask,
    Hello,
    Hinted,
    Hints,
    Message,
    Report,
    Roster,
    RosterItems,
    SaidSubjects,
    Signs,
    Walk,
    Walked,
    agreed_version,
    decode_message,
)
from gossipconf.protocol.node import Node
from gossipconf.protocol.subject import Subject
from gossipconf.protocol.tally import Tally
from gossipconf.trust.statement import Kind
from gossipconf_sim.conditions import HostConditions
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.world import World
from tests.protocol.speaking import canary
from tests.protocol.wire import change
from tests.strategies import cluster, signer

NEWS = 99
"""Type of a message that only newer nodes know."""
MORE: tuple[Any, ...] = ("of a newer version", [[b""], 7])
"""What they add to all that they say."""
CAPABILITIES = 0b101


def more(record: Sequence[Any]) -> list[Any]:
    return [*record, *MORE]


def more_each(records: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [more(record) for record in records]


def more_about(subject: Sequence[Any]) -> list[Any]:
    changes, root = subject
    return more([[more([*change, more(slot) if slot else slot]) for *change, slot in changes], root])


def more_counts(tally: Sequence[Any]) -> list[Any]:
    return more([more_each(value) if place == ZONES_OF_A_TALLY else value for place, value in enumerate(tally)])


ZONES_OF_A_TALLY = [one.name for one in dataclasses.fields(Tally)].index("zones")
RECORDS: dict[int, dict[int, Callable[[Any], list[Any]]]] = {
    Roster.TYPE: {0: more_each},
    Signs.TYPE: {0: lambda groups: [more([root, more_each(beats)]) for root, beats in groups], 1: more_each},
    RosterItems.TYPE: {0: more_each},
    Hints.TYPE: {3: more},
    Hinted.TYPE: {3: more_each},
    Walk.TYPE: {3: more_each},
    Walked.TYPE: {1: more_each},
    Ask.TYPE: {3: more_about},
    Report.TYPE: {2: more_counts},
    SaidSubjects.TYPE: {0: more_each},
}
"""By the type of a message: in which fields it has records, and how a newer node says more in these."""


class NextNode(Node):
    """Speaks versions 1 and 2; with a peer that speaks version 2 too it talks of other things."""

    VERSIONS = (1, 2)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        with self._speaking():
            super().__init__(*arguments, **named)
        self.agreed: dict[int, int | None] = {}
        self.heard: dict[int, list[Any]] = {}
        self.read_more: set[type[Any]] = set()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """In this version's tables."""
        with ExitStack() as stack:
            for module in (messages, overlay):
                for name, number in zip(("VERSION_MIN", "VERSION_MAX"), self.VERSIONS, strict=True):
                    if hasattr(module, name):
                        stack.enter_context(patch.object(module, name, number))
            yield

    def connected(self, now: Now, link_id: int, node_id: str, *, outbound: bool, address: str) -> None:
        with self._speaking():
            super().connected(now, link_id, node_id, outbound=outbound, address=address)

    def received(self, now: Now, link_id: int, data: bytes) -> None:
        kind, *fields = unpack(data)
        if kind == NEWS:
            self.heard.setdefault(link_id, []).append(fields)
            return
        with self._speaking():
            message = decode_message(data)
            if message is not None and len(fields) > 1 and fields[-len(MORE)] == MORE[0]:
                self.read_more.add(type(message))
            if isinstance(message, Hello):
                self.agreed[link_id] = agreed_version(message)
            super().received(now, link_id, data)

    def take_outputs(self) -> list[Output]:
        return [one for output in super().take_outputs() for one in self._say_more(output)]

    def _say_more(self, output: Output) -> Iterator[Output]:
        if not isinstance(output, Send):
            yield output
            return
        kind, *fields = unpack(output.message)
        if kind == Hello.TYPE:
            fields[2] = CAPABILITIES
        for place, say_more in RECORDS.get(kind, {}).items():
            fields[place] = say_more(fields[place])
        yield Send(output.link, output.frame_class, encode([kind, *fields, *MORE]))
        if kind != Hello.TYPE and len(output.message) % 3 == 0:
            yield Send(output.link, FrameClass.SYNC, encode([NEWS, self.identity.node_id, [1]]))


class FarNode(NextNode):
    """Has left version 1 behind."""

    VERSIONS = (2, 3)


KINDS: dict[str, type[Node]] = {"o": Node, "n": NextNode, "f": FarNode}
"""By the first letter of a host's name: present, next, far."""


def mixed(*names: str, seed: int = 0) -> World:
    """A world of nodes of several versions, all of whom know all."""

    def make(identity: Any, *arguments: Any, **named: Any) -> Node:
        return KINDS[identity.node_id[0]](identity, *arguments, **named)

    world = World(cluster(), seed, hosts=HostConditions(disk_ms=(0, 0)), make_node=make)
    for name in names:
        world.add(name, [other for other in names if other != name], zone="eu")
    return world


def publish(world: World, name: str, key: str, value: str) -> None:
    world.publish(name, signer("alice"), [put(key, value.encode())])


def events_of(world: World, kind: type[Any]) -> list[tuple[str, Any]]:
    return [(host.name, one) for host in world.hosts.values() for _, one in host.events if isinstance(one, kind)]


def nodes(world: World, letter: str) -> list[Any]:
    return [host.running for host in world.hosts.values() if host.name[0] == letter]


@pytest.mark.parametrize("seed", range(3))
def test_two_versions_live_in_one_cluster(seed: int) -> None:
    old, new = ("o1", "o2", "o3"), ("n1", "n2", "n3")
    world = mixed(*old, *new, seed=seed)
    world.run(5.0)
    kinds: set[type[Message]] = set()
    world.on_arrival = lambda host, wire, data: kinds.add(type(decode_message(data)))
    for name in (*old, *new):
        publish(world, name, f"own/{name}", "1")
        publish(world, name, "shared", name)
    assert world.run_until(lambda: len(world.acknowledged) == 12 and world.converged(), 5.0)
    latest = world.acknowledged[-1][2]
    for name in ("o1", "n1"):
        world.ask(name, Subject.of([latest], world.hosts[name].running.replica.live), 60.0)
    world.run(1.0)
    for name in ("o1", "n1"):
        told = [one for host, one in events_of(world, AckProgress) if host == name][-1]
        assert (told.applied, told.zones, told.complete) == (6, (("eu", 6, 6),), True)
    variant = world.publish("o1", signer("alice"), [canary()])[1]
    world.run(5.0)
    world.partition(old, new)
    for name in ("o1", "n1"):
        world.declare(name, Kind.UNHEALTHY, variant.id)
    publish(world, "o1", "apart", "old")
    publish(world, "n1", "apart", "new")
    lost = [change(str(seq), f"lost{seq}", seq=seq, incarnation=b"lost____") for seq in range(1, 40)]
    for one in lost[10:]:  # holes, and a fork, that only a walk finds
        world.inject("o2", one)
    for one in (*lost[:10], lost[-1], change("other", "fork", seq=7, incarnation=b"lost____")):
        world.inject("n2", one)
    world.run(30.0)
    world.crash("o3")
    world.heal()
    world.start("o3", empty_disk=True)
    assert world.run_until(world.converged, 60.0)
    world.run(30.0)
    assert list(violations(world)) == []
    assert {node.halts.votes(variant.id) for node in world.running()} == {("n1", "o1")}
    assert kinds >= {one for one in get_args(Message) if one.TYPE in RECORDS}, "all of which said more"
    assert events_of(world, ChangeRejected) == []
    reasons = [event.reason for _, event in events_of(world, PeerDown)]
    assert [one for one in reasons if "malformed" in one or "violation" in one or "speaks" in one] == []


def test_the_version_of_a_link_is_the_newest_that_both_speak() -> None:
    world = mixed("o1", "n1", "n2")
    world.run(10.0)
    publish(world, "o1", "k", "1")
    assert world.run_until(world.converged, 5.0)
    for node in nodes(world, "n"):
        peers = {link.node_id: link for link in node.links()}
        assert {name: node.agreed[link.id] for name, link in peers.items()} == {
            name: 1 if name == "o1" else 2 for name in peers
        }
        (newer,) = (link for name, link in peers.items() if name != "o1")
        assert node.heard[newer.id], "what the newer ones say among themselves arrives"
        assert node.read_more > {Hello, Roster}
        assert newer.hello.capabilities == CAPABILITIES
    (node,) = nodes(world, "o")
    assert {link.node_id for link in node.links()} == {"n1", "n2"}


def test_one_that_is_too_old_is_told_why_and_harms_nobody() -> None:
    world = mixed("o1", "f1")
    world.run(20.0)
    assert [node.links() for node in world.running()] == [[], []]
    assert events_of(world, PeerUp) == []
    old = "peer speaks protocol 2 to 3, this node 1 to 1"
    far = "peer speaks protocol 1 to 1, this node 2 to 3"
    told = {(name, event.reason) for name, event in events_of(world, ConnectFailed) if "protocol" in event.reason}
    assert told <= {("o1", old), ("o1", f"peer: {far}"), ("f1", far), ("f1", f"peer: {old}")}
    assert {name for name, _ in told} == {"o1", "f1"}, "whoever dials is told"
    assert list(violations(world)) == []


def test_versions_that_have_none_in_common_meet_through_one_that_speaks_both() -> None:
    """A rolling upgrade over two versions: the middle one carries what the ends say."""
    world = mixed("o1", "o2", "n1", "f1", "f2")
    world.run(10.0)
    publish(world, "o1", "k", "old")
    publish(world, "f1", "far", "new")
    assert world.run_until(world.converged, 10.0)
    for letter, others in (("o", {"o1", "o2", "n1"}), ("f", {"f1", "f2", "n1"})):
        for node in nodes(world, letter):
            assert {link.node_id for link in node.links()} == others - {node.identity.node_id}
    for node in nodes(world, "f"):
        assert {node.agreed[link.id] for link in node.links()} == {2, 3}
    assert list(violations(world)) == []


@pytest.mark.parametrize(("low", "high", "agreed"), [(1, 1, 1), (1, 9, 1), (0, 1, 1), (0, 0, None), (2, 9, None)])
def test_which_version_is_agreed(low: int, high: int, agreed: int | None) -> None:
    assert agreed_version(Hello(low, high, 0, bytes(32), "a", bytes(8), "", "", "")) == agreed
