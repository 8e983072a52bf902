"""Recipients as files name them: certificates of nodes, which the CA must have issued, and public keys.

A file is PEM with any number of blocks: node certificates, any intermediates
between them and the CA, and X25519 public keys of people. A node's key counts only
as part of its certificate: what a node says of itself is nowhere asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..model.errors import FormatError, KeyFileError, TransportError
from ..trust.files import read_bounded
from ..trust.membership import Membership
from ..trust.recipient import read_public_pem
from .certification import NotCertified, check_certified
from .pki import read_identity
from .seal_key import read_recipient

FILE_BYTES_MAX: Final = 4 << 20
"""As many certificates of 2 KB as a value can have recipients, twice over."""

DIRECTORY_PATTERNS: Final = ("*.crt", "*.pem", "*.pub", "*/node.crt")
"""Which files of a directory are read: certificates and keys, and those of node directories."""

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody to whom values can be sealed. `node`: the certified node id, or None for a bare key."""

    public: bytes
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Authority:
    """Whose certificates count: the CAs in one file, the cluster that certificates must name, and who is shut out."""

    path: Path
    roots: tuple[x509.Certificate, ...]
    cluster_id: bytes
    membership: Membership

    @classmethod
    def load(cls, path: Path, cluster_id: bytes, membership: Membership) -> Authority:
        """Read CA certificates. Raises KeyFileError."""
        try:
            roots = tuple(x509.load_pem_x509_certificates(read_bounded(path, FILE_BYTES_MAX)))
        except ValueError:
            raise KeyFileError(f"{path}: not a PEM certificate") from None
        return cls(path, roots, cluster_id, membership)

    def recipient(self, leaf: x509.Certificate, others: Sequence[x509.Certificate], where: Path) -> Recipient:
        """Whom the node certificate ``leaf`` certifies; ``others`` may be between it and a CA. Raises KeyFileError."""
        try:
            identity = read_identity(leaf.public_bytes(serialization.Encoding.DER))
        except TransportError as error:
            raise KeyFileError(f"{where}: {error}") from None
        who = f"{where}: the certificate of node {identity.node_id!r}"
        if identity.cluster_id != self.cluster_id:
            raise KeyFileError(
                f"{who} is for cluster {identity.cluster_id.hex()[:8]}…, not {self.cluster_id.hex()[:8]}…"
            )
        now = _now()
        if now >= leaf.not_valid_after_utc:
            raise KeyFileError(
                f"{who} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; copy the new one from its machine"
            )
        try:
            certified = check_certified(leaf, others, self.roots, now)
            refusal = self.membership.refusal(certified.node_id, certified.certificates)
            if refusal is not None:
                raise KeyFileError(f"{where}: {refusal}; nothing is sealed to it")
            public = read_recipient(leaf, self.cluster_id)
        except NotCertified as error:
            raise KeyFileError(f"{who} is not issued by {self.path}: {error}") from None
        except FormatError as error:
            raise KeyFileError(f"{where}: {error}") from None
        if public is None:
            raise KeyFileError(
                f"{who} names no key to seal to; issue it again with `gossipconf pki node`, or seal to a key file"
            )
        return Recipient(public, identity.node_id)


def read_recipients(path: Path, authority: Authority) -> tuple[Recipient, ...]:
    """The recipients that a file, or the files of a directory, name: at least one. Raises KeyFileError."""
    if path.is_dir():
        files = sorted({file for pattern in DIRECTORY_PATTERNS for file in path.glob(pattern) if file.is_file()})
        if not files:
            raise KeyFileError(f"{path} has no certificates or public keys ({', '.join(DIRECTORY_PATTERNS)})")
        return tuple(one for file in files for one in _of_file(file, authority))
    found = tuple(_of_file(path, authority))
    if not found:
        raise KeyFileError(f"{path} has only CA certificates; name a node's certificate or a public key")
    return found


def _of_file(path: Path, authority: Authority) -> Iterator[Recipient]:
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(read_bounded(path, FILE_BYTES_MAX))]
    if not blocks:
        raise KeyFileError(
            f"{path} has neither certificates nor X25519 public keys in PEM; make a key with: gossipconf seal key FILE"
        )
    certificates = [_certificate(block, path) for kind, block in blocks if kind == b"CERTIFICATE"]
    authorities = [one for one in certificates if _is_ca(one)]
    for leaf in certificates:
        if leaf not in authorities:
            yield authority.recipient(leaf, authorities, path)
    for kind, block in blocks:
        if kind == b"PUBLIC KEY":
            yield Recipient(read_public_pem(block, str(path)))
        elif kind != b"CERTIFICATE":
            private = "; seal to the .pub or .crt beside it" if b"PRIVATE" in kind else ""
            raise KeyFileError(f"{path} holds a {kind.decode().lower()}, to which nothing is sealed{private}")


def _certificate(block: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise KeyFileError(f"{path}: not a PEM certificate: {error}") from None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _now() -> datetime:
    return datetime.now(UTC)
