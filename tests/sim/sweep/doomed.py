"""Runs whose end is their seed's, to take the place of `execute`; a module of its own, for processes to import."""

from __future__ import annotations

import os
import signal
from typing import Any

from gossipconf_sim.scenario.scenario import Scenario
from gossipconf_sim.sweep.grid import RunFailed, execute


def doomed(scenario: Scenario, seed: int, version: str) -> dict[str, Any]:
    """As `execute`; but seed 1 kills its process, 2 and 3 raise."""
    match seed:
        case 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case 2:
            raise RunFailed("ValueError: it\nwas 2")
        case 3:
            raise KeyError("three")
    return execute(scenario, seed, version)
