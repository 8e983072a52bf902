"""Ed25519 keys: files in OpenSSH's format and in PEM, signing and verifying.

A private key is only ever held by the program that signs (the command line) or by an
ssh-agent, never by an agent of ours. Public keys travel as their 32 raw bytes and are
shown to people as OpenSSH shows them, `SHA256:…`.

Knows files and passphrases that it is handed. Who is asked for one, and the ssh-agent,
are the command line's.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
import shlex
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..model.errors import BadSignature, FormatError, KeyFileError, WrongPassphrase
from .files import write_new
from .ssh_wire import ED25519, Reader, ed25519_of, public_blob

PUBLIC_BEGINNINGS: Final = (b"ssh-", b"-----BEGIN PUBLIC KEY-----")
"""How public keys begin, in OpenSSH's format and in PEM."""
KEY_FILE_BYTES_MAX = 16_384
"""An OpenSSH Ed25519 key file has about 400 bytes; anything much larger is another file."""

PARSED_KEYS_MAX = 1_024
"""Parsed public keys kept: as many as a policy is likely to name at once."""

OPENSSH_BEGIN: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
OPENSSH_END: Final = b"-----END OPENSSH PRIVATE KEY-----"
OPENSSH_MAGIC: Final = b"openssh-key-v1\0"
"""Cipher, its key's derivation, number of keys and the first public key follow in the clear (PROTOCOL.key)."""

Ask = Callable[[], bytes]
"""Gives the passphrase of a file that turns out to have one."""


class Signer(ABC):
    """Whatever signs with one key: a file's key or an ssh-agent's. Its text form shows the public part only."""

    __slots__ = ("public",)

    public: bytes
    """32 raw bytes."""

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``message``: the same bytes, whoever signs with the key."""

    @staticmethod
    def generate() -> PrivateKey:
        """A new random key."""
        return PrivateKey(Ed25519PrivateKey.generate())

    @staticmethod
    def from_seed(seed: bytes) -> PrivateKey:
        """The key of a 32-byte seed: for test vectors and simulations."""
        return PrivateKey(Ed25519PrivateKey.from_private_bytes(seed))

    def __repr__(self) -> str:
        return f"Signer({fingerprint(self.public)})"


class PrivateKey(Signer):
    """A private key in this process's memory."""

    __slots__ = ("_private",)

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``message``."""
        return self._private.sign(message)

    def save(self, path: Path, comment: str = "", passphrase: bytes | None = None) -> None:
        """Write the private key (mode 0600) and ``path``.pub beside it. Raises KeyFileError rather than overwrite."""
        if passphrase is not None and not _has_bcrypt():
            raise KeyFileError(f"{path} is not written: {_NO_BCRYPT}")
        private = self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase),
        )
        write_new(path, private, 0o600)
        write_new(path.with_name(path.name + ".pub"), public_line(self.public, comment).encode() + b"\n", 0o644)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as a file or an ssh-agent has it."""

    public: bytes
    """32 raw bytes."""
    comment: str = ""
    """Whatever somebody wrote there: escape it before a terminal sees it."""


_NO_BCRYPT: Final = "passphrases of OpenSSH's format need bcrypt; install it with: pip install 'gossipconf[cli]'"


def load_signer(path: Path, ask: Ask | None = None) -> PrivateKey:
    """Read an OpenSSH or PKCS#8 private key; ``ask`` is called if it has a passphrase.

    Raises WrongPassphrase, or KeyFileError naming the file and the mend.
    """
    data = _read(path, is_private=True)
    try:
        private = _parsed_private(data, None)
    except TypeError:
        private = _opened(path, data, ask)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path} is not a private key in OpenSSH's format or PEM (PKCS#8)") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key; make one with: gossipconf key new PATH")
    return PrivateKey(private)


def load_public(path: Path) -> bytes:
    """Read an OpenSSH public key (`ssh-ed25519 AAAA… comment`) as 32 raw bytes. Raises KeyFileError."""
    return read_public(path).public


def read_public(path: Path) -> PublicKey:
    """Read an OpenSSH public key with its comment. Raises KeyFileError."""
    data = _read(path)
    try:
        public = serialization.load_ssh_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path} is not a public key in OpenSSH's format") from None
    if not isinstance(public, Ed25519PublicKey):
        raise KeyFileError(f"{path} is not an Ed25519 key")
    words = data.split(b"\n", 1)[0].split(None, 2)
    return PublicKey(public.public_bytes_raw(), words[2].decode(errors="replace").strip() if len(words) > 2 else "")


def public_of(path: Path, opened: Callable[[Path], Signer] = load_signer) -> PublicKey:
    """The public part of a public or private key file; ``opened`` reads one in which even that is encrypted (PEM).

    A private file's comment is that of the ``.pub`` beside it. Raises as ``opened`` does, and as `load_public`.
    """
    data = _read(path)
    if b"PRIVATE KEY-----" not in data:
        return read_public(path)
    data = _read(path, is_private=True)
    public = _public_in_the_clear(data) or opened(path).public
    try:
        beside = read_public(path.with_name(path.name + ".pub"))
    except KeyFileError:  # there is none, or it is something else
        return PublicKey(public)
    return beside if beside.public == public else PublicKey(public)


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Raise BadSignature unless ``signature`` is ``public``'s over ``message``."""
    try:
        _parsed(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadSignature(f"the signature by {fingerprint(public)} does not verify") from None


def fingerprint(public: bytes) -> str:
    """A public key as OpenSSH shows it: SHA256: and unpadded base64 over the key blob."""
    return "SHA256:" + base64.b64encode(sha256(public_blob(public)).digest()).rstrip(b"=").decode()


def public_line(public: bytes, comment: str = "") -> str:
    """A public key as a line of a .pub file, without its end."""
    return f"{ED25519.decode()} {base64.b64encode(public_blob(public)).decode()} {comment}".rstrip()


@lru_cache(maxsize=PARSED_KEYS_MAX)
def _parsed(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def _has_bcrypt() -> bool:
    """Whether cryptography can derive keys as OpenSSH does; an agent is installed without."""
    return importlib.util.find_spec("bcrypt") is not None


def _parsed_private(data: bytes, passphrase: bytes | None) -> object:
    """The key in ``data``. Raises TypeError without a passphrase where one is needed, ValueError, or others."""
    if OPENSSH_BEGIN in data:
        return serialization.load_ssh_private_key(data, passphrase)
    return serialization.load_pem_private_key(data, passphrase)


def _opened(path: Path, data: bytes, ask: Ask | None) -> object:
    """The key in ``data`` by the passphrase that ``ask`` gives."""
    if OPENSSH_BEGIN in data and not _has_bcrypt():
        raise KeyFileError(f"{path} cannot be opened: {_NO_BCRYPT}")
    if ask is None:
        raise KeyFileError(f"{path} has a passphrase, and nobody is there to give it")
    passphrase = ask()
    if not passphrase:
        raise WrongPassphrase(f"{path} has a passphrase, and an empty one was given")
    try:
        return _parsed_private(data, passphrase)
    except ValueError:
        raise WrongPassphrase(f"{path} is not opened by this passphrase (or is damaged)") from None
    except UnsupportedAlgorithm:
        raise KeyFileError(
            f"{path} is encrypted in a way that is not known here; change it with: "
            f"ssh-keygen -p -Z aes256-ctr -f {shlex.quote(str(path))}"
        ) from None


def _public_in_the_clear(data: bytes) -> bytes | None:
    """The public key that an OpenSSH private key file shows without its passphrase; None if it shows none."""
    begin, end = data.find(OPENSSH_BEGIN), data.find(OPENSSH_END)
    if begin < 0 or end < begin:
        return None
    try:
        blob = base64.b64decode(b"".join(data[begin + len(OPENSSH_BEGIN) : end].split()), validate=True)
        if not blob.startswith(OPENSSH_MAGIC):
            return None
        reader = Reader(blob[len(OPENSSH_MAGIC) :], "the key file")
        for _ in ("cipher", "derivation", "its options"):
            reader.string()
        return ed25519_of(reader.string()) if reader.number() == 1 else None
    except (binascii.Error, FormatError):
        return None


def _read(path: Path, *, is_private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"{path} is not a key file: more than {KEY_FILE_BYTES_MAX} bytes")
    if is_private and data.startswith(PUBLIC_BEGINNINGS):
        raise KeyFileError(f"{path} is a public key; name the private one, which is usually beside it without .pub")
    if is_private and mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {shlex.quote(str(path))}")
    return data
