"""`gossipconf-sim rounds`: the figures for people and for programs, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict

import pytest

from gossipconf_sim.cli.rounds import NAMES, REACHES_ALL
from gossipconf_sim.rounds import ALGORITHMS
from gossipconf_sim.rounds import run as play
from tests.sim.cli.process import COMMAND, ENVIRONMENT

KEYS = [
    *("algorithm", "nodes", "fanout", "loss", "trials", "rounds", "residue", "traffic", "t_last"),
    *("transmissions_per_node", "wall_s"),
]
PLANNED_S = 10
"""What a trial of a million nodes may take as a whole process (design, section 12)."""


def table(text: str) -> dict[str, list[str]]:
    """The rows of the printed table, by figure."""
    lines = text.split("\n\n")[1].splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:]]
    return {figure: rest for figure, *rest in cells}


def test_the_named_algorithms_are_those_there_are():
    assert tuple(ALGORITHMS) == NAMES
    assert set(NAMES) > REACHES_ALL


def test_measured_stands_beside_theory(run):
    result = run("rounds", "push", "--nodes", 1000, "--fanout", 3, "--trials", 50, "--seed", 7)
    assert result.code == 0
    assert result.err == ""
    figures = play("push", 1000, fanout=3, trials=50, seed=7)
    assert result.out.startswith(f"push: {ALGORITHMS['push']}\nN = 1,000 nodes, fanout 3, loss 0, 50 trials, seed 7; ")
    rows = table(result.out)
    assert rows["rounds, mean"] == [f"{figures.rounds.mean:.2f}", "7.29", "log4 N + ln N / 3 + O(1)"]
    assert rows["rounds, p99"] == [f"{figures.rounds.p99:.0f}"]
    assert rows["traffic"] == [f"{figures.traffic:.2f}", "6.91", "ln N + O(1): coupon collector"]
    assert rows["residue"] == ["0"]
    assert (
        f"All 1,000 nodes knew the rumour after {figures.rounds.mean:.2f} rounds on average, "
        f"in 99 of 100 trials after at most {figures.rounds.p99:.0f}." in result.out
    )
    assert "at most 3 copies a round can need less than log4 N, rounded up: 5." in result.out
    assert "O(1) is a constant that theory leaves open" in result.out
    assert "This is one trial" not in result.out


def test_a_rumour_that_ends_says_who_missed_it(run):
    result = run("rounds", "push-blind-coin", "--nodes", 1000, "--fanout", 2, "--trials", 50)
    figures = play("push-blind-coin", 1000, fanout=2, trials=50)
    assert "patience 2" in result.out
    assert f"; {100 * figures.residue:.2f}% of the nodes never heard it." in result.out
    assert table(result.out)["residue"] == [f"{figures.residue:.3g}", "0.203", "s = exp(-2 (1 - s))"]
    assert "No scheme" not in result.out


def test_one_trial_has_no_spread_and_says_how_to_get_one(run):
    out = run("rounds", "median-counter", "--nodes", 100).out
    assert list(table(out)) == ["rounds", "t_last", "residue", "traffic"]
    assert "; all had heard it." in out
    assert "This is one trial; --trials 100 shows how much they differ." in out


def test_time_without_rounds_is_in_ticks(run):
    assert "ticks of a node's clock." in run("rounds", "asynchronous-push-pull", "--nodes", 100).out


@pytest.mark.parametrize("algorithm", NAMES)
def test_json_has_the_agreed_keys_first_and_the_figures_of_the_run(run, algorithm):
    result = run("rounds", algorithm, "--nodes", 50, "--loss", "0.1", "--trials", 3, "--seed", 2, "--json", "-")
    document = json.loads(result.out)
    assert list(document) == [*KEYS, "patience", "seed"]
    assert list(document["rounds"]) == ["mean", "sd", "p50", "p90", "p99", "max"]
    figures = asdict(play(algorithm, 50, loss=0.1, trials=3, seed=2))
    assert document.pop("wall_s") > 0
    del figures["wall_s"]
    assert document == figures


def test_patience_is_handed_on(run):
    out = run("rounds", "push-feedback-counter", "--nodes", 50, "--patience", 4, "--json", "-").out
    assert json.loads(out)["patience"] == 4


def test_json_to_a_file_beside_the_table(run, target):
    target.write_text("what was there before, and longer than what is to come" * 100)
    result = run("rounds", "push", "--nodes", 10, "--json", target)
    assert result.code == 0
    assert json.loads(target.read_text())["algorithm"] == "push"
    assert "rounds" in table(result.out)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["flood", "--nodes", "10"], "no round model is named 'flood'; there are: push, pull, push-pull, "),
        (["push", "--nodes", "1"], "nodes 1 is too small; give 2 or more"),
        (["push", "--nodes", "10", "--loss", "2"], "loss 2.0 is not a probability; give a number from 0 to 0.99"),
        (["push", "--nodes", "10", "--loss", "1"], "loss 1.0 is above the limit of 0.99"),
        (["push", "--nodes", "10", "--trials", "0"], "trials 0 is too small; give 1 or more"),
        (["push", "--nodes", "10", "--patience", "2"], "push has neither counter nor coin"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(error, target, arguments, told):
    assert error("rounds", *arguments, "--json", target).startswith(f"error: {told}")
    assert not target.exists()


def test_a_json_file_that_cannot_be_written_is_told_before_the_work(error, tmp_path):
    """Before the work: these parameters would be refused by it."""
    for path, reason in (
        (tmp_path, "it is a directory"),
        (tmp_path / "x" / "y", f"there is no directory {tmp_path / 'x'}"),
    ):
        line = error("rounds", "flood", "--nodes", 1, "--json", path)
        assert line == f"error: the file '{path}' cannot be written: {reason}"


def test_a_json_file_without_permission(error, target, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root, as whom tests may run, has every permission
    line = error("rounds", "push", "--nodes", 10, "--json", target)
    assert line == f"error: the file '{target}' cannot be written: permission denied"


def test_a_json_file_on_a_full_disk(error):
    line = error("rounds", "push", "--nodes", 10, "--json", "/dev/full")
    assert line == "error: the file '/dev/full' cannot be written: No space left on device"


@pytest.mark.slow
def test_a_million_nodes_as_a_whole_process():
    start_s = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, "rounds", "push", "--nodes", "1000000", "--fanout", "3", "--trials", "1", "--json", "-"],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        check=True,
    )
    assert time.perf_counter() - start_s <= PLANNED_S
    assert json.loads(done.stdout)["residue"] == 0
