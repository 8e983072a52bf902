"""For whom a value is and until when: what the options of `put` mean, alone and together."""

from __future__ import annotations

import pytest
import typer

from gossipconf.cli import instant
from gossipconf.cli.instant import deadline_ms
from gossipconf.cli.item import Item
from gossipconf.cli.publish import reach
from gossipconf.cli.publish.reach import (
    CANARY_RANK,
    LABEL_RANK,
    OVERRIDE,
    OVERRIDE_RANK,
    Reach,
    reach_of,
    share_of,
    term_of,
)
from gossipconf.cli.see.activation import RANK_LAST, moment_of, present, rank_at, removals, variant_at, whole_second
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, ValueType, put
from gossipconf.model.errors import InvalidInput
from tests import strategies as gen

NOW_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC."""
HOUR_MS = 3_600_000
EU = MatchTerm(MatchKind.GLOB, "zone", ("eu-*",))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    for module in (instant, reach):
        monkeypatch.setattr(module, "now_ms", lambda: NOW_MS)


def item(*versions: tuple[Entry, int | None]) -> Item:
    """A key `k` with these entries, each with the activation of its change."""
    made = [
        gen.body([entry], gen.WRITERS[0], number, activation_ms=activation_ms).versions[0]
        for number, (entry, activation_ms) in enumerate(versions, 1)
    ]
    return Item("k", tuple(sorted(made, key=lambda one: one.entry.variant)))


def entry_of(at: Item = Item("k", ()), **options) -> Entry:  # noqa: B008 - it is frozen
    return reach_of(**options).entry(at, b"1", ValueType.TEXT)


# -- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("service=checkout", MatchTerm(MatchKind.EQUAL, "service", ("checkout",))),
        ("zone=eu-*", EU),
        ("node=b,a,b", MatchTerm(MatchKind.ONE_OF, "node", ("a", "b"))),
        ("zone=eu-west/[ab]", MatchTerm(MatchKind.GLOB, "zone", ("eu-west/[ab]",))),
        ("tier=", MatchTerm(MatchKind.EQUAL, "tier", ("",))),
        ("a=b=c", MatchTerm(MatchKind.EQUAL, "a", ("b=c",))),
    ],
)
def test_a_condition_is_read(text, expected):
    assert term_of(text) == expected


@pytest.mark.parametrize("text", ["", "zone", "=eu", "zone=eu-*,us-*"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(InvalidInput, match="--match is"):
        term_of(text)


@pytest.mark.parametrize(("text", "share"), [("5", 500), ("100", 10_000), ("0.01", 1), ("2.5%", 250), ("12.34", 1234)])
def test_a_percentage_is_read(text, share):
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["0", "100.01", "101", "0.001", "-1", "five", "", "1e1", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_what_is_no_percentage_is_refused(text):
    with pytest.raises(InvalidInput, match="--percent is"):
        share_of(text)


def test_conditions_stand_together_and_the_salt_is_the_variant_s_name():
    made = entry_of(variant="canary", match=["zone=eu-*", "zone=eu-*"], percent="5")
    assert made == put(
        "k", b"1", variant="canary", match=[EU, MatchTerm(MatchKind.PERCENT, "canary", 500)], rank=CANARY_RANK
    )


@pytest.mark.parametrize(
    ("options", "rank"),
    [
        ({"match": ["service=checkout"]}, LABEL_RANK),
        ({"match": ["node=a"]}, CANARY_RANK),
        ({"percent": "1"}, CANARY_RANK),
        ({"percent": "1", "rank": 5_000}, 5_000),
    ],
)
def test_a_canary_ranks_above_what_is_for_labels(options, rank):
    assert entry_of(variant="v", **options).rank == rank


def test_a_new_variant_must_be_for_somebody():
    with pytest.raises(InvalidInput, match="not said for whom"):
        entry_of(variant="v")


def test_what_is_not_said_anew_stays():
    share = MatchTerm(MatchKind.PERCENT, "s", 500)
    at = item((put("k", b"0", variant="v", match=[EU, share], rank=7_000), None))
    assert (entry_of(at, variant="v").match, entry_of(at, variant="v").rank) == ((EU, share), 7_000)
    assert entry_of(at, variant="v", percent="50").match == (EU, MatchTerm(MatchKind.PERCENT, "s", 5_000))
    assert entry_of(at, variant="v", salt="t").match == (EU, MatchTerm(MatchKind.PERCENT, "t", 500))
    assert entry_of(at, variant="v", match=["node=a"], rank=2_000).match == (term_of("node=a"), share)


def test_a_salt_without_a_percentage_is_refused():
    with pytest.raises(InvalidInput, match="add --percent"):
        entry_of(variant="v", match=["node=a"], salt="s")


@pytest.mark.parametrize(
    "options",
    [
        {"match": ["node=a"]},
        {"percent": "5"},
        {"rank": 1_000},
        {"variant": "v", "override": "2h"},
        {"variant": "v", "activate_at": "2h"},
        {"activate_at": "2h", "override": "2h"},
        {"ttl": "2h", "until": "2027-01-01"},
        {"ttl": "2h", "override": "2h"},
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(options):
    with pytest.raises(typer.BadParameter):
        reach_of(**options)


@pytest.mark.parametrize("name", ["override", "at-1", "", "a/b"])
def test_names_that_commands_make_are_not_given(name):
    with pytest.raises(InvalidInput):
        reach_of(variant=name, match=["node=a"])


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "after_ms"),
    [
        ("2h", 2 * HOUR_MS),
        ("90s", 90_000),
        ("2026-01-01 01:00", HOUR_MS),
        ("2026-01-01 01:00 UTC", HOUR_MS),
        ("2026-01-01T01:00:00.5Z", HOUR_MS + 500),
        ("2026-01-01T03:00+02:00", HOUR_MS),
        ("2026-01-02", 24 * HOUR_MS),
    ],
)
def test_moments_ahead(text, after_ms):
    assert deadline_ms(text, "--until") == NOW_MS + after_ms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2025-12-31 23:59", "has passed"),
        ("2026-01-01 00:00", "has passed"),
        ("tomorrow", "write 2026"),
        ("2026-02-30", "no such day"),
        ("0s", "at most"),
        ("99999d", "at most"),
    ],
)
def test_what_is_no_moment_ahead_is_refused(text, said):
    with pytest.raises(InvalidInput, match=f"--until is .*{said}"):
        deadline_ms(text, "--until")


def test_an_override_is_for_everybody_or_for_whom_it_says_and_ends():
    assert entry_of(override="2h") == put(
        "k", b"1", variant=OVERRIDE, rank=OVERRIDE_RANK, expires_ms=NOW_MS + 2 * HOUR_MS
    )
    assert entry_of(override="2h", match=["zone=eu-*"]).match == (EU,)
    before = item((entry_of(override="2h", match=["zone=eu-*"]), None))
    assert entry_of(before, override="1h").match == ()  # what an earlier one said is no matter of this one


def test_values_and_variants_expire():
    assert entry_of(ttl="2h").expires_ms == entry_of(until="2026-01-01 02:00").expires_ms == NOW_MS + 2 * HOUR_MS
    assert entry_of(variant="v", percent="5", ttl="2h").expires_ms == NOW_MS + 2 * HOUR_MS


# -- activation -----------------------------------------------------------------------------------


def activated(at_ms: int, rank: int = 10, value: bytes = b"2", **fields) -> tuple[Entry, int]:
    return put("k", value, variant=variant_at(at_ms), rank=rank, **fields), at_ms


def test_what_is_activated_is_a_variant_for_everybody_below_all_others():
    reach = reach_of(activate_at="2026-01-01 01:00")
    assert reach.activation_ms == NOW_MS + HOUR_MS
    made = reach.entry(Item("k", ()), b"1", ValueType.TEXT)
    assert (made.variant, made.match) == ("at-20260101T010000Z", ())
    assert 0 < made.rank <= RANK_LAST < LABEL_RANK


def test_it_is_named_by_a_whole_second_that_is_not_too_early():
    assert (whole_second(1_001), whole_second(2_000)) == (2_000, 2_000)


def test_it_must_not_expire_before():
    with pytest.raises(InvalidInput, match="expire before"):
        reach_of(activate_at="2h", ttl="1h")
    assert reach_of(activate_at="1h", ttl="2h").expires_ms == NOW_MS + 2 * HOUR_MS


def test_the_later_ranks_above_the_earlier_in_whatever_order_they_are_published():
    held = [activated(NOW_MS + 50 * HOUR_MS)]
    for hours in (60, 40, 55, 45, 70, 41):
        at_ms = NOW_MS + hours * HOUR_MS
        held.append(activated(at_ms, rank_at(item(*held), at_ms)))
    ordered = [entry.rank for entry, _ in sorted(held, key=lambda pair: pair[1])]
    assert ordered == sorted(set(ordered))
    again_ms = NOW_MS + 45 * HOUR_MS
    assert rank_at(item(*held), again_ms) in range(ordered[2] - 9, ordered[4])


def test_no_room_between_two_is_said():
    held = item(activated(NOW_MS, 5), activated(NOW_MS + 2_000, 6))
    with pytest.raises(InvalidInput, match="promote k --variant at-20260101T000002Z"):
        rank_at(held, NOW_MS + 1_000)
    with pytest.raises(InvalidInput, match="no room"):
        rank_at(item(activated(NOW_MS, RANK_LAST)), NOW_MS + 1_000)


def test_the_present_value_is_what_was_activated_last():
    default = (put("k", b"1"), None)
    canary = (put("k", b"9", variant="canary", rank=CANARY_RANK), None)
    held = item(default, canary, activated(NOW_MS, 10), activated(NOW_MS + HOUR_MS, 20, b"3"))

    def value(now_ms: int) -> bytes | None:
        found = present(held, now_ms)
        return None if found is None else found.entry.value

    assert [value(NOW_MS + ms) for ms in (-1, 0, HOUR_MS - 1, HOUR_MS)] == [b"1", b"2", b"2", b"3"]
    assert [len(removals(held, NOW_MS + ms)) for ms in (-1, 0, HOUR_MS - 1, HOUR_MS)] == [0, 1, 1, 2]


def test_what_was_activated_and_has_expired_is_removed_too():
    held = item((put("k", b"1"), None), activated(NOW_MS, expires_ms=NOW_MS + 1_000))
    now_ms = NOW_MS + HOUR_MS
    assert present(held, now_ms).entry.value == b"1"
    assert [entry.variant for entry in removals(held, now_ms)] == [variant_at(NOW_MS)]


@pytest.mark.parametrize("name", ["at-home", "at-20260101T0000Z", "at-20261301T000000Z", "x-20260101T000000Z", ""])
def test_a_variant_of_another_name_is_no_activation(name):
    assert moment_of(name) is None
    assert removals(item((put("k", b"1", variant=name), None)), NOW_MS + HOUR_MS) == []


def test_the_name_says_the_moment():
    assert moment_of(variant_at(NOW_MS + 3_000)) == NOW_MS + 3_000


def test_a_plain_value_reaches_everybody_for_ever():
    assert reach_of() == Reach()
    assert entry_of() == put("k", b"1")


# -- limits and paces -----------------------------------------------------------------------------

LIMIT = MatchTerm(MatchKind.HALT, "", 3)
FIVE = MatchTerm(MatchKind.PERCENT, "v", 500)


def test_a_canary_has_a_limit_of_votes_and_grows():
    made = entry_of(variant="v", percent="5", halt_after=3, over="30m")
    assert made.match == (FIVE, LIMIT, MatchTerm(MatchKind.PACE, "", 1_800_000))
    assert made.rank == CANARY_RANK


def test_a_limit_stays_and_a_pace_is_given_each_time():
    before = item((entry_of(variant="v", percent="5", halt_after=3, over="30m"), None))
    assert entry_of(before, variant="v").match == (FIVE, LIMIT)
    assert entry_of(before, variant="v", match=["zone=eu-*"]).match == (EU, FIVE, LIMIT)
    assert entry_of(before, variant="v", halt_after=9).match == (FIVE, MatchTerm(MatchKind.HALT, "", 9))
    assert entry_of(before, variant="v", over="1h").match[-1] == MatchTerm(MatchKind.PACE, "", HOUR_MS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variant": "v", "halt_after": 3}, "not said for whom"),
        ({"variant": "v", "match": ["a=b"], "over": "1h"}, "add --percent"),
        ({"variant": "v", "percent": "5", "over": "400d"}, "366 days at most"),
        ({"variant": "v", "percent": "5", "over": "soon"}, "--over is 'soon'"),
    ],
)
def test_what_they_need(options, said):
    with pytest.raises(InvalidInput, match=said):
        entry_of(**options)


@pytest.mark.parametrize("options", [{"halt_after": 3}, {"over": "1h"}, {"halt_after": 3, "override": "1h"}])
def test_they_are_a_variant_s(options):
    with pytest.raises(typer.BadParameter, match="are a variant's"):
        entry_of(**options)
