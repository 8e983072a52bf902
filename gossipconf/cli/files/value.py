"""Values that a command is given: read from an argument, stdin or a file, and checked against their type.

Knows the words that people write for a value and its type, and the limits. Knows nothing of
agents; ``syntax`` knows the formats.
"""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from typing import Final

import typer

from ...model.entry import ValueType
from ...model.errors import InvalidInput, LimitExceeded
from ...model.key import check_key, is_system_key
from ...model.limits import VALUE_BYTES_MAX
from ..item import Item
from ..opener import is_sealed

TypedValue = tuple[ValueType, bytes]

SUFFIX_TYPES: Final = {
    ".json": ValueType.JSON,
    ".yaml": ValueType.YAML,
    ".yml": ValueType.YAML,
    ".toml": ValueType.TOML,
}


SUFFIXES_OF_TYPES: Final = {
    ValueType.TEXT: ".txt",
    ValueType.JSON: ".json",
    ValueType.YAML: ".yaml",
    ValueType.TOML: ".toml",
}
"""What an editor goes by."""


def check_own_key(key: str) -> None:
    """Raises InvalidInput if `key` is no key, or one of the system's."""
    check_key(key)
    if is_system_key(key):
        raise InvalidInput(f"key {key!r}: keys that begin with _ are the system's; choose another name")


def type_named(name: str) -> ValueType:
    """The type that people call `name`. Raises BadParameter; nobody publishes the type sealed by its name."""
    types = [one for one in ValueType if one is not ValueType.SEALED]
    for one in types:
        if one.name.lower() == name:
            return one
    raise typer.BadParameter(
        f"{name!r} is not a type; types are {', '.join(one.name.lower() for one in types)}", param_hint="'--type'"
    )


def read_value(argument: str) -> bytes:
    """The bytes that VALUE stands for. Raises InvalidInput or LimitExceeded."""
    if argument == "-":
        content = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
        what = "stdin"
    elif argument.startswith("@"):
        path = Path(argument[1:])
        what = str(path)
        try:
            with path.open("rb") as file:
                content = file.read(VALUE_BYTES_MAX + 1)
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read: {error.strerror}; for a value that begins with @ use stdin"
            ) from None
    else:
        content, what = argument.encode(errors="surrogateescape"), "the value"
    if len(content) > VALUE_BYTES_MAX:
        raise LimitExceeded(f"{what} is larger than {VALUE_BYTES_MAX} bytes, the limit of a value")
    return content


def default_type(argument: str, item: Item, variant: str = "", *, is_sealing: bool) -> ValueType:
    """The type of a value whose type nobody names: that of the variant's or key's value, else that of its file."""
    known = item.holds(variant) or item.default
    if known is not None and not (is_sealing and is_sealed(known)):
        return known.entry.type
    return SUFFIX_TYPES.get(PurePosixPath(argument).suffix, ValueType.TEXT) if argument[:1] == "@" else ValueType.TEXT


def check_syntax(key: str, value_type: ValueType, content: bytes, *, is_told: bool) -> None:
    """Raises InvalidInput or LimitExceeded if `content` is not of its type; `is_told`: by whoever runs the command."""
    from ...runtime.syntax import parse_value  # noqa: PLC0415 - the parsers, which plain text needs not

    try:
        parse_value(value_type, content)
    except InvalidInput as error:
        name = value_type.name.lower()
        hint = "" if is_told else f"; the type is {name} because the key or the file is, --type says otherwise"
        raise type(error)(f"{key!r}: {error}{hint}") from None


def check_secret(key: str, value_type: ValueType, content: bytes) -> None:
    """As `check_syntax`, in words that quote nothing of the value: parsers name its keys and tags."""
    try:
        check_syntax(key, value_type, content, is_told=True)
    except InvalidInput:
        raise InvalidInput(
            f"{key!r}: the value is not {value_type.name}, as the key or --type says; where it is wrong is not told, "
            "because it is to be sealed"
        ) from None
