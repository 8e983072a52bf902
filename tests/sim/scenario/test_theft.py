"""A thief of an admin's key, and the roots' answer: all end with the same, and with nothing that was not seen."""

from __future__ import annotations

import pytest

from gossipconf.protocol.events import Voided
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.scenario.faults import Partition
from gossipconf_sim.scenario.theft import Theft
from gossipconf_sim.world.stage import Mark
from tests.sim.scenario.test_faults import Theatre


@pytest.mark.parametrize("seed", range(5))
def test_what_the_roots_have_not_seen_is_gone_everywhere(seed: int) -> None:
    theatre = Theatre(seed=seed)
    theatre.play(Theft(at_s=1.0, changes=6, for_s=10.0), Partition(at_s=5.0, for_s=10.0))
    theatre.run_to(60.0)
    world = theatre.world
    assert world.converged()
    assert list(violations(world)) == []
    (policy,) = theatre.stage.policies
    floors = [host.running.replica.chain.floors for host in theatre.hosts]
    assert all(host.running.replica.policy_version == policy.header.policy + 1 for host in theatre.hosts)
    assert any(isinstance(event, Voided) for host in theatre.hosts for _, event in host.events)
    for host, known in zip(theatre.hosts, floors, strict=True):
        live = [version for versions in host.running.replica.live.slots().values() for version in versions]
        assert not any(known.is_void(version) for version in live)
    assert theatre.stage.marks[0] == Mark("theft", 1.0, 21.0)


def test_the_roots_build_on_what_they_have_signed() -> None:
    """Two thefts one after the other: two policies, and no policy fork."""
    theatre = Theatre()
    theatre.play(Theft(at_s=1.0, for_s=3.0), Theft(at_s=2.0, for_s=3.0))
    theatre.run_to(40.0)
    assert theatre.world.converged()
    assert [policy.header.policy for policy in theatre.stage.policies] == [1, 2]
    assert all(host.running.replica.chain.forked == () for host in theatre.hosts)
    assert list(violations(theatre.world)) == []
