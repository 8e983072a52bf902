"""Rumour mongering that loses interest: push with feedback and counter, push blind with a coin, pull with counters.

Demers et al., *Epidemic Algorithms for Replicated Database Maintenance* (PODC 1987),
tables 1, 2 and 3. A node that knows the rumour is hot until it loses interest; a trial
is over when no node is hot, and some nodes may never have heard (the residue).

- push-feedback-counter: a hot node sends a copy to one node a cycle and is told whether
  that was needed. `patience` useless contacts in a row end its interest.
- push-blind-coin: a hot node sends a copy to one node a cycle and then loses interest
  with probability 1 / patience.
- pull-feedback-counter: every node asks one node a cycle; a hot one answers with a copy
  and is told whether it was needed. A cycle in which it was asked and nobody needed the
  copy counts as one useless contact, a cycle in which somebody did clears the count.

"Needed" is judged on the state at the start of the cycle. Partners are drawn from all
nodes, the caller included, as the printed tables have it: the first row of table 2 is
the birthday problem, and its t_last of 38 is √(π·1000/2) - 4/3 = 38.3 with self-calls and
39.3 without. Lost are calls, copies and feedback alike; who hears no feedback in a cycle
has learned nothing, and its count stays.
"""

from __future__ import annotations

import numpy as np

from .calls import Flags, Indices, Network, in_any, in_each
from .epidemic import Epidemic


class Rumour(Epidemic):
    """What the three have in common: hot nodes, and the end when there is none.

    patience: the k of the paper, from 1.
    hot: which nodes still spread the rumour, one row a trial.
    """

    def __init__(self, network: Network, trials: int, patience: int) -> None:
        super().__init__(network, trials)
        self.patience = patience
        self.hot: Flags = self.knows.copy()

    def over(self) -> Flags:
        return ~in_any(self.hot)

    def keep(self, going_on: Flags) -> None:
        self.knows = self.knows[going_on]
        self.hot = self.hot[going_on]

    def _turn(self, learns: Flags, cools: Flags) -> None:
        """End a cycle: who has learned is hot from the next cycle on, who has lost interest is not."""
        fresh = learns.reshape(self.knows.shape) & ~self.knows
        self.hot &= ~cools.reshape(self.hot.shape)
        self.hot |= fresh
        self.knows |= fresh


class BlindCoin(Rumour):
    """Push, blind and coin (table 2)."""

    def round(self) -> Indices:
        learns, cools = np.zeros_like(self.knows.ravel()), np.zeros_like(self.hot.ravel())
        sent = in_each(self.hot)
        for caller, peer in self.network.calls(np.flatnonzero(self.hot), 1, self_calls=True):
            learns[peer[self.network.arrive(len(caller))]] = True
            cools[caller[self.network.rng.random(len(caller)) * self.patience < 1]] = True
        self._turn(learns, cools)
        return sent


class Counting(Rumour):
    """Hot nodes that count useless contacts in a row.

    useless: the count of each node, one row a trial.
    """

    def __init__(self, network: Network, trials: int, patience: int) -> None:
        super().__init__(network, trials, patience)
        self.useless = np.zeros(self.knows.shape, dtype=np.int32)

    def keep(self, going_on: Flags) -> None:
        super().keep(going_on)
        self.useless = self.useless[going_on]

    def _count(self, useful: Flags, useless: Flags) -> Flags:
        """Reckon up a cycle from who had a useful contact and who a useless one; gives who loses interest."""
        counts = self.useless.ravel()
        counts += useless
        counts[useful] = 0
        return counts >= self.patience


class PushCounter(Counting):
    """Push with feedback and counter (table 1)."""

    def round(self) -> Indices:
        knows = self.knows.ravel()
        learns, useful, useless = (np.zeros_like(knows) for _ in range(3))
        sent = in_each(self.hot)
        for caller, peer in self.network.calls(np.flatnonzero(self.hot), 1, self_calls=True):
            arrived = self.network.arrive(len(caller))
            learns[peer[arrived]] = True
            told = arrived & self.network.arrive(len(caller))
            needed = ~knows[peer]
            useful[caller[told & needed]] = True
            useless[caller[told & ~needed]] = True
        self._turn(learns, self._count(useful, useless))
        return sent


class PullCounter(Counting):
    """Pull with feedback and counter (table 3)."""

    def round(self) -> Indices:
        knows, hot = self.knows.ravel(), self.hot.ravel()
        learns, useful, useless = (np.zeros_like(knows) for _ in range(3))
        sent = np.zeros(self.trials, dtype=np.int64)
        for caller, peer in self.network.calls(np.arange(knows.size), 1, self_calls=True):
            answered = hot[peer] & self.network.arrive(len(caller))
            asker, source = caller[answered], peer[answered]
            sent += self.network.per_trial(asker, self.trials)
            arrived = self.network.arrive(len(asker))
            learns[asker[arrived]] = True
            told = arrived & self.network.arrive(len(asker))
            needed = ~knows[asker]
            useful[source[told & needed]] = True
            useless[source[told & ~needed]] = True
        self._turn(learns, self._count(useful, useless))
        return sent
