"""Who stands for a node's certificate: chains that hold, and one fault at a time that breaks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gossipconf.runtime import certification, pem
from gossipconf.runtime.certification import INTERMEDIATES_MAX, NotCertified, check_certified
from gossipconf.runtime.pki import PeerIdentity

NOW = datetime(2030, 5, 1, tzinfo=UTC)
CLUSTER = bytes(range(32)).hex()
URIS = (f"gossipconf://{CLUSTER}/a", f"gossipconf-seal://{CLUSTER}/{'11' * 32}")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0")


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass(frozen=True)
class Made:
    """A certificate to be made, and its key. `constraints`: what a CA may certify."""

    subject: str
    ca: bool = True
    path_length: int | None = None
    signs: bool = True
    constraints: x509.NameConstraints | None = None
    starts: datetime = NOW - timedelta(days=1)
    ends: datetime = NOW + timedelta(days=1)
    uris: Sequence[str] = ()
    usages: Sequence[x509.ObjectIdentifier] = ()
    extra: Any = None
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def by(self, issuer: Made) -> x509.Certificate:
        usage = [False] * 9
        usage[5] = self.signs and self.ca
        usage[0] = not usage[5]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject))
            .issuer_name(name(issuer.subject))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.starts)
            .not_valid_after(self.ends)
            .add_extension(x509.BasicConstraints(self.ca, self.path_length if self.ca else None), critical=True)
            .add_extension(x509.KeyUsage(*usage), critical=True)
        )
        if self.uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in self.uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if self.usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.usages), critical=False)
        if self.constraints:
            builder = builder.add_extension(self.constraints, critical=True)
        if self.extra:
            builder = builder.add_extension(self.extra, critical=True)
        return builder.sign(issuer.key, hashes.SHA256())


def permitted(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(names, None)


ROOT = Made("root", path_length=1)
TICKET = Made(
    "ticket",
    path_length=0,
    constraints=permitted(x509.UniformResourceIdentifier(CLUSTER), x509.DirectoryName(name("a"))),
)
LEAF = Made("a", ca=False, uris=URIS, usages=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH))
OTHER_NODE = replace(LEAF, uris=(f"gossipconf://{CLUSTER}/b", URIS[1]))
"""In the one place that X.509 does not constrain."""


def check(leaf: Made = LEAF, ticket: Made = TICKET, root: Made = ROOT) -> PeerIdentity:
    return check_certified(leaf.by(ticket), [ticket.by(root)], [root.by(root)], NOW)


def test_a_leaf_of_the_ca_itself() -> None:
    check_certified(LEAF.by(ROOT), [], [ROOT.by(ROOT)], NOW)
    check_certified(LEAF.by(ROOT), [ROOT.by(ROOT)], [Made("root").by(Made("root")), ROOT.by(ROOT)], NOW)


def test_a_leaf_of_a_ticket() -> None:
    seen = check()
    assert (seen.node_id, seen.recipient, len(set(seen.certificates))) == ("a", bytes([0x11]) * 32, 5)
    check(ticket=replace(TICKET, constraints=None))
    check(leaf=OTHER_NODE, ticket=replace(TICKET, constraints=permitted(x509.UniformResourceIdentifier(CLUSTER))))


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "the leaf has ended": ({"leaf": replace(LEAF, ends=NOW)}, "CN=a is valid from"),
    "the leaf has not begun": ({"leaf": replace(LEAF, starts=NOW + timedelta(hours=1))}, "CN=a is valid from"),
    "the ticket has ended": ({"ticket": replace(TICKET, ends=NOW)}, "CN=ticket is valid from"),
    "the root has ended": ({"root": replace(ROOT, ends=NOW)}, "CN=root is valid from"),
    "a node issues": ({"ticket": replace(TICKET, ca=False)}, "its issuer CN=ticket is no CA"),
    "a CA that may not sign": ({"ticket": replace(TICKET, signs=False)}, "its issuer CN=ticket is no CA"),
    "too long": ({"root": replace(ROOT, path_length=0)}, "CN=root may not have 1 CAs below it"),
    "another cluster": ({"leaf": replace(LEAF, uris=(URIS[0], "gossipconf-seal://00/11"))}, "its names are not among"),
    "another scheme of URI": ({"leaf": replace(LEAF, uris=(*URIS, "mailto:a"))}, "its names are not among"),
    "another subject": ({"leaf": replace(LEAF, subject="b")}, "its subject is not among"),
    "a name of another node": ({"leaf": OTHER_NODE}, "names 'b', but was issued by a ticket for a"),
    "not for clients": ({"leaf": replace(LEAF, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))}, "for connecting to others"),
    "a critical extension": ({"leaf": replace(LEAF, extra=UNKNOWN)}, "critical extension that is not understood"),
    "one of a CA": ({"ticket": replace(TICKET, extra=UNKNOWN)}, "critical extension that is not understood"),
    "constraints of another kind": (
        {"ticket": replace(TICKET, constraints=permitted(x509.DNSName("example.org")))},
        "name constraints that are not understood",
    ),
    "what is excluded": (
        {"ticket": replace(TICKET, constraints=x509.NameConstraints(None, [x509.UniformResourceIdentifier("b")]))},
        "name constraints that are not understood",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_one_fault_is_enough(fault: str) -> None:
    changed, part = BROKEN[fault]
    with pytest.raises(NotCertified, match=part):
        check(**changed)


def test_a_signature_by_another_key() -> None:
    impostor = Made("root")
    with pytest.raises(NotCertified, match="its issuer is neither the CA nor in the file"):
        check_certified(LEAF.by(impostor), [impostor.by(impostor)][:0], [ROOT.by(ROOT)], NOW)
    with pytest.raises(NotCertified, match="its issuer is neither the CA nor in the file"):
        check_certified(LEAF.by(impostor), [impostor.by(impostor)], [ROOT.by(ROOT)], NOW)
    with pytest.raises(NotCertified, match="its issuer is neither the CA nor in the file"):
        check_certified(LEAF.by(TICKET), [], [ROOT.by(ROOT)], NOW)


def test_a_chain_ends() -> None:
    root = Made("root")
    cas = [Made(str(number)) for number in range(INTERMEDIATES_MAX + 1)]
    chain = [upper.by(lower) for upper, lower in zip(cas, [*cas[1:], root], strict=True)]
    with pytest.raises(NotCertified, match="more than 4 certificates are between"):
        check_certified(LEAF.by(cas[0]), chain, [root.by(root)], NOW)
    check_certified(LEAF.by(cas[1]), chain, [root.by(root)], NOW)


def rsa_of_large_exponent(bits: int) -> rsa.RSAPrivateKey:
    """A key whose public operation takes as long as the private one: the two exponents have changed places."""
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    public = rsa.RSAPublicNumbers(numbers.d, numbers.public_numbers.n)
    exponents = (65537, 65537 % (numbers.p - 1), 65537 % (numbers.q - 1))
    return rsa.RSAPrivateNumbers(numbers.p, numbers.q, *exponents, numbers.iqmp, public).private_key(
        unsafe_skip_rsa_key_validation=True
    )


@pytest.mark.parametrize("is_node", [False, True], ids=["by nobody", "by a node"])
def test_held_a_costly_key_it_verifies_nothing_before_a_ca_stands_for_it(
    is_node: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held: as many certificates as fit, of keys whose every use takes 20 ms; or such a key in a node's certificate."""
    asked: list[x509.Name] = []

    def noted(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        if certificate.issuer == issuer.subject:
            asked.append(issuer.subject)
        return pem.is_signed(certificate, issuer)

    monkeypatch.setattr(certification, "is_signed", noted)
    costly = Made("costly", ca=not is_node, key=rsa_of_large_exponent(2048))
    above = costly.by(ROOT) if is_node else costly.by(replace(ROOT, key=ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(NotCertified, match="no CA" if is_node else "neither the CA nor in the file"):
        check_certified(LEAF.by(costly), [above], [ROOT.by(ROOT)], NOW)
    assert set(asked) == {name("root")}


def test_what_cannot_be_read_certifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("nonsense")

    monkeypatch.setattr(certification, "_check_alone", broken)
    with pytest.raises(NotCertified, match="cannot be read: nonsense"):
        check()
