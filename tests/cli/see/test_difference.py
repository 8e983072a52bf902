"""How two values differ, in lines."""

from __future__ import annotations

import pytest

from gossipconf.cli.see.difference import Difference, print_difference
from gossipconf.model.entry import ValueType

TEXT, JSON, YAML, BYTES = ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.BYTES
LONG = b'{"colour": "red", "sizes": [1, 2, 3], "text": "this is longer than sixty characters"}'


def shown(capsys, before, after, **more):
    print_difference(Difference(("k", more.pop("variant", "")), before, after, **more))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, (TEXT, b"1"), "+ k  1\n"),
        ((TEXT, b"1"), None, "- k  1\n"),
        ((TEXT, b"1"), (TEXT, b"2"), "~ k  1 → 2\n"),
        ((TEXT, b""), (TEXT, b"2"), '~ k  "" → 2\n'),
        ((TEXT, b"1"), (JSON, b"1"), "~ k  1  (text → json)\n"),
        (
            (JSON, b'{"b":1,"a":2}'),
            (YAML, b"a: 2\nb: 1\n"),
            '~ k  {"a": 2, "b": 1}  (json → yaml; written otherwise)\n',
        ),
        ((JSON, b"[1]"), (JSON, b"[1,2]"), "~ k  [1] → [1, 2]\n"),
        ((BYTES, b"\0"), (BYTES, b"\0\1"), "~ k  (bytes, 1 byte) → (bytes, 2 bytes)\n"),
        ((TEXT, b"x" * 300 + b"1"), (TEXT, b"x" * 300 + b"2"), f"~ k  {'x' * 200}…  (differs after 200 characters)\n"),
        ((JSON, b"{"), (JSON, b"["), "~ k  { → [\n"),  # published by a program that did not check
        ((TEXT, b"a\x1b[31m"), (TEXT, b"b"), "~ k  a\\x1b[31m → b\n"),
    ],
)
def test_one_line_values_are_compared_in_one_line(capsys, before, after, expected):
    assert shown(capsys, before, after) == expected


def test_structures_are_laid_out(capsys):
    assert shown(capsys, (JSON, LONG), (JSON, LONG.replace(b"2", b"20"))) == (
        "~ k\n"
        "    @@ -2,7 +2,7 @@\n"
        '       "colour": "red",\n'
        '       "sizes": [\n'
        "         1,\n"
        "    -    2,\n"
        "    +    20,\n"
        "         3\n"
        "       ],\n"
        '       "text": "this is longer than sixty characters"\n'
    )


def test_text_of_several_lines_is_compared_by_line(capsys):
    assert shown(capsys, (TEXT, b"a\nb\x1b\n"), (TEXT, b"a\nc"), variant="canary") == (
        "~ k [canary]\n    @@ -1,2 +1,2 @@\n     a\n    -b\\x1b\n    +c\n"
    )


def test_what_is_new_and_what_is_said_besides(capsys):
    assert shown(capsys, None, (TEXT, b"a\nb"), remark="why") == "+ k  (why)\n    @@ -0,0 +1,2 @@\n    +a\n    +b\n"
    same = Difference(("k", ""), (TEXT, b"1"), (TEXT, b"1"))
    assert same.is_empty
    assert not Difference(("k", ""), (TEXT, b"1"), (TEXT, b"1"), remark="why").is_empty
