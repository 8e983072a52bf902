"""Look for what breaks the invariants: `explore`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from gossipconf.model.errors import InvalidInput

from . import exits
from .output import STDOUT, JsonOption, check_json, count, escaped, note, say, write_json

if TYPE_CHECKING:
    from ..run.explore import Finding

SEEDS: Final = re.compile(r"(\d+)(?:\.\.(\d+))?")
SEEDS_MAX: Final = 10_000_000
"""Of one call; a seed takes a fraction of a second."""


def explore(
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="A..B", help="Seeds to try, both ends included, or one. Default: 100 fresh ones."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="J", help="Processes. Default: one for each processor.")
    ] = None,
    staged: Annotated[
        bool, typer.Option("--staged", help="Stage epochs of a strict prefix in every run, not in some only.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Run random scenarios with random faults, all checkers on.

    Each seed makes a small cluster, conditions, publishes and faults: partitions, crashes,
    full disks, forks, hostile peers. A seed that breaks an invariant is printed with what
    the checkers found and the command that replays it, and the exit code is 1.

    \b
    Examples:
      gossipconf-sim explore
      gossipconf-sim explore --seeds 0..2000 --jobs 2
      gossipconf-sim explore --seeds 17
      gossipconf-sim explore --seeds 0..999 --staged
    """
    check_json(json_file)
    first, last = _range(seeds)
    workers = os.cpu_count() or 1 if jobs is None else jobs
    if workers < 1:
        raise InvalidInput(f"--jobs {workers} is too small; give 1 or more")
    if json_file != STDOUT:
        note(f"seeds {first}..{last}")
    findings = []
    for finding in _findings(first, last, workers, staged=staged):
        findings.append(finding)
        if finding.violations:
            _print(finding, staged=staged)
    broken = [finding for finding in findings if finding.violations]
    if json_file is not None:
        write_json(json_file, _document(first, last, findings))
    if json_file != STDOUT:
        events = sum(finding.events for finding in findings)
        found = "no violation" if not broken else count(len(broken), "seed with violations", "seeds with violations")
        say(f"{count(len(findings), 'seed')}, {count(events, 'event')}: {found}")
    if broken:
        raise typer.Exit(exits.ERROR)


def _range(seeds: str | None) -> tuple[int, int]:
    """The first and last seed. Raises InvalidInput."""
    if seeds is None:
        first = int.from_bytes(os.urandom(4), "big")
        return first, first + 99
    match = SEEDS.fullmatch(seeds)
    if match is None:
        raise InvalidInput(f"--seeds {seeds!r} is not a range such as 0..2000, nor a seed")
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < first + SEEDS_MAX:
        raise InvalidInput(f"--seeds {seeds} has no seeds, or more than {SEEDS_MAX:,}; write the smaller one first")
    return first, last


def _findings(first: int, last: int, workers: int, *, staged: bool) -> Iterator[Finding]:
    """What came of each seed, in order."""
    from ..run.explore import explore as explore_seed  # noqa: PLC0415 - the protocol, which --help needs not

    explore_one = partial(explore_seed, staged=staged)
    if workers == 1 or first == last:
        yield from map(explore_one, range(first, last + 1))
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(explore_one, range(first, last + 1), chunksize=4)


def _print(finding: Finding, *, staged: bool) -> None:
    note(Text.assemble((f"seed {finding.seed}", "red"), f" ({count(finding.nodes, 'node')}):"))
    for violation in finding.violations:
        note(Text(f"  {escaped(violation)}"))
    note(f"  replay: gossipconf-sim explore --seeds {finding.seed}{' --staged' * staged}")


def _document(first: int, last: int, findings: list[Finding]) -> dict[str, Any]:
    return {
        "first": first,
        "last": last,
        "events": sum(finding.events for finding in findings),
        "violations": {str(one.seed): list(one.violations) for one in findings if one.violations},
    }
