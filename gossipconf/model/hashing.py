"""SHA-256 under domain tags: no hash of one kind can stand for another kind."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32

GENESIS_TAG: Final = b"gossipconf/genesis/1\0"
CHANGE_TAG: Final = b"gossipconf/change/1\0"
VERSION_TAG: Final = b"gossipconf/version/1\0"
WRITER_TAG: Final = b"gossipconf/writer/1\0"
FORK_TAG: Final = b"gossipconf/fork/1\0"
SIGNER_TAG: Final = b"gossipconf/signer/1\0"
SIGNATURE_TAG: Final = b"gossipconf/signature/1\0"
RECIPIENT_TAG: Final = b"gossipconf/recipient/1\0"
PLACE_TAG: Final = b"gossipconf/place/1\0"
WRAP_TAG: Final = b"gossipconf/wrap/1\0"
SEAL_TAG: Final = b"gossipconf/seal/1\0"
SNAPSHOT_TAG: Final = b"gossipconf/snapshot/1\0"
CONTENTS_TAG: Final = b"gossipconf/contents/1\0"
SHARE_TAG: Final = b"gossipconf/share/1\0"
STATEMENT_TAG: Final = b"gossipconf/statement/1\0"
SAID_TAG: Final = b"gossipconf/said/1\0"
EPOCH_TAG: Final = b"gossipconf/epoch/1\0"
EPOCH_CONTENTS_TAG: Final = b"gossipconf/epoch-contents/1\0"
REMOVAL_TAG: Final = b"gossipconf/removal/1\0"
COMMITTED_TAG: Final = b"gossipconf/committed/1\0"


def tagged_hash(tag: bytes, *parts: bytes) -> bytes:
    """SHA-256 of ``tag`` and the concatenated ``parts`` (all but the last must be of fixed length)."""
    digest = sha256(tag)
    for part in parts:
        digest.update(part)
    return digest.digest()
