"""Changes are named by their first digits; what could be anything names nothing."""

from __future__ import annotations

import pytest

from gossipconf.cli.change_id import begins, is_beginning

CHANGE_ID = bytes.fromhex("3f9a2c") + bytes(29)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("", False),
        ("3f9", False),
        ("3f9a", True),
        ("3F9A", True),
        (CHANGE_ID.hex(), True),
        (CHANGE_ID.hex() + "0", False),
    ],
)
def test_a_change_is_named_by_four_digits_or_more(text: str, is_one: bool) -> None:
    assert (is_beginning(text), begins(CHANGE_ID, text)) == (is_one, is_one)


@pytest.mark.parametrize("text", ["shop", "3f9a/", "3f9a2d", "٣f9a"])
def test_what_is_no_beginning_of_it_names_another_thing(text: str) -> None:
    assert not begins(CHANGE_ID, text)
