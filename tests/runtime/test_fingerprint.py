"""Fingerprints: one certificate in the forms that its holder can give it, and how a policy reaches each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gossipconf.runtime.fingerprint import fingerprints
from gossipconf.trust.membership import Membership

NOW = datetime.now(UTC)


def certificate(subject, issuer, signing_key, key=None, algorithm=None):
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1])
    builder = builder.public_key((key or signing_key).public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(signing_key, algorithm).public_bytes(Encoding.DER)


def other_form(der, order):
    """As its holder makes it: the signature is the last element, and its length changes by at most two bytes."""
    r, s = decode_dss_signature(x509.load_der_x509_certificate(der).signature)
    old, new = encode_dss_signature(r, s), encode_dss_signature(r, order - s)
    head = der[: -len(old) - 3]
    grown = len(new) - len(old)
    size = int.from_bytes(head[2:4], "big") + grown
    assert (head[:2], der[-len(old) - 3]) == (b"\x30\x82", 3), "both lengths are of the expected form"
    return head[:2] + size.to_bytes(2, "big") + head[4:] + bytes([3, len(new) + 1, 0]) + new


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
@pytest.mark.parametrize("turn", range(8))
def test_held_a_revoked_certificate_its_other_form_is_revoked_too(curve, turn):
    """Held: a certificate signed with ECDSA, and its key. It is given the one other signature that verifies."""
    key = ec.generate_private_key(curve)
    root = certificate("ca" * 20, "ca" * 20, key, algorithm=hashes.SHA256())
    leaf = certificate("a" * 40, "ca" * 20, key, ec.generate_private_key(curve), hashes.SHA256())
    other = other_form(leaf, curve.group_order)
    x509.load_der_x509_certificate(other).verify_directly_issued_by(x509.load_der_x509_certificate(root))
    assert sha256(other).digest() != sha256(leaf).digest()
    assert set(fingerprints([other, root])) == set(fingerprints([leaf, root]))
    revoked = Membership(1, certificates=(sha256(leaf).digest(),))
    assert revoked.refusal("a", fingerprints([other, root])) is not None
    assert revoked.refusal("a", fingerprints([leaf, root])) is not None
    assert revoked.refusal("b", fingerprints([root])) is None


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ed25519.Ed25519PrivateKey.generate(), None), (rsa.generate_private_key(65537, 2048), hashes.SHA256())],
    ids=["ed25519", "rsa"],
)
def test_of_other_signatures_there_is_one_form(key, algorithm):
    root = certificate("ca", "ca", key, algorithm=algorithm)
    leaf = certificate("a", "ca", key, ec.generate_private_key(ec.SECP256R1()), algorithm)
    assert fingerprints([leaf, root]) == (sha256(leaf).digest(), sha256(root).digest())


def test_bytes_that_der_would_have_otherwise_are_refused():
    """A bit string may say that its last bits do not count: then they are zero, and the signature is the same."""
    key = ed25519.Ed25519PrivateKey.generate()
    root = certificate("ca", "ca", key)
    while (leaf := certificate("a", "ca", key))[-1] & 1:
        pass
    altered = leaf[:-65] + b"\x01" + leaf[-64:]
    with pytest.raises(ValueError, match=r"one form|parse"):
        fingerprints([altered, root])
