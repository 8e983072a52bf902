"""What theory says beside a run, against runs; seeds are fixed, so a test passes always or never."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from gossipconf_sim.cli.theory import WAYS, asynchronous_time, blind_coin, expectations, least_rounds, spreading_rounds
from gossipconf_sim.rounds import ALGORITHMS, run


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("fanout", [1, 3, 10])
@pytest.mark.parametrize("nodes", [1_000, 20_000])
@pytest.mark.parametrize("algorithm", WAYS)
def test_rounds_are_within_the_constant_that_theory_leaves_open(algorithm, nodes, fanout, loss):
    measured = run(algorithm, nodes, fanout=fanout, loss=loss, trials=200_000 // nodes, seed=1)
    assert -0.3 <= measured.rounds.mean - expectations(measured)["rounds"].value <= 2.2


@pytest.mark.parametrize("algorithm", WAYS)
def test_much_loss_costs_the_share_that_theory_says(algorithm):
    measured = run(algorithm, 1_000, loss=0.8, trials=100, seed=2)
    assert measured.rounds.mean == pytest.approx(expectations(measured)["rounds"].value, rel=0.12)


@pytest.mark.parametrize(
    ("algorithm", "fanout", "loss", "formula"),
    [
        ("push", 1, 0.0, "log2 N + ln N + O(1)"),
        ("push", 3, 0.3, "log3.1 N + ln N / 2.1 + O(1)"),
        ("pull", 2, 0.0, "log3 N + log3 ln N + O(1)"),
        ("pull", 1, 0.3, "log1.49 N + ln N / 0.673 + O(1)"),
        ("push-pull", 1, 0.0, "log3 N + log2 ln N + O(1)"),
        ("push-pull", 1, 0.3, "log2.19 N + ln N / 1.37 + O(1)"),
    ],
)
def test_formulas_of_the_papers(algorithm, fanout, loss, formula):
    assert spreading_rounds(algorithm, 1_000, fanout, loss).formula == formula


@pytest.mark.parametrize("algorithm", WAYS)
def test_hardly_any_loss_is_no_loss(algorithm):
    lossless = spreading_rounds(algorithm, 1_000, 2, 0.0)
    for loss in (1e-300, 1e-16, 1e-9):
        lossy = spreading_rounds(algorithm, 1_000, 2, loss)
        assert lossy.formula == lossless.formula
        assert lossy.value == pytest.approx(lossless.value, abs=1e-6)


@pytest.mark.parametrize("algorithm", WAYS)
def test_the_smallest_network(algorithm):
    assert 0 < spreading_rounds(algorithm, 2, 1, 0.0).value < 2


@pytest.mark.parametrize(
    ("nodes", "fanout", "least"), [(2, 1, 1), (1_000, 1, 10), (1_000, 9, 3), (1_001, 9, 4), (4**15, 3, 15), (10, 9, 1)]
)
def test_least_rounds(nodes, fanout, least):
    assert least_rounds(nodes, fanout) == least


def test_no_push_beats_the_least_rounds():
    for fanout in (1, 2, 5, 30):
        assert run("push", 100, fanout=fanout, trials=500, seed=3).rounds.p50 >= least_rounds(100, fanout)


@pytest.mark.parametrize("loss", [0.0, 0.5])
@pytest.mark.parametrize("nodes", [2, 100, 102, 1_000])
def test_asynchronous_time_is_the_sum(nodes, loss):
    harmonic = sum(1 / term for term in range(1, nodes))
    rate = ((1 - loss) + (1 - loss) ** 2) / 2
    assert asynchronous_time(nodes, loss).value == pytest.approx((nodes - 1) / nodes * harmonic / rate, rel=1e-10)


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("patience", [1, 2, 4])
def test_a_push_with_counter_leaves_what_its_traffic_leaves(patience, loss):
    measured = run("push-feedback-counter", 2_000, patience=patience, loss=loss, trials=300, seed=4)
    assert expectations(measured)["residue"].value == pytest.approx(measured.residue, rel=0.05)


@pytest.mark.parametrize(("patience", "loss"), [(2, 0.0), (4, 0.0), (3, 0.1), (3, 0.4), (6, 0.5)])
def test_a_coin_leaves_what_its_branching_process_leaves(patience, loss):
    measured = run("push-blind-coin", 2_000, patience=patience, loss=loss, trials=2_000, seed=5)
    expected = expectations(measured)
    assert expected["residue"].value == pytest.approx(measured.residue, rel=0.05)
    assert expected["traffic"].value == pytest.approx(measured.traffic, rel=0.05)


def test_a_coin_below_one_arrival_dies_out():
    assert list(blind_coin(2, 0.5)) == ["residue"]
    assert blind_coin(2, 0.5)["residue"].value == 1
    assert run("push-blind-coin", 5_000, patience=2, loss=0.5, trials=200, seed=6).residue > 0.99


def test_traffic_of_a_push_is_a_coupon_collectors():
    for loss in (0.0, 0.5):
        measured = run("push", 10_000, loss=loss, trials=10, seed=7)
        assert expectations(measured)["traffic"].value == pytest.approx(measured.traffic, rel=0.15)


def test_traffic_of_a_pull_is_one_copy_to_each():
    measured = run("pull", 1_000, loss=0.3, trials=100, seed=8)
    assert expectations(measured)["traffic"].value == pytest.approx(measured.traffic, rel=0.01)


@pytest.mark.parametrize(("nodes", "fanout"), [(100, 1), (1_000, 1), (1_000, 3), (20_000, 2)])
def test_median_counter_spreads_as_push_pull_and_then_ends(nodes, fanout):
    measured = run("median-counter", nodes, fanout=fanout, trials=20, seed=9)
    expected = expectations(measured)
    assert abs(measured.t_last - expected["t_last"].value) <= 1.2
    assert expected["traffic"].value == pytest.approx(measured.traffic, rel=0.15)
    assert expected["residue"].value == measured.residue == 0


def test_where_nothing_is_known_nothing_is_said():
    assert expectations(run("pull-feedback-counter", 100, seed=10)) == {}
    assert set(expectations(run("push", 100, fanout=5, seed=10))) == {"rounds", "t_last"}
    assert log(100) < 5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("loss", [0.0, 0.99])
def test_theory_has_an_answer_at_every_edge(algorithm, loss):
    for nodes in (2, 3):
        result = replace(run(algorithm, nodes, seed=11), loss=loss)  # a run with such a loss would take minutes
        for known in expectations(result).values():
            assert known.value >= 0
            assert known.formula
