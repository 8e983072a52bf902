"""Push-pull without rounds: every node calls one uniform peer at the ticks of its own Poisson clock of rate 1.

Boyd, Ghosh, Prabhakar and Shah (2006) for the clocks; the rumour's spread is the
logistic birth process, with E[T] = (N-1)/N · H(N-1) when nothing is lost. Time 1 is the
mean time between a node's ticks, so figures compare with those of push-pull in rounds.

Only the number of informed nodes matters, and it grows by one at a time: between two
growths the calls of each kind are independent Poisson streams. That is what is drawn:
exactly the process, in N draws a trial instead of N ln N calls one after the other.
"""

from __future__ import annotations

import numpy as np

from .calls import CALLS_MAX, Network
from .epidemic import Outcome


def play_asynchronous(network: Network, trials: int) -> Outcome:
    """Play `trials` trials; `rounds` and `t_last` are both the time at which the last node learned."""
    nodes, arrives = network.nodes, 1.0 - network.loss
    outcome = Outcome(
        np.zeros(trials), np.zeros(trials), np.zeros(trials, dtype=np.int64), np.zeros(trials, dtype=np.int64)
    )
    stages = max(1, CALLS_MAX // trials)
    for first in range(1, nodes, stages):
        informed = np.arange(first, min(first + stages, nodes), dtype=np.float64)
        crossing = informed * (nodes - informed) / (nodes - 1)
        inside = informed * (informed - 1) / (nodes - 1)
        # By informed to uninformed, and back: a push needs its call to arrive, a pull its call and the answer.
        pushed, pulled = crossing * arrives, crossing * arrives**2
        shape = (trials, len(informed))
        time = network.rng.exponential(1.0, shape) / (pushed + pulled)
        # Copies that change nothing: a lost push, a lost answer; between two informed nodes the call, and its answer.
        single = crossing * (1 - arrives) * (1 + arrives) + inside * (1 - arrives)
        double = inside * arrives
        outcome.copies[:] += network.rng.poisson(time * single).sum(axis=1) + len(informed)
        outcome.copies[:] += 2 * network.rng.poisson(time * double).sum(axis=1)
        outcome.rounds[:] += time.sum(axis=1)
    outcome.t_last[:] = outcome.rounds
    return outcome
