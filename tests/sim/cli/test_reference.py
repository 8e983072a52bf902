"""The simulator's command reference: up to date and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.cli.reference import PAGES, SIMULATOR, commands, recipe, reference

PAGE = Path(__file__).parents[3] / PAGES[SIMULATOR].path


def test_the_reference_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference(SIMULATOR), f"run: {recipe(SIMULATOR)}"


def test_the_reference_names_what_must_be_given_and_what_is_taken_otherwise():
    page = reference(SIMULATOR)
    assert "\ngossipconf-sim rounds [OPTIONS] ALGORITHM --nodes N\n" in page
    assert "(default: 0.0) |" in page


@pytest.mark.parametrize(("name", "command"), list(commands(SIMULATOR)))
def test_every_command_has_help_and_an_example(name, command):
    text, _, examples = command.help.partition("\b\nExample")
    assert name.startswith("gossipconf-sim ")
    assert len(text.strip().splitlines()[0]) <= 72
    assert f"  {name}" in examples
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help
