"""A ticket and a comment are one signed text, and come apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.cli.reason import TICKET_CHARACTERS_MAX, json_reason, reason
from gossipconf.model.errors import InvalidInput


@given(
    st.text("ABCabc019-_/#.:", min_size=1, max_size=TICKET_CHARACTERS_MAX),
    st.text("abc []\n", max_size=20).map(str.strip),
)
def test_what_was_joined_comes_apart(ticket, comment):
    assert json_reason(reason(comment, ticket)) == {"ticket": ticket, "comment": comment}


@given(st.text())
def test_a_comment_without_ticket_is_signed_as_it_is(comment):
    assert reason(comment, None) == comment


@pytest.mark.parametrize("text", ["", "slow bank", "[]", "[a b] c", "[OPS-17]slow", f"[{'x' * 65}] c", " [OPS-17] c"])
def test_other_brackets_are_no_ticket(text):
    assert json_reason(text) == {"ticket": None, "comment": text}


@pytest.mark.parametrize("ticket", ["", "OPS 17", "[OPS-17]", "x" * 65, "a\x1b"])
def test_a_ticket_that_would_not_come_back_is_refused(ticket):
    with pytest.raises(InvalidInput, match="write its number"):
        reason("why", ticket)
