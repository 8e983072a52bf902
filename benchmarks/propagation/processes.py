"""Processes of a measured system: started together, ended for certain, and what the kernel says of their use."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from .errors import BenchmarkError

FAREWELL_S: Final = 5.0
"""How long all processes may take to end before they are killed."""
LOG_TAIL_BYTES: Final = 2_000
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
KIB_PER_MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Started:
    """A process of ours. ``kind``: what it is to the system, such as agent or member."""

    kind: str
    process: subprocess.Popen[bytes]
    log: Path


class Processes:
    """A context manager: no process outlives it, whatever happens inside."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.started: list[Started] = []

    def start(
        self,
        kind: str,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        piped: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start ``command``; its output goes to a log, or with ``piped`` its standard output to us."""
        log = self._directory / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else file,
                stderr=file,
                bufsize=0,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the benchmark, which then ends them itself
            )
        self.started.append(Started(kind, process, log))
        return process

    def check(self) -> None:
        """Raise BenchmarkError, with the end of its log, if one has ended by itself."""
        for one in self.started:
            if one.process.poll() is not None:
                end = _log_end(one.log)
                raise BenchmarkError(f"{one.process.args!r} has ended (code {one.process.returncode}): {end}")

    def log_end(self, name: str) -> str:
        """The last lines that the process of this name has written."""
        return _log_end(self._directory / f"{name}.log")

    def end(self) -> None:
        """End all: SIGTERM, then SIGKILL."""
        for one in self.started:
            one.process.terminate()
        deadline_s = time.monotonic() + FAREWELL_S
        for one in self.started:
            try:
                one.process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            if one.process.stdout is not None:
                one.process.stdout.close()
        self.started.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end()
        except BaseException:  # a second Ctrl-C
            for one in self.started:
                one.process.kill()
            raise

    # -- use --------------------------------------------------------------------------------------

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds, of the user and of the system, since their starts; summed by kind."""
        total: dict[str, float] = {}
        for one in self.started:
            stat = Path(f"/proc/{one.process.pid}/stat").read_text(encoding="utf-8", errors="replace")
            total[one.kind] = total.get(one.kind, 0.0) + parse_cpu_ticks(stat) * TICK_S
        return total

    def memory_mib(self) -> dict[str, dict[str, float]]:
        """Of each kind the mean of a process: RSS, and PSS, which divides shared pages among who shares them."""
        pages: dict[str, list[tuple[int, int]]] = {}
        for one in self.started:
            rollup = Path(f"/proc/{one.process.pid}/smaps_rollup").read_text(encoding="ascii")
            pages.setdefault(one.kind, []).append(parse_memory_kib(rollup))
        return {
            kind: {
                name: round(sum(one[column] for one in found) / len(found) / KIB_PER_MIB, 1)
                for column, name in enumerate(("rss_mib", "pss_mib"))
            }
            for kind, found in pages.items()
        }


def _log_end(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()


def parse_cpu_ticks(stat: str) -> int:
    """utime + stime of `/proc/PID/stat`; the name in parentheses may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def parse_memory_kib(rollup: str) -> tuple[int, int]:
    """(RSS, PSS) of `/proc/PID/smaps_rollup`."""
    found: dict[str, Any] = {}
    for line in rollup.splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0])
    return found["Rss"], found["Pss"]


def wait_until(what: str, condition: Any, processes: Processes, *, limit_s: float, pace_s: float = 0.1) -> None:
    """Ask again and again until ``condition`` holds. Raises BenchmarkError after ``limit_s``."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        processes.check()
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"not within {limit_s:g} s: {what}")
        time.sleep(pace_s)
