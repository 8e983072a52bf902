"""How an empty disk boots: from a checkpoint, and by verifying each change as if peers had sent it.

Both begin with bytes in memory, end with the same node and the same rows on disk, and run in a process of their own
each, several times in turn. Counted is processor time, of all threads; the wire is not, which only the second way
needs. Beside them stands what the signatures alone cost, and where the time of a boot from a checkpoint goes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from gossipconf.model import bulk
from gossipconf.model.change import Change, signed_bytes
from gossipconf.model.entry import put
from gossipconf.model.hashing import CONTENTS_TAG, tagged_hash
from gossipconf.protocol.environment import Now, Persist
from gossipconf.protocol.link import Identity
from gossipconf.protocol.node import Node, Restored
from gossipconf.runtime import checkpoint_file
from gossipconf.store.checkpoint import Sealed, seal
from gossipconf.store.journal import Journal
from gossipconf.store.live_set import LiveSet
from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.keys import Signer, verify
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import Reservation, compose

DESCRIPTION: Final = "processor time of booting an empty disk: from a checkpoint, and verifying each change"

ROOT, ADMIN, KEEPER = (Signer.from_seed(bytes([number]) * 32) for number in range(1, 4))
NOW_MS: Final = 1_700_000_000_000
HOUR_MS: Final = 3_600_000
VALUE_BYTES: Final = 100
"""As in the other benchmarks."""
GROUP_ROWS: Final = 2_000
"""Rows that an agent writes in one transaction (`runtime.writer`)."""
CLUSTER_FILE: Final = "cluster.gossipconf"
CHECKPOINT_FILE: Final = "checkpoint"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--entries", type=int, default=100_000, help="entries, each its own key (default: %(default)s)")
    parser.add_argument(
        "--per-change", type=int, default=1, help="entries in a change, signed once (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each way, in turn (default: %(default)s)")
    parser.add_argument("--run", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all runs, and the ratios of their medians."""
    if options.run is not None:
        return WAYS[options.run](options.directory)
    with tempfile.TemporaryDirectory(prefix="gossipconf-bootstrap-") as name:
        directory = Path(name)
        made = _make(directory, options.entries, options.per_change)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(options.runs):
            for way, found in runs.items():
                found.append(_run_apart(way, directory))
    if len({one["root"] for found in runs.values() for one in found}) != 1:
        sys.exit("error: the two ways have led to different fingerprints")
    each, checkpoint = (
        {name: round(median(one[name] for one in found), 3) for name in found[0] if name != "root"}
        for found in (runs["each"], runs["checkpoint"])
    )
    return {
        "benchmark": "bootstrap",
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "entries": options.entries,
        "per_change": options.per_change,
        **made,
        "runs": options.runs,
        "each_change_verified": each,
        "checkpoint": checkpoint,
        "ratio_to_a_node": round(each["node_cpu_s"] / checkpoint["node_cpu_s"], 1),
        "ratio_to_a_disk": round(each["cpu_s"] / checkpoint["cpu_s"], 1),
        "ratio_of_signatures_alone": round(each["signatures_alone_cpu_s"] / checkpoint["node_cpu_s"], 1),
    }


def _make(directory: Path, entries: int, per_change: int) -> dict[str, Any]:
    """A cluster file and a checkpoint of changes that one admin has signed."""
    roles = [Role("admins", (ADMIN.public,), ("",)), Role("keepers", (KEEPER.public,), ("",), ("snapshot",))]
    cluster = found_cluster("bootstrap", [ROOT], roles, threshold=1, now_ms=NOW_MS, salt=bytes(16))
    chain = cluster.chain()
    rng = random.Random(0)
    keys = [f"service-{number % 100}/setting-{number}" for number in range(entries)]
    changes = [
        compose(
            [put(key, rng.randbytes(VALUE_BYTES // 2).hex().encode()) for key in keys[begin : begin + per_change]],
            (),
            chain=chain,
            signer=ADMIN,
            reservation=Reservation(bytes(8), begin + 1),
            now_ms=NOW_MS,
        )
        for begin in range(0, entries, per_change)
    ]
    sealed = seal([*cluster.policies, *changes], chain, KEEPER, time_ms=NOW_MS, expires_ms=NOW_MS + HOUR_MS)
    cluster.save(directory / CLUSTER_FILE)
    (directory / CHECKPOINT_FILE).write_bytes(sealed.encode())
    return {"changes": len(changes), "checkpoint_bytes": len(sealed.encode())}


def _run_apart(way: str, directory: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks", "bootstrap", "--run", way, "--directory", str(directory)]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


# -- the two ways ---------------------------------------------------------------------------------


def _boot_from_checkpoint(directory: Path) -> dict[str, Any]:
    """What `gossipconf agent run --checkpoint` does with an empty disk."""
    cluster = Cluster.load(directory / CLUSTER_FILE)
    chain = cluster.chain()
    with _journal(directory, cluster, "checkpoint") as journal:
        begin_s = time.process_time()
        checkpoint = checkpoint_file.open_file(directory / CHECKPOINT_FILE, chain, NOW_MS, 0)
        node = Node(Identity("a", "a:1", "", ""), chain, rng=random.Random(0), restored=Restored(checkpoint=checkpoint))
        node.start(Now(0.0, NOW_MS))
        root = node.root
        node_s = time.process_time()
        checkpoint_file.fill(journal, checkpoint)
        end_s = time.process_time()
    return {
        "root": root.hex(),
        "node_cpu_s": node_s - begin_s,
        "disk_cpu_s": end_s - node_s,
        "cpu_s": end_s - begin_s,
        **_steps(directory, cluster),
    }


def _steps(directory: Path, cluster: Cluster) -> dict[str, float]:
    """Where the time goes: the main steps again, one by one."""
    sealed = Sealed.decode((directory / CHECKPOINT_FILE).read_bytes())
    cluster_id = cluster.genesis.cluster_id
    with checkpoint_file.without_collections():
        digest = _cpu_s(lambda: tagged_hash(CONTENTS_TAG, sealed.contents))
        unpacked = _cpu_s(lambda: bulk.unpack_all(sealed.contents))
        changes: list[Change] = []
        read = _cpu_s(lambda: changes.extend(change for change, _ in bulk.read(sealed.contents, cluster_id)))
        live = _cpu_s(lambda: LiveSet.of(changes).root)
    return {"digest_cpu_s": digest, "unpack_cpu_s": unpacked, "read_cpu_s": read, "live_set_cpu_s": live}


def _verify_each(directory: Path) -> dict[str, Any]:
    """What a node does with what peers send: decode, judge, add, and put out for the disk."""
    cluster = Cluster.load(directory / CLUSTER_FILE)
    sealed = Sealed.decode((directory / CHECKPOINT_FILE).read_bytes())
    pieces = [data for _, data in bulk.read(sealed.contents, cluster.genesis.cluster_id)]
    with _journal(directory, cluster, "each") as journal:
        begin_s = time.process_time()
        node = Node(Identity("a", "a:1", "", ""), cluster.chain(), rng=random.Random(0), policies=cluster.policies)
        node.start(Now(0.0, NOW_MS))
        outputs = node.take_outputs()
        for data in pieces:
            node.replica.receive(node.replica.decode(data), "b", data)
            outputs += node.take_outputs()
        root = node.root
        node_s = time.process_time()
        ops = [op for output in outputs if isinstance(output, Persist) for op in output.ops]
        for begin in range(0, len(ops), GROUP_ROWS):
            journal.commit(ops[begin : begin + GROUP_ROWS])
        end_s = time.process_time()
    changes = [Change.decode(data, cluster.genesis.cluster_id) for data in pieces]
    alone_s = _cpu_s(lambda: [verify(one.header.writer.key, one.signature, signed_bytes(one.id)) for one in changes])
    return {
        "root": root.hex(),
        "node_cpu_s": node_s - begin_s,
        "disk_cpu_s": end_s - node_s,
        "cpu_s": end_s - begin_s,
        "signatures_alone_cpu_s": alone_s,
    }


WAYS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {"each": _verify_each, "checkpoint": _boot_from_checkpoint}


def _journal(directory: Path, cluster: Cluster, name: str) -> Journal:
    """An empty journal, made anew."""
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=directory)) / "journal.db"
    return Journal.open(path, cluster_id=cluster.genesis.cluster_id, node_id="a")


def _cpu_s(action: Callable[[], object]) -> float:
    begin_s = time.process_time()
    action()
    return time.process_time() - begin_s
