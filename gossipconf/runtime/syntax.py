"""Syntax: text in JSON, YAML or TOML to trees of plain values, and published values to the same.

Knows the formats, and what their libraries would pass over in silence: duplicate
keys, NaN, aliases that contain themselves or ask for gigabytes. Knows nothing of
files and keys.

All are UTF-8. YAML is read by the core schema of YAML 1.2:
``no``, ``12:30``, ``1_000`` and 2024-01-31 are text, 1e3 is a number, 010 is ten;
``<<`` merges, as everybody expects.

Errors name the file, the line where the parser tells it and the key, never a
value. They are InvalidInput or, for a limit, LimitExceeded.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Final

from ..model.entry import ValueType
from ..model.errors import InvalidInput, LimitExceeded

DEPTH_MAX: Final = 64
"""Mappings and lists inside one another. People write 5 to 10; the parsers recurse and break at some 300."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a file holds, and the line of each nested mapping key where the parser tells it."""

    root: object
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A value that a document gives a type and just these bytes: `!json`, `!yaml`, `!toml` or `!bytes` in YAML."""

    type: ValueType
    content: bytes


class ParserMissing(Exception):
    """The library that reads a format is not installed; the text is its name. An agent goes on without."""


def parse_value(value_type: ValueType, value: bytes) -> object:
    """What a published value means, for display: text → str; json, yaml, toml → str, int, float,
    bool, None, list and dict; bytes and sealed → the bytes as they are.

    Raises InvalidInput if the bytes are not what the type says, and ParserMissing.
    """
    if value_type in {ValueType.BYTES, ValueType.SEALED}:
        return value
    where = f"the {value_type.name.lower()} value"
    text = decode_text(value, where)
    match value_type:
        case ValueType.TEXT:
            return text
        case ValueType.JSON:
            tree = _read_json(text, where)
        case ValueType.YAML:
            tree = _read_yaml(text, where)
        case ValueType.TOML:
            tree = _read_toml(text, where)
        case _:
            raise InvalidInput(f"{where} is of a type that this version does not know")
    return plain(tree.root, 0, where)


def plain(value: object, depth: int, where: str) -> object:
    """`value` in what JSON can say: dates as RFC 3339, no NaN or infinity, not too deep."""
    if depth > DEPTH_MAX:
        raise LimitExceeded(f"{where}: nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        return {key: plain(item, depth + 1, where) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1, where) for item in value]
    if isinstance(value, Verbatim):
        raise InvalidInput(f"{where}: !{value.type.name.lower()} gives the type of a whole value, not of a part of one")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{where}: NaN, infinity or beyond a 64-bit float; quote it to publish it as text")
    if isinstance(value, datetime | date | time):
        return re.sub(r"\+00:00\Z", "Z", value.isoformat())
    return value


def decode_text(content: bytes, name: str) -> str:
    """The text that `content` is in UTF-8. Raises InvalidInput that begins with `name`."""
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: not UTF-8 at byte {error.start}; convert it") from None


# -- formats to trees -----------------------------------------------------------------------------


def _read_json(text: str, name: str) -> Tree:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key, value in pairs:
            if key in mapping:
                raise InvalidInput(f"{name}: key {key!r} is twice in one object; keep one of the two")
            mapping[key] = value
        return mapping

    try:
        return Tree(json.loads(text, object_pairs_hook=unique))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{name}:{error.lineno}: not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise LimitExceeded(f"{name}: nested deeper than {DEPTH_MAX}") from None
    except ValueError:
        raise InvalidInput(f"{name}: a number of thousands of digits; quote it to publish it as text") from None


def _read_toml(text: str, name: str) -> Tree:
    try:
        return Tree(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        problem, _, at = str(error).rpartition(" (at ")
        told = re.match(r"line (\d+)", at)  # or "end of document"
        line = int(told[1]) if told else text.rstrip("\n").count("\n") + 1
        if problem == "Cannot overwrite a value":  # a duplicate, and tomllib does not say of what
            key = re.match(r"\s*([\w.-]+)\s*=", text.splitlines()[line - 1])
            problem = f"key {key[1]!r} is twice; keep one of the two" if key else "a key is twice"
        raise InvalidInput(f"{name}:{line}: not TOML: {problem}") from None
    except RecursionError:
        raise LimitExceeded(f"{name}: nested deeper than {DEPTH_MAX}") from None
    except ValueError:
        raise InvalidInput(f"{name}: a number or date that does not exist or is too long") from None


def _read_yaml(text: str, name: str) -> Tree:
    try:
        from .yaml_syntax import read_yaml  # noqa: PLC0415 - PyYAML, which not every agent has
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gossipconf"):
            raise
        raise ParserMissing(error.name or "yaml") from None
    return read_yaml(text, name)


TREE_READERS: Final[Mapping[str, Callable[[str, str], Tree]]] = {
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".json": _read_json,
    ".toml": _read_toml,
}
"""The formats of trees, by file name."""
