"""Presets: what must hold of each of them, and that a node has the one that it was given."""

from __future__ import annotations

from random import Random

import pytest

from gossipconf.protocol.node import Node
from gossipconf.protocol.overlay import Identity
from gossipconf.protocol.tuning import DEFAULT_PRESET, LAN, PRESETS, WAN, Tuning
from gossipconf.trust.chain import PolicyChain
from gossipconf_sim.conditions import HostConditions
from tests.protocol.wire import Tapped
from tests.strategies import cluster

HEAL_S = 10.0
"""Design, section 12: a partition of any length has converged this long after it has healed."""


@pytest.mark.parametrize("tuning", PRESETS.values(), ids=PRESETS)
def test_every_preset_heals_in_time_and_bears_one_lost_ping(tuning: Tuning) -> None:
    assert tuning.dial_s + tuning.retry_cap_s + 1.25 * tuning.refill_s < HEAL_S
    assert tuning.silences_max >= 3
    assert tuning.near_links + tuning.far_links >= 8, "half of the nodes may vanish"


def test_a_node_has_the_tuning_that_it_was_given() -> None:
    assert PRESETS[DEFAULT_PRESET] is LAN
    chain = PolicyChain(cluster().genesis)
    assert Node(Identity("a", "a:1"), chain, rng=Random(0)).environment.tuning is LAN
    assert Node(Identity("a", "a:1"), chain, rng=Random(0), tuning=WAN).environment.tuning is WAN


def test_nodes_of_a_world_have_that_of_its_hosts() -> None:
    assert Tapped("a").node("a").environment.tuning == LAN
    tuning = Tapped("a", hosts=HostConditions(preset="wan", batching_ms=250)).node("a").environment.tuning
    assert (tuning.keepalive_s, tuning.batching_s) == (WAN.keepalive_s, 0.25)
