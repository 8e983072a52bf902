"""Certificates: what is in them, what the files look like, and every bad file refused in words."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.errors import InvalidInput, KeyFileError, TransportError
from gossipconf.runtime import pki
from gossipconf.runtime.pki import (
    NodeFiles,
    PeerIdentity,
    client_context,
    create_ca,
    issue_node,
    load_identity,
    read_identity,
    server_context,
)
from gossipconf.trust.recipient import load_recipient_key

CLUSTER = bytes(range(32))


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    create_ca(tmp_path / "ca", CLUSTER)
    return tmp_path / "ca"


@pytest.fixture
def node(ca: Path, tmp_path: Path) -> NodeFiles:
    return issue_node(ca, "checkout-7.eu", tmp_path / "node", hosts=["node7.example.org", "10.0.0.7", "::1"])


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def der(path: Path) -> bytes:
    return certificate(path).public_bytes(serialization.Encoding.DER)


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(pki, "now", lambda: moment)


def test_identity_round_trips(node: NodeFiles) -> None:
    expires_ms = int(certificate(node.certificate).not_valid_after_utc.timestamp()) * 1000
    hosts = ("node7.example.org", "10.0.0.7", "::1")
    recipient = load_recipient_key(node.seal_key).public
    assert load_identity(node) == PeerIdentity("checkout-7.eu", CLUSTER, expires_ms, hosts=hosts, recipient=recipient)


def test_private_keys_are_private_and_nothing_else_is_left(ca: Path, node: NodeFiles) -> None:
    for key in (ca / "ca.key", node.key, node.seal_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(os.listdir(ca)) == ["ca.crt", "ca.key"]
    assert sorted(os.listdir(node.key.parent)) == ["ca.crt", "node.crt", "node.key", "seal.key"]
    assert node.ca.read_bytes() == (ca / "ca.crt").read_bytes()


def test_ca_may_only_sign_and_leaf_may_not(ca: Path, node: NodeFiles) -> None:
    root, leaf = certificate(ca / "ca.crt"), certificate(node.certificate)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert constraints.value.ca
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    root_key_id = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    leaf_authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert leaf_authority.key_identifier == root_key_id.digest
    leaf.verify_directly_issued_by(root)


def test_hosts_are_alternative_names(node: NodeFiles) -> None:
    extensions = certificate(node.certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node7.example.org"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "::1"]


def test_dates_allow_for_a_late_clock_and_never_outlive_the_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2030, 5, 1, 12, tzinfo=UTC)
    at(monkeypatch, moment)
    create_ca(tmp_path / "ca", CLUSTER, days=30)
    leaf = certificate(issue_node(tmp_path / "ca", "a", tmp_path / "a", days=7).certificate)
    assert leaf.not_valid_before_utc == moment - timedelta(hours=1)
    assert leaf.not_valid_after_utc == moment + timedelta(days=7)
    capped = certificate(issue_node(tmp_path / "ca", "b", tmp_path / "b", days=365).certificate)
    assert capped.not_valid_after_utc == moment + timedelta(days=30)
    at(monkeypatch, moment + timedelta(days=31))
    with pytest.raises(KeyFileError, match=r"ca\.crt: expired on 2030-05-31"):
        issue_node(tmp_path / "ca", "c", tmp_path / "c")


def test_nothing_is_overwritten(ca: Path, node: NodeFiles, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (ca / "ca.key", ca / "ca.crt", node.key, node.certificate)}
    with pytest.raises(KeyFileError, match=r"ca\.key exists"):
        create_ca(ca, CLUSTER)
    with pytest.raises(KeyFileError, match=r"node\.key exists"):
        issue_node(ca, "other", node.key.parent)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "node.crt").write_text("mine")
    with pytest.raises(KeyFileError, match=r"node\.crt exists"):
        issue_node(ca, "other", tmp_path / "half")
    assert os.listdir(tmp_path / "half") == ["node.crt"]
    assert {path: path.read_bytes() for path in before} == before


def test_a_second_certificate_fits_beside_the_same_ca(ca: Path, node: NodeFiles) -> None:
    """Renewal: the old key and certificate are moved away, the CA's copy stays."""
    node.key.unlink()
    node.certificate.unlink()
    assert load_identity(issue_node(ca, "again", node.key.parent)).node_id == "again"


@pytest.mark.parametrize("node_id", ["", "A", "-a", "a-", "a/b", "a b", "a" * 65, "ü", "a\n", "."])
def test_bad_node_ids(ca: Path, tmp_path: Path, node_id: str) -> None:
    with pytest.raises(InvalidInput, match="node name"):
        issue_node(ca, node_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("node_id", ["a", "7", "a" * 64, "checkout-7.eu_west"])
def test_good_node_ids(ca: Path, tmp_path: Path, node_id: str) -> None:
    assert load_identity(issue_node(ca, node_id, tmp_path / "out")).node_id == node_id


@pytest.mark.parametrize("host", ["", "host:80", "a b", "bücher.de", "x" * 64])
def test_bad_hosts(ca: Path, tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidInput, match="host"):
        issue_node(ca, "a", tmp_path / "out", hosts=[host])


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_bad_days(tmp_path: Path, days: int) -> None:
    with pytest.raises(InvalidInput, match="days"):
        create_ca(tmp_path / "ca", CLUSTER, days=days)


def test_bad_cluster_id(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="32 bytes"):
        create_ca(tmp_path / "ca", b"short")


def test_issuing_from_a_directory_without_ca(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"ca\.key: cannot be read: No such file"):
        issue_node(tmp_path, "a", tmp_path / "out")


def test_contexts_trust_the_cluster_ca_alone(node: NodeFiles) -> None:
    for context in (server_context(node), client_context(node)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert not context.check_hostname
        assert [each["subject"][0][0][1] for each in context.get_ca_certs()] == [CLUSTER.hex()]
    assert server_context(node).num_tickets == 0


def spoil_missing(node: NodeFiles, other: NodeFiles) -> None:
    node.key.unlink()


def spoil_open(node: NodeFiles, other: NodeFiles) -> None:
    node.key.chmod(0o640)


def spoil_key_of_another(node: NodeFiles, other: NodeFiles) -> None:
    shutil.copy(other.key, node.key)


def spoil_ca_of_another(node: NodeFiles, other: NodeFiles) -> None:
    shutil.copy(other.ca, node.ca)


def spoil_key_garbage(node: NodeFiles, other: NodeFiles) -> None:
    node.key.write_text("no key")


def spoil_certificate_garbage(node: NodeFiles, other: NodeFiles) -> None:
    node.certificate.write_text("no certificate")


def spoil_key_with_passphrase(node: NodeFiles, other: NodeFiles) -> None:
    key = serialization.load_pem_private_key(node.key.read_bytes(), password=None)
    node.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def spoil_no_identity(node: NodeFiles, other: NodeFiles) -> None:
    """A certificate of some web PKI: valid TLS, no node."""
    authority = trustme.CA()
    leaf = authority.issue_cert("node7.example.org")
    authority.cert_pem.write_to_path(node.ca)
    leaf.cert_chain_pems[0].write_to_path(node.certificate)
    leaf.private_key_pem.write_to_path(node.key)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_missing, r"node\.key: cannot be read: No such file"),
        (spoil_open, r"others may read this private key \(mode 0640\); run: chmod 600"),
        (spoil_key_of_another, r"node\.key is not the key of .*node\.crt"),
        (spoil_ca_of_another, r"not issued by .*ca\.crt"),
        (spoil_key_garbage, r"node\.key: not a PEM private key"),
        (spoil_certificate_garbage, r"node\.crt: not a PEM certificate"),
        (spoil_key_with_passphrase, "has a passphrase"),
        (spoil_no_identity, r"node\.crt: the certificate carries 0 names"),
    ],
)
@pytest.mark.parametrize("make_context", [server_context, client_context])
def test_bad_files_are_refused_in_words(make_context, spoil, words, node: NodeFiles, tmp_path: Path) -> None:
    create_ca(tmp_path / "other-ca", CLUSTER)
    spoil(node, issue_node(tmp_path / "other-ca", "checkout-7.eu", tmp_path / "other"))
    with pytest.raises(KeyFileError, match=words):
        make_context(node)


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (timedelta(days=366), r"node\.crt: expired on .*; issue the node a new one"),
        (timedelta(days=-1), r"node\.crt: not valid before .*clock"),
    ],
)
def test_dates_of_the_own_certificate(
    shift: timedelta, words: str, node: NodeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, datetime.now(UTC) + shift)
    with pytest.raises(KeyFileError, match=words):
        server_context(node)


def test_a_bundle_of_old_and_new_ca_is_trusted(node: NodeFiles, tmp_path: Path) -> None:
    """The way from one CA to the next: every node trusts both for a while."""
    create_ca(tmp_path / "next", CLUSTER)
    node.ca.write_bytes((tmp_path / "next" / "ca.crt").read_bytes() + node.ca.read_bytes())
    assert len(client_context(node).get_ca_certs()) == 2


def test_two_identities_are_none(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = x509.UniformResourceIdentifier(f"gossipconf://{CLUSTER.hex()}/b")
    monkeypatch.setattr(pki, "_host_name", lambda host: second)
    files = issue_node(ca, "a", tmp_path / "a", hosts=["b"])
    with pytest.raises(TransportError, match="carries 2 names"):
        read_identity(der(files.certificate))


@pytest.mark.parametrize("uri", ["gossipconf://00/a", f"gossipconf://{CLUSTER.hex()}/", "gossipconf://"])
def test_malformed_identity(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setattr(
        pki.x509, "UniformResourceIdentifier", lambda made: REAL_URI(uri if made.startswith("gossipconf:") else made)
    )
    files = issue_node(ca, "a", tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(TransportError, match="is not gossipconf://"):
        read_identity(der(files.certificate))


REAL_URI = x509.UniformResourceIdentifier


@pytest.fixture(scope="module")
def sample_der(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("pki")
    create_ca(directory, CLUSTER)
    return der(issue_node(directory, "sample", directory / "node").certificate)


# Of a serial number made negative the parser warns; from a verified peer that cannot come.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.integers(0, 2000))
def test_a_damaged_certificate_raises_only_transport_error(
    sample_der: bytes, changes: list[tuple[int, int]], keep: int
) -> None:
    data = bytearray(sample_der)
    for position, value in changes:
        data[position % len(data)] = value
    try:
        identity = read_identity(bytes(data if keep > 1000 else data[:keep]))
    except TransportError:
        return
    assert len(identity.cluster_id) == 32
