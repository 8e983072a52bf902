"""A scenario as the text of its file: every option with its value, so that no default that changes later matters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ..options import options_of
from .scenario import LISTS, TABLES, Scenario

DELETE: Final = "\x7f"
"""The one character that JSON allows in a string and TOML does not."""


def dump(scenario: Scenario) -> str:
    """TOML that `scenario.load` reads as ``scenario``, but for its name."""
    parts = ["\n".join(_options(scenario))]
    parts += [_table(f"[{name}]", getattr(scenario, name)) for name in TABLES]
    parts += [_table(f"[[{name}]]", one) for name in LISTS for one in getattr(scenario, name)]
    parts += [_table("[[faults]]", fault, f"kind = {spelled(fault.KIND)}") for fault in scenario.faults]
    return "\n\n".join(parts) + "\n"


def _table(heading: str, record: Any, *first: str) -> str:
    return "\n".join([heading, *first, *_options(record)])


def _options(record: Any) -> Iterator[str]:
    for field, _, _ in options_of(type(record)):
        value = getattr(record, field.name)
        if value is not None:
            yield f"{field.name} = {spelled(value)}"


def spelled(value: Any) -> str:
    """A value in TOML, which has the strings of JSON and the numbers of Python."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace(DELETE, "\\u007f")
    return repr(value)
