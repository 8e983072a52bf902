"""Values as a program wants them: published bytes to str, int, float, bool, bytes, dict or list.

Text is read by what is wanted: ``30`` is a number for who asks for one. Of json, yaml and toml
the value itself must be of the type. No error quotes a value: some are secrets.

Knows types and formats; neither keys' places nor who wins.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from ..model.entry import ValueType
from ..model.errors import InvalidInput, WrongType
from ..runtime.syntax import ParserMissing, parse_value

T = TypeVar("T")

TYPES: Final = (str, int, float, bool, bytes, dict, list)
"""What a value can be read as."""
TRUE: Final = frozenset({"true", "yes", "on", "1"})
FALSE: Final = frozenset({"false", "no", "off", "0"})
"""Text that is read as a bool, in upper or lower case."""
DIGITS_MAX: Final = 4_000
"""Of a whole number in text: Python reads 4,300 without being told to."""
_WHOLE = re.compile(r"[+-]?[0-9]+")


class Unfit(Exception):
    """What a value is, in words that go on "the value is"; it is not what is wanted."""


@dataclass(frozen=True, slots=True)
class Content:
    """A value as it was published. Its text form does not show it."""

    type: ValueType
    data: bytes = field(repr=False)


def read_as(key: str, content: Content, wanted: type[T]) -> T:
    """``content`` as ``wanted``, one of TYPES. Raises WrongType that names ``key``; InvalidInput for another type."""
    if wanted not in TYPES:
        names = ", ".join(one.__name__ for one in TYPES)
        raise InvalidInput(f"{key!r} cannot be read as {wanted!r}; types are {names}, and bind() makes models")
    try:
        found = content.data if wanted is bytes else as_type(plain(content), wanted, is_text=is_text(content))
    except Unfit as error:
        raise WrongType(f"{key!r}: {wanted.__name__} is wanted, and the value is {error}") from None
    return cast(T, found)


def is_text(content: Content) -> bool:
    """Whether the value may stand for whatever is written in it."""
    return content.type is ValueType.TEXT


def plain(content: Content) -> Any:
    """The value in plain Python. Raises Unfit for what cannot be parsed."""
    try:
        return parse_value(content.type, content.data)
    except InvalidInput as error:
        raise Unfit(f"broken {content.type.name.lower()}: {error}") from None
    except ParserMissing as error:
        raise Unfit(f"{content.type.name.lower()}, which needs the package {error} here") from None


def as_type(value: Any, wanted: type, *, is_text: bool) -> Any:
    """A plain ``value`` as one of TYPES. ``is_text``: it is text that may stand for it. Raises Unfit."""
    if is_text and isinstance(value, str):
        if wanted is bytes:
            return value.encode()
        return value if wanted is str else _FROM_TEXT.get(wanted, _tree_from_text)(value, wanted)
    if wanted is float and type(value) is int:
        return _float_of(value)
    if type(value) is wanted:
        return value
    raise Unfit(f"{_kind(value)}")


def copied(tree: Any) -> Any:
    """A copy of a plain tree, so that who changes what was read changes it for nobody else."""
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return [copied(value) for value in tree] if isinstance(tree, list) else tree


def _int_from_text(text: str, wanted: type) -> int:
    found = text.strip()
    if _WHOLE.fullmatch(found) is None or len(found) > DIGITS_MAX:
        raise Unfit("text that is no whole number")
    return int(found)


def _float_from_text(text: str, wanted: type) -> float:
    try:
        found = float(text)
    except ValueError:
        raise Unfit("text that is no number") from None
    if not math.isfinite(found):
        raise Unfit("text that is no finite number")
    return found


def _bool_from_text(text: str, wanted: type) -> bool:
    found = text.strip().lower()
    if found in TRUE or found in FALSE:
        return found in TRUE
    raise Unfit("text that is neither true nor false")


def _tree_from_text(text: str, wanted: type) -> Any:
    try:
        tree = parse_value(ValueType.JSON, text.encode())
    except InvalidInput:
        raise Unfit(f"text that is no {wanted.__name__} in JSON") from None
    return as_type(tree, wanted, is_text=False)


def _float_of(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Unfit("a whole number beyond a float") from None


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


_FROM_TEXT: Final[Mapping[type, Callable[[str, type], Any]]] = {
    int: _int_from_text,
    float: _float_from_text,
    bool: _bool_from_text,
}


# -- the other way --------------------------------------------------------------------------------


def written(key: str, value: object, before: ValueType | None) -> Content:
    """``value`` as it is published at ``key``, whose value was of the type ``before``.

    bytes are bytes, str is text, everything else is json; but what was json or yaml stays so,
    and a number or bool at a key of text stays text. Raises InvalidInput that names the key.
    """
    if isinstance(value, bytes):
        return Content(ValueType.BYTES, value)
    is_tree = before in {ValueType.JSON, ValueType.YAML}
    if isinstance(value, str) and not is_tree:
        return Content(ValueType.TEXT, _encoded(key, value))
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{key!r}: this value cannot be published: {error}") from None
    is_scalar = isinstance(value, bool | int | float)
    kept = before if is_tree and before is not None else ValueType.JSON
    return Content(ValueType.TEXT if is_scalar and before is ValueType.TEXT else kept, _encoded(key, text))


def _encoded(key: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{key!r}: the text has a lone surrogate, which UTF-8 cannot say") from None
