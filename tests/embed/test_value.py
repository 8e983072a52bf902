"""Values to what a program wants, and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.embed.value import Content, copied, read_as, written
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput, WrongType

TEXT, JSON, YAML, TOML, BYTES = ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML, ValueType.BYTES


@pytest.mark.parametrize(
    ("kind", "data", "wanted", "expected"),
    [
        (TEXT, "30", int, 30),
        (TEXT, " -30\n", int, -30),
        (TEXT, "2.5", float, 2.5),
        (TEXT, "30", float, 30.0),
        (TEXT, "Yes", bool, True),
        (TEXT, "off", bool, False),
        (TEXT, "30", str, "30"),
        (TEXT, "30", bytes, b"30"),
        (TEXT, '{"a": [1]}', dict, {"a": [1]}),
        (TEXT, "[1]", list, [1]),
        (JSON, "30", int, 30),
        (JSON, "30", float, 30.0),
        (JSON, "true", bool, True),
        (JSON, '"30"', str, "30"),
        (JSON, '"30"', bytes, b'"30"'),
        (YAML, "a: no", dict, {"a": "no"}),
        (TOML, "a = 1", dict, {"a": 1}),
        (BYTES, "x", bytes, b"x"),
    ],
)
def test_what_can_be_read(kind, data, wanted, expected):
    found = read_as("k", Content(kind, data.encode()), wanted)
    assert (found, type(found)) == (expected, wanted)


@pytest.mark.parametrize(
    ("kind", "data", "wanted", "words"),
    [
        (TEXT, "3x", int, "text that is no whole number"),
        (TEXT, "1_000", int, "text that is no whole number"),
        (TEXT, "3.0", int, "text that is no whole number"),
        (TEXT, "9" * 5_000, int, "text that is no whole number"),
        (TEXT, "nan", float, "text that is no finite number"),
        (TEXT, "x", float, "text that is no number"),
        (TEXT, "maybe", bool, "text that is neither true nor false"),
        (TEXT, "x", dict, "text that is no dict in JSON"),
        (TEXT, "[1]", dict, "of type list"),
        (JSON, "true", int, "of type bool"),
        (JSON, "3.0", int, "of type float"),
        (JSON, '"3"', int, "of type str"),
        (JSON, "1" + "0" * 400, float, "a whole number beyond a float"),
        (JSON, "null", str, "null"),
        (JSON, "{", dict, "broken json"),
        (BYTES, "x", str, "of type bytes"),
    ],
)
def test_what_cannot_be_read_is_told_by_key_type_and_kind(kind, data, wanted, words):
    with pytest.raises(WrongType, match=f"'the/key': {wanted.__name__} is wanted, and the value is {words}"):
        read_as("the/key", Content(kind, data.encode()), wanted)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: value is not None)


@given(PLAIN, st.sampled_from([None, TEXT, JSON, YAML, TOML, BYTES]))
def test_what_is_published_is_read_again(value, before):
    try:
        content = written("k", value, before if before is not YAML else JSON)
    except InvalidInput:
        assert "\\ud" in json.dumps(value), "only lone surrogates cannot be said in UTF-8"
        return
    assert read_as("k", content, type(value)) == value


@pytest.mark.parametrize(
    ("value", "before", "kind", "data"),
    [
        ("x", None, TEXT, b"x"),
        ("x", JSON, JSON, b'"x"'),
        ("x", BYTES, TEXT, b"x"),
        (3, None, JSON, b"3"),
        (3, TEXT, TEXT, b"3"),
        (True, TEXT, TEXT, b"true"),
        ({"b": 1, "a": 2}, TEXT, JSON, b'{"a": 2, "b": 1}'),
        ([1], YAML, YAML, b"[1]"),
        ([1], TOML, JSON, b"[1]"),
        (b"\0", JSON, BYTES, b"\0"),
    ],
)
def test_a_value_keeps_the_type_of_its_key_where_it_can(value, before, kind, data):
    assert written("k", value, before) == Content(kind, data)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), "\ud800"])
def test_what_no_value_can_be_names_the_key(value):
    with pytest.raises(InvalidInput, match="'the/key'"):
        written("the/key", value, None)


def test_a_value_does_not_show_itself():
    assert "secret" not in repr(Content(TEXT, b"secret"))


@given(PLAIN)
def test_a_copy_is_equal_and_shares_nothing_that_changes(value):
    found = copied(value)
    assert found == value
    assert not isinstance(value, dict | list) or found is not value
