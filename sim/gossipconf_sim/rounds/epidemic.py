"""The loop over synchronous rounds, for a batch of independent trials side by side.

An epidemic knows its nodes' states and how one round changes them; the loop knows
when each trial is over and keeps the account. Trials that are over leave the batch,
so the slowest ones do not make the others wait at full cost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calls import Flags, Indices, Network, in_each


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of each trial; all arrays have one element a trial.

    rounds: rounds until the trial was over (see each algorithm).
    t_last: the round in which the last node to learn the rumour learned it.
    unaware: nodes that never learned it.
    copies: copies of the rumour sent, lost ones included.
    """

    rounds: NDArray[np.float64]
    t_last: NDArray[np.float64]
    unaware: Indices
    copies: Indices


class Epidemic(ABC):
    """The states of all nodes of a batch of trials; node 0 of each trial starts with the rumour.

    knows: which nodes know the rumour, one row a trial.
    """

    def __init__(self, network: Network, trials: int) -> None:
        self.network = network
        self.knows: Flags = np.zeros((trials, network.nodes), dtype=np.bool_)
        self.knows[:, 0] = True

    @property
    def trials(self) -> int:
        """Trials still in the batch."""
        return len(self.knows)

    @abstractmethod
    def round(self) -> Indices:
        """Play one round on the state at its start; gives the copies of the rumour sent, by trial."""

    @abstractmethod
    def over(self) -> Flags:
        """Which trials are over: nothing more can change in them."""

    @abstractmethod
    def keep(self, going_on: Flags) -> None:
        """Drop the trials that are not going on."""


def play(epidemic: Epidemic) -> Outcome:
    """Play every trial of a batch to its end."""
    trials = epidemic.trials
    outcome = Outcome(
        np.zeros(trials), np.zeros(trials), np.zeros(trials, dtype=np.int64), np.zeros(trials, dtype=np.int64)
    )
    live = np.arange(trials)
    known = in_each(epidemic.knows)
    number = 0
    while len(live):
        number += 1
        outcome.copies[live] += epidemic.round()
        before, known = known, in_each(epidemic.knows)
        outcome.t_last[live[known > before]] = number
        over = epidemic.over()
        if over.any():
            outcome.rounds[live[over]] = number
            outcome.unaware[live[over]] = epidemic.network.nodes - known[over]
            live, known = live[~over], known[~over]
            epidemic.keep(~over)
    return outcome
