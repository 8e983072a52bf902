"""Fingerprints of certificates: SHA-256 of each, by which a policy revokes what was issued.

Whoever holds a certificate that was signed with ECDSA can make one other of it, which
verifies as well and has another fingerprint: in the place of s in a signature does n - s,
where n is the order of the curve, for of the point that comes out only x is looked at (SEC 1,
section 4.1.4). What is revoked must stay so in either form. Of RSA and Ed25519 nobody without
the key can make a second signature.

Knows DER as far as the three parts of a certificate go; no policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

OCTET_STRING: Final = 0x04
_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03


def fingerprints(chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """SHA-256 of each certificate of a verified chain, DER, the leaf first; then of the other forms that they have.

    The last, the root, is from this machine's own file: nobody can have given it another form. Raises ValueError for
    a certificate that is not in the one form that DER gives it.
    """
    others = (one for der, issuer in pairwise(chain) for one in forms(der, issuer)[1:])
    return (*(sha256(der).digest() for der in chain), *others)


def forms(der: bytes, issuer: bytes) -> tuple[bytes, ...]:
    """The fingerprints that a certificate can have: as it is, and with its other signature. Raises ValueError."""
    other = _other_form(der, issuer)
    return tuple(sha256(one).digest() for one in (der, other) if one is not None)


def _other_form(der: bytes, issuer: bytes) -> bytes | None:
    """The same certificate with its other signature; None if it has none."""
    certificate = x509.load_der_x509_certificate(der)
    if _with_signature(certificate, der, certificate.signature) != der:
        raise ValueError("it is not in the one form that DER gives it")
    key = x509.load_der_x509_certificate(issuer).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return None
    r, s = decode_dss_signature(certificate.signature)
    return _with_signature(certificate, der, encode_dss_signature(r, key.curve.group_order - s))


def _with_signature(certificate: x509.Certificate, der: bytes, signature: bytes) -> bytes:
    """The certificate, of which *der* are the bytes, with another signature."""
    signed = certificate.tbs_certificate_bytes
    start = der.index(signed) + len(signed)
    algorithm = der[start : start + 2 + der[start + 1]]  # a short one: SHA-256 with PSS takes 67 bytes
    return element(_SEQUENCE, signed + algorithm + element(_BIT_STRING, b"\0" + signature))


def element(tag: int, content: bytes) -> bytes:
    """An element of DER."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
