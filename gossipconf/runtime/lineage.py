"""Lineage: the certificates from which a renewed one comes, so that revoking one of them reaches it.

An issuer renews below a ticket of its own. Without a lineage whoever has stolen a ticket, or a
node's certificate, would have it renewed once, and what he got would no longer have to do with
what is revoked then. So an issuer writes into what it renews

    first    the fingerprints of the certificate with which the node began
    then     those of all tickets below which it ever had one

and who reads a certificate takes them for part of its chain. A thief of a ticket may write a
lineage as he likes into what he makes by it: the ticket itself is above that, and so in the
lineage of what comes of it.

It stands in an extension, not critical: the SHA-256 digests one after another, as an OCTET STRING.

Knows certificates and their bytes; not who renews.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final

from cryptography import x509

from .fingerprint import OCTET_STRING, element, forms

OID: Final = x509.ObjectIdentifier("2.25.142389218621167501827185001844860574180")
"""A UUID, 6b1f2a7e-52c4-4f0e-9d33-7a1c5be0d9e4: such identifiers are registered with nobody (ITU-T X.667)."""
LINEAGE_MAX: Final = 32
"""Fingerprints in a lineage, 1 KB: the first certificate and fifteen tickets, each in two forms. With three issuers
that have a new ticket each year it is full after five years; what is left out then has ended long ago."""
_ORIGIN: Final = 2
"""Those that are never left out: as a rule both forms of the first certificate."""


def stated(certificate: x509.Certificate) -> tuple[bytes, ...]:
    """The lineage that a certificate states, its origin first; empty for one that is not renewed. Raises ValueError."""
    try:
        found = certificate.extensions.get_extension_for_oid(OID).value
    except x509.ExtensionNotFound:
        return ()
    data = found.value if isinstance(found, x509.UnrecognizedExtension) else b""
    size = sha256().digest_size
    for count in range(1, LINEAGE_MAX + 1):
        head = element(OCTET_STRING, bytes(count * size))[: -count * size]
        if len(data) == len(head) + count * size and data.startswith(head):
            return tuple(data[start : start + size] for start in range(len(head), len(data), size))
    raise ValueError(f"its lineage is not 1 to {LINEAGE_MAX} SHA-256 digests")


def extension(lineage: Sequence[bytes]) -> x509.UnrecognizedExtension:
    """What states a lineage in a certificate."""
    return x509.UnrecognizedExtension(OID, element(OCTET_STRING, b"".join(lineage)))


def continued(chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """The lineage of what replaces the leaf of a verified chain, DER, the leaf first, the root last.

    Raises ValueError.
    """
    before = stated(x509.load_der_x509_certificate(chain[0]))
    (leaf, *between) = [forms(der, issuer) for der, issuer in pairwise(chain)] or [(sha256(chain[0]).digest(),)]
    return _shortened((*(before or leaf), *(one for both in between for one in both)))


def _shortened(lineage: Iterable[bytes]) -> tuple[bytes, ...]:
    """Each once, where it came first; of too many the oldest but the origin are left out."""
    found = tuple(dict.fromkeys(lineage))
    return found if len(found) <= LINEAGE_MAX else found[:_ORIGIN] + found[_ORIGIN - LINEAGE_MAX :]
