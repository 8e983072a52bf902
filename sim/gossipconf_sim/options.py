"""Options: frozen records whose fields say what they mean, in which unit, and what is allowed.

A record's field made by `option` carries its meaning and bounds; `read` makes the
record from plain values (a TOML table) and says of every wrong one its path, what is
wrong and what is allowed. The pages and the help are made from the same metadata.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any, TypeVar

from gossipconf.model.errors import InvalidInput

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of a field: its meaning in words, and what it may be."""

    meaning: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def allowed(self) -> str:
        """The permitted values in words; empty if all of the type are."""
        if self.choices:
            return ", ".join(map(_quoted, self.choices))
        if self.least is not None and self.most is not None:
            return f"{_plain(self.least)} to {_plain(self.most)}"
        if self.least is not None:
            return f"{_plain(self.least)} or more"
        return "" if self.most is None else f"at most {_plain(self.most)}"


def option(
    default: Any,
    meaning: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of an options record. ``default`` may be MISSING: then the value must be given."""
    return dataclasses.field(default=default, metadata={"option": Option(meaning, least, most, choices)})


MISSING = dataclasses.MISSING


def options_of(kind: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Option, Any]]:
    """The options of a record: field, metadata, type."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if "option" in field.metadata:
            yield field, field.metadata["option"], hints[field.name]


def read(kind: type[Record], values: Any, path: str) -> Record:
    """A record of ``kind`` from a table of plain values found at ``path``. Raises InvalidInput."""
    return kind(**read_values(kind, values, path))


def read_values(kind: type[Any], values: Any, path: str) -> dict[str, Any]:
    """As `read`, but only the values, checked and by name."""
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{path} must be a table, not {_spelled(values)}")
    known = {field.name: (field, about, hint) for field, about, hint in options_of(kind)}
    for name in values:
        if name not in known:
            raise unknown(_join(path, str(name)), str(name), known)
    checked = {}
    for name, (field, about, hint) in known.items():
        if name in values:
            checked[name] = _value(values[name], about, hint, _join(path, name))
        elif field.default is MISSING:
            raise InvalidInput(f"{_join(path, name)} is missing: {about.meaning}")
    return checked


def unknown(path: str, name: str, known: typing.Iterable[str]) -> InvalidInput:
    """The error for a name that is none of ``known``."""
    names = list(known)
    return InvalidInput(f"{path} is not an option{meant(name, names)}; there are: {', '.join(names)}")


def meant(name: str, names: typing.Iterable[str]) -> str:
    """Which of ``names`` is likely to be meant, for an error; empty if none is."""
    close = get_close_matches(name, list(names), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _value(value: Any, about: Option, hint: Any, path: str) -> Any:
    """``value`` as a field of type ``hint``."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if typing.get_origin(hint) is tuple:
        return _range(value, about, path)
    if hint is float and type(value) is int:
        value = _number(value)
    if type(value) is not hint:
        raise InvalidInput(f"{path} must be {_KINDS[hint]}{_bounds(about)}, not {_spelled(value)}")
    _check(value, about, path)
    return value


def _range(value: Any, about: Option, path: str) -> tuple[float, float]:
    """A pair [least, most] of numbers; one number stands for both."""
    pair = value if isinstance(value, list | tuple) else [value, value]
    if len(pair) != 2 or any(type(one) not in {int, float} for one in pair):
        raise InvalidInput(f"{path} must be a range [least, most] of numbers{_bounds(about)}, not {_spelled(value)}")
    low, high = _number(pair[0]), _number(pair[1])
    for one in (low, high):
        _check(one, about, path)
    if low > high:
        raise InvalidInput(f"{path} must be a range [least, most]; {_spelled(value)} begins above its end")
    return low, high


def _number(value: float) -> float:
    """``value`` as a float; a whole number that is none is infinite, and refused as such."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def _check(value: Any, about: Option, path: str) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise InvalidInput(f"{path} must be a finite number{_bounds(about)}, not {_spelled(value)}")
    outside = (
        (about.choices and value not in about.choices)
        or (about.least is not None and not value >= about.least)
        or (about.most is not None and not value <= about.most)
    )
    if outside:
        raise InvalidInput(f"{path} is {_spelled(value)}; allowed: {about.allowed()}")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def _bounds(about: Option) -> str:
    return f" ({about.allowed()})" if about.allowed() else ""


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    return _quoted(value) if isinstance(value, str) else str(value)


def _plain(value: float) -> str:
    """A bound without an exponent, as one writes it: 1000000."""
    return f"{value:.12g}"


def _quoted(value: str) -> str:
    return f'"{value}"'


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
