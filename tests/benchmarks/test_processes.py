"""Processes are ended whatever happens, and their use is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.propagation.errors import BenchmarkError
from benchmarks.propagation.processes import TICK_S, Processes, parse_cpu_ticks, parse_memory_kib, wait_until

SLEEP = [sys.executable, "-c", "print('here', flush=True); import time; time.sleep(600)"]
BUSY = [
    sys.executable,
    "-c",
    "import time\nwhile time.process_time() < 0.2: pass\nprint('here', flush=True)\ntime.sleep(600)",
]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)",
]


def test_the_name_in_stat_may_hold_anything() -> None:
    assert parse_cpu_ticks("7 (a) b (c) S 1 7 7 0 -1 4194304 500 0 0 0 31 12 0 0 20 0 1 0") == 43


def test_memory_is_read() -> None:
    text = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:   20480 kB\nPss:   10240 kB\nPss_Dirty:  1 kB\n"
    assert parse_memory_kib(text) == (20_480, 10_240)


def test_use_is_summed_by_kind(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        for number in range(2):
            process = processes.start("agent", f"a{number}", BUSY, piped=True)
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
        cpu_s = processes.cpu_s()
        assert list(cpu_s) == ["agent"]
        assert cpu_s["agent"] >= 2 * 0.2 - 4 * TICK_S  # the user's and the system's part of each is rounded down
        memory = processes.memory_mib()["agent"]
        assert memory["rss_mib"] >= memory["pss_mib"] > 0


@pytest.mark.parametrize("command", [SLEEP, DEAF])
def test_no_process_outlives_an_error(tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.propagation.processes.FAREWELL_S", 0.1)
    started: list[subprocess.Popen[bytes]] = []

    def fail_with_processes() -> None:
        with Processes(tmp_path) as processes:
            process = processes.start("agent", "a", command, piped=True)
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_with_processes()
    assert started[0].poll() is not None


def test_one_that_ends_by_itself_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start("agent", "a", [sys.executable, "-c", "raise SystemExit('no such disk')"])
        process.wait()
        with pytest.raises(BenchmarkError, match=r"code 1.*no such disk"):
            processes.check()


def test_waiting_ends_at_its_limit(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes, pytest.raises(BenchmarkError, match="not within 0 s: it rains"):
        wait_until("it rains", lambda: False, processes, limit_s=0.0, pace_s=0.0)
