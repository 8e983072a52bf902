"""Beacons: what they prove of a view's age, and what whoever withholds, replays or forges them gains: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gossipconf.model.change import Change, signed_bytes
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import BadSignature, Expired, NotAuthorised, Rejected
from gossipconf.model.hashing import SNAPSHOT_TAG
from gossipconf.protocol.beacons import VERIFIED_BURST, Freshness, FreshnessLimits, View
from gossipconf.protocol.environment import Now
from gossipconf.protocol.events import BeaconRefused, ViewStale
from gossipconf.protocol.messages import Beacon, Push
from gossipconf.trust.cluster import Cluster, found_cluster, sign_policy
from gossipconf.trust.policy import Policy, Role, policy_key
from gossipconf.trust.snapshot import Snapshot, Statement
from tests import strategies as gen
from tests.protocol.wire import Bench, Tapped

NOW_MS = gen.NOW_MS
ROOT = gen.signer("root-1")
SKEW_MS = 10_000
WRITERS = Role("writers", gen.keys("alice"), ("",))
KEEPERS = Role("keepers", gen.keys("keeper", "second"), ("",), ("snapshot",))
CLUSTER = found_cluster("beacons", [ROOT], [WRITERS, KEEPERS], threshold=1, now_ms=1, salt=bytes(16))


def bench(**options: Any) -> Bench:
    return Bench(of=CLUSTER, **options)


def beacon(
    root: bytes, at_s: float = 0.0, *, by: str = "keeper", lasts_s: float = 180.0, of: Cluster = CLUSTER, **fields: Any
) -> Snapshot:
    """A beacon of ``at_s`` after the beginning, signed whatever the policy says."""
    time_ms = NOW_MS + round(at_s * 1000)
    known = {"policy": 1, "time_ms": time_ms, "expires_ms": time_ms + round(lasts_s * 1000), "root": root}
    statement = Statement(of.genesis.cluster_id, **(known | fields))
    signer = gen.signer(by)
    return Snapshot(statement, signer.public, signer.sign(SNAPSHOT_TAG + statement.encode()))


def view(one: Bench, after_s: float = 0.0, wall_s: float | None = None) -> View:
    """The view ``after_s`` from now, by a wall clock that says ``wall_s`` after the beginning, if not the same."""
    at_s = one.now_s + after_s
    return one.node.view(Now(at_s, NOW_MS + round((at_s if wall_s is None else wall_s) * 1000)))


def tell(one: Bench, link: int, snapshot: Snapshot) -> None:
    one.tell(link, Beacon(snapshot.encode()))


def change(value: str, seq: int) -> Any:
    return gen.signed(
        [gen.Entry("a", value.encode(), seen=())], "alice", seq=seq, cluster_id=CLUSTER.genesis.cluster_id
    )


# -- what a beacon proves -------------------------------------------------------------------------


def test_without_beacons_nothing_is_known_and_nothing_is_kept() -> None:
    one = bench()
    assert view(one) == View(Freshness.NEVER)
    assert one.node.beacons._roots == {}


def test_a_beacon_of_the_present_root_bounds_the_age() -> None:
    one = bench()
    link = one.connect("p")
    one.wait(5.0)
    tell(one, link, beacon(one.node.root, at_s=3.0))
    found = view(one)
    assert (found.freshness, found.at_most_ms) == (Freshness.FRESH, 2_000 + SKEW_MS)
    assert found.signer == gen.signer("keeper").public
    assert view(one, 60.0).at_most_ms == 62_000 + SKEW_MS


def test_a_beacon_of_a_root_that_was_here_before_counts_too() -> None:
    """Who has moved on knows all that the signer knew."""
    one = bench()
    link = one.connect("p")
    before = one.node.root
    tell(one, link, beacon(before))
    one.tell(link, Push(0, 0, 0, change("1", 1).encode()))
    assert one.node.root != before
    one.wait(2.0)
    tell(one, link, beacon(before, at_s=1.5))
    assert view(one).at_most_ms == 500 + SKEW_MS


def test_a_beacon_counts_from_its_own_time_once_the_root_is_reached() -> None:
    other, one = bench(), bench()
    feed, link = other.connect("p"), one.connect("p")
    other.tell(feed, Push(0, 0, 0, change("1", 1).encode()))
    one.wait(5.0)
    tell(one, link, beacon(other.node.root, at_s=4.0))
    assert view(one).freshness is Freshness.NEVER
    one.wait(1.0)
    one.tell(link, Push(0, 0, 0, change("1", 1).encode()))
    assert view(one).at_most_ms == 2_000 + SKEW_MS


# -- attacks --------------------------------------------------------------------------------------


def test_freeze_with_beacons_withheld_the_age_grows_until_it_has_expired() -> None:
    """Held: every link of the node. It shows the node no beacon after the first."""
    one = bench()
    tell(one, one.connect("liar"), beacon(one.node.root))
    ages = [view(one, after_s).at_most_ms for after_s in (0.0, 60.0, 179.0)]
    assert ages == [SKEW_MS, 60_000 + SKEW_MS, 179_000 + SKEW_MS]
    assert view(one, 179.0).freshness is Freshness.FRESH
    assert view(one, 180.0).freshness is Freshness.EXPIRED
    assert view(one, 7_200.0).at_most_ms == 7_200_000 + SKEW_MS


def test_freeze_with_changes_withheld_and_beacons_passed_on_the_age_grows_too() -> None:
    """Held: every link of the node. The beacons of a root that the node never reaches prove nothing."""
    other, one = bench(), bench()
    tell(one, one.connect("liar"), beacon(one.node.root))
    other.tell(other.connect("p"), Push(0, 0, 0, change("1", 1).encode()))
    one.wait(10.0)
    tell(one, one.connect("q"), beacon(other.node.root, at_s=10.0))
    assert view(one).at_most_ms == 10_000 + SKEW_MS


def test_replay_of_an_older_beacon_does_not_lower_the_age() -> None:
    """Held: all beacons that were ever sent."""
    one = bench()
    link = one.connect("liar")
    older, newer = beacon(one.node.root, at_s=-30.0), beacon(one.node.root)
    tell(one, link, newer)
    one.wait(20.0)
    for again in (newer, older, beacon(one.node.root, at_s=-20.0, by="second")):
        tell(one, one.connect("liar"), again)
        assert view(one).at_most_ms == 20_000 + SKEW_MS


def test_a_clock_that_is_set_back_does_not_lower_the_age() -> None:
    """Held: the source of the reader's wall clock."""
    one = bench()
    tell(one, one.connect("p"), beacon(one.node.root))
    assert view(one, 60.0, wall_s=-3_600.0).at_most_ms == 60_000 + SKEW_MS
    assert view(one, 60.0, wall_s=90.0).at_most_ms == 90_000 + SKEW_MS, "a machine that was asleep"


@pytest.mark.parametrize(
    ("make", "blamed"),
    [
        (lambda root: beacon(root, by="alice"), False),
        (lambda root: beacon(root, by="mallory"), False),
        (lambda root: Snapshot(beacon(root).statement, gen.signer("keeper").public, bytes(64)), True),
        (lambda root: beacon(root, of=gen.cluster()), True),
        (lambda root: beacon(root, contents=bytes(32)), True),
        (lambda root: beacon(root, policy=2), False),
        (lambda root: beacon(root, at_s=-1_000.0), False),
        (
            lambda root: Snapshot(
                beacon(root).statement, gen.signer("keeper").public, gen.signer("keeper").sign(signed_bytes(root))
            ),
            True,
        ),
    ],
    ids=["no-role", "unknown-key", "forged", "foreign", "a-checkpoints", "unknown-policy", "expired", "other-domain"],
)
def test_what_is_refused_proves_nothing_and_goes_no_further(make: Any, blamed: bool) -> None:
    one = bench()
    link, other = one.connect("liar"), one.connect("q")
    tell(one, link, make(one.node.root))
    assert view(one).freshness is Freshness.NEVER
    assert one.said(other, Beacon) == []
    (event,) = one.events(BeaconRefused)
    assert event.node_id == "liar"
    assert one.node.overlay.complaints.of("liar") == ({"invalid": 1} if blamed else {})


def test_bytes_that_are_no_snapshot_are_blamed_on_their_sender() -> None:
    one = bench()
    one.tell(one.connect("liar"), Beacon(b"\x93"))
    assert one.node.overlay.complaints.of("liar") == {"invalid": 1}


def test_a_peer_that_sends_forged_ones_without_end_costs_a_bounded_number_of_signatures() -> None:
    one = bench()
    link = one.connect("liar")
    for number in range(200):
        forged = Snapshot(beacon(bytes(16), at_s=number / 1000).statement, gen.signer("keeper").public, bytes(64))
        tell(one, link, forged)
    assert one.node.overlay.complaints.of("liar")["invalid"] == VERIFIED_BURST
    tell(one, one.connect("honest"), beacon(one.node.root, at_s=1.0))
    assert view(one).freshness is Freshness.FRESH, "others have an allowance of their own"


def test_a_signer_without_measure_is_not_passed_on_without_end() -> None:
    one = bench()
    link, other = one.connect("p"), one.connect("q")
    for number in range(100):
        tell(one, link, beacon(bytes(16), at_s=number / 100))
    assert len(one.said(other, Beacon)) <= 9


def test_a_key_that_is_withdrawn_has_shown_nothing() -> None:
    """Held: a beacon key, until the roots find out."""
    one = bench()
    tell(one, one.connect("p"), beacon(one.node.root))
    assert view(one).freshness is Freshness.FRESH
    chain = CLUSTER.chain()
    policy = Policy(2, (ROOT.public,), 1, (WRITERS,))
    second = sign_policy(chain, policy, [ROOT], now_ms=1, reservation=gen.reservation(7))
    one.tell(one.connect("q"), Push(0, 0, 0, second.encode()))
    assert one.node.replica.policy_version == 2
    assert view(one).freshness is Freshness.NEVER
    tell(one, one.connect("r"), beacon(one.node.root, at_s=1.0))
    assert view(one).freshness is Freshness.NEVER, "whatever policy it names"


def test_a_key_that_a_settlement_withdraws_has_shown_nothing() -> None:
    """The policy that settles a fork takes the place of one with the same number."""

    def policy(version: int, *roles: Role, seq: int, settles: tuple[bytes, ...] = ()) -> Change:
        document = Policy(version, (ROOT.public,), 1, roles, settles=settles)
        entry = gen.Entry(policy_key(version), document.encode(), ValueType.BYTES)
        return gen.signed([entry], "root-1", seq=seq, policy=version - 1, cluster_id=CLUSTER.genesis.cluster_id)

    ours, rival = policy(2, WRITERS, KEEPERS, seq=2), policy(2, WRITERS, seq=3)
    settled = policy(3, WRITERS, seq=5, settles=(rival.id, ours.id))
    one = bench()
    link = one.connect("p")
    one.tell(link, *(Push(0, 0, 0, made.encode()) for made in (ours, policy(3, WRITERS, KEEPERS, seq=4), rival)))
    tell(one, link, beacon(one.node.root, policy=3))
    assert view(one).freshness is Freshness.FRESH
    one.tell(link, Push(0, 0, 0, settled.encode()))
    assert one.node.replica.chain.accepted[1:] == (rival.id, settled.id)
    assert view(one).freshness is Freshness.NEVER


# -- clocks ---------------------------------------------------------------------------------------


def test_a_signer_whose_clock_is_ahead_by_less_than_the_skew_is_believed_and_the_bound_still_holds() -> None:
    one = bench()
    tell(one, one.connect("p"), beacon(one.node.root, at_s=SKEW_MS / 1000))
    assert view(one).at_most_ms == SKEW_MS, "not less, though its time has not come here"
    assert view(one, 5.0).at_most_ms == 5_000 + SKEW_MS


def test_one_whose_clock_is_ahead_by_more_is_refused() -> None:
    one = bench()
    tell(one, one.connect("p"), beacon(one.node.root, at_s=SKEW_MS / 1000 + 0.001))
    assert view(one).freshness is Freshness.NEVER
    assert "from now by this machine's clock; set the clocks" in one.events(BeaconRefused)[0].reason


def test_a_signer_whose_clock_is_behind_makes_the_bound_longer_and_never_shorter() -> None:
    one = bench()
    tell(one, one.connect("p"), beacon(one.node.root, at_s=-25.0))
    assert view(one).at_most_ms == 25_000 + SKEW_MS


def test_the_skew_and_the_limit_are_settings() -> None:
    one = bench(freshness=FreshnessLimits(skew_ms=1_000, limit_ms=30_000))
    tell(one, one.connect("p"), beacon(one.node.root))
    assert view(one, 29.0).freshness is Freshness.FRESH
    assert view(one, 29.1).freshness is Freshness.STALE
    one.wait(29.0)
    assert one.events(ViewStale) == []
    one.wait(0.1)
    assert [event.at_most_ms for event in one.events(ViewStale)] == [30_001]


# -- spreading ------------------------------------------------------------------------------------


def test_a_beacon_is_passed_on_once_to_all_but_its_source_and_to_new_peers() -> None:
    one = bench()
    source, other = one.connect("p"), one.connect("q")
    snapshot = beacon(one.node.root)
    for _ in range(3):
        tell(one, source, snapshot)
    assert one.said(source, Beacon) == []
    assert one.said(other, Beacon) == [Beacon(snapshot.encode())]
    assert one.said(one.connect("r"), Beacon) == [Beacon(snapshot.encode())]


def test_one_submitted_here_is_verified_like_any_other() -> None:
    one = bench()
    link = one.connect("p")
    one.node.submit_beacon(one.now(), beacon(one.node.root))
    assert len(one.said(link, Beacon)) == 1
    for refused, error in (
        (beacon(one.node.root), Rejected),
        (beacon(one.node.root, at_s=1.0, by="alice"), NotAuthorised),
        (beacon(one.node.root, at_s=60.0), Expired),
        (Snapshot(beacon(one.node.root, at_s=1.0).statement, gen.signer("keeper").public, bytes(64)), BadSignature),
    ):
        with pytest.raises(error):
            one.node.submit_beacon(one.now(), refused)


def test_a_whole_cluster_knows_its_age_and_a_node_that_was_cut_off_knows_that_its_view_is_old() -> None:
    names = [f"n{number}" for number in range(8)]
    world = Tapped(*names, of=CLUSTER)
    world.run(10.0)
    world.partition(names[:1], names[1:])
    world.run(5.0)
    world.publish_value("n3", "a", "1")
    world.run(2.0)
    host = world.hosts["n3"]
    root, at_s = world.node("n3").root, (world.clock_ms() - NOW_MS) / 1000
    world.node("n3").submit_beacon(world._clock(host), beacon(root, at_s=at_s))
    world._settle(host)
    world.run(2.0)
    ages = {name: _age_ms(world, name) for name in names}
    assert ages.pop("n0") is None
    assert all(age is not None and age <= 2_100 + SKEW_MS for age in ages.values())
    world.heal()
    assert world.run_until(lambda: _age_ms(world, "n0") is not None, 20.0)


def _age_ms(world: Tapped, name: str) -> int | None:
    return world.node(name).view(world._clock(world.hosts[name])).at_most_ms
