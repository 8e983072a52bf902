"""`agent run` with HTTP: the command line puts agent and server together, and ends both."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Agents

READY = "ready for commands"


@pytest.fixture
def directory(agents: Agents) -> Path:
    """A node that was made and not started, whose settings name a socket for HTTP."""
    agents.make("a")
    directory = agents.directory / "nodes" / "a"
    with (directory / "agent.toml").open("a") as file:
        file.write('\nhttp = "./http.sock"\n')
    return directory


def test_an_agent_answers_http_until_it_is_told_to_stop(directory: Path) -> None:
    command = [sys.executable, "-m", "gossipconf.cli", "agent", "run", str(directory)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            begin = []
            for line in process.stderr:
                begin.append(line)
                if READY in line:
                    break
            assert any("HTTP is answered at" in line for line in begin), begin
            transport = httpx.HTTPTransport(uds=str(directory / "http.sock"))
            with httpx.Client(transport=transport, base_url="http://agent", timeout=30) as client:
                assert client.get("/health/ready").json()["status"] == "ready"
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert "Traceback" not in rest
    assert not (directory / "http.sock").exists()


def test_what_is_wrong_with_the_option_is_told_in_one_line(directory: Path, run) -> None:
    (directory / "http.sock").write_text("mine")
    result = run("agent", "run", directory)
    assert result.code != 0
    assert "option 'http': Unix socket" in result.err
    assert "Traceback" not in result.err
