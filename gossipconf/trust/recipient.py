"""Recipient keys: the X25519 keys to which values are sealed, and their files.

A private half is held by an agent, beside its TLS key, or by a person. Files are
PEM as OpenSSL writes them (`openssl genpkey -algorithm X25519`). Knows nothing of
certificates, which say whose key one is (`runtime.recipients`), and of envelopes (`sealed`).
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ..model.errors import FormatError, KeyFileError
from ..model.hashing import RECIPIENT_TAG, tagged_hash
from .files import read_bounded, write_new

RECIPIENT_KEY_BYTES: Final = 32
RECIPIENT_ID_BYTES: Final = 16
"""As writer ids: two keys of one id are found after 2^64 attempts, and only deceive him who made them."""

PEM_BYTES_MAX: Final = 4_096
"""An X25519 key in PEM has 119 bytes; anything much larger is another file."""

_PRIME: Final = (1 << 255) - 19
"""Coordinates are numbers below it; larger ones are other spellings of small ones."""


class RecipientKey:
    """A private key that opens what is sealed to it. Its text form shows the id only."""

    __slots__ = ("_private", "id", "public")

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()
        self.id: bytes = recipient_id(self.public)

    @classmethod
    def generate(cls) -> RecipientKey:
        """A new random key."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> RecipientKey:
        """The key of 32 bytes: for one envelope, for test vectors."""
        return cls(X25519PrivateKey.from_private_bytes(seed))

    def agree(self, public: bytes) -> bytes:
        """The 32 bytes that only the holders of the two private keys know. Raises FormatError as `check_recipient`."""
        if len(public) != RECIPIENT_KEY_BYTES:
            raise FormatError(f"an X25519 public key has {RECIPIENT_KEY_BYTES} bytes, not {len(public)}")
        if int.from_bytes(public, "little") >= _PRIME:
            raise FormatError("an X25519 public key that is not in its one shortest form; make a new key")
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise FormatError("an X25519 public key of low order, with which nothing stays secret") from None

    def save(self, path: Path) -> None:
        """Write the private key (mode 0600) and ``path``.pub beside it. Raises KeyFileError rather than overwrite."""
        write_new(path, self.private_pem(), 0o600)
        write_new(path.with_name(path.name + ".pub"), public_pem(self.public), 0o644)

    def private_pem(self) -> bytes:
        """The private key as its file has it: PKCS #8 in PEM, without a passphrase."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def __repr__(self) -> str:
        return f"RecipientKey({self.id.hex()})"


def load_recipient_key(path: Path) -> RecipientKey:
    """Read a private key. Raises KeyFileError naming the file and the mend."""
    data = read_bounded(path, PEM_BYTES_MAX)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(f"{path} has a passphrase, which nobody is there to type; store it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, X25519PrivateKey):
        raise KeyFileError(f"{path} is not an X25519 private key in PEM; make one with: gossipconf seal key FILE")
    return RecipientKey(private)


def recipient_id(public: bytes) -> bytes:
    """How envelopes name a recipient: 16 bytes of a hash of its public key."""
    return tagged_hash(RECIPIENT_TAG, public)[:RECIPIENT_ID_BYTES]


_PROBE: Final = RecipientKey.from_seed(bytes(RECIPIENT_KEY_BYTES))
"""A key that is not secret: points of low order give zero with any key, so they are found by trying one."""


def check_recipient(public: bytes) -> bytes:
    """``public`` if something can be sealed to it. Raises FormatError.

    Not so if it is no X25519 key, if it is spelled in a way that would give one key two ids, or if
    it is a point of low order: what is agreed with those is known to everybody.
    """
    _PROBE.agree(public)
    return public


def public_pem(public: bytes) -> bytes:
    """A public key as its file has it: SubjectPublicKeyInfo in PEM."""
    return X25519PublicKey.from_public_bytes(public).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_public_pem(data: bytes, where: str) -> bytes:
    """The 32 bytes of a public key in PEM. Raises KeyFileError that begins with ``where``."""
    try:
        public = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, X25519PublicKey):
        raise KeyFileError(f"{where}: not an X25519 public key in PEM; make a pair with: gossipconf seal key FILE")
    try:
        return check_recipient(public.public_bytes_raw())
    except FormatError as error:
        raise KeyFileError(f"{where}: {error}") from None
