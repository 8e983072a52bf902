"""The four formats: every rule of each, that they agree, and reading published values back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.cli.files.documents import Documents, load
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput
from gossipconf.runtime.syntax import parse_value

TEXT, JSON = ValueType.TEXT, ValueType.JSON

# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("plain", (TEXT, b"plain")),
        ("'12'", (TEXT, b"12")),
        ("!!str 12", (TEXT, b"12")),
        ('""', (TEXT, b"")),
        ("'  spaces  '", (TEXT, b"  spaces  ")),
        ("|\n  two\n  lines\n", (TEXT, b"two\nlines\n")),
        *((word, (TEXT, word.encode())) for word in ("no", "NO", "yes", "on", "Off", "y", "nUll", "tRue")),
        *((word, (TEXT, word.encode())) for word in ("12:30", "1:20:30", "1_000", "0b11", "2024-01-31", "1.2.3", "=")),
        ("2001-12-14t21:59:43.10-05:00", (TEXT, b"2001-12-14t21:59:43.10-05:00")),
        ("True", (JSON, b"true")),
        ("FALSE", (JSON, b"false")),
        ("~", (JSON, b"null")),
        ("", (JSON, b"null")),
        ("010", (JSON, b"10")),
        ("0o10", (JSON, b"8")),
        ("0x1F", (JSON, b"31")),
        ("+5", (JSON, b"5")),
        ("1e3", (JSON, b"1000.0")),
        ("-.5", (JSON, b"-0.5")),
        ("!!float 3", (JSON, b"3.0")),
        ("[]", (JSON, b"[]")),
        ("{}", (JSON, b"{}")),
        ("[1, no, {b: 2, a: 'é'}, 2024-01-31]", (JSON, '[1,"no",{"a":"é","b":2},"2024-01-31"]'.encode())),
    ],
)
def test_yaml_values_follow_the_core_schema(entries, written, expected):
    assert entries(".yaml", f"a: {written}") == {"f/a": expected}


def test_yaml_keys(entries):
    assert list(entries(".yaml", "on: a\n8080: b\n-1: c\n'true': d\n2024-01-31: e\na.b: f")) == [
        "f/-1",
        "f/2024-01-31",
        "f/8080",
        "f/a.b",
        "f/on",
        "f/true",
    ]


def test_yaml_aliases_and_merges(entries):
    found = entries(
        ".yaml",
        "base: &b {x: 1, y: 1, deep: {z: 1}}\nother: &o {y: 2, w: 2}\n"
        "one: {y: 3, <<: *b}\ntwo: {<<: [*o, *b]}\nalias: *b\nquoted: {'<<': 1}",
    )
    assert {
        key: value for key, (_, value) in found.items() if key.startswith(("f/one", "f/two", "f/alias", "f/q"))
    } == {
        "f/one/x": b"1",
        "f/one/y": b"3",
        "f/one/deep/z": b"1",
        "f/two/x": b"1",
        "f/two/y": b"2",
        "f/two/w": b"2",
        "f/two/deep/z": b"1",
        "f/alias/x": b"1",
        "f/alias/y": b"1",
        "f/alias/deep/z": b"1",
        "f/quoted/<<": b"1",
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1979-05-27T07:32:00Z", b"1979-05-27T07:32:00Z"),
        ("1979-05-27 07:32:00.5+02:00", b"1979-05-27T07:32:00.500000+02:00"),
        ("1979-05-27T07:32:00", b"1979-05-27T07:32:00"),
        ("1979-05-27", b"1979-05-27"),
        ("07:32:00", b"07:32:00"),
    ],
)
def test_toml_dates_are_text(entries, written, expected):
    assert entries(".toml", f"a = {written}\nb = [{written}]") == {
        "f/a": (TEXT, expected),
        "f/b": (JSON, b'["' + expected + b'"]'),
    }


def test_toml_tables(entries):
    found = entries(".toml", 'x.y = 1\n[t]\n"a.b" = true\n[[l]]\nn = 1\n[[l]]\nn = 2\n[empty]\n')
    assert found == {
        "f/x/y": (JSON, b"1"),
        "f/t/a.b": (JSON, b"true"),
        "f/l": (JSON, b'[{"n":1},{"n":2}]'),
        "f/empty": (JSON, b"{}"),
    }


def test_properties_are_text_below_dots(write):
    found = load(write({"f.properties": "# c\r\na.b.c=1\r\n\r\nlong = x\\\r\n  y\r\nü : \\u00e9 ö\r\nbare"}))
    assert found.entries == {
        "f/a/b/c": (TEXT, b"1"),
        "f/bare": (TEXT, b""),
        "f/long": (TEXT, b"xy"),
        "f/ü": (TEXT, "é ö".encode()),
    }
    assert [source.rpartition(":")[2] for source in found.sources.values()] == ["2", "7", "4", "6"]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".yaml", ""), (".yaml", "# only\n---\n"), (".json", "{}"), (".toml", "# only"), (".properties", "! only")],
)
def test_a_file_that_says_nothing_gives_no_entries(entries, suffix, content):
    assert entries(suffix, content) == {}


def test_a_byte_order_mark_is_no_part_of_the_file(entries):
    assert entries(".json", b'\xef\xbb\xbf{"a": "x"}') == {"f/a": (TEXT, b"x")}


# -- the formats agree ----------------------------------------------------------------------------

SEGMENT = st.text(st.characters(codec="ascii", min_codepoint=0x21, exclude_characters="/\x7f"), min_size=1, max_size=8)
KEY = (SEGMENT | st.sampled_from(["true", "null", "1.5", "on", "<<", "é", "鍵"])).filter(
    lambda segment: segment not in {".", ".."}
)
WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn", "Zl", "Zp"]), max_size=12)
STRING = WORD | st.sampled_from(
    ["no", "1e3", "0o17", "12:30", "2024-01-31", "~", "true", "a\nb\n", "\ttab", "\x85\u2028"]
)
NUMBER = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


def trees(scalar):
    lists = st.recursive(
        scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=2), max_leaves=4
    )
    values = scalar | st.lists(lists, max_size=3)
    nested = st.recursive(values, lambda inner: st.dictionaries(KEY, inner, max_size=4), max_leaves=12)
    return st.dictionaries(KEY, nested, max_size=4)


class QuotingDumper(yaml.SafeDumper):
    """Quotes all text, because PyYAML leaves unquoted what only YAML 1.1 takes for text (1e3)."""


QuotingDumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)
QuotingDumper.ignore_aliases = lambda self, data: True


def toml(value) -> str:
    """An inline TOML value; its strings are JSON's but for DEL, which must be escaped."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def nested(found: Documents, place: str) -> dict:
    """The mapping that entries came from."""
    root: dict = {}
    for key, (value_type, value) in found.entries.items():
        *above, last = key.removeprefix(place + "/").split("/")
        at = root
        for segment in above:
            at = at.setdefault(segment, {})
        at[last] = parse_value(value_type, value)
    return root


@settings(max_examples=150, deadline=None)
@given(trees(st.none() | st.booleans() | NUMBER | STRING))
def test_json_and_yaml_give_the_same_entries_and_back(tmp_path_factory, tree):
    directory = tmp_path_factory.mktemp("agree")
    (directory / "f.json").write_text(json.dumps(tree), encoding="utf-8")
    (directory / "f.yaml").write_text(yaml.dump(tree, Dumper=QuotingDumper, allow_unicode=True), encoding="utf-8")
    from_json = load(directory / "f.json")
    assert nested(from_json, "f") == tree
    assert load(directory / "f.yaml").entries == from_json.entries


@settings(max_examples=150, deadline=None)
@given(trees(st.booleans() | NUMBER | STRING))
def test_toml_gives_the_same_entries_as_json(tmp_path_factory, tree):
    directory = tmp_path_factory.mktemp("agree")
    (directory / "f.json").write_text(json.dumps(tree), encoding="utf-8")
    written = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tree.items())
    (directory / "f.toml").write_text(written, encoding="utf-8", newline="")
    assert load(directory / "f.toml").entries == load(directory / "f.json").entries


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any"
    for suffix in (".yaml", ".json", ".toml", ".properties"):
        file = path.with_suffix(suffix)
        file.write_bytes(text.encode())
        found = outcome(file)
        if isinstance(found, InvalidInput):
            assert str(found).startswith(str(file))
        else:
            assert all(type(value) is bytes for _, value in found.entries.values())


def outcome(path: Path) -> Documents | InvalidInput:
    try:
        return load(path)
    except InvalidInput as error:
        return error


# -- reading back ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_type", "value", "expected"),
    [
        (ValueType.TEXT, "é no".encode(), "é no"),
        (ValueType.JSON, b'{"a":[1,null]}', {"a": [1, None]}),
        (ValueType.YAML, b"[no, 1e3, 2024-01-31]", ["no", 1000.0, "2024-01-31"]),
        (ValueType.YAML, b"", None),
        (ValueType.TOML, b"a = 2024-01-31", {"a": "2024-01-31"}),
        (ValueType.BYTES, b"\xff", b"\xff"),
        (ValueType.SEALED, b"\xff", b"\xff"),
    ],
)
def test_parse_value(value_type, value, expected):
    assert parse_value(value_type, value) == expected


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        (ValueType.TEXT, b"\xff"),
        (ValueType.JSON, b"{"),
        (ValueType.JSON, b"NaN"),
        (ValueType.YAML, b"a: b: c"),
        (ValueType.TOML, b"a"),
    ],
)
def test_parse_value_refuses_what_the_type_does_not_say(value_type, value):
    with pytest.raises(InvalidInput, match=f"the {value_type.name.lower()} value"):
        parse_value(value_type, value)
