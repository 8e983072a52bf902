"""Ed25519 keys: files in OpenSSH's format, signing and verifying.

A private key is only ever held by the program that signs (the command line), never
by an agent. Public keys travel as their 32 raw bytes and are shown to people as
OpenSSH shows them, `SHA256:…`.
"""

from __future__ import annotations

import base64
import stat
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..model.errors import BadSignature, KeyFileError
from .files import write_new

KEY_FILE_BYTES_MAX = 16_384
"""An OpenSSH Ed25519 key file has about 400 bytes; anything much larger is another file."""

PARSED_KEYS_MAX = 1_024
"""Parsed public keys kept: as many as a policy is likely to name at once."""


class Signer:
    """A private key that can sign. Its text form shows the public part only."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Signer:
        """A new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """The key of a 32-byte seed: for test vectors and simulations."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``message``."""
        return self._private.sign(message)

    def save(self, path: Path, comment: str = "") -> None:
        """Write the private key (mode 0600) and ``path``.pub beside it. Raises KeyFileError rather than overwrite."""
        private = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        public = self._private.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_new(path, private, 0o600)
        write_new(path.with_name(path.name + ".pub"), public + b" " + comment.encode() + b"\n", 0o644)

    def __repr__(self) -> str:
        return f"Signer({fingerprint(self.public)})"


def load_signer(path: Path) -> Signer:
    """Read an OpenSSH private key. Raises KeyFileError naming the file and the mend."""
    data = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
    try:
        private = serialization.load_ssh_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(f"{path} has a passphrase, which this version cannot ask for") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path} is not a private key in OpenSSH's format") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key; make one with: ssh-keygen -t ed25519")
    return Signer(private)


def load_public(path: Path) -> bytes:
    """Read an OpenSSH public key (`ssh-ed25519 AAAA… comment`) as 32 raw bytes. Raises KeyFileError."""
    try:
        public = serialization.load_ssh_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path} is not a public key in OpenSSH's format") from None
    if not isinstance(public, Ed25519PublicKey):
        raise KeyFileError(f"{path} is not an Ed25519 key")
    return public.public_bytes_raw()


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Raise BadSignature unless ``signature`` is ``public``'s over ``message``."""
    try:
        _parsed(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadSignature(f"the signature by {fingerprint(public)} does not verify") from None


def fingerprint(public: bytes) -> str:
    """A public key as OpenSSH shows it: SHA256: and unpadded base64 over the key blob."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + public
    return "SHA256:" + base64.b64encode(sha256(blob).digest()).rstrip(b"=").decode()


@lru_cache(maxsize=PARSED_KEYS_MAX)
def _parsed(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"{path} is not a key file: more than {KEY_FILE_BYTES_MAX} bytes")
    return data
