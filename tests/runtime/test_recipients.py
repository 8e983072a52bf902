"""Recipients in files: who is certified is taken, and every other file is refused in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from gossipconf.model.errors import KeyFileError
from gossipconf.runtime import pki, recipients
from gossipconf.runtime.pki import NodeFiles, create_ca, issue_node
from gossipconf.runtime.recipients import Authority, Recipient, read_recipients
from gossipconf.runtime.seal_key import load_seal_key
from gossipconf.runtime.ticket import create_ticket
from gossipconf.trust.membership import Membership
from gossipconf.trust.recipient import RecipientKey, public_pem

from .cluster import Site

CLUSTER = bytes(range(32))
PERSON = RecipientKey.from_seed(bytes(range(32)))


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    create_ca(tmp_path / "ca", CLUSTER)
    return tmp_path / "ca"


@pytest.fixture
def authority(ca: Path) -> Authority:
    return Authority.load(ca / "ca.crt", CLUSTER, Membership())


@pytest.fixture
def node(ca: Path, tmp_path: Path) -> NodeFiles:
    return issue_node(ca, "a", tmp_path / "nodes" / "a")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def recipient(files: NodeFiles, name: str) -> Recipient:
    key = load_seal_key(files, CLUSTER)
    assert key is not None
    return Recipient(key.public, name)


def test_a_certificate_names_its_node(node: NodeFiles, authority: Authority) -> None:
    assert read_recipients(node.certificate, authority) == (recipient(node, "a"),)


def test_a_file_may_name_many(ca: Path, node: NodeFiles, authority: Authority, tmp_path: Path) -> None:
    other = issue_node(ca, "b", tmp_path / "nodes" / "b")
    path = tmp_path / "recipients"
    parts = [node.certificate.read_bytes(), b"# a person\n", public_pem(PERSON.public), other.certificate.read_bytes()]
    path.write_bytes(b"".join(parts))
    assert set(read_recipients(path, authority)) == {
        recipient(node, "a"),
        recipient(other, "b"),
        Recipient(PERSON.public),
    }
    assert read_recipients(tmp_path / "nodes", authority) == (recipient(node, "a"), recipient(other, "b"))


def spoiled(path: Path, monkeypatch: pytest.MonkeyPatch, case: str, ca: Path, directory: Path) -> Path:
    """A file that must be refused."""
    match case:
        case "another CA":
            create_ca(directory / "other", CLUSTER)
            return issue_node(directory / "other", "a", directory / "spoiled").certificate
        case "another cluster":
            create_ca(directory / "other", bytes(32))
            return issue_node(directory / "other", "a", directory / "spoiled").certificate
        case "expired":
            now = pki.now()
            monkeypatch.setattr(recipients, "_now", lambda: now + timedelta(days=400))
        case "not yet valid":
            now = pki.now()
            monkeypatch.setattr(recipients, "_now", lambda: now - timedelta(days=1))
        case "no key":
            real = x509.SubjectAlternativeName
            monkeypatch.setattr(pki.x509, "SubjectAlternativeName", lambda names: real(names[:1]))
            files = issue_node(ca, "a", directory / "spoiled")
            monkeypatch.setattr(pki.x509, "SubjectAlternativeName", real)
            return files.certificate
        case "another program's":
            path.write_bytes(trustme.CA().issue_cert("a").cert_chain_pems[0].bytes())
        case "CA only":
            return ca / "ca.crt"
        case "private key":
            path.write_bytes(PERSON.private_pem())
        case "damaged":
            path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "text":
            path.write_bytes(b"a\n")
        case "missing":
            return directory / "nowhere"
        case "empty directory":
            (directory / "empty").mkdir()
            return directory / "empty"
        case "large":
            path.write_bytes(bytes(recipients.FILE_BYTES_MAX + 1))
    return path


@pytest.mark.parametrize(
    ("case", "part"),
    [
        ("another CA", "the certificate of node 'a' is not issued by .*ca.crt"),
        ("another cluster", "node 'a' is for cluster 00000000…, not 00010203…"),
        ("expired", "node 'a' expired on .* copy the new one from its machine"),
        ("not yet valid", "is not issued by .*ca.crt"),
        ("no key", "names no key to seal to; issue it again"),
        ("another program's", "carries 0 names gossipconf://"),
        ("CA only", "has only CA certificates"),
        ("private key", "holds a private key, to which nothing is sealed; seal to the .pub"),
        ("damaged", "not a PEM certificate"),
        ("text", "neither certificates nor X25519 public keys in PEM"),
        ("missing", "cannot be read: No such file"),
        ("empty directory", "has no certificates or public keys"),
        ("large", "is larger than 4194304 bytes"),
    ],
)
def test_a_file_that_is_refused(
    case: str,
    part: str,
    node: NodeFiles,
    ca: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = spoiled(node.certificate, monkeypatch, case, ca, tmp_path)
    with pytest.raises(KeyFileError, match=part) as caught:
        read_recipients(path, authority)
    assert str(caught.value).startswith(str(path))


def test_a_bad_file_of_authorities(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"nonsense")
    with pytest.raises(KeyFileError, match=r"ca\.crt: not a PEM certificate"):
        Authority.load(tmp_path / "ca.crt", CLUSTER, Membership())


def test_the_policy_shuts_out_nodes_and_what_a_ticket_has_made(site: Site) -> None:
    """Neither is a recipient any more, whoever still has the certificate."""
    ticket = create_ticket(site.directory / "ca", site.directory / "t", site.cluster, node=None, days=9)
    files = ticket.issuer.issue_node("m", site.directory / "m")

    def read(membership: Membership) -> Sequence[Recipient]:
        return read_recipients(files.certificate, Authority.load(files.ca, site.cluster_id, membership))

    assert [one.node for one in read(Membership(1, nodes=("other",)))] == ["m"]
    with pytest.raises(KeyFileError, match=r"node\.crt: policy 2 has revoked node 'm'; nothing is sealed to it"):
        read(Membership(2, nodes=("m",)))
    with pytest.raises(KeyFileError, match=r"policy 2 has revoked a certificate that stands for node 'm'"):
        read(Membership(2, certificates=(ticket.fingerprint,)))
