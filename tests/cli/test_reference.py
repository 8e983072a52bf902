"""The command reference: up to date and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.cli.reference import AGENTS, PAGES, SIMULATOR, commands, main, recipe, reference

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date():
    assert (ROOT / PAGES[AGENTS].path).read_text(encoding="utf-8") == reference(), f"run: {recipe()}"


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_has_help_and_an_example(name, command):
    text, _, examples = command.help.partition("\b\nExample")
    assert len(text.strip().splitlines()[0]) <= 72
    assert f"  {name}" in examples
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help


NO_JSON = {
    "gossipconf export": "it writes documents",
    "gossipconf policy edit": "it makes a draft, a file",
    "gossipconf policy settle": "it makes a draft, a file",
    "gossipconf policy node revoke": "it makes a draft, a file",
    "gossipconf policy node restore": "it makes a draft, a file",
    "gossipconf policy issuer add": "it makes a draft, a file",
    "gossipconf policy issuer remove": "it makes a draft, a file",
    "gossipconf policy publish": "it publishes what was shown and signed before",
    "gossipconf stage remove": "it makes a draft, a file",
}
NO_DRY_RUN = {
    "gossipconf checkpoint create": "it writes a file",
    "gossipconf beacon run": "it signs for ever, and no values",
}


NO_WAIT = {
    "gossipconf stage prepare": "`stage commit` waits for its outcome",
    "gossipconf stage abort": "it waits for the end of the stage",
}


def options(command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def test_what_reads_has_json_and_what_publishes_shows_it_first_and_waits():
    asking = {name: options(command) for name, command in commands() if "--agent" in options(command)}
    publishing = {name: has for name, has in asking.items() if "--key" in has}
    assert {name for name, has in asking.items() if name not in publishing and "--json" not in has} == set(NO_JSON)
    assert {name for name, has in publishing.items() if "--dry-run" not in has} == set(NO_DRY_RUN)
    assert {name for name, has in publishing.items() if "--comment" in has and "--wait" not in has} == set(NO_WAIT)


@pytest.mark.parametrize(("arguments", "module"), [([], AGENTS), ([SIMULATOR], SIMULATOR)])
def test_the_recipe_on_a_page_makes_that_page(capsys, arguments, module):
    main(arguments)
    page = capsys.readouterr().out
    assert page == reference(module)
    assert f"`{recipe(module)}`" in page
    assert recipe(module).split() == ["python", "-m", "gossipconf.cli.reference", *arguments, ">", PAGES[module].path]


@pytest.mark.parametrize("arguments", [["gossipconf.cli"], [AGENTS, SIMULATOR]])
def test_a_module_that_is_no_command(arguments):
    with pytest.raises(SystemExit, match=f"error: name one of {AGENTS}, {SIMULATOR}"):
        main(arguments)


def test_make_docs_makes_every_page():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for module in PAGES:
        assert f"$(BIN)/{recipe(module)}\n" in makefile
