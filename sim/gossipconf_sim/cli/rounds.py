"""The classical round models: `rounds`. What a spreading scheme can do at best, measured beside theory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .output import STDOUT, JsonOption, check_json, count, print_table, say, write_json
from .theory import Expectation, expectations, least_rounds

if TYPE_CHECKING:
    from ..rounds import RoundsResult

NAMES: Final = (
    "push",
    "pull",
    "push-pull",
    "push-feedback-counter",
    "push-blind-coin",
    "pull-feedback-counter",
    "median-counter",
    "asynchronous-push-pull",
)
"""The keys of `rounds.ALGORITHMS`, which would load numpy for the help text; a test compares."""

REACHES_ALL: Final = frozenset({"push", "pull", "push-pull", "asynchronous-push-pull"})
"""Models whose trials go on until all nodes know; the others end when nobody spreads any more."""

SPREAD: Final = ("sd", "p50", "p90", "p99", "max")
"""What tells how much trials differ, of `Distribution`."""

COLUMNS: Final = {"FIGURE": "left", "MEASURED": "right", "THEORY": "right", "FORMULA": "left"}


def rounds(
    algorithm: Annotated[
        str, typer.Argument(metavar="ALGORITHM", help=f"One of {', '.join(NAMES)}.", autocompletion=lambda: NAMES)
    ],
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", help="Nodes; each can call every other.")],
    fanout: Annotated[
        int,
        typer.Option("--fanout", metavar="K", help="Peers called in a round; the k of a rumour with coin or counter."),
    ] = 1,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", metavar="P", help="Limit of the counter or coin. Default: the fanout; median-counter: by N."
        ),
    ] = None,
    loss: Annotated[float, typer.Option("--loss", metavar="E", help="Probability that a message is lost.")] = 0.0,
    trials: Annotated[int, typer.Option("--trials", metavar="T", help="Independent trials.")] = 1,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same figures.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Play a classical round model and compare it with theory.

    One node of N knows a rumour; in rounds, nodes call peers drawn at random. This
    shows what a scheme can do at best, for up to millions of nodes; it does not run
    the code that agents run. Residue is the share of nodes that never learned it,
    traffic the copies sent per node, t_last the round in which the last one learned.

    \b
    Examples:
      gossipconf-sim rounds push --nodes 1000000 --fanout 3
      gossipconf-sim rounds push-pull --nodes 10000 --loss 0.05 --trials 100
      gossipconf-sim rounds push-feedback-counter --nodes 1000 --fanout 2 --trials 1000 --json -
    """
    check_json(json_file)
    from ..rounds import ALGORITHMS, run  # noqa: PLC0415 - numpy, which --help needs not

    result = run(algorithm, nodes, fanout=fanout, patience=patience, loss=loss, trials=trials, seed=seed)
    if json_file is not None:
        write_json(json_file, document(result))
    if json_file != STDOUT:
        _print(result, ALGORITHMS[algorithm])


def _print(result: RoundsResult, description: str) -> None:
    expected = expectations(result)
    say(f"{result.algorithm}: {description}")
    say(parameters(result))
    say()
    print_table(COLUMNS, rows(result, expected))
    say()
    for sentence in sentences(result, expected):
        say(sentence)


def document(result: RoundsResult) -> dict[str, Any]:
    """What `--json` writes: the figures, then the parameters that only some models have."""
    fields = asdict(result)
    last = ("patience", "seed")
    return {name: fields[name] for name in fields if name not in last} | {name: fields[name] for name in last}


def parameters(result: RoundsResult) -> str:
    """What was played, in one line."""
    parts = [
        f"N = {count(result.nodes, 'node')}",
        f"fanout {result.fanout}",
        *([f"patience {result.patience}"] if result.patience is not None else []),
        f"loss {result.loss:g}",
        count(result.trials, "trial"),
        f"seed {result.seed}",
    ]
    return f"{', '.join(parts)}; took {result.wall_s:.2f} s"


def rows(result: RoundsResult, expected: Mapping[str, Expectation]) -> list[tuple[str, str, str, str]]:
    """The table: figure, measured, by theory, the formula."""
    spread = result.rounds
    measured = {
        "rounds": ("rounds, mean" if result.trials > 1 else "rounds", spread.mean),
        **({name: (f"rounds, {name}", getattr(spread, name)) for name in SPREAD} if result.trials > 1 else {}),
        "t_last": ("t_last", result.t_last),
        "residue": ("residue", result.residue),
        "traffic": ("traffic", result.traffic),
    }
    return [
        (label, _figure(value), *((_figure(known.value), known.formula) if (known := expected.get(name)) else ("", "")))
        for name, (label, value) in measured.items()
    ]


def sentences(result: RoundsResult, expected: Mapping[str, Expectation]) -> list[str]:
    """What the figures mean."""
    unit = "ticks of a node's clock" if result.algorithm == "asynchronous-push-pull" else "rounds"
    many = result.trials > 1
    mean = f"{_figure(result.rounds.mean)} {unit}{' on average' if many else ''}"
    slowest = f", in 99 of 100 trials after at most {_figure(result.rounds.p99)}" if many else ""
    if result.algorithm in REACHES_ALL:
        said = [f"All {count(result.nodes, 'node')} knew the rumour after {mean}{slowest}."]
    else:
        missed = (
            f"{_figure(100 * result.residue)}% of the nodes never heard it" if result.residue else "all had heard it"
        )
        said = [f"Nobody spread the rumour any more after {mean}{slowest}; {missed}."]
    said.append(f"It was sent {_figure(result.traffic)} times a node, copies that were lost or useless included.")
    if result.algorithm == "push":
        least = least_rounds(result.nodes, result.fanout)
        copies = count(result.fanout, "copy", "copies")
        said.append(
            f"No scheme in which a node sends at most {copies} a round can need less than"
            f" log{result.fanout + 1} N, rounded up: {least}."
        )
    if any("O(1)" in known.formula for known in expected.values()):
        said.append("O(1) is a constant that theory leaves open: about 1 where little is lost, more with the loss.")
    if not many:
        said.append("This is one trial; --trials 100 shows how much they differ.")
    return said


def _figure(value: float) -> str:
    """A number for people: two decimals, or three digits if it is small."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"
