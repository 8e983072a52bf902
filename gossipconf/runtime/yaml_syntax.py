"""YAML to trees of plain values, by the core schema of YAML 1.2 (see ``syntax``). Knows PyYAML up to its nodes."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

import yaml

from ..model.entry import ValueType
from ..model.errors import InvalidInput, LimitExceeded
from .syntax import DEPTH_MAX, Tree, Verbatim

REPEATED_CHARACTERS_MAX: Final = 1 << 20
"""What YAML aliases may repeat in one file: as much as one value. Nine lines of them can ask for gigabytes."""


def read_yaml(text: str, name: str, *, has_types: bool = False) -> Tree:
    """The tree of one document; ``has_types``: a tag may give a value its type (see `Verbatim`).

    Raises InvalidInput or LimitExceeded that begins with `name` and the line."""
    return _YamlReader(name, has_types).read(text)


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


TYPE_TAGS: Final = {
    f"!{one.name.lower()}": one for one in (ValueType.JSON, ValueType.YAML, ValueType.TOML, ValueType.BYTES)
}
"""Tags that give a value its type, where a document may."""


@dataclass(slots=True)
class _YamlReader:
    """Nodes to values, with what PyYAML's constructor leaves out: duplicates, recursion, the cost of aliases."""

    name: str
    has_types: bool
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
        if self.has_types and node.tag in TYPE_TAGS:
            return self._verbatim(node, TYPE_TAGS[node.tag])
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

    def _verbatim(self, node: yaml.ScalarNode, value_type: ValueType) -> Verbatim:
        text: str = node.value
        if value_type is not ValueType.BYTES:
            try:
                return Verbatim(value_type, text.encode())
            except UnicodeEncodeError:
                raise self._wrong(node, "half of a surrogate pair, which is not a character") from None
        try:
            return Verbatim(value_type, base64.b64decode("".join(text.split()), validate=True))
        except (binascii.Error, ValueError):
            raise self._wrong(node, "what follows !bytes is not base64") from None


def implicit_tag(text: str) -> str | None:
    """What ``text`` means where it stands unquoted: null, bool, int, float or merge; None if it is itself."""
    resolvers = _CoreLoader.yaml_implicit_resolvers
    for tag, pattern in resolvers.get(text[:1], ()):
        if pattern.match(text):
            return tag.removeprefix(_TAG)
    return None
