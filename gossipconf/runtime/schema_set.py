"""The schemas of a cluster: which hold for a key, and whether a value is what they say.

A schema is an entry of type json at `_schemas/<prefix>`, or at `_schemas` for all keys but the
system's; whoever the policy gives that key may write it, as any other. All schemas hold that
cover a key, so that whoever may write below a prefix cannot get out of what holds above.

Knows entries and nothing of where they come from. Of variants of a schema only the default
one counts, and of siblings the one that readers see.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ..model.entry import Entry, ValueType
from ..model.errors import InvalidInput, InvalidValue, SchemaUnusable
from ..model.key import covers, is_system_key
from .schema import Schema, structure_of
from .syntax import ParserMissing

SCHEMA_PREFIX: Final = "_schemas"
STRUCTURED: Final = frozenset({ValueType.JSON, ValueType.YAML, ValueType.TOML})
"""Types whose values must be well-formed, whether a schema covers them or not."""


def schema_key(prefix: str) -> str:
    """The key at which the schema of ``prefix`` lies."""
    return f"{SCHEMA_PREFIX}/{prefix}" if prefix else SCHEMA_PREFIX


def prefix_of(key: str) -> str:
    """The prefix of which the schema lies at ``key``."""
    return key.removeprefix(SCHEMA_PREFIX).removeprefix("/")


class SchemaSet:
    """All schemas at one moment. Each is compiled when it is needed first."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        """``texts``: by prefix, in JSON."""
        self.texts = dict(sorted(texts.items()))
        self._compiled: dict[str, Schema | SchemaUnusable] = {}

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> SchemaSet:
        """Those among ``entries``: the puts at `_schemas` and below it."""
        return cls({}).replaced(entries)

    def replaced(self, entries: Iterable[Entry]) -> SchemaSet:
        """The set of ``entries`` alone; what is compiled already stays so."""
        return self._with({prefix: text for prefix, text in _texts(entries) if text is not None})

    def with_entries(self, entries: Iterable[Entry]) -> SchemaSet:
        """This set as it is once ``entries`` are published."""
        changed = dict(_texts(entries))
        texts = {prefix: text for prefix, text in (self.texts | changed).items() if text is not None}
        return self._with(texts) if changed else self

    def _with(self, texts: Mapping[str, bytes]) -> SchemaSet:
        made = SchemaSet(texts)
        made._compiled = {
            prefix: one for prefix, one in self._compiled.items() if texts.get(prefix) == self.texts[prefix]
        }
        return made

    def covering(self, key: str) -> Iterator[str]:
        """The prefixes with a schema that holds for ``key``, the shortest first."""
        if not self.texts or is_system_key(key):
            return
        if "" in self.texts:
            yield ""
        end = key.find("/")
        while end >= 0:
            if key[:end] in self.texts:
                yield key[:end]
            end = key.find("/", end + 1)
        if key in self.texts:
            yield key

    def schema(self, prefix: str) -> Schema:
        """The schema of ``prefix``, compiled. Raises SchemaUnusable that names it."""
        found = self._compiled.get(prefix)
        if found is None:
            try:
                found = Schema(self.texts[prefix])
            except SchemaUnusable as error:
                found = SchemaUnusable(f"the schema of {_named(prefix)} cannot be used: {error}")
            self._compiled[prefix] = found
        if isinstance(found, SchemaUnusable):
            raise found
        return found

    def problem(self, key: str, value_type: ValueType, value: bytes) -> str | None:
        """What is wrong with a value, in words that do not quote it; None if nothing is.

        A sealed value is not looked into. Raises SchemaUnusable if that cannot be found out, and ParserMissing.
        """
        prefixes = list(self.covering(key)) if value_type is not ValueType.SEALED else []
        if not prefixes and value_type not in STRUCTURED:
            return None
        try:
            structure = structure_of(value_type, value)
        except InvalidInput as error:
            return str(error)
        for prefix in prefixes:
            found = self._problem(prefix, structure)
            if found is not None:
                hint = "; text is a string to a schema, --type json says more" if value_type is ValueType.TEXT else ""
                return f"{found}, in the schema of {_named(prefix)}{hint}"
        return None

    def _problem(self, prefix: str, structure: object) -> str | None:
        schema = self.schema(prefix)
        try:
            return schema.problem(structure)
        except SchemaUnusable as error:
            raise SchemaUnusable(f"the schema of {_named(prefix)} cannot be used: {error}") from None

    def check(self, entries: Iterable[Entry], *, can_check: bool = True, limit_s: float = math.inf) -> None:
        """Raise unless ``entries`` may be published together: well-formed, as the schemas say, and schemas themselves.

        Schemas among them hold for the others. Raises InvalidValue or SchemaUnusable that names the key. Without
        ``can_check`` no schema is looked at, for want of the packages; nor are values whose format has no parser here.
        Together they may take ``limit_s``; one value is bounded by itself.
        """
        entries = tuple(entries)
        until_s = time.monotonic() + limit_s
        schemas = self.with_entries(entries) if can_check else SchemaSet({})
        for entry in entries:
            if entry.value is None:
                continue
            if covers(SCHEMA_PREFIX, entry.key):
                _check_schema(schemas, entry, can_check=can_check)
                continue
            if time.monotonic() > until_s:
                raise SchemaUnusable(f"checking these values takes more than {limit_s:g} s; publish fewer at a time")
            try:
                problem = schemas.problem(entry.key, entry.type, entry.value)
            except ParserMissing:
                continue
            except SchemaUnusable as error:
                raise SchemaUnusable(f"{entry.key!r} cannot be checked, and is not published: {error}") from None
            if problem is not None:
                raise InvalidValue(f"{entry.key!r}: {problem}")


def _texts(entries: Iterable[Entry]) -> Iterator[tuple[str, bytes | None]]:
    """By prefix what ``entries`` say of schemas; None for one that is deleted."""
    return (
        (prefix_of(entry.key), entry.value)
        for entry in entries
        if not entry.variant and covers(SCHEMA_PREFIX, entry.key)
    )


def _check_schema(schemas: SchemaSet, entry: Entry, *, can_check: bool) -> None:
    if entry.variant or entry.type is not ValueType.JSON:
        raise InvalidValue(f"{entry.key!r}: a schema is of type json, and has no variants")
    if can_check:
        schemas.schema(prefix_of(entry.key))


def _named(prefix: str) -> str:
    return repr(prefix) if prefix else "all keys"
