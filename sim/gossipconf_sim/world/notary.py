"""Who certifies nodes in a world: a key for each name, by the seed. Nobody signs in another's name.

In the place of X.509, which would cost most of a run's time. What is signed, and what a policy revokes, is
the same: one "certificate", the public key, stands for the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256

from gossipconf.model.errors import NotAuthorised
from gossipconf.trust.keys import Signer
from gossipconf.trust.statement import Notary, SignedStatement, Statement

Verify = Callable[[bytes, bytes, bytes], None]


class Registry:
    """The keys of all nodes of a world. ``verify``: raises BadSignature."""

    def __init__(self, seed: int, verify: Verify) -> None:
        self._verify = verify
        self.signer = cache(lambda node_id: Signer.from_seed(sha256(f"{seed}/node/{node_id}".encode()).digest()))

    def notary(self, node_id: str) -> Notary:
        """That of a node, which signs in its own name only."""
        return Notary(lambda statement: self._sign(node_id, statement), self.verify)

    def _sign(self, node_id: str, statement: Statement) -> SignedStatement:
        signer = self.signer(node_id)
        return SignedStatement(statement, signer.sign(statement.signed_bytes()), (signer.public,))

    def verify(self, signed: SignedStatement) -> tuple[bytes, ...]:
        """Raises NotAuthorised for another key than that of the node, BadSignature."""
        node_id = signed.statement.node_id
        public = self.signer(node_id).public
        if signed.certificates != (public,):
            raise NotAuthorised(f"the key is not that of node {node_id!r}")
        self._verify(public, signed.signature, signed.statement.signed_bytes())
        return (sha256(public).digest(),)
