"""Syntax: text in JSON, YAML, TOML or ``.properties`` to trees of plain values, and published values to the same.

Knows the formats, and what their libraries would pass over in silence: duplicate
keys, NaN, aliases that contain themselves or ask for gigabytes. Knows nothing of
directories and little of keys (``documents`` does).

All are UTF-8, ``.properties`` too. YAML is read by the core schema of YAML 1.2:
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Final

import javaproperties
import yaml

from ..model.entry import ValueType
from ..model.errors import InvalidInput, LimitExceeded

DEPTH_MAX: Final = 64
"""Mappings and lists inside one another. People write 5 to 10; the parsers recurse and break at some 300."""

REPEATED_CHARACTERS_MAX: Final = 1 << 20
"""What YAML aliases may repeat in one file: as much as one value. Nine lines of them can ask for gigabytes."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a file holds, and the line of each nested mapping key where the parser tells it."""

    root: object
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a file, and the mapping keys that lead to it. `source`: `file` or `file:line`."""

    path: tuple[str, ...]
    value: object
    source: str


def parse_value(value_type: ValueType, value: bytes) -> object:
    """What a published value means, for display: text → str; json, yaml, toml → str, int, float,
    bool, None, list and dict; bytes and sealed → the bytes as they are.

    Raises InvalidInput if the bytes are not what the type says.
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
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{where}: NaN, infinity or beyond a 64-bit float; quote it to publish it as text")
    if isinstance(value, datetime | date | time):
        return re.sub(r"\+00:00\Z", "Z", value.isoformat())
    return value


def decode_text(content: bytes, name: str) -> str:
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


def read_properties(text: str, name: str) -> Iterator[Leaf]:
    line = 1
    try:
        for element in javaproperties.parse(re.sub(r"\r\n?", "\n", text)):
            if isinstance(element, javaproperties.KeyValue):
                yield Leaf(tuple(element.key.split(".")), element.value, f"{name}:{line}")
            line += element.source.count("\n")
    except javaproperties.InvalidUEscapeError:
        raise InvalidInput(f"{name}:{line}: a \\u escape that is not followed by four hexadecimal digits") from None


class _CoreLoader(yaml.SafeLoader):
    """PyYAML up to its nodes, tagged by the core schema of YAML 1.2 instead of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        if self._depth > DEPTH_MAX:
            raise LimitExceeded(f"nested deeper than {DEPTH_MAX}")
        self._depth += 1
        try:
            node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
            return node
        finally:
            self._depth -= 1


_TAG: Final = "tag:yaml.org,2002:"
_INTEGER: Final = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT: Final = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
for _kind, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", "<<", ["<"]),
):
    _CoreLoader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(slots=True)
class _YamlReader:
    """Nodes to values, with what PyYAML's constructor leaves out: duplicates, recursion, the cost of aliases."""

    name: str
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    open_nodes: set[int] = field(default_factory=set)
    read_nodes: set[int] = field(default_factory=set)
    repeated_characters: int = 0

    def read(self, text: str) -> Tree:
        loader = None
        try:
            loader = _CoreLoader(text)
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:  # its text quotes the file, which may hold what logs should not
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            raise InvalidInput(f"{self.name}{line}: not YAML: {problem}") from None
        except yaml.reader.ReaderError as error:
            line_number = text.count("\n", 0, error.position) + 1
            raise InvalidInput(f"{self.name}:{line_number}: not YAML: {error.reason}") from None
        except LimitExceeded as error:
            raise LimitExceeded(f"{self.name}:{loader.line + 1 if loader else 1}: {error}") from None
        except (ValueError, OverflowError):  # PyYAML hands "\\UFFFFFFFF" to chr() unchecked
            raise InvalidInput(f"{self.name}: not YAML: an escape or number that is out of range") from None
        return Tree(None if node is None else self._value(node, (), 0), self.lines)

    def _wrong(self, node: yaml.Node, problem: str) -> InvalidInput:
        return InvalidInput(f"{self.name}:{node.start_mark.line + 1}: {problem}")

    def _value(self, node: yaml.Node, path: tuple[str, ...], depth: int) -> object:
        line = node.start_mark.line + 1
        if depth > DEPTH_MAX:
            raise LimitExceeded(f"{self.name}:{line}: nested deeper than {DEPTH_MAX}")
        if id(node) in self.open_nodes:
            raise self._wrong(node, "an anchor that contains itself")
        self._charge(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self.open_nodes.add(id(node))
        value: object
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            value = self._mapping(node, path, depth)
        elif isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            value = [self._value(item, path, depth + 1) for item in node.value]
        else:
            raise self._wrong(node, f"tag {node.tag.replace(_TAG, '!!')} is not one of YAML's core schema")
        self.open_nodes.remove(id(node))
        return value

    def _charge(self, node: yaml.Node) -> None:
        """Count a node that an alias brings again; the first time is paid by the file's own size."""
        if id(node) in self.read_nodes:
            self.repeated_characters += 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            if self.repeated_characters > REPEATED_CHARACTERS_MAX:
                raise LimitExceeded(
                    f"{self.name}:{node.start_mark.line + 1}: aliases of this file repeat more than "
                    f"{REPEATED_CHARACTERS_MAX} characters"
                )
        self.read_nodes.add(id(node))

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...], depth: int) -> dict[str, object]:
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                inherited = self._value(value_node, path, depth)
                for mapping in inherited if isinstance(inherited, list) else [inherited]:
                    if not isinstance(mapping, dict):
                        raise self._wrong(
                            key_node, "<< merges mappings, and this is not one; quote it to use it as a key"
                        )
                    merged = mapping | merged
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag != _TAG + "merge":
                key = self._key(key_node)
                if key in own:
                    raise self._wrong(key_node, f"key {'/'.join((*path, key))!r} is twice in one mapping; keep one")
                self.lines[(*path, key)] = key_node.start_mark.line + 1
                own[key] = self._value(value_node, (*path, key), depth + 1)
        return merged | own

    def _key(self, node: yaml.Node) -> str:
        self._charge(node)
        if isinstance(node, yaml.ScalarNode):
            text: str = node.value
            if node.tag == _TAG + "str" or (node.tag == _TAG + "int" and re.fullmatch("0|-?[1-9][0-9]*", text)):
                return text
            raise self._wrong(node, f"key {text!r} is not text to YAML; quote it")
        raise self._wrong(node, "a mapping or list as a key; keys are text")

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                return text
            case "null" if text in {"", "~", "null", "Null", "NULL"}:
                return None
            case "bool" if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            case "int" if re.fullmatch(_INTEGER, text):
                try:
                    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
                except ValueError:
                    raise self._wrong(node, "a number of thousands of digits; quote it to use it as text") from None
            case "float" if re.fullmatch(_FLOAT, text):
                return float(re.sub(r"\.(?=[in])", "", text.lower()))
        raise self._wrong(
            node, f"tag {node.tag.replace(_TAG, '!!')} does not fit its value, or is not of YAML's core schema"
        )


def _read_yaml(text: str, name: str) -> Tree:
    return _YamlReader(name).read(text)


TREE_READERS: Final[Mapping[str, Callable[[str, str], Tree]]] = {
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".json": _read_json,
    ".toml": _read_toml,
}
SUFFIXES: Final = (*TREE_READERS, ".properties")
"""The formats, by file name."""
