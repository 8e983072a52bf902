"""What a machine's environment and a local file override, and what is wrong with either."""

from __future__ import annotations

import pytest

from gossipconf.embed.overrides import FILE_BYTES_MAX, load, variable_of
from gossipconf.embed.value import Content
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("a", "GOSSIPCONF_OVERRIDE_A"),
        ("shop/checkout/timeout-ms", "GOSSIPCONF_OVERRIDE_SHOP__CHECKOUT__TIMEOUT_MS"),
        ("shop/a.b c", "GOSSIPCONF_OVERRIDE_SHOP__A_B_C"),
    ],
)
def test_the_variable_of_a_key(key, variable):
    assert variable_of(key) == variable


def test_only_its_own_variables_are_taken():
    found = load(None, {"GOSSIPCONF_OVERRIDE_A": "1", "GOSSIPCONF_CLUSTER": "x", "A": "2"})
    assert found.variables == {"GOSSIPCONF_OVERRIDE_A": "1"}
    assert bool(found)
    assert not load(None, {"A": "2"})


FILES = {
    "a.toml": '[shop]\nname = "x"\nlimit = 3\nlist = [1]\n[shop.deep]\nat = 2026-01-01\n',
    "a.yaml": "shop:\n  name: x\n  limit: 3\n  list: [1]\n  deep: {at: '2026-01-01'}\n",
    "a.json": '{"shop": {"name": "x", "limit": 3, "list": [1], "deep": {"at": "2026-01-01"}}}',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_each_format(tmp_path, name):
    path = tmp_path / name
    path.write_text(FILES[name])
    assert load(path, {}).file == {
        "shop/name": Content(ValueType.TEXT, b"x"),
        "shop/limit": Content(ValueType.JSON, b"3"),
        "shop/list": Content(ValueType.JSON, b"[1]"),
        "shop/deep/at": Content(ValueType.TEXT, b"2026-01-01"),
    }


def test_a_file_that_says_nothing(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# nothing\n")
    assert not load(path, {})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.ini", "", "its name must end in"),
        ("a.toml", "a = ", "a.toml:1: not TOML"),
        ("a.yaml", "- 1\n", "must hold a table of keys"),
        ("a.toml", '"a//b" = 1', "a//b"),
        ("a.toml", "_policies = 1", "the system's"),
        ("a.json", " " * (FILE_BYTES_MAX + 1), "is larger than"),
        ("none.toml", None, "cannot be read: No such file"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words) as raised:
        load(tmp_path / name, {})
    assert name in str(raised.value)


def test_a_variable_that_is_no_utf8():
    with pytest.raises(ConfigError, match="GOSSIPCONF_OVERRIDE_A is not UTF-8"):
        load(None, {"GOSSIPCONF_OVERRIDE_A": "\udcff"})
