"""One schema: what breaks it and in which words, what is refused as a schema, and that nothing makes it hang."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gossipconf.model.entry import ValueType
from gossipconf.model.errors import SchemaUnusable
from gossipconf.runtime.schema import SCHEMA_BYTES_MAX, Schema, structure_of


def schema(document: object) -> Schema:
    return Schema(json.dumps(document).encode())


def problem(document: object, value: object) -> str | None:
    return schema(document).problem(value)


@pytest.mark.parametrize(
    ("document", "good", "bad", "words"),
    [
        ({"type": "integer", "maximum": 10}, 10, 11, 'breaks "maximum": 10'),
        ({"enum": ["a", 1]}, 1, True, 'breaks "enum": ["a", 1]'),
        (False, None, 0, "nothing may be here"),
        ({"pattern": "^[a-zé]+$"}, "é", "A", 'breaks "pattern": "^[a-zé]+$"'),
        ({"pattern": "b"}, "\ud800b", "\ud800", 'breaks "pattern": "b"'),
        ({"uniqueItems": True}, [1, True, "1", [1], {}], [{"a": 1}, 2, {"a": 1.0}], 'breaks "uniqueItems": true'),
        ({"patternProperties": {"^x": {"type": "null"}}}, {"x": None}, {"xa": 1}, 'at xa: breaks "type": "null"'),
        (
            {"properties": {"a": {"type": "object", "properties": {"b": {}}, "additionalProperties": False}}},
            {"a": {"b": 1}, "c": 2},
            {"a": {"c": 1}},
            'at a/c: breaks "additionalProperties": false',
        ),
        (
            {"additionalProperties": {"type": "string"}, "patternProperties": {"n$": {}}},
            {"n": 1},
            {"m": 1},
            'at m: breaks "type": "string"',
        ),
        ({"$defs": {"n": {"minimum": 0}}, "items": {"$ref": "#/$defs/n"}}, [0], [0, -1], 'at 1: breaks "minimum": 0'),
        ({"items": {"$ref": "#"}, "type": "array"}, [[], [[]]], [[1]], 'at 0/0: breaks "type": "array"'),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}, {}, {"a": 1}, None),
        ({"$id": "https://example.com", "$defs": {"a": {"const": 1}}, "$ref": "#/$defs/a"}, 1, 2, 'breaks "const": 1'),
    ],
)  # fmt: skip
def test_what_breaks_a_schema_is_told_without_the_value(document, good, bad, words):
    made = schema(document)
    if document is not False:
        assert made.problem(good) is None
    assert made.problem(bad) is not None
    if words is not None:
        assert made.problem(bad) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(
    value=JSON,
    document=st.fixed_dictionaries(
        {},
        optional={
            "uniqueItems": st.just(True),
            "pattern": st.sampled_from(["^a", "b$", "^(a|b)*$"]),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), st.just({"type": "integer"})),
            "additionalProperties": st.booleans() | st.just({"type": "string"}),
            "properties": st.just({"a": {"maximum": 1}}),
            "anyOf": st.just([{"type": "object"}, {"type": "array"}, {"enum": [1, "ab"]}]),
        },
    ),
)
def test_the_bounded_keywords_judge_as_the_library_does(value, document):
    assert (problem(document, value) is None) == Draft202012Validator(document).is_valid(value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "the schema:1: not JSON"),
        (b'"x"', "a schema is a JSON object, or true or false"),
        (b'{"type": "nonsense"}', "no JSON Schema: at type"),
        (b'{"a": "' + b"x" * SCHEMA_BYTES_MAX + b'"}', f"the limit is {SCHEMA_BYTES_MAX}"),
        (b'{"$schema": "https://json-schema.org/draft/2019-09/schema"}', "write one of: "),
        (b'{"$ref": "https://example.com/x"}', "leads out of the schema"),
        (b'{"x": {"$ref": "other.json"}}', "leads out of the schema"),
        (b'{"items": {"$schema": "http://json-schema.org/draft-07/schema"}}', "$schema below the top"),
        (b'{"default": {"unevaluatedItems": false}}', "unevaluatedItems is not supported"),
        (b'{"$dynamicRef": "#x"}', "$dynamicRef below the top"),
        (b'{"pattern": "(?!a)"}', "pattern '(?!a)': invalid perl operator"),
        (b'{"patternProperties": {"(": {}}}', "pattern '(': missing )"),
        (json.dumps({"patternProperties": {f"{n}": {} for n in range(257)}}).encode(), "257 patterns; the limit"),
        (b'{"items": ' * 63 + b"{}" + b"}" * 63, None),
        (b'{"items": ' * 70 + b"{}" + b"}" * 70, "nested deeper than 64"),
    ],
)
def test_what_is_no_schema_is_refused(data, words):
    if words is None:
        assert Schema(data).problem([]) is None
        return
    with pytest.raises(SchemaUnusable) as caught:
        Schema(data)
    assert words in str(caught.value)


def doubling(depth: int) -> dict[str, object]:
    """Two references to what has two references to what …: 2 ** depth steps."""
    steps = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(depth)}
    return {"$defs": {**steps, f"a{depth}": {}}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ({"$ref": "#"}, 1),
        ({"not": {"$ref": "#"}}, 1),
        (doubling(60), 1),
        ({"items": {"enum": [*range(10_000), -1.5]}}, [-1.5] * 5_000),
        ({"anyOf": [{"minLength": 10**9 + n} for n in range(1_000)]}, "x" * 1_000_000),
        ({"allOf": [{"items": {}}] * 1_000}, [0] * 100_000),
        ({"items": {"pattern": "(x|xx|xxx|[a-q]+){1,60}$"}}, ["a" * 1_000] * 1_000),
        ({"$ref": "#/nowhere"}, {}),
        ({"$ref": "#/properties", "properties": {"$ref": {}}}, {"a": 1}),
        ({"multipleOf": 0.01}, 10**400),
    ],
)
def test_what_would_take_for_ever_is_given_up(document, value):
    with pytest.raises(SchemaUnusable):
        problem({"type": ["array", "string", "number", "object"], **document}, value)


def test_a_pattern_that_backtracks_elsewhere_is_linear():
    assert problem({"pattern": "^(a+)+$"}, "a" * 100_000 + "b") == 'breaks "pattern": "^(a+)+$"'


def test_a_large_value_of_people_fits_the_budget():
    rows = [{"id": number, "name": f"row {number}", "tags": ["a", "b"]} for number in range(5_000)]
    row = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "name": {"maxLength": 20}}}
    assert problem({"type": "array", "items": row, "uniqueItems": True}, rows) is None


@pytest.mark.parametrize(
    ("value_type", "value", "structure"),
    [
        (ValueType.TEXT, b"12", "12"),
        (ValueType.JSON, b"12", 12),
        (ValueType.YAML, b"a: [1, no]", {"a": [1, "no"]}),
        (ValueType.TOML, b"a = 2024-01-31", {"a": "2024-01-31"}),
        (ValueType.BYTES, b"\x00", {"base64": "AA=="}),
    ],
)
def test_what_a_schema_sees_of_a_value(value_type, value, structure):
    assert structure_of(value_type, value) == structure
