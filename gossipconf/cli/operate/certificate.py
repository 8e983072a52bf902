"""What a certificate says, in words for `pki show`. Knows X.509; prints nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ...model.errors import FormatError, KeyFileError, TransportError
from ...runtime.lineage import stated
from ...runtime.pki import read_identity
from ...runtime.seal_key import read_recipient
from ...trust.recipient import recipient_id
from ..output import moment


def certificate_facts(path: Path) -> dict[str, Any]:
    """What the PEM file `path` says of its first certificate. Raises KeyFileError."""
    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
        der = certificate.public_bytes(serialization.Encoding.DER)
        expires_ms = int(certificate.not_valid_after_utc.timestamp() * 1000)
        facts: dict[str, Any] = {"subject": certificate.subject.rfc4514_string()}
    except ValueError as error:
        raise KeyFileError(f"{path}: not a PEM certificate: {error}") from None
    peer = None
    try:
        peer = read_identity(der)
        facts = {"kind": "node certificate", "node": peer.node_id, "cluster": peer.cluster_id.hex()} | facts
    except TransportError:
        facts = {"kind": "certificate authority" if _is_ca(certificate) else "certificate of another kind"} | facts
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    return facts | {
        "issuer": certificate.issuer.rfc4514_string(),
        "hosts": _hosts(certificate),
        "recipient": None if peer is None else _recipient(certificate, peer.cluster_id, path),
        "valid_from": moment(int(certificate.not_valid_before_utc.timestamp() * 1000)),
        "valid_until": moment(expires_ms),
        "days_left": left.days,
        "fingerprint": "SHA256:" + certificate.fingerprint(hashes.SHA256()).hex(),
        "renewed_from": _origin(certificate, path),
    }


def _origin(certificate: x509.Certificate, path: Path) -> str | None:
    """The fingerprint of the certificate with which the node began: to revoke it reaches all that came of it."""
    try:
        lineage = stated(certificate)
    except ValueError as error:
        raise KeyFileError(f"{path}: {error}") from None
    return f"SHA256:{lineage[0].hex()}" if lineage else None


def _recipient(certificate: x509.Certificate, cluster_id: bytes, path: Path) -> str | None:
    """The id under which values are sealed to this node."""
    try:
        public = read_recipient(certificate, cluster_id)
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None
    return None if public is None else recipient_id(public).hex()


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _hosts(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]
