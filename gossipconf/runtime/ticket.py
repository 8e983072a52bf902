"""Join tickets: an intermediate CA with its key in one file, by which a new machine makes its own certificate.

Made where the CA's key is, used where it is not and without a network: the node's private
key is made on the node's machine and stays there. The file holds all that the machine needs,
the cluster file too:

    CERTIFICATE               the intermediate, below the cluster's CA; path length 0
    PRIVATE KEY               its key
    CERTIFICATE …             the CAs that the node shall trust
    GOSSIPCONF CLUSTER FILE   genesis and policies

What binds a ticket is in its name constraints: URIs of this cluster only (TLS enforces
it), and, if it is for one node, that node as the only subject (TLS enforces it) and as the
only node id (`pki.read_chain` does). A ticket outlives what it makes: each leaf ends with
it at the latest.
"""

from __future__ import annotations

import base64
import re
import textwrap
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gossipconf.model.errors import FormatError, InvalidInput, KeyFileError, Rejected
from gossipconf.model.key import check_node_id
from gossipconf.runtime import pki
from gossipconf.runtime.pem import check_dates, check_pair, check_private, read_file
from gossipconf.runtime.pki import SKEW, Issuer, key_pem, key_usage, lifetime_of, load_ca, node_subject, nodes_allowed
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.file_kind import TICKET, wrong_kind
from gossipconf.trust.files import write_new

CLUSTER_BLOCK: Final = "GOSSIPCONF CLUSTER FILE"
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n(.*?)-----END \1-----\n?", re.DOTALL)
PEM_COLUMNS: Final = 64
"""RFC 7468, section 2."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as it is in its file.

    issuer:   the intermediate, ready to issue
    node:     the one node that it is for; None: any
    cluster:  genesis and policies, for the node's machine
    """

    issuer: Issuer
    node: str | None
    cluster: Cluster

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the intermediate: by it a policy revokes the ticket and all that it has made."""
        return self.issuer.certificate.fingerprint(hashes.SHA256())

    @property
    def ends(self) -> datetime:
        """When it ends, and all that it has made."""
        return self.issuer.certificate.not_valid_after_utc

    def name(self, wanted: str | None) -> str:
        """The name under which a node joins by this ticket. Raises `InvalidInput` for one that it is not for."""
        if self.node is None:
            if wanted is None:
                raise InvalidInput("the ticket is for any node; say which with --node-id NAME")
            return check_node_id(wanted)
        if wanted not in {None, self.node}:
            raise InvalidInput(
                f"the ticket is for node {self.node!r} only, not for {wanted!r}; "
                f"make another one with: gossipconf pki ticket {wanted}"
            )
        return self.node


def create_ticket(ca_directory: Path, path: Path, cluster: Cluster, *, node: str | None, days: int) -> Ticket:
    """Write a new ticket (mode 0600) to *path*: for *node*, or for any if it is None. It never outlives the CA.

    Raises `InvalidInput` for a bad node id or number of days, `KeyFileError` for a missing, foreign or
    expired CA, one of another cluster, or a file that exists already.
    """
    if node is not None:
        check_node_id(node)
    lifetime = lifetime_of(days)
    ca = load_ca(ca_directory)
    if ca.cluster_id != cluster.genesis.cluster_id:
        raise KeyFileError(
            f"{ca_directory} is the CA of cluster {ca.cluster_id.hex()[:8]}…, "
            f"and the cluster file is of {cluster.genesis.cluster_id.hex()[:8]}…; use those of one cluster"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    moment = pki.now()
    permitted: list[x509.GeneralName] = [x509.UniformResourceIdentifier(ca.cluster_id.hex())]
    if node is not None:
        permitted.append(x509.DirectoryName(node_subject(node)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, ca.cluster_id.hex()),
                    x509.NameAttribute(NameOID.COMMON_NAME, "gossipconf join ticket"),
                ]
            )
        )
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - SKEW)
        .not_valid_after(min(moment + lifetime, ca.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    between = certificate.public_bytes(serialization.Encoding.PEM)
    write_new(path, between + key_pem(key) + ca.roots + _cluster_block(cluster), 0o600)
    return Ticket(Issuer(key, certificate, between, ca.roots, ca.cluster_id), node, cluster)


def load_ticket(path: Path) -> Ticket:
    """Read a ticket. Raises `KeyFileError` for a file that is none, that others may read, or that has ended."""
    data = read_file(path)
    check_private(path)
    blocks: dict[bytes, list[bytes]] = {}
    for match in _BLOCK.finditer(data):
        blocks.setdefault(match[1], []).append(match[0])
    certificates, keys = blocks.get(b"CERTIFICATE", []), blocks.get(b"PRIVATE KEY", [])
    clusters = blocks.get(CLUSTER_BLOCK.encode(), [])
    if len(certificates) < 2 or len(keys) != 1 or len(clusters) != 1:
        wrong = wrong_kind(TICKET, data)
        what = f": {wrong}" if wrong else ""
        raise KeyFileError(f"{path}: not a join ticket{what}; make one with: gossipconf pki ticket NAME")
    try:
        certificate = x509.load_pem_x509_certificate(certificates[0])
        key = serialization.load_pem_private_key(keys[0], password=None)
        cluster = Cluster.decode(base64.b64decode(b"".join(clusters[0].split(b"\n")[1:-2]), validate=True))
        node = nodes_allowed(certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm, FormatError, InvalidInput, Rejected) as error:
        raise KeyFileError(f"{path}: a damaged join ticket: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path}: the ticket's key is not an ECDSA key; it was not made by gossipconf")
    check_pair(key, certificate, path, path)
    check_dates(certificate, path, pki.now(), "make a new ticket")
    issuer = Issuer(key, certificate, certificates[0], b"".join(certificates[1:]), cluster.genesis.cluster_id)
    return Ticket(issuer, None if node is None else node[0], cluster)


def _cluster_block(cluster: Cluster) -> bytes:
    lines = textwrap.wrap(base64.b64encode(cluster.encode()).decode(), PEM_COLUMNS)
    return "\n".join([f"-----BEGIN {CLUSTER_BLOCK}-----", *lines, f"-----END {CLUSTER_BLOCK}-----", ""]).encode()
