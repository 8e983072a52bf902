"""How fast real agents have a change, and what that costs, beside Serf and etcd on the same machine in the same run.

`python -m benchmarks propagation --agents 32 --changes 30 --peer serf --idle-s 60`; docs/benchmarks.md says what is
counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from . import etcd, serf
from .errors import BenchmarkError
from .figures import ratios
from .isolation import measure_apart
from .marks import MARK_BYTES
from .places import AGENTS_MAX
from .plan import Plan
from .table import markdown

DESCRIPTION: Final = "time to the last of N agents, and its cost in bytes and CPU, beside Serf or etcd"

PEERS: Final = {"serf": ("serf",), "etcd": ("etcd",), "all": ("serf", "etcd"), "none": ()}
BASELINE_S: Final = 10.0
"""Idle time measured where none is asked for: enough to take it off the changes, too short to report."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--agents", type=int, default=32, help="agents, or watchers of etcd (default: %(default)s)")
    parser.add_argument("--changes", type=int, default=30, help="changes published (default: %(default)s)")
    parser.add_argument(
        "--peer", choices=PEERS, default="none", help="measured after gossipconf (default: %(default)s)"
    )
    parser.add_argument("--publishers", type=int, default=1, help="agents that publish in turn (default: %(default)s)")
    parser.add_argument("--every-ms", type=float, default=200.0, help="from publish to publish (default: %(default)s)")
    parser.add_argument("--value-bytes", type=int, default=100, help="value or payload (default: %(default)s)")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="wait for the last (default: %(default)s)")
    parser.add_argument(
        "--idle-s", type=float, default=0.0, help="measure idle traffic and CPU for so long; 0: skip (default)"
    )
    parser.add_argument("--etcd-members", type=int, choices=(1, 3), default=3, help="(default: %(default)s)")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where disks are (default: the system's temporary)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of gossipconf, of the peers, and the ratios. Ends the program with one line where it cannot."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that what was started is ended, as with Ctrl-C
    try:
        return _measure(options)
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; what was started has been ended")


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    _check(options)
    load_before = os.getloadavg()[0]
    systems = {}
    for name in ("gossipconf", *PEERS[options.peer]):
        print(f"measuring {name} …", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="gossipconf-bench-", dir=options.directory) as directory:
            systems[name] = measure_apart(name, _plan(options, Path(directory)))
    print(markdown(systems), file=sys.stderr)
    ours = systems["gossipconf"]
    return {
        "benchmark": "propagation",
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": round(load_before, 2),
        "options": {name: getattr(options, name) for name in _OPTIONS},
        "systems": systems,
        "ratios": {name: ratios(ours, figures) for name, figures in systems.items() if figures is not ours},
    }


_OPTIONS: Final = ("agents", "changes", "publishers", "every_ms", "value_bytes", "timeout_s", "idle_s", "etcd_members")


def _check(options: argparse.Namespace) -> None:
    """Find what is wrong before anything is started. Raises BenchmarkError."""
    if not 1 <= options.agents <= AGENTS_MAX:
        raise BenchmarkError(f"--agents is {options.agents}; it must be 1 to {AGENTS_MAX}")
    if not 1 <= options.publishers <= options.agents:
        raise BenchmarkError(f"--publishers is {options.publishers}; it must be 1 to the number of agents")
    if options.changes < 1:
        raise BenchmarkError("--changes must be at least 1")
    if options.value_bytes < MARK_BYTES:
        raise BenchmarkError(f"--value-bytes must be at least {MARK_BYTES}: the value says which change it is of")
    if "serf" in PEERS[options.peer]:
        serf.program()
    if "etcd" in PEERS[options.peer]:
        etcd.programs()


def _plan(options: argparse.Namespace, directory: Path) -> Plan:
    return Plan(
        agents=options.agents,
        changes=options.changes,
        publishers=options.publishers,
        every_ms=options.every_ms,
        value_bytes=options.value_bytes,
        timeout_s=options.timeout_s,
        baseline_s=options.idle_s or BASELINE_S,
        reports_idle=options.idle_s > 0,
        etcd_members=options.etcd_members,
        directory=directory,
    )
