"""The simulator's command, run in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from gossipconf_sim.cli.main import main


@dataclass(frozen=True)
class Result:
    """What one command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd):
    """Run a command and return its exit code and output; it must end by an exit, not by a traceback."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(exit_.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def error(run):
    """The one line in which a command says why it fails; it shows nothing else."""

    def call(*arguments: object, code: int = 1) -> str:
        result = run(*arguments)
        assert (result.code, result.out) == (code, "")
        (line,) = result.err.splitlines()
        return line

    return call


@pytest.fixture
def target(tmp_path) -> Path:
    """A file to write to, not there yet."""
    return tmp_path / "out.json"
