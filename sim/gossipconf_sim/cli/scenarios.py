"""What can be simulated: `scenarios`. The shipped ones, their text, and every option there is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from gossipconf.model.errors import InvalidInput

from .folding import print_folded
from .output import STDOUT, JsonOption, check_json, say, stdout, write_json

if TYPE_CHECKING:
    from ..scenario.reference import Entry
    from ..scenario.scenario import Scenario

COLUMNS: Final = {"SCENARIO": "left", "NODES": "right", "CHANGES": "right", "WITH": "left", "DESCRIPTION": "left"}
OPTION_COLUMNS: Final = {"OPTION": "left", "DEFAULT": "left", "VALUES": "left", "MEANING": "left"}

VALUES_MAX: Final = 26
"""What the allowed values may take of a line, and the kinds of fault: three of them."""


def scenarios(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this scenario's file instead: a name, or a .toml file.")
    ] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Show every option that a scenario can have, and every kind of fault.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """List the scenarios that come with the simulator.

    `gossipconf-sim run` plays one. A copy of its text is the start of one's own: save it
    in a .toml file, change it, and name that file instead.

    \b
    Examples:
      gossipconf-sim scenarios
      gossipconf-sim scenarios partition-heal > mine.toml
      gossipconf-sim scenarios --options
    """
    if name is not None and options:
        raise InvalidInput("--options shows those of all scenarios; leave out the name")
    check_json(json_file)
    if options:
        _show_options(json_file)
    elif name is not None:
        _show_one(name, json_file)
    else:
        _show_all(json_file)


def _show_all(json_file: str | None) -> None:
    from ..scenario.scenario import load, shipped  # noqa: PLC0415 - the protocol, which --help needs not

    found = [load(name) for name in shipped()]
    if json_file is not None:
        write_json(json_file, [summary(one) for one in found])
    if json_file != STDOUT:
        print_folded(COLUMNS, [_row(summary(one)) for one in found], {"WITH": VALUES_MAX})


def summary(scenario: Scenario) -> dict[str, Any]:
    """What a scenario is, and how large."""
    return {
        "name": scenario.name,
        "nodes": scenario.nodes,
        "changes": scenario.publish.changes,
        "zones": len(scenario.zones),
        "faults": [fault.KIND for fault in scenario.faults],
        "hostile": sum(one.share for one in scenario.hostile),
        "description": scenario.description,
    }


def _row(about: Mapping[str, Any]) -> list[str]:
    besides = [
        *([f"{about['zones']:,} zones"] if about["zones"] else []),
        *([f"{about['hostile']:.0%} hostile"] if about["hostile"] else []),
        *about["faults"],
    ]
    return [
        about["name"],
        f"{about['nodes']:,}",
        f"{about['changes']:,}",
        ", ".join(besides),
        about["description"],
    ]


def _show_one(name: str, json_file: str | None) -> None:
    from ..scenario.scenario import load, source  # noqa: PLC0415

    if json_file is not None:
        from dataclasses import asdict  # noqa: PLC0415

        scenario = load(name)
        faults = [{"kind": fault.KIND, **asdict(fault)} for fault in scenario.faults]
        write_json(json_file, {**asdict(scenario), "faults": faults})
    if json_file != STDOUT:
        text = source(name)
        if stdout().is_terminal:
            say(text.rstrip("\n"))
        else:
            sys.stdout.write(text)  # byte by byte, for who makes a file of it


def _show_options(json_file: str | None) -> None:
    from ..scenario.reference import sections  # noqa: PLC0415

    found = list(sections())
    if json_file is not None:
        write_json(
            json_file,
            [
                {"table": one.heading, "about": one.about, "options": [entry.to_json() for entry in one.entries]}
                for one in found
            ],
        )
    if json_file == STDOUT:
        return
    for number, section in enumerate(found):
        if number:
            say()
        say(Text(section.heading or "a scenario", "bold"))
        say(section.about)
        print_folded(OPTION_COLUMNS, [_option_row(entry) for entry in section.entries], {"VALUES": VALUES_MAX})


def _option_row(entry: Entry) -> list[str]:
    default = "must be given" if entry.required else entry.default or "none"
    return [entry.name, default, entry.allowed or entry.kind, entry.meaning]
