"""A scenario over a grid of its options: `sweep`. Many runs at once, a table, a file to go on from, a picture."""

from __future__ import annotations

import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from gossipconf.model.errors import GossipconfError, InvalidInput

from ..report.quantities import duration, number
from . import exits
from .output import STDOUT, JsonOption, OutputFailed, check_json, count, note, print_table, say, stderr, write_json

if TYPE_CHECKING:
    from ..sweep.grid import Failure, Job, Point, Row, Sweep
    from ..sweep.results_file import SweepFile

COLUMNS: Final = {
    "CONVERGENCE ms": "convergence_ms",
    "LAST DELIVERY p50 ms": "last_delivery_ms.p50",
    "LAST DELIVERY p99 ms": "last_delivery_ms.p99",
    "BYTES/NODE/CHANGE": "bytes_per_node_per_change",
}
"""Headings, and where in a result the figures are."""

TOLD_MAX: Final = 10
"""Failures, and runs with violations, that are told one by one: what is wrong with one is often wrong with all."""

FORECAST_EVERY_S: Final = 0.5
"""A forecast looks at every point of the grid; nobody reads faster."""


class SweepFailed(GossipconfError):
    """Not all runs of a sweep gave what they should."""


def sweep(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A shipped scenario by its name, or a file (.toml).")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary", metavar="PATH=V,V", help="Values of an option; again for a further axis: all are combined."
        ),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", metavar="R", help="Seeds at each point of the grid.")] = 5,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The first of the seeds S, S+1, …")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=V", help="An option of the scenario, at all points.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="J", help="Processes at once. Default: as many as there are processors."),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option("--dask", metavar="ADDRESS", help="Run on the Dask cluster with this scheduler instead."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Results, and where to go on; or its directory. Default: sweep-SCENARIO.jsonl.",
        ),
    ] = None,
    json_file: JsonOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="F", help="Draw a picture: a .png, .svg or .pdf file.")
    ] = None,
    figures: Annotated[
        list[str] | None,
        typer.Option("--figure", metavar="NAME", help="A figure of the picture, by its name in JSON; again for more."),
    ] = None,
) -> None:
    """Play a scenario at every point of a grid, with several seeds.

    Each --vary is an axis of the grid. The runs use all processors, or a Dask cluster
    whose workers have the same gossipconf; how many there are does not change a figure.
    Every run that ends is a line of FILE. The same command given again skips what is
    there: so it goes on after an interruption, and draws a picture later.
    The picture has the first axis of numbers from left to right, a line for each value
    of the others, and 95% confidence bands.

    \b
    Examples:
      gossipconf-sim sweep lan --vary nodes=10,30,100
      gossipconf-sim sweep lan --vary nodes=10,100 --vary network.loss=0,0.1 --repeats 10 --plot lan.svg
      gossipconf-sim sweep lan --vary nodes=100,1000 --plot flat.svg --figure hops.p99 --figure joined_s
      gossipconf-sim sweep lan --vary nodes=1000,10000 --dask tcp://192.0.2.7:8786 --json lan.json
    """
    check_json(json_file)
    from ..scenario.scenario import parse_overrides  # noqa: PLC0415 - the protocol, which --help needs not
    from ..sweep.executors import check_jobs  # noqa: PLC0415
    from ..sweep.grid import parse_axes, plan  # noqa: PLC0415
    from ..sweep.results_file import SweepFile  # noqa: PLC0415

    if jobs is not None:
        check_jobs(jobs)
    if dask is not None and jobs is not None:
        raise InvalidInput("--jobs is about processes of this machine; with --dask the cluster has its workers")
    planned = plan(scenario, parse_axes(vary or []), parse_overrides(overrides or []), repeats=repeats, seed=seed)
    if plot is not None:
        _check_plot(planned, plot, figures or [])
    elif figures:
        raise InvalidInput("--figure says what the picture shows: give --plot")
    target = _target(out, planned)
    _check_distinct([str(target), *(str(one) for one in (json_file, plot) if one not in {None, STDOUT})])
    with SweepFile(target, planned) as file:
        failures = _fill(file, jobs, dask)
    if json_file is not None:
        write_json(json_file, document(planned, file.rows, failures))
    if json_file != STDOUT:
        _show(file)
    if plot is not None and file.rows:
        _draw(planned, file.rows, plot, figures or [])
    _judge(planned, file.rows, failures)


def _target(out: Path | None, planned: Sweep) -> Path:
    """The file for the results."""
    name = f"sweep-{planned.name}.jsonl"
    if out is None:
        return Path(name)
    return out / name if out.is_dir() else out


def _check_distinct(names: Sequence[str]) -> None:
    """Raise InvalidInput where one output would overwrite another."""
    paths = [Path(name).resolve() for name in names]
    for name, path in zip(names, paths, strict=True):
        if paths.count(path) > 1:
            raise InvalidInput(f"{name!r} is given for two outputs; name different files")


# -- running --------------------------------------------------------------------------------------


def _fill(file: SweepFile, jobs: int | None, address: str | None) -> list[Failure]:
    """Run what the file does not have yet; what failed."""
    from ..sweep.executors import cluster, processes, processors  # noqa: PLC0415
    from ..sweep.grid import Row, perform  # noqa: PLC0415

    pending, there = file.pending(), len(file.rows)
    if there:
        note(f"{there:,} of {count(there + len(pending), 'run')} are in {file.path} already")
    if not pending:
        return []
    width = processors() if jobs is None else jobs
    failures: list[Failure] = []
    try:
        with (
            cluster(address, note) if address is not None else processes(min(width, len(pending))) as executor,
            Bar(Forecast(file.rows, pending)) as bar,
        ):
            for ended in perform(pending, executor):
                if isinstance(ended, Row):
                    file.append(ended)
                else:
                    failures.append(ended)
                    _tell_failure(file.sweep, ended, len(failures))
                bar.advance(ended)
    except KeyboardInterrupt:
        total = there + len(pending)
        note(f"interrupted; {len(file.rows):,} of {count(total, 'run')} are in {file.path}: the same command goes on")
        raise typer.Exit(exits.INTERRUPTED) from None
    return failures


class Forecast:
    """How long the runs that are left may take, by those that are done.

    A run is taken to need as long as others of its point did; where there are none, as
    long for a node as others did. How many go on at once shows in what got done since
    the start.
    """

    def __init__(self, done: Sequence[Row], pending: Sequence[Job]) -> None:
        self.jobs = len(pending)
        self._left = Counter(str(job.point) for job in pending)
        self._nodes = {str(job.point): job.point.scenario.nodes for job in pending}
        self._runs: Counter[str] = Counter()
        self._walls_s: defaultdict[str, float] = defaultdict(float)
        self._walls_by_node_s = 0.0
        self._worked_s = 0.0
        for row in done:
            self._learn(row.job, row.result["wall_s"])

    def ended(self, one: Row | Failure) -> None:
        """One less to do."""
        self._left[str(one.job.point)] -= 1
        wall_s = getattr(one, "result", {}).get("wall_s")  # of what failed nothing is known
        if wall_s is not None:
            self._learn(one.job, wall_s)
            self._worked_s += wall_s

    def left_s(self, elapsed_s: float) -> float | None:
        """Seconds from now until the last run ends, if the first began ``elapsed_s`` ago; None if nothing is known."""
        if not self._worked_s:
            return None
        return sum(runs * self._expected_s(point) for point, runs in self._left.items()) * elapsed_s / self._worked_s

    def _learn(self, job: Job, wall_s: float) -> None:
        self._runs[str(job.point)] += 1
        self._walls_s[str(job.point)] += wall_s
        self._walls_by_node_s += wall_s / job.point.scenario.nodes

    def _expected_s(self, point: str) -> float:
        if point in self._runs:
            return self._walls_s[point] / self._runs[point]
        return self._walls_by_node_s / self._runs.total() * self._nodes[point]


class Bar:
    """Progress on a terminal; nothing where there is none."""

    def __init__(self, forecast: Forecast) -> None:
        console = stderr()
        self._forecast = forecast
        self._begin_s = self._told_s = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.completed:,} of {task.total:,} runs"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=forecast.jobs, left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, ended: Row | Failure) -> None:
        """One more run has ended."""
        self._forecast.ended(ended)
        self._progress.advance(self._task)
        now_s = time.monotonic()
        if self._progress.disable or now_s - self._told_s < FORECAST_EVERY_S:
            return
        self._told_s = now_s
        left_s = self._forecast.left_s(now_s - self._begin_s)
        self._progress.update(self._task, left=f"about {duration(ceil(left_s))} left" if left_s else "")


# -- what came of it ------------------------------------------------------------------------------


def document(planned: Sweep, rows: Sequence[Row], failures: Sequence[Failure]) -> dict[str, Any]:
    """What `--json` writes: all rows, in the order of the grid."""
    from ..sweep.grid import by_point  # noqa: PLC0415

    return {
        "sweep": planned.header(),
        "runs": [row.to_json() for _, found in by_point(planned, rows) for row in found],
        "failures": [failure.to_json() for failure in failures],
    }


def _show(file: SweepFile) -> None:
    planned = file.sweep
    seeds = f"seed {planned.seed}" if planned.repeats == 1 else f"seeds {planned.seed} to {planned.last_seed}"
    say(
        f"{planned.name}: {count(len(planned.points), 'point')}, {seeds}; {count(len(file.rows), 'run')} in {file.path}"
    )
    say()
    axes = [axis.path for axis in planned.axes]
    columns = dict.fromkeys(axes, "right") | dict.fromkeys(("RUNS", *COLUMNS, "VIOLATIONS"), "right")
    print_table(columns, table(planned, file.rows))
    if planned.repeats > 1:
        say()
        say("A figure is the median over the seeds, with the least and the largest behind it.")


def table(planned: Sweep, rows: Sequence[Row]) -> list[list[str | Text]]:
    """A row for each point."""
    from ..sweep.grid import by_point  # noqa: PLC0415

    return [_table_row(planned, point, found) for point, found in by_point(planned, rows)]


def _table_row(planned: Sweep, point: Point, rows: Sequence[Row]) -> list[str | Text]:
    from ..sweep.grid import spelled  # noqa: PLC0415

    violations = sum(len(row.result["violations"]) for row in rows)
    missing = len(rows) < planned.repeats
    return [
        *map(spelled, point.values.values()),
        Text(f"{len(rows)} of {planned.repeats}", "red") if missing else str(len(rows)),
        *(_figure(rows, path) for path in COLUMNS.values()),
        Text(str(violations), "red") if violations else str(violations) if rows else "",
    ]


def _figure(rows: Sequence[Row], path: str) -> str:
    """Median and range; a run that never converged counts as the slowest."""
    from ..sweep.grid import figure  # noqa: PLC0415

    never = float("inf") if path == "convergence_ms" else None
    found = [figure(row.result, path) for row in rows]
    values = [value for one in found if (value := never if one is None else one) is not None]
    if not values:
        return ""
    least, most = min(values), max(values)
    spread = f" ({_number(least)}–{_number(most)})" if len(values) > 1 else ""
    return f"{_number(median(values))}{spread}"


def _number(value: float) -> str:
    return "never" if value == float("inf") else number(value)


def _tell_failure(planned: Sweep, failure: Failure, so_far: int) -> None:
    if so_far <= TOLD_MAX:
        _tell(planned, failure.job, f"failed: {failure.reason}")
    elif so_far == TOLD_MAX + 1:
        note("further failures are counted only")


def _tell(planned: Sweep, job: Job, what: str) -> None:
    """What was wrong with a run, and how to see it again."""
    note(f"{job.point}, seed {job.seed} {what}")
    note(f"  gossipconf-sim {shlex.join(planned.replay(job))}")


def _judge(planned: Sweep, rows: Sequence[Row], failures: Sequence[Failure]) -> None:
    """Tell violations with how to replay them. Raises SweepFailed if a run violated or failed."""
    from ..sweep.grid import by_point  # noqa: PLC0415

    guilty = [row for _, found in by_point(planned, rows) for row in found if row.result["violations"]]
    for row in guilty[:TOLD_MAX]:
        first, *more = row.result["violations"]
        _tell(planned, row.job, f"violated: {first}" + (f" (and {len(more)} more)" if more else ""))
    wrong = [
        *([f"{count(len(guilty), 'run')} of {len(rows):,} violated an invariant"] if guilty else []),
        *([f"{count(len(failures), 'run')} failed; the same command tries them again"] if failures else []),
    ]
    if wrong:
        raise SweepFailed(", and ".join(wrong))


# -- the picture ----------------------------------------------------------------------------------


def _check_plot(planned: Sweep, target: Path, figures: Sequence[str]) -> None:
    """Raise InvalidInput or OutputFailed for what cannot be drawn or written: before the work."""
    from ..sweep.plot import check  # noqa: PLC0415 - matplotlib

    check(planned, target, figures)
    check_json(str(target))


def _draw(planned: Sweep, rows: Sequence[Row], target: Path, figures: Sequence[str]) -> None:
    from ..sweep.plot import draw, save  # noqa: PLC0415

    try:
        save(draw(planned, rows, figures), target)
    except OSError as error:
        raise OutputFailed(f"the file {str(target)!r} cannot be written: {error.strerror or error}") from None
