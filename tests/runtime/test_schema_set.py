"""Which schemas hold for a key, and what is refused before it is published."""

from __future__ import annotations

import json

import pytest

from gossipconf.model.entry import ValueType, delete, put
from gossipconf.model.errors import InvalidValue, SchemaUnusable
from gossipconf.runtime.schema_set import SchemaSet, prefix_of, schema_key


def schemas(**documents: object) -> SchemaSet:
    return SchemaSet({prefix.replace("__", "/"): json.dumps(one).encode() for prefix, one in documents.items()})


def number(key: str, value: bytes):
    return put(key, value, ValueType.JSON)


def test_all_schemas_that_cover_a_key_hold_the_shortest_prefix_first():
    found = SchemaSet(dict.fromkeys(("", "a", "a/b", "a/b/c", "a-b", "a/bc", "b"), b"true"))
    assert list(found.covering("a/b/c")) == ["", "a", "a/b", "a/b/c"]
    assert list(found.covering("a-b/x")) == ["", "a-b"]
    assert list(found.covering("c")) == [""]
    assert list(found.covering("_policy/1")) == [], "the system's own keys have no schemas"
    assert list(SchemaSet({}).covering("a")) == []


def test_keys_and_prefixes_name_each_other():
    for prefix in ("", "a", "a/b"):
        assert prefix_of(schema_key(prefix)) == prefix
    assert schema_key("") == "_schemas"


def test_a_value_must_hold_all_of_them():
    found = schemas(a={"minimum": 1}, a__b={"maximum": 9})
    found.check([number("a/b", b"5"), number("a/c", b"50"), delete("a/b"), put("x", b"free")])
    for key, value, words in (
        ("a/b", b"10", "'a/b': breaks \"maximum\": 9, in the schema of 'a/b'"),
        ("a/b", b"0", "'a/b': breaks \"minimum\": 1, in the schema of 'a'"),
    ):
        with pytest.raises(InvalidValue) as caught:
            found.check([number(key, value)])
        assert str(caught.value) == words


def test_text_is_a_string_and_the_error_says_so():
    with pytest.raises(InvalidValue, match="text is a string to a schema, --type json says more"):
        schemas(a={"type": "integer"}).check([put("a", b"5")])


def test_values_are_of_their_types_where_no_schema_is():
    with pytest.raises(InvalidValue, match="'a': the json value:1: not JSON"):
        SchemaSet({}).check([number("a", b"{")])
    with pytest.raises(InvalidValue, match="'a': the yaml value:1: not YAML"):
        SchemaSet({}).check([put("a", b"[", ValueType.YAML)])
    with pytest.raises(InvalidValue, match="'a': the toml value:1: not TOML"):
        SchemaSet({}).check([put("a", b"=", ValueType.TOML)])
    SchemaSet({}).check([put("a", b"{", ValueType.TEXT), put("b", b"\xff", ValueType.BYTES)])


def test_a_schema_holds_for_what_is_published_with_it():
    old = schemas(a={"type": "integer"})
    with pytest.raises(InvalidValue):
        old.check([put("_schemas/a/b", b'{"maximum": 1}', ValueType.JSON), number("a/b", b"2")])
    old.check([delete("_schemas/a"), put("a", b"text")])
    assert old.with_entries([delete("_schemas/a")]).texts == {}
    assert old.texts.keys() == {"a"}


def test_what_is_no_schema_is_not_published():
    for entry in (
        put("_schemas/a", b'{"type": "nonsense"}', ValueType.JSON),
        put("_schemas/a", b"{}", ValueType.TEXT),
        put("_schemas/a", b"{}", ValueType.JSON, variant="canary"),
    ):
        with pytest.raises((InvalidValue, SchemaUnusable)):
            SchemaSet({}).check([entry])


def test_below_a_schema_that_cannot_be_used_nothing_is_published():
    broken = SchemaSet({"a": b'{"type": "nonsense"}'})
    with pytest.raises(SchemaUnusable, match="'a/x' cannot be checked, and is not published: the schema of 'a' cannot"):
        broken.check([put("a/x", b"1")])
    broken.check([put("b", b"1"), delete("a/x")])


def test_a_change_has_a_limit_of_time():
    found = schemas(a={"minimum": 1})
    with pytest.raises(SchemaUnusable, match="publish fewer at a time"):
        found.check([number("a", b"5")], limit_s=-1)
    found.check([delete("a")], limit_s=-1)


def test_sealed_values_are_not_looked_into():
    schemas(a=False).check([put("a", b"envelope", ValueType.SEALED)])


def test_without_the_packages_only_formats_are_checked():
    no_schema = put("_schemas/b", b'{"type": "nonsense"}', ValueType.JSON)
    schemas(a=False).check([number("a", b"1"), no_schema], can_check=False)
    with pytest.raises(InvalidValue):
        schemas(a=False).check([number("a", b"{")], can_check=False)
