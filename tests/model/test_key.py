"""Names: what the vectors do not say, such as node names, and that messages name the fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.errors import InvalidInput, LimitExceeded
from gossipconf.model.key import check_key, check_node_id, check_prefix, check_variant, covers, is_system_key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "must not be empty"),
        ("/a", "empty segment"),
        ("a//b", "empty segment"),
        ("a/../b", "segment '..'"),
        ("a/ b", "begins or ends with a space"),
        ("a\nb", "U+000A"),
        ("a\u202eb", "U+202E"),
        ("\ud800", "U+D800"),
    ],
)
def test_a_refused_key_is_told_why(key, reason):
    with pytest.raises(InvalidInput) as caught:
        check_key(key)
    assert reason in str(caught.value)


@given(st.text(max_size=600))
def test_any_text_is_a_key_or_is_refused(text):
    try:
        assert check_key(text) == text
    except InvalidInput:
        return
    assert text.encode().decode() == text
    assert 1 <= len(text.encode()) <= 512


@given(st.text(max_size=70))
def test_any_text_is_a_variant_or_is_refused(text):
    try:
        assert check_variant(text) == text
    except InvalidInput:
        return
    assert "/" not in text


@pytest.mark.parametrize("name", ["a", "0", "checkout-7.eu-west", "a_b", "n" * 64, "a..b"])
def test_a_node_name(name):
    assert check_node_id(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", ".a", "a.", "_a", "a b", "a/b", "é", "a\n", "a\x00"])
def test_what_is_no_node_name(name):
    with pytest.raises(InvalidInput, match="lower-case letters"):
        check_node_id(name)


def test_a_node_name_has_a_limit():
    with pytest.raises(LimitExceeded, match="65 bytes, the limit is 64"):
        check_node_id("n" * 65)


def test_a_prefix_is_a_key_or_empty():
    assert check_prefix("") == ""
    assert check_prefix("a/b") == "a/b"
    with pytest.raises(InvalidInput):
        check_prefix("a/")


@given(
    st.sampled_from(["", "a", "a/b", "_a"]), st.sampled_from(["a", "a/b", "a/bc", "a/b/c", "ab", "_a", "_a/b", "_ab"])
)
def test_covers_is_by_whole_segments(prefix, key):
    parts, whole = prefix.split("/"), key.split("/")
    expected = not is_system_key(key) if prefix == "" else whole[: len(parts)] == parts
    assert covers(prefix, key) == expected
