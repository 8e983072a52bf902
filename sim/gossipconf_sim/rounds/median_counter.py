"""The median-counter algorithm: push-pull that ends by itself after O(n ln ln n) transmissions.

Karp, Schindelhauer, Shenker and Vöcking, *Randomized Rumor Spreading* (FOCS 2000). All
nodes call in every round, and both ends of a call say what they know. A node is in

- A: it does not know the rumour;
- B-m: it knows it, with counter m from 1; it sends the rumour and its counter;
- C: it sends the rumour for `patience` rounds more;
- D: it knows the rumour and sends it no more.

A becomes C if it hears from a node in C, else B-1 if it hears from one in B. B-m becomes
C if it hears from a node in C; else, if it has spoken in this round with more nodes in
B-m' with m' ≥ m than with nodes in A or in B-m' with m' < m (the median rule), B-(m+1),
which is C when m + 1 = patience. A node that stays in B for longer than the fail-safe
becomes D. Nodes in D count for neither side.

The paper gives `patience` (its ctr_max), the rounds in C and the fail-safe as O(ln ln n),
O(ln ln n) and O(ln n); the constants here are at the top. A lost call is unheard by both
ends, a lost answer by the caller. A trial is over when no node is in B or C.
"""

from __future__ import annotations

from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .calls import Flags, Indices, Network, in_any
from .epidemic import Epidemic

PATIENCE_MIN: Final = 2
"""Of one state B at least; with ctr_max 1 there would be none and no counter."""

FAIL_SAFE_ROUNDS: Final = 4
"""Times ln n: push-pull needs log₃ n ≈ 0.91 ln n rounds (plus ln ln n), so this is met by stragglers alone."""

UNAWARE: Final = 0
"""State A; B-m is m, C is `patience` and D is `patience` + 1, so that the order of states is their progress."""


def patience_of(nodes: int) -> int:
    """The default ctr_max for a number of nodes: ⌈ln ln n⌉ + 1, at least PATIENCE_MIN."""
    return max(PATIENCE_MIN, ceil(log(max(log(nodes), 1.0))) + 1)


class MedianCounter(Epidemic):
    """The states of the median-counter algorithm.

    fanout: peers called by a node in a round (1 in the paper; with more, the median rule is over all of them).
    patience: ctr_max, from PATIENCE_MIN; also the number of rounds in state C.
    """

    def __init__(self, network: Network, trials: int, fanout: int, patience: int) -> None:
        super().__init__(network, trials)
        self.fanout = fanout
        self.patience = patience
        self.fail_safe = max(1, ceil(FAIL_SAFE_ROUNDS * log(network.nodes)))
        self.state: NDArray[np.int32] = self.knows.astype(np.int32)
        self.age: NDArray[np.int32] = np.zeros_like(self.state)
        """Rounds spent in B, or in C, since the node entered it."""

    def round(self) -> Indices:
        state = self.state.ravel()
        copies = np.zeros(self.trials, dtype=np.int64)
        hears_b, hears_c = np.zeros(state.size, dtype=np.bool_), np.zeros(state.size, dtype=np.bool_)
        balance = np.zeros(state.size, dtype=np.int32)
        for caller, peer in self.network.calls(np.arange(state.size), self.fanout):
            called = self.network.arrive(len(caller))
            answered = called & self.network.arrive(len(caller))
            for speaker, listener, sent, heard in ((caller, peer, None, called), (peer, caller, called, answered)):
                said = state[speaker]
                speaks = (said > UNAWARE) & (said <= self.patience)
                copies += self.network.per_trial(speaker[speaks if sent is None else speaks & sent], self.trials)
                hears_b[listener[heard & speaks]] = True
                hears_c[listener[heard & (said == self.patience)]] = True
                balance += self._balance(state, listener[heard], said[heard])
        self._turn(hears_b, hears_c, balance)
        return copies

    def _balance(self, state: NDArray[np.int32], listener: Indices, said: NDArray[np.int32]) -> NDArray[np.int32]:
        """For each node, the partners as far as itself or farther, less those behind; only A and B count."""
        weighed = (said < self.patience) & (state[listener] != UNAWARE)
        listener, said = listener[weighed], said[weighed]
        ahead = said >= state[listener]
        up = np.bincount(listener[ahead], minlength=state.size)
        down = np.bincount(listener[~ahead], minlength=state.size)
        return (up - down).astype(np.int32)

    def _turn(self, hears_b: Flags, hears_c: Flags, balance: NDArray[np.int32]) -> None:
        before = self.state.ravel()
        unaware = before == UNAWARE
        in_b = (before > UNAWARE) & (before < self.patience)
        in_c = before == self.patience
        age = self.age.ravel() + 1
        after = before + (in_b & (balance > 0))
        after[unaware & hears_b] = 1
        after[(unaware | in_b) & hears_c] = self.patience
        done = (in_b & (after < self.patience) & (age >= self.fail_safe)) | (in_c & (age >= self.patience))
        after[done] = self.patience + 1
        age[unaware | ((after == self.patience) & ~in_c)] = 0
        self.state = after.reshape(self.state.shape)
        self.age = age.reshape(self.age.shape)
        self.knows = self.state > UNAWARE

    def over(self) -> Flags:
        return ~in_any((self.state > UNAWARE) & (self.state <= self.patience))

    def keep(self, going_on: Flags) -> None:
        self.knows = self.knows[going_on]
        self.state = self.state[going_on]
        self.age = self.age[going_on]
