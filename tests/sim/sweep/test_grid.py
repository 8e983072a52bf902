"""Sweeps: the grid and what it refuses, running its jobs, and what becomes of those that fail."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf import __version__
from gossipconf.model.errors import InvalidInput
from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.scenario import load, parse_overrides
from gossipconf_sim.sweep import grid as sweep
from gossipconf_sim.sweep.executors import processes
from gossipconf_sim.sweep.grid import (
    RUNS_MAX,
    Axis,
    Failure,
    Row,
    RunFailed,
    assignments,
    by_point,
    execute,
    figure,
    parse_axes,
    perform,
    plan,
)
from tests.sim.sweep.doomed import doomed

SMALL = {"publish.changes": 2, "measure.idle_s": 0}
REAL = {"wall_s", "events_per_s", "peak_rss_mib"}
"""Figures of a result that depend on the machine."""


def small(*vary: str, **options: int) -> sweep.Sweep:
    return plan("lan", parse_axes(vary), SMALL, **options)


def virtual(result: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in result.items() if name not in REAL}


# -- axes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("nodes=100,1000", "nodes", (100, 1000)),
        (" network.loss = 0, 0.3 ", "network.loss", (0, 0.3)),
        ("start=joined,cold", "start", ("joined", "cold")),
        ("network.latency_ms=1,[2, 3],[4.5,5]", "network.latency_ms", (1, [2, 3], [4.5, 5])),
        (r"""description="a,b",'c,"[',"d\",e",it's""", "description", ("a,b", 'c,"[', 'd",e', "it's")),
        ("network={loss=0.1,drop=0},{loss=0.2}", "network", ({"loss": 0.1, "drop": 0}, {"loss": 0.2})),
        ("faults.0.silent=true,false", "faults.0.silent", (True, False)),
    ],
)
def test_values_are_toml_or_bare_strings_between_commas(text, path, values):
    assert parse_axes([text]) == (Axis(path, values),)


def test_numbers_have_a_place_on_a_scale():
    numeric = {axis.path: axis.numeric for axis in parse_axes(["a=1,2.5", "b=true,false", "c=x,1", "d=1,[1, 2]"])}
    assert numeric == {"a": True, "b": False, "c": False, "d": False}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nodes", "--vary 'nodes' is not path=value,value, such as nodes=100,1000"),
        ("nodes=", "--vary 'nodes=' is not path=value,value"),
        ("=1,2", "--vary '=1,2' is not path=value,value"),
        ("nodes=1,,2", "--vary 'nodes=1,,2' is not path=value,value"),
        ("nodes=1,2, 1", "--vary nodes: 1 is there twice"),
        ("publish.every_ms=1,inf", "publish.every_ms cannot be inf: give a finite number"),
        ("description=1979-05-27", "description cannot be 1979-05-27"),
    ],
)
def test_an_axis_that_makes_no_sense_is_refused(text, told):
    with pytest.raises(InvalidInput) as refused:
        parse_axes([text])
    assert str(refused.value).startswith(told)


PLAIN = st.recursive(
    st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(PLAIN)
def test_what_is_spelled_reads_back_as_it_was(value):
    (text,) = assignments({"path": value})
    (found,) = parse_overrides([text]).values()
    assert (found, type(found)) == (value, type(value))


# -- the grid -------------------------------------------------------------------------------------


def test_the_grid_is_the_product_of_the_axes_a_round_for_each_seed():
    planned = small("nodes=5,6", "network.loss=0,0.1,0.2", repeats=2, seed=7)
    grid = [(nodes, loss) for nodes in (5, 6) for loss in (0.0, 0.1, 0.2)]
    assert [(one.scenario.nodes, one.scenario.network.loss) for one in planned.points] == grid
    assert {one.scenario.publish.changes for one in planned.points} == {2}
    assert [(job.point, job.seed) for job in planned.jobs()] == [
        *((point, 7) for point in planned.points),
        *((point, 8) for point in planned.points),
    ]
    assert (planned.name, planned.last_seed) == ("lan", 8)
    assert planned.header() == {
        "version": __version__,
        "scenario": "lan",
        "text": sweep.source("lan"),
        "set": SMALL,
        "vary": {"nodes": [5, 6], "network.loss": [0, 0.1, 0.2]},
        "repeats": 2,
        "seed": 7,
    }


def test_without_an_axis_there_is_one_point():
    planned = small(repeats=3)
    assert [str(point) for point in planned.points] == ["lan"]
    assert [job.seed for job in planned.jobs()] == [0, 1, 2]


def test_a_path_may_reach_into_a_table_that_is_set():
    fixed = {"network": {"loss": 0.1}}
    planned = plan("lan", parse_axes(["network.drop=0,0.5"]), fixed)
    found = [(point.scenario.network.loss, point.scenario.network.drop) for point in planned.points]
    assert found == [(0.1, 0.0), (0.1, 0.5)]
    assert planned.header()["set"] == {"network": {"loss": 0.1}}


def test_a_run_can_be_replayed_by_a_command():
    planned = plan("lan", parse_axes(["nodes=5", "network.latency_ms=[1, 2]"]), {"start": "cold"}, seed=3)
    (job,) = planned.jobs()
    command = ["run", "lan", "--seed", "3", "--set", "start=cold", "--set", "nodes=5", "--set"]
    assert planned.replay(job) == [*command, "network.latency_ms=[1, 2]"]
    overrides = parse_overrides(planned.replay(job)[5::2])
    assert load("lan", overrides) == job.point.scenario


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        (["nodes=5,0"], "--vary at nodes=0: scenario lan: nodes is 0; allowed: 1 to "),
        (["nodes=5", "network.loss=0,2"], "--vary at nodes=5, network.loss=2: scenario lan: network.loss is 2.0; "),
        (["network.lss=0"], "--vary at network.lss=0: scenario lan: network.lss is not an option (did you mean loss?)"),
        (["nodes=5", "nodes=6"], "nodes is given twice; vary it once, or set it"),
        (["publish.changes=5"], "publish.changes is given twice"),
    ],
)
def test_every_point_is_checked_first(vary, told):
    with pytest.raises(InvalidInput) as refused:
        small(*vary)
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(
    ("repeats", "told"),
    [(0, "repeats 0 is too small; give 1 or more"), (RUNS_MAX, f"this sweep has {2 * RUNS_MAX:,} runs, above the ")],
)
def test_a_number_of_runs_that_makes_no_sense_is_refused(repeats, told):
    with pytest.raises(InvalidInput, match=told):
        small("nodes=5,6", repeats=repeats)


def test_a_scenario_that_is_not_there_is_told_without_an_axis():
    with pytest.raises(InvalidInput, match=r"^no scenario is named 'mars'"):
        plan("mars", parse_axes(["nodes=5"]))


def test_infinity_cannot_be_set():
    with pytest.raises(InvalidInput, match=r"^publish.every_ms cannot be inf"):
        plan("lan", (), {"publish.every_ms": float("inf")})


# -- running --------------------------------------------------------------------------------------


def test_processes_find_what_a_run_here_finds():
    planned = small("nodes=4,5", "network.loss=0.2", seed=5)
    with processes(2) as executor:
        rows = list(perform(planned.jobs(), executor))
    found = {row.job.key: virtual(row.result) for row in rows if isinstance(row, Row)}
    assert found == {
        job.key: virtual(simulate(load("lan", {**SMALL, **job.point.values}), job.seed).result.to_json())
        for job in planned.jobs()
    }


def test_a_run_that_ends_badly_is_told_and_takes_no_other_with_it(monkeypatch):
    planned = small("nodes=5", repeats=5)
    scenario = planned.points[0].scenario
    monkeypatch.setattr(sweep, "execute", doomed)
    with processes(3) as executor:
        ended = list(perform(planned.jobs(), executor))
    assert sorted((row.job.seed, row.result["trace_sha256"]) for row in ended if isinstance(row, Row)) == [
        (seed, execute(scenario, seed, __version__)["trace_sha256"]) for seed in (0, 4)
    ]
    failures = {failure.job.seed: failure.reason for failure in ended if isinstance(failure, Failure)}
    assert failures == {
        1: "its process was ended by SIGKILL; the machine may be out of memory",
        2: "ValueError: it was 2",
        3: "KeyError: 'three'",
    }


def test_a_run_that_is_cancelled_is_told():
    class Lost(ThreadPoolExecutor):
        """As the executor of a cluster whose scheduler has gone."""

        def submit(self, *_: object) -> Future[object]:
            future: Future[object] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    (failure,) = perform(small("nodes=5").jobs(), Lost())
    assert failure.reason == "it was cancelled, or the connection to the cluster is lost"
    assert failure.to_json() == {"point": {"nodes": 5}, "seed": 0, "reason": failure.reason}


@pytest.mark.parametrize(
    ("error", "told"),
    [(ZeroDivisionError("by 0"), "ZeroDivisionError: by 0"), (MemoryError(), "not enough memory; take fewer nodes")],
)
def test_an_error_of_a_run_becomes_words(monkeypatch, error, told):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(sweep, "simulate", fail)
    with pytest.raises(RunFailed, match=told):
        execute(load("lan"), 0, __version__)


def test_a_worker_with_other_code_does_not_run():
    with pytest.raises(RunFailed, match=f"^the worker has gossipconf {__version__}, and not 0.0.9: install the same"):
        execute(load("lan"), 0, "0.0.9")


# -- figures --------------------------------------------------------------------------------------


def test_figures_by_their_paths():
    result = {"convergence_ms": 2, "last_delivery_ms": {"p50": 1.5}, "delivery_ms": None}
    paths = ("convergence_ms", "last_delivery_ms.p50", "delivery_ms.p50", "delivery_ms")
    assert [figure(result, path) for path in paths] == [2.0, 1.5, None, None]
    with pytest.raises(KeyError):
        figure(result, "last_delivery_ms.p33")


def test_rows_are_put_in_the_order_of_the_grid():
    planned = small("nodes=6,5", repeats=2)
    rows = [Row(job, {}) for job in planned.jobs()]
    ordered = by_point(planned, reversed(rows[:3]))
    assert [(point.values["nodes"], [row.job.seed for row in found]) for point, found in ordered] == [
        (6, [0, 1]),
        (5, [0]),
    ]


def test_equal_numbers_of_different_types_are_different_points():
    planned = plan("lan", parse_axes(["network.loss=0"]))
    other = plan("lan", parse_axes(["network.loss=0.0"]))
    assert planned.points[0].scenario == other.points[0].scenario
    assert planned.jobs()[0].key != other.jobs()[0].key
    assert json.loads(planned.jobs()[0].key) == [{"network.loss": 0}, 0]
    assert dataclasses.replace(planned.jobs()[0], seed=1).key != planned.jobs()[0].key
