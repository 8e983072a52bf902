"""The classical round models of rumour spreading, vectorised with numpy.

They answer what a spreading scheme *can* do on a complete graph in synchronous
rounds, for up to millions of nodes, and they are the yardstick for what the
protocol does under simulation. They share no code with the protocol: a planner who
wants the code that ships takes `gossipconf_sim.world`.

This package alone imports numpy (the extra `sim`).

Files: `calls` draws who calls whom; `epidemic` is the loop over rounds; `spreading`,
`rumour`, `median_counter` and `asynchronous` are the algorithms, each from its paper;
`experiment` checks parameters and runs trials; `result` is what comes out.
"""

from __future__ import annotations

from .experiment import ALGORITHMS, run
from .result import Distribution, RoundsResult

__all__ = ["ALGORITHMS", "Distribution", "RoundsResult", "run"]
