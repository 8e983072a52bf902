"""One story, acted by the simulator and by real agents: the same events, in the same order, at each node.

What the simulator puts in the place of TLS, sockets, SQLite and trio makes no difference
to any node; so what it shows of the protocol holds for the agents.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import delete, put
from gossipconf.protocol.environment import Now, Output, Send
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.link import Identity
from gossipconf.protocol.messages import Push, decode_message
from gossipconf.protocol.node import Node, Restored
from gossipconf.trust.cluster import Cluster, sign_policy
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.signing import Reservation, compose
from gossipconf_sim.world.world import EPOCH_MS
from tests.runtime.cluster import ADMIN, ROOT, STRANGER, Site

from .story import (
    Account,
    Clear,
    Cut,
    Fill,
    Heal,
    Kill,
    Publish,
    Restart,
    Start,
    Step,
    Submit,
    Wait,
    enact,
    new_world,
    simulate,
)

SEEDS = (1, 2, 3)
"""Each gives other delays, and other moments of every dial, telling and comparison."""


def second_policy(cluster: Cluster) -> Change:
    """Policy 2: the stranger of policy 1 may write under `of`."""
    chain = cluster.chain()
    head = chain.head
    policy = Policy(2, head.roots, head.threshold, (*head.roles, Role("strangers", (STRANGER.public,), ("of",))))
    return sign_policy(chain, policy, [ROOT], now_ms=EPOCH_MS, reservation=Reservation(b"policies", 2))


def branch(cluster: Cluster, value: bytes) -> Change:
    """A change under a number that the admin's key has used for another, as a restored backup would do."""
    number = Reservation(b"restored", 1)
    entries = [put("shop/branch", value)]
    return compose(entries, [], chain=cluster.chain(), signer=ADMIN, reservation=number, now_ms=EPOCH_MS)


def story_of(cluster: Cluster) -> tuple[Step, ...]:
    """The moments are none at which a node does something by itself, and apart by more than any message takes."""
    return (
        Start("a"),
        Wait(0.9),
        Publish("a", (put("shop/colour", b"red"), put("shop/size", b"40"))),
        Wait(0.8),
        Start("b", ("a",)),
        Wait(1.7),
        Start("c", ("a",)),
        Wait(4.3),
        Publish("b", (put("shop/colour", b"green"), put("shop/weight", b"2"), put("limits/rate", b"10"))),
        Wait(1.1),
        Publish("c", (delete("shop/size"),)),
        Wait(2.6),
        # Both sides of a cut go on: a policy, writes of one key, and a number that is used twice.
        Cut((("a", "b"), ("c",))),
        Wait(1.4),
        Publish("a", (put("shop/colour", b"blue"), put("side/a", b"1"))),
        Wait(0.7),
        Publish("c", (put("shop/colour", b"yellow"),)),
        Wait(0.9),
        Submit("b", second_policy(cluster)),
        Wait(0.6),
        Publish("b", (put("of/strangers", b"1"),), STRANGER),
        Wait(0.8),
        Submit("a", branch(cluster, b"left")),
        Wait(0.7),
        Submit("c", branch(cluster, b"right")),
        Wait(0.9),
        Publish("c", (put("side/c", b"1"), put("limits/rate", b"20"))),
        Wait(13.6),
        Heal(),
        Wait(6.9),
        Publish("b", (put("shop/colour", b"white"),)),
        Wait(2.3),
        # A node that misses something while it is down.
        Kill("b"),
        Wait(1.6),
        Publish("c", (put("shop/weight", b"3"), put("side/c", b"2"))),
        Wait(3.8),
        Restart("b"),
        Wait(5.7),
        # A disk that takes nothing for a while: what comes from peers is kept and written later.
        Fill("c"),
        Wait(0.7),
        Publish("c", (put("lost", b"1"),)),
        Wait(0.5),
        Publish("a", (put("shop/weight", b"4"),)),
        Wait(1.3),
        Publish("c", (put("lost", b"2"),)),
        Wait(2.1),
        Clear("c"),
        Wait(2.4),
        Publish("c", (put("shop/weight", b"5"),)),
        Wait(1.2),
        # Two nodes that have nothing, and get all of it by sync.
        Start("d", ("b",)),
        Wait(4.2),
        Publish("d", (put("side/d", b"1"), delete("side/a"))),
        Wait(2.9),
        Kill("a"),
        Wait(1.3),
        Publish("d", (put("limits/rate", b"30"),)),
        Wait(1.8),
        Restart("a", empty_disk=True),
        Wait(12.4),
    )


class Stage:
    """Where the story is acted. What agents have done for a seed is remembered: it takes them half a second."""

    def __init__(self, directory: Path) -> None:
        self.site = Site(directory / "site")
        self.story = story_of(self.site.cluster)
        self.enacted = cache(self.enact)
        self._directory = directory
        self._acts = count(1)

    def simulate(self, seed: int, make_node: Callable[..., Node] = Node) -> Account:
        return simulate(self.story, new_world(self.site, seed, make_node=make_node))

    def enact(self, seed: int) -> Account:
        """With the delays of a world of that seed."""
        world = new_world(self.site, seed)
        simulate(self.story, world)
        return enact(
            self.story,
            self.site,
            self._directory / f"act {next(self._acts)}",
            seed,
            lambda one, other: world.delay(world.hosts[one], world.hosts[other]),
            world.network.conditions.notice_ms / 1000,
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def partings(simulated: Account, enacted: Account) -> dict[str, tuple[str | None, str | None]]:
    """Of each node whose events differ, the first that do: in the simulator, and of the agent."""
    return {
        name: next(pair for pair in zip_longest(told, enacted.events[name]) if pair[0] != pair[1])
        for name, told in simulated.events.items()
        if told != enacted.events[name]
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_agents_do_what_the_simulator_says(stage: Stage, seed: int) -> None:
    simulated, enacted = stage.simulate(seed), stage.enacted(seed)
    assert partings(simulated, enacted) == {}
    assert enacted == simulated
    assert len(set(enacted.fingerprints.values())) == 1


def test_the_story_has_every_turn_that_it_is_meant_to_have(stage: Stage) -> None:
    told = {name: {one.split()[0] for one in lines} for name, lines in stage.enacted(SEEDS[0]).events.items()}
    links = {"PeerUp", "PeerDown", "ConnectFailed"}
    for name in "abc":
        assert told[name] >= links | {"Published", "Applied", "ForkFound", "PolicyAccepted"}
    assert told["c"] >= {"DiskFailed", "PublishFailed", "DiskRecovered"}
    assert told["b"] | told["c"] | told["d"] >= {"Synced"}


def test_agents_do_the_same_again(stage: Stage) -> None:
    assert stage.enact(SEEDS[0]) == stage.enacted(SEEDS[0])


# -- that the comparison can fail -----------------------------------------------------------------


class Deaf(Node):
    """Every change that is pushed to it is lost on the way."""

    def received(self, now: Now, link_id: int, data: bytes) -> None:
        if not isinstance(decode_message(data), Push):
            super().received(now, link_id, data)


class Mute(Node):
    """It pushes nothing to others, neither its own changes nor theirs."""

    def take_outputs(self) -> list[Output]:
        pushes = FrameClass.BROADCAST
        return [one for one in super().take_outputs() if not (isinstance(one, Send) and one.frame_class is pushes)]


class Forgetful(Node):
    """It takes nothing over from its disk."""

    def __init__(self, *arguments: Any, restored: Restored, **options: Any) -> None:
        super().__init__(*arguments, **options)


class Restless(Node):
    """It draws one number more than others before it begins."""

    def start(self, now: Now) -> None:
        self.environment.rng.random()
        super().start(now)


@pytest.mark.parametrize("mutant", [Deaf, Mute, Forgetful, Restless])
def test_a_node_that_is_not_the_shipped_one_is_seen(stage: Stage, mutant: type[Node]) -> None:
    def make_node(identity: Identity, *arguments: Any, **options: Any) -> Node:
        return (mutant if identity.node_id == "b" else Node)(identity, *arguments, **options)

    assert partings(stage.simulate(SEEDS[0], make_node), stage.enacted(SEEDS[0]))
