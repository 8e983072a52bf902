"""What a run of a round model gives: figures over its trials. Knows nothing of how they came about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Distribution:
    """A figure over the trials of a run.

    mean, max: over all trials.
    sd: the standard deviation of one trial, estimated from the sample (n - 1); 0 with a single trial.
    p50, p90, p99: the smallest value that at least this share of the trials does not exceed.
    """

    mean: float
    sd: float
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, sample: NDArray[np.float64]) -> Distribution:
        """The distribution of a sample of at least one value."""
        p50, p90, p99 = (float(value) for value in np.quantile(sample, (0.5, 0.9, 0.99), method="inverted_cdf"))
        sd = float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
        return cls(float(sample.mean()), sd, p50, p90, p99, float(sample.max()))


@dataclass(frozen=True, slots=True)
class RoundsResult:
    """The figures of one run; `dataclasses.asdict` gives what `rounds --json` prints.

    algorithm, nodes, fanout, loss, trials, seed: as asked for.
    patience: the counter or coin parameter in effect, None where the algorithm has none.
    rounds: rounds until a trial was over: until all nodes knew the rumour (push, pull, push-pull), or until
        none spread it any more (the others). Of the asynchronous model: time in mean ticks of a node.
    residue: the share of nodes that never learned the rumour (s of Demers et al.), mean over trials.
    traffic: copies of the rumour sent, useless and lost ones too, by the number of nodes (m of Demers et al.),
        mean over trials. Requests without a copy and feedback are not counted.
    t_last: the round in which the last node to learn the rumour learned it, mean over trials.
    transmissions_per_node: the transmissions of Karp et al., by the number of nodes. They count what
        Demers et al. call traffic, so it is the same number under the name that their readers look for.
    wall_s: seconds that the run took on this machine; everything else depends on the parameters alone.
    """

    algorithm: str
    nodes: int
    fanout: int
    patience: int | None
    loss: float
    trials: int
    seed: int
    rounds: Distribution
    residue: float
    traffic: float
    t_last: float
    transmissions_per_node: float
    wall_s: float
