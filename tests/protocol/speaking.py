"""What the tests of statements share: canaries with a limit, stages without an admin, and nodes that may speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, put
from gossipconf.protocol.messages import SaidNews
from gossipconf.protocol.node import Node, Restored
from gossipconf.protocol.statement_book import Claim
from gossipconf.trust.keys import verify
from gossipconf.trust.statement import Kind, SignedStatement, Statement
from gossipconf_sim.world.notary import Registry
from tests.protocol.wire import Bench
from tests.strategies import NOW_MS, cluster, signed

REGISTRY = Registry(0, verify)
STAGES = (b"stage one".ljust(32, b"."), b"stage two".ljust(32, b"."))


def canary(limit: int = 3, key: str = "a") -> Entry:
    return put(key, b"new", variant="canary", match=[MatchTerm(MatchKind.HALT, "", limit)])


def canary_change(limit: int = 3, *, seq: int = 1, **fields: Any) -> Change:
    return signed([canary(limit)], "alice", seq=seq, **fields)


@dataclass(slots=True)
class Stage:
    """Somebody who counts acks and nacks of these subjects; ``news``: of which it was told."""

    subjects: Sequence[bytes] = STAGES
    participants: Sequence[str] | None = None
    news: list[bytes] = field(default_factory=list)

    def knows(self, subject: bytes) -> bool:
        return subject in self.subjects

    def wants(self, statement: Statement) -> bool:
        is_participant = self.participants is None or statement.node_id in self.participants
        return statement.kind is not Kind.UNHEALTHY and is_participant

    def claim(self, subject: bytes) -> Claim:
        return Claim(b"stager")

    def heard(self, subject: bytes) -> None:
        self.news.append(subject)


class StagedNode(Node):
    """A node for which STAGES are open, from before it has read its journal."""

    def __init__(self, *arguments: Any, restored: Restored | None = None, **options: Any) -> None:
        super().__init__(*arguments, restored=restored, **options)
        self.stage = Stage()
        self.statements.interest(self.stage)
        self.statements.restore(restored.statements if restored else {})


def said(
    node: str, subject: bytes, kind: Kind = Kind.UNHEALTHY, *, time_ms: int = NOW_MS, **fields: Any
) -> SignedStatement:
    """What ``node`` has signed with its own key."""
    known = {"cluster": cluster().genesis.cluster_id} | fields
    return REGISTRY.notary(node).sign(Statement(kind=kind, subject=subject, node_id=node, time_ms=time_ms, **known))


def news(node: str, subject: bytes, kind: Kind = Kind.UNHEALTHY, **fields: Any) -> SaidNews:
    return SaidNews(said(node, subject, kind, **fields).encode())


def speaking_bench(name: str = "m", **options: Any) -> Bench:
    return Bench(name, notary=REGISTRY.notary(name), **options)
