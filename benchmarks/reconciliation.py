"""What reconciliation costs in message bytes and questions, beside its bound.

Two nodes of the shipped protocol are joined by a list and hold 100,000 changes between them, less those that a row
takes away. The base is put into their live sets unjudged, for it is the same in both; all that a row sends is encoded,
decoded, verified and judged as ever. Bytes are those of sync's messages, without frames (4 bytes each of up to 8 KiB)
and TLS (22 bytes a record), and they are exact: the same in every run.

bound: 1.05 × payload + 24 × active writers + 128, after the two roots (44 bytes) have shown that something differs.
An active writer is one that the leader's frontier names; the payload is the encoded changes that a side lacks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import Any, Final

from gossipconf.model.change import INCARNATION_BYTES, Change, Header, Writer
from gossipconf.model.entry import put
from gossipconf.model.limits import FRONTIER_WRITERS_MAX, SYNC_BUDGET_BYTES
from gossipconf.model.merkle import SparseTree
from gossipconf.protocol.environment import Now, Send
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import Batch, Check, Hints, Root, Walk, Want, decode_message
from gossipconf.protocol.node import Node
from gossipconf.protocol.overlay import Identity
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import sign_change

DESCRIPTION: Final = "message bytes and round trips of a sync between two stores, beside the bound"

TIME_MS: Final = 1_750_000_000_000
ADMIN: Final = Signer.from_seed(b"reconciliation: who writes it al")
NOW: Final = Now(0.0, TIME_MS)
LINK: Final = 1
LEADER: Final = "z"
FOLLOWER: Final = "a"
QUESTIONS: Final = (Hints, Walk, Want, Check)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one sync took. ``questions``: each is a round trip. ``complete_after``: round trips until both have all."""

    root_bytes: int
    sync_bytes: int
    questions: tuple[str, ...]
    complete_after: float
    seconds: float


class Pair:
    """Two nodes and the link between them."""

    def __init__(self, cluster: Cluster, held: dict[str, Iterable[Change]]) -> None:
        self.nodes = {name: self._node(cluster, name, changes) for name, changes in held.items()}

    @staticmethod
    def _node(cluster: Cluster, name: str, changes: Iterable[Change]) -> Node:
        chain = PolicyChain(cluster.genesis)
        node = Node(Identity(name, f"{name}:1"), chain, rng=Random(name), policies=cluster.policies)
        node.start(NOW)
        node.take_outputs()
        for change in changes:
            node.replica.live.add(change)
        return node

    def sync(self) -> Cost:
        """Link the two, and carry messages until nothing is left to say."""
        begin_s = perf_counter()
        root_bytes = sync_bytes = 0
        questions: list[str] = []
        complete_after = 0.0
        for name, other in ((LEADER, FOLLOWER), (FOLLOWER, LEADER)):
            self.nodes[name].connected(NOW, LINK, other, outbound=name == LEADER, address=f"{other}:1")
        while batch := [(name, send) for name in self.nodes for send in self._sends(name)]:
            for name, send in batch:
                message = decode_message(send.message)
                assert message is not None
                if isinstance(message, Root):
                    root_bytes += len(send.message)
                elif send.frame_class is FrameClass.SYNC:
                    sync_bytes += len(send.message)
                if isinstance(message, QUESTIONS):
                    questions.append(type(message).__name__)
                if isinstance(message, Batch):
                    complete_after = len(questions) + (0.5 if name == LEADER else 0.0)
                self.nodes[FOLLOWER if name == LEADER else LEADER].received(NOW, LINK, send.message)
        roots = {node.root for node in self.nodes.values()}
        assert len(roots) == 1, "the stores must be equal now"
        return Cost(root_bytes, sync_bytes, tuple(questions), complete_after, perf_counter() - begin_s)

    def _sends(self, name: str) -> list[Send]:
        return [output for output in self.nodes[name].take_outputs() if isinstance(output, Send)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--changes", type=int, default=100_000, help="changes in all (default: %(default)s)")
    parser.add_argument("--writers", type=int, default=16, help="writers of them (default: %(default)s)")
    parser.add_argument("--value-bytes", type=int, default=100, help="bytes of each value (default: %(default)s)")
    parser.add_argument(
        "--missing", default="1,10,100,1000,10000", help="changes that are missing, by commas (default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rows, those of equal stores first."""
    cluster = found_cluster(
        "reconciliation", [ADMIN], [Role("admins", (ADMIN.public,), ("",))], threshold=1, now_ms=TIME_MS, salt=bytes(16)
    )
    changes = make_changes(cluster, options.changes, options.writers, options.value_bytes)
    equal = Pair(cluster, {LEADER: changes, FOLLOWER: changes}).sync()
    numbers = [int(one) for one in options.missing.split(",")]
    return {
        "benchmark": "reconciliation",
        "changes": options.changes,
        "writers": options.writers,
        "change_bytes": len(changes[0].encode()),
        "equal": {"bytes": equal.root_bytes + equal.sync_bytes, "bound": 64, "pass": equal.root_bytes <= 64},
        "hints": [row(cluster, changes, case, number) for case in HINTS for number in numbers],
        "walk": [row(cluster, changes, case, number) for case in WALKS for number in numbers],
    }


def make_changes(cluster: Cluster, count: int, writers: int, value_bytes: int) -> list[Change]:
    """``count`` changes of one entry each, the writers taking turns."""
    return [
        make_change(
            cluster, number % writers, number // writers + 1, f"service-{number % 100}/key-{number}", value_bytes
        )
        for number in range(count)
    ]


def make_change(cluster: Cluster, writer: int, seq: int, key: str, value_bytes: int) -> Change:
    """A signed change of one entry."""
    entry = put(key, b"v" * value_bytes)
    tree = SparseTree(1, {0: entry.leaf()}, ())
    header = Header(
        cluster=cluster.genesis.cluster_id,
        policy=1,
        writer=Writer(ADMIN.public, (writer + 1).to_bytes(INCARNATION_BYTES, "big")),  # the policy has 0
        seq=seq,
        time_ms=TIME_MS,
        count=1,
        size=tree.size,
        root=tree.root,
    )
    return sign_change(header, ((0, entry),), ADMIN)


# -- what is missing ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """Who lacks what: ``lacks(changes, number)`` gives what the leader lacks and what the follower does."""

    name: str
    lacks: Callable[[Sequence[Change], int], tuple[Sequence[Change], Sequence[Change]]]
    writers: int = 0
    """New writers among whom the missing changes are shared out, in the place of the last ones of all."""


def latest(changes: Sequence[Change], number: int) -> Sequence[Change]:
    """The last ones of all writers: the frontier shows them."""
    return changes[len(changes) - number :]


def holes(changes: Sequence[Change], number: int) -> Sequence[Change]:
    """Any but the last hundredth: no frontier shows them."""
    return Random(0).sample(changes[: len(changes) * 99 // 100], number)


HINTS: Final = (
    Case("the leader lacks", lambda changes, number: (latest(changes, number), ())),
    Case("the follower lacks", lambda changes, number: ((), latest(changes, number))),
    Case("the leader lacks, new writers", lambda changes, number: (latest(changes, number), ()), 1_000),
    Case("the follower lacks, new writers", lambda changes, number: ((), latest(changes, number)), 1_000),
    Case(
        "each lacks half, new writers",
        lambda changes, number: (latest(changes, number)[::2], latest(changes, number)[1::2]),
        1_000,
    ),
)
WALKS: Final = (
    Case("the leader lacks, holes", lambda changes, number: (holes(changes, number), ())),
    Case("the follower lacks, holes", lambda changes, number: ((), holes(changes, number))),
    Case(
        "each lacks half, holes",
        lambda changes, number: (holes(changes, number)[::2], holes(changes, number)[1::2]),
    ),
)


def row(cluster: Cluster, changes: Sequence[Change], case: Case, number: int) -> dict[str, Any]:
    """One line of the table."""
    if case.writers:
        writers = min(number, case.writers)
        value_bytes = len(changes[0].entries[0][1].value or b"")
        fresh = [
            make_change(cluster, (1 << 32) + one % writers, one // writers + 1, f"new/{one}", value_bytes)
            for one in range(number)
        ]
        changes = [*changes[: len(changes) - number], *fresh]
    lacking = dict(zip((LEADER, FOLLOWER), case.lacks(changes, number), strict=True))
    without = {name: {one.id for one in missing} for name, missing in lacking.items()}
    pair = Pair(cluster, {name: [one for one in changes if one.id not in without[name]] for name in lacking})
    active = len(pair.nodes[LEADER].replica.live.frontier(FRONTIER_WRITERS_MAX)[0])
    payloads = {name: sum(len(one.encode()) for one in missing) for name, missing in lacking.items()}
    payload = sum(payloads.values())
    cost = pair.sync()
    bound = math.floor(1.05 * payload + 24 * active + 128)
    budgets = max(math.ceil(one / SYNC_BUDGET_BYTES) for one in payloads.values())
    shown = {
        "case": case.name,
        "missing": number,
        "payload_bytes": payload,
        "bytes": cost.sync_bytes,
        "beyond_payload": cost.sync_bytes - payload,
        "active_writers": active,
        "round_trips": cost.complete_after,
        "questions": len(cost.questions),
        "seconds": round(cost.seconds, 2),
    }
    if "Walk" in cost.questions:
        return shown
    is_kept = cost.sync_bytes <= bound and cost.complete_after <= budgets + 0.5
    return shown | {"bound": bound, "budgets": budgets, "pass": is_kept}
