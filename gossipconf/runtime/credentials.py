"""An agent's credentials: keys, certificate and CA, read and checked together, and how long they hold.

What is loaded here is what peers will accept: the whole chain is checked by rehearsing a
handshake with oneself. Knows files, X.509 and TLS; knows no clock's tick and no peer.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from cryptography import x509

from ..model.errors import ConfigError, KeyFileError, TransportError
from ..trust.recipient import RecipientKey
from .link import failure_in_words
from .node_files import NodeFiles
from .notary import CertificateNotary
from .pem import is_issued, read_certificates
from .pki import PeerIdentity, client_context, load_identity, read_chain, server_context
from .seal_key import load_seal_key
from .tls import verified_chain

DAY_MS: Final = 86_400_000
ENDING_SHARE: Final = 3
"""A certificate is ending when less than one of so many parts of its life is left: it is renewed, or people are
told. Two thirds are what ACME clients use, too: it leaves a month of 90 days for what is broken."""
SPREAD_SHARE: Final = 12
"""Renewal begins at a moment of its own of each certificate, within one of so many parts of its life after that: those
of a whole cluster may have been made together, and an issuer has few links."""
FLIGHTS_MAX: Final = 8
"""Turns of a rehearsed handshake; TLS 1.3 takes three."""

Version: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""What tells that a file is another one: inode, size and time of change (ns) of each; None for one that is missing."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when to when a certificate holds; milliseconds since 1970."""

    starts_ms: int
    ends_ms: int

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Lifetime:
        """What the certificate says."""
        return cls(_ms(certificate.not_valid_before_utc), _ms(certificate.not_valid_after_utc))

    @property
    def ending_ms(self) -> int:
        """From when on less than a third is left."""
        return self.ends_ms - (self.ends_ms - self.starts_ms) // ENDING_SHARE

    def days_left(self, now_ms: int) -> int:
        """Whole days; negative once it has ended."""
        return (self.ends_ms - now_ms) // DAY_MS


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys, certificate and CA that were found to fit each other and to be accepted by peers.

    lifetime:  of the node's own certificate
    chain:     of the certificate above it that ends first, up to the CA
    version:   of the files, as they were before they were read
    recipient: opens what is sealed to this node; None: nothing does
    notary:    signs and verifies what nodes say of changes
    """

    identity: PeerIdentity
    lifetime: Lifetime
    chain: Lifetime
    server_context: ssl.SSLContext
    client_context: ssl.SSLContext
    version: Version
    recipient: RecipientKey | None
    notary: CertificateNotary

    @property
    def renewal_ms(self) -> int:
        """From when on the certificate is to be renewed."""
        spread_ms = (self.lifetime.ends_ms - self.lifetime.starts_ms) // SPREAD_SHARE
        draw = int.from_bytes(self.identity.certificates[0][:4], "big")  # of a hash: as good as random
        return self.lifetime.ending_ms + spread_ms * draw // 2**32


def version_of(files: NodeFiles) -> Version:
    """The present version of the files."""
    return tuple(map(_version, (files.key, files.certificate, files.ca, files.seal_key)))


def load_credentials(files: NodeFiles, node_id: str, cluster_id: bytes) -> Credentials:
    """Read and check the files of node *node_id*.

    Raises KeyFileError for files that are missing, expired, of another cluster, do not belong together, or
    would be refused by peers; ConfigError for a certificate of another node.
    """
    version = version_of(files)
    identity = load_identity(files)
    if identity.node_id != node_id:
        raise ConfigError(f"option 'node' is {node_id!r}, but {files.certificate} names {identity.node_id!r}")
    if identity.cluster_id != cluster_id:
        raise KeyFileError(
            f"{files.certificate} is for cluster {identity.cluster_id.hex()[:8]}…, "
            f"this agent's cluster file is of {cluster_id.hex()[:8]}…"
        )
    server, client = server_context(files), client_context(files)
    identity = _rehearse(files, server, client)
    notary = CertificateNotary.load(files, cluster_id)
    return Credentials(identity, *_lifetimes(files), server, client, version, load_seal_key(files, cluster_id), notary)


def _rehearse(files: NodeFiles, server: ssl.SSLContext, client: ssl.SSLContext) -> PeerIdentity:
    """What a peer with the same CAs will take this node for. Raises KeyFileError if it would refuse it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    try:
        for _ in range(FLIGHTS_MAX):
            for end in list(ends):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        return read_chain(verified_chain(ends[1]))
    except ssl.SSLError as error:
        raise KeyFileError(f"{files.certificate}: peers would refuse it: {failure_in_words(error)}") from error
    except TransportError as error:
        raise KeyFileError(f"{files.certificate}: peers would refuse it: {error}") from error


def _lifetimes(files: NodeFiles) -> tuple[Lifetime, Lifetime]:
    """Of the leaf, and of that certificate above it which ends first."""
    leaf, *between = read_certificates(files.certificate)
    top = between[-1] if between else leaf
    roots = [root for root in read_certificates(files.ca) if is_issued(top, root)]
    # Of two CAs that would do, peers are content with the one that holds longer.
    last = max((Lifetime.of(root) for root in roots), key=lambda one: one.ends_ms)
    return Lifetime.of(leaf), min([*map(Lifetime.of, between), last], key=lambda one: one.ends_ms)


def _version(path: os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
