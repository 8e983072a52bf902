"""`resolve`, against a real agent: conflicts end by one change that has seen all values."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from gossipconf.cli.instant import now_ms
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, ValueType, delete, put
from gossipconf.trust.keys import load_signer
from gossipconf.trust.signing import Reservation, compose

from ..conftest import wait_at
from ..test_commands import document, siblings


@pytest.fixture
def conflict(cluster, run):
    """Make siblings of one key, all from one base; returns their changes, the oldest first."""

    def make(key: str, base: Entry | None, *entries: Entry) -> list[str]:
        signer = load_signer(cluster / "keys" / "admin")
        made = []
        with open_session(Target.find(cluster)) as session:
            before = [] if base is None else [session.publish([base], signer).change]
            for number, entry in enumerate(entries):
                reservation = Reservation(os.urandom(8), 1)
                time_ms = now_ms() + 10 + number
                change = compose(
                    [entry], before, chain=session.chain, signer=signer, reservation=reservation, now_ms=time_ms
                )
                session.send(change)
                made.append(change.id.hex())
        assert len(document(run("get", key, "--all", "--json"))) >= len(entries)
        return made

    return make


@pytest.fixture
def editor(monkeypatch, tmp_path):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def choose(script: str) -> Path:
        (tmp_path / "editor.sh").write_text(f'#!/bin/sh\ncp "$1" "{tmp_path}/seen"\nsed -i "{script}" "$1"\n')
        (tmp_path / "editor.sh").chmod(0o755)
        monkeypatch.setenv("EDITOR", str(tmp_path / "editor.sh"))
        return tmp_path / "seen"

    return choose


def text(key: str, value: str, value_type: ValueType = ValueType.TEXT) -> Entry:
    return put(key, value.encode(), value_type)


def value_of(run, key):
    found = document(run("get", key, "--json"))
    assert found["conflict"] == []
    return found["value"]


def test_one_value_is_picked(cluster, run, conflict):
    first, _ = conflict("res/pick", None, text("res/pick", "one"), text("res/pick", "two"))
    dry = run("resolve", "res/pick", "--pick", first, "--dry-run")
    assert (dry.code, dry.out) == (
        2,
        "~ res/pick  two → one  (settles 2 values in conflict)\ndry run: nothing was published\n",
    )
    assert run("resolve", "res/pick", "--pick", first[:8], "--ticket", "OPS-17").code == 0
    assert value_of(run, "res/pick") == "one"
    assert run("resolve", "res/pick", "--pick", "newest").out == "no conflicts at or under 'res/pick'\n"
    states = [(one["value"], one["retired"] is None) for one in document(run("history", "res/pick", "--json"))]
    assert sorted(states) == [("one", False), ("one", True), ("two", False)], "nothing is lost from history"


def test_the_newest_of_many_is_picked(cluster, run):
    for key in ("resmany/a", "resmany/b/c"):
        siblings(cluster, key, "one", "two", "three")
    refused = run("resolve", "resmany", "--pick", "newest")
    assert "add --yes" in refused.err
    result = run("resolve", "resmany", "--pick", "newest", "--yes")
    assert "published 2 keys" in result.out
    assert [value_of(run, key) for key in ("resmany/a", "resmany/b/c")] == ["three", "three"]


def test_what_does_not_contradict_is_merged(cluster, run, conflict):
    key = "res/merge"
    base = text(key, '{"a": 1, "b": {"x": 1}}', ValueType.JSON)
    ours = text(key, '{"a": 2, "b": {"x": 1}}', ValueType.JSON)
    theirs = text(key, '{"a": 1, "b": {"x": 1, "y": 2}}', ValueType.JSON)
    conflict(key, base, ours, theirs)
    result = run("resolve", key, "--merge")
    assert result.code == 0, result.err
    assert value_of(run, key) == {"a": 2, "b": {"x": 1, "y": 2}}


def test_three_values_are_merged(cluster, run, conflict):
    key = "res/three"
    values = ("a: 1\n\nb: 1\n\nc: 1\n", "a: 2\n\nb: 1\n\nc: 1\n", "a: 1\n\nb: 2\n\nc: 1\n", "a: 1\n\nb: 1\n\nc: 2\n")
    conflict(key, *(text(key, value, ValueType.YAML) for value in values))
    assert run("resolve", key).code == 0
    assert run("get", key).out == "a: 2\n\nb: 2\n\nc: 2\n"


def test_what_contradicts_opens_in_the_editor(cluster, run, conflict, editor):
    key = "res/edit"
    _, theirs = conflict(key, text(key, "a\nb\nc\n"), text(key, "a\nx\nc\n"), text(key, "a\ny\nc\n"))
    seen = editor("/^<<</,/^===/d; /^>>>/d")
    result = run("resolve", key)
    assert result.code == 0, result.err
    assert f"note: both have changed {key} at line 2\n" in result.err
    assert re.sub(r"[0-9a-f]{10} by admins, [^\n]*", "CHANGE", seen.read_text()) == (
        "a\n<<<<<<< CHANGE\ny\n||||||| before both\nb\n=======\nx\n>>>>>>> CHANGE\nc\n"
    )
    assert theirs[:10] in seen.read_text()
    assert value_of(run, key) == "a\nx\nc\n"


def test_markers_that_are_left_are_refused_and_the_text_kept(cluster, run, conflict, editor):
    key = "res/left"
    conflict(key, text(key, "1", ValueType.JSON), text(key, "2", ValueType.JSON), text(key, "3", ValueType.JSON))
    editor("s/2/7/")
    result = run("resolve", key)
    assert result.code == 1
    assert "markers such as <<<<<<< are left" in result.err
    (path,) = re.findall(r"The text is kept in (\S+)\n", result.err)
    assert "7" in Path(path).read_text()
    assert len(document(run("conflicts", key, "--json"))) == 1


def test_without_an_editor_nothing_is_published(cluster, run, conflict, monkeypatch):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    conflict("res/none", None, text("res/none", "1"), text("res/none", "2"))
    refused = run("resolve", "res/none")
    assert refused.code == 1
    assert "there is no terminal to edit on, so nothing is published" in refused.err


def test_a_merge_can_be_looked_at(cluster, run, conflict, editor):
    key = "res/look"
    first = json.dumps({"a": 1, "b": 1})
    conflict(key, *(text(key, one, ValueType.JSON) for one in (first, '{"a": 2, "b": 1}', '{"a": 1, "b": 2}')))
    seen = editor("s/2/3/g")
    assert run("resolve", key, "--edit").code == 0
    assert seen.read_text() == '{"a": 2, "b": 2}'
    assert value_of(run, key) == {"a": 3, "b": 3}


def test_a_new_value_settles_it(cluster, run, conflict):
    key = "res/value"
    conflict(key, None, text(key, "1", ValueType.JSON), text(key, "2", ValueType.JSON))
    assert "not JSON" in run("resolve", key, "--value", "{").err
    assert run("resolve", key, "--value", "3").code == 0
    assert value_of(run, key) == 3


def test_a_delete_and_a_value_are_no_merge(cluster, run, conflict):
    key = "res/gone"
    gone, _ = conflict(key, text(key, "1"), delete(key), text(key, "2"))
    assert "of different kinds, or no text; pick one" in run("resolve", key).err
    assert run("resolve", key, "--pick", gone).out.startswith("- res/gone  2  (settles 2 values in conflict)\n")
    assert run("get", key).code == 3


def test_a_variant_is_settled_with_whom_it_is_for(cluster, run, conflict):
    key, match = "res/variant", (MatchTerm(MatchKind.EQUAL, "zone", ("eu",)),)
    one, two = (put(key, value, variant="eu", match=match) for value in (b"1", b"2"))
    first, _ = conflict(key, None, one, two)
    assert run("resolve", key, "--pick", first).code == 0
    with open_session(Target.find(cluster)) as session:
        (version,) = session.get(key).versions
    assert (version.entry.variant, version.entry.match, version.entry.value) == ("eu", match, b"1")


def test_who_was_faster_is_not_overwritten(cluster, run, conflict, monkeypatch, tmp_path):
    key = "res/raced"
    conflict(key, None, text(key, "1\n"), text(key, "2\n"))
    script = tmp_path / "other.sh"
    script.write_text(
        f'#!/bin/sh\n"{sys.executable}" -m gossipconf.cli put {key} 3 --cluster "{cluster}" >/dev/null'
        ' && echo 4 > "$1"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    result = run("resolve", key)
    assert result.code == 6
    assert "The text is kept in" in result.err
    assert value_of(run, key) == "3"


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("resbad", "--pick", "newest", "--merge"), 2, "give one of --pick"),
        (("resbad", "--pick", "latest"), 2, "is neither 'newest' nor a change"),
        (("resbad", "--value", "1"), 1, "--value is for one conflict, and there are 2 (resbad/a, resbad/b)"),
        (("resbad", "--edit"), 1, "--edit is for one conflict"),
        (("resbad/a", "--pick", "0123456789"), 3, "no value at 'resbad/a' is of change 0123456789; there are"),
        (("_policy", "--pick", "newest"), 1, "the system's"),
    ],
)
def test_bad_input_is_named(cluster, run, arguments, code, part):
    for key in ("resbad/a", "resbad/b"):
        if not document(run("conflicts", key, "--json")):
            siblings(cluster, key, "one", "two")
    result = run("resolve", *arguments)
    assert result.code == code
    assert part in result.err


def test_agents_that_were_apart_show_the_same_conflict_and_settle_it(agents, run):
    """Three that each publish alone, the same key and sets of keys that overlap; then they meet."""
    names, where = ("a", "b", "c"), ("--cluster", agents.directory, "--agent")
    at = {name: (*where, agents.directory / "nodes" / name) for name in names}
    agents.add("a")
    with open_session(Target.find(agents.directory, agents.directory / "nodes" / "a")) as session:
        agents.settle_address("a", session.info["address"])
    assert run("put", "all", "base", *at["a"]).code == 0
    for name in ("b", "c"):
        agents.add(name)
        agents.wait(name, "all", b"base")
    agents.stop_all()
    for name, pair in zip(names, ("xy", "yz", "zx"), strict=True):
        agents.start(name)
        file = agents.directory / f"{name}.properties"
        file.write_text("".join(f"{key}={name}\n" for key in ("all", *pair)))
        assert run("apply", file, "--prefix", "", "--yes", *at[name]).code == 0
        agents.stop(name)
    for name in names:
        agents.start(name)
    expected = {"all": set("abc"), "x": set("ac"), "y": set("ab"), "z": set("bc")}
    for name in names:
        for key, values in expected.items():
            wait_at(agents.directory, name, key, lambda item, values=values: len(item.versions) == len(values))
    shown = [document(run("conflicts", "--json", *at[name])) for name in names]
    assert shown[0] == shown[1] == shown[2]
    assert {one["key"]: {one["value"], *(two["value"] for two in one["conflict"])} for one in shown[0]} == expected
    assert run("resolve", "", "--pick", "newest", "--yes", *at["b"]).code == 0
    for name in names:
        for key in expected:
            wait_at(agents.directory, name, key, lambda item: len(item.versions) == 1)
        assert document(run("conflicts", "--json", *at[name])) == []
        past = document(run("history", "all", "--json", *at[name]))
        assert {one["value"] for one in past} == {"base", "a", "b", "c"}, "nothing is lost"
