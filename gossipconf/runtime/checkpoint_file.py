"""Checkpoint files: reading one, and filling an empty journal from one.

The file is verified whole before a byte is written; then all of it is written in one
transaction. So a file that is refused, or a crash, leaves the disk as empty as it was.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

from ..model.encoding import encode
from ..model.errors import CheckpointError, InvalidInput, Rejected
from ..protocol.confirmation import Comparisons
from ..protocol.replica import SAVED_POLICIES
from ..store.checkpoint import Checkpoint, Sealed, check_size
from ..store.journal import Journal
from ..store.journal_ops import PutMeta
from ..trust.chain import PolicyChain


def read(path: Path) -> Sealed:
    """Take a file apart; nothing in it is verified yet. Raises CheckpointError that names it."""
    try:
        with path.open("rb") as file, _named(path):
            check_size(path.stat().st_size)
            return Sealed.read(file)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from None


def open_file(path: Path, chain: PolicyChain, now_ms: int, skew_ms: int) -> Checkpoint:
    """Read and verify a file; ``chain`` learns its policies. Raises CheckpointError that names it."""
    sealed = read(path)
    with _named(path), without_collections():
        return sealed.open(chain, now_ms, skew_ms)


def fill(journal: Journal, checkpoint: Checkpoint) -> Comparisons:
    """Fill an empty journal with what ``checkpoint`` holds. Raises JournalWriteFailed; then nothing is written."""
    comparisons = Comparisons(checkpoint.snapshot.statement.time_ms)
    journal.fill(
        [(change.id, data) for change, data in checkpoint.parts],
        [PutMeta(SAVED_POLICIES, encode(checkpoint.policies)), comparisons.op()],
    )
    return comparisons


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (InvalidInput, Rejected) as error:
        raise CheckpointError(f"checkpoint {path} is refused: {error}") from None


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Keep the collector from looking, now and later, at a million new objects of which none is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what is here by now stays; a full collection would otherwise pass over all of it each time
        if was_enabled:
            gc.enable()
