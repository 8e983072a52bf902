"""Certificates renewed over live links, between real agents: by whom, for whom, and what is written."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gossipconf.model.entry import ValueType, put
from gossipconf.model.errors import ConfigError, InvalidInput, KeyFileError, NotRecipient, TransportError
from gossipconf.protocol.messages import CertificateGiven, WantCertificate
from gossipconf.runtime import lineage, pki
from gossipconf.runtime.credentials import load_credentials
from gossipconf.runtime.issuing import Issuing, make_request, take_certificate
from gossipconf.runtime.node_files import NodeFiles
from gossipconf.runtime.pki import issue_node, load_identity, read_identity
from gossipconf.runtime.recipients import Authority, read_recipients
from gossipconf.runtime.seal_key import seal_name
from gossipconf.runtime.ticket import create_ticket, load_ticket
from gossipconf.trust.membership import Membership
from gossipconf.trust.recipient import RecipientKey, load_recipient_key
from gossipconf.trust.sealed import SEAL_RANDOM_BYTES, Opened, Place, open_with, seal

from .cluster import Fleet, Site, WatchedAgent, asking, fleet_of, prepare, publish, raw_peer
from .test_certification import rsa_of_large_exponent
from .test_revocation import decree

DAYS = 30


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def ticket_of(site: Site, node: str | None = None, days: int = 365) -> Path:
    path = site.directory / f"{node}.ticket"
    create_ticket(site.directory / "ca", path, site.cluster, node=node, days=days)
    return path


def aged(site: Site, name: str, hosts: tuple[str, ...] = ()) -> NodeFiles:
    """A certificate of which less than a quarter is left: 7 of 30 days."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pki, "now", lambda: datetime.now(UTC) - timedelta(days=23))
        ca = site.directory / "ca"
        patch.setattr(pki, "check_dates", lambda *arguments: None)  # the CA is younger than the node
        return issue_node(ca, name, site.directory / name, days=30, hosts=hosts)


def leaf(files: NodeFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files.certificate.read_bytes())


async def renewed(fleet: Fleet, agent: WatchedAgent, before: bytes) -> None:
    """Wait until the certificate on the disk is another one, and in use."""
    await fleet.until(lambda: agent.settings.files.certificate.read_bytes() != before and is_used(agent))


def is_used(agent: WatchedAgent) -> bool:
    ends = leaf(agent.settings.files).not_valid_after_utc.timestamp() * 1000
    return agent.credentials.lifetime.ends_ms == int(ends)


async def test_a_certificate_that_is_ending_is_renewed_by_an_issuer(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = aged(site, "m", hosts=("m.example", "10.0.0.9"))
    key, before = files.key.read_bytes(), files.certificate.read_bytes()
    async with fleet_of(site, tmp_path) as fleet:
        caplog.set_level("INFO", "gossipconf")
        issuer = await fleet.start("i", ticket=ticket_of(site), issued_days=DAYS)
        await decree(issuer, Membership(issuers=("i",)))
        m = await fleet.start("m", issuer)
        await fleet.linked(issuer, m)
        await fleet.settled(issuer, m)
        m._renewer.renew(is_due=True)  # as the next look would
        await renewed(fleet, m, before)
        assert m.credentials.lifetime.days_left(m.now().wall_ms) == DAYS - 1
        assert files.key.read_bytes() == key
        assert load_identity(files).hosts == ("m.example", "10.0.0.9")
        assert stat.S_IMODE(files.certificate.stat().st_mode) == 0o644
        assert sorted(os.listdir(files.key.parent)) == ["ca.crt", "node.crt", "node.key", "seal.key"]
        assert "renewed the certificate of m" in caplog.messages

        fresh = await fleet.start("fresh", m)
        await fleet.linked(m, fresh)
        peer = next(link.peer for link in fresh._links.values() if link.peer.node_id == "m")
        assert len(peer.certificates) == 7, "leaf and ticket in both forms, the CA's, and the first leaf's two"
        await publish(fresh, "key", b"x")
        await fleet.settled(issuer, m, fresh)
        await fleet.stop(m)
        m = await fleet.start("m", issuer)  # what is on the disk is whole
        await fleet.linked(issuer, m)


async def test_an_agent_asks_by_itself_when_it_starts_and_has_met_an_issuer(site: Site, tmp_path: Path) -> None:
    """It knows the policy from its journal, and opens a link to the issuer that is its seed."""
    files = aged(site, "m")
    before = files.certificate.read_bytes()
    async with fleet_of(site, tmp_path) as fleet:
        issuer = await fleet.start("i", ticket=ticket_of(site))
        m = await fleet.start("m", issuer)
        await fleet.linked(issuer, m)
        await decree(issuer, Membership(issuers=("i",)))
        await fleet.settled(issuer, m)
        assert files.certificate.read_bytes() == before
        await fleet.stop(m)
        m = await fleet.start("m", issuer)
        await renewed(fleet, m, before)


async def test_a_renewed_certificate_names_the_key_that_still_opens(site: Site, tmp_path: Path) -> None:
    """What was sealed to the node before opens after, and so does what is sealed by the renewed certificate."""
    files = aged(site, "m")
    before, seal_key = files.certificate.read_bytes(), files.seal_key.read_bytes()
    async with fleet_of(site, tmp_path) as fleet:
        issuer = await fleet.start("i", ticket=ticket_of(site))
        await decree(issuer, Membership(issuers=("i",)))
        m = await fleet.start("m", issuer)
        await fleet.linked(issuer, m)
        await publish_sealed(site, issuer, "old", files.certificate)
        await fleet.settled(issuer, m)
        assert opened(m, "old") == b"secret of old"
        m._renewer.renew(is_due=True)
        await renewed(fleet, m, before)
        assert files.seal_key.read_bytes() == seal_key
        await publish_sealed(site, issuer, "new", files.certificate)
        await fleet.settled(issuer, m)
        assert [opened(m, key) for key in ("old", "new")] == [b"secret of old", b"secret of new"]
        with pytest.raises(NotRecipient):
            opened(issuer, "new")


async def publish_sealed(site: Site, agent: WatchedAgent, key: str, certificate: Path) -> None:
    """Put a value that only the node of *certificate* can open."""
    authority = Authority.load(site.directory / "ca" / "ca.crt", site.cluster_id, Membership())
    publics = [one.public for one in read_recipients(certificate, authority)]
    secret = Opened(ValueType.BYTES, f"secret of {key}".encode())
    sealed = seal(secret, Place(site.cluster_id, key), publics, bytes(SEAL_RANDOM_BYTES - 1) + key[:1].encode())
    await agent.publish(prepare(agent, put(key, sealed, ValueType.SEALED)))


def opened(agent: WatchedAgent, key: str) -> bytes:
    """What *agent* opens of it. Raises NotRecipient."""
    (version,) = agent.reads.versions(key)
    assert version.entry.value is not None
    return open_with(version.entry.value, Place(version.header.cluster, key), agent.content_key(version)).value


async def test_an_issuer_renews_its_own(site: Site, tmp_path: Path) -> None:
    files = aged(site, "i")
    before = files.certificate.read_bytes()
    async with fleet_of(site, tmp_path) as fleet:
        issuer = await fleet.start("i", ticket=ticket_of(site))
        await decree(issuer, Membership(issuers=("i",)))
        assert issuer._renewer.renew(is_due=True)
        await renewed(fleet, issuer, before)


async def test_nobody_is_given_a_name_but_its_own(site: Site, tmp_path: Path) -> None:
    """A peer asks with a request that names another node and its key to seal to: of a request only the key counts."""
    key = ec.generate_private_key(ec.SECP256R1())
    victim = x509.UniformResourceIdentifier(f"gossipconf://{site.cluster_id.hex()}/victim")
    names = [victim, seal_name(site.cluster_id, RecipientKey.generate().public), x509.DNSName("bank.example")]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "victim")]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    own = load_recipient_key(site.certificate("liar").seal_key).public
    async with fleet_of(site, tmp_path) as fleet:
        issuer = await fleet.start("i", ticket=ticket_of(site))
        await decree(issuer, Membership(issuers=("i",)))
        async with raw_peer(site, "liar", issuer) as peer:
            await peer.greet()
            await peer.send(WantCertificate(request.public_bytes(serialization.Encoding.DER)))
            given = await peer.expect(CertificateGiven)
            first = x509.load_pem_x509_certificates(given.certificate)[0]
            identity = read_identity(first.public_bytes(serialization.Encoding.DER))
            assert (identity.node_id, identity.hosts, identity.recipient) == ("liar", (), own)
            assert not first.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

            await peer.send(WantCertificate(b"no request"))
            assert "not PKCS #10" in (await peer.expect(CertificateGiven)).refusal


async def test_an_issuer_that_the_policy_does_not_name_renews_nothing(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aged(site, "m")
    async with fleet_of(site, tmp_path) as fleet:
        issuer = await fleet.start("i", ticket=ticket_of(site))
        m = await fleet.start("m", issuer)
        await fleet.linked(issuer, m)
        assert not m._renewer.renew(is_due=True)
        assert any("ends in 6 days, less than a third of its life" in line for line in caplog.messages)
        async with asking(m) as asker:
            assert (await asker.ask("status"))["certificate"]["ending"]


async def test_what_is_broken_is_not_written(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = aged(site, "m")
    before = files.certificate.read_bytes()
    async with fleet_of(site, tmp_path) as fleet:
        m = await fleet.start("m")
        m._renewer.take("i", b"nothing")
        with trio.fail_after(20):
            while not any("i does not renew this agent's certificate" in line for line in caplog.messages):
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert files.certificate.read_bytes() == before
        assert any("the renewed certificate: not a PEM certificate" in line for line in caplog.messages)


# -- the X.509 of it ------------------------------------------------------------------------------


def offered(site: Site, name: str, ticket: Path, days: int = DAYS) -> bytes:
    issuing = Issuing(ticket, site.cluster_id, days)
    return issuing.issue(load_identity(site.certificate(name)), make_request(site.certificate(name)))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65_537, 2_048),
    ],
)
def test_keys_of_other_kinds_are_renewed_too(site: Site, key) -> None:
    files = site.certificate("m")
    issuer = pki.load_ca(site.directory / "ca")
    files.certificate.write_bytes(issuer.issue("m", key.public_key(), lifetime=timedelta(days=3)))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    in_use = load_credentials(files, "m", site.cluster_id)
    take_certificate(files, offered(site, "m", ticket_of(site)), in_use)
    assert load_credentials(files, "m", site.cluster_id).lifetime.ends_ms > in_use.lifetime.ends_ms


def test_what_does_not_fit_is_refused_and_the_file_stays(site: Site) -> None:
    files = site.certificate("m")
    before = files.certificate.read_bytes()
    in_use = load_credentials(files, "m", site.cluster_id)
    ticket = ticket_of(site, days=3000)
    other_key = issue_node(site.directory / "ca", "m", site.directory / "other").certificate.read_bytes()
    request = make_request(files)
    unsealed = replace(load_identity(files), recipient=None)
    resealed = replace(unsealed, recipient=RecipientKey.generate().public)
    issuing = Issuing(ticket, site.cluster_id, 3000)
    for certificate, words in (
        (issuing.issue(unsealed, request), "does not name the key to seal to"),
        (issuing.issue(resealed, request), r"seal\.key is not the key that the renewed certificate names"),
        (b"", "the renewed certificate: not a PEM certificate"),
        (other_key, "is not the key of the renewed certificate"),
        (offered(site, "b", ticket, 3000), "is not the key of the renewed certificate|names 'b'"),
        (offered(site, "m", ticket, 300), "ends no later than the one in use"),
        (offered(site, "m", ticket, 3000).split(b"-----END CERTIFICATE-----\n")[0], "not a PEM certificate"),
    ):
        with pytest.raises((KeyFileError, ConfigError), match=words):
            take_certificate(files, certificate, in_use)
    assert files.certificate.read_bytes() == before
    assert sorted(os.listdir(files.key.parent)) == ["ca.crt", "node.crt", "node.key", "seal.key"]


def test_requests_that_are_none(site: Site) -> None:
    issuing = Issuing(ticket_of(site), site.cluster_id, DAYS)
    owner = load_identity(site.certificate("m"))
    request = bytearray(make_request(site.certificate("m")))
    request[-1] ^= 1
    weak = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    small = weak.sign(rsa.generate_private_key(65_537, 1_024), hashes.SHA256())
    costly = weak.sign(rsa_of_large_exponent(2_048), hashes.SHA256())
    for data, words in (
        (b"", "not PKCS #10"),
        (costly.public_bytes(serialization.Encoding.DER), "exponent of at most 32 bits"),
        (bytes(request), "not signed by its own key|not PKCS #10"),
        (small.public_bytes(serialization.Encoding.DER), "RSA key must have 2048 to 4096 bits, not 1024"),
    ):
        with pytest.raises(InvalidInput, match=words):
            issuing.issue(owner, data)


def test_tickets_that_do_not_serve(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = make_request(site.certificate("m"))
    with pytest.raises(ConfigError, match=r"option 'ticket': .* is for another cluster"):
        Issuing(ticket_of(site), bytes(32), DAYS)
    for_one = Issuing(ticket_of(site, "b"), site.cluster_id, DAYS)
    with pytest.raises(InvalidInput, match="for node 'b' only, not for 'm'"):
        for_one.issue(load_identity(site.certificate("m")), request)
    monkeypatch.setattr(pki, "now", lambda: datetime.now(UTC) + timedelta(days=366))
    with pytest.raises(KeyFileError, match="ticket has ended; it needs a new one"):
        for_one.issue(load_identity(site.certificate("b")), request)


def test_a_ticket_is_exchanged_without_a_restart(site: Site) -> None:
    path = ticket_of(site)
    issuing = Issuing(path, site.cluster_id, DAYS)
    old = load_ticket(path)
    path.unlink()
    with pytest.raises(KeyFileError, match="cannot be read"):
        issuing.issue(load_identity(site.certificate("m")), make_request(site.certificate("m")))
    new = load_ticket(ticket_of(site))
    os.utime(path, (1, 1))
    given = issuing.issue(load_identity(site.certificate("m")), make_request(site.certificate("m")))
    (_, between) = x509.load_pem_x509_certificates(given)
    assert between == new.issuer.certificate != old.issuer.certificate


def chain_of(pem: bytes, site: Site) -> list[bytes]:
    """DER, from the leaf to the root."""
    roots = (site.directory / "ca" / "ca.crt").read_bytes()
    return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem + roots)]


def renewals(site: Site, first: bytes, request: bytes, count: int) -> list[pki.PeerIdentity]:
    """What peers see of a certificate and of those by which it was replaced, each below another ticket."""
    seen = [pki.read_chain(chain_of(first, site))]
    for number in range(count):
        ticket = site.directory / f"issuer-{number}.ticket"
        create_ticket(site.directory / "ca", ticket, site.cluster, node=None, days=365)
        given = Issuing(ticket, site.cluster_id, DAYS).issue(seen[-1], request)
        seen.append(pki.read_chain(chain_of(given, site)))
    return seen


def test_held_a_ticket_for_any_node_what_was_renewed_is_revoked_with_it(site: Site) -> None:
    """Held: a ticket. Its thief has what he made by it renewed, and is no longer below it when it is revoked."""
    stolen = load_ticket(ticket_of(site))
    files = stolen.issuer.issue_node("thief", site.directory / "thief")
    first, *renewed = renewals(site, files.certificate.read_bytes(), make_request(files), 3)
    other = pki.read_chain(chain_of(offered(site, "m", site.directory / "issuer-0.ticket"), site))
    revoked = Membership(1, certificates=(stolen.fingerprint,))
    for seen in (first, *renewed):
        assert revoked.refusal("thief", seen.certificates) is not None
    assert revoked.refusal("m", other.certificates) is None
    assert len(renewed[-1].certificates) < 20, "each ticket once, in two forms"


def test_held_a_node_certificate_revoking_the_first_reaches_all_that_it_was_renewed_to(site: Site) -> None:
    files = site.certificate("m")
    seen = renewals(site, files.certificate.read_bytes(), make_request(files), 4)
    first = seen[0].certificates[0]
    assert all(Membership(1, certificates=(first,)).refusal("m", one.certificates) for one in seen)
    # From a later one on only that one and what is below the same ticket.
    later = Membership(1, certificates=(seen[2].certificates[0],))
    assert [later.refusal("m", one.certificates) is None for one in seen] == [True, True, False, True, True]


def test_held_a_ticket_a_false_lineage_hides_nothing(site: Site) -> None:
    """Held: a ticket. What its thief makes states as many ancestors as there is room for, and not the ticket."""
    stolen = load_ticket(ticket_of(site))
    files = site.certificate("thief")
    invented = [bytes([number]) * 32 for number in range(lineage.LINEAGE_MAX)]
    key = serialization.load_pem_private_key(files.key.read_bytes(), None).public_key()
    first = stolen.issuer.issue("thief", key, lifetime=timedelta(days=9), former=invented)
    _, *renewed = renewals(site, first, make_request(files), 3)
    revoked = Membership(1, certificates=(stolen.fingerprint,))
    assert all(revoked.refusal("thief", one.certificates) for one in renewed)
    assert len(renewed[-1].lineage) == lineage.LINEAGE_MAX


@pytest.mark.parametrize("size", [0, 1, 31, 33, 32 * (lineage.LINEAGE_MAX + 1)])
def test_a_lineage_that_is_none_is_refused(site: Site, size: int) -> None:
    files = site.certificate("m")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None).public_key()
    ca = pki.load_ca(site.directory / "ca")
    given = ca.issue("m", key, lifetime=timedelta(days=9), former=[bytes(size)])
    with pytest.raises(TransportError, match="its lineage is not"):
        pki.read_chain(chain_of(given, site))
