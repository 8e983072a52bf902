"""`edit`, against a real agent: what is saved is published, and no text is lost."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from ..terminal import on_terminal
from ..test_commands import document, siblings


@pytest.fixture
def editor(monkeypatch, tmp_path):
    """Make `sed` the editor, with this script; the texts that it was given are kept."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def choose(script: str) -> Path:
        (tmp_path / "editor.sh").write_text(f'#!/bin/sh\ncp "$1" "{tmp_path}/seen"\nsed -i "{script}" "$1"\n')
        (tmp_path / "editor.sh").chmod(0o755)
        monkeypatch.setenv("EDITOR", str(tmp_path / "editor.sh"))
        return tmp_path / "seen"

    return choose


def kept(result) -> str:
    (path,) = re.findall(r"The text is kept in (\S+)\n", result.err)
    return Path(path).read_text()


def test_a_value_is_edited_and_published(cluster, run, editor):
    run("put", "edit/a", '{"a": 1}', "--type", "json")
    seen = editor("s/1/2/")
    result = run("edit", "edit/a", "--ticket", "OPS-17")
    assert result.code == 0, result.err
    assert seen.read_text() == '{"a": 1}'
    assert result.out.startswith('~ edit/a  {"a": 1} → {"a": 2}\npublished 1 key')
    found = document(run("get", "edit/a", "--json"))
    assert (found["value"], found["type"], found["ticket"]) == ({"a": 2}, "json", "OPS-17")


def test_nothing_changed_is_said_and_nothing_published(cluster, run, editor):
    run("put", "edit/same", "1")
    editor("$ s/$/\\n/")  # as editors do that end the last line
    assert run("edit", "edit/same").out == "nothing changed, nothing to publish\n"
    editor("s/x/y/")
    assert run("edit", "edit/same").out == "nothing changed, nothing to publish\n"
    assert len(document(run("history", "edit/same", "--json"))) == 1


def test_a_long_key_has_a_file_too(cluster, run, editor):
    key = f"edit/{'é' * 250}"
    run("put", key, "1")
    editor("s/1/2/")
    assert run("edit", key).code == 0
    assert run("get", key).out == "2"


def test_a_dry_run_and_lines(cluster, run, editor):
    run("put", "edit/lines", "one\ntwo\n")
    editor("s/two/three/")
    dry = run("edit", "edit/lines", "--dry-run")
    assert dry.code == 2
    assert "    -two\n    +three\n" in dry.out
    assert run("get", "edit/lines").out == "one\ntwo\n"


def test_wrong_syntax_keeps_the_text(cluster, run, editor):
    run("put", "edit/wrong", "1", "--type", "json")
    editor("s/1/{/")
    result = run("edit", "edit/wrong")
    assert result.code == 1
    assert "not JSON" in result.err
    assert kept(result) == "{"
    assert run("get", "edit/wrong").out == "1"


def test_who_is_at_a_terminal_may_correct_it(cluster, run, tmp_path):
    run("put", "edit/again", "1", "--type", "json")
    script = tmp_path / "editor.sh"
    script.write_text('#!/bin/sh\nif grep -q { "$1"; then echo 7; else echo {; fi > "$1.new"\nmv "$1.new" "$1"\n')
    script.chmod(0o755)
    environment = {**os.environ, "EDITOR": str(script), "GOSSIPCONF_CLUSTER": str(cluster)}
    ways = {"directory": tmp_path, "environment": environment, "is_input": True}
    code, seen = on_terminal("edit", "edit/again", answers=["y", "y"], **ways)
    assert code == 0, seen
    assert "not JSON" in seen
    assert run("get", "edit/again").out == "7"


def test_who_was_faster_is_not_overwritten(cluster, run, editor, monkeypatch, tmp_path):
    run("put", "edit/raced", "1")
    script = tmp_path / "other.sh"
    script.write_text(
        f'#!/bin/sh\n"{sys.executable}" -m gossipconf.cli put edit/raced 2 --cluster "{cluster}" >/dev/null'
        ' && echo 3 > "$1"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    result = run("edit", "edit/raced")
    assert result.code == 6
    assert "1 of the keys changed meanwhile, such as 'edit/raced'; nothing was published" in result.err
    assert kept(result) == "3"
    assert run("get", "edit/raced").out == "2"


def test_a_version_that_is_not_there_opens_no_editor(cluster, run, editor):
    run("put", "edit/cas", "1")
    seen = editor("s/1/2/")
    assert run("edit", "edit/cas", "--if-version", "0123456789").code == 6
    assert not seen.exists()


def test_a_prefix_is_one_document_and_one_change(cluster, run, editor):
    for key, value in (("a", "1"), ("b/c", "two"), ("gone", "x")):
        run("put", f"editp/{key}", value, "--type", "json" if value == "1" else "text")
    run("put", "editp/blob", "-", "--type", "bytes", stdin=b"\xff")
    seen = editor("s/two/2.5/; /gone/d; 1 a new: [x]")
    result = run("edit", "editp/")
    assert result.code == 0, result.err
    assert seen.read_text() == (
        '# Values under editp: what you take out is deleted.\na: 1\nb:\n  c: two\nblob: !bytes "/w=="\ngone: x\n'
    )
    assert result.out.startswith('~ editp/b/c  two → 2.5\n- editp/gone  x\n+ editp/new  ["x"]\n\n1 to create')
    found = document(run("list", "editp", "--deleted", "--json"))
    assert [(one["key"], one["value"]) for one in found if one["key"] != "editp/blob"] == [
        ("editp/a", 1),
        ("editp/b/c", 2.5),
        ("editp/gone", None),
        ("editp/new", ["x"]),
    ]
    assert len({one["change"] for one in found if one["key"] in {"editp/b/c", "editp/gone", "editp/new"}}) == 1


def test_what_is_not_in_the_document_stays(cluster, run, editor, tmp_path):
    run("seal", "key", tmp_path / "me")
    run("put", "edits/secret", "x", "--seal-to", tmp_path / "me.pub")
    run("put", "edits/a", "1")
    run("put", "edits/a/below", "2")
    run("put", "edits/b", "3")
    editor("/^b:/d")
    result = run("edit", "edits/")
    assert "left out: a has keys below it\n" in result.err
    assert result.out.startswith("- edits/b  3\n\n1 to delete, 1 unchanged\n")
    assert {one["key"] for one in document(run("list", "edits", "--json"))} == {
        "edits/secret",
        "edits/a",
        "edits/a/below",
    }
    editor("1 a secret: y")
    refused = run("edit", "edits/")
    assert "'edits/secret' has a value that was not in the document" in refused.err


def test_saving_a_value_in_conflict_settles_it(cluster, run, editor):
    siblings(cluster, "edit/fight", "one", "two")
    editor("s/x/y/")
    result = run("edit", "edit/fight")
    assert "is in conflict, and what you save settles it" in result.err
    assert result.code == 0
    assert document(run("get", "edit/fight", "--json"))["conflict"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("no/such",), 3, "no value at or under 'no/such'"),
        (("_policy",), 1, "the system's"),
        (("edit/bytes",), 1, "is bytes and no text"),
        (("edit/text",), 1, "there is no terminal to edit on, so nothing is published"),
    ],
)
def test_bad_input_is_named(cluster, run, monkeypatch, arguments, code, part):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    run("put", "edit/bytes", "-", "--type", "bytes", stdin=b"\xff")
    run("put", "edit/text", "1")
    result = run("edit", *arguments)
    assert result.code == code
    assert part in result.err
