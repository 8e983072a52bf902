"""A schema: what values under a prefix must be, in JSON Schema, and how it is found that one is not.

Knows the limits of a schema and the words for what breaks it. The packages that check are
loaded when the first schema is (extra `schema`); without them nothing here works but
`is_installed`. Which schemas hold for which key is ``schema_set``'s to know.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from ..model.entry import ValueType
from ..model.errors import InvalidInput, SchemaUnusable
from .syntax import parse_value

EXTRA: Final = "gossipconf[schema]"
PACKAGES: Final = ("jsonschema", "referencing", "re2", "yaml")
"""What the extra brings."""
SCHEMA_BYTES_MAX: Final = 1 << 16
"""A schema of 64 KiB says more than people read; the cost of checking grows with it."""
SCHEMA_WORDS_MAX: Final = 80
"""Characters of a schema that are quoted when a value breaks it."""
ANCHORS: Final = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef")
"""Names that the library looks for through the whole schema each time."""


@cache
def is_installed() -> bool:
    """Whether this process can check schemas."""
    return all(find_spec(package) is not None for package in PACKAGES)


def structure_of(value_type: ValueType, value: bytes) -> object:
    """What a schema sees of a value: JSON, YAML and TOML as what they say, text as a string, bytes as the object
    {"base64": …} that `--json` prints. Raises InvalidInput, and ParserMissing.

    A sealed value has nothing to see: it is for those to check who seal it.
    """
    if value_type is ValueType.BYTES:
        return {"base64": base64.b64encode(value).decode()}
    return parse_value(value_type, value)


class Schema:
    """One schema, ready to check values with."""

    def __init__(self, data: bytes) -> None:
        """Compile the JSON text `data`. Raises SchemaUnusable with the reason."""
        document = _read(data)
        from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - the extra, which not every agent has
        from referencing import Registry  # noqa: PLC0415

        from .bounded_validator import DEFAULT_DIALECT, DIALECTS  # noqa: PLC0415

        named = document.pop("$schema", DEFAULT_DIALECT) if isinstance(document, dict) else DEFAULT_DIALECT
        dialect = named.removesuffix("#") if isinstance(named, str) else ""
        if dialect not in DIALECTS:
            raise SchemaUnusable(f"$schema is {str(named)[:80]!r}; write one of: {', '.join(DIALECTS)}")
        if isinstance(document, dict):
            document.pop("$id", None)  # a name for others, who would have to be asked
        bounded, plain = DIALECTS[dialect]
        try:
            _check_bounds(document)
            plain.check_schema(document, format_checker=None)
        except SchemaError as error:
            where = "/".join(map(str, error.absolute_path)) or "the top"
            raise SchemaUnusable(f"no JSON Schema: at {where}: {error.message[:200]}") from None
        except RecursionError:
            raise SchemaUnusable("the schema is nested too deeply") from None
        # A registry that holds nothing and fetches nothing.
        self._validator: Any = bounded(document, registry=Registry())
        self.document = document

    def problem(self, value: object) -> str | None:
        """In what `value`, as `structure_of` has it, breaks this schema: in words that quote the schema, never a value.

        None if it does not. Raises SchemaUnusable if that cannot be found out.
        """
        from jsonschema.exceptions import best_match  # noqa: PLC0415

        from .bounded_validator import BadPattern, OutOfBudget, problem_of  # noqa: PLC0415

        try:
            error = problem_of(self._validator, value)
        except OutOfBudget:
            raise SchemaUnusable("checking the value takes too long; simplify the schema") from None
        except BadPattern as wrong:
            raise SchemaUnusable(str(wrong)) from None
        except RecursionError:
            raise SchemaUnusable("the schema refers to itself without end") from None
        except Exception as wrong:  # a reference that leads nowhere, or to what is no schema: the author's fault
            raise SchemaUnusable(f"the schema cannot be applied: {type(wrong).__name__}: {str(wrong)[:200]}") from None
        return None if error is None else _in_words(best_match([error]))


def _read(data: bytes) -> Any:
    if len(data) > SCHEMA_BYTES_MAX:
        raise SchemaUnusable(f"a schema of {len(data)} bytes; the limit is {SCHEMA_BYTES_MAX}")
    try:
        document = parse_value(ValueType.JSON, data)
    except InvalidInput as error:
        raise SchemaUnusable(str(error).replace("the json value", "the schema")) from None
    if not isinstance(document, dict | bool):
        raise SchemaUnusable("a schema is a JSON object, or true or false")
    return document


def _check_bounds(document: object) -> None:
    """Refuse what nobody could bound. References may lead anywhere, so it is refused wherever it stands."""
    from .bounded_validator import PATTERNS_MAX, BadPattern, compiled  # noqa: PLC0415

    patterns = dict.fromkeys(_patterns(document))
    if len(patterns) > PATTERNS_MAX:
        raise SchemaUnusable(f"{len(patterns)} patterns; the limit of a schema is {PATTERNS_MAX}")
    for pattern in patterns:
        try:
            compiled(pattern)
        except BadPattern as error:
            raise SchemaUnusable(str(error)) from None


def _patterns(node: object) -> Iterator[str]:
    """All patterns below `node`. Raises SchemaUnusable for keywords and references that have no bounds."""
    from .bounded_validator import UNBOUNDED  # noqa: PLC0415

    if isinstance(node, list):
        for one in node:
            yield from _patterns(one)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name in UNBOUNDED:
            raise SchemaUnusable(f"{name} is not supported; write additionalProperties or items")
        if name in ANCHORS or (name in {"$schema", "$id"} and isinstance(value, str)):
            raise SchemaUnusable(f"{name} below the top is not supported; refer by #/$defs/NAME")
        if name == "$ref" and isinstance(value, str) and value != "#" and not value.startswith("#/"):
            raise SchemaUnusable(f"$ref {value[:80]!r} leads out of the schema; copy it in, as #/$defs/NAME")
        if name == "pattern" and isinstance(value, str):
            yield value
        elif name == "patternProperties" and isinstance(value, dict):
            yield from value
        yield from _patterns(value)


def _in_words(error: Any) -> str:
    where = "/".join(map(str, error.absolute_path))
    place = f"at {where}: " if where else ""
    if error.validator is None:
        return f"{place}nothing may be here"
    wanted = json.dumps({error.validator: error.validator_value}, ensure_ascii=False)[1:-1]
    return f"{place}breaks {wanted if len(wanted) <= SCHEMA_WORDS_MAX else wanted[:SCHEMA_WORDS_MAX] + '…'}"
