"""Messages: each round-trips, a newer node's are skipped, and whatever is malformed is a violation that names it."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.encoding import encode, unpack
from gossipconf.model.errors import ProtocolViolation
from gossipconf.model.limits import (
    ADDRESS_BYTES_MAX,
    FRONTIER_WRITERS_MAX,
    MESSAGE_BYTES_MAX,
    NODE_ID_BYTES_MAX,
    POLICY_VERSION_MAX,
    SEQ_MAX,
    SYNC_BUDGET_BYTES,
    TIME_MS_MAX,
)
from gossipconf.protocol.fields import DIGESTS_MAX, WIDTH_MIN
from gossipconf.protocol.frontier import START_BYTES
from gossipconf.protocol.messages import (
    ADDRESSES_MAX,
    AGE_MS_MAX,
    BATCH_CHANGES_MAX,
    BUCKET_DIGEST_BYTES,
    BUCKET_ITEMS_MAX,
    BUNDLED_MAX,
    DIGEST_BYTES,
    EPOCH_MAX,
    GRAFT_ZONES_MAX,
    HOPS_MAX,
    LEASE_MS_MAX,
    PRESENCES_MAX,
    ROSTER_BUCKETS,
    SAID_BATCH_MAX,
    SUSPICIONS_MAX,
    WALK_LEVELS_MAX,
    WALK_NODES_MAX,
    WANTED_ITEMS_MAX,
    WANTED_RECORDS_MAX,
    WIDTH_MAX,
    Addresses,
    Announce,
    Ask,
    Batch,
    Beacon,
    Bundle,
    Cancel,
    CertificateGiven,
    Check,
    Checked,
    Given,
    Goodbye,
    Graft,
    Hello,
    Hinted,
    Hints,
    Message,
    Ping,
    Pong,
    Prune,
    Pull,
    Push,
    Recap,
    Report,
    Root,
    Roster,
    RosterDigest,
    RosterItems,
    SaidBatch,
    SaidDigest,
    SaidItems,
    SaidNews,
    SaidSubjects,
    Signs,
    Told,
    Walk,
    Walked,
    Want,
    WantAddresses,
    WantCertificate,
    WantPolicies,
    ZoneTold,
    decode_message,
    encode_message,
)
from gossipconf.protocol.sighting import (
    AGE_S_MAX,
    BEATS_MAX,
    LABEL_KEY_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    TAG_BYTES,
    ZONE_BYTES_MAX,
    Beat,
    Beats,
    Presence,
    Sighting,
    Suspicion,
    labels_of,
)
from gossipconf.protocol.statement_book import NODES_MAX, SUBJECTS_MAX
from gossipconf.protocol.subject import AskedChange, Subject
from gossipconf.protocol.tally import COUNT_MAX, Tally
from gossipconf.protocol.zone import TAG_MAX
from gossipconf.store.hash_tree import DEPTH_MAX, FANOUT, ITEM_BYTES
from gossipconf.trust.statement import STATEMENT_BYTES_MAX

# -- every message --------------------------------------------------------------------------------

numbers = st.integers(0, SEQ_MAX)
policies = st.integers(0, (1 << 31) - 1)
hashes = st.binary(min_size=16, max_size=16)
nonces = st.binary(min_size=8, max_size=8)
ids = st.binary(min_size=32, max_size=32)
node_ids = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,9}[a-z0-9])?", fullmatch=True)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
budgets = st.integers(0, SYNC_BUDGET_BYTES)
bodies = st.binary(max_size=40)
zones = st.integers(0, TAG_MAX)
digests = st.lists(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES), min_size=1, max_size=4).map(tuple)


def tuples(of: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=most).map(tuple)


starts = st.binary(min_size=START_BYTES, max_size=START_BYTES)
frontiers = st.dictionaries(starts, st.integers(1, SEQ_MAX), max_size=4).map(
    lambda one: (b"".join(sorted(one)), tuple(one[start] for start in sorted(one)))
)
lacks = st.dictionaries(st.integers(0, FRONTIER_WRITERS_MAX - 1), st.integers(1, SEQ_MAX), max_size=4).map(
    lambda one: tuple(sorted(one.items()))
)
cut = st.binary(min_size=WIDTH_MIN, max_size=WIDTH_MAX)
prefixes = tuples(st.integers(0, FANOUT - 1), DEPTH_MAX - 1)
told = st.builds(Told, prefixes, st.integers(0, WALK_LEVELS_MAX), bodies)
labels = st.dictionaries(names.filter(bool), names, max_size=4).map(labels_of)
presences = st.builds(
    Presence,
    node_ids,
    nonces,
    st.integers(0, 1 << 52),
    numbers,
    names,
    names,
    hashes,
    policies,
    numbers,
    st.booleans(),
    st.booleans(),
    labels,
)
ages = st.integers(0, AGE_S_MAX)
tags = st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES)
whole_tags = st.lists(tags, max_size=4).map(b"".join)
sightings = st.builds(Sighting, presences, ages, st.none() | ages)
asked_changes = st.builds(
    AskedChange,
    st.binary(min_size=32, max_size=32),
    hashes,
    st.integers(1, SEQ_MAX),
    st.one_of(st.none(), st.tuples(st.from_regex(r"[a-z]{1,4}(/[a-z]{1,4})?", fullmatch=True), st.just("canary"))),
)
subjects = st.one_of(st.builds(Subject, tuples(asked_changes)), st.builds(lambda root: Subject(root=root), hashes))
tallies = st.builds(
    Tally,
    st.integers(0, 5),
    st.integers(10, COUNT_MAX),
    tuples(node_ids),
    tuples(st.tuples(names, st.integers(0, 5), st.integers(5, 9))),
    tuples(node_ids),
    st.booleans(),
    st.integers(0, COUNT_MAX),
    tuples(node_ids),
    tuples(node_ids),
)

MESSAGES: dict[type[Any], st.SearchStrategy[Any]] = {
    Hello: st.builds(
        Hello,
        st.integers(0, 9),
        st.integers(0, 9),
        numbers,
        st.binary(min_size=32, max_size=32),
        node_ids,
        nonces,
        names,
        names,
        names,
    ),
    Ping: st.builds(Ping, numbers),
    Pong: st.builds(Pong, numbers),
    Addresses: st.builds(Addresses, tuples(names), tuples(zones)),
    Goodbye: st.builds(Goodbye, st.integers(0, 1 << 16), names),
    Roster: st.builds(Roster, tuples(sightings), st.booleans()),
    Signs: st.builds(
        Signs,
        tuples(st.builds(Beats, hashes, tuples(st.builds(Beat, tags, numbers, ages)))),
        tuples(st.builds(Suspicion, tags, ages)),
    ),
    RosterDigest: st.builds(
        RosterDigest,
        tags,
        hashes,
        st.sampled_from([b"", bytes(ROSTER_BUCKETS * BUCKET_DIGEST_BYTES)]),
        numbers,
        st.booleans(),
    ),
    RosterItems: st.builds(RosterItems, tuples(st.tuples(st.integers(0, ROSTER_BUCKETS - 1), whole_tags)), whole_tags),
    Push: st.builds(Push, st.integers(0, HOPS_MAX), zones, st.integers(0, HOPS_MAX), bodies),
    Announce: st.builds(Announce, digests),
    Recap: st.builds(Recap, digests, tuples(st.integers(0, AGE_MS_MAX))),
    Pull: st.builds(Pull, digests),
    Graft: st.builds(Graft, tuples(zones)),
    Prune: st.builds(Prune, tuples(zones)),
    Bundle: st.builds(Bundle, tuples(bodies)),
    WantAddresses: st.builds(WantAddresses, zones),
    ZoneTold: st.builds(ZoneTold, zones),
    Root: st.builds(Root, hashes, policies, st.booleans()),
    Hints: st.builds(Hints, numbers, hashes, policies, frontiers, st.booleans(), budgets),
    Hinted: st.builds(Hinted, numbers, hashes, policies, lacks, st.booleans()),
    Batch: st.builds(Batch, tuples(bodies)),
    Check: st.builds(Check, numbers),
    Checked: st.builds(Checked, numbers, hashes, policies),
    Walk: st.builds(
        Walk,
        numbers,
        st.integers(WIDTH_MIN, WIDTH_MAX),
        st.integers(1, WALK_LEVELS_MAX),
        tuples(st.tuples(prefixes, cut)),
    ),
    Walked: st.builds(Walked, numbers, tuples(told)),
    Want: st.builds(Want, numbers, tuples(st.binary(min_size=WIDTH_MIN, max_size=ITEM_BYTES)), budgets),
    Given: st.builds(Given, numbers, hashes),
    WantPolicies: st.builds(WantPolicies, policies),
    Ask: st.builds(
        Ask,
        nonces,
        st.integers(0, EPOCH_MAX),
        st.integers(0, HOPS_MAX),
        subjects,
        st.integers(0, LEASE_MS_MAX),
        st.integers(0, LEASE_MS_MAX),
        st.booleans(),
    ),
    Report: st.builds(Report, nonces, st.integers(0, EPOCH_MAX), tallies),
    Cancel: st.builds(Cancel, nonces),
    WantCertificate: st.builds(WantCertificate, bodies),
    CertificateGiven: st.builds(CertificateGiven, bodies, names),
    Beacon: st.builds(Beacon, st.binary(max_size=300)),
    SaidNews: st.builds(SaidNews, bodies),
    SaidDigest: st.builds(SaidDigest, nonces),
    SaidSubjects: st.builds(SaidSubjects, tuples(st.tuples(ids, nonces))),
    SaidItems: st.builds(SaidItems, ids, st.lists(nonces, max_size=4).map(b"".join)),
    SaidBatch: st.builds(SaidBatch, ids, tuples(bodies), st.booleans()),
}
any_message = st.one_of(*MESSAGES.values())


def test_no_message_is_forgotten_here() -> None:
    assert set(MESSAGES) == set(get_args(Message))
    assert len({kind.TYPE for kind in MESSAGES}) == len(MESSAGES)
    assert all(len(kind.READERS) == len(dataclasses.fields(kind)) for kind in MESSAGES)


@settings(max_examples=300)
@given(any_message)
def test_every_message_round_trips(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(any_message, st.lists(st.one_of(st.none(), st.integers(0, 9), st.binary(max_size=3)), min_size=1, max_size=3))
def test_fields_of_a_newer_version_are_skipped(message: Message, more: list[Any]) -> None:
    fields = unpack(encode_message(message))
    assert decode_message(encode([*fields, *more])) == message


@given(st.integers(0, SEQ_MAX).filter(lambda number: number not in {kind.TYPE for kind in MESSAGES}))
def test_unknown_types_are_nobodys(number: int) -> None:
    assert decode_message(encode([number])) is None
    assert decode_message(encode([number, "anything", [1, [2]]])) is None


# -- malformed ------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(any_message, st.data())
def test_a_field_of_another_kind_is_a_violation_that_names_it(message: Message, data: st.DataObject) -> None:
    wire = list(unpack(encode_message(message)))
    position = data.draw(st.integers(1, len(wire) - 1))
    wrong: list[Any] = [
        one for one in (None, "text", b"", True, -1, 1 << 63, (("x",),)) if _kind(one) != _kind(wire[position])
    ]
    wire[position] = data.draw(st.sampled_from(wrong))
    field = dataclasses.fields(message)[position - 1].name
    with pytest.raises(ProtocolViolation, match=f"malformed message: {field} of {type(message).__name__}: "):
        decode_message(encode(wire))


def _kind(value: Any) -> type[Any]:
    return type(value)


@given(any_message, st.data())
def test_a_missing_field_is_a_violation(message: Message, data: st.DataObject) -> None:
    wire = unpack(encode_message(message))
    kept = data.draw(st.integers(1, len(wire) - 1))
    with pytest.raises(ProtocolViolation, match=f"{type(message).__name__} has at least {len(wire) - 1} fields"):
        decode_message(encode(wire[:kept]))


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_violations_or_unknown(data: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):  # and nothing else
        decode_message(data)


@settings(max_examples=300)
@given(any_message, st.data())
def test_altered_bytes_are_violations_or_other_messages(message: Message, data: st.DataObject) -> None:
    wire = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolViolation):
        decode_message(bytes(wire[: data.draw(st.integers(0, len(wire)))]))


HASH = bytes(16)
START = bytes(START_BYTES)
PRESENCE = Presence("n", bytes(8), 1, 1, "", "", HASH, 1, 1, False)


def seen(**fields: Any) -> Sighting:
    return Sighting(dataclasses.replace(PRESENCE, **fields))


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Push(HOPS_MAX + 1, 0, 0, b""), "hops"),
        (Push(1, TAG_MAX + 1, 0, b""), "zone"),
        (Push(1, 0, HOPS_MAX + 1, b""), "zone_hops"),
        (Bundle((b"",) * (BUNDLED_MAX + 1)), "messages"),
        (Bundle((bytes(MESSAGE_BYTES_MAX + 1),)), "messages"),
        (Announce(()), "digests"),
        (Announce((bytes(DIGEST_BYTES - 1),)), "digests"),
        (Announce((bytes(DIGEST_BYTES),) * (DIGESTS_MAX + 1)), "digests"),
        (Pull((bytes(DIGEST_BYTES),) * (DIGESTS_MAX + 1)), "digests"),
        (Recap((bytes(DIGEST_BYTES),) * (DIGESTS_MAX + 1), ()), "digests"),
        (Recap((bytes(DIGEST_BYTES),), (AGE_MS_MAX + 1,)), "ages_ms"),
        (Recap((bytes(DIGEST_BYTES),), (0,) * (DIGESTS_MAX + 1)), "ages_ms"),
        (Graft((0,) * (GRAFT_ZONES_MAX + 1)), "zones"),
        (Prune((TAG_MAX + 1,)), "zones"),
        (ZoneTold(TAG_MAX + 1), "zone"),
        (SaidNews(bytes(STATEMENT_BYTES_MAX + 1)), "statement"),
        (SaidDigest(bytes(7)), "digest"),
        (SaidSubjects(((bytes(32), bytes(8)),) * (SUBJECTS_MAX + 1)), "subjects"),
        (SaidSubjects(((bytes(31), bytes(8)),)), "subjects"),
        (SaidItems(bytes(32), bytes(7)), "items"),
        (SaidItems(bytes(32), bytes(8 * (3 * NODES_MAX + 1))), "items"),
        (SaidBatch(bytes(32), (b"",) * (SAID_BATCH_MAX + 1), False), "statements"),
        (SaidBatch(bytes(32), (bytes(STATEMENT_BYTES_MAX + 1),), False), "statements"),
        (WantAddresses(-1), "zone"),
        (Root(bytes(15), 1), "root"),
        (Root(HASH, 1 << 31), "policy"),
        (Hints(1, HASH, 1, (b"", ()), True, SYNC_BUDGET_BYTES + 1), "budget"),
        (Hints(1, HASH, 1, (START, (0,)), True, 1), "frontier"),
        (Hints(1, HASH, 1, (START + START, (1, 2)), True, 1), "frontier"),
        (Hints(1, HASH, 1, (b"b" * START_BYTES + b"a" * START_BYTES, (1, 1)), True, 1), "frontier"),
        (Hints(1, HASH, 1, (START, (1, 2)), True, 1), "frontier"),
        (Hints(1, HASH, 1, (START[1:], (1,)), True, 1), "frontier"),
        (Hinted(1, HASH, 1, ((0, 0),), False), "lacks"),
        (Hinted(1, HASH, 1, ((-1, 1),), False), "lacks"),
        (Hinted(1, HASH, 1, ((FRONTIER_WRITERS_MAX, 1),), False), "lacks"),
        (Hinted(1, HASH, 1, ((1, 1), (1, 1)), False), "lacks"),
        (Goodbye(0, "x" * 257), "reason"),
        (Walk(1, WIDTH_MIN - 1, 1, ()), "width"),
        (Walk(1, WIDTH_MAX + 1, 1, ()), "width"),
        (Walk(1, 4, 0, ()), "levels"),
        (Walk(1, 4, WALK_LEVELS_MAX + 1, ()), "levels"),
        (Walk(1, 4, 1, (((16,), HASH),)), "nodes"),
        (Walk(1, 4, 1, (((), HASH + b"1"),)), "nodes"),
        (Walk(1, 4, 1, (((0,) * (DEPTH_MAX + 1), HASH),)), "nodes"),
        (Walked(1, (Told((), WALK_LEVELS_MAX + 1, b""),)), "nodes"),
        (Walked(1, (Told((), 2, bytes(FANOUT**2 * WIDTH_MAX + 1)),)), "nodes"),
        (Walked(1, (Told((0,) * (DEPTH_MAX + 1), 0, b""),)), "nodes"),
        (Roster((seen(node_id="x" * 65),)), "sightings"),
        (Roster((seen(degraded=1),)), "sightings"),
        (Roster((seen(labels=(("b", ""), ("a", ""))),)), "sightings"),
        (Roster((seen(labels=(("a", ""), ("a", ""))),)), "sightings"),
        (Roster((seen(labels=(("", ""),)),)), "sightings"),
        (Roster((seen(labels=(("a", "\n"),)),)), "sightings"),
        (Roster((seen(labels=(("a" * (LABEL_KEY_BYTES_MAX + 1), ""),)),)), "sightings"),
        (Roster((seen(labels=(("a", "b" * (LABEL_VALUE_BYTES_MAX + 1)),)),)), "sightings"),
        (Roster((seen(labels=tuple((f"{n:02}", "") for n in range(LABELS_MAX + 1))),)), "sightings"),
        (Roster((Sighting(PRESENCE, AGE_S_MAX + 1),)), "sightings"),
        (Roster((Sighting(PRESENCE, 0, -1),)), "sightings"),
        (Roster((Sighting(PRESENCE),) * (PRESENCES_MAX + 1)), "sightings"),
        (Signs((Beats(HASH, (Beat(bytes(7), 1, 0),)),), ()), "beats"),
        (Signs((Beats(HASH, (Beat(bytes(8), 1, 0),) * (BEATS_MAX + 1)),), ()), "beats"),
        (Signs((), (Suspicion(bytes(8), 0),) * (SUSPICIONS_MAX + 1)), "suspicions"),
        (RosterDigest(bytes(8), HASH, b"short", 1, False), "buckets"),
        (RosterItems(((ROSTER_BUCKETS, b""),), b""), "held"),
        (RosterItems(((0, bytes(TAG_BYTES * (BUCKET_ITEMS_MAX + 1))),), b""), "held"),
        (RosterItems((), bytes(TAG_BYTES + 1)), "wanted"),
        (RosterItems((), bytes(TAG_BYTES * (WANTED_RECORDS_MAX + 1))), "wanted"),
        (Addresses(("x:1",) * (ADDRESSES_MAX + 1), ()), "addresses"),
        (Addresses(("x" * 257,), (0,)), "addresses"),
        (Addresses(("x:1",), (0,) * (ADDRESSES_MAX + 1)), "zones"),
        (Addresses(("x:1",), (TAG_MAX + 1,)), "zones"),
        (Batch((b"",) * (BATCH_CHANGES_MAX + 1)), "changes"),
        (Walk(1, 4, 1, (((), HASH),) * (WALK_NODES_MAX + 1)), "nodes"),
        (Want(1, (bytes(WIDTH_MIN - 1),), 1), "items"),
        (Want(1, (bytes(ITEM_BYTES + 1),), 1), "items"),
        (Want(1, (HASH,) * (WANTED_ITEMS_MAX + 1), 1), "items"),
    ],
)
def test_what_is_beyond_a_limit_is_a_violation_that_names_the_field(message: Message, field: str) -> None:
    with pytest.raises(ProtocolViolation, match=f"{field} of {type(message).__name__}"):
        decode_message(encode_message(message))


def test_a_presence_may_grow_and_is_passed_on_as_it_came() -> None:
    fields = unpack(PRESENCE.wire)
    grown = encode([*fields, "newer"])
    roster = decode_message(encode([Roster.TYPE, [[grown, 0, None, "newer"]], True]))
    assert roster == Roster((Sighting(PRESENCE),))
    assert unpack(encode_message(roster))[1] == ((grown, 0, None),)
    for short in ([[encode(fields[:-1]), 0, None]], [[PRESENCE.wire, 0]]):
        with pytest.raises(ProtocolViolation, match="has at least"):
            decode_message(encode([Roster.TYPE, short, True]))


def test_the_longest_record_fits() -> None:
    longest = {f"{n:02}".ljust(LABEL_KEY_BYTES_MAX, "k"): "v" * LABEL_VALUE_BYTES_MAX for n in range(LABELS_MAX)}
    record = Presence(
        "n" * NODE_ID_BYTES_MAX,
        bytes(8),
        TIME_MS_MAX,
        SEQ_MAX,
        "z" * ZONE_BYTES_MAX,
        "a" * ADDRESS_BYTES_MAX,
        HASH,
        POLICY_VERSION_MAX,
        SEQ_MAX,
        True,
        True,
        labels_of(longest),
    )
    assert Presence.from_wire(record.wire) == record


# -- sizes ----------------------------------------------------------------------------------------


def test_a_digest_costs_its_bytes_and_no_more() -> None:
    """One in a message that is mostly digests, so that announcing costs a tenth of pushing, or less."""
    for kind in (Announce, Pull):
        one, many = (len(encode_message(kind((b"\xff" * DIGEST_BYTES,) * count))) for count in (1, 200))
        assert one == DIGEST_BYTES + 4
        assert many == 200 * DIGEST_BYTES + 5


def test_what_a_push_adds_to_a_change_is_small() -> None:
    assert len(encode_message(Push(3, TAG_MAX, 2, bytes(200)))) == 200 + 11


def test_a_comparison_is_small() -> None:
    assert len(encode_message(Root(b"\xff" * 16, (1 << 31) - 1))) <= 40


@pytest.mark.parametrize(("seq", "most"), [(1, 9), (1 << 16, 13), ((1 << 32) - 1, 13), (SEQ_MAX, 17)])
def test_a_frontier_entry_is_small(seq: int, most: int) -> None:
    starts = b"".join(number.to_bytes(START_BYTES, "big") for number in range(FRONTIER_WRITERS_MAX))
    frontier = (starts, (seq,) * FRONTIER_WRITERS_MAX)
    full = len(encode_message(Hints(1, HASH, 1, frontier, False, SYNC_BUDGET_BYTES)))
    empty = len(encode_message(Hints(1, HASH, 1, (b"", ()), False, SYNC_BUDGET_BYTES)))
    assert full - empty <= most * FRONTIER_WRITERS_MAX + 4
