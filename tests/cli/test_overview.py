"""What `--help` says of groups of commands."""

from __future__ import annotations

import re

import pytest
import typer

from gossipconf.cli.main import app
from gossipconf.cli.overview import SECTIONS, Overview


def groups():
    root = typer.main.get_command(app)
    return [root, *(one for one in root.commands.values() if hasattr(one, "commands"))]


def test_every_command_is_in_one_section():
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(typer.main.get_command(app).commands)


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.name)
def test_commands_are_told_in_whole_sentences(group):
    assert isinstance(group, Overview), "cls=Overview where it is added"
    context = group.make_context(group.name, [], resilient_parsing=True)
    text = group.get_help(context)
    listed = text.partition("Exit codes:")[0]
    assert "..." not in listed.replace("COMMAND [ARGS]...", "")
    assert max(map(len, listed.splitlines())) <= 80
    for name in group.commands:
        assert re.search(rf"^  {name} +[A-Z]", listed, re.MULTILINE)
