"""The benchmark as a command: a small run, and what stands in its way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "propagation", *options]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("peer", "package"),
    [("serf", "'serf'"), ("etcd", "'etcd-server'"), ("all", "'serf'")],
)
def test_a_missing_peer_is_told_before_anything_is_started(tmp_path: Path, peer: str, package: str) -> None:
    result = run("--peer", peer, path=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("error: there is no program")
    assert f"install Debian's package {package}" in result.stderr


@pytest.mark.parametrize(
    "options",
    [("--agents", "0"), ("--agents", "255"), ("--changes", "0"), ("--value-bytes", "3"), ("--publishers", "33")],
)
def test_options_that_cannot_be_are_refused_by_name(options: tuple[str, str]) -> None:
    result = run(*options)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {options[0]} ")


@pytest.mark.slow
def test_three_agents_deliver_and_leave_nothing_behind(tmp_path: Path) -> None:
    result = run("--agents", "3", "--changes", "5", "--every-ms", "20", "--directory", str(tmp_path))
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)["systems"]["gossipconf"]
    assert figures["last_delivery_ms"]["n"] == 5
    assert figures["stragglers"]["missing"] == 0
    assert figures["any_delivery_ms"]["n"] == 15
    assert figures["processes"] == {"agent": 3}
    assert figures["memory_per_agent"]["pss_mib"] > 0
    if "traffic" not in figures:  # else this machine lets us have no network of our own
        assert figures["per_change_per_agent"]["payload_bytes"] > 100
    assert list(tmp_path.iterdir()) == []
