"""Who founds and administers the clusters of simulations: keys made from their names, the same in every run."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Final

from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role

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
