"""What is read and why, in words."""

from __future__ import annotations

import pytest

from gossipconf.cli.item import Item
from gossipconf.cli.see.outcome import (
    match_in_words,
    outcome_in_words,
    percent_in_words,
    reach_in_words,
    shown_of,
    since_ms,
    why_missing,
)
from gossipconf.model.entry import MatchKind, MatchTerm, delete, put
from gossipconf.model.version import Version
from gossipconf.store.resolution import Reader, resolve
from tests import strategies as gen

NOW_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC."""
MINUTE_MS = 60_000
DAY_MS = 86_400_000
READER = Reader.of("a", "eu-west/a", {})
SOME = MatchTerm(MatchKind.ONE_OF, "node", ("a", "b"))
FOR_B = [MatchTerm(MatchKind.EQUAL, "node", ("b",))]


def version(entry, seq: int = 1, *, time_ms: int = NOW_MS - DAY_MS, activation_ms: int | None = None) -> Version:
    return gen.body([entry], gen.WRITERS[0], seq, time_ms=time_ms, activation_ms=activation_ms).versions[0]


def outcome(*versions: Version) -> str:
    return outcome_in_words(shown_of(resolve(versions, READER, NOW_MS)), NOW_MS)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ([], ""),
        (FOR_B, "node=b"),
        ([SOME, MatchTerm(MatchKind.PERCENT, "s", 1)], "node=a,b, 0.01% by salt s"),
        ([MatchTerm(MatchKind.GLOB, "zone", ("eu-*",))], "zone=eu-*"),
        ([MatchTerm(MatchKind.EQUAL, "zone", ("eu-*",))], "zone='eu-*', to the letter"),
    ],
)
def test_a_match(terms, said):
    assert match_in_words(terms) == said


@pytest.mark.parametrize(
    ("share", "said"), [(1, "0.01%"), (50, "0.5%"), (500, "5%"), (10_000, "100%"), (1234, "12.34%")]
)
def test_a_percentage(share, said):
    assert percent_in_words(share) == said


@pytest.mark.parametrize(
    ("entry", "activation_ms", "said"),
    [
        (put("k", b"1"), None, ""),
        (put("k", b"1", expires_ms=NOW_MS), None, "until 2026-01-01 00:00:00 UTC"),
        (put("k", b"1", variant="v", match=FOR_B, rank=7), None, "for node=b, rank 7"),
        (put("k", b"1", variant="v", rank=7), None, "for everybody, rank 7"),
        (put("k", b"1", variant="v", rank=7), NOW_MS, "from 2026-01-01 00:00:00 UTC on"),
    ],
)
def test_a_reach(entry, activation_ms, said):
    assert reach_in_words(entry, activation_ms) == said


@pytest.mark.parametrize(
    ("expires_ms", "said"),
    [
        (NOW_MS - 5 * MINUTE_MS, "expired 5 min ago"),
        (NOW_MS - 2 * DAY_MS, "expired on 2025-12-30"),
        (NOW_MS + 5 * MINUTE_MS, "read, expires in 5 min"),
        (NOW_MS + 2 * DAY_MS, "read, expires on 2026-01-03 00:00:00 UTC"),
    ],
)
def test_an_end(expires_ms, said):
    assert outcome(version(put("k", b"1", expires_ms=expires_ms))) == said


def test_a_beginning():
    assert outcome(version(put("k", b"1"), activation_ms=NOW_MS + 1)) == "active from 2026-01-01 00:00:00 UTC"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "has no value; see what there is"),
        ([delete("k")], "has been deleted"),
        ([put("k", b"1", variant="v", match=FOR_B)], "has 1 variant, none of which is for this agent"),
        ([delete("k"), put("k", b"1", variant="v", match=FOR_B)], "has 1 variant, none of which is for this agent"),
        ([put("k", b"1", expires_ms=NOW_MS - MINUTE_MS)], "has no value now: expired 60 s ago"),
    ],
)
def test_no_value(entries, said):
    item = Item("k", tuple(version(entry, seq) for seq, entry in enumerate(entries, 1)))
    assert said in why_missing(item, resolve(item.versions, READER, NOW_MS), NOW_MS)


def test_what_is_read_is_so_since_it_was_signed_or_time_has_made_it_so():
    default = version(put("k", b"1"), time_ms=NOW_MS - DAY_MS)
    over = version(put("k", b"2", variant="o", expires_ms=NOW_MS - MINUTE_MS), 2, time_ms=NOW_MS - 5 * MINUTE_MS)
    later = version(put("k", b"3", variant="a"), 3, time_ms=NOW_MS - DAY_MS, activation_ms=NOW_MS - 1)

    def since(*versions: Version) -> int:
        return since_ms(resolve(versions, READER, NOW_MS), READER, NOW_MS)

    assert since(default) == NOW_MS - DAY_MS
    assert since(default, over) == NOW_MS - MINUTE_MS
    assert since(default, over, later) == NOW_MS - 1
