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
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gossipconf.model.errors import FormatError, InvalidInput, KeyFileError, TransportError
from gossipconf.model.key import check_node_id
from gossipconf.model.limits import NODE_ID_BYTES_MAX
from gossipconf.runtime import lineage
from gossipconf.runtime.fingerprint import fingerprints
from gossipconf.runtime.node_files import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, SEAL_KEY, NodeFiles
from gossipconf.runtime.pem import (
    check_dates,
    check_pair,
    is_issued,
    prepare,
    read_certificates,
    read_file,
    read_key,
)
from gossipconf.runtime.seal_key import read_recipient, seal_name
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
SKEW: Final = timedelta(hours=1)
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
    """What a verified certificate says of its owner. Times are milliseconds since 1970.

    certificates:  SHA-256 of each certificate of the verified chain, the leaf's first, then of the other forms of these
                   (`fingerprint`), then the lineage that the leaf states; empty if it was not asked for
    lineage:       what a certificate that replaces this one states of its origin (`lineage`); as ``certificates``
    hosts:         DNS names and addresses beside the identity, which agents do not check
    recipient:     the X25519 key to which values for it are sealed; None if it names none that could be used
    """

    node_id: str
    cluster_id: bytes
    expires_ms: int
    certificates: tuple[bytes, ...] = ()
    lineage: tuple[bytes, ...] = ()
    hosts: tuple[str, ...] = ()
    recipient: bytes | None = None


def now() -> datetime:
    """The wall clock, by which certificates are issued and judged."""
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
    lifetime = lifetime_of(days)
    prepare(directory, _CA_KEY, CA_CERTIFICATE)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id.hex()),
            x509.NameAttribute(NameOID.COMMON_NAME, "gossipconf cluster CA"),
        ]
    )
    own_key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    moment = now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - SKEW)
        .not_valid_after(moment + lifetime)
        # One intermediate below it is allowed: a site may issue its own leaves.
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(own_key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_new(directory / _CA_KEY, key_pem(key), 0o600)
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
    return load_ca(ca_directory).issue_node(node_id, out, hosts=hosts, days=days, recipient=recipient)


def load_ca(directory: Path) -> Issuer:
    """The CA whose `ca.key` and `ca.crt` are in *directory*.

    Raises `KeyFileError` for one that is missing, expired or was not made by gossipconf.
    """
    key_path, path = directory / _CA_KEY, directory / CA_CERTIFICATE
    key = read_key(key_path)
    certificate = read_certificates(path)[0]
    check_dates(certificate, path, now(), "create a new CA")
    check_pair(key, certificate, key_path, path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{key_path}: not an ECDSA key; this CA was not made by gossipconf")
    return Issuer(key, certificate, b"", read_file(path), cluster_of(certificate, path))


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs leaves: a CA, or an intermediate below it.

    between:  PEM of the intermediates that a leaf's file carries after the leaf; empty for a CA
    roots:    PEM of the CAs that its nodes trust
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    between: bytes
    roots: bytes
    cluster_id: bytes

    def issue_node(
        self,
        node_id: str,
        out: Path,
        *,
        hosts: Sequence[str] = (),
        days: int = 365,
        recipient: RecipientKey | None = None,
    ) -> NodeFiles:
        """As the function `issue_node`, by this issuer."""
        files = NodeFiles.inside(out)
        seal_key_is_there = recipient is None and files.seal_key.exists()
        recipient = recipient or (load_recipient_key(files.seal_key) if seal_key_is_there else RecipientKey.generate())
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.issue(
            node_id, key.public_key(), hosts=hosts, lifetime=lifetime_of(days), recipient=recipient.public
        )
        ca_is_there = files.ca.exists() and read_file(files.ca) == self.roots
        prepare(
            out,
            *(NODE_KEY, NODE_CERTIFICATE),
            *(() if seal_key_is_there else (SEAL_KEY,)),
            *(() if ca_is_there else (CA_CERTIFICATE,)),
        )
        write_new(files.key, key_pem(key), 0o600)
        write_new(files.certificate, leaf, 0o644)
        if not seal_key_is_there:
            write_new(files.seal_key, recipient.private_pem(), 0o600)
        if not ca_is_there:
            write_new(files.ca, self.roots, 0o644)
        return files

    def issue(
        self,
        node_id: str,
        key: CertificatePublicKeyTypes,
        *,
        lifetime: timedelta,
        hosts: Sequence[str] = (),
        recipient: bytes | None = None,
        former: Sequence[bytes] = (),
    ) -> bytes:
        """PEM of a leaf for *node_id* with the public *key*, and of the intermediates after it.

        *recipient* is the X25519 key to which values for the node are sealed; None: the leaf names none. *former*
        is the `lineage` of one that is renewed. The leaf ends with its issuer at the latest. Raises `InvalidInput`
        for a bad node id or host.
        """
        check_node_id(node_id)
        moment = now()
        identity = f"{_SCHEME}{self.cluster_id.hex()}/{node_id}"
        sealing = () if recipient is None else (seal_name(self.cluster_id, recipient),)
        names = [x509.UniformResourceIdentifier(identity), *sealing, *map(_host_name, hosts)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(node_subject(node_id))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment - SKEW)
            .not_valid_after(min(moment + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if former:
            builder = builder.add_extension(lineage.extension(former), critical=False)
        leaf = builder.sign(self.key, hashes.SHA256())
        return leaf.public_bytes(serialization.Encoding.PEM) + self.between


def node_subject(node_id: str) -> x509.Name:
    """The subject of a node's certificate: its name, and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])


def lifetime_of(days: int) -> timedelta:
    """*days* if a certificate may live so long. Raises `InvalidInput`."""
    if not 1 <= days <= DAYS_MAX:
        raise InvalidInput(f"a certificate lives 1 to {DAYS_MAX} days; got {days}")
    return timedelta(days=days)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a CA's key is for, or a leaf's."""
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


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as it is written: PEM, without passphrase, for a file of mode 0600."""
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


def cluster_of(ca: x509.Certificate, path: Path) -> bytes:
    """The cluster that the certificate of one of our CAs names. Raises `KeyFileError`."""
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
        hosts = alternative.get_values_for_type(x509.DNSName)
        addresses = alternative.get_values_for_type(x509.IPAddress)
        expires_ms = int(certificate.not_valid_after_utc.timestamp() * 1000)
    except x509.ExtensionNotFound:
        uris, hosts, addresses, expires_ms = [], [], [], 0
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
    cluster_id = bytes.fromhex(match[1])
    try:
        recipient = read_recipient(certificate, cluster_id)
    except FormatError:  # links need none; who seals or opens is told what is wrong with it
        recipient = None
    return PeerIdentity(match[2], cluster_id, expires_ms, hosts=(*hosts, *map(str, addresses)), recipient=recipient)


def read_chain(chain: Sequence[bytes]) -> PeerIdentity:
    """The identity in a chain that TLS has verified, the leaf first, the root last; DER.

    What X.509 cannot say is checked here: its name constraints reach the host of a URI and not its path, so a CA
    for one node names it as a directory name, and the node id must be that. Raises `TransportError`.
    """
    identity = read_identity(chain[0])
    for der in chain[1:]:
        try:
            allowed = nodes_allowed(x509.load_der_x509_certificate(der))
        except _UNREADABLE as error:
            raise TransportError(f"a certificate of the chain cannot be read: {error}") from error
        if allowed is not None and identity.node_id not in allowed:
            raise TransportError(
                f"the certificate names {identity.node_id!r}, but was issued by a ticket for {', '.join(allowed)}"
            )
    try:
        former = lineage.stated(x509.load_der_x509_certificate(chain[0]))
        return replace(identity, certificates=(*fingerprints(chain), *former), lineage=lineage.continued(chain))
    except _UNREADABLE as error:
        raise TransportError(f"a certificate of the chain cannot be read: {error}") from error


def nodes_allowed(ca: x509.Certificate) -> tuple[str, ...] | None:
    """The nodes that *ca* may issue certificates for: directory names of just a common name; None: any."""
    try:
        subtrees = ca.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        return None
    names = [list(tree.value) for tree in subtrees or () if isinstance(tree, x509.DirectoryName)]
    found = [str(name[0].value) for name in names if len(name) == 1 and name[0].oid == NameOID.COMMON_NAME]
    return tuple(found) or None


def load_identity(files: NodeFiles) -> PeerIdentity:
    """The identity in a node's own certificate file. Raises `KeyFileError`."""
    leaf = read_certificates(files.certificate)[0]
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
    moment = now()
    key = read_key(files.key)
    chain = read_certificates(files.certificate)
    roots = read_certificates(files.ca)
    load_identity(files)
    check_dates(chain[0], files.certificate, moment, "issue the node a new one")
    check_pair(key, chain[0], files.key, files.certificate)
    for certificate, above in pairwise(chain):
        if not is_issued(certificate, above):
            raise KeyFileError(
                f"{files.certificate}: its certificates are not a chain; it must hold the node's own first, then each "
                "one's issuer"
            )
        check_dates(above, files.certificate, moment, "get a new intermediate, and issue the node again")
    issuer = next((root for root in roots if is_issued(chain[-1], root)), None)
    if issuer is None:
        raise KeyFileError(
            f"{files.certificate}: not issued by {files.ca}; use the certificate and the CA of one cluster"
        )
    check_dates(issuer, files.ca, moment, "create a new CA and issue the nodes again")
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # So that an intermediate of a company's PKI can be trusted as the CA, and not everybody below the company's root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols([ALPN])
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        raise KeyFileError(f"{files.certificate}: TLS refuses it with {files.key} and {files.ca}: {error}") from error
    return context
