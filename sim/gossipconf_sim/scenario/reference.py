"""Catalogue: every option of a scenario file with its meaning, default and what is allowed.

    python -m gossipconf_sim.scenario.reference > docs/simulator-options.md

Made from the records themselves, as their errors are; a test compares the page.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..options import MISSING, options_of
from .faults import FAULTS
from .scenario import LISTS, TABLES, Scenario
from .text import spelled

PAGE: Final = "docs/simulator-options.md"
RECIPE: Final = f"python -m gossipconf_sim.scenario.reference > {PAGE}"

INTRODUCTION: Final = """\
A scenario is a TOML file, or one that comes with the package (`gossipconf-sim scenarios`). Every option can
be set on the command line too: `--set network.loss=0.3`, or `--set faults.0.for_s=600` for the first fault of
the file. What is left out has its default. Units are in the names: `_s`, `_ms`, `_us`, `_bytes`. A range is
`[least, most]`; one number stands for both."""

KINDS: Final = {int: "whole number", float: "number", bool: "true or false", str: "string"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One option. ``default`` is in TOML; empty where a value must be given, or where none is the default."""

    name: str
    meaning: str
    kind: str
    default: str
    allowed: str
    required: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Section:
    """The options of one table: how its heading is written in a file, and what it is for."""

    heading: str
    about: str
    entries: tuple[Entry, ...]


def sections() -> Iterator[Section]:
    """All tables of a scenario file, in the order in which a file has them."""
    yield Section("", "Above all tables.", _entries(Scenario))
    for name, kind in TABLES.items():
        yield Section(f"[{name}]", _about(kind), _entries(kind))
    for name, kind in LISTS.items():
        yield Section(f"[[{name}]]", _about(kind), _entries(kind))
    for name, fault in FAULTS.items():
        yield Section(f'[[faults]] kind = "{name}"', _about(fault), _entries(fault))


def _about(kind: type[Any]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _entries(kind: type[Any]) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            field.name,
            about.meaning,
            _kind(hint),
            "" if field.default is MISSING or field.default is None else spelled(field.default),
            about.allowed(),
            field.default is MISSING,
        )
        for field, about, hint in options_of(kind)
    )


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    return "range" if typing.get_origin(hint) is tuple else KINDS[hint]


def page() -> str:
    """The page of all options, in Markdown."""
    parts = ["# Options of the simulator", f"<!-- Made by `{RECIPE}`; a test compares. -->", INTRODUCTION]
    for section in sections():
        title = f"## `{section.heading}`" if section.heading else "## The scenario itself"
        rows = [
            f"| `{entry.name}` | {_cell(entry.meaning)} | {_default(entry)} | {_cell(_values(entry))} |"
            for entry in section.entries
        ]
        table = "\n".join(["| option | meaning | default | values |", "|---|---|---|---|", *rows])
        parts += [title, section.about, table]
    return "\n\n".join(parts) + "\n"


def _default(entry: Entry) -> str:
    if entry.required:
        return "must be given"
    return f"`{_cell(entry.default)}`" if entry.default else "none"


def _values(entry: Entry) -> str:
    """The type and what is allowed of it; a choice says both."""
    if not entry.allowed or entry.kind == "string":
        return entry.allowed or entry.kind
    return f"{entry.kind}, {entry.allowed}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
