"""Bring your own PKI: certificates of any authority do, by file paths, as long as the leaf names cluster and node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gossipconf.model.errors import KeyFileError
from gossipconf.runtime.credentials import load_credentials
from gossipconf.runtime.node_files import NodeFiles
from gossipconf.runtime.settings import load

from .cluster import Site, WatchedAgent, fleet_of, publish

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Authority:
    """A CA of a company: its certificate and its key, and those above it up to the root, which is the last."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()


def authority(name: str, issuer: Authority | None = None, *, constraint: x509.GeneralName | None = None) -> Authority:
    """A root, or an intermediate. Nothing in it is of gossipconf."""
    key = rsa.generate_private_key(65_537, 2_048) if issuer is None else ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = builder_of(subject, subject if issuer is None else issuer.certificate.subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if constraint is not None:
        builder = builder.add_extension(x509.NameConstraints([constraint], None), critical=True)
    certificate = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
    return Authority(certificate, key, () if issuer is None else (issuer.certificate, *issuer.above))


def builder_of(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=99))
    )


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def node(
    site: Site,
    name: str,
    by: Authority,
    trusted: x509.Certificate,
    *,
    usage: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
    names: tuple[x509.GeneralName, ...] = (),
    subject: str = "some machine",
) -> NodeFiles:
    """Files under names and in places of the company's own; the chain file has all between the leaf and the root."""
    directory = site.directory / "company" / name
    directory.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    identity = x509.UniformResourceIdentifier(f"gossipconf://{site.cluster_id.hex()}/{name}")
    leaf = (
        builder_of(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]), by.certificate.subject, key)
        .add_extension(x509.SubjectAlternativeName([*names, identity]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(list(usage)), critical=False)
        .sign(by.key, hashes.SHA256())
    )
    files = NodeFiles(directory / "tls.key", directory / "tls.pem", directory / "trust.pem")
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    files.key.chmod(0o600)
    files.certificate.write_bytes(pem(leaf, by.certificate, *by.above[:-1]) if by.above else pem(leaf))
    files.ca.write_bytes(pem(trusted))
    return files


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def meet(site: Site, data: Path, one: NodeFiles, other: NodeFiles) -> None:
    """Two agents with these files link and share what is published."""
    async with fleet_of(site, data) as fleet:
        agents: list[WatchedAgent] = []
        for name, files in (("a", one), ("b", other)):
            (site.directory / name).mkdir()
            for source, target in zip(
                (files.key, files.certificate, files.ca), ("node.key", "node.crt", "ca.crt"), strict=True
            ):
                (site.directory / name / target).symlink_to(source)
            agents.append(await fleet.start(name, *agents))
        await fleet.linked(*agents)
        await publish(agents[0], "key", b"x")
        await fleet.settled(*agents)
        assert agents[1].value("key") == b"x"


async def test_a_chain_of_two_intermediates(site: Site, tmp_path: Path) -> None:
    root = authority("Company Root")
    issuing = authority("Issuing", authority("Policy", root))
    a, b = (node(site, name, issuing, root.certificate) for name in "ab")
    assert len(load_credentials(a, "a", site.cluster_id).identity.certificates) == 6, "and the other forms of two"
    await meet(site, tmp_path, a, b)


async def test_a_root_of_an_rsa_key_that_issues_itself(site: Site, tmp_path: Path) -> None:
    root = authority("Company Root")
    await meet(site, tmp_path, *(node(site, name, root, root.certificate) for name in "ab"))


async def test_an_intermediate_alone_is_trusted(site: Site, tmp_path: Path) -> None:
    """So that who gets a certificate anywhere else below the company's root is not let in."""
    root = authority("Company Root")
    ours = authority("Config", root)
    await meet(site, tmp_path, *(node(site, name, ours, ours.certificate) for name in "ab"))
    elsewhere = node(site, "c", authority("Web", root), root.certificate)
    elsewhere.ca.write_bytes(pem(ours.certificate))
    with pytest.raises(KeyFileError, match="not issued by"):
        load_credentials(elsewhere, "c", site.cluster_id)


def test_the_node_is_the_one_in_the_uri_whatever_else_is_named(site: Site) -> None:
    root = authority("Company Root")
    others = (x509.DNSName("m.example"), x509.UniformResourceIdentifier("spiffe://example/m"))
    files = node(site, "m", root, root.certificate, names=others, subject="another name")
    identity = load_credentials(files, "m", site.cluster_id).identity
    assert (identity.node_id, identity.hosts) == ("m", ("m.example",))


def test_constraints_of_the_company_on_names_of_its_own_are_not_taken_for_a_ticket(site: Site) -> None:
    wide = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.COMMON_NAME, "m")])
    root = authority("Company Root")
    ours = authority("Config", root, constraint=x509.DNSName("example"))
    other = authority("Config", root, constraint=x509.DirectoryName(wide))
    assert load_credentials(node(site, "m", ours, root.certificate), "m", site.cluster_id).identity.node_id == "m"
    with pytest.raises(KeyFileError, match=r"peers would refuse it: .*permitted subtree violation"):
        load_credentials(node(site, "n", other, root.certificate), "n", site.cluster_id)


def test_what_peers_would_refuse_is_found_at_the_start(site: Site) -> None:
    root = authority("Company Root")
    files = node(site, "m", root, root.certificate, usage=(ExtendedKeyUsageOID.SERVER_AUTH,))
    with pytest.raises(KeyFileError, match=r"tls\.pem: peers would refuse it: .*purpose"):
        load_credentials(files, "m", site.cluster_id)
    issuing = authority("Issuing", root)
    short = node(site, "n", issuing, root.certificate)
    short.certificate.write_bytes(short.certificate.read_bytes().split(b"-----END CERTIFICATE-----\n")[0])
    short.certificate.write_bytes(short.certificate.read_bytes() + b"-----END CERTIFICATE-----\n")
    with pytest.raises(KeyFileError, match=r"not issued by .*trust"):
        load_credentials(short, "n", site.cluster_id)


def test_paths_are_options_of_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(
        'node = "m"\ncertificate = "/etc/pki/m.pem"\nprivate_key = "/etc/pki/m.key"\nca = "trust/company.pem"\n'
    )
    expected = NodeFiles(Path("/etc/pki/m.key"), Path("/etc/pki/m.pem"), tmp_path / "trust" / "company.pem")
    assert load(tmp_path).files == expected
    assert replace(load(tmp_path), files=expected) == load(tmp_path)
