"""The exact distribution of push, pull and push-pull by the Markov chain of the number of informed nodes.

Written from the definition of the models and sharing nothing with the simulation: no
random number, no numpy. Feasible up to about a hundred nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt

SETTLED = 1e-13
"""The probability of not being done at which the chain is cut off."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Rounds until all know: mean, sd, and cdf[t] for t rounds."""

    mean: float
    sd: float
    cdf: tuple[float, ...]

    def quantile(self, share: float) -> int:
        return next(rounds for rounds, done in enumerate(self.cdf) if done >= share)


def hypergeometric(population: int, marked: int, drawn: int) -> list[float]:
    """P(h marked ones among `drawn` different ones), for each h."""
    total = comb(population, drawn)
    return [comb(marked, h) * comb(population - marked, drawn - h) / total for h in range(drawn + 1)]


def binomial(count: int, chance: float) -> list[float]:
    return [comb(count, j) * chance**j * (1 - chance) ** (count - j) for j in range(count + 1)]


def step(nodes: int, informed: int, fanout: int, loss: float, push: bool, pull: bool) -> list[float]:
    """P(c nodes learn in a round), for each c."""
    uninformed, others = nodes - informed, nodes - 1
    learned = [1.0] + [0.0] * uninformed
    if push:
        arriving = binomial(fanout, 1 - loss)
        hits = [[0.0] * (fanout + 1) for _ in range(uninformed + 1)]
        for left in range(uninformed + 1):
            for arrived, chance in enumerate(arriving):
                for h, share in enumerate(hypergeometric(others, left, arrived)):
                    hits[left][h] += chance * share
        for _ in range(informed):
            after = [0.0] * (uninformed + 1)
            for c, chance in enumerate(learned):
                for h, share in enumerate(hits[uninformed - c]):
                    if share:
                        after[c + h] += chance * share
            learned = after
    if pull:
        misses = sum(
            share * (1 - (1 - loss) ** 2) ** h for h, share in enumerate(hypergeometric(others, informed, fanout))
        )
        after = [0.0] * (uninformed + 1)
        for c, chance in enumerate(learned):
            for j, share in enumerate(binomial(uninformed - c, 1 - misses)):
                after[c + j] += chance * share
        learned = after
    return learned


def exact(nodes: int, *, fanout: int = 1, loss: float = 0.0, push: bool = False, pull: bool = False) -> Exact:
    steps = [step(nodes, informed, fanout, loss, push, pull) for informed in range(1, nodes)]
    state = [0.0, 1.0] + [0.0] * (nodes - 1)
    cdf = [state[nodes]]
    while 1 - cdf[-1] > SETTLED:
        after = [0.0] * (nodes + 1)
        after[nodes] = state[nodes]
        for informed, row in enumerate(steps, start=1):
            if state[informed]:
                for c, share in enumerate(row):
                    after[informed + c] += state[informed] * share
        state = after
        cdf.append(state[nodes])
    chances = [done - before for done, before in zip(cdf[1:], cdf, strict=False)]
    mean = sum(t * chance for t, chance in enumerate(chances, start=1))
    variance = sum((t - mean) ** 2 * chance for t, chance in enumerate(chances, start=1))
    return Exact(mean, sqrt(variance), tuple(cdf))
