"""The file of a sweep: what is swept in its first line, then a line a run, in the order in which they ended.

A line is whole when it has its end, so a kill at any moment leaves a file that the same
sweep goes on from. Lines are JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gossipconf.model.errors import InvalidInput

from .grid import Job, Row, Sweep, key_of


@dataclass(slots=True)
class SweepFile:
    """The results of one sweep on disk: a line that says what is swept, then a line a run, in any order.

    A line is whole when it has its end: what a kill has torn is cut off and run again.
    """

    path: Path
    sweep: Sweep
    rows: list[Row] = field(default_factory=list)
    _file: Any = None

    def __enter__(self) -> Self:
        """Open it, and read what is there. Raises InvalidInput for a file of anything else."""
        try:
            self._file = open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
            self._check_kind()
            self._lock()
            self._read()
        except OSError as error:
            self._close()
            raise InvalidInput(f"{self.path} cannot be written: {error.strerror}") from None
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def pending(self) -> list[Job]:
        """The jobs that have no row yet."""
        done = {row.job.key for row in self.rows}
        return [job for job in self.sweep.jobs() if job.key not in done]

    def append(self, row: Row) -> None:
        """Keep a row. Raises InvalidInput where the disk takes no more."""
        self._write(_line(row.to_json()))
        self.rows.append(row)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _check_kind(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # some devices could be read for ever
            raise InvalidInput(f"{self.path} is no regular file: a sweep could not go on from it")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(f"{self.path} is being written by another sweep; wait for it, or use --out") from None

    def _read(self) -> None:
        first, *lines = self._file.read().split(b"\n")
        header = _line({"sweep": self.sweep.header()})
        if not lines:
            if not header.startswith(first):
                raise self._foreign()
            self._begin(header)
            return
        torn = lines.pop()
        differs = self._difference(first)
        if differs and not lines:  # nothing would be lost
            self._begin(header)
            return
        if differs:
            raise InvalidInput(
                f"{self.path} holds the results of another sweep: {differs}; name another file with --out"
            )
        jobs = {job.key: job for job in self.sweep.jobs()}
        self.rows += [self._row(jobs, number, line) for number, line in enumerate(lines, start=2)]
        if torn:
            self._file.truncate(self._file.seek(-len(torn), os.SEEK_END))

    def _begin(self, header: bytes) -> None:
        self._file.truncate(self._file.seek(0))
        self._write(header)

    def _difference(self, first: bytes) -> str:
        """How the sweep of a first line is another one; empty if it is not. Raises InvalidInput if it is none."""
        try:
            there = json.loads(first)["sweep"]
            names = dict.fromkeys([*self.sweep.header(), *there])
        except (ValueError, TypeError, KeyError):
            raise self._foreign() from None
        here = self.sweep.header()
        for name in names:
            # As texts: 1, 1.0 and true are equal in Python, and make different rows.
            told, wanted = (json.dumps(one.get(name), sort_keys=True) for one in (there, here))
            if told != wanted:
                is_text = name == "text"
                return "the scenario's text has changed" if is_text else f"{name} is {told} there and {wanted} here"
        return ""

    def _foreign(self) -> InvalidInput:
        return InvalidInput(f"{self.path} is a file of something else than a sweep; name another with --out")

    def _row(self, jobs: Mapping[str, Job], number: int, line: bytes) -> Row:
        try:
            values = json.loads(line)
            return Row(jobs[key_of(values["point"], values["seed"])], dict(values["result"]))
        except (ValueError, TypeError, KeyError):
            raise InvalidInput(
                f"{self.path} is damaged: its line {number} is no run of this sweep; remove the line"
            ) from None

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise InvalidInput(f"{self.path} cannot be written: {error.strerror}") from None


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"
