"""The options that all commands share which publish."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from gossipconf.cli.publish.publishing import Publishing, publishing
from gossipconf.cli.reference import AGENTS, commands
from gossipconf.cli.see.wait import Goal, Wait


def given(*words: str) -> tuple[str, Publishing]:
    """What a command is called with that has an argument of its own and all that is shared."""
    found: list[tuple[str, Publishing]] = []
    app = typer.Typer()

    @app.command()
    @publishing
    def command(key: Annotated[str, typer.Argument()], *, how: Publishing) -> None:
        found.append((key, how))

    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    return found[0]


def test_without_options_it_is_as_the_class_says():
    assert given("a") == ("a", Publishing())


def test_options_reach_the_command():
    key, how = given("a", "--ticket", "OPS-1", "--comment", "why", "--propose-to", "f", "--agent", "b")
    assert (key, how.propose_to, how.agent) == ("a", Path("f"), Path("b"))
    assert how.reason() == "[OPS-1] why"
    assert how.delivery().path == Path("f")


def test_what_they_say_together():
    delivery = Publishing(wait="3", timeout="1m", dry_run=True).delivery(["none"], 17)
    assert delivery.wait == Wait(Goal("3", number=3), 60.0)
    assert (delivery.dry_run, delivery.if_version, delivery.activation_ms) == (True, ["none"], 17)
    assert Publishing(ticket="OPS-1").reason("undoes it") == "[OPS-1] undoes it"
    with pytest.raises(typer.BadParameter):
        Publishing(wait="3", propose=True).delivery()


def test_whoever_may_propose_has_all_of_them():
    shared = {one.name for one in fields(Publishing)}
    parameters = {name: {one.name for one in command.params} for name, command in commands(AGENTS)}
    may_propose = {name.removeprefix("gossipconf ") for name, names in parameters.items() if "propose" in names}
    assert {"put", "delete", "apply", "edit", "import", "rollback", "schema remove"} <= may_propose
    assert [name for name in may_propose if not shared <= parameters[f"gossipconf {name}"]] == []
