"""The trace of a run: every input that any node was given, in order. Equal seeds must give equal traces."""

from __future__ import annotations

import enum
import json
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from gossipconf.model.errors import InvalidInput

from .interning import Interning

BUFFER_BYTES: Final = 1 << 16
"""Hashed at once."""

_RECORD: Final = Struct("<dBIIII")


class Input(enum.IntEnum):
    """What a node can be given."""

    START = 0
    CRASH = 1
    CONNECTED = 2
    CONNECT_FAILED = 3
    DISCONNECTED = 4
    RECEIVED = 5
    DROPPED = 6
    TIMER = 7
    PERSISTED = 8
    PUBLISH = 9
    STOP = 10
    RESOLVED = 11
    RESOLVE_FAILED = 12
    ASK = 13
    CANCEL = 14
    RECALLED = 15
    SAY = 16


class Trace:
    """A hash over all inputs: their times, hosts, kinds and contents."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._buffer = bytearray()

    def note(self, now_s: float, kind: Input, host: int, data: bytes = b"", about: int = 0) -> None:
        """Take in one input of host number ``host``; ``about``: the link, or the number of what else."""
        self._buffer += _RECORD.pack(now_s, kind, host, about, len(data), crc32(data))
        if len(self._buffer) >= BUFFER_BYTES:
            self._hash.update(self._buffer)
            self._buffer.clear()

    def hexdigest(self) -> str:
        """The SHA-256 of all inputs so far."""
        self._hash.update(self._buffer)
        self._buffer.clear()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Nothing more will come."""


class TraceFile(Trace):
    """As `Trace`, and each input as a line of JSON in a file.

    Raises InvalidInput for a file that cannot be written.
    """

    def __init__(self, path: Path, interning: Interning) -> None:
        super().__init__()
        self._interning = interning
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{path} cannot be written: {error.strerror}") from None

    def note(self, now_s: float, kind: Input, host: int, data: bytes = b"", about: int = 0) -> None:
        """Take in one input, and write it."""
        super().note(now_s, kind, host, data, about)
        line: dict[str, object] = {"s": round(now_s, 9), "host": host, "input": kind.name.lower()}
        if kind is Input.RECEIVED:
            message = self._interning.message(data)
            line |= {"message": type(message).__name__, "bytes": len(data)}
        elif data:
            line["about"] = data.hex() if kind is Input.PUBLISH else data.decode(errors="replace")
        if about:
            line["number" if kind in {Input.PUBLISH, Input.PERSISTED, Input.ASK, Input.CANCEL} else "link"] = about
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
