"""Push, pull and push-pull until every node knows the rumour.

Pittel, *On Spreading a Rumor* (1987), and Frieze and Grimmett (1985) for push; Demers
et al. (1987) and Karp, Schindelhauer, Shenker and Vöcking (2000) for pull and
push-pull. Each caller calls `fanout` distinct uniform peers other than itself; what is
said in a round is what was known at its start.

- push: nodes that know the rumour call and send a copy.
- pull: nodes that do not know it call and ask; a peer that knows it answers with a copy.
- push-pull: all call; a caller that knows sends a copy with the call, and a peer that
  knows answers with one (it cannot tell that the caller knows, as in Karp et al.).

A call is a message and its answer another: both can be lost, so a node learns by its
own call with (1 - loss)² and by another's with 1 - loss. A trial is over when all know.
"""

from __future__ import annotations

import numpy as np

from .calls import Flags, Indices, Network, in_any
from .epidemic import Epidemic


class Spreading(Epidemic):
    """Push, pull, or both, with no end but that all know.

    fanout: peers called by a caller in a round.
    push: whether callers send what they know.
    pull: whether callers are answered with what the peer knows.
    """

    def __init__(self, network: Network, trials: int, fanout: int, *, push: bool, pull: bool) -> None:
        super().__init__(network, trials)
        self.fanout = fanout
        self.push = push
        self.pull = pull

    def round(self) -> Indices:
        knows = self.knows.ravel()
        learns = knows.copy()
        copies = np.zeros(self.trials, dtype=np.int64)
        for caller, peer in self.network.calls(self._callers(), self.fanout):
            called = self.network.arrive(len(caller))
            if self.push:
                told = knows[caller]
                copies += self.network.per_trial(caller[told], self.trials)
                learns[peer[told & called]] = True
            if self.pull:
                answered = called & knows[peer]
                copies += self.network.per_trial(caller[answered], self.trials)
                asker = caller[answered]
                learns[asker[self.network.arrive(len(asker))]] = True
        self.knows = learns.reshape(self.knows.shape)
        return copies

    def _callers(self) -> Indices:
        if self.push and self.pull:
            return np.arange(self.knows.size)
        return np.flatnonzero(self.knows if self.push else ~self.knows)

    def over(self) -> Flags:
        return ~in_any(~self.knows)

    def keep(self, going_on: Flags) -> None:
        self.knows = self.knows[going_on]
