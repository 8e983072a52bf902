"""Play a scenario once: `run`. Figures for people, JSON for programs, a picture, a report, a trace."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from gossipconf.model.errors import GossipconfError, InvalidInput

from ..report.quantities import duration, number
from .folding import print_folded
from .output import STDOUT, JsonOption, OutputFailed, check_json, count, escaped, say, stderr, write_json

if TYPE_CHECKING:
    from ..report.figures import Row
    from ..run.play import Run
    from ..run.result import Result

PICTURE_SUFFIXES: Final = (".png", ".svg", ".pdf")
REPORT_SUFFIXES: Final = (".html", ".htm")

TOLD_MAX: Final = 20
"""Violations that are told one by one; the JSON has all."""

PHASES: Final = {"join": "joining", "publish": "publishing", "heal": "healing", "rest": "at rest"}


class InvariantViolated(GossipconfError):
    """The checkers have found something."""


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A shipped scenario by its name, or a file (.toml).")
    ],
    nodes: Annotated[
        int | None, typer.Option("--nodes", metavar="N", help="Nodes, instead of those of the scenario.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same run.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=V", help="An option of the scenario, such as network.loss=0.3."),
    ] = None,
    json_file: JsonOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="F", help="Draw the main curves: a .png, .svg or .pdf file.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="F", help="Write a page with all figures and pictures: an .html file."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="F", help="Write every input of every node: a line of JSON each.")
    ] = None,
) -> None:
    """Play a scenario once and show what came of it.

    The protocol code that agents run, in a simulated network. `gossipconf-sim scenarios`
    lists the scenarios and all options. All chance comes from the seed. The exit code is
    1 if the checkers find that an invariant was violated.

    \b
    Examples:
      gossipconf-sim run lan
      gossipconf-sim run wan19 --nodes 200 --seed 7 --report wan19.html
      gossipconf-sim run partition-heal --set faults.0.for_s=600 --json -
    """
    check_files(json_file, plot, report, trace, scenario=scenario)
    from ..scenario.scenario import load, parse_overrides  # noqa: PLC0415 - the protocol, which --help needs not

    changed = parse_overrides(overrides or [])
    if nodes is not None:
        if "nodes" in changed:
            raise InvalidInput("nodes is given twice: by --nodes and by --set")
        changed["nodes"] = nodes
    chosen = load(scenario, changed)
    draw = _drawer(plot)
    write = _reporter(report, command(scenario, nodes, seed, overrides or []))
    from ..run.play import simulate  # noqa: PLC0415

    with Bar() as bar:
        played = simulate(chosen, seed, progress=bar.show, trace=trace)
    if json_file == STDOUT:
        write_json(STDOUT, played.result.to_json())
    else:
        show(played)
    if json_file not in {None, STDOUT}:
        write_json(str(json_file), played.result.to_json())
    draw(played)
    write(played)
    if violations := len(played.result.violations):
        raise InvariantViolated(f"{count(violations, 'violation')} of invariants")


def command(scenario: str, nodes: int | None, seed: int, overrides: Sequence[str]) -> str:
    """What gives the same run again."""
    size = ["--nodes", str(nodes)] if nodes is not None else []
    options = [part for one in overrides for part in ("--set", one)]
    return shlex.join(["gossipconf-sim", "run", scenario, *size, "--seed", str(seed), *options])


# -- files ----------------------------------------------------------------------------------------


def check_files(
    json_file: str | None, plot: Path | None, report: Path | None, trace: Path | None, *, scenario: str = ""
) -> None:
    """Raise InvalidInput or OutputFailed for what cannot be written: a run may last an hour."""
    if plot is not None:
        _check_suffix("picture", plot, PICTURE_SUFFIXES)
    if report is not None:
        _check_suffix("report", report, REPORT_SUFFIXES)
    if trace is not None and str(trace) == STDOUT:
        raise InvalidInput("--trace needs the name of a file: there may be millions of lines")
    targets = [target for target in (json_file, plot, report, trace) if target not in {None, STDOUT}]
    for target in targets:
        check_json(str(target))
    paths = [Path(str(target)).resolve() for target in targets]
    for path in paths:
        if paths.count(path) > 1 and path.is_file() | (not path.exists()):
            raise InvalidInput(f"two outputs cannot go to the same file {str(path)!r}")
        if path.is_file() and path == Path(scenario).resolve():
            raise InvalidInput(f"{str(path)!r} is the scenario itself; write to another file")


def _check_suffix(what: str, target: Path, suffixes: Sequence[str]) -> None:
    if target.suffix.lower() not in suffixes:
        raise InvalidInput(f"the {what} {str(target)!r} must end in {', '.join(suffixes)}")


def _drawer(target: Path | None) -> Callable[[Run], None]:
    """What draws the picture when the run is over; what it needs is there before."""
    if target is None:
        return lambda run: None
    from ..report.plots import overview, save, styled  # noqa: PLC0415 - matplotlib, which takes a second

    def draw(run: Run) -> None:
        with styled():
            _write(target, lambda: save(overview(run), target))

    return draw


def _reporter(target: Path | None, command: str) -> Callable[[Run], None]:
    """What writes the report when the run is over; what it needs is there before."""
    if target is None:
        return lambda run: None
    from ..report.page import report  # noqa: PLC0415

    return lambda run: _write(target, lambda: target.write_text(report(run, command), encoding="utf-8"))


def _write(target: Path, write: Callable[[], Any]) -> None:
    try:
        write()
    except OSError as error:
        raise OutputFailed(f"the file {str(target)!r} cannot be written: {error.strerror or error}") from None


# -- while it runs --------------------------------------------------------------------------------


class Bar:
    """Progress on a terminal; nothing where there is none."""

    def __init__(self) -> None:
        console = stderr()
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[virtual]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._begin_s = time.monotonic()
        self._task = self._progress.add_task("starting", total=1.0, virtual="", speed="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, phase: str, share: float, now_s: float, events: int) -> None:
        """How far the run is: the share of its phase, virtual time, events."""
        if self._progress.disable:
            return
        speed = events / max(time.monotonic() - self._begin_s, 1e-6)
        self._progress.update(
            self._task,
            description=PHASES.get(phase, phase),
            completed=share,
            virtual=f"virtual {duration(now_s)}",
            speed=f"{number(round(speed, -2))} events/s",
        )


# -- what came of it ------------------------------------------------------------------------------


def show(run: Run) -> None:
    """The figures for people, and violations in red."""
    from ..report.figures import cost_rows, spread_rows, value_rows  # noqa: PLC0415

    result = run.result
    say(f"{result.scenario}: {run.scenario.description}" if run.scenario.description else result.scenario)
    say(parameters(result))
    say()
    spreads = spread_rows(result)
    if spreads:
        _print_rows(("P50", "P99", "MAX"), spreads)
        say()
    _print_rows(("VALUE",), [*value_rows(result), *cost_rows(result)])
    found = result.violations
    if found:
        say()
        for violation in found[:TOLD_MAX]:
            say(Text(f"violated: {escaped(violation)}", "red"))
        if len(found) > TOLD_MAX:
            say(Text(f"and {len(found) - TOLD_MAX:,} more, which --json has", "red"))


def parameters(result: Result) -> str:
    """What was played, in one line."""
    return f"{count(result.nodes, 'node')}, {count(result.changes, 'change')} measured, seed {result.seed}"


def _print_rows(headings: Sequence[str], rows: Sequence[Row]) -> None:
    columns = {"FIGURE": "left", **dict.fromkeys(headings, "right"), "MEANING": "left"}
    print_folded(columns, [[*_coloured(row), row.figure.meaning] for row in rows])


def _coloured(row: Row) -> list[str | Text]:
    """Name and values of a figure, in red if it is bad."""
    cells = [row.figure.label, *row.cells]
    is_bad = row.cells[0] == "never" or (row.figure.name == "violations" and row.cells[0] != "0")
    return [Text(cell, "red") if is_bad else cell for cell in cells]
