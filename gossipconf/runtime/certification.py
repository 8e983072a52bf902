"""Certification: whether a CA stands for a node's certificate, without a TLS handshake to ask.

Links leave this to OpenSSL. Whoever seals has only the certificate, and OpenSSL cannot
be asked from Python about one alone; the verifier of `cryptography` refuses CAs whose
names are constrained, as that of a join ticket is. So the rules of RFC 5280 that
concern us are here, each failing closed: what is not understood certifies nothing.

What a verified chain says beyond X.509 is `pki.read_chain`'s, here as for links.

Not looked at: revocation lists, certificate policies, and constraints on intermediates' own names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from ..model.errors import KeyFileError, TransportError
from .pem import is_signed
from .pki import PeerIdentity, read_chain

Extension = TypeVar("Extension", bound=x509.ExtensionType)

INTERMEDIATES_MAX: Final = 4
"""Between a leaf and its CA; `create_ca` allows one, large companies have two."""

_UNDERSTOOD: Final = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    )
)
"""The extensions whose being critical is heeded here."""


class NotCertified(KeyFileError):
    """No CA stands for a certificate; says why."""


def check_certified(
    leaf: x509.Certificate,
    intermediates: Iterable[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> PeerIdentity:
    """For whom one of ``roots`` stands at ``now`` by ``leaf``, as a link's peer would see it. Raises NotCertified."""
    try:
        chain = _chain(leaf, list(intermediates), roots, now)
        return read_chain([one.public_bytes(Encoding.DER) for one in chain])
    except TransportError as error:
        raise NotCertified(str(error)) from None
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise NotCertified(f"a certificate of its chain cannot be read: {error}") from None


def _chain(
    leaf: x509.Certificate, intermediates: Iterable[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> Sequence[x509.Certificate]:
    """The leaf, what is between, and the root that stands for it."""
    _check_alone(leaf, now)
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise NotCertified("it is no certificate for connecting to others")
    above = _issuers(leaf, list(intermediates), roots, now)
    for depth, issuer in enumerate(above):
        _check_depth(issuer, depth)
        _check_names(issuer, leaf)
    return [leaf, *above]


def _issuers(
    leaf: x509.Certificate, left: list[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> Sequence[x509.Certificate]:
    """What is above the leaf, up to the root; of several ways a shortest.

    Looked for from the roots down: a key verifies nothing before a CA stands for it. What a verification costs is the
    choice of whoever made the key, and with RSA it may be a thousand times the usual.
    """
    certified: list[tuple[x509.Certificate, ...]] = [(root,) for root in roots]
    refusal = NotCertified("its issuer is neither the CA nor in the file")
    for chain in certified:  # it grows: breadth first
        issuer = chain[0]
        try:
            _check_alone(issuer, now)
            _check_issuer(issuer)
        except NotCertified as error:
            if any(one.issuer == issuer.subject for one in (leaf, *left)):
                refusal = error
            continue
        if is_signed(leaf, issuer):
            return chain
        below = [one for one in left if is_signed(one, issuer)]
        if below and len(chain) > INTERMEDIATES_MAX:
            refusal = NotCertified(f"more than {INTERMEDIATES_MAX} certificates are between it and the CA")
            continue
        certified += [(one, *chain) for one in below]
        left = [one for one in left if one not in below]  # so that no circle is walked
    raise refusal


def _check_alone(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise NotCertified(
            f"{certificate.subject.rfc4514_string()} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC only"
        )
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise NotCertified(f"it has a critical extension that is not understood, {extension.oid.dotted_string}")


def _check_issuer(issuer: x509.Certificate) -> None:
    """It may issue."""
    basic, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise NotCertified(f"its issuer {issuer.subject.rfc4514_string()} is no CA")


def _check_depth(issuer: x509.Certificate, depth: int) -> None:
    """It may have ``depth`` CAs between itself and the leaf."""
    basic = _extension(issuer, x509.BasicConstraints)
    if basic is not None and basic.path_length is not None and basic.path_length < depth:
        raise NotCertified(f"{issuer.subject.rfc4514_string()} may not have {depth} CAs below it")


def _check_names(issuer: x509.Certificate, leaf: x509.Certificate) -> None:
    """The names of ``leaf`` are within those to which ``issuer`` is constrained."""
    constraints = _extension(issuer, x509.NameConstraints)
    if constraints is None:
        return
    permitted = constraints.permitted_subtrees or ()
    if constraints.excluded_subtrees or any(
        not isinstance(one, x509.UniformResourceIdentifier | x509.DirectoryName) for one in permitted
    ):
        raise NotCertified(f"{issuer.subject.rfc4514_string()} has name constraints that are not understood")
    hosts = [one.value for one in permitted if isinstance(one, x509.UniformResourceIdentifier)]
    alternative = _extension(leaf, x509.SubjectAlternativeName)
    uris = [] if alternative is None else alternative.get_values_for_type(x509.UniformResourceIdentifier)
    if hosts and any(urlsplit(uri).hostname not in hosts for uri in uris):
        raise NotCertified(f"its names are not among those that {issuer.subject.rfc4514_string()} may certify")
    directories = [list(one.value.rdns) for one in permitted if isinstance(one, x509.DirectoryName)]
    subject = list(leaf.subject.rdns)
    if directories and not any(subject[: len(one)] == one for one in directories):
        raise NotCertified(f"its subject is not among those that {issuer.subject.rfc4514_string()} may certify")


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
