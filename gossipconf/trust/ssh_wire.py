"""SSH's wire form: strings behind their length, Ed25519 public keys and signatures (RFC 4251, RFC 8709).

Knows bytes. Knows no files and no sockets: key files, fingerprints and the ssh-agent's messages are all made of these.
"""

from __future__ import annotations

from typing import Final

from ..model.errors import FormatError

ED25519: Final = b"ssh-ed25519"
"""The only type of key that signs here. Certificates and keys on security tokens have types of their own."""

PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
LENGTH_BYTES: Final = 4


def string(data: bytes) -> bytes:
    """`data` behind its length."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def public_blob(public: bytes) -> bytes:
    """A public key, 32 raw bytes, as SSH carries it."""
    return string(ED25519) + string(public)


def ed25519_of(blob: bytes) -> bytes | None:
    """The 32 raw bytes of an Ed25519 key; None for a key of another type. Raises FormatError for what is no key."""
    reader = Reader(blob, "a public key")
    if reader.string() != ED25519:
        return None
    public = reader.string()
    reader.end()
    if len(public) != PUBLIC_BYTES:
        raise FormatError(f"an Ed25519 public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    return public


def signature_of(blob: bytes) -> bytes:
    """The 64 raw bytes of an Ed25519 signature. Raises FormatError."""
    reader = Reader(blob, "a signature")
    kind, signature = reader.string(), reader.string()
    reader.end()
    if kind != ED25519 or len(signature) != SIGNATURE_BYTES:
        raise FormatError(f"an Ed25519 signature has {SIGNATURE_BYTES} bytes and says so")
    return signature


class Reader:
    """Reads one field after another; what is claimed beyond the end is refused, and nothing allocated for it."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        """`what` names the data in errors."""
        self._data = data
        self._what = what
        self._at = 0

    def byte(self) -> int:
        """One byte as a number. Raises FormatError."""
        return self._take(1)[0]

    def number(self) -> int:
        """A number of 32 bits. Raises FormatError."""
        return int.from_bytes(self._take(LENGTH_BYTES), "big")

    def string(self) -> bytes:
        """A string without its length. Raises FormatError."""
        return self._take(self.number())

    def end(self) -> None:
        """Raise FormatError unless all has been read."""
        if self._at != len(self._data):
            raise FormatError(f"{self._what} has {len(self._data) - self._at} bytes too many")

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise FormatError(f"{self._what} ends too early")
        self._at += size
        return self._data[self._at - size : self._at]
