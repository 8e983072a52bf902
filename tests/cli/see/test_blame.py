"""`blame`: with which change each value came; against a real agent."""

from __future__ import annotations

import json


def blamed(run, *arguments):
    """(key, path, value, comment) of each."""
    result = run("blame", *arguments, "--json")
    assert result.code == 0, result.err
    return [(one["key"], one["path"], one["value"], one["comment"]) for one in json.loads(result.out)]


def put(run, key, value, comment, *options):
    assert run("put", key, value, "--comment", comment, *options).code == 0


def test_each_path_is_told_apart(cluster, run):
    put(run, "bl/s", '{"a": 1, "b": {"c": [1, 2]}, "d": "x", "e": {}}', "first", "--type", "json")
    put(run, "bl/s", '{"a": 2, "b": {"c": [1, 2]}, "d": "x", "e": {}}', "a is two")
    put(run, "bl/s", '{"a": 1, "b": {"c": [1, 3]}, "e": {}, "d": "x"}', "a is one again")
    put(run, "bl/t", "1", "text")
    put(run, "bl/t", "2", "text again")
    expected = [
        ("bl/s", "/a", 1, "a is one again"),
        ("bl/s", "/b/c/0", 1, "first"),
        ("bl/s", "/b/c/1", 3, "a is one again"),
        ("bl/s", "/e", {}, "first"),
        ("bl/s", "/d", "x", "first"),
    ]
    assert blamed(run, "bl/s") == expected
    assert blamed(run, "bl") == [*expected, ("bl/t", "", "2", "text again")]
    lines = run("blame", "bl/").out.splitlines()
    assert lines[0].split() == ["TIME", "(UTC)", "CHANGE", "BY", "KEY", "VALUE", "COMMENT"]
    assert "bl/s#/b/c/1  3" in lines[3]
    assert "^" not in run("blame", "bl").out


def test_a_number_is_no_boolean_and_another_format_says_the_same(cluster, run):
    put(run, "bt/s", '{"one": 1, "same": [true]}', "json", "--type", "json")
    put(run, "bt/s", "one: true\nsame: [true]\n", "yaml", "--type", "yaml")
    assert blamed(run, "bt/s") == [("bt/s", "/one", True, "yaml"), ("bt/s", "/same/0", True, "json")]


def test_what_was_deleted_came_with_its_return(cluster, run):
    put(run, "bd/s", '{"a": 1}', "before", "--type", "json")
    assert run("delete", "bd/s").code == 0
    assert run("blame", "bd/s").code == 3
    put(run, "bd/s", '{"a": 1}', "after", "--type", "json")
    assert blamed(run, "bd/s") == [("bd/s", "/a", 1, "after")]


def test_nothing_to_blame(cluster, run):
    result = run("blame", "no/such")
    assert (result.code, result.err) == (3, "error: no value at 'no/such' or under it; see: gossipconf list\n")
