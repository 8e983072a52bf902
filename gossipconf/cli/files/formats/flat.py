"""`.properties` and `.env`: one line a value, all of it text, with the segments of a key joined.

A dot joins them in `.properties`, as in Spring, and two underscores in `.env`. What would
come apart in another way is left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Final

import javaproperties
from dotenv.parser import Binding, parse_stream

from ....model.entry import ValueType
from ....model.errors import InvalidInput
from ....runtime.syntax import decode_text
from ..properties import read_properties
from ..value import TypedValue
from .text import Found, Read, Unfit, Written
from .trees import nested

ENV_JOIN: Final = "__"
"""What stands for a slash in the name of a variable, as in pydantic's settings and in .NET."""

_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_ENV_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def write_properties(values: Mapping[str, TypedValue]) -> Written:
    """`values` by key as `.properties` in UTF-8."""

    def line(key: str, text: str) -> str:
        name = key.replace("/", ".")
        if name.split(".") != key.split("/"):
            raise Unfit("has a dot in a segment")
        return f"{javaproperties.join_key_value(name, text, ensure_ascii=False)}\n"

    fit, left_out = nested(values)
    return _written(fit, left_out, line)


def write_env(values: Mapping[str, TypedValue]) -> Written:
    """`values` by key as `.env`: shells and most readers take what is in single quotes as it is."""

    def line(key: str, text: str) -> str:
        name = key.replace("/", ENV_JOIN)
        if not _ENV_NAME.fullmatch(name) or name.split(ENV_JOIN) != key.split("/"):
            raise Unfit("is no name of a variable")
        return f"{name}={_env_quoted(text)}\n"

    return _written(values, {}, line)


def _written(values: Mapping[str, TypedValue], left_out: dict[str, str], line: Callable[[str, str], str]) -> Written:
    lines, as_text = [], []
    for key, (value_type, content) in sorted(values.items()):
        try:
            lines.append(line(key, _text(content)))
        except Unfit as error:
            left_out[key] = str(error)
            continue
        if value_type is not ValueType.TEXT:
            as_text.append(key)
    return Written("".join(lines).encode(), left_out, tuple(as_text))


def _text(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Unfit("is not UTF-8") from None
    if "\0" in text:
        raise Unfit("has a zero byte")
    return text


def _env_quoted(text: str) -> str:
    if _ENV_PLAIN.fullmatch(text):
        return text
    if text.isprintable() and not set(text) & set("'\\"):
        return f"'{text}'"
    return '"' + "".join(_ENV_ESCAPES.get(character, character) for character in text) + '"'


# -- reading --------------------------------------------------------------------------------------


def properties(content: bytes, name: str) -> Read:
    """A file of `.properties`. Raises InvalidInput."""
    leaves = read_properties(decode_text(content, name), name)
    return Read(tuple(Found("/".join(leaf.path), _as_text(str(leaf.value)), leaf.source) for leaf in leaves))


def env(content: bytes, name: str) -> Read:
    """A file of `.env`, as python-dotenv reads it; `$NAME` in a value stays as it is. Raises InvalidInput."""
    found, without = [], []
    for binding in parse_stream(io.StringIO(decode_text(content, name))):
        where = f"{name}:{binding.original.line + _blank_lines(binding)}"
        if binding.error:
            raise InvalidInput(f"{where}: not NAME=value; quote the value, or make it a comment with #")
        if binding.key is None:
            continue
        if binding.value is None:
            without.append(f"{where}: {binding.key} has no value")
            continue
        found.append(Found(binding.key.replace(ENV_JOIN, "/"), _as_text(binding.value), where))
    return Read(tuple(found), tuple(without))


def _blank_lines(binding: Binding) -> int:
    text = binding.original.string
    return text[: len(text) - len(text.lstrip())].count("\n")


def _as_text(text: str) -> TypedValue:
    return ValueType.TEXT, text.encode()
