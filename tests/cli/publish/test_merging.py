"""Three-way merges: nothing of either side is lost, and what both have changed is marked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.cli.publish.merging import Labels, Merged, has_markers, merge
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput
from gossipconf.runtime.syntax import parse_value

LABELS = Labels("one", "other")
TEXT, JSON, YAML, TOML = ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML
LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), max_size=8)
TREES = st.recursive(
    st.sampled_from([1, 1.0, True, None, "x", []]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def text(lines: list[str]) -> bytes:
    return "".join(lines).encode()


@given(LINES, LINES)
def test_what_one_side_has_left_alone_is_taken_from_the_other(base, side):
    for value_type in (TEXT, YAML):
        assert merge(value_type, text(base), text(side), text(base), LABELS) == Merged(text(side))
        assert merge(value_type, text(base), text(base), text(side), LABELS) == Merged(text(side))
        assert merge(value_type, text(base), text(side), text(side), LABELS) == Merged(text(side))


@given(LINES, LINES, LINES)
def test_changes_apart_are_both_there(before, between, after):
    base = [*before, "1\n", "stays\n", *between, "stays too\n", "2\n", *after]
    ours = [*before, "ours\n", "stays\n", *between, "stays too\n", "2\n", *after]
    theirs = [*before, "1\n", "stays\n", *between, "stays too\n", "theirs\n", *after]
    expected = [*before, "ours\n", "stays\n", *between, "stays too\n", "theirs\n", *after]
    assert merge(TEXT, text(base), text(ours), text(theirs), LABELS) == Merged(text(expected))


@given(LINES, LINES, LINES)
def test_the_sides_only_change_places(base, ours, theirs):
    """Who is ours and who is theirs changes no merge, and of a conflict only the order."""
    one = merge(TEXT, text(base), text(ours), text(theirs), LABELS)
    other = merge(TEXT, text(base), text(theirs), text(ours), LABELS)
    assert bool(one.conflicts) == bool(other.conflicts) == has_markers(one.content)
    if not one.conflicts:
        assert one == other
    lines = one.content.decode().splitlines(keepends=True)
    assert set(ours) - set(base) <= set(lines), "whatever one side has added is there"
    assert set(theirs) - set(base) <= set(lines)


def test_lines_that_both_have_changed_are_marked():
    merged = merge(TEXT, b"a\nb\nc", b"a\nx\nc", b"a\ny\nc", LABELS)
    assert merged.content == b"a\n<<<<<<< one\nx\n||||||| before both\nb\n=======\ny\n>>>>>>> other\nc"
    assert merged.conflicts == ("line 2",)
    assert has_markers(merged.content)
    unknown = merge(TEXT, None, b"a\nx", b"a\ny", LABELS)
    assert unknown.content == b"a\n<<<<<<< one\nx\n=======\ny\n>>>>>>> other\n"


def paths(tree: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    if isinstance(tree, dict) and tree:
        return {key: value for name, inner in tree.items() for key, value in paths(inner, (*path, name)).items()}
    return {path: json.dumps(tree)}


@pytest.mark.parametrize("value_type", [JSON, YAML])
@given(TREES, TREES, TREES)
def test_structures_are_merged_by_path(value_type, base, ours, theirs):
    """What only one side has changed is as that side has it; where both have, it is a conflict."""
    base, ours, theirs = ({"r": tree} for tree in (base, ours, theirs))
    values = [json.dumps(tree, indent=1).encode() for tree in (base, ours, theirs)]
    merged = merge(value_type, *values, LABELS)
    assert bool(merged.conflicts) == has_markers(merged.content)
    if merged.conflicts:
        return
    got, before, one, other = (paths(tree) for tree in (parse_value(value_type, merged.content), base, ours, theirs))
    for path in {*one, *other} & {*got}:
        assert got[path] in {one.get(path), other.get(path)}
    for path in {*one} & {*other}:
        if one[path] == other[path]:
            assert got[path] == one[path]
    for side, rival in ((one, other), (other, one)):
        for path in side:
            if before.get(path) != side[path] and before.get(path) == rival.get(path):
                assert got.get(path) == side[path]


def test_comments_stay_where_lines_can_be_merged():
    base = b"# why\na: 1\n\n# how\nb: 1\n"
    merged = merge(YAML, base, base.replace(b"a: 1", b"a: 2"), base.replace(b"b: 1", b"b: 2"), LABELS)
    assert merged == Merged(b"# why\na: 2\n\n# how\nb: 2\n")


@pytest.mark.parametrize(
    ("value_type", "base", "ours", "theirs", "expected"),
    [
        (JSON, b'{"a":1,"b":1}', b'{"a":2,"b":1}', b'{"a":1,"b":2}', b'{"a": 2, "b": 2}'),
        (JSON, b'{\n"a":1,"b":1}\n', b'{\n"a":2,"b":1}\n', b'{\n"a":1}\n', b'{\n  "a": 2\n}\n'),
        (JSON, b"{}", b'{"a":1}', b'{"b":2}', b'{"a": 1, "b": 2}'),
        (TOML, b"a = 1\nb = 1\n", b"a = 2\nb = 1\n", b"a = 1\nb = 1\nd = 2024-01-31\n",
         b"a = 2\nb = 1\nd = 2024-01-31\n"),
        (TOML, b"a = 1\nb = 1\n", b"a = 2\nb = 1\n", b"a = 1\nb = 2\n", b"a = 2\nb = 2\n"),
    ],
)  # fmt: skip
def test_what_does_not_touch_is_merged(value_type, base, ours, theirs, expected):
    assert merge(value_type, base, ours, theirs, LABELS) == Merged(expected)


def test_true_conflicts_of_structures_are_named_by_path():
    merged = merge(JSON, b'{"a":{"x":1},"b":1}', b'{"a":{"x":2},"b":2}', b'{"a":{"x":3},"b":1}', LABELS)
    assert merged.conflicts == ("a/x",)
    assert merged.content.decode() == (
        '{\n  "a": {\n<<<<<<< one\n    "x": 2\n=======\n    "x": 3\n>>>>>>> other\n  },\n  "b": 2\n}\n'
    )
    assert merge(JSON, b"1", b"2", b"3", LABELS).conflicts == ("the whole value",)
    assert merge(JSON, None, b'{"a":1,"c":1}', b'{"b":2,"c":1}', LABELS).conflicts == ("a", "b"), "nobody knows"
    assert merge(JSON, b"1", b"true", b"1.0", LABELS).conflicts == ("the whole value",)
    assert merge(YAML, b"a: 1\n", b"", b"a: 2\n", LABELS).conflicts == ("the whole value",)
    assert merge(JSON, b'{"a":1}', b"{}", b'{"a":2}', LABELS).conflicts == ("a",)


def test_what_is_no_structure_is_merged_by_line_and_bytes_not_at_all():
    assert merge(JSON, b"{", b"{{", b"[", LABELS).conflicts == ("line 1",)
    with pytest.raises(InvalidInput, match="pick one"):
        merge(ValueType.BYTES, b"1", b"2", b"3", LABELS)


@pytest.mark.parametrize("content", [b"=======\n", b"=======", b"a\n<<<<<<< x\n", b">>>>>>> \n", b"||||||| x"])
def test_markers_are_found(content):
    assert has_markers(content)
    assert not has_markers(b" " + content.replace(b"\n", b"\n "))
    assert not has_markers(b"======== eight\n")
