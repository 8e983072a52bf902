"""What others have written is escaped before a terminal sees it, whatever it stands in."""

from __future__ import annotations

import pytest
from rich.text import Text

from gossipconf.cli.output import note, print_labelled, print_step, say
from gossipconf.cli.publish.placement import print_put
from gossipconf.cli.publish.steps import print_plan
from gossipconf.cli.table import print_table
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, put

HOSTILE = "\x1b[2K\x1b[1A\x9b31m\r\u202e"
"""Clears the line, goes up one, colours, returns, and turns the reading direction round."""


def variant(label: str, operand: tuple[str, ...]) -> Entry:
    return put("shop/db", b"bad", variant="canary", match=[MatchTerm(MatchKind.EQUAL, label, operand)])


def check(told: str) -> None:
    assert told.strip()
    assert all(line.isprintable() for line in told.split("\n")), repr(told)


@pytest.mark.parametrize("entry", [variant(HOSTILE, ("a",)), variant("zone", (HOSTILE,))], ids=["label", "value"])
def test_held_an_admin_key_whom_a_variant_is_for_hides_nothing_of_what_is_to_be_signed(
    entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Held: the key of one who may write there. Another is shown his variant before he signs: in `rollback`, say."""
    print_plan([entry], {}, 0)
    print_put(entry, None, None)
    told = capsys.readouterr().out
    assert "\\x1b[2K\\x1b[1A\\x9b31m\\r\\u202e" in told
    check(told)


@pytest.mark.parametrize("text", [HOSTILE, Text(HOSTILE), Text.assemble("a ", (HOSTILE, "red"))])
def test_nothing_unprintable_gets_out_escaped_by_its_maker_or_not(
    text: str | Text, capsys: pytest.CaptureFixture[str]
) -> None:
    say(text)
    print_labelled("label", text, 8)
    print_step("+", text, text)
    print_table({"A": "left", "B": "cut"}, [(text, text)])
    check(capsys.readouterr().out)
    note(text)
    check(capsys.readouterr().err)


def test_lines_of_a_text_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say(Text("one\ntwo\x1b"))
    assert capsys.readouterr().out == "one\ntwo\ufffd\n"
