"""PEM files: keys and certificates read, pairs and dates checked, and every bad file refused by its name.

Knows files and X.509. Knows nothing of what a certificate says of its owner (see `pki`), nor of TLS.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from gossipconf.model.errors import KeyFileError


def is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether *issuer* has signed *certificate*, or is the same."""
    return certificate == issuer or is_signed(certificate, issuer)  # a chain file may end with the root itself


def is_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the key of *issuer* has signed *certificate*, and the names fit."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):  # another name, an unusable key, another key
        return False
    return True


def check_dates(certificate: x509.Certificate, path: Path, now: datetime, mend: str) -> None:
    """Raise `KeyFileError`, with the *mend*, unless *certificate* is valid at the time *now*."""
    if now >= certificate.not_valid_after_utc:
        raise KeyFileError(f"{path}: expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; {mend}")
    if now < certificate.not_valid_before_utc:
        raise KeyFileError(
            f"{path}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "check this machine's clock"
        )


def check_pair(key: PrivateKeyTypes, certificate: x509.Certificate, key_path: Path, path: Path) -> None:
    """Raise `KeyFileError` unless the private *key* is that of *certificate*."""
    try:
        certified = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: its public key is of a kind that is not known: {error}") from error
    if _public_bytes(key.public_key()) != _public_bytes(certified):
        raise KeyFileError(f"{key_path} is not the key of {path}; use the two that were issued together")


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file, in order; at least one. Raises `KeyFileError`."""
    try:
        return x509.load_pem_x509_certificates(read_file(path))
    except ValueError as error:
        raise KeyFileError(f"{path}: not a PEM certificate, or a damaged one") from error


def read_key(path: Path) -> PrivateKeyTypes:
    """The private key of a PEM file. Raises `KeyFileError`, also for one that others may read or with a passphrase."""
    data = read_file(path)
    check_private(path)
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(
            f"{path}: the private key has a passphrase, and an agent starts with nobody there to type it; "
            "store it without one, mode 0600"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: not a PEM private key, or a damaged one") from error


def check_private(path: Path) -> None:
    """Raise `KeyFileError` if others may read the file, which holds a private key."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:  # it has gone since it was read
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise KeyFileError(f"{path}: others may read this private key (mode {mode:04o}); run: chmod 600 {path}")


def read_file(path: Path) -> bytes:
    """All bytes of a file. Raises `KeyFileError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error


def prepare(directory: Path, *names: str) -> None:
    """Make *directory* if needed; raise `KeyFileError` if it is none, or one of *names* is in it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"{directory}: cannot be made: {error.strerror}") from error
    for name in names:
        if os.path.lexists(directory / name):
            raise KeyFileError(
                f"{directory / name} exists and is not overwritten; move it away or choose another directory"
            )
