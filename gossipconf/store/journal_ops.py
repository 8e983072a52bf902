"""What can be asked of a journal: plain records, so that the protocol can name them without a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PutChange:
    """Keep these bytes of a change, in place of what was kept of it before."""

    change_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class DropChange:
    """Nothing of this change lives any more. No matter if nothing was kept."""

    change_id: bytes


@dataclass(frozen=True, slots=True)
class Retire:
    """A superseded or void version moves to local history; (key, version_id) names it, the first stays."""

    version_id: bytes
    change_id: bytes
    key: str
    variant: str
    writer: bytes
    seq: int
    time_ms: int
    retired_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PutMeta:
    """Keep a small named state (address book, scores, incarnations), in place of the one before."""

    name: str
    value: bytes


JournalOp: TypeAlias = PutChange | DropChange | Retire | PutMeta
