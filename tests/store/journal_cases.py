"""What the tests of the journal share: rows to write, and processes that die with a journal open."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gossipconf.model.errors import (
    JournalError,
)
from gossipconf.store.journal import Journal, PutChange, Retire
from gossipconf.store.journal_file import beside

CLUSTER = bytes(range(32))
ROOT = Path(__file__).parents[2]


def open_at(path: Path, cluster_id: bytes = CLUSTER, node_id: str = "checkout-7") -> Journal:
    return Journal.open(path, cluster_id=cluster_id, node_id=node_id)


def retire(number: int, key: str = "a/b", retired_ms: int = 0, change: int | None = None) -> Retire:
    return Retire(
        version_id=hashlib.sha256(b"v%d" % number).digest(),
        change_id=hashlib.sha256(b"c%d" % (number if change is None else change)).digest(),
        key=key,
        variant="",
        writer=b"w" * 40,
        seq=number,
        time_ms=number,
        retired_ms=retired_ms,
        data=b"data %d" % number,
    )


def put(number: int, data: bytes = b"") -> PutChange:
    return PutChange(hashlib.sha256(b"p%d" % number).digest(), data or b"change %d" % number)


def contents(journal: Journal) -> tuple[Any, ...]:
    return (
        sorted(journal.changes()),
        journal.meta(),
        journal.history_after(("", b""), limit=1_000_000),
        journal.retired_headers(1_000_000),
    )


def files(directory: Path) -> dict[str, bytes]:
    """Every file of a directory with its bytes."""
    return {found.name: found.read_bytes() for found in sorted(directory.iterdir())}


def refused(path: Path, error: type[JournalError], **whose: Any) -> str:
    """Opening raises exactly this, names path and mend, and leaves the directory as it was."""
    beside(path, "-lock").unlink(missing_ok=True)  # of a killed process; it says nothing
    before = files(path.parent)
    with pytest.raises(error) as caught:
        open_at(path, **whose)
    assert type(caught.value) is error
    assert files(path.parent) == before
    message = str(caught.value)
    assert str(path) in message
    return message


def killed_while(path: Path, code: str, *arguments: object) -> None:
    """Run code in a process that has the journal of ``path`` open and that kills itself."""
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from gossipconf.store.journal import *\n"
        f"journal = Journal.open(Path({str(path)!r}), cluster_id={CLUSTER!r}, node_id='checkout-7')\n"
        f"{code}\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


BATCHES = """
for number in range(int(sys.argv[1])):
    size = int(sys.argv[2])
    journal.commit([PutChange(b"%d/%d" % (number, row), b"%d" % number + b"x" * size) for row in range(3)]
                   + [PutMeta("last", b"%d" % number)])
"""
"""So many batches, of rows of so many bytes."""
