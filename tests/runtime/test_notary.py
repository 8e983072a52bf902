"""What nodes say, by their certificates: who is believed, for how long, and each thing that is not believed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gossipconf.model.errors import BadSignature, KeyFileError, NotAuthorised
from gossipconf.runtime import pki
from gossipconf.runtime.node_files import NodeFiles
from gossipconf.runtime.notary import CertificateNotary
from gossipconf.runtime.ticket import create_ticket
from gossipconf.trust.statement import Kind, SignedStatement, Statement
from tests import strategies as gen

CLUSTER = gen.cluster().genesis.cluster_id
SUBJECT = bytes(32)
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
YEAR_MS = 366 * 86_400_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and the files of nodes `a` and `b`."""
    home = tmp_path_factory.mktemp("notary")
    pki.create_ca(home / "ca", CLUSTER)
    for node in ("a", "b"):
        pki.issue_node(home / "ca", node, home / node)
    return home


def notary(directory: Path) -> CertificateNotary:
    return CertificateNotary.load(NodeFiles.inside(directory), CLUSTER)


def statement(node: str = "a", **fields) -> Statement:
    known = {"cluster": CLUSTER, "kind": Kind.UNHEALTHY, "subject": SUBJECT, "node_id": node, "time_ms": NOW_MS}
    return Statement(**(known | fields))


def test_another_node_believes_what_a_node_signs(home):
    signed = notary(home / "a").sign(statement())
    fingerprints = notary(home / "b").verify(SignedStatement.decode(signed.encode()))
    leaf = pki.load_identity(NodeFiles.inside(home / "a"))
    assert len(set(fingerprints)) == 3, "the node's certificate in both its forms and the CA's, for revocation"
    assert leaf.node_id == "a"
    assert len(signed.encode()) < 1_100


def test_each_altered_field_breaks_the_signature(home):
    signed = notary(home / "a").sign(statement())
    for fields in ({"kind": Kind.ACK}, {"subject": bytes(range(32))}, {"time_ms": NOW_MS + 1}, {"cluster": bytes(32)}):
        altered = dataclasses.replace(signed, statement=dataclasses.replace(signed.statement, **fields))
        with pytest.raises(BadSignature, match="does not verify"):
            notary(home / "b").verify(altered)


def test_held_a_node_key_nobody_speaks_for_another(home):
    """Held: key and certificate of `a`. It signs in the name of `b`, and cannot have that certified."""
    with pytest.raises(NotAuthorised, match="with the certificate of 'a'"):
        notary(home / "b").verify(notary(home / "a").sign(statement("b")))
    stolen = dataclasses.replace(notary(home / "a"), certificates=notary(home / "b").certificates)
    with pytest.raises(BadSignature):
        notary(home / "a").verify(stolen.sign(statement("b")))


def test_held_another_ca_invented_nodes_are_not_believed(home, tmp_path):
    pki.create_ca(tmp_path / "ca", CLUSTER)
    pki.issue_node(tmp_path / "ca", "a", tmp_path / "a")
    with pytest.raises(NotAuthorised, match="is not certified: its issuer is neither the CA"):
        notary(home / "b").verify(notary(tmp_path / "a").sign(statement()))


def test_held_a_certificate_of_another_cluster_by_the_same_ca(home, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = dataclasses.replace(pki.load_ca(home / "ca"), cluster_id=bytes(32))
    leaf = x509.load_pem_x509_certificate(issuer.issue("a", key.public_key(), lifetime=timedelta(days=1)))
    other = dataclasses.replace(notary(home / "a"), certificates=(leaf.public_bytes(Encoding.DER),), key=key)
    with pytest.raises(NotAuthorised, match="in cluster 00000000"):
        notary(home / "b").verify(other.sign(statement()))


def test_the_time_of_the_statement_is_judged_not_the_present(home):
    """A certificate that has expired since unmakes nothing; and nothing is said before or after its life."""
    signer, reader = notary(home / "a"), notary(home / "b")
    reader.verify(signer.sign(statement(time_ms=NOW_MS + YEAR_MS - 2 * 86_400_000)))
    for time_ms in (NOW_MS - YEAR_MS, NOW_MS + YEAR_MS, (1 << 53) - 1):
        with pytest.raises(NotAuthorised, match=r"is valid from|cannot be read"):
            reader.verify(signer.sign(statement(time_ms=time_ms)))


def test_without_a_certificate_or_with_what_is_none(home):
    signed = notary(home / "a").sign(statement())
    for certificates in ((), (b"no certificate",)):
        with pytest.raises(NotAuthorised):
            notary(home / "b").verify(dataclasses.replace(signed, certificates=certificates))


def test_a_node_of_a_ticket_speaks_with_its_intermediate(home, tmp_path):
    ticket = create_ticket(home / "ca", tmp_path / "join.ticket", gen.cluster(), node="c", days=30)
    ticket.issuer.issue_node("c", tmp_path / "c")
    speaker = notary(tmp_path / "c")
    assert len(speaker.certificates) == 2
    assert len(set(notary(home / "a").verify(speaker.sign(statement("c"))))) == 5


def test_held_the_wire_nothing_can_be_added_to_a_statement(home, tmp_path):
    """Held: a statement of `a`, signed. Its certificates are not covered by the signature, and have room for 15 KB."""
    pki.create_ca(tmp_path / "ca", CLUSTER)
    others = [pki.read_certificates(directory)[0] for directory in (tmp_path / "ca/ca.crt", home / "b/node.crt")]
    signed = notary(home / "a").sign(statement())
    for surplus in ([one.public_bytes(Encoding.DER)] for one in others):
        for certificates in ([*signed.certificates, *surplus], [signed.certificates[0], *surplus, *surplus]):
            with pytest.raises(BadSignature, match="that are not its own"):
                notary(home / "b").verify(dataclasses.replace(signed, certificates=tuple(certificates)))
    twice = dataclasses.replace(signed, certificates=signed.certificates * 2)
    with pytest.raises(BadSignature, match="that are not its own"):
        notary(home / "b").verify(twice)


def test_what_is_above_a_readers_ca_is_no_surplus(home, tmp_path):
    """One trusts a company's root, another only the intermediate below it that is for this cluster."""
    ticket = create_ticket(home / "ca", tmp_path / "any.ticket", gen.cluster(), node=None, days=30)
    ticket.issuer.issue_node("c", tmp_path / "c")
    signed = notary(tmp_path / "c").sign(statement("c"))
    with_root = (*signed.certificates, notary(home / "a").roots[0].public_bytes(Encoding.DER))
    narrow = dataclasses.replace(notary(home / "a"), roots=(ticket.issuer.certificate,))
    for certificates in (signed.certificates, with_root):
        assert len(narrow.verify(dataclasses.replace(signed, certificates=certificates))) == 3


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
    ],
    ids=["ed25519", "rsa", "p-384"],
)
def test_keys_of_other_pkis_do_as_well(home, key):
    pem = pki.load_ca(home / "ca").issue("a", key.public_key(), lifetime=timedelta(days=1))
    leaf = x509.load_pem_x509_certificate(pem)
    speaker = dataclasses.replace(notary(home / "a"), certificates=(leaf.public_bytes(Encoding.DER),), key=key)
    signed = speaker.sign(statement())
    notary(home / "b").verify(signed)
    altered = signed.signature[:-1] + bytes([signed.signature[-1] ^ 1])
    with pytest.raises(BadSignature):
        notary(home / "b").verify(dataclasses.replace(signed, signature=altered))


def test_certificates_that_are_too_large_are_named(home):
    big = dataclasses.replace(notary(home / "a"), certificates=(bytes(5_000),))
    with pytest.raises(KeyFileError, match="too large to speak with"):
        big.sign(statement())


def test_the_key_is_not_in_what_is_shown(home):
    shown = repr(notary(home / "a"))
    key = load_pem_private_key((home / "a" / "node.key").read_bytes(), None)
    assert "key=" not in shown
    assert str(key.private_numbers().private_value) not in shown
