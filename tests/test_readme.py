"""The tour in the README works when pasted."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOUR_LIMIT_S = 120
"""Three agents start twice; a machine that is busy with other tests takes a while."""


def test_tour(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    tour = text[text.index("## Five minutes") : text.index("## Simulate before you roll out")]
    blocks = re.findall(r"```sh\n(.*?)```", tour, re.S)
    assert len(blocks) == 4
    script = "\n".join(blocks)
    script = script.replace(". .venv/bin/activate\n", "")
    for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", script))):
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{_free_port()}")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("gossipconf", path=path) is None:
        pytest.skip("the command gossipconf is not installed beside this Python")
    try:
        result = _run(script, tmp_path, path)
    finally:
        _end_agents(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    said = result.stdout
    assert "published 405 keys" in said
    assert said.index("first try") < said.index("3 agents: all hold the same state")
    assert re.search(r"live .* good morning", said)
    assert re.search(r"replaced .* hello", said)
    assert not (tmp_path / "tour").exists()


def _run(script: str, directory: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=TOUR_LIMIT_S,
        check=False,
    )


def _end_agents(directory: Path) -> None:
    """A tour that stops half-way leaves its agents' pids behind."""
    for file in directory.glob("tour/nodes/*/pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
