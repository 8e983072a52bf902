"""Where a node's key and certificates are. Knows names of files; opens none, and knows no X.509 (see `pki`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CA_CERTIFICATE: Final = "ca.crt"
NODE_CERTIFICATE: Final = "node.crt"
NODE_KEY: Final = "node.key"
SEAL_KEY: Final = "seal.key"


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """Where one node's private key, certificate (leaf first, then any intermediates) and CA are."""

    key: Path
    certificate: Path
    ca: Path

    @property
    def seal_key(self) -> Path:
        """Beside its TLS key: the private key that opens what is sealed to this node."""
        return self.key.with_name(SEAL_KEY)

    @classmethod
    def inside(cls, directory: Path) -> NodeFiles:
        """The names that `pki.issue_node` gives the files in *directory*."""
        return cls(directory / NODE_KEY, directory / NODE_CERTIFICATE, directory / CA_CERTIFICATE)
