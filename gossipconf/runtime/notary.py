"""What nodes say, signed and verified by their certificates: the agent's `Notary`.

A node signs with the key that its TLS certificate certifies; nothing else that this key signs
can be taken for a statement, for it begins with a tag of its own (a TLS handshake's signature
begins with 64 spaces, a certificate request with a DER sequence).

A chain is judged as links judge it, but for the time: that of the statement, not the present.
So what a node has said while its certificate held stays said, however late somebody hears of
it (docs/decisions/017).

Knows X.509 and files; no policy and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise, starmap

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from ..model.errors import BadSignature, KeyFileError, LimitExceeded, NotAuthorised
from ..trust.statement import SignedStatement, Statement
from .certification import NotCertified, check_certified
from .node_files import NodeFiles
from .pem import is_signed, read_certificates, read_key
from .pki import PeerIdentity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CertificateNotary:
    """Signs with a node's own key, and verifies whom ``roots`` certify for a cluster.

    certificates:  DER, the node's own first, then what is between it and a root
    """

    cluster_id: bytes
    roots: tuple[x509.Certificate, ...]
    certificates: tuple[bytes, ...]
    key: PrivateKeyTypes = field(repr=False)

    @classmethod
    def load(cls, files: NodeFiles, cluster_id: bytes) -> CertificateNotary:
        """That of a node's files. Raises KeyFileError."""
        roots = tuple(read_certificates(files.ca))
        chain = [one for one in read_certificates(files.certificate) if one not in roots]
        return cls(cluster_id, roots, tuple(one.public_bytes(Encoding.DER) for one in chain), read_key(files.key))

    def sign(self, statement: Statement) -> SignedStatement:
        """The statement with the node's signature. Raises KeyFileError for a key or certificates that do not do."""
        signed = SignedStatement(statement, _sign(self.key, statement.signed_bytes()), self.certificates)
        try:
            return SignedStatement.decode(signed.encode())
        except LimitExceeded as error:
            raise KeyFileError(
                f"this node's certificates are too large to speak with ({error}); issue it one with fewer or smaller "
                "names, keys and intermediates"
            ) from None

    def verify(self, signed: SignedStatement) -> tuple[bytes, ...]:
        """As `Notary.verify`. Raises NotAuthorised or BadSignature."""
        statement = signed.statement
        if not signed.certificates:
            raise NotAuthorised(f"the statement of node {statement.node_id!r} comes without a certificate")
        leaf, identity = self._certified(signed)
        _check_no_surplus(signed)
        if identity.cluster_id != self.cluster_id or identity.node_id != statement.node_id:
            raise NotAuthorised(
                f"the statement of node {statement.node_id!r} comes with the certificate of {identity.node_id!r} in "
                f"cluster {identity.cluster_id.hex()[:8]}…"
            )
        if not _is_signed(leaf, signed.signature, statement.signed_bytes()):
            raise BadSignature(f"the signature of node {statement.node_id!r} under its statement does not verify")
        return identity.certificates

    def _certified(self, signed: SignedStatement) -> tuple[x509.Certificate, PeerIdentity]:
        node_id = signed.statement.node_id
        try:
            leaf, *others = map(x509.load_der_x509_certificate, signed.certificates)
            moment = _EPOCH + timedelta(milliseconds=signed.statement.time_ms)
            return leaf, check_certified(leaf, others, self.roots, moment)
        except NotCertified as error:
            raise NotAuthorised(f"the statement of node {node_id!r} is not certified: {error}") from None
        except (ValueError, TypeError, UnsupportedAlgorithm, OverflowError) as error:
            raise NotAuthorised(f"the certificates of the statement of {node_id!r} cannot be read: {error}") from None


def _check_no_surplus(signed: SignedStatement) -> None:
    """Raise BadSignature unless each of the certificates is the issuer of the one before; the first are certified.

    They are not part of what is signed, so whoever passes a statement on could add to them, and what it grows by
    would be kept everywhere. Who trusts an intermediate alone is sent what is above it too: so no root is asked here.
    """
    chain = [x509.load_der_x509_certificate(one) for one in signed.certificates]
    if len(set(signed.certificates)) < len(chain) or not all(starmap(is_signed, pairwise(chain))):
        raise BadSignature(
            f"the statement of node {signed.statement.node_id!r} comes with certificates that are not its own"
        )


def _sign(key: PrivateKeyTypes, data: bytes) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PrivateKey():
            return key.sign(data)
        case rsa.RSAPrivateKey():
            return key.sign(data, _PSS, hashes.SHA256())
        case _:
            raise KeyFileError(
                f"a node with a key of the kind {type(key).__name__} says nothing of changes; issue it one with ECDSA, "
                "Ed25519 or RSA"
            )


def _is_signed(leaf: x509.Certificate, signature: bytes, data: bytes) -> bool:
    try:
        match leaf.public_key():
            case ec.EllipticCurvePublicKey() as public:
                public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            case ed25519.Ed25519PublicKey() as public:
                public.verify(signature, data)
            case rsa.RSAPublicKey() as public:
                public.verify(signature, data, _PSS, hashes.SHA256())
            case _:
                return False
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
"""As TLS 1.3 has it: the salt as long as the hash."""
