"""Completion as a shell asks for it: keys, prefixes and changes of the agent, and silence where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from gossipconf.cli import completion
from gossipconf.cli.main import app


@pytest.fixture
def complete(monkeypatch):
    """The words that bash offers for a command line; in a process of its own, as a shell does it."""

    def call(*words: str, directory) -> list[str]:
        line = " ".join(words)
        environment = {"_GOSSIPCONF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        monkeypatch.chdir(directory)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        program = "from gossipconf.cli.__main__ import main; main()"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert result.stderr == ""
        return result.stdout.split()

    return call


def test_keys_prefixes_and_changes_are_completed(cluster, run, complete):
    change = run("put", "comp/one", "1").out.split()[-1]
    run("put", "comp/two/a", "1")
    run("put", "compare", "1")
    assert complete("gossipconf", "get", "comp/", directory=cluster) == ["comp/one", "comp/two/a"]
    assert complete("gossipconf", "get", "compa", directory=cluster) == ["compare"]
    assert complete("gossipconf", "list", "comp/t", directory=cluster) == ["comp/two"]
    assert complete("gossipconf", "acks", change[:6], directory=cluster) == [change]
    assert "_policy/1" not in complete("gossipconf", "get", "''", directory=cluster)
    assert complete("gossipconf", "get", "_policy/", directory=cluster) == ["_policy/1"]


def test_where_nobody_answers_nothing_is_completed_and_nothing_said(complete, tmp_path):
    assert complete("gossipconf", "get", "a", directory=tmp_path) == []


def test_arguments_are_completed_by_what_they_are_called():
    assert completion._completer("FILE|DIR") is None
    for metavar in ("KEY", "KEY|PREFIX", "[PREFIX|FILE]", "CHANGE [KEY|PREFIX…]", "KEY|CHANGE"):
        assert completion._completer(metavar) is not None


def test_commands_are_left_alone_where_no_shell_completes(monkeypatch):
    monkeypatch.delenv(completion.VARIABLE, raising=False)
    monkeypatch.setattr(completion, "_complete", lambda callback: pytest.fail("not wanted"))
    completion.install(app)


def test_the_scripts_of_shells_can_be_had():
    command = typer.main.get_command(app)
    assert {"--install-completion", "--show-completion"} <= {name for one in command.params for name in one.opts}
    assert f"_{app.info.name.upper()}_COMPLETE" == completion.VARIABLE
