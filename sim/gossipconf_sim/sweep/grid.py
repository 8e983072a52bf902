"""Sweeps: a grid of scenarios, each played with several seeds; jobs that any executor can run.

A sweep is the product of its axes; a point of it is a scenario, a job is a point with a
seed, and a row is a job with its result. Who runs a job is not known here: any
`Executor` will do, for a row depends on the point and the seed alone (all but the
figures of real time and memory).
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, as_completed
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from gossipconf import __version__
from gossipconf.model.errors import GossipconfError, InvalidInput

from ..run.play import simulate
from ..scenario.scenario import Scenario, load, parse_value, source

RUNS_MAX: Final = 100_000
"""A product of axes grows fast: a grid beyond this is a slip, and a second a run would already be a day."""

REASON_MAX: Final = 300
"""Characters of an error that are passed on: some libraries put a whole task into theirs."""

_LEXEMES: Final = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|.', re.DOTALL)
"""A quoted string of TOML, or a character."""


class RunFailed(GossipconfError):
    """A run that raised, in words: they cross processes and machines, which not every exception does."""


# -- the grid -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis:
    """An option by its path, and the values that it takes."""

    path: str
    values: tuple[Any, ...]

    @property
    def numeric(self) -> bool:
        """Whether the values have a place on a scale."""
        return all(type(value) in {int, float} for value in self.values)


@dataclass(frozen=True, slots=True)
class Point:
    """A value of each axis, and the scenario that they make."""

    values: Mapping[str, Any]
    scenario: Scenario

    def __str__(self) -> str:
        return ", ".join(assignments(self.values)) or self.scenario.name


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a point and a seed."""

    point: Point
    seed: int

    @property
    def key(self) -> str:
        """What tells it from the other jobs of its sweep."""
        return key_of(self.point.values, self.seed)


@dataclass(frozen=True, slots=True)
class Row:
    """A job that is done, and its figures as `Result.to_json` gives them."""

    job: Job
    result: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The row as in files."""
        return {"point": self.job.point.values, "seed": self.job.seed, "result": self.result}


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is swept.

    scenario:   as it was named: a shipped one, or a file's path
    text:       of its file
    fixed:      overrides that hold at every point
    repeats:    seeds at each point, from ``seed`` on
    """

    scenario: str
    text: str
    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any]
    repeats: int
    seed: int
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Of the scenario."""
        return self.points[0].scenario.name

    @property
    def last_seed(self) -> int:
        """Of each point."""
        return self.seed + self.repeats - 1

    def header(self) -> dict[str, Any]:
        """All that makes two sweeps the same."""
        return {
            "version": __version__,
            "scenario": self.name,
            "text": self.text,
            "set": dict(self.fixed),
            "vary": {axis.path: list(axis.values) for axis in self.axes},
            "repeats": self.repeats,
            "seed": self.seed,
        }

    def jobs(self) -> list[Job]:
        """All runs, a round of all points for each seed: what is there after half the time covers the grid."""
        return [Job(point, self.seed + number) for number in range(self.repeats) for point in self.points]

    def replay(self, job: Job) -> list[str]:
        """The arguments of `gossipconf-sim` that run one job again."""
        chosen = assignments({**self.fixed, **job.point.values})
        return ["run", self.scenario, "--seed", str(job.seed), *(word for one in chosen for word in ("--set", one))]


def plan(
    scenario: str,
    axes: Iterable[Axis] = (),
    fixed: Mapping[str, Any] | None = None,
    *,
    repeats: int = 1,
    seed: int = 0,
) -> Sweep:
    """The sweep of a scenario, with every point checked. Raises InvalidInput that names axis, value and limit."""
    axes, fixed = tuple(axes), dict(fixed or {})
    paths = [*fixed, *(axis.path for axis in axes)]
    for path in paths:
        if paths.count(path) > 1:
            raise InvalidInput(f"{path} is given twice; vary it once, or set it")
    if repeats < 1:
        raise InvalidInput(f"repeats {repeats} is too small; give 1 or more")
    runs = math.prod(len(axis.values) for axis in axes) * repeats
    if runs > RUNS_MAX:
        raise InvalidInput(f"this sweep has {runs:,} runs, above the limit of {RUNS_MAX:,}; vary less")
    _check_plain(fixed)
    text = source(scenario)
    points = tuple(_point(scenario, axes, fixed, values) for values in product(*(axis.values for axis in axes)))
    return Sweep(scenario, text, axes, fixed, repeats, seed, points)


def _point(scenario: str, axes: tuple[Axis, ...], fixed: Mapping[str, Any], values: tuple[Any, ...]) -> Point:
    chosen = {axis.path: value for axis, value in zip(axes, values, strict=True)}
    try:
        # A copy: a later path may reach into a table that an earlier one has put there.
        return Point(chosen, load(scenario, copy.deepcopy({**fixed, **chosen})))
    except InvalidInput as error:
        if not axes:
            raise
        raise InvalidInput(f"--vary at {', '.join(assignments(chosen))}: {error}") from None


def parse_axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """Axes from `path=value,value` texts. Raises InvalidInput."""
    return tuple(map(_axis, texts))


def _axis(text: str) -> Axis:
    path, _, listed = (part.strip() for part in text.partition("="))
    parts = _split(listed)
    if not path or not all(parts):
        raise InvalidInput(f"--vary {text!r} is not path=value,value, such as nodes=100,1000")
    values = [parse_value(one) for one in parts]
    for place, value in enumerate(values):
        if value in values[:place]:
            raise InvalidInput(f"--vary {path}: {parts[place]} is there twice")
        _check_plain({path: value})
    return Axis(path, tuple(values))


def _split(text: str) -> list[str]:
    """The parts between commas that are in no bracket and no quotes."""
    parts, depth = [""], 0
    for lexeme in _LEXEMES.findall(text):
        depth += (lexeme in "[{") - (lexeme in "]}")
        if lexeme == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += lexeme
    return [part.strip() for part in parts]


def _check_plain(values: Mapping[str, Any]) -> None:
    """Raise InvalidInput for what TOML knows and the lines of the results do not: dates, infinity."""
    for path, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise InvalidInput(f"{path} cannot be {value}: give a finite number, a string or true or false") from None


def assignments(values: Mapping[str, Any]) -> list[str]:
    """`path=value` texts that `parse_overrides` reads back."""
    return [f"{path}={spelled(value)}" for path, value in values.items()]


def spelled(value: Any) -> str:
    """A value as in TOML; a string without quotes where it is one without them too."""
    is_bare = isinstance(value, str) and value == value.strip() and parse_value(value) == value
    return str(value) if is_bare else _toml(value)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # Strings, numbers and booleans are spelled alike in both, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_of(values: Any, seed: Any) -> str:
    """A text that is equal for equal values of all axes and equal seeds: unlike in Python, 1, 1.0 and true differ."""
    return json.dumps([values, seed], sort_keys=True)


# -- running --------------------------------------------------------------------------------------


def execute(scenario: Scenario, seed: int, version: str) -> dict[str, Any]:
    """One run, in whatever process this is. Raises RunFailed, also if the code here is not of ``version``."""
    if version != __version__:
        raise RunFailed(f"the worker has gossipconf {__version__}, and not {version}: install the same there")
    try:
        return simulate(scenario, seed).result.to_json()
    except MemoryError:
        raise RunFailed("not enough memory; take fewer nodes, or fewer jobs at once") from None
    except Exception as error:
        raise RunFailed(f"{type(error).__name__}: {error}") from None


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that has no result, and why."""

    job: Job
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The failure as in JSON documents."""
        return {"point": self.job.point.values, "seed": self.job.seed, "reason": self.reason}


def perform(jobs: Iterable[Job], executor: Executor) -> Iterator[Row | Failure]:
    """Run all jobs; each is told as it ends, and none of them ends the others."""
    futures: dict[Future[dict[str, Any]], Job] = {
        executor.submit(execute, job.point.scenario, job.seed, __version__): job for job in jobs
    }
    for future in as_completed(futures):
        job = futures.pop(future)
        try:
            yield Row(job, future.result())
        except CancelledError:
            yield Failure(job, "it was cancelled, or the connection to the cluster is lost")
        except Exception as error:
            told = str(error) if isinstance(error, GossipconfError) else f"{type(error).__name__}: {error}"
            yield Failure(job, " ".join(told.split())[:REASON_MAX])


# -- figures --------------------------------------------------------------------------------------


def figure(result: Mapping[str, Any], path: str) -> float | None:
    """A figure of a result by its path there, such as `last_delivery_ms.p50`; None if the run has none."""
    value: Any = result
    for part in path.split("."):
        if value is None:
            return None
        value = value[part]
    return None if value is None else float(value)


def by_point(sweep: Sweep, rows: Iterable[Row]) -> list[tuple[Point, list[Row]]]:
    """Every point of the grid with its rows, in the grid's order and by seed."""
    found: dict[str, list[Row]] = {key_of(point.values, None): [] for point in sweep.points}
    for row in sorted(rows, key=lambda row: row.job.seed):
        found[key_of(row.job.point.values, None)].append(row)
    return list(zip(sweep.points, found.values(), strict=True))
