"""A run of a round model: its parameters checked, its trials played batch by batch, its figures taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np

from gossipconf.model.errors import InvalidInput, LimitExceeded

from .asynchronous import play_asynchronous
from .calls import Network
from .epidemic import Outcome, play
from .median_counter import PATIENCE_MIN, MedianCounter, patience_of
from .result import Distribution, RoundsResult
from .rumour import BlindCoin, PullCounter, PushCounter
from .spreading import Spreading

NODES_MAX: Final = 20_000_000
"""A trial of median-counter holds up to about 90 bytes a node: 1.8 GB."""

TRIALS_MAX: Final = 10_000_000
"""Each trial keeps 32 bytes of figures; a ten-millionth quantile is beyond any use."""

PATIENCE_MAX: Final = 1_000_000
"""Rounds grow with it and counters are 32 bits wide; the tables end at 5."""

LOSS_MAX: Final = 0.99
"""Rounds grow as 1 / (1 - loss), or its square for pull: a hundred times as many for a push at this loss."""

BATCH_NODES: Final = 1 << 21
"""Nodes of all trials played side by side: enough to hide numpy's overhead, and few enough for the memory caches."""

Play = Callable[[Network, int, int, int], Outcome]
"""(network, trials, fanout, patience) to outcome."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm and what its parameters are.

    description: one line, with the source.
    play: plays a batch of trials.
    calls_many: whether `fanout` is the number of peers called (otherwise one peer is).
    patience_min: the smallest patience, None if the algorithm has no counter and no coin.
    """

    description: str
    play: Play
    calls_many: bool
    patience_min: int | None = None


_ALGORITHMS: Final[dict[str, Algorithm]] = {
    "push": Algorithm(
        "nodes that know the rumour call FANOUT peers and send it, until all know (Pittel 1987)",
        lambda network, trials, fanout, _: play(Spreading(network, trials, fanout, push=True, pull=False)),
        calls_many=True,
    ),
    "pull": Algorithm(
        "nodes that do not know the rumour ask FANOUT peers for it, until all know (Demers et al. 1987)",
        lambda network, trials, fanout, _: play(Spreading(network, trials, fanout, push=False, pull=True)),
        calls_many=True,
    ),
    "push-pull": Algorithm(
        "all nodes call FANOUT peers and both ends learn, until all know (Karp et al. 2000)",
        lambda network, trials, fanout, _: play(Spreading(network, trials, fanout, push=True, pull=True)),
        calls_many=True,
    ),
    "push-feedback-counter": Algorithm(
        "push to one peer a cycle; PATIENCE useless contacts in a row end a node's interest (Demers et al., table 1)",
        lambda network, trials, _, patience: play(PushCounter(network, trials, patience)),
        calls_many=False,
        patience_min=1,
    ),
    "push-blind-coin": Algorithm(
        "push to one peer a cycle; interest ends with probability 1/PATIENCE after each (Demers et al., table 2)",
        lambda network, trials, _, patience: play(BlindCoin(network, trials, patience)),
        calls_many=False,
        patience_min=1,
    ),
    "pull-feedback-counter": Algorithm(
        "all nodes ask one peer a cycle; PATIENCE useless cycles in a row end a node's interest"
        " (Demers et al., table 3)",
        lambda network, trials, _, patience: play(PullCounter(network, trials, patience)),
        calls_many=False,
        patience_min=1,
    ),
    "median-counter": Algorithm(
        "push-pull that ends by itself: counters up to PATIENCE, raised by the median rule (Karp et al. 2000)",
        lambda network, trials, fanout, patience: play(MedianCounter(network, trials, fanout, patience)),
        calls_many=True,
        patience_min=PATIENCE_MIN,
    ),
    "asynchronous-push-pull": Algorithm(
        "each node calls one peer at the ticks of its own Poisson clock and both ends learn (Boyd et al. 2006)",
        lambda network, trials, *_: play_asynchronous(network, trials),
        calls_many=False,
    ),
}

ALGORITHMS: Final[dict[str, str]] = {name: algorithm.description for name, algorithm in _ALGORITHMS.items()}
"""What `run` can play: name to one line of description."""


def run(
    algorithm: str,
    nodes: int,
    *,
    fanout: int = 1,
    patience: int | None = None,
    loss: float = 0.0,
    trials: int = 1,
    seed: int = 0,
) -> RoundsResult:
    """Play `trials` independent trials of a round model on a complete graph, from one source.

    algorithm: a name of ALGORITHMS.
    nodes: nodes of the graph, from 2 to NODES_MAX.
    fanout: distinct peers that a caller calls in a round, 1 to nodes - 1 (push, pull, push-pull and
        median-counter). The rumours of Demers et al. call one peer a cycle, and the K of their tables is
        their patience: for them, `fanout` above 1 is another way to give it.
    patience: of the feedback-counter and blind-coin rumours, the k of the paper, from 1 (default: `fanout`);
        of median-counter, ctr_max, from 2 (default: ⌈ln ln nodes⌉ + 1). Others have none.
    loss: the probability that a message is lost, 0 to LOSS_MAX, each independently. A call is a message,
        its answer another, feedback a third.
    trials: 1 to TRIALS_MAX.
    seed: non-negative; the same parameters and seed give the same figures (with the same numpy).

    Raises InvalidInput for a parameter that is wrong or does not go with the algorithm, and
    LimitExceeded for one beyond its limit.
    """
    model = _ALGORITHMS.get(algorithm)
    if model is None:
        raise InvalidInput(f"no round model is named {algorithm!r}; there are: {', '.join(_ALGORITHMS)}")
    _check_range("nodes", nodes, 2, NODES_MAX)
    _check_range("trials", trials, 1, TRIALS_MAX)
    if seed < 0:
        raise InvalidInput(f"seed {seed} is negative; give 0 or more")
    if not 0 <= loss <= 1:
        raise InvalidInput(f"loss {loss} is not a probability; give a number from 0 to {LOSS_MAX}")
    if loss > LOSS_MAX:
        raise LimitExceeded(f"loss {loss} is above the limit of {LOSS_MAX}: almost no round would change anything")
    effective = _patience(algorithm, model, nodes, fanout, patience)

    start_s = perf_counter()
    batch = max(1, BATCH_NODES // nodes)
    sizes = [min(batch, trials - first) for first in range(0, trials, batch)]
    root = np.random.SeedSequence(seed)
    outcomes = [
        model.play(Network(nodes, loss, np.random.default_rng(root.spawn(1)[0])), size, fanout, effective or 0)
        for size in sizes
    ]
    rounds, t_last, unaware, copies = (
        np.concatenate([getattr(outcome, part) for outcome in outcomes])
        for part in ("rounds", "t_last", "unaware", "copies")
    )
    traffic = float(copies.mean()) / nodes
    return RoundsResult(
        algorithm=algorithm,
        nodes=nodes,
        fanout=fanout,
        patience=effective,
        loss=loss,
        trials=trials,
        seed=seed,
        rounds=Distribution.of(rounds),
        residue=float(unaware.mean()) / nodes,
        traffic=traffic,
        t_last=float(t_last.mean()),
        transmissions_per_node=traffic,
        wall_s=perf_counter() - start_s,
    )


def _patience(algorithm: str, model: Algorithm, nodes: int, fanout: int, patience: int | None) -> int | None:
    """The patience in effect, after checking it and the fanout against the algorithm and each other."""
    if fanout < 1:
        raise InvalidInput(f"fanout {fanout} calls nobody; give 1 or more")
    if model.calls_many and fanout >= nodes:
        raise InvalidInput(f"fanout {fanout} is more than the {nodes - 1} other nodes; give {nodes - 1} or less")
    if model.patience_min is None:
        if patience is not None:
            raise InvalidInput(f"{algorithm} has neither counter nor coin; leave patience out")
        if not model.calls_many and fanout != 1:
            raise InvalidInput(f"{algorithm} calls one peer at a tick, not {fanout}; leave fanout out")
        return None
    if model.calls_many:
        effective = patience_of(nodes) if patience is None else patience
    elif patience is None:
        effective = fanout
    elif fanout in (1, patience):
        effective = patience
    else:
        raise InvalidInput(
            f"{algorithm} calls one peer a cycle and its only K is its patience;"
            f" give patience {patience} or fanout {fanout}, not both"
        )
    _check_range("patience", effective, model.patience_min, PATIENCE_MAX)
    return effective


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if value < least:
        raise InvalidInput(f"{name} {value} is too small; give {least} or more")
    if value > most:
        raise LimitExceeded(f"{name} {value} is above the limit of {most}")
