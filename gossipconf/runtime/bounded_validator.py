"""JSON Schema within bounds: the validators of jsonschema, with every step counted and patterns matched by RE2.

An author of schemas is somebody whom the policy allows to write them; his schema must not
make an agent hang all the same. Unbounded in the library, and bounded here:

- references that ask for the same again and again, or in circles: each keyword that is
  applied charges a budget for what it looks through, before it does;
- patterns that backtrack for ever, holding the interpreter: RE2 is linear, and knows no
  look-around and no back-references, which the JSON Schema specification advises against;
- `uniqueItems` of what cannot be sorted, which is quadratic: by hashes here.

Knows jsonschema and RE2, which not every agent has installed. Which schemas hold for which
key is not known here (``schema_set``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

import re2
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]

DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
UNBOUNDED: Final = ("unevaluatedItems", "unevaluatedProperties")
"""Keywords whose work the library does without a step that could be counted."""
STEP_COST: Final = 20
"""Of applying one keyword, or going to one child, in units of looking at one plain value: some 8 µs and 0.3 µs."""
BUDGET: Final = 5_000_000
"""Units for one value and one schema: two seconds at most. A value of 100,000 numbers takes four million, people's
values some thousands."""
TEXT_UNIT: Final = 8
"""Characters that are looked at in one unit."""
PATTERN_STEPS: Final = 16
"""Instructions of a pattern, each for one character, in one unit, where RE2 has to take its slow way."""
PATTERN_BYTES_MAX: Final = 1 << 20
"""Memory of one compiled pattern: RE2 refuses to compile what needs more, such as nested large repetitions."""
PATTERNS_MAX: Final = 256
"""Patterns of one schema: so many are kept compiled, for compiling one may take a millisecond."""


class OutOfBudget(Exception):
    """Checking a value takes too many steps."""


class BadPattern(Exception):
    """A pattern that RE2 does not compile; the text says why."""


class _Meter:
    """What is left of the budget for one value, and how much there is to look at below each of its parts."""

    def __init__(self, value: object) -> None:
        self.left = BUDGET
        self._weights: dict[int, int] = {}
        self._weigh(value)

    def charge(self, units: int) -> None:
        """Raises OutOfBudget."""
        self.left -= units
        if self.left < 0:
            raise OutOfBudget

    def weight(self, value: object) -> int:
        """Units of looking through all of `value`."""
        if isinstance(value, str):
            return 1 + len(value) // TEXT_UNIT
        return self._weights.get(id(value), 1)

    def _weigh(self, value: object) -> int:
        if not isinstance(value, dict | list):
            return self.weight(value)
        if id(value) not in self._weights:  # one that a YAML alias brings again is the same object
            parts = (*value, *value.values()) if isinstance(value, dict) else value
            self._weights[id(value)] = 1 + sum(map(self._weigh, parts))
        return self._weights[id(value)]


_METER: ContextVar[_Meter] = ContextVar("meter")


def problem_of(validator: Any, value: object) -> ValidationError | None:
    """The first thing in which `value` breaks the schema of `validator`.

    Raises OutOfBudget, BadPattern, RecursionError and what the library raises for a schema that is none.
    """
    token = _METER.set(_Meter(value))
    try:
        return next(validator.iter_errors(value), None)
    finally:
        _METER.reset(token)


def _counted(function: Keyword) -> Keyword:
    def apply(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        meter = _METER.get()
        meter.charge(STEP_COST * (1 + _children(wanted) + _children(instance)) + meter.weight(instance))
        return function(validator, wanted, instance, schema)

    return apply


def _children(value: object) -> int:
    return len(value) if isinstance(value, dict | list) else 0


# -- keywords of our own --------------------------------------------------------------------------


@lru_cache(PATTERNS_MAX)
def compiled(pattern: str) -> Any:
    """The pattern, ready to search with. Raises BadPattern."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise BadPattern(f"pattern {pattern[:80]!r}: {reason}") from None


def _found(pattern: str, text: str) -> bool:
    program = compiled(pattern)
    _METER.get().charge(1 + len(text) * program.programsize // PATTERN_STEPS)
    return program.search(text.encode(errors="replace")) is not None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError("")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if _found(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, wanted: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    patterns = tuple(schema.get("patternProperties", {}))
    for name, value in instance.items():
        if name in known or any(_found(pattern, name) for pattern in patterns):
            continue
        if wanted is False:
            yield ValidationError("", path=[name])
        else:
            yield from validator.descend(value, wanted, path=name)


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len(set(map(_canonical, instance))) < len(instance):
        yield ValidationError("")


def _canonical(value: object) -> str:
    """The same text for what JSON Schema calls equal: 1 and 1.0 are, true and 1 are not."""
    return json.dumps(_numbers_as_one(value), sort_keys=True)


def _numbers_as_one(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_numbers_as_one(one) for one in value]
    if isinstance(value, dict):
        return {name: _numbers_as_one(one) for name, one in value.items()}
    return value


_OWN: Final[Mapping[str, Keyword]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _bounded(validator: Any) -> Any:
    keywords = {**validator.VALIDATORS, **_OWN}
    counted = {name: _counted(one) for name, one in keywords.items() if name not in UNBOUNDED}
    return extend(validator, counted)  # type: ignore[no-untyped-call]


DIALECTS: Final[Mapping[str, tuple[Any, Any]]] = {
    DEFAULT_DIALECT: (_bounded(Draft202012Validator), Draft202012Validator),
    "http://json-schema.org/draft-07/schema": (_bounded(Draft7Validator), Draft7Validator),
}
"""By what `$schema` says, without its `#`: the bounded validator, and the library's, which knows what is a schema."""
