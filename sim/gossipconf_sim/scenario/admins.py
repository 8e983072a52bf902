"""Who founds and administers the clusters of simulations: keys made from their names, the same in every run."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Final

from gossipconf.model.change import Change, Header, Writer
from gossipconf.model.entry import Entry
from gossipconf.model.merkle import SparseTree
from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import sign_change

FOUNDED_MS: Final = 1_750_000_000_000


def signer(name: str) -> Signer:
    """The key that belongs to ``name``."""
    return Signer.from_seed(sha256(b"gossipconf simulation " + name.encode()).digest())


ROOT: Final = signer("root")
ADMIN: Final = signer("admin")


@cache
def cluster() -> Cluster:
    """One root, one admin who may write everything."""
    role = Role("admins", (ADMIN.public,), ("",))
    return found_cluster("simulation", [ROOT], [role], threshold=1, now_ms=FOUNDED_MS, salt=bytes(16))


def signed_by_admin(cluster: Cluster, entry: Entry, writer: Writer, seq: int, time_ms: int) -> Change:
    """A change of one entry under policy 1, with any number and time: what no agent has reserved or looked at."""
    tree = SparseTree(1, {0: entry.leaf()}, ())
    header = Header(
        cluster=cluster.genesis.cluster_id,
        policy=1,
        writer=writer,
        seq=seq,
        time_ms=time_ms,
        count=1,
        size=tree.size,
        root=tree.root,
    )
    return sign_change(header, ((0, entry),), ADMIN)
