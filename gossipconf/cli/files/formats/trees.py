"""YAML, JSON and TOML files whose nested mappings are keys: written so that `apply` reads the same values back.

Text is a string. A JSON value in its canonical spelling is what it means, unless it is an
object, which would read as keys. All else has a tag in YAML (`!json`, `!yaml`, `!toml`,
`!bytes`), and is left out of the two formats that have no tags. A key with others below it
is left out: no file can say that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import tomli_w
import yaml

from ....model.entry import ValueType
from ....model.errors import InvalidInput
from ....runtime.syntax import DEPTH_MAX, Verbatim, parse_value
from ....runtime.yaml_syntax import implicit_tag
from ..value import TypedValue
from .text import Unfit, Written

TOML_INTEGERS: Final = range(-(1 << 63), 1 << 63)
"""What every reader of TOML must take."""


def write_yaml(values: Mapping[str, TypedValue], heading: str = "") -> Written:
    """`values` by key as YAML. `heading`: lines of a comment above."""
    tree, left_out = _tree(values, _yaml_leaf)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())
    return Written(comment.encode() + yaml_text(tree, sort_keys=True), left_out)


def yaml_text(value: object, *, sort_keys: bool = False) -> bytes:
    """A structure as YAML that the core schema reads back as it is."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=sort_keys, width=float("inf")
    )
    return text.encode()


def write_json(values: Mapping[str, TypedValue]) -> Written:
    """`values` by key as one JSON object."""
    tree, left_out = _tree(values, _plain_leaf)
    return Written((json.dumps(tree, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode(), left_out)


def write_toml(values: Mapping[str, TypedValue]) -> Written:
    """`values` by key as TOML."""
    tree, left_out = _tree(values, _toml_leaf)
    return Written(tomli_w.dumps(tree).encode(), left_out)


def nested(values: Mapping[str, TypedValue]) -> tuple[dict[str, TypedValue], dict[str, str]]:
    """Those of `values` that no other one lies below, and why the others are left out."""
    above: set[str] = set()
    for key in values:
        segments = key.split("/")
        above.update("/".join(segments[:end]) for end in range(1, len(segments)))
    left_out = {key: "has keys below it" for key in values if key in above}
    left_out |= {key: f"has more than {DEPTH_MAX} segments" for key in values if key.count("/") >= DEPTH_MAX}
    return {key: value for key, value in values.items() if key not in left_out}, left_out


def _tree(
    values: Mapping[str, TypedValue], leaf: Callable[[TypedValue], object]
) -> tuple[dict[str, Any], dict[str, str]]:
    fit, left_out = nested(values)
    tree: dict[str, Any] = {}
    for key, value in sorted(fit.items()):
        try:
            made = leaf(value)
        except Unfit as error:
            left_out[key] = str(error)
            continue
        *above, last = key.split("/")
        place = tree
        for segment in above:
            place = place.setdefault(segment, {})
        place[last] = made
    return tree, left_out


# -- leaves ---------------------------------------------------------------------------------------


def _plain_leaf(value: TypedValue) -> object:
    """What a string, or a number, boolean, null, list or empty object, is in all formats. Raises Unfit."""
    value_type, content = value
    if value_type is ValueType.TEXT:
        return content.decode()
    if value_type is not ValueType.JSON:
        raise Unfit(f"is of type {value_type.name.lower()}, which only YAML can say")
    try:
        meant = parse_value(value_type, content)
        spelled = json.dumps(meant, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (InvalidInput, ValueError):  # published by a program that did not check
        raise Unfit("is no JSON, which only YAML can say") from None
    if spelled != content or isinstance(meant, str) or (isinstance(meant, dict) and meant):
        raise Unfit("is a JSON string or object, or spelled in its own way, which only YAML can say")
    return meant


def _toml_leaf(value: TypedValue) -> object:
    made = _plain_leaf(value)
    _check_toml(made)
    return made


def _check_toml(value: object) -> None:
    if value is None:
        raise Unfit("is or has null, which TOML has not")
    if isinstance(value, int) and value not in TOML_INTEGERS:
        raise Unfit("is or has a number that TOML has not")
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_toml(one)


def _yaml_leaf(value: TypedValue) -> object:
    try:
        return _plain_leaf(value)
    except Unfit:
        return Verbatim(*value)


# -- YAML -----------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """PyYAML's, which quotes what YAML 1.1 would take for something else, and here what 1.2 would, too."""

    def ignore_aliases(self, data: object) -> bool:
        return True  # what is equal twice is written twice: aliases are for machines


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style_of(text))


def _represent_verbatim(dumper: yaml.SafeDumper, value: Verbatim) -> yaml.ScalarNode:
    tag = f"!{value.type.name.lower()}"
    if value.type is ValueType.BYTES:
        return dumper.represent_scalar(tag, base64.b64encode(value.content).decode(), style='"')
    text = value.content.decode()
    return dumper.represent_scalar(tag, text, style=_style_of(text) or "'")


def _style_of(text: str) -> str | None:
    """Lines as a block, what is printable as PyYAML finds best, all else with escapes."""
    if "\n" in text and all(line.isprintable() for line in text.split("\n")):
        return "|"
    if not text.isprintable() or implicit_tag(text) is not None:
        return '"'
    return None


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Verbatim, _represent_verbatim)
