"""What a file looks like, for people who have named the wrong one.

By its first bytes only; it verifies nothing and decides nothing.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from pathlib import Path
from typing import Final

from ..model.errors import FormatError, KeyFileError

CHECKPOINT: Final = "a checkpoint"
CLUSTER: Final = "a cluster file"
DRAFT: Final = "a draft of a policy"
PROPOSAL: Final = "a proposal of a change"
TICKET: Final = "a join ticket"

_COMMANDS: Final = {
    CHECKPOINT: "gossipconf checkpoint inspect",
    DRAFT: "gossipconf policy sign",
    PROPOSAL: "gossipconf approve",
}
"""What takes a file of each kind."""

_BEGINNINGS: Final = (
    (re.compile(rb"\Z"), "an empty file"),
    (re.compile(rb"gossipconf checkpoint "), CHECKPOINT),
    (re.compile(rb"[\x90-\x9f].\xa8a policy", re.DOTALL), DRAFT),
    (re.compile(rb"[\x90-\x9f].\xa8a change", re.DOTALL), PROPOSAL),
    (re.compile(rb"\x93.[\xc4\xc5].{1,2}\x95", re.DOTALL), CLUSTER),
    (re.compile(rb".*-----BEGIN GOSSIPCONF CLUSTER FILE-----", re.DOTALL), TICKET),
    (re.compile(rb"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(rb"\s*-----BEGIN CERTIFICATE-----"), "a certificate in PEM"),
    (re.compile(rb"\s*-----BEGIN "), "a PEM file"),
    (re.compile(rb"ssh-[a-z0-9-]+ "), "a public key"),
    (re.compile(rb"SQLite format 3\0"), "a journal or another database"),
)
BYTES_LOOKED_AT: Final = 1 << 14
"""Of a file: a ticket's certificates and key come before what tells it."""
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0e-\x1f]")
_UTF8: Final = getincrementaldecoder("utf-8")


def kind_of(data: bytes) -> str | None:
    """What a file with ``data`` seems to be, with its article; None if it could be anything."""
    data = data[:BYTES_LOOKED_AT]
    for beginning, kind in _BEGINNINGS:
        if beginning.match(data):
            return kind
    try:
        text = _UTF8().decode(data)  # which may end within a character
    except UnicodeDecodeError:
        return None
    return None if _UNPRINTABLE.search(text) else "a text"


def wrong_kind(expected: str, data: bytes) -> str | None:
    """In what a file that should be of the kind ``expected`` differs, in words; None if it does look so."""
    kind = kind_of(data)
    if kind == expected:
        return None
    if kind is None:
        return "it is no file that gossipconf writes"
    return f"it is {kind}" + (f"; use: {_COMMANDS[kind]}" if kind in _COMMANDS else "")


def unusable(path: Path, expected: str, data: bytes, error: Exception) -> KeyFileError:
    """The error for a file that should be of the kind ``expected`` and led to ``error``."""
    wrong = wrong_kind(expected, data)
    if wrong is None:
        wrong = f"it is cut off or damaged ({error})" if isinstance(error, FormatError) else str(error)
    return KeyFileError(f"{path} is not {expected}: {wrong}")
