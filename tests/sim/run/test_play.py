"""Whole runs: figures that can be worked out by hand, every shipped scenario, and the same trace in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from gossipconf.protocol.environment import Now
from gossipconf.protocol.messages import Batch, Push, decode_message
from gossipconf.protocol.node import Node
from gossipconf_sim.run.play import Run, simulate
from gossipconf_sim.run.result import Spread
from gossipconf_sim.scenario.scenario import Scenario, from_values, load, shipped

QUIET = {"idle_s": 0.0, "samples": 1}
EVEN: dict[str, Any] = {"latency_ms": [10, 10], "jitter": [1, 1]}


def scenario(**values: Any) -> Scenario:
    """A scenario in which every message takes 10 ms and a write takes none."""
    return from_values("test", {"network": EVEN, "hosts": {"disk_ms": [0, 0]}, "measure": QUIET} | values)


def play(seed: int = 0, **values: Any) -> Run:
    return simulate(scenario(**values), seed)


def test_two_nodes_a_link_and_ten_milliseconds() -> None:
    result = play(nodes=2, publish={"changes": 5, "every_ms": 100}).result
    assert result.changes == 5
    assert result.delivered_fraction == 1.0
    assert result.last_delivery_ms == result.delivery_ms
    assert result.last_delivery_ms is not None
    assert result.last_delivery_ms.max == pytest.approx(10.0)
    assert result.hops == Spread(1, 1, 1)
    assert result.payload_copies_per_node == 1.0
    assert result.duplicates_per_node == 0.0
    assert result.convergence_ms == pytest.approx(10.0)
    assert result.violations == []


def test_a_full_mesh_of_five() -> None:
    # The publisher sends four copies; each of the four passes it on to the three others: 3 duplicates each.
    result = play(nodes=5, publish={"changes": 3, "every_ms": 500}).result
    assert result.hops == Spread(1, 1, 1)
    assert result.payload_copies_per_node == 4.0
    assert result.duplicates_per_node == 3.0
    assert result.visible_ms is not None
    assert result.visible_ms.max == pytest.approx(10.0)


def test_what_is_delivered_is_seen_after_the_disk() -> None:
    result = play(nodes=2, hosts={"disk_ms": [5, 5]}, publish={"changes": 1}).result
    assert result.last_delivery_ms is not None
    assert result.visible_ms is not None
    assert result.last_delivery_ms.max == pytest.approx(10.0)
    assert result.visible_ms.max == pytest.approx(15.0)


def test_warm_up_is_not_measured() -> None:
    run = play(nodes=2, publish={"changes": 3, "warmup": 4, "every_ms": 100})
    assert len(run.changes) == 3
    assert [one.change.entries[0][1].value[:2] for one in run.changes] == [b"4:", b"5:", b"6:"]  # type: ignore[index]


def test_a_partition_is_healed_and_its_repair_measured() -> None:
    fault = {"kind": "partition", "at_s": 0.0, "for_s": 5.0, "silent": False}
    result = play(nodes=4, publish={"changes": 4, "every_ms": 100}, faults=[fault]).result
    assert result.delivered_fraction == 1.0
    assert result.violations == []
    assert result.repair is not None
    assert result.repair.missing_bytes > 4 * 2 * 400
    assert result.repair.bytes > result.repair.missing_bytes
    assert result.convergence_ms is not None
    assert 0 < result.convergence_ms < 10_000


def test_what_supersedes_a_change_delivers_it() -> None:
    fault = {"kind": "partition", "at_s": 0.0, "for_s": 5.0, "silent": False}
    result = play(nodes=4, publish={"changes": 10, "keys": 1, "origins": "one"}, faults=[fault]).result
    assert result.delivered_fraction == 1.0
    assert result.violations == []


def test_one_node_alone() -> None:
    result = play(nodes=1, publish={"changes": 2}).result
    assert result.changes == 2
    assert result.delivered_fraction is None
    assert result.delivery_ms is None
    assert result.last_delivery_ms is None
    assert result.violations == []


def test_nothing_published() -> None:
    result = play(nodes=3, publish={"changes": 0}).result
    assert (result.changes, result.last_delivery_ms, result.violations) == (0, None, [])
    assert result.bytes_by_class["broadcast"] == 0


def test_a_cold_start_boots_from_the_seeds() -> None:
    values: dict[str, Any] = {"nodes": 12, "start": "cold"}
    result = play(preload={"keys": 20, "on": "seeds"}, publish={"changes": 1}, **values).result
    assert result.joined_s is not None
    assert result.joined_s > 0
    assert result.violations == []


def test_joining_is_measured_by_links_where_all_hold_the_same() -> None:
    network = EVEN | {"latency_ms": [200, 200]}
    result = play(nodes=8, start="cold", network=network, publish={"changes": 1}).result
    assert result.joined_s is not None
    assert 0.8 <= result.joined_s < 2.0, "two round trips of a dial, and hello"


def test_nodes_that_start_one_after_the_other_have_joined_with_the_last() -> None:
    result = play(nodes=6, start="cold", start_within_s=30.0, publish={"changes": 1}).result
    assert result.joined_s is not None
    assert 0 < result.joined_s < 1.0
    assert result.joining.unlinked == 0
    assert result.joining.first_link_s is not None
    assert result.joining.seed_handshakes >= 5


def test_nodes_without_a_link_are_told() -> None:
    far = EVEN | {"latency_ms": [2000, 2000]}  # a dial is given up before its answer comes
    measure = QUIET | {"join_limit_s": 5.0}
    result = play(nodes=3, start="cold", network=far, measure=measure, publish={"changes": 0}).result
    assert result.joined_s is None
    assert result.joining.first_link_s is None
    assert result.joining.unlinked == 3


def test_the_handshakes_of_the_busiest_seed_are_counted() -> None:
    network = EVEN | {"accepts_per_s": 2.0, "accepts_burst": 4}
    result = play(nodes=20, start="cold", seeds=1, network=network, publish={"changes": 1}).result
    assert 4 <= result.joining.seed_handshakes_per_s_max <= 4 + 2
    assert result.joining.seed_refusals > 0
    assert result.joining.unlinked == 0


def test_a_seed_that_all_come_to_at_once_takes_fifty_handshakes_in_a_second_and_lets_all_in() -> None:
    result = play(nodes=150, start="cold", seeds=1, network=EVEN, publish={"changes": 1}).result
    assert result.joining.seed_refusals > 0
    assert result.joining.seed_handshakes_per_s_max <= 50
    assert result.joining.unlinked == 0


def test_a_restart_at_the_very_end_is_waited_for() -> None:
    for down_s in (4.2, 4.25):
        fault = {"kind": "crash", "at_s": 0.1, "share": 0.5, "down_s": down_s, "empty_disk": True}
        result = play(nodes=12, publish={"changes": 1}, faults=[fault]).result
        assert result.convergence_ms is not None
        assert result.convergence_ms > 0
        assert result.repair is not None
        assert result.repair.bytes > 0


def test_every_change_is_published_before_healing_is_measured() -> None:
    result = play(nodes=3, publish={"changes": 142, "every_ms": 100}).result
    assert (result.changes, result.unpublished) == (142, 0)


def test_refused_publishes_are_told() -> None:
    fault = {"kind": "full-disk", "at_s": 0.0, "for_s": 5.0, "share": 1.0}
    result = play(nodes=3, publish={"changes": 10, "every_ms": 10}, faults=[fault]).result
    assert result.unpublished > 0
    assert result.changes + result.unpublished == 10
    assert result.violations == []


def test_what_boots_again_has_no_duplicates_and_the_dead_are_in_no_denominator() -> None:
    gone = {"kind": "crash", "at_s": 0.001, "share": 0.6, "machine": False}
    few = play(nodes=20, publish={"changes": 20, "every_ms": 1000}, faults=[gone]).result
    assert few.payload_copies_per_node is not None
    assert few.duplicates_per_node is not None
    assert 0.8 < few.payload_copies_per_node - few.duplicates_per_node < 1.0, "of 8 survivors one has published it"
    fault = {"kind": "crash", "at_s": 5.0, "share": 0.5, "down_s": 1.0, "empty_disk": True}
    plain = play(nodes=20, publish={"changes": 10, "every_ms": 100}).result
    booted = play(nodes=20, publish={"changes": 10, "every_ms": 100}, faults=[fault]).result
    assert booted.duplicates_per_node == pytest.approx(plain.duplicates_per_node, rel=0.02)
    assert booted.payload_copies_per_node is not None
    assert plain.payload_copies_per_node is not None
    assert booted.payload_copies_per_node > plain.payload_copies_per_node + 0.3, "which boot sync has brought"


def test_hostile_hosts_are_not_measured() -> None:
    run = play(nodes=10, hostile=[{"behaviour": "suppress", "share": 0.3}], publish={"changes": 5})
    assert sum(run.hostile) == 3
    assert run.result.delivered_fraction == 1.0
    receivers = {host for one in run.changes for host in one.receivers}
    assert not receivers & {index for index, hostile in enumerate(run.hostile) if hostile}


def test_zones_count_what_crosses_them() -> None:
    zones = [{"name": "a"}, {"name": "b"}]
    result = play(nodes=2, zones=zones, publish={"changes": 4}).result
    assert result.cross_zone_copies_per_change == 1.0
    assert play(nodes=2, publish={"changes": 4}).result.cross_zone_copies_per_change == 0.0


def test_idle_traffic_is_a_rate() -> None:
    short, long = (
        play(nodes=4, measure={"idle_s": s, "samples": 1}, publish={"changes": 1}).result for s in (40.0, 80.0)
    )
    assert short.idle_bytes_per_node_per_s is not None
    assert long.idle_bytes_per_node_per_s == pytest.approx(short.idle_bytes_per_node_per_s, rel=0.2)


def test_json_is_plain_and_whole() -> None:
    document = play(nodes=3).result.to_json()
    assert json.loads(json.dumps(document)) == document
    for key in (
        *("scenario", "nodes", "seed", "changes", "delivered_fraction", "last_delivery_ms", "delivery_ms", "hops"),
        *("payload_copies_per_node", "duplicates_per_node", "messages_per_change_per_node"),
        *("bytes_per_node_per_change", "bytes_by_class", "cross_zone_copies_per_change"),
        *("idle_bytes_per_node_per_s", "convergence_ms", "violations", "events", "wall_s", "events_per_s"),
        *("peak_rss_mib", "trace_sha256"),
    ):
        assert key in document
    assert set(document["hops"]) == {"p50", "p99", "max"}


# -- determinism ----------------------------------------------------------------------------------

SCRIPT = """
from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.scenario import load
print(simulate(load("forks", {"nodes": 8, "publish.changes": 10}), 5).result.trace_sha256)
"""


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    here = simulate(load("forks", {"nodes": 8, "publish.changes": 10}), 5).result.trace_sha256
    for hash_seed in ("0", "1", "42"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        assert done.stdout.strip() == here


def test_another_seed_gives_another_trace() -> None:
    assert play(seed=1, nodes=3).result.trace_sha256 != play(seed=2, nodes=3).result.trace_sha256


class Deaf(Node):
    """A node that takes no change from a peer."""

    def received(self, now: Now, link_id: int, data: bytes) -> None:
        if not isinstance(decode_message(data), Push | Batch):
            super().received(now, link_id, data)


def test_a_mutated_node_is_caught() -> None:
    result = simulate(
        load("lan", {"nodes": 5, "publish.changes": 2, "measure.heal_limit_s": 5.0}), make_node=Deaf
    ).result
    assert result.delivered_fraction == 0.0
    assert [one.split(":")[0] for one in result.violations] == ["heals"]


# -- what is shipped ------------------------------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    "wan19": {"nodes": 60, "publish.changes": 20, "publish.warmup": 5},
    "lan": {"nodes": 60, "publish.changes": 10},
    "mass-crash": {"nodes": 60},
    "churn": {"nodes": 30, "faults.0.for_s": 30.0, "publish.changes": 60},
    "acks": {"nodes": 60, "publish.changes": 4},
    "canary": {"nodes": 40, "canary.percent": 100.0, "canary.for_s": 60.0},
    "burst": {"publish.changes": 200, "nodes": 20},
    "byzantine": {"nodes": 20, "publish.changes": 10},
    "cold-start": {"nodes": 40},
    "loss": {"nodes": 30, "publish.changes": 20},
    "glomers-3d": {"publish.changes": 100},
    "glomers-3e": {"publish.changes": 100},
    "partition-heal": {"nodes": 8, "faults.0.for_s": 120.0},
    "mass-restart": {"nodes": 40, "publish.changes": 17},
    "staging": {"nodes": 15},
}


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_runs_clean(name: str) -> None:
    result = simulate(load(name, SMALL.get(name, {}) | {"measure.idle_s": 1.0}), 1).result
    assert result.violations == []
    assert result.delivered_fraction == 1.0
    assert result.convergence_ms is not None
    assert load(name).description
