"""Lines of `.properties` and `.env` are read back as they were written, or said to be left out."""

from __future__ import annotations

import pytest
from hypothesis import given

from gossipconf.cli.files.documents import entries_in
from gossipconf.cli.files.formats.flat import env, properties, write_env, write_properties
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput

from .test_trees import STATES


def as_text(state, written):
    return {key: (ValueType.TEXT, content) for key, (_, content) in state.items() if key not in written.left_out}


@given(STATES)
def test_properties_come_back_as_text(state):
    written = write_properties(state)
    assert entries_in(written.content, "f", ".properties", "") == as_text(state, written)
    found = properties(written.content, "f").found
    assert {one.name: one.value for one in found} == as_text(state, written)
    assert set(written.as_text) == {
        key for key, (kind, _) in state.items() if kind is not ValueType.TEXT and key not in written.left_out
    }


@given(STATES)
def test_variables_come_back_as_text(state):
    written = write_env(state)
    read = env(written.content, "f")
    assert {one.name: one.value for one in read.found} == as_text(state, written)
    assert read.passed_over == ()


def test_lines_are_as_a_person_would_write_them():
    state = {
        "db/HOST": (ValueType.TEXT, b"db.example"),
        "db/note": (ValueType.TEXT, b"it is $HOME"),
        "db/lines": (ValueType.TEXT, b"a\nb's"),
        "db/port": (ValueType.JSON, b"5432"),
        "db/blob": (ValueType.BYTES, b"\xff"),
        "a-b": (ValueType.TEXT, b""),
    }
    written = write_env(state)
    assert written.content.decode() == (
        "db__HOST=db.example\ndb__lines=\"a\\nb's\"\ndb__note='it is $HOME'\ndb__port=5432\n"
    )
    assert written.as_text == ("db/port",)
    assert written.left_out == {"a-b": "is no name of a variable", "db/blob": "is not UTF-8"}
    assert write_properties({"a.b/c": (ValueType.TEXT, b"")}).left_out == {"a.b/c": "has a dot in a segment"}


def test_what_others_write_is_read():
    content = b"# why\n\nexport A=1\nB = \"x\\ny\" # why\nC='$HOME'\nD=a b # why\nE\nF=\n"
    read = env(content, "f")
    assert [(one.name, one.value[1].decode(), one.source) for one in read.found] == [
        ("A", "1", "f:3"),
        ("B", "x\ny", "f:4"),
        ("C", "$HOME", "f:5"),
        ("D", "a b", "f:6"),
        ("F", "", "f:8"),
    ]
    assert read.passed_over == ("f:7: E has no value",)
    with pytest.raises(InvalidInput, match="f:2: not NAME=value"):
        env(b"A=1\nB='x\n", "f")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        env(b"\xff", "f")
