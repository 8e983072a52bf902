"""The simulator's command as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gossipconf

COMMAND = [sys.executable, "-m", "gossipconf_sim.cli"]
ROOT = Path(gossipconf.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sim")])}
