"""`gossipconf-sim sweep`: the table, the file, going on, failures, violations, Ctrl-C; the same on a Dask cluster."""

from __future__ import annotations

import json
import multiprocessing
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.text import Text

from gossipconf_sim.cli import __main__ as entry
from gossipconf_sim.cli import sweep as command
from gossipconf_sim.cli.sweep import Bar, Forecast
from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.scenario import load
from gossipconf_sim.sweep import executors as sweep_executor
from gossipconf_sim.sweep import grid as model
from gossipconf_sim.sweep.grid import Failure, Row, parse_axes, plan
from tests.sim.cli.process import ENVIRONMENT
from tests.sim.sweep.doomed import doomed

FILE = Path("sweep-tiny.jsonl")
VARY = ["--vary", "nodes=4,5", "--vary", "network.loss=0.3"]
REPLAY = "  gossipconf-sim run tiny.toml --seed {} --set nodes={} --set network.loss=0.3"
WAIT_S = 60


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Path:
    """Where the command is given, with a scenario of which a run takes milliseconds."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text("[publish]\nchanges = 2\n[measure]\nidle_s = 0\n")
    return tmp_path


@pytest.fixture
def sweep(run):
    """The command on that scenario."""

    def call(*arguments: object):
        return run("sweep", "tiny.toml", *arguments)

    return call


@pytest.fixture
def here(monkeypatch) -> None:
    """Runs in this process, where a test is about something else: a process takes half a second to start."""
    monkeypatch.setattr(sweep_executor, "processes", ThreadPoolExecutor)


def lines(path: Path = FILE) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def traces(path: Path = FILE) -> dict[tuple[int, int], str]:
    """By nodes and seed what each run did."""
    return {(one["point"]["nodes"], one["seed"]): one["result"]["trace_sha256"] for one in lines(path)[1:]}


@pytest.fixture(scope="module")
def expected() -> dict[tuple[int, int], str]:
    """What runs in this process do."""
    overrides = {"publish.changes": 2, "measure.idle_s": 0, "network.loss": 0.3}
    return {
        (nodes, seed): simulate(
            load("lan", {**overrides, "nodes": nodes, "publish.every_ms": 100.0}), seed
        ).result.trace_sha256
        for nodes in (4, 5)
        for seed in (0, 1)
    }


# -- what it shows and writes ---------------------------------------------------------------------


def test_a_row_for_each_point_and_a_line_for_each_run(sweep, expected):
    result = sweep(*VARY, "--repeats", 2)
    assert (result.code, result.err) == (0, "")
    title, columns, *rows, explanation = [line for line in result.out.splitlines() if line]
    assert title == f"tiny: 2 points, seeds 0 to 1; 4 runs in {FILE}"
    assert re.split(" {2,}", columns.strip()) == ["nodes", "network.loss", "RUNS", *command.COLUMNS, "VIOLATIONS"]
    cells = [re.split(" {2,}", row.strip()) for row in rows]
    assert [(row[:3], row[-1]) for row in cells] == [(["4", "0.3", "2"], "0"), (["5", "0.3", "2"], "0")]
    assert explanation == "A figure is the median over the seeds, with the least and the largest behind it."
    assert traces() == expected
    assert lines()[0]["sweep"]["vary"] == {"nodes": [4, 5], "network.loss": [0.3]}


def test_the_number_of_processes_changes_nothing(sweep, expected):
    assert sweep("--vary", "nodes=5", "--set", "network.loss=0.3", "--repeats", 2, "--jobs", 1).code == 0
    assert traces() == {key: trace for key, trace in expected.items() if key[0] == 5}


def test_figures_are_medians_with_their_range(sweep, here):
    assert sweep("--vary", "nodes=4", "--repeats", 3, "--jobs", 1).code == 0
    header, *rows = lines()
    for row, converged_ms in zip(rows, (30.0, 10.0, 20.0), strict=True):
        row["result"] |= {"convergence_ms": converged_ms, "bytes_per_node_per_change": None}
    assert table_cells(sweep, [header, *rows])[2] == "20 (10–30)"
    rows[0]["result"]["convergence_ms"] = None
    assert table_cells(sweep, [header, *rows])[2] == "20 (10–never)"
    rows[1]["result"]["convergence_ms"] = None
    assert table_cells(sweep, [header, *rows])[2] == "never (20–never)"


def table_cells(sweep, content: list[dict[str, object]]) -> list[str]:
    """The one row of the table that a file gives."""
    FILE.write_text("".join(json.dumps(line) + "\n" for line in content))
    out = sweep("--vary", "nodes=4", "--repeats", 3).out
    assert "BYTES" not in out, "a column without figures is left out"
    return re.split(" {2,}", out.split("\n\n")[1].splitlines()[1].strip())


def test_json_has_all_rows_in_the_order_of_the_grid(sweep, target, expected, here):
    result = sweep("--vary", "nodes=5,4", "--set", "network.loss=0.3", "--repeats", 2, "--json", "-", "--out", target)
    document = json.loads(result.out)
    assert list(document) == ["sweep", "runs", "failures"]
    assert document["sweep"] == lines(target)[0]["sweep"]
    assert document["failures"] == []
    found = [((one["point"]["nodes"], one["seed"]), one["result"]["trace_sha256"]) for one in document["runs"]]
    assert found == [(key, expected[key]) for key in ((5, 0), (5, 1), (4, 0), (4, 1))]


def test_results_go_into_a_directory(sweep, tmp_path, here):
    (tmp_path / "out").mkdir()
    assert (
        f"1 run in {tmp_path}/out/sweep-tiny.jsonl"
        in sweep("--set", "nodes=4", "--repeats", 1, "--out", tmp_path / "out").out
    )
    assert (tmp_path / "out" / "sweep-tiny.jsonl").exists()


def test_a_picture_is_drawn_later_too(sweep, here):
    arguments = ["--vary", "nodes=4,5", "--repeats", 1]
    assert sweep(*arguments).code == 0
    before = FILE.read_bytes()
    result = sweep(*arguments, "--plot", "picture.svg")
    assert (result.code, result.err) == (0, f"2 of 2 runs are in {FILE} already\n")
    assert Path("picture.svg").read_text().endswith("</svg>\n")
    assert FILE.read_bytes() == before


# -- going on -------------------------------------------------------------------------------------


def test_what_is_there_is_not_run_again(sweep, expected, monkeypatch, here):
    arguments = [*VARY, "--repeats", 2, "--jobs", 1]
    assert sweep(*arguments).code == 0
    whole = FILE.read_bytes()
    *kept, last = whole.splitlines(keepends=True)
    FILE.write_bytes(b"".join(kept) + last[: len(last) // 2])
    result = sweep(*arguments)
    assert (result.code, result.err) == (0, f"3 of 4 runs are in {FILE} already\n")
    assert traces() == expected
    assert FILE.read_bytes().splitlines(keepends=True)[:-1] == kept
    monkeypatch.setattr(model, "perform", pytest.fail)
    assert sweep(*arguments).code == 0


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_processes_and_says_how_to_go_on(sweep, monkeypatch, expected):
    perform = model.perform

    def interrupted(jobs: object, executor: object) -> Iterator[Row | Failure]:
        yield next(perform(jobs, executor))
        signal.raise_signal(signal.SIGINT)

    arguments = [*VARY, "--repeats", 2, "--jobs", 2]
    with monkeypatch.context() as patch:
        patch.setattr(model, "perform", interrupted)
        result = sweep(*arguments)
    assert (result.code, result.out) == (130, "")
    assert result.err == f"interrupted; 1 of 4 runs are in {FILE}: the same command goes on\n"
    assert multiprocessing.active_children() == []
    assert sweep(*arguments).code == 0
    assert traces() == expected


# -- what goes wrong ------------------------------------------------------------------------------


def test_a_run_that_fails_is_told_and_tried_again(sweep, target, monkeypatch, expected):
    with monkeypatch.context() as patch:
        patch.setattr(model, "execute", doomed)
        result = sweep(*VARY, "--repeats", 2, "--jobs", 2, "--json", target)
    assert result.code == 1
    *told, error = result.err.splitlines()
    assert error == "error: 2 runs failed; the same command tries them again"
    reason = "failed: its process was ended by SIGKILL; the machine may be out of memory"
    assert sorted(zip(told[::2], told[1::2], strict=True)) == [
        (f"nodes={nodes}, network.loss=0.3, seed 1 {reason}", REPLAY.format(1, nodes)) for nodes in (4, 5)
    ]
    assert " 1 of 2 " in result.out
    assert [(one["point"]["nodes"], one["seed"]) for one in json.loads(target.read_text())["failures"]] in (
        [(4, 1), (5, 1)],
        [(5, 1), (4, 1)],
    )
    assert sweep(*VARY, "--repeats", 2).code == 0
    assert traces() == expected


def test_of_many_failures_some_are_told(sweep, monkeypatch, tmp_path):
    def all_fail(jobs: list[model.Job], _: object) -> Iterator[Failure]:
        return (Failure(job, "it was \x1b[2J") for job in jobs)

    monkeypatch.setattr(model, "perform", all_fail)
    result = sweep("--set", "nodes=4", "--repeats", 15, "--plot", tmp_path / "x.png", "--vary", "network.loss=0")
    *told, last, error = result.err.splitlines()
    assert len(told) == 2 * command.TOLD_MAX
    assert told[0] == "network.loss=0, seed 0 failed: it was \\x1b[2J"
    assert (last, error) == (
        "further failures are counted only",
        "error: 15 runs failed; the same command tries them again",
    )
    assert " 0 of 15" in result.out
    assert not (tmp_path / "x.png").exists()


def test_violations_are_told_with_how_to_see_them_again(sweep, run, here):
    arguments = [*VARY, "--repeats", 2, "--jobs", 1]
    assert sweep(*arguments).code == 0
    header, *rows = lines()
    rows[3]["result"]["violations"] = ["n1 lost a change at 1.000 s", "and more"]
    FILE.write_text("".join(json.dumps(line) + "\n" for line in [header, *rows]))
    result = sweep(*arguments)
    assert result.code == 1
    assert result.err.splitlines()[1:] == [
        "nodes=5, network.loss=0.3, seed 1 violated: n1 lost a change at 1.000 s (and 1 more)",
        REPLAY.format(1, 5),
        "error: 1 run of 4 violated an invariant",
    ]
    (_, *words) = shlex.split(REPLAY.format(1, 5))
    assert json.loads(run(*words, "--json", "-").out)["trace_sha256"] == rows[3]["result"]["trace_sha256"]
    assert result.out.splitlines()[-3].endswith(" 2")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--vary", "nodes=0"], "--vary at nodes=0: scenario tiny.toml: nodes is 0; allowed: 1 to "),
        (["--vary", "nodes"], "--vary 'nodes' is not path=value,value"),
        (["--set", "nodes"], "'nodes' is not path=value"),
        (["--repeats", "0"], "repeats 0 is too small"),
        (["--jobs", "0"], "jobs 0 is out of range"),
        (["--jobs", "1", "--dask", "127.0.0.1:1"], "--jobs is about processes of this machine"),
        (["--plot", "x.png"], "a picture needs an axis"),
        (["--vary", "nodes=4", "--plot", "x.gif"], "the picture 'x.gif' must end in"),
        (
            ["--vary", "nodes=4", "--plot", "no/x.png"],
            "the file 'no/x.png' cannot be written: there is no directory no",
        ),
        (["--json", "no/x"], "the file 'no/x' cannot be written"),
        (["--json", "sweep-tiny.jsonl"], "'sweep-tiny.jsonl' is given for two outputs"),
        (["--vary", "nodes=4", "--json", "x.svg", "--plot", "./x.svg"], "'x.svg' is given for two outputs"),
        (["--out", "no/x"], "no/x cannot be written: No such file or directory"),
        (["--out", "tiny.toml"], "tiny.toml is a file of something else than a sweep"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_run(error, directory, arguments, told):
    assert error("sweep", "tiny.toml", *arguments).startswith(f"error: {told}")
    assert [path.name for path in directory.iterdir()] == ["tiny.toml"]


def test_a_picture_that_cannot_be_written_after_all_is_told(sweep, monkeypatch, here):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gossipconf_sim.sweep.plot.save", full)
    result = sweep("--vary", "nodes=4", "--repeats", 1, "--plot", "x.png")
    assert (result.code, result.err) == (1, "error: the file 'x.png' cannot be written: No space left on device\n")


# -- progress -------------------------------------------------------------------------------------


def ended(job: model.Job, wall_s: float) -> Row:
    return Row(job, {"wall_s": wall_s})


def test_the_forecast_goes_by_runs_of_the_same_point_and_else_by_nodes():
    planned = plan("lan", parse_axes(["nodes=10,100"]), repeats=3)
    small, large, *others = planned.jobs()
    forecast = Forecast([], planned.jobs())
    assert forecast.left_s(1.0) is None
    forecast.ended(ended(small, 2.0))
    assert forecast.left_s(2.0) == pytest.approx(2 * 2 + 3 * 20), "nothing is known of 100 nodes: ten times as long"
    forecast.ended(ended(large, 8.0))
    assert forecast.left_s(5.0) == pytest.approx((2 * 2 + 2 * 8) / 2), "10 s were worked in 5 s"
    for job in others:
        forecast.ended(Failure(job, "as it is"))
    assert forecast.left_s(5.0) == 0


def test_the_forecast_knows_what_was_done_before():
    planned = plan("lan", parse_axes(["nodes=10,100"]), repeats=2)
    jobs = planned.jobs()
    forecast = Forecast([ended(jobs[1], 50.0)], [jobs[0], *jobs[2:]])
    forecast.ended(ended(jobs[0], 1.0))
    assert forecast.left_s(1.0) == pytest.approx(1 + 50)


def test_a_terminal_shows_progress(monkeypatch, capfd):
    console = command.stderr()
    monkeypatch.setattr(command, "stderr", lambda: type(console)(stderr=True, force_terminal=True, width=100))
    monkeypatch.setattr(command, "FORECAST_EVERY_S", 0.0)
    first, second = plan("lan", repeats=2).jobs()
    with Bar(Forecast([], [first, second])) as bar:
        bar.advance(ended(first, 1000.0))
    assert re.search("1 of 2 runs .*0:00:0. *about 1 s left", Text.from_ansi(capfd.readouterr().err).plain)


def test_no_terminal_no_progress(capfd):
    (job,) = plan("lan").jobs()
    with Bar(Forecast([], [job])) as bar:
        bar.advance(ended(job, 1.0))
    assert capfd.readouterr().err == ""


# -- Dask -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A Dask cluster: the address of its scheduler, which has two workers of one thread, each a process."""
    environment = ENVIRONMENT | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    dask = [sys.executable, "-m", "dask"]
    own = ["--host", "127.0.0.1", "--no-dashboard"]
    with subprocess.Popen(
        [*dask, "scheduler", *own, "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    ) as manager:
        address = next(found[0] for line in manager.stderr if (found := re.findall("Scheduler at: +([^ \n]+)", line)))
        workers = subprocess.Popen(
            [*dask, "worker", address, *own, "--nworkers", "2", "--nthreads", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        yield address
        workers.terminate()
        workers.wait(WAIT_S)
        manager.terminate()
        manager.communicate(timeout=WAIT_S)


def test_a_cluster_finds_what_processes_find(sweep, scheduler, expected):
    result = sweep(*VARY, "--repeats", 2, "--dask", scheduler)
    assert result.code == 0
    assert traces() == expected


def test_a_worker_that_dies_is_told_and_the_sweep_goes_on(sweep, scheduler, monkeypatch, expected):
    """Dask may hold a run guilty that only waited for the worker that died: it is tried again as well."""
    arguments = [*VARY, "--repeats", 2, "--dask", scheduler]
    with monkeypatch.context() as patch:
        patch.setattr(model, "execute", doomed)
        result = sweep(*arguments)
    assert result.code == 1
    told = [line.partition(" failed: ") for line in result.err.splitlines()[:-1:2]]
    assert {"nodes=4, network.loss=0.3, seed 1", "nodes=5, network.loss=0.3, seed 1"} <= {job for job, _, _ in told}
    assert all(reason.startswith("KilledWorker: ") for _, _, reason in told)
    assert result.err.splitlines()[-1] == f"error: {len(told)} runs failed; the same command tries them again"
    assert len(traces()) == 4 - len(told)
    assert sweep(*arguments).code == 0
    assert traces() == expected


def test_an_address_that_nobody_answers_is_told_in_a_line(error, monkeypatch):
    monkeypatch.setattr(sweep_executor, "CONNECT_S", 0.1)
    told = error("sweep", "tiny.toml", "--dask", "127.0.0.1:1")
    assert told == "error: no Dask scheduler answers at 127.0.0.1:1 within 0.1 s"


def test_without_dask_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setattr(sys, "argv", ["gossipconf-sim", "sweep", "tiny.toml", "--dask", "127.0.0.1:1"])
    with pytest.raises(SystemExit) as exit_:
        entry.main()
    assert exit_.value.code == "error: this needs distributed; install it with: pip install 'gossipconf[dask]'"
