"""Pictures of sweeps: which axis, which scale, what the bands are, and what cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from pathlib import Path
from statistics import mean

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gossipconf.model.errors import InvalidInput
from gossipconf_sim.sweep.grid import Job, Row, Sweep, parse_axes, plan
from gossipconf_sim.sweep.plot import LINES_MAX, Estimate, check, draw, save, t_975

SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def sweep(*vary: str, repeats: int = 3) -> Sweep:
    return plan("lan", parse_axes(vary), {"publish.changes": 5}, repeats=repeats)


def picture(planned: Sweep, convergence_ms: Callable[[Job], float | None], delivery_ms: float | None = 50) -> Figure:
    """Of made-up results: the last delivery takes as long at every point, and a little longer for each seed."""
    check(planned, Path("x.svg"))
    return draw(planned, [Row(job, result(convergence_ms(job), delivery_ms, job.seed)) for job in planned.jobs()])


def result(convergence_ms: float | None, delivery_ms: float | None, seed: int) -> dict[str, object]:
    delivery = None if delivery_ms is None else {"p50": delivery_ms + seed, "p99": 1.5 * delivery_ms + seed}
    return {"convergence_ms": convergence_ms, "last_delivery_ms": delivery}


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """Places and heights of each line that is no cross."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines if line.get_marker() != "x"]


def crosses(axes: Axes) -> list[float]:
    """The places that are marked as not the whole truth."""
    return [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "x"]


def legend(drawn: Figure) -> list[str]:
    (one,) = drawn.legends
    return [one.get_title().get_text(), *(text.get_text() for text in one.get_texts())]


# -- estimates ------------------------------------------------------------------------------------


def test_the_interval_is_student_s():
    """Mean 5 and standard deviation 1 of 3 runs: 5 ± 4.303 / √3."""
    estimate = Estimate.of([4, 5, 6])
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((5, 5 - 2.484, 5 + 2.484), abs=1e-3)


def test_the_interval_of_logarithms_is_positive():
    values = [1.0, 10.0, 100.0]
    plain, estimate = (Estimate.of(values, logarithmic=one) for one in (False, True))
    assert plain.low < 0 < estimate.low < estimate.mean < estimate.high
    assert estimate.mean == pytest.approx(10)
    assert log(estimate.high / 10) == pytest.approx(log(10) * 2.484, rel=1e-3)
    assert Estimate.of([1e-9, 1e9], logarithmic=True).high < float("inf")


def test_one_run_has_no_interval():
    assert Estimate.of([7.0]) == Estimate(7.0, 7.0, 7.0)
    assert Estimate.of([exp(2)], logarithmic=True).low == pytest.approx(exp(2))


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (30, 2.042), (31, 2.0395), (60, 2.000), (120, 1.980), (10_000, 1.960)]
)
def test_quantiles_are_those_of_printed_tables(freedom, quantile):
    assert t_975(freedom) == pytest.approx(quantile, abs=5e-4)


# -- what is where --------------------------------------------------------------------------------


def test_the_first_numeric_axis_goes_from_left_to_right():
    planned = sweep("start=joined,cold", "nodes=100,5,10")
    drawn = picture(planned, lambda job: 50 + job.point.scenario.nodes + job.seed)
    convergence, *deliveries = drawn.axes
    assert lines(convergence) == [([5, 10, 100], [56, 61, 151])] * 2
    assert [lines(axes)[0][1] for axes in deliveries] == [[51] * 3, [76] * 3]
    assert drawn.get_supxlabel() == "nodes: hosts with one node each"
    assert [axes.get_ylabel() for axes in drawn.axes] == ["time in ms"] * 3
    assert legend(drawn) == [
        "start",
        "joined",
        "cold",
        "95% confidence interval of the\nmean of 3 seeds, by Student's t",
    ]
    assert drawn.get_suptitle() == "lan, publish.changes=5"


def test_a_line_for_each_combination_of_the_other_axes():
    planned = sweep("nodes=5,10", "network.loss=0,0.1", "publish.every_ms=1,2", repeats=1)
    drawn = picture(planned, lambda job: 5)
    assert len(lines(drawn.axes[0])) == 4
    assert legend(drawn) == [
        "network.loss: share of packets lost\npublish.every_ms: time between two changes in ms",
        *("0, 1", "0, 2", "0.1, 1", "0.1, 2"),
        "seed 0 alone:\nno confidence interval",
    ]


def test_bands_end_where_the_interval_does():
    planned = sweep("nodes=5,10")
    drawn = picture(planned, lambda job: 50 + job.seed)
    (band,) = drawn.axes[0].collections
    heights = sorted({round(height, 3) for _, height in band.get_paths()[0].vertices})
    expected = Estimate.of([50, 51, 52])
    assert heights == [round(expected.low, 3), round(expected.high, 3)]


def test_values_over_decades_have_logarithmic_axes():
    planned = sweep("nodes=10,100,1000")
    times = {10: 1.0, 100: 10.0, 1000: 500.0}
    drawn = picture(planned, lambda job: times[job.point.scenario.nodes] * (1 + job.seed))
    convergence, *deliveries = drawn.axes
    assert (convergence.get_xscale(), convergence.get_yscale()) == ("log", "log")
    assert {axes.get_yscale() for axes in deliveries} == {"linear"}
    assert [label.get_text() for label in convergence.get_xticklabels()] == ["10", "100", "1,000"]
    ((_, heights),) = lines(convergence)
    assert heights == pytest.approx([time * 6 ** (1 / 3) for time in times.values()])
    assert legend(drawn)[-1].endswith("(geometric on logarithmic axes)")


def test_an_axis_with_zero_among_decades_keeps_it():
    drawn = picture(sweep("network.loss=0,0.01,0.5"), lambda job: 5)
    assert drawn.axes[0].get_xscale() == "symlog"
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["0", "0.01", "0.5"]


def test_a_time_of_zero_keeps_the_axis_even():
    drawn = picture(sweep("nodes=5,6"), lambda job: 100.0 * (job.point.scenario.nodes - 5))
    assert drawn.axes[0].get_yscale() == "linear"
    assert drawn.axes[0].get_ylim()[0] == 0


def test_values_that_are_no_numbers_are_categories():
    planned = sweep("start=joined,cold", "publish.origins=all,one")
    drawn = picture(planned, lambda job: 5 + job.seed)
    axes = drawn.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["joined", "cold"]
    first, second = (places for places, _ in lines(axes))
    assert [round(place) for place in first] == [round(place) for place in second] == [0, 1]
    assert first < second, "side by side"
    assert {line.get_linestyle() for line in axes.lines} == {"None"}
    assert drawn.get_supxlabel() == "start"


def test_long_times_are_in_seconds():
    drawn = picture(sweep("nodes=5,6"), lambda job: 30_000, delivery_ms=100)
    assert [axes.get_ylabel() for axes in drawn.axes] == ["time in s", "time in ms", "time in ms"]
    assert lines(drawn.axes[0]) == [([5, 6], [30, 30])]


def test_both_deliveries_have_one_scale():
    _, one, other = picture(sweep("nodes=5,6"), lambda job: 5).axes
    assert one.get_ylim() == other.get_ylim()


# -- what is not there ----------------------------------------------------------------------------


def test_runs_that_never_converged_are_marked():
    planned = sweep("nodes=5,6,7")
    drawn = picture(planned, lambda job: None if job.seed + job.point.scenario.nodes >= 7 else 10 + job.seed)
    convergence, *deliveries = drawn.axes
    assert lines(convergence)[0] == ([5, 6], [mean([10, 11]), 10])
    assert crosses(convergence) == [5, 6, 7]
    assert [crosses(axes) for axes in deliveries] == [[], []]
    assert legend(drawn)[-1] == "without runs that never converged\n(at the upper edge: none did)"


def test_where_there_is_no_figure_nothing_is_drawn():
    drawn = picture(sweep("nodes=5,6"), lambda job: 5, delivery_ms=None)
    assert [lines(axes) for axes in drawn.axes] == [[([5, 6], [5, 5])], [([], [])], [([], [])]]


def test_points_without_runs_are_left_out():
    planned = sweep("nodes=5,6,7")
    rows = [Row(job, result(5, 5, 0)) for job in planned.jobs() if job.point.scenario.nodes != 6]
    drawn = draw(planned, rows)
    assert lines(drawn.axes[0]) == [([5, 7], [5, 5])]
    assert crosses(drawn.axes[0]) == []


@pytest.mark.parametrize(
    ("vary", "target", "told"),
    [
        (["nodes=5"], "x.gif", r"the picture 'x.gif' must end in .png, .svg, .pdf"),
        (["nodes=5"], "x", r"the picture 'x' must end in "),
        ([], "x.png", "a picture needs an axis: give --vary"),
        (
            ["nodes=5,6", f"network.loss=0.{',0.'.join(map(str, range(1, 7)))}", "start=joined,cold"],
            "x.png",
            f"a picture has {LINES_MAX} lines at most; beside nodes there are 12 combinations",
        ),
    ],
)
def test_what_cannot_be_drawn_is_told(vary, target, told):
    with pytest.raises(InvalidInput) as refused:
        check(sweep(*vary), Path(target))
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_the_same_figures_give_the_same_file(tmp_path, suffix):
    contents = []
    for name in ("one", "other"):
        target = tmp_path / f"{name}{suffix}"
        save(picture(sweep("nodes=5,60", repeats=2), lambda job: 5 + job.seed), target)
        contents.append(target.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(SIGNATURES[suffix])


def test_the_figures_that_are_asked_for_have_a_panel_each() -> None:
    planned = sweep("nodes=2,3")
    rows = [Row(job, result(1.0, 2.0, job.seed) | {"hops": {"p99": 3}, "copies": 1.5}) for job in planned.jobs()]
    first, second = draw(planned, rows, ["hops.p99", "copies"]).axes
    assert [first.get_title(), second.get_title()] == ["hops.p99", "copies"]
    assert [first.get_ylabel(), second.get_ylabel()] == ["", ""]
    assert list(first.lines[0].get_ydata()) == [3.0, 3.0]
    with pytest.raises(InvalidInput, match="--figure hopps: a run's JSON has no such number"):
        draw(planned, rows, ["hopps"])


def test_too_many_figures_are_refused() -> None:
    with pytest.raises(InvalidInput, match="6 figures at most, and not 7"):
        check(sweep("nodes=2,3"), Path("x.svg"), ["hops.p99"] * 7)
