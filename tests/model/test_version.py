"""The algebra of versions, over bodies that no honest signer would make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Writer, check_vectors
from gossipconf.model.clock import covers, join
from gossipconf.model.entry import Entry
from gossipconf.model.limits import SEQ_MAX
from gossipconf.model.version import Version, live, versions_of, winner
from tests import strategies as gen

ANN, BEN, CAT = gen.WRITERS


def version(
    writer: Writer, seq: int, seen: dict[Writer, int] | None = None, *, key: str = "a", time_ms: int = 0
) -> Version:
    """One version, by the fields that decide."""
    clock = tuple(sorted((who.id, number) for who, number in (seen or {}).items()))
    return next(iter(versions_of(gen.body([Entry(key, b"", seen=clock)], writer, seq, time_ms=time_ms))))


# -- supersession ---------------------------------------------------------------------------------


@given(gen.change_sets())
def test_the_strategies_make_only_bodies_that_pass_the_check(changes):
    for change in changes:
        check_vectors(change)


@given(gen.versions())
def test_supersession_is_irreflexive_asymmetric_and_the_comparison_of_clock_and_vector(versions):
    for one in versions:
        assert not one.supersedes(one)
        for other in versions:
            expected = one.slot == other.slot and covers(one.entry.seen, other.clock)
            assert one.supersedes(other) == expected
            assert not (one.supersedes(other) and other.supersedes(one))


@given(gen.versions())
def test_supersession_is_transitive(versions):
    above = {one.id: [other for other in versions if other.supersedes(one)] for one in versions}
    for one in versions:
        for two in above[one.id]:
            for three in above[two.id]:
                assert three.supersedes(one)


def test_two_writers_that_claim_each_other_are_siblings():
    one = version(ANN, 1, {BEN: 1})
    two = version(BEN, 1, {ANN: 1})
    assert live([one, two]) == {one, two}


def test_two_writers_that_claim_each_other_s_end_of_the_range_are_siblings():
    one = version(ANN, SEQ_MAX, {BEN: SEQ_MAX, ANN: SEQ_MAX - 1})
    two = version(BEN, SEQ_MAX, {ANN: SEQ_MAX, BEN: SEQ_MAX - 1})
    assert live([one, two]) == {one, two}


def test_the_branches_of_a_fork_are_siblings_and_one_vector_supersedes_them_all():
    one, two = version(ANN, 2, time_ms=1), version(ANN, 2, time_ms=2)
    after = version(BEN, 1, {ANN: 2})
    assert live([one, two]) == {one, two}
    assert live([one, two, after]) == {after}


def test_a_version_supersedes_only_if_it_has_seen_all_that_the_other_had_seen():
    first = version(ANN, 1, {CAT: 5})
    assert not version(BEN, 1, {ANN: 1}).supersedes(first)
    assert not version(BEN, 1, {ANN: 1, CAT: 4}).supersedes(first)
    assert version(BEN, 1, {ANN: 1, CAT: 5}).supersedes(first)


def test_a_later_number_alone_supersedes_nothing():
    assert live([version(ANN, 1), version(ANN, 2)]) == {version(ANN, 1), version(ANN, 2)}


def test_a_vector_of_another_slot_supersedes_nothing():
    assert not version(BEN, 1, {ANN: 1}, key="b").supersedes(version(ANN, 1, key="a"))


# -- live and winner ------------------------------------------------------------------------------


@given(gen.versions(), st.data())
def test_live_of_a_union_is_live_of_the_live_parts(versions, data):
    left = data.draw(st.sets(st.sampled_from(versions)))
    right = set(versions) - left | data.draw(st.sets(st.sampled_from(versions)))
    assert live(left | right) == live(live(left) | live(right))


@given(gen.versions())
def test_something_lives_in_every_slot_that_was_written(versions):
    assert {one.slot for one in live(versions)} == {one.slot for one in versions}


@given(gen.versions(), st.randoms(use_true_random=False))
def test_the_winner_is_the_largest_time_and_then_id_in_any_order(versions, random):
    expected = sorted(versions, key=lambda one: (one.header.time_ms, one.id))[-1]
    random.shuffle(versions)
    assert winner(versions) == expected


def test_the_later_time_wins_whatever_the_ids():
    assert winner([version(ANN, 1, time_ms=1), version(BEN, 1, time_ms=2)]).header.time_ms == 2


# -- clocks ---------------------------------------------------------------------------------------

clocks = st.dictionaries(st.sampled_from([one.id for one in gen.WRITERS]), gen.seqs).map(
    lambda claims: tuple(sorted(claims.items()))
)


@given(clocks, clocks)
def test_join_is_the_least_upper_bound(one, two):
    top = join([one, two])
    assert covers(top, one)
    assert covers(top, two)
    assert dict(top) == {
        writer: max(dict(one).get(writer, 0), dict(two).get(writer, 0)) for writer in {**dict(one), **dict(two)}
    }


@given(clocks, clocks)
def test_covers_is_comparison_by_writer(big, small):
    assert covers(big, small) == all(dict(big).get(writer, 0) >= seq for writer, seq in small)


@given(clocks, clocks, clocks)
def test_join_does_not_depend_on_order_or_grouping(one, two, three):
    assert join([one, two, three]) == join([three, join([two, one])])
    assert join([one, one]) == one


def test_the_versions_of_a_change_are_made_once():
    change = gen.body([Entry("a", b""), Entry("b", b"")], ANN, 5)
    assert versions_of(change) is change.versions
    assert [(one.id, one.change_id, one.index, one.slot) for one in change.versions] == [
        (change.version_id(index), change.id, index, (key, "")) for index, key in enumerate("ab")
    ]
    assert change.restrict([1]).versions == change.versions[1:]
    assert change.place == (5, change.id)


def test_a_version_knows_its_slot_and_clock():
    one = version(ANN, 3, {BEN: 7, ANN: 1})
    assert one.slot == ("a", "")
    assert dict(one.clock) == {ANN.id: 3, BEN.id: 7}
