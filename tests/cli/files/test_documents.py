"""Documents: where keys come from, and every error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gossipconf.cli.files.documents import FILE_BYTES_MAX, load
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput, LimitExceeded
from gossipconf.model.limits import ENTRIES_MAX, VALUE_BYTES_MAX
from gossipconf.runtime.syntax import DEPTH_MAX

SHOP = Path(__file__).parents[3] / "examples" / "shop"
TEXT, JSON = ValueType.TEXT, ValueType.JSON

# -- the example ----------------------------------------------------------------------------------


def test_shop_has_its_405_keys_in_every_format():
    shop = load(SHOP, prefix="shop")
    assert len(shop.entries) == 405
    suffixes = {Path(source.partition(":")[0]).suffix for source in shop.sources.values()}
    assert suffixes == {".yaml", ".toml", ".json", ".properties"}
    assert shop.skipped == ("README.md",)
    assert shop.prefixes == ("shop",)
    assert list(shop.entries) == sorted(shop.entries)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("shop/checkout/tax/rates/NO", (JSON, b"0.25")),
        ("shop/checkout/shipping/cutoff", (TEXT, b"14:00")),
        ("shop/gateway/routes/search/upstream", (TEXT, b"http://catalog.internal.example:8080")),
        ("shop/gateway/routes/search/timeout_ms", (JSON, b"1200")),
        ("shop/gateway/maintenance/enabled", (TEXT, b"no")),
        ("shop/shared/flags/new_checkout/remove_by", (TEXT, b"2025-09-30")),
        ("shop/shared/platform/calendar/freeze_from", (TEXT, b"2025-11-24")),
        ("shop/payments/server/port", (TEXT, b"8080")),
        ("shop/notifications/overrides", (JSON, b"{}")),
        ("shop/notifications/retry/backoff_s", (JSON, b"[5,30,120,600,3600]")),
    ],
)
def test_shop_values(key, expected):
    assert load(SHOP, prefix="shop").entries[key] == expected


# -- where keys come from -------------------------------------------------------------------------


def test_a_path_below_the_directory_is_the_prefix(write):
    found = load(write({"shop/checkout.yaml": "a: {b: x}", "top.json": '{"n": 1}'}))
    assert found.entries == {"shop/checkout/a/b": (TEXT, b"x"), "top/n": (JSON, b"1")}
    assert found.prefixes == ("shop/checkout", "top")


def test_a_file_goes_under_its_stem_or_the_given_prefix(write):
    file = write({"checkout.prod.yml": "a: x"}) / "checkout.prod.yml"
    assert list(load(file).entries) == ["checkout.prod/a"]
    assert list(load(file, prefix="eu/shop").entries) == ["eu/shop/a"]
    assert list(load(file, prefix="").entries) == ["a"]


def test_a_directory_goes_below_the_given_prefix(write):
    found = load(write({"x/y.toml": "a = 1"}), prefix="p")
    assert list(found.entries) == ["p/x/y/a"]
    assert found.prefixes == ("p",)


def test_prefixes_drop_those_inside_another(write):
    found = load(write({"a.yaml": "x: 1", "a/b.yaml": "y: 1", "ab.yaml": "z: 1"}))
    assert found.prefixes == ("a", "ab")


def test_hidden_and_readme_files_are_skipped_and_told(write):
    found = load(write({"a.yaml": "x: 1", ".git/config.yaml": "y: 1", ".env": "", "sub/README": "", "notes.md": ""}))
    assert list(found.entries) == ["a/x"]
    assert found.skipped == (".env", ".git", "notes.md", "sub/README")


def test_foreign_files_are_all_named(refusal):
    message = refusal({"a.yaml": "x: 1", "b.ini": "", "c/d.yaml~": ""})
    assert "b.ini, c/d.yaml~" in message
    assert ".properties" in message


def test_links_to_files_are_followed_and_to_directories_refused(write):
    directory = write({"..data/a.yaml": "x: 1"})
    (directory / "a.yaml").symlink_to("..data/a.yaml")
    assert list(load(directory).entries) == ["a/x"]
    (directory / "loop").symlink_to(directory)
    with pytest.raises(InvalidInput, match="loop"):
        load(directory)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(InvalidInput, match=r"a\.yaml"):
        load(tmp_path)
    with pytest.raises(InvalidInput, match="not a regular file"):
        load(tmp_path / "a.yaml")


def test_what_cannot_be_loaded_at_all(write):
    directory = write({"a.ini": "x"})
    with pytest.raises(InvalidInput, match="no such file"):
        load(directory / "gone.yaml")
    with pytest.raises(InvalidInput, match=r"a\.ini: not a configuration file"):
        load(directory / "a.ini")
    (directory / "a.ini").unlink()
    with pytest.raises(InvalidInput, match="no file that ends in"):
        load(directory)
    with pytest.raises(InvalidInput, match="empty segment"):
        load(directory, prefix="a//b")


@pytest.mark.parametrize("name", ["_policy/a.yaml", "_a.yaml", "a\u200b.yaml", " a.yaml"])
def test_file_names_that_are_no_keys(refusal, name):
    assert refusal({name: "x: 1"}).startswith(name)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        # syntax
        ("f.yaml", "a: 1\nb: [1\nc: 2\n", ["f.yaml:3", "not YAML"]),
        ("f.yaml", "a: 1\n---\nb: 1\n", ["f.yaml:2", "another document"]),
        ("f.yaml", "a: &x 1\nb: &x 2", ["f.yaml:2", "duplicate anchor 'x'"]),
        ("f.yaml", "a: *gone", ["f.yaml:1", "undefined alias"]),
        ("f.yaml", "a: 1\nb: \x01", ["f.yaml:2", "not YAML"]),
        ("f.yaml", 'a: "\\UFFFFFFFF"', ["f.yaml", "escape"]),
        ("f.json", '{"a": 1,\n}', ["f.json:2", "not JSON"]),
        ("f.json", "", ["f.json:1", "not JSON"]),
        ("f.toml", "a = 1\nb = \n", ["f.toml:2", "not TOML"]),
        ("f.properties", "a=1\nb=\\u12", ["f.properties:2", "\\u"]),
        ("f.json", b'{"a": "\xff"}', ["f.json", "not UTF-8 at byte 7"]),
        # what is not a mapping
        ("f.yaml", "- a\n", ["f.yaml", "must hold a mapping"]),
        ("f.yaml", "word", ["f.yaml", "must hold a mapping"]),
        ("f.json", "null", ["f.json", "must hold a mapping"]),
        # duplicates
        ("f.yaml", "a:\n  b: 1\n  c: 2\n  b: 3", ["f.yaml:4", "'a/b'", "twice"]),
        ("f.yaml", "1: a\n'1': b", ["f.yaml:2", "'1'", "twice"]),
        ("f.yaml", "a: [{b: 1, b: 2}]", ["f.yaml:1", "twice"]),
        ("f.json", '{"a": {"b": 1, "b": 1}}', ["f.json", "'b'", "twice"]),
        ("f.toml", "[a]\nb = 1\nb = 2", ["f.toml:3", "'b'", "twice"]),
        ("f.properties", "a.b=1\nc=1\na.b=2", ["f.properties:3", "'f/a/b'", "f.properties:1"]),
        # a value and a tree at one key
        ("f.properties", "log.level=1\nlog.level.root=2", ["f.properties:2", "'f/log/level'", "f.properties:1"]),
        # keys
        ("f.yaml", "a:\n  b/c: 1", ["f.yaml:2", "'b/c'", "slash"]),
        ("f.yaml", "a:\n  b/c: {d: 1}", ["f.yaml:2", "'b/c'", "slash"]),
        ("f.yaml", "a: {'': 1}", ["f.yaml:1", "empty key below a"]),
        ("f.json", '{"": {"b": 1}}', ["f.json", "empty key"]),
        ("f.json", '{"a\\u0007": 1}', ["f.json", "unprintable", "U+0007"]),
        ("f.json", '{"\\ud800": 1}', ["f.json", "U+D800"]),
        ("f.json", '{"..": 1}', ["f.json", "'..'"]),
        ("f.properties", "a..b=1", ["f.properties:1", "empty key below a"]),
        ("f.properties", "=1", ["f.properties:1", "empty key"]),
        *(("f.yaml", f"x: 1\n{key}: a", ["f.yaml:2", "quote it"]) for key in ("true", "~", "1.10", "010", "0x1")),
        ("f.yaml", "? [a, b]\n: 1", ["f.yaml:1", "keys are text"]),
        # values
        ("f.yaml", "x: 1\na: .nan", ["f.yaml:2", "'f/a'", "NaN"]),
        ("f.yaml", "a: [-.INF]", ["f.yaml:1", "'f/a'", "infinity"]),
        ("f.yaml", "a: 1e999", ["f.yaml:1", "'f/a'"]),
        ("f.json", '{"a": {"b": NaN}}', ["f.json", "'f/a/b'"]),
        ("f.json", '{"a": -Infinity}', ["f.json", "'f/a'"]),
        ("f.toml", "a = inf", ["f.toml", "'f/a'"]),
        ("f.json", '{"a": "\\ud800"}', ["f.json", "'f/a'", "surrogate"]),
        ("f.json", '{"a": ["\\ud800"]}', ["f.json", "'f/a'", "surrogate"]),
        ("f.json", '{"a": ' + "9" * 5000 + "}", ["f.json", "quote it"]),
        ("f.yaml", "a: " + "9" * 5000, ["f.yaml:1", "quote it"]),
        ("f.yaml", "a: 0x" + "9" * 5000, ["f.yaml:1", "'f/a'", "quote it"]),
        ("f.toml", "a = " + "9" * 5000, ["f.toml"]),
        ("f.toml", "a = 2024-02-31", ["f.toml"]),
        # YAML's own
        ("f.yaml", "a: !!binary aGk=", ["f.yaml:1", "!!binary"]),
        ("f.yaml", "a: !secret {b: 1}", ["f.yaml:1", "!secret"]),
        ("f.yaml", "a: !!int x", ["f.yaml:1", "!!int"]),
        ("f.yaml", "x: 1\na: &a [*a]", ["f.yaml:2", "contains itself"]),
        ("f.yaml", "a: &a {b: {c: *a}}", ["f.yaml:1", "contains itself"]),
        ("f.yaml", "a: &a {<<: *a}", ["f.yaml:1", "contains itself"]),
        ("f.yaml", "a: {<<: 5}", ["f.yaml:1", "<<"]),
    ],
)
def test_errors_name_the_place_and_the_mend(refusal, name, content, parts):
    message = refusal({name: content})
    assert message.startswith(name)
    assert [part for part in parts if part not in message] == []


def test_the_same_key_from_two_files(refusal):
    message = refusal({"a.toml": "x = 1", "a.yaml": "y: 1\nx: 2"})
    assert message.startswith("a.yaml:2: key 'a/x' is set already at")
    assert "a.toml" in message


def test_a_value_above_another_files_tree(refusal):
    message = refusal({"shop.yaml": "checkout: 5", "shop/checkout.yaml": "a: {b: 1}"})
    assert message.startswith("shop/checkout.yaml:1: key 'shop/checkout/a/b' lies below 'shop/checkout'")
    assert "shop.yaml:1;" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.yaml", "a: [hunter2\nb"),
        ("f.yaml", "a: !!int hunter2"),
        ("f.json", '{"a": "hunter2" x}'),
        ("f.toml", "a = hunter2"),
        ("f.toml", 'a = 1\na = "hunter2"'),
        ("f.properties", "a=hunter2\na=hunter2"),
    ],
)
def test_errors_show_no_values(refusal, name, content):
    assert "hunter2" not in refusal({name: content})


BOMB = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
DEEP_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
LONG_KEY = f"k: &k {{{'k' * 900}: 1}}\nl: [{', '.join(['*k'] * 2000)}]"


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("f.yaml", BOMB, "aliases"),
        ("f.yaml", LONG_KEY, "aliases"),
        ("f.yaml", f"a: &a {'x' * 700_000}\nb: [*a, *a]", "aliases"),
        ("f.yaml", DEEP_ALIASES, "nested deeper"),
        ("f.yaml", "a: " + "[" * 50_000, "f.yaml:1: nested deeper"),
        ("f.json", '{"a":' + "[" * 50_000, "nested deeper"),
        ("f.json", '{"a":' * 65 + "1" + "}" * 65, "nested deeper"),
        ("f.toml", "a = " + "[" * 50_000, "nested deeper"),
        ("f.toml", ".".join("a" * 5000) + " = 1", "nested deeper"),
        ("f.json", json.dumps({"a": "x" * (VALUE_BYTES_MAX + 1)}), "'f/a': the value has 1048577 bytes"),
        ("f.json", json.dumps({"a": ["x" * VALUE_BYTES_MAX]}), "'f/a': the value has"),
        ("f.json", json.dumps({"a" * 511: 1}), "limit is 512"),
        ("f.properties", "".join(f"k{n}=\n" for n in range(ENTRIES_MAX + 1)), f"more than {ENTRIES_MAX:,} entries"),
        ("f.yaml", b"#" * (FILE_BYTES_MAX + 1), "larger than"),
    ],
    ids=lambda value: str(value)[:16],
)
def test_limits(refusal, name, content, part):
    assert part in refusal({name: content}, LimitExceeded)


def test_just_within_the_limits(entries):
    assert entries(".json", json.dumps({"a": "x" * VALUE_BYTES_MAX}))["f/a"] == (TEXT, b"x" * VALUE_BYTES_MAX)
    deepest = "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1)
    for suffix, written in ((".yaml", f"a: {deepest}"), (".json", f'{{"a":{deepest}}}'), (".toml", f"a = {deepest}")):
        assert entries(suffix, written)["f/a"] == (JSON, deepest.encode())
