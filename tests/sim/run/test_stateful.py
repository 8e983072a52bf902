"""Several nodes under random publishes, forks, hostile bodies, partitions, crashes and restarts.

After every step all checkers hold; at the end, with the network whole and everybody
up, all fingerprints are equal. A failing run prints the steps that lead to it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from gossipconf.model.change import Change, Writer
from gossipconf.model.entry import Entry, delete, put
from gossipconf.model.limits import SEQ_MAX
from gossipconf.protocol.events import Published, Synced
from gossipconf.trust.signing import sign_change
from gossipconf_sim.run.checkers import violations
from gossipconf_sim.world.world import World
from tests.strategies import NOW_MS, cluster, header_of, signer

NAMES = ("a", "b", "c", "d", "e")
KEYS = ("one", "two", "three/x", "three/y")
SETTLE_S = 90.0
"""Above the longest wait of any retry in the protocol."""

hosts = st.sampled_from(NAMES)
keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)


class Cluster(RuleBasedStateMachine):
    """Five hosts that know each other's addresses."""

    changes: Bundle[Change] = Bundle("changes")

    @initialize(seed=st.integers(0, 2**32), joined=st.booleans())
    def build(self, seed: int, joined: bool) -> None:
        self.world = World(cluster(), seed)
        for name in NAMES:
            self.world.add(name, [other for other in NAMES if other != name][:2])
        if joined:
            self.world.run(2.0)

    def up(self, name: str) -> bool:
        return self.world.hosts[name].node is not None

    # -- honest admins ------------------------------------------------------------------------

    @rule(target=changes, name=hosts, keys=keys, value=st.binary(max_size=3), wait=st.booleans(), deletes=st.booleans())
    def publish(self, name: str, keys: list[str], value: bytes, wait: bool, deletes: bool) -> Change | Any:
        if not self.up(name):
            self.world.start(name)
        entries = [delete(key) if deletes else put(key, value.hex().encode()) for key in keys]
        node = self.world.hosts[name].node
        assert node is not None
        had_full_disk = node.replica.disk_error is not None
        token, change = self.world.publish(name, signer("alice"), entries)
        if wait:
            assert self.world.run_until(lambda: self.world.outcome(token) is not None, 1.0)
            if not self.world.hosts[name].disk.full and not had_full_disk:
                assert isinstance(self.world.outcome(token), Published)
        return change

    # -- thieves of an admin's key ------------------------------------------------------------

    @rule(
        target=changes,
        name=hosts,
        keys=keys,
        seq=st.sampled_from((1, 2, SEQ_MAX)),
        incarnation=st.sampled_from((b"A" * 8, b"B" * 8)),
        claims=st.dictionaries(
            st.sampled_from((b"A" * 8, b"B" * 8)), st.sampled_from((1, 2, SEQ_MAX - 1, SEQ_MAX)), max_size=2
        ),
        value=st.integers(0, 12),
    )
    def inject(
        self, name: str, keys: list[str], seq: int, incarnation: bytes, claims: dict[bytes, int], value: int
    ) -> Change:
        """Bodies with colliding numbers and vectors that claim anything, in the hands of any one node."""
        bob = signer("bob")
        writer = Writer(bob.public, incarnation)
        seen = tuple(sorted((Writer(bob.public, one).id, number) for one, number in claims.items()))
        seen = tuple((one, number) for one, number in seen if one != writer.id or number < seq)
        entries = [Entry(key, b"%d" % value, seen=seen) for key in sorted(keys)]
        chain = cluster().chain()
        header = header_of(entries, writer, seq, cluster_id=chain.cluster_id, policy=1, time_ms=NOW_MS + value)
        change = sign_change(header, tuple(enumerate(entries)), bob)
        if self.up(name):
            self.world.inject(name, change)
        return change

    @rule(name=hosts, change=changes, keep=st.integers(0, 7))
    def inject_part(self, name: str, change: Change, keep: int) -> None:
        """Any part of any change again: late, duplicated, cut, or as a bare header."""
        indices = [index for index, _ in change.entries if keep >> index & 1]
        if self.up(name) and (indices or keep == 0):
            self.world.inject(name, change.restrict(indices))

    # -- faults -------------------------------------------------------------------------------

    @rule(groups=st.lists(st.integers(0, 2), min_size=5, max_size=5))
    def partition(self, groups: list[int]) -> None:
        self.world.partition(*[[n for n, g in zip(NAMES, groups, strict=True) if g == group] for group in range(3)])

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

    @rule(name=hosts, empty=st.booleans())
    def restart(self, name: str, empty: bool) -> None:
        if not self.up(name):
            self.world.start(name, empty_disk=empty)

    @rule(name=hosts, full=st.booleans())
    def fill_disk(self, name: str, full: bool) -> None:
        self.world.hosts[name].disk.full = full

    @rule(duration_s=st.sampled_from((0.001, 0.01, 0.1, 1.0, 5.0)))
    def run(self, duration_s: float) -> None:
        self.world.run(duration_s)

    @precondition(lambda self: all(self.world.hosts[name].node is not None for name in NAMES))
    @rule(one=hosts, other=hosts)
    def boot_from_live_set_only(self, one: str, other: str) -> None:
        """A node that gets nothing but another's live parts, in reverse, holds the same set."""
        if one != other:
            source = self.world.hosts[other].node
            assert source is not None
            self.world.crash(one)
            self.world.start(one, empty_disk=True)
            for part in reversed(list(source.replica.live.parts())):
                self.world.inject(one, part)
            target = self.world.hosts[one].node
            assert target is not None
            assert target.root == source.root

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            assert list(violations(self.world)) == []

    @invariant()
    def syncs_end_equal(self) -> None:
        """No sync hangs or is refused; one ends unequal only if its link was lost or somebody changed meanwhile."""
        if hasattr(self, "world"):
            for host in self.world.hosts.values():
                for _, event in host.events:
                    if isinstance(event, Synced) and not event.equal:
                        assert event.reason in {"the link was lost", "the peer's set still differs"}

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.heal()
        for name in NAMES:
            self.world.hosts[name].disk.full = False
            if not self.up(name):
                self.world.start(name)
        assert self.world.run_until(self.world.converged, SETTLE_S), "no convergence after the network has healed"
        settled_s = self.world.now_s
        self.world.run(5.0)
        assert self.world.converged()
        for host in self.world.hosts.values():
            late = [event for at_s, event in host.events if at_s > settled_s and isinstance(event, Synced)]
            assert all(event.equal or event.reason == "the link was lost" for event in late), "equal sets, unequal end"
        assert list(violations(self.world)) == []


Cluster.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestCluster = Cluster.TestCase
