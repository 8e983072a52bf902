"""Join tickets: what a machine makes by one is believed by peers, and nothing that it is not for."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gossipconf.model.errors import InvalidInput, KeyFileError, TransportError
from gossipconf.runtime import pki
from gossipconf.runtime.certification import NotCertified, check_certified
from gossipconf.runtime.link import failure_in_words
from gossipconf.runtime.node_files import NodeFiles
from gossipconf.runtime.pem import read_certificates
from gossipconf.runtime.pki import (
    PeerIdentity,
    client_context,
    create_ca,
    issue_node,
    key_pem,
    key_usage,
    read_chain,
    server_context,
)
from gossipconf.runtime.ticket import Ticket, create_ticket, load_ticket
from gossipconf.runtime.tls import TlsStream
from gossipconf.trust.recipient import load_recipient_key

from .cluster import HANG_S, Site, fleet_of, publish


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def ticket_for(site: Site, node: str | None, days: int = 30) -> Ticket:
    path = site.directory / f"{node}.ticket"
    create_ticket(site.directory / "ca", path, site.cluster, node=node, days=days)
    return load_ticket(path)


def certified(files: NodeFiles) -> PeerIdentity:
    """For whom the CA stands by the certificate alone, which is all that whoever seals has. Raises NotCertified."""
    leaf, *between = read_certificates(files.certificate)
    return check_certified(leaf, between, read_certificates(files.ca), datetime.now(UTC))


async def shake_hands(server: NodeFiles, client: NodeFiles) -> PeerIdentity:
    """Whom the server takes the client for, over a real connection. Raises TransportError with its reason."""
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        left = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        right = await listener.accept()
        dialler = TlsStream(left, client_context(client), server_side=False)
        acceptor = TlsStream(right, server_context(server), server_side=True)
        failure: list[str] = []

        async def accept() -> None:
            try:
                await acceptor.do_handshake()
            except trio.BrokenResourceError as error:
                failure.append(failure_in_words(error))

        try:
            with trio.fail_after(HANG_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(accept)
                    nursery.start_soon(dialler.do_handshake)
            if failure:
                raise TransportError(failure[0])
            return read_chain(acceptor.peer_chain)
        finally:
            await trio.aclose_forcefully(left)
            await trio.aclose_forcefully(right)


async def test_a_machine_joins_by_its_ticket_and_is_known_by_its_name(site: Site, tmp_path: Path) -> None:
    ticket_for(site, "b").issuer.issue_node("b", site.directory / "b")
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        await publish(b, "greeting", b"hello")
        await fleet.settled(a, b)
        assert a.value("greeting") == b"hello"


async def test_peers_see_the_whole_chain(site: Site) -> None:
    ticket = ticket_for(site, None)
    mine = ticket.issuer.issue_node("c", site.directory / "c")
    seen = await shake_hands(site.certificate("a"), mine)
    assert (seen.node_id, seen.cluster_id) == ("c", site.cluster_id)
    leaf, between = x509.load_pem_x509_certificates(mine.certificate.read_bytes())
    root = x509.load_pem_x509_certificate(mine.ca.read_bytes())
    assert list(seen.certificates[:3]) == [one.fingerprint(hashes.SHA256()) for one in (leaf, between, root)]
    assert seen.certificates[1] == ticket.fingerprint
    assert (await shake_hands(mine, site.certificate("a"))).node_id == "a"
    assert seen.recipient == load_recipient_key(mine.seal_key).public
    assert certified(mine) == seen, "who seals sees what links see"


async def test_a_ticket_for_one_node_makes_no_other(site: Site) -> None:
    """What its thief could write with the key: another name throughout, or in the one place that TLS does not check."""
    ticket = ticket_for(site, "b")
    with pytest.raises(InvalidInput, match="for node 'b' only, not for 'c'"):
        ticket.name("c")
    other = ticket.issuer.issue_node("c", site.directory / "c")
    with pytest.raises(TransportError, match="the peer's certificate is refused: permitted subtree violation"):
        await shake_hands(site.certificate("a"), other)
    with pytest.raises(NotCertified, match="its subject is not among those"):
        certified(other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pki, "node_subject", lambda _: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "b")]))
        disguised = ticket.issuer.issue_node("c", site.directory / "disguised")
    with pytest.raises(TransportError, match="names 'c', but was issued by a ticket for b"):
        await shake_hands(site.certificate("a"), disguised)
    with pytest.raises(NotCertified, match="names 'c', but was issued by a ticket for b"):
        certified(disguised)


async def test_a_ticket_makes_no_certificate_of_another_cluster(site: Site) -> None:
    issuer = replace(ticket_for(site, None).issuer, cluster_id=bytes(32))
    foreign = issuer.issue_node("c", site.directory / "c")
    with pytest.raises(TransportError, match="permitted subtree violation"):
        await shake_hands(site.certificate("a"), foreign)
    with pytest.raises(NotCertified, match="its names are not among those"):
        certified(foreign)


async def test_a_ticket_makes_no_further_ticket(site: Site) -> None:
    ticket = ticket_for(site, None)
    key = ec.generate_private_key(ec.SECP256R1())
    below = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "below")]))
        .issuer_name(ticket.issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .sign(ticket.issuer.key, hashes.SHA256())
    )
    between = below.public_bytes(serialization.Encoding.PEM) + ticket.issuer.between
    files = replace(ticket.issuer, key=key, certificate=below, between=between).issue_node("c", site.directory / "c")
    with pytest.raises(TransportError, match="path length constraint exceeded"):
        await shake_hands(site.certificate("a"), files)
    with pytest.raises(NotCertified, match="may not have 1 CAs below it"):
        certified(files)


def test_a_ticket_outlives_what_it_makes_and_the_ca_the_ticket(tmp_path: Path, site: Site) -> None:
    create_ca(tmp_path / "short", site.cluster_id, days=20)
    ticket = create_ticket(tmp_path / "short", tmp_path / "t", site.cluster, node=None, days=30)
    ca = x509.load_pem_x509_certificate((tmp_path / "short" / "ca.crt").read_bytes())
    assert ticket.ends == ca.not_valid_after_utc
    files = ticket.issuer.issue_node("b", tmp_path / "b", days=365)
    assert x509.load_pem_x509_certificate(files.certificate.read_bytes()).not_valid_after_utc == ticket.ends


def test_the_file_is_private_and_is_read_back_as_it_was_made(site: Site) -> None:
    ticket = ticket_for(site, "b")
    path = site.directory / "b.ticket"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (ticket.node, ticket.cluster) == ("b", site.cluster)
    assert ticket.name(None) == ticket.name("b") == "b"
    anyone = ticket_for(site, None)
    assert anyone.name("x") == "x"
    with pytest.raises(InvalidInput, match="say which with --node-id"):
        anyone.name(None)
    with pytest.raises(KeyFileError, match="exists already"):
        create_ticket(site.directory / "ca", path, site.cluster, node="b", days=1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o644), "others may read this private key"),
        (lambda path: path.write_bytes(b"hello"), "not a join ticket: it is a text; make one with"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"GOSSIPCONF", b"OTHER")), "not a join ticket"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"MII", b"MIX")), "a damaged join ticket"),
        (lambda path: path.unlink(), "cannot be read: No such file"),
    ],
)
def test_bad_tickets_are_refused_in_words(site: Site, spoil, words) -> None:
    ticket_for(site, "b")
    path = site.directory / "b.ticket"
    spoil(path)
    with pytest.raises(KeyFileError, match=words):
        load_ticket(path)


def test_a_ticket_whose_key_is_another_or_that_has_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = ticket_for(site, "b")
    path = site.directory / "b.ticket"
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(path.read_bytes().replace(key_pem(ticket.issuer.key), key_pem(other)))
    with pytest.raises(KeyFileError, match="is not the key of"):
        load_ticket(path)
    ticket_for(site, "c")
    monkeypatch.setattr(pki, "now", lambda: datetime.now(UTC) + timedelta(days=31))
    with pytest.raises(KeyFileError, match=r"expired on .*; make a new ticket"):
        load_ticket(site.directory / "c.ticket")


def test_a_ticket_is_of_the_ca_of_its_cluster(site: Site, tmp_path: Path) -> None:
    create_ca(tmp_path / "foreign", bytes(32))
    with pytest.raises(KeyFileError, match="use those of one cluster"):
        create_ticket(tmp_path / "foreign", tmp_path / "t", site.cluster, node=None, days=1)
    with pytest.raises(InvalidInput, match="1 to"):
        create_ticket(site.directory / "ca", tmp_path / "t", site.cluster, node=None, days=0)
    with pytest.raises(InvalidInput, match="node name"):
        create_ticket(site.directory / "ca", tmp_path / "t", site.cluster, node="A", days=1)


def test_a_chain_in_the_wrong_order_is_refused(site: Site) -> None:
    files = ticket_for(site, "b").issuer.issue_node("b", site.directory / "b")
    leaf, between = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    stray = x509.load_pem_x509_certificate(issue_node(site.directory / "ca", "d", site.directory / "d").ca.read_bytes())
    pem = [one.public_bytes(serialization.Encoding.PEM) for one in (leaf, stray, between)]
    files.certificate.write_bytes(b"".join(pem))
    with pytest.raises(KeyFileError, match="not a chain; it must hold the node's own first"):
        server_context(files)
