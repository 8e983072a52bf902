"""What a reader sees of a key: by slots, matches, ranks, time and halts, whatever the order of the versions."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.entry import BASIS_POINTS, Entry, MatchKind, MatchTerm, Operation
from gossipconf.model.version import Version
from gossipconf.store.resolution import (
    Reader,
    Verdict,
    holds,
    is_timeless,
    matches,
    moments,
    next_moment,
    resolve,
    share_of,
)
from tests import strategies as gen

ANN, BEN, _ = gen.WRITERS
EU = Reader.of("checkout-1", "eu-west/a", {"service": "checkout"})
IN_EU = (MatchTerm(MatchKind.GLOB, "zone", ("eu-*",)),)
IN_US = (MatchTerm(MatchKind.GLOB, "zone", ("us-*",)),)


def version(value: bytes | None = b"1", *, writer=ANN, seq: int = 1, time_ms: int = 1, activation_ms=None, **fields):
    operation = Operation.DELETE if value is None else Operation.PUT
    entry = Entry("k", value, operation=operation, **fields)
    (made,) = gen.body([entry], writer, seq, time_ms=time_ms, activation_ms=activation_ms).versions
    return made


def verdicts(*versions: Version, now_ms: int = 10, reader: Reader = EU, halted=frozenset()) -> list[Verdict]:
    """What became of each, in the order given."""
    resolution = resolve(versions, reader, now_ms, halted)
    assert resolution.version == next(
        (one.version for one in resolution.candidates if one.verdict is Verdict.READ), None
    )
    return [resolution.verdict_of(one) for one in versions]


# -- which one ------------------------------------------------------------------------------------


def test_nothing_is_read_of_nothing():
    assert resolve([], EU, 1).version is None


def test_of_siblings_the_later_is_read():
    assert verdicts(version(writer=ANN), version(writer=BEN, time_ms=2)) == [Verdict.SIBLING, Verdict.READ]


def test_what_fails_a_schema_at_this_reader_is_passed_over():
    bad, good, default = (
        version(variant="eu", match=IN_EU, seq=2, time_ms=2),
        version(variant="eu", match=IN_EU),
        version(),
    )
    found = resolve((bad, good, default), EU, 10, unfit={bad.id})
    assert [found.verdict_of(one) for one in (bad, good, default)] == [Verdict.UNFIT, Verdict.READ, Verdict.SHADOWED]
    assert resolve((bad, default), EU, 10, unfit={bad.id}).version == default


def test_a_matching_variant_is_read_before_the_default():
    assert verdicts(version(), version(variant="eu", match=IN_EU)) == [Verdict.SHADOWED, Verdict.READ]
    assert verdicts(version(), version(variant="us", match=IN_US, rank=9)) == [Verdict.READ, Verdict.NO_MATCH]


def test_the_highest_rank_is_read_and_of_equals_the_smallest_name():
    low, high = version(variant="a", rank=1), version(variant="b", rank=2)
    assert verdicts(low, high) == [Verdict.OUTRANKED, Verdict.READ]
    assert verdicts(version(variant="b", rank=2), version(variant="a", rank=2)) == [Verdict.OUTRANKED, Verdict.READ]


def test_a_delete_empties_its_slot_and_no_other():
    gone = version(None, variant="eu", time_ms=2)
    assert verdicts(version(), gone, version(variant="eu", writer=BEN)) == [
        Verdict.READ,
        Verdict.DELETED,
        Verdict.SIBLING,
    ]
    assert verdicts(version(None), version(variant="us", match=IN_US)) == [Verdict.DELETED, Verdict.NO_MATCH]


def test_what_expires_falls_back_within_its_slot_and_then_to_the_default():
    default = version()
    older = version(variant="o", writer=BEN, time_ms=2, expires_ms=20)
    newer = version(variant="o", time_ms=3, expires_ms=10)
    assert verdicts(default, older, newer, now_ms=9) == [Verdict.SHADOWED, Verdict.SIBLING, Verdict.READ]
    assert verdicts(default, older, newer, now_ms=10) == [Verdict.SHADOWED, Verdict.READ, Verdict.EXPIRED]
    assert verdicts(default, older, newer, now_ms=20) == [Verdict.READ, Verdict.EXPIRED, Verdict.EXPIRED]


def test_what_is_not_yet_active_leaves_what_was_there():
    waiting = version(variant="at", rank=9, activation_ms=10)
    assert verdicts(version(), waiting, now_ms=9) == [Verdict.READ, Verdict.WAITING]
    assert verdicts(version(), waiting, now_ms=10) == [Verdict.SHADOWED, Verdict.READ]


def test_a_delete_that_is_not_yet_active_deletes_nothing():
    later = version(None, time_ms=2, writer=BEN, activation_ms=10)
    assert verdicts(version(), later, now_ms=9) == [Verdict.READ, Verdict.WAITING]
    assert verdicts(version(), later, now_ms=10) == [Verdict.SIBLING, Verdict.DELETED]


def test_what_is_halted_is_not_read():
    default, canary = version(), version(variant="canary")
    assert verdicts(default, canary, halted={canary.change_id}) == [Verdict.READ, Verdict.HALTED]
    assert verdicts(default, halted={default.change_id}) == [Verdict.HALTED]


def test_another_reader_s_verdict_is_asked_in_vain():
    with pytest.raises(KeyError):
        resolve([version()], EU, 1).verdict_of(version(b"2"))


# -- whatever the order ---------------------------------------------------------------------------

times = st.none() | st.integers(0, 3)
terms = st.sampled_from([IN_EU, IN_US, (), (*IN_EU, MatchTerm(MatchKind.ONE_OF, "service", ("checkout", "pay")))])


@st.composite
def keys_of_versions(draw: st.DrawFn) -> list[Version]:
    made = {}
    for number in range(draw(st.integers(0, 7))):
        variant = draw(st.sampled_from(["", "a", "b"]))
        value = draw(st.sampled_from([b"0", b"1", None]))
        fields = {"variant": variant}
        if value is not None:
            fields |= {"expires_ms": draw(times)}
            if variant:
                fields |= {"match": draw(terms), "rank": draw(st.integers(0, 2))}
        time_ms, activation_ms = draw(st.integers(0, 2)), draw(times)
        one = version(value, seq=number + 1, time_ms=time_ms, activation_ms=activation_ms, **fields)
        made[one.id] = one
    return list(made.values())


def plainly(versions: list[Version], now_ms: int, halted: set[bytes]) -> Version | None:
    """The definition, spelled out in another way."""
    heads = {}
    for one in sorted(versions, key=lambda one: one.precedence):
        is_over = one.entry.expires_ms is not None and one.entry.expires_ms <= now_ms
        is_ahead = one.header.activation_ms is not None and one.header.activation_ms > now_ms
        if not is_over and not is_ahead and one.change_id not in halted:
            heads[one.entry.variant] = one
    fitting = {
        name: one
        for name, one in heads.items()
        if one.entry.value is not None and not any("us-*" in term.operand for term in one.entry.match)
    }
    default = fitting.pop("", None)
    ranks = [one.entry.rank for one in fitting.values()]
    best = [name for name, one in fitting.items() if one.entry.rank == max(ranks)]
    return fitting[min(best)] if best else default


@given(keys_of_versions(), st.integers(0, 3), st.randoms(use_true_random=False), st.data())
def test_it_is_a_function_of_the_set(versions, now_ms, random, data):
    halted = set(data.draw(st.lists(st.sampled_from([one.change_id for one in versions] or [b""]))))
    expected = resolve(versions, EU, now_ms, halted)
    assert expected.version == plainly(versions, now_ms, halted)
    assert sorted(one.version.id for one in expected.candidates) == sorted(one.id for one in versions)
    random.shuffle(versions)
    assert resolve(versions, EU, now_ms, halted) == expected


@given(keys_of_versions(), st.integers(0, 3))
def test_the_outcome_stays_until_the_next_moment(versions, now_ms):
    following = next_moment(versions, now_ms)
    assert following is None or following > now_ms
    assert following == min((at for one in versions for at in moments(one) if at > now_ms), default=None)
    assert not any(is_timeless(one) and moments(one, EU) for one in versions)
    for later_ms in range(now_ms, 5 if following is None else following):
        assert resolve(versions, EU, later_ms) == resolve(versions, EU, now_ms)


# -- matches --------------------------------------------------------------------------------------


def test_labels_zone_and_node_are_told_apart():
    reader = Reader.of("n-1", "eu-west/a", {"service": "checkout", "node": "false", "zone": "false"})
    assert holds(MatchTerm(MatchKind.EQUAL, "service", ("checkout",)), reader)
    assert holds(MatchTerm(MatchKind.ONE_OF, "node", ("n-0", "n-1")), reader)
    assert holds(MatchTerm(MatchKind.GLOB, "zone", ("eu-*",)), reader)
    assert not holds(MatchTerm(MatchKind.EQUAL, "node", ("false",)), reader)
    assert not holds(MatchTerm(MatchKind.EQUAL, "zone", ("eu-*",)), reader)
    assert not holds(MatchTerm(MatchKind.ONE_OF, "service", ("check", "out")), reader)


def test_a_label_that_is_not_there_fits_nothing():
    nowhere = Reader.of("n-1", "", {})
    assert not holds(MatchTerm(MatchKind.GLOB, "zone", ("*",)), nowhere)
    assert not holds(MatchTerm(MatchKind.EQUAL, "zone", ("",)), nowhere)
    assert matches((), nowhere)


def test_all_conditions_must_hold():
    service = MatchTerm(MatchKind.EQUAL, "service", ("checkout",))
    assert matches((service, *IN_EU), EU)
    assert not matches((service, *IN_US), EU)


@given(st.text("ab*?[]!-^/&~|\\", max_size=12), st.text("ab-]/", max_size=8))
def test_patterns_are_those_of_the_shell_and_no_pattern_fails(pattern, value):
    found = holds(MatchTerm(MatchKind.GLOB, "l", (pattern,)), Reader("n", {"l": value}))
    assert found == fnmatchcase(value, pattern)


def test_patterns_tell_upper_from_lower_case():
    assert not holds(MatchTerm(MatchKind.GLOB, "l", ("A*",)), Reader("n", {"l": "ab"}))


def test_no_pattern_is_tried_for_ever():
    """With backtracking over all stars this takes longer than the universe has been there."""
    assert not holds(MatchTerm(MatchKind.GLOB, "l", ("*a" * 127 + "b",)), Reader("n", {"l": "a" * 256}))


# -- percentages ----------------------------------------------------------------------------------

NODES = [f"checkout-{number}.eu" for number in range(10_000)]


def chosen(percent: float, salt: str, nodes=NODES) -> set[str]:
    term = MatchTerm(MatchKind.PERCENT, salt, round(percent * 100))
    return {node for node in nodes if holds(term, Reader(node, {}))}


@pytest.mark.parametrize("percent", [0.5, 1, 5, 25, 50, 95])
@pytest.mark.parametrize("salt", ["canary", "", "blue"])
def test_a_percentage_chooses_so_many(percent, salt):
    """Within five standard deviations, outside of which one of a million fair hashes falls; this one never changes."""
    share = percent / 100
    deviation = math.sqrt(len(NODES) * share * (1 - share))
    assert abs(len(chosen(percent, salt)) - len(NODES) * share) < 5 * deviation


def test_none_and_all():
    assert chosen(0, "s") == set()
    assert chosen(100, "s") == set(NODES)


def test_a_larger_percentage_keeps_those_already_in():
    growing = [chosen(percent, "s") for percent in (0, 0.01, 1, 5, 5.01, 50, 100)]
    assert all(fewer <= more for fewer, more in pairwise(growing))


@given(st.text(max_size=10), st.integers(0, BASIS_POINTS), st.integers(0, BASIS_POINTS))
def test_whoever_is_in_stays_in(salt, one, other):
    if chosen(min(one, other) / 100, salt, ["n"]):
        assert chosen(max(one, other) / 100, salt, ["n"])


def test_salts_choose_independently():
    both = chosen(10, "a") & chosen(10, "b")
    assert 50 < len(both) < 150


def test_a_node_s_place_is_the_same_in_every_process_and_release():
    asked = [("canary", "checkout-1"), ("", "a"), ("s\N{LATIN SMALL LETTER E WITH ACUTE}", "b.c")]
    assert [share_of(*one) for one in asked] == [500, 3083, 6196]


def test_places_are_spread_evenly():
    """Each tenth of the scale has a tenth of the nodes, within five standard deviations (30 of 1,000)."""
    random = Random(7)
    tenths = [0] * 10
    for _ in range(10_000):
        tenths[share_of("s", f"{random.getrandbits(64):x}") * 10 // BASIS_POINTS] += 1
    assert all(850 < count < 1_150 for count in tenths)


# -- shares that grow -----------------------------------------------------------------------------

HALF_HOUR_MS = 1_800_000
SLOW = (
    MatchTerm(MatchKind.PERCENT, "salt", 500),
    MatchTerm(MatchKind.HALT, "", 3),
    MatchTerm(MatchKind.PACE, "", HALF_HOUR_MS),
)
FLEET = [Reader.of(f"n{number}", "", {}) for number in range(2_000)]


def in_after(age_ms: int, match=SLOW, **fields) -> list[str]:
    """Who of FLEET reads the variant so long after it has begun."""
    canary = version(variant="canary", match=match, time_ms=1_000, **fields)
    begins_ms = 1_000 if canary.header.activation_ms is None else canary.header.activation_ms
    found = [reader.node_id for reader in FLEET if resolve([canary], reader, begins_ms + age_ms).version is not None]
    assert found == [reader.node_id for reader in FLEET if matches(match, reader, age_ms)]
    return found


def test_a_share_with_a_pace_grows_evenly_and_only_grows():
    ages_ms = [HALF_HOUR_MS * part // 10 for part in range(11)]
    shares = [in_after(age_ms) for age_ms in ages_ms]
    assert shares[0] == []
    assert shares[-1] == in_after(0, SLOW[:1]) == in_after(10 * HALF_HOUR_MS)
    for fewer, more in pairwise(shares):
        assert set(fewer) <= set(more)
    for part, share in enumerate(shares):
        expected = len(FLEET) * 0.05 * part / 10
        assert abs(len(share) - expected) <= 3 * math.sqrt(expected) + 1e-9


def test_a_share_grows_from_its_activation_where_it_has_one():
    assert in_after(HALF_HOUR_MS // 2, activation_ms=10 * HALF_HOUR_MS) == in_after(HALF_HOUR_MS // 2)
    assert in_after(-1, activation_ms=10 * HALF_HOUR_MS) == []


def test_whoever_joins_is_told_when():
    canary = version(variant="canary", match=SLOW, time_ms=1_000)
    for reader in FLEET[:300]:
        joins = moments(canary, reader)
        if matches(SLOW, reader):
            (at_ms,) = joins
            assert next_moment([canary], 1_000, reader) == at_ms
            assert [resolve([canary], reader, at).version for at in (at_ms - 1, at_ms)] == [None, canary]
        assert moments(canary) == []


def test_a_limit_of_votes_holds_for_everybody():
    assert all(holds(SLOW[1], reader) for reader in FLEET[:10])
    assert verdicts(version(variant="canary", match=SLOW[1:2])) == [Verdict.READ]
