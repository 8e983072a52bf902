"""Exit codes: each that the table names can be reached, and no other is used here."""

from __future__ import annotations

import pytest

from gossipconf.cli import exits
from gossipconf.cli.main import main
from gossipconf.cli.see import read


def interrupt(target):
    raise KeyboardInterrupt


def reached(cluster, run, monkeypatch, tmp_path) -> dict[int, tuple[str, ...]]:
    """A command for each code, by what it ended with."""
    (tmp_path / "never.json").write_text("false")
    assert run("schema", "set", "exits/never", tmp_path / "never.json").code == 0
    commands = [
        ("put", "exits/a", "1", "--wait", "all"),
        ("put", "_exits", "1"),
        ("put", "exits/a", "2", "--dry-run"),
        ("get", "exits/none"),
        ("get", "exits/a", "--agent", str(tmp_path / "nobody.sock")),
        ("put", "exits/a", "3", "--wait", "99", "--timeout", "100ms"),
        ("put", "exits/a", "4", "--if-version", "0123456789"),
        ("put", "exits/never", "1"),
    ]
    found = {run(*command).code: command for command in commands}
    with monkeypatch.context() as patch:
        patch.setattr(read, "open_session", interrupt)
        found[run("list").code] = ("list",)
    return found


def test_every_code_can_be_reached(cluster, run, monkeypatch, tmp_path):
    found = reached(cluster, run, monkeypatch, tmp_path)
    assert {*found, exits.FENCED} == set(exits.MEANINGS), "test_stage reaches that one, with a policy of its own"
    assert len(found) == len(exits.MEANINGS) - 1


def test_wrong_usage_has_the_code_of_a_difference(run):
    assert run("put").code == exits.DIFFERENCE
    assert run("nonsense").code == exits.DIFFERENCE


def test_help_names_every_code(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out.partition("Exit codes:")[2]
    for code in exits.MEANINGS:
        assert f"{code:>5}  " in shown
    assert max(map(len, shown.splitlines())) <= exits.HELP_COLUMNS + 2
