"""Certificates of a cluster: its CA, its nodes' certificates, and the TLS contexts made of them.

A node's identity is certified, not its address: the leaf carries exactly one
URI `gossipconf://<cluster id in hex>/<node id>` among its subject alternative
names, and host names are there for other tools only. Any PKI may issue such a
leaf; `create_ca` and `issue_node` are for those who have none.

This file knows files, X.509 and TLS settings. It knows no sockets and no peers.
Private keys are ECDSA P-256: the one curve that every TLS stack and HSM has.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gossipconf.model.errors import InvalidInput, KeyFileError, TransportError
from gossipconf.model.key import check_node_id
from gossipconf.model.limits import NODE_ID_BYTES_MAX
from gossipconf.runtime.node_files import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, SEAL_KEY, NodeFiles
from gossipconf.runtime.seal_key import seal_name
from gossipconf.trust.files import write_new
from gossipconf.trust.recipient import RecipientKey, load_recipient_key

ALPN: Final = "gossipconf/1"
"""Names the protocol inside TLS, so that a certificate of ours cannot be used to talk to another service."""

CLUSTER_ID_BYTES: Final = 32
"""A SHA-256. Its 64 hex digits are exactly what X.509 allows an organisation name."""

DAYS_MAX: Final = 36_500
"""A century: beyond it dates overflow the encodings that other tools read."""

_SCHEME: Final = "gossipconf://"
_IDENTITY: Final = re.compile(r"gossipconf://([0-9a-f]{64})/([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)")
_SKEW: Final = timedelta(hours=1)
"""Certificates are valid from an hour ago, so that a node whose clock is late accepts a new one."""

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the parser raises for certificates that are none; they have no common root."""

_CA_KEY: Final = "ca.key"


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """What a verified certificate says of its owner. `expires_ms`: milliseconds since 1970."""

    node_id: str
    cluster_id: bytes
    expires_ms: int


def _now() -> datetime:
    return datetime.now(UTC)


# -- issuing ----------------------------------------------------------------------------------------


def create_ca(directory: Path, cluster_id: bytes, *, days: int = 3650) -> None:
    """Write `ca.key` (mode 0600) and `ca.crt` of a new CA for the cluster *cluster_id* into *directory*.

    The directory is made (mode 0700) if missing. Raises `InvalidInput` for a wrong cluster id or
    number of days, `KeyFileError` if one of the files exists (nothing is ever overwritten) or
    cannot be written.
    """
    if len(cluster_id) != CLUSTER_ID_BYTES:
        raise InvalidInput(f"a cluster id is {CLUSTER_ID_BYTES} bytes; got {len(cluster_id)}")
    lifetime = _lifetime(days)
    _prepare(directory, _CA_KEY, CA_CERTIFICATE)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id.hex()),
            x509.NameAttribute(NameOID.COMMON_NAME, "gossipconf cluster CA"),
        ]
    )
    own_key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = _now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lifetime)
        # One intermediate below it is allowed: a site may issue its own leaves.
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(own_key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_new(directory / _CA_KEY, _key_pem(key), 0o600)
    write_new(directory / CA_CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def issue_node(
    ca_directory: Path,
    node_id: str,
    out: Path,
    *,
    hosts: Sequence[str] = (),
    days: int = 365,
    recipient: RecipientKey | None = None,
) -> NodeFiles:
    """Write a new key and certificate for *node_id*, and a copy of the CA's certificate, into *out*.

    *hosts* are DNS names and IP addresses to put beside the identity; agents do not check them.
    *recipient* opens what is sealed to this node. By default it is the key that *out* has, from an
    earlier certificate, or else a new one.
    The certificate never outlives its CA. Raises `InvalidInput` for a bad node id, host or number
    of days, `KeyFileError` for a missing, foreign or expired CA or if a file exists already.
    """
    check_node_id(node_id)
    lifetime = _lifetime(days)
    now = _now()
    ca_key = _read_key(ca_directory / _CA_KEY)
    ca = _read_certificates(ca_directory / CA_CERTIFICATE)[0]
    _check_dates(ca, ca_directory / CA_CERTIFICATE, now, "create a new CA")
    _check_pair(ca_key, ca, ca_directory / _CA_KEY, ca_directory / CA_CERTIFICATE)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{ca_directory / _CA_KEY}: not an ECDSA key; this CA was not made by gossipconf")
    cluster_id = _cluster_of(ca, ca_directory / CA_CERTIFICATE)
    identity = f"{_SCHEME}{cluster_id.hex()}/{node_id}"
    ca_pem = _read_file(ca_directory / CA_CERTIFICATE)

    files = NodeFiles.inside(out)
    key_is_there = recipient is None and files.seal_key.exists()
    recipient = recipient or (load_recipient_key(files.seal_key) if key_is_there else RecipientKey.generate())
    sealing = seal_name(cluster_id, recipient.public)
    names = [x509.UniformResourceIdentifier(identity), sealing, *map(_host_name, hosts)]
    ca_is_there = files.ca.exists() and _read_file(files.ca) == ca_pem
    _prepare(
        out,
        *(NODE_KEY, NODE_CERTIFICATE),
        *(() if key_is_there else (SEAL_KEY,)),
        *(() if ca_is_there else (CA_CERTIFICATE,)),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(now + lifetime, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_new(files.key, _key_pem(key), 0o600)
    write_new(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    if not key_is_there:
        write_new(files.seal_key, recipient.private_pem(), 0o600)
    if not ca_is_there:
        write_new(files.ca, ca_pem, 0o644)
    return files


def _lifetime(days: int) -> timedelta:
    if not 1 <= days <= DAYS_MAX:
        raise InvalidInput(f"a certificate lives 1 to {DAYS_MAX} days; got {days}")
    return timedelta(days=days)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not re.fullmatch(r"(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*", host) or len(host) > 253:
            raise InvalidInput(f"host {host!r} is neither an IP address nor a DNS name (no port, ASCII only)") from None
        return x509.DNSName(host)


def _cluster_of(ca: x509.Certificate, path: Path) -> bytes:
    values = [each.value for each in ca.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if len(values) == 1 and isinstance(values[0], str) and re.fullmatch(r"[0-9a-f]{64}", values[0]):
        return bytes.fromhex(values[0])
    raise KeyFileError(f"{path}: its subject names no cluster; this CA was not made by gossipconf")


# -- reading ----------------------------------------------------------------------------------------


def read_identity(certificate_der: bytes) -> PeerIdentity:
    """The identity in a leaf certificate, which TLS must have verified before.

    Raises `TransportError` if the bytes are no certificate or do not carry exactly one
    `gossipconf://<cluster id>/<node id>`.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
        expires_ms = int(certificate.not_valid_after_utc.timestamp() * 1000)
    except x509.ExtensionNotFound:
        uris, expires_ms = [], 0
    except _UNREADABLE as error:
        raise TransportError(f"the certificate cannot be read: {error}") from error
    ours = [uri for uri in uris if uri.startswith(_SCHEME)]
    if len(ours) != 1:
        raise TransportError(
            f"the certificate carries {len(ours)} names gossipconf://<cluster id>/<node id>, and must carry one"
        )
    match = _IDENTITY.fullmatch(ours[0])
    if match is None or len(match[2]) > NODE_ID_BYTES_MAX:
        raise TransportError(f"the certificate's name {ours[0][:200]!r} is not gossipconf://<cluster id>/<node id>")
    return PeerIdentity(match[2], bytes.fromhex(match[1]), expires_ms)


def load_identity(files: NodeFiles) -> PeerIdentity:
    """The identity in a node's own certificate file. Raises `KeyFileError`."""
    leaf = _read_certificates(files.certificate)[0]
    try:
        return read_identity(leaf.public_bytes(serialization.Encoding.DER))
    except TransportError as error:
        raise KeyFileError(f"{files.certificate}: {error}") from error


def server_context(files: NodeFiles) -> ssl.SSLContext:
    """TLS for incoming links: 1.3 only, a certificate of the cluster's CA required, nothing else trusted.

    Raises `KeyFileError` for files that are missing, unreadable, expired, do not belong together, or
    a private key that others may read.
    """
    context = _context(files, ssl.PROTOCOL_TLS_SERVER)
    # No session is ever resumed: every link proves its certificate anew, and is not sent 500 B of tickets.
    context.num_tickets = 0
    return context


def client_context(files: NodeFiles) -> ssl.SSLContext:
    """TLS for outgoing links; as `server_context`. Identity is the certified node id, not the address."""
    return _context(files, ssl.PROTOCOL_TLS_CLIENT)


def _context(files: NodeFiles, protocol: ssl._SSLMethod) -> ssl.SSLContext:
    now = _now()
    key = _read_key(files.key)
    chain = _read_certificates(files.certificate)
    roots = _read_certificates(files.ca)
    load_identity(files)
    _check_dates(chain[0], files.certificate, now, "issue the node a new one")
    _check_pair(key, chain[0], files.key, files.certificate)
    issuer = next((root for root in roots if _issued(chain[-1], root)), None)
    if issuer is None:
        raise KeyFileError(
            f"{files.certificate}: not issued by {files.ca}; use the certificate and the CA of one cluster"
        )
    _check_dates(issuer, files.ca, now, "create a new CA and issue the nodes again")
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([ALPN])
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        raise KeyFileError(f"{files.certificate}: TLS refuses it with {files.key} and {files.ca}: {error}") from error
    return context


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate == issuer:  # a chain file that ends with the root itself
        return True
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):  # another name, an unusable key, another key
        return False
    return True


def _check_dates(certificate: x509.Certificate, path: Path, now: datetime, mend: str) -> None:
    if now >= certificate.not_valid_after_utc:
        raise KeyFileError(f"{path}: expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; {mend}")
    if now < certificate.not_valid_before_utc:
        raise KeyFileError(
            f"{path}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "check this machine's clock"
        )


def _check_pair(key: PrivateKeyTypes, certificate: x509.Certificate, key_path: Path, path: Path) -> None:
    if _public_bytes(key.public_key()) != _public_bytes(certificate.public_key()):
        raise KeyFileError(f"{key_path} is not the key of {path}; use the two that were issued together")


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read_file(path))
    except ValueError as error:
        raise KeyFileError(f"{path}: not a PEM certificate: {error}") from error


def _read_key(path: Path) -> PrivateKeyTypes:
    data = _read_file(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeyFileError(f"{path}: others may read this private key (mode {mode:04o}); run: chmod 600 {path}")
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(
            f"{path}: the private key has a passphrase, and an agent starts with nobody there to type it; "
            "store it without one, mode 0600"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: not a PEM private key: {error}") from error


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error


# -- writing ----------------------------------------------------------------------------------------


def _prepare(directory: Path, *names: str) -> None:
    """Make *directory* if needed; raise `KeyFileError` if it is none, or one of *names* is in it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"{directory}: cannot be made: {error.strerror}") from error
    for name in names:
        if os.path.lexists(directory / name):
            raise KeyFileError(
                f"{directory / name} exists and is not overwritten; move it away or choose another directory"
            )
