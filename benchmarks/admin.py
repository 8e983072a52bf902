"""What an admin waits for: the reading commands beside one real agent that holds many keys, and their history.

`python -m benchmarks admin --keys 100000`; docs/benchmarks.md says what is counted. Each command is a process of its
own, as a shell starts it. Beside it stand, from the same run, the command that does nothing (`--version`) and what it
takes to verify as many signatures as the longest list has changes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from gossipconf.cli import exits
from gossipconf.cli.client import Client
from gossipconf.cli.operate import init, pki
from gossipconf.cli.session import Session
from gossipconf.cli.target import ADMIN_KEY, CLUSTER_FILE, NODES, SOCKET
from gossipconf.model.change import Change, signed_bytes
from gossipconf.model.entry import put
from gossipconf.model.errors import AgentUnreachable
from gossipconf.runtime.boot import JOURNAL_FILE
from gossipconf.store.journal import Journal
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.keys import Signer, load_signer, verify
from gossipconf.trust.signing import Reservation, compose

from .propagation.errors import BenchmarkError
from .propagation.processes import Processes

DESCRIPTION: Final = "the reading commands beside one agent with 100,000 keys: what an admin waits for"

VALUE_BYTES: Final = 100
"""As in the other benchmarks."""
SERVICES: Final = 1_000
"""Prefixes among which the keys are shared out."""
REWRITE_KEYS: Final = 10_000
"""Keys in each of the changes that make history: the largest change."""
OFTEN: Final = 50
"""How often one key is changed besides."""
START_LIMIT_S: Final = 120.0
PACE_S: Final = 0.05
"""Between two tries to reach the agent while it starts."""
NODE: Final = "a"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--keys", type=int, default=100_000, help="keys that live (default: %(default)s)")
    parser.add_argument(
        "--per-change", type=int, default=1, help="of them in a change, signed once (default: %(default)s)"
    )
    parser.add_argument(
        "--rewritten", type=int, default=50_000, help="keys that are then changed once more (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (default: %(default)s)")
    parser.add_argument("--list-runs", type=int, default=1, help="runs of those that read all (default: %(default)s)")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where disks are (default: the system's temporary)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all commands. Ends the program with one line where it cannot."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="gossipconf-admin-", dir=options.directory) as name,
            Processes(Path(name)) as processes,
        ):
            return _measure(options, Path(name) / "cluster", processes)
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; what was started has been ended")


def _measure(options: argparse.Namespace, home: Path, processes: Processes) -> dict[str, Any]:
    load_before = os.getloadavg()[0]
    with contextlib.redirect_stdout(io.StringIO()):  # what they would tell a person
        init.init(home, name="admin")
        pki.make_node(NODE, listen="127.0.0.1:0", join=None, cluster=home)
    signer = load_signer(home / ADMIN_KEY)
    changes = _fill(home, signer, options.keys, options.per_change)
    begin_s = time.monotonic()
    processes.start("agent", NODE, [sys.executable, "-m", "gossipconf.cli", "agent", "run", str(home / NODES / NODE)])
    with _connected(home, processes, begin_s + START_LIMIT_S) as client:
        started_s = time.monotonic() - begin_s
        session = Session(client, Cluster.load(home / CLUSTER_FILE))
        marks = _make_history(session, signer, options.keys, options.rewritten)
    asked = [(options.runs, _few(marks)), (options.list_runs, _all())]
    lines = {
        name: _timed(home, arguments, runs, lambda: processes.cpu_s()["agent"])
        for runs, commands in asked
        for name, arguments in commands.items()
    }
    return {
        "benchmark": "admin",
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": round(load_before, 2),
        "keys": options.keys,
        "per_change": options.per_change,
        "changes": len(changes),
        "history": options.rewritten + OFTEN,
        "runs": options.runs,
        "agent_start_s": round(started_s, 2),
        "signatures_alone_s": round(_signatures_s(changes), 2),
        "commands": lines,
        **processes.memory_mib()["agent"],
    }


# -- what the agent holds -------------------------------------------------------------------------


def _key(number: int) -> str:
    return f"service-{number % SERVICES:03d}/setting-{number // SERVICES:05d}"


def _value(number: int) -> bytes:
    return f"{number:0{VALUE_BYTES}d}".encode()


def _fill(home: Path, signer: Signer, keys: int, per_change: int) -> list[Change]:
    """Put the keys on the agent's disk, as it would have done itself."""
    cluster = Cluster.load(home / CLUSTER_FILE)
    chain = cluster.chain()
    now_ms = time.time_ns() // 1_000_000 - keys
    changes = [
        compose(
            [put(_key(number), _value(number)) for number in range(begin, min(begin + per_change, keys))],
            (),
            chain=chain,
            signer=signer,
            reservation=Reservation(bytes(8), begin + 1),
            now_ms=now_ms + begin,
            comment=f"OPS-{begin}",
        )
        for begin in range(0, keys, per_change)
    ]
    data = home / NODES / NODE / "data"
    data.mkdir(exist_ok=True)
    with Journal.open(data / JOURNAL_FILE, cluster_id=cluster.genesis.cluster_id, node_id=NODE) as journal:
        journal.fill([(change.id, change.encode()) for change in changes])
    return changes


def _make_history(session: Session, signer: Signer, keys: int, rewritten: int) -> dict[str, str]:
    """Change keys again, as an admin does; what the commands below ask for by name."""
    for begin in range(0, rewritten, REWRITE_KEYS):
        numbers = range(begin, min(begin + REWRITE_KEYS, rewritten, keys))
        session.publish([put(_key(number), _value(number + 1)) for number in numbers], signer, comment="OPS: rewritten")
    before_s = time.time()
    for number in range(OFTEN):
        published = session.publish([put(_key(0), _value(number))], signer, comment=f"OPS: {number}")
    return {
        "key": _key(0),
        "prefix": _key(0).rpartition("/")[0],
        "change": published.change.id.hex()[:12],
        "since": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(before_s - 1)),
    }


def _connected(home: Path, processes: Processes, deadline_s: float) -> Client:
    while True:
        processes.check()
        try:
            return Client(home / NODES / NODE / SOCKET)
        except AgentUnreachable:
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"the agent does not answer in time; {processes.log_end(NODE)}") from None
            time.sleep(PACE_S)


# -- what is timed --------------------------------------------------------------------------------


def _few(marks: dict[str, str]) -> dict[str, Sequence[str]]:
    """Commands that are about a few of the keys, by what the page calls them."""
    key, prefix, change, since = (marks[name] for name in ("key", "prefix", "change", "since"))
    return {
        "nothing: --version": ["--version"],
        "get KEY": ["get", key],
        "get KEY --all": ["get", key, "--all"],
        "list PREFIX": ["list", prefix],
        "list --limit 100": ["list", "--limit", "100"],
        "history KEY": ["history", key],
        "history --prefix PREFIX": ["history", "--prefix", prefix],
        "history --writer ROLE --since TIME": ["history", "--writer", "admins", "--since", since],
        "log": ["log"],
        "log PREFIX": ["log", prefix],
        "show CHANGE": ["show", change],
        "diff KEY": ["diff", key],
        "diff PREFIX --from TIME": ["diff", prefix, "--from", since],
        "diff --from TIME": ["diff", "--from", since],
        "blame PREFIX": ["blame", prefix],
        "explain KEY": ["explain", key],
    }


def _all() -> dict[str, Sequence[str]]:
    """Commands that read every key."""
    return {
        "list": ["list"],
        "list --json": ["list", "--json"],
        "diff --agents, of one": ["diff", "--agents", NODE, NODE],
    }


def _timed(home: Path, arguments: Sequence[str], runs: int, agent_cpu_s: Callable[[], float]) -> dict[str, float]:
    """What a command takes: its whole time, median and worst of ``runs``; processor time, its own and the agent's."""
    before_s = agent_cpu_s()
    found = sorted(_run(home, arguments) for _ in range(runs))
    return {
        "p50_s": round(median(wall_s for wall_s, _ in found), 3),
        "worst_s": round(found[-1][0], 3),
        "cpu_s": round(median(cpu_s for _, cpu_s in found), 3),
        "agent_cpu_s": round((agent_cpu_s() - before_s) / runs, 3),
    }


def _run(home: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds from its start to its end, and of the processor. Raises BenchmarkError if it fails."""
    begin_s, cpu_s = time.monotonic(), _children_cpu_s()
    command = [sys.executable, "-m", "gossipconf.cli", *arguments]
    done = subprocess.run(command, cwd=home, capture_output=True, check=False)
    taken_s = time.monotonic() - begin_s
    if done.returncode != (exits.DIFFERENCE if arguments[0] == "diff" and NODE not in arguments else 0):
        raise BenchmarkError(f"gossipconf {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return taken_s, _children_cpu_s() - cpu_s


def _children_cpu_s() -> float:
    """Of processes that have ended: the agent has not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _signatures_s(changes: Sequence[Change]) -> float:
    """How long it takes to verify one signature a change, and nothing else."""
    begin_s = time.monotonic()
    for one in changes:
        verify(one.header.writer.key, one.signature, signed_bytes(one.id))
    return time.monotonic() - begin_s
