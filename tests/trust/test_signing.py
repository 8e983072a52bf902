"""Composing changes: what is computed, and what is refused before anything is signed."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.change import Change, Writer
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, Operation, ValueType, delete, put
from gossipconf.model.errors import (
    BadSignature,
    InvalidInput,
    LimitExceeded,
    NotAuthorised,
    Rejected,
    StaleReservation,
    UnknownPolicy,
    WrongCluster,
)
from gossipconf.model.limits import COMMENT_BYTES_MAX, ENTRIES_MAX, SEEN_WRITERS_MAX, SEQ_MAX, TIME_MS_MAX
from gossipconf.model.version import live, versions_of
from gossipconf.trust.keys import Signer
from gossipconf.trust.signing import Reservation, approve, compose
from tests import strategies as gen

ALICE = Writer(gen.signer("alice").public, bytes(8))
BOB = Writer(gen.signer("bob").public, bytes(8))


def composed(entries, replaced=(), by="alice", seq=1, now_ms=gen.NOW_MS, **fields) -> Change:
    return compose(
        entries,
        replaced,
        chain=gen.chain(),
        signer=gen.signer(by),
        reservation=fields.pop("reservation", gen.reservation(seq)),
        now_ms=now_ms,
        **fields,
    )


def test_a_first_change_has_seen_nothing_and_reads_back():
    change = composed([put("b", b"2"), put("a", b"1"), delete("c")], comment="first", activation_ms=5)
    assert [entry.key for _, entry in change.entries] == ["a", "b", "c"]
    assert all(entry.seen == () for _, entry in change.entries)
    header = change.header
    assert (header.policy, header.seq, header.time_ms) == (1, 1, gen.NOW_MS)
    assert (header.comment, header.activation_ms, header.writer) == ("first", 5, ALICE)
    assert Change.decode(change.encode(), header.cluster) == change
    gen.chain().judge(change)


def test_what_is_replaced_is_superseded_and_siblings_join():
    one, two = composed([put("a", b"1")]), composed([put("a", b"2")], by="bob", seq=4)
    after = composed([put("a", b"3")], [one, two], seq=2)
    ((_, entry),) = after.entries
    assert dict(entry.seen) == {ALICE.id: 1, BOB.id: 4}
    pool = [version for change in (one, two, after) for version in versions_of(change)]
    assert live(pool) == set(versions_of(after))


def test_a_vector_is_only_of_its_own_slot():
    before = composed([put("a", b"1"), put("b", b"1")])
    other = composed([put("b", b"2")], by="bob")
    after = composed([put("a", b"3"), put("a", b"3", variant="canary"), put("c", b"3")], [before, other], seq=2)
    assert {entry.slot: dict(entry.seen) for _, entry in after.entries} == {
        ("a", ""): {ALICE.id: 1},
        ("a", "canary"): {},
        ("c", ""): {},
    }


def test_a_part_is_as_good_as_the_whole():
    before = composed([put("a", b"1"), put("b", b"1")])
    part = composed([put("a", b"2")], [before.restrict([0])], seq=2)
    assert part == composed([put("a", b"2")], [before], seq=2)


@pytest.mark.parametrize(("now_ms", "expected"), [(5, 1001), (1000, 1001), (1001, 1001), (1002, 1002)])
def test_the_time_is_above_what_is_replaced_whatever_the_clock_says(now_ms, expected):
    before = composed([put("a", b"1")], now_ms=1000)
    assert composed([put("a", b"2")], [before], seq=2, now_ms=now_ms).header.time_ms == expected


def test_the_time_of_another_slot_does_not_matter():
    before = composed([put("b", b"1")], now_ms=1000)
    assert composed([put("a", b"2")], [before], seq=2, now_ms=5).header.time_ms == 5


def test_the_time_stops_at_the_last_moment():
    before = composed([put("a", b"1")], now_ms=TIME_MS_MAX)
    after = composed([put("a", b"2")], [before], seq=2)
    assert after.header.time_ms == TIME_MS_MAX
    assert live([*versions_of(before), *versions_of(after)]) == set(versions_of(after))


@pytest.mark.parametrize("claim", [2, 3, SEQ_MAX])
def test_a_number_that_somebody_claims_to_have_seen_is_stale(claim):
    hostile = gen.signed([Entry("a", b"x", seen=((ALICE.id, claim),))], "bob")
    with pytest.raises(StaleReservation, match="fresh incarnation"):
        composed([put("a", b"2")], [hostile], seq=2)
    fresh = Reservation(b"freshrun", 1)
    after = composed([put("a", b"2")], [hostile], reservation=fresh)
    assert live([*versions_of(hostile), *versions_of(after)]) == set(versions_of(after))


def test_a_claim_below_the_number_is_fine():
    hostile = gen.signed([Entry("a", b"x", seen=((ALICE.id, 1),))], "bob")
    assert composed([put("a", b"2")], [hostile], seq=2)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda change: dataclasses.replace(change, signature=bytes(64)), BadSignature),
        (lambda change: gen.signed([change.entries[0][1]], "mallory"), NotAuthorised),
        (lambda change: gen.signed([change.entries[0][1]], "bob", policy=9), UnknownPolicy),
        (lambda change: gen.signed([change.entries[0][1]], "bob", cluster_id=bytes(32)), WrongCluster),
    ],
)
def test_a_replaced_version_is_verified_and_not_believed(spoil, error):
    before = composed([put("a", b"1")])
    with pytest.raises(error):
        composed([put("a", b"2")], [spoil(before)], seq=2)


@pytest.mark.parametrize(
    ("entries", "by"),
    [([put("pay/x", b"")], "carol"), ([delete("shop/a")], "carol"), ([put("a", b"")], "mallory"),
     ([put("_policy/2", b"")], "alice"), ([put("shop/a", b""), put("other", b"")], "carol")],
)  # fmt: skip
def test_what_the_policy_forbids_is_not_handed_out(entries, by):
    with pytest.raises(NotAuthorised):
        composed(entries, by=by)


def test_a_change_that_needs_approvals_is_refused_until_somebody_collects_them():
    with pytest.raises(NotAuthorised, match="needs 2 approvals"):
        composed([put("pay/x", b"")], by="dave")


@pytest.mark.parametrize(
    ("entries", "fields", "error"),
    [
        ([], {}, InvalidInput),
        ([put("a", b"1"), put("a", b"2")], {}, InvalidInput),
        ([put("a", b"1"), delete("a")], {}, InvalidInput),
        ([put(f"k{number}", b"") for number in range(ENTRIES_MAX + 1)], {}, LimitExceeded),
        ([put("a", b"")], {"comment": "c" * (COMMENT_BYTES_MAX + 1)}, LimitExceeded),
        ([put("a", b"")], {"comment": "é" * (COMMENT_BYTES_MAX // 2 + 1)}, LimitExceeded),
        ([put("a", b"")], {"comment": "\udcff"}, InvalidInput),
        ([put(f"k{number}", bytes(1 << 20)) for number in range(8)], {}, LimitExceeded),
        ([put("a", b"")], {"seq": SEQ_MAX + 1}, LimitExceeded),
        ([put("a", b"")], {"now_ms": -1}, LimitExceeded),
        ([put("a", b"")], {"activation_ms": TIME_MS_MAX + 1}, LimitExceeded),
        ([Entry("a", b"", variant="v", rank=-1)], {}, LimitExceeded),
        ([Entry("a//b", b"")], {}, InvalidInput),
        ([Entry("a", b"", operation=Operation.DELETE)], {}, InvalidInput),
        ([Entry("a", b"", match=(MatchTerm(MatchKind.EQUAL, "l", ("x",)),))], {}, InvalidInput),
    ],
)
def test_what_no_reader_would_take_is_not_signed(entries, fields, error):
    with pytest.raises(error):
        composed(entries, **fields)


def test_a_change_with_too_many_bytes_of_entries_is_refused_before_anything_is_signed(monkeypatch):
    gen.cluster()  # which is signed itself
    monkeypatch.setattr(Signer, "sign", lambda *_: pytest.fail("it was signed"))
    with pytest.raises(LimitExceeded, match=r"bytes of entries, the limit is 8388608; publish it in parts"):
        composed([put(f"k{number}", bytes(1 << 20)) for number in range(8)])


def test_the_repeated_key_is_named():
    with pytest.raises(InvalidInput, match="'twice'"):
        composed([put("once", b""), put("twice", b"1"), put("twice", b"2")])


def test_the_same_key_in_two_variants_is_two_slots():
    assert composed([put("a", b"1"), put("a", b"2", variant="canary")]).header.count == 2


def test_more_writers_than_a_vector_holds_are_refused_by_name():
    crowd = tuple((number.to_bytes(16, "big"), 1) for number in range(SEEN_WRITERS_MAX))
    hostile = gen.signed([Entry("a", b"", seen=crowd)], "bob")
    assert len(composed([put("a", b"")], [gen.signed([Entry("a", b"", seen=crowd[:-1])], "bob")]).entries) == 1
    with pytest.raises(LimitExceeded, match=f"of 'a' would have {SEEN_WRITERS_MAX + 1} writers"):
        composed([put("a", b"")], [hostile], seq=2)


def test_a_hostile_time_and_comment_in_what_is_replaced_do_no_harm():
    hostile = gen.signed([Entry("a", b"")], "bob", time_ms=TIME_MS_MAX, comment="c" * COMMENT_BYTES_MAX)
    after = composed([put("a", b"")], [hostile], seq=2)
    assert live([*versions_of(hostile), *versions_of(after)]) == set(versions_of(after))


def test_signing_is_deterministic():
    assert composed([put("a", b"1")]).encode() == composed([put("a", b"1")]).encode()


def test_an_approved_change_keeps_its_id_and_bytes_of_entries():
    change = gen.signed([Entry("pay/x", b"1", ValueType.TEXT)], "dave")
    approved = approve(change, gen.signer("erin"))
    assert approved.id == change.id
    assert approved.entries == change.entries
    with pytest.raises(Rejected):
        gen.chain().judge(change)
    gen.chain().judge(approved)
