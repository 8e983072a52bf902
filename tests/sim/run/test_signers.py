"""Sets of approvals of one change, put into nodes at random: all end with their union, and with one fingerprint.

Two of dave, erin and frank must sign what is written under `pay`. Whoever signs last
publishes; two who do so at once publish two sets of one change. A relay may strip what
it passes on.
"""

from __future__ import annotations

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, put
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.world import World
from tests.strategies import cluster, signed, signer

NAMES = ("a", "b", "c", "d")
SETTLE_S = 90.0
"""Above the longest wait of any retry in the protocol."""
APPROVERS = ("alice", "bob", "carol", "erin", "frank")
"""Of these only erin and frank can make it complete; whoever the policy knows may sign as well."""

CHANGES = tuple(
    signed([Entry(f"pay/{number}", b"1"), put(f"pay/x{number}", b"2")], "dave", *APPROVERS, seq=number)
    for number in (1, 2)
)
"""With everybody's approval."""

hosts = st.sampled_from(NAMES)


def only(change: Change, names: frozenset[str]) -> Change:
    """``change`` with the approvals of ``names``."""
    keys = {signer(name).public for name in names}
    return dataclasses.replace(change, approvals=tuple(pair for pair in change.approvals if pair[0] in keys))


class Signers(RuleBasedStateMachine):
    """Four hosts that know each other's addresses."""

    @initialize(seed=st.integers(0, 2**32))
    def build(self, seed: int) -> None:
        self.world = World(cluster(), seed)
        for name in NAMES:
            self.world.add(name, [other for other in NAMES if other != name][:2])
        self.expected: dict[bytes, set[bytes]] = {}

    @rule(
        name=hosts, change=st.sampled_from(CHANGES), names=st.frozensets(st.sampled_from(APPROVERS)), cut=st.booleans()
    )
    def approve(self, name: str, change: Change, names: frozenset[str], cut: bool) -> None:
        """A set of signatures reaches a node; one that is not complete is refused."""
        host = self.world.hosts[name]
        if host.node is None:
            return
        form = only(change, names)
        self.world.inject(name, form.restrict([1]) if cut else form)
        if names & {"erin", "frank"}:
            self.expected.setdefault(change.id, set()).update(key for key, _ in form.approvals)
        elif change.id not in self.expected:
            assert host.running.replica.live.stored(change.id) is None

    @rule(groups=st.lists(st.integers(0, 1), min_size=4, max_size=4))
    def partition(self, groups: list[int]) -> None:
        self.world.partition(*[[n for n, g in zip(NAMES, groups, strict=True) if g == group] for group in range(2)])

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @rule(name=hosts)
    def restart(self, name: str) -> None:
        """With what its disk had: what it had been told last may be lost here, and is with the others then."""
        self.world.run(1.0)
        if self.world.hosts[name].node is not None:
            self.world.crash(name)
        self.world.start(name)

    @rule(duration_s=st.sampled_from((0.01, 0.1, 1.0)))
    def run(self, duration_s: float) -> None:
        self.world.run(duration_s)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            assert list(violations(self.world)) == []

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.heal()
        assert self.world.run_until(self.world.converged, SETTLE_S), "no convergence after the network has healed"
        self.world.run(1.0)
        assert list(violations(self.world)) == []
        for host in self.world.hosts.values():
            live = host.running.replica.live
            for change in CHANGES:
                stored = live.stored(change.id)
                found = None if stored is None else {key for key, _ in stored.approvals}
                assert found == self.expected.get(change.id)
                if stored is not None:
                    assert host.disk.changes[change.id] == stored.encode()


Signers.TestCase.settings = settings(max_examples=15, stateful_step_count=20)
TestSigners = Signers.TestCase
