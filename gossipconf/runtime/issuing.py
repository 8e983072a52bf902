"""The X.509 of renewal: the request, what an issuer makes of it, and what is written to disk.

A renewed certificate is for the same key: only one file changes, so at no moment do key and
certificate on the disk not belong together, and the private key stays where it is.

Knows files and X.509. Knows no link: who asks whom, and how often, is `protocol.renewal`'s.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ..model.errors import ConfigError, InvalidInput, KeyFileError
from ..trust.files import replace_file
from . import pki
from .credentials import Credentials, load_credentials
from .node_files import NodeFiles
from .pem import read_key
from .pki import PeerIdentity
from .ticket import Ticket, load_ticket

RSA_BITS_MIN: Final = 2_048
"""Below it OpenSSL's default level of security refuses a key."""
RSA_BITS_MAX: Final = 4_096
"""With 8,192 each handshake of a peer takes it milliseconds, and a certificate hardly fits into a statement."""
RSA_EXPONENT_BITS_MAX: Final = 32
"""Everybody takes 65537. With one as long as the key 3,072 bits take 18 ms to verify by, in the place of 0.05."""


def make_request(files: NodeFiles) -> bytes:
    """A request for the node's own key: PKCS #10, DER. Raises KeyFileError."""
    key = read_key(files.key)
    # Without a name: the issuer knows by whom it is asked.
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        request = builder.sign(key, None)
    elif isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        request = builder.sign(key, hashes.SHA256())
    else:
        raise KeyFileError(f"{files.key}: keys of this kind are not renewed; issue the node a new certificate")
    return request.public_bytes(serialization.Encoding.DER)


class Issuing:
    """What an issuer issues by: a ticket's file, which may be exchanged while the agent runs.

    *days* is how long what it issues is valid. Raises KeyFileError for a ticket that is none, ConfigError for
    one of another cluster.
    """

    def __init__(self, path: Path, cluster_id: bytes, days: int) -> None:
        self._path = path
        self._cluster_id = cluster_id
        self._lifetime = timedelta(days=days)
        self._ticket = self._load()
        self._changed_ns = self._time()

    def issue(self, owner: PeerIdentity, request: bytes) -> bytes:
        """PEM of a certificate for *owner* with the key of *request*, and of the intermediate after it.

        Of the request only the key counts: the name, the hosts and the key to seal to are those of *owner*, which
        are certified already; and it states from which certificates it comes (`lineage`). Raises InvalidInput for a
        request that is none or whose key is too weak, KeyFileError if the ticket has ended or its file is broken.
        """
        if self._time() != self._changed_ns:
            self._ticket, self._changed_ns = self._load(), self._time()
        if pki.now() >= self._ticket.ends:
            raise KeyFileError("the issuer's ticket has ended; it needs a new one")
        return self._ticket.issuer.issue(
            self._ticket.name(owner.node_id),
            _key_of(request),
            lifetime=self._lifetime,
            hosts=owner.hosts,
            recipient=owner.recipient,
            former=owner.lineage,
        )

    def _load(self) -> Ticket:
        ticket = load_ticket(self._path)
        if ticket.issuer.cluster_id != self._cluster_id:
            raise ConfigError(f"option 'ticket': {self._path} is for another cluster")
        return ticket

    def _time(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError as error:
            raise KeyFileError(f"{self._path}: cannot be read: {error.strerror}") from error


def take_certificate(files: NodeFiles, certificate: bytes, in_use: Credentials) -> None:
    """Write what an issuer has given, in the place of the certificate in use, if it is right and holds longer.

    It is there whole or not at all. Raises KeyFileError or ConfigError for what is not taken; the file is
    then as it was.
    """
    with _beside(files.certificate, certificate) as probe:
        try:
            offered = load_credentials(
                NodeFiles(files.key, probe, files.ca), in_use.identity.node_id, in_use.identity.cluster_id
            )
        except (KeyFileError, ConfigError) as error:
            raise KeyFileError(str(error).replace(str(probe), "the renewed certificate")) from None
    if offered.lifetime.ends_ms <= in_use.lifetime.ends_ms:
        raise KeyFileError("the renewed certificate ends no later than the one in use; the issuer needs a new ticket")
    if offered.identity.recipient != in_use.identity.recipient:
        # With another key `load_credentials` has refused it. Without any nobody could seal to this node any more.
        raise KeyFileError("the renewed certificate does not name the key to seal to that the one in use names")
    replace_file(files.certificate, certificate)


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """A file with *data* in the directory of *path*, for a while: OpenSSL reads only files."""
    probe = path.with_name(f".{path.name}.offered")
    try:
        probe.write_bytes(data)
        yield probe
    except OSError as error:
        raise KeyFileError(f"{path.parent} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)


def _check_cost(key: object) -> None:
    """Raise InvalidInput for a key that is weak, or that costs those who verify by it far more than its owner."""
    if not isinstance(key, rsa.RSAPublicKey):
        return
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise InvalidInput(f"an RSA key must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, not {key.key_size}")
    if key.public_numbers().e.bit_length() > RSA_EXPONENT_BITS_MAX:
        raise InvalidInput(f"an RSA key has an exponent of at most {RSA_EXPONENT_BITS_MAX} bits; use 65537")


def _key_of(request: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    """The public key of a request whose sender has shown that it has the private one."""
    try:
        read = x509.load_der_x509_csr(request)
        key = read.public_key()
        _check_cost(key)
        is_signed = read.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidInput(f"the request is not PKCS #10: {error}") from None
    if not is_signed:
        raise InvalidInput("the request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise InvalidInput("keys of this kind are not certified; use ECDSA, RSA or Ed25519")
    return key
