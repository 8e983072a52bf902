"""Who calls whom in a round, and which messages arrive.

Nodes of all trials of a batch lie in one flat array, trial after trial: node i of
trial t is t * nodes + i. Nothing here knows what a call carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

CALLS_MAX: Final = 1 << 21
"""Calls drawn at once: about 100 MB of temporaries, and large enough that numpy's overhead does not show."""

PAIRWISE_MAX: Final = 8
"""Up to this fanout, comparing every pair of a caller's peers is faster than sorting them."""


@dataclass(frozen=True, slots=True)
class Network:
    """A complete graph of `nodes` nodes that loses messages.

    nodes: nodes of one trial.
    loss: the probability that a message is lost, each independently of all others.
    rng: the only source of chance.
    """

    nodes: int
    loss: float
    rng: np.random.Generator

    def calls(self, callers: Indices, fanout: int, *, self_calls: bool = False) -> Iterator[tuple[Indices, Indices]]:
        """The calls of one round, as (caller, peer) arrays of at most about CALLS_MAX calls.

        Each caller calls `fanout` distinct peers of its own trial, every set of peers
        being equally likely. All calls of a caller come in the same piece.
        self_calls: whether a node may draw itself.
        """
        first = 0 if self_calls else 1
        population = self.nodes - first
        # Above half of the population whole rows of keys are drawn (see _distinct).
        width = population if 2 * fanout > population else fanout
        rows = max(1, CALLS_MAX // width)
        for start in range(0, len(callers), rows):
            caller = callers[start : start + rows]
            origin = caller // self.nodes * self.nodes
            local = caller - origin
            if fanout > 1:
                offset = _distinct(self.rng, len(caller), fanout, population).ravel()
                origin, local, caller = (np.tile(part, fanout) for part in (origin, local, caller))
            else:
                offset = self.rng.integers(0, population, len(caller))
            # Turning the circle by an offset from 1 on leaves the caller out and every other node equally likely.
            peer = local + offset
            peer += first
            peer[peer >= self.nodes] -= self.nodes
            peer += origin
            yield caller, peer

    def arrive(self, count: int) -> Flags:
        """Which of `count` messages arrive."""
        if not self.loss:
            return np.ones(count, dtype=np.bool_)
        return self.rng.random(count) >= self.loss

    def per_trial(self, indices: Indices, trials: int) -> Indices:
        """How many of the given nodes belong to each of `trials` trials."""
        if trials == 1:
            return np.array([len(indices)], dtype=np.int64)
        return np.asarray(np.bincount(indices // self.nodes, minlength=trials), dtype=np.int64)


def in_each(flags: Flags) -> Indices:
    """How many flags of each row (a trial) are set."""
    return np.asarray(np.count_nonzero(flags, axis=1), dtype=np.int64)


def in_any(flags: Flags) -> Flags:
    """In which rows (trials) any flag is set."""
    return np.asarray(flags.any(axis=1), dtype=np.bool_)


def _distinct(rng: np.random.Generator, sets: int, count: int, population: int) -> Indices:
    """`sets` independent uniform sets of `count` different numbers below `population`, one set a column.

    Repeated numbers of a set are drawn again until none is left. No step looks at which
    numbers they are, only at which are equal, so every set is equally likely. Near the
    whole population the last repetitions would take for ever: there, the places of the
    smallest of `population` random keys are taken.
    """
    if 2 * count > population:
        return np.argpartition(rng.random((sets, population)), count - 1, axis=1)[:, :count].T
    drawn = rng.integers(0, population, (count, sets))
    pending = np.arange(sets)
    part = drawn
    while True:
        if count > PAIRWISE_MAX:
            part = np.sort(part, axis=0)
        repeated = _repeated(part)
        part[repeated] = rng.integers(0, population, int(np.count_nonzero(repeated)))
        drawn[:, pending] = part
        unsettled = repeated.any(axis=0)
        if not unsettled.any():
            return drawn
        pending, part = pending[unsettled], part[:, unsettled]


def _repeated(part: Indices) -> Flags:
    """Which numbers stand in their column before; only the place just before counts in a long, sorted column."""
    count = len(part)
    repeated = np.zeros(part.shape, dtype=np.bool_)
    for later in range(1, count):
        for earlier in range(later - 1 if count > PAIRWISE_MAX else 0, later):
            repeated[later] |= part[later] == part[earlier]
    return repeated
