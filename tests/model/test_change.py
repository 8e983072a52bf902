"""Changes: round trips, parts and unions, malformed forms, and every limit at its edge."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import SIGNATURE_BYTES, Change, Writer
from gossipconf.model.encoding import decode, encode
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, Operation, ValueType, delete, put
from gossipconf.model.errors import FormatError, GossipconfError, InvalidInput, LimitExceeded, Rejected
from gossipconf.model.limits import (
    CHANGE_BYTES_MAX,
    COMMENT_BYTES_MAX,
    ENTRIES_MAX,
    FORM_BYTES_MAX,
    KEY_BYTES_MAX,
    MATCH_BYTES_MAX,
    MATCH_TERMS_MAX,
    POLICY_VERSION_MAX,
    RANK_MAX,
    SEEN_WRITERS_MAX,
    SEQ_MAX,
    SIGNATURES_MAX,
    TIME_MS_MAX,
    VALUE_BYTES_MAX,
    VARIANT_BYTES_MAX,
)
from tests import strategies as gen

ANN = gen.WRITERS[0]
ID = gen.CLUSTER_ID
(INDEX_OF_SIGNATURE, INDEX_OF_APPROVALS, INDEX_OF_COUNT, INDEX_OF_INDICES, INDEX_OF_ENTRIES, INDEX_OF_PROOF) = range(
    8, 14
)


def read(change: Change) -> Change:
    return Change.decode(change.encode(), ID)


def one(**fields) -> Change:
    """A change of one entry with ``fields``."""
    return gen.body([Entry(**({"key": "a", "value": b"x"} | fields))], ANN)


def forged(place: int, value: object, change: Change | None = None) -> bytes:
    """The encoding with field ``place`` replaced."""
    fields = list(decode((change or gen.body([Entry("a", b""), Entry("b", b"")], ANN)).encode(), "it", FORM_BYTES_MAX))
    fields[place] = value
    return encode(fields)


# -- parts ----------------------------------------------------------------------------------------


@given(gen.change_sets(), st.data())
def test_any_part_reads_back_with_the_id_of_the_whole(changes, data):
    for change in changes:
        part = change.restrict(data.draw(st.sets(st.sampled_from([index for index, _ in change.entries]))))
        again = read(part)
        assert again == part
        assert again.id == change.id
        assert again.header == change.header


@given(gen.change_sets(max_size=3), st.data())
def test_the_union_of_two_parts_is_the_part_with_both(changes, data):
    for change in changes:
        indices = st.sets(st.sampled_from([index for index, _ in change.entries]))
        left, right = data.draw(indices), data.draw(indices)
        assert change.restrict(left).union(change.restrict(right)) == change.restrict(left | right)


def test_parts_of_different_changes_are_not_joined():
    with pytest.raises(ValueError, match="parts of one change"):
        one().union(one(value=b"y"))


def test_union_keeps_the_smaller_of_two_signatures_by_one_key():
    key, low, high = b"k" * 32, bytes(64), b"\x01" * 64
    mine, theirs = (dataclasses.replace(one(), signature=s, approvals=((key, s),)) for s in (high, low))
    assert mine.union(theirs) == theirs.union(mine) == theirs


def test_union_never_makes_more_signatures_than_a_reader_takes():
    approvals = tuple((number.to_bytes(32, "big"), gen.NOBODY) for number in range(40))
    joined = dataclasses.replace(one(), approvals=approvals[:25]).union(
        dataclasses.replace(one(), approvals=approvals[15:])
    )
    assert joined.approvals == approvals[: SIGNATURES_MAX - 1]
    assert read(joined) == joined


def test_a_whole_change_says_nothing_of_indices_and_a_part_does():
    change = gen.body([Entry("a", b""), Entry("b", b"")], ANN)
    assert decode(change.encode(), "it", 10_000)[INDEX_OF_INDICES] is None
    assert decode(change.restrict([1]).encode(), "it", 10_000)[INDEX_OF_INDICES] == (1,)
    assert change.is_whole
    assert not change.restrict([1]).is_whole


# -- malformed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((place, value) for place in range(14) for value in (True, 1.5, [[]], -1)),
        *((place, "text") for place in range(14) if place != 7),  # 7 is the comment
        (0, b"123"),
        (2, bytes(31)),
        (3, bytes(9)),
        (4, 0),
        (INDEX_OF_SIGNATURE, bytes(63)),
        (INDEX_OF_APPROVALS, [[b"b" * 32, bytes(64)], [b"a" * 32, bytes(64)]]),
        (INDEX_OF_APPROVALS, [[b"b" * 32, bytes(64)]] * 2),
        (INDEX_OF_APPROVALS, [[ANN.key, bytes(64)]]),
        (INDEX_OF_APPROVALS, [[b"b" * 31, bytes(64)]]),
        (INDEX_OF_APPROVALS, [[b"b" * 32, bytes(65)]]),
        (INDEX_OF_APPROVALS, [[b"b" * 32]]),
        (INDEX_OF_COUNT, 0),
        (INDEX_OF_COUNT, 1),
        (INDEX_OF_COUNT, 3),
        (INDEX_OF_INDICES, []),
        (INDEX_OF_INDICES, [0]),
        (INDEX_OF_INDICES, [0, 1]),
        (INDEX_OF_INDICES, [1, 0]),
        (INDEX_OF_INDICES, [2]),
        (INDEX_OF_ENTRIES, []),
        (INDEX_OF_ENTRIES, [None, None]),
        (INDEX_OF_PROOF, [bytes(32)]),
        (INDEX_OF_PROOF, [[1, bytes(32)]]),
    ],
)
def test_a_malformed_field_is_refused(place, value):
    with pytest.raises(GossipconfError) as caught:
        Change.decode(forged(place, value), ID)
    assert isinstance(caught.value, InvalidInput | Rejected)


@pytest.mark.parametrize("indices", [[0, 0], [1, 0], [0, 3], [-1, 0], [0, None], [0, 1, 1]])
def test_indices_ascend_within_the_count(indices):
    change = gen.body([Entry("a", b""), Entry("b", b""), Entry("c", b"")], ANN).restrict([0, 1])
    with pytest.raises(InvalidInput):
        Change.decode(forged(INDEX_OF_INDICES, indices, change), ID)


@pytest.mark.parametrize(
    "element",
    [
        bytes(32),
        [],
        [1],
        [bytes(32), 1],
        [1, bytes(31)],
        [1, bytes(33)],
        [1, bytes(32), 1],
        [None, bytes(32)],
        [True, bytes(32)],
        [-1, bytes(32)],
        [1 << 32, bytes(32)],
        [1, "text"],
    ],
)
def test_an_element_of_a_proof_is_a_size_and_a_hash(element):
    part = gen.body([Entry("a", b""), Entry("b", b"")], ANN).restrict([0])
    assert Change.decode(forged(INDEX_OF_PROOF, part.proof, part), ID) == part
    with pytest.raises(InvalidInput):
        Change.decode(forged(INDEX_OF_PROOF, [element], part), ID)


def test_a_whole_change_has_one_spelling():
    change = gen.body([Entry("a", b""), Entry("b", b"")], ANN)
    with pytest.raises(LimitExceeded, match="indices"):
        Change.decode(forged(INDEX_OF_INDICES, [0, 1], change), ID)


@pytest.mark.parametrize("seq", [1, 2, SEQ_MAX])
def test_a_body_that_has_seen_itself_is_rejected(seq):
    for claim in {seq, SEQ_MAX}:
        change = gen.body([Entry("b", b""), Entry("a", b"", seen=((ANN.id, claim),))], ANN, seq)
        with pytest.raises(Rejected, match="'a' claims sequence number"):
            read(change)
        assert read(change.restrict([0]))
    if seq > 1:
        assert read(gen.body([Entry("a", b"", seen=((ANN.id, seq - 1),))], ANN, seq))


DELETE = {"value": None, "operation": Operation.DELETE}
TWO_TERMS = (MatchTerm(MatchKind.EQUAL, "a", ("x",)), MatchTerm(MatchKind.GLOB, "a", ("x",)))


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"operation": Operation.DELETE},
        DELETE | {"type": ValueType.BYTES},
        DELETE | {"expires_ms": 1},
        DELETE | {"variant": "v", "rank": 1},
        DELETE | {"variant": "v", "match": TWO_TERMS},
        {"match": TWO_TERMS},
        {"rank": 1},
        {"variant": "v", "match": TWO_TERMS[::-1]},
        {"variant": "v", "match": TWO_TERMS[:1] * 2},
        {"variant": "v", "match": (MatchTerm(MatchKind.EQUAL, "a", ("x", "y")),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.GLOB, "a", ()),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.ONE_OF, "a", ()),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.ONE_OF, "a", ("y", "x")),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.ONE_OF, "a", ("x", "x")),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.ONE_OF, "a", 5),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.PERCENT, "a", ("5",)),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.PERCENT, "a", 10_001),)},
        {"variant": "v", "match": (MatchTerm(MatchKind.PERCENT, "a", -1),)},
        {"variant": "a/b"},
        {"variant": " v"},
        {"key": "a//b"},
        {"value": b"\xff"},
        {"value": b"\xff", "type": ValueType.JSON},
        {"seen": ((b"b" * 16, 1), (b"a" * 16, 1))},
        {"seen": ((b"a" * 16, 1), (b"a" * 16, 2))},
        {"seen": ((b"a" * 15, 1),)},
        {"seen": ((b"a" * 16, 0),)},
        {"seen": ((b"a" * 16, SEQ_MAX + 1),)},
    ],
)
def test_an_entry_says_each_thing_in_one_way(fields):
    with pytest.raises(InvalidInput):
        read(one(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        DELETE,
        DELETE | {"variant": "v", "seen": ((b"a" * 16, 1), (b"b" * 16, SEQ_MAX))},
        {"variant": "v", "match": TWO_TERMS, "rank": RANK_MAX, "expires_ms": 0},
        {"variant": "v", "match": (MatchTerm(MatchKind.PERCENT, "salt", 0),)},
        {"value": b"\xff", "type": ValueType.BYTES},
        {"value": b"\xff", "type": ValueType.SEALED},
        {"value": b""},
        {"key": "päth/with space/日本"},
    ],
)
def test_an_entry_reads_back(fields):
    assert read(one(**fields)) == one(**fields)


@pytest.mark.parametrize("length", [None, 0, 1, 31, 32, 255, 256, 65_535, 65_536, VALUE_BYTES_MAX])
def test_the_size_of_a_leaf_is_what_the_entry_takes_where_it_travels(length):
    entry = delete("some/key") if length is None else put("some/key", bytes(length))
    size, _ = entry.leaf()
    assert size == len(encode(entry.to_wire()))


@given(gen.change_sets(max_size=3), st.data())
def test_the_header_of_any_part_has_the_size_of_all_entries(changes, data):
    for change in changes:
        part = change.restrict(data.draw(st.sets(st.sampled_from([index for index, _ in change.entries]))))
        assert read(part).header.size == sum(len(encode(entry.to_wire())) for _, entry in change.entries)


# -- limits ---------------------------------------------------------------------------------------

WRITER_IDS = [number.to_bytes(16, "big") for number in range(SEEN_WRITERS_MAX + 1)]


def with_match(terms: int = 1, label_bytes: int = 1, operand_bytes: int = 1) -> Change:
    match = tuple(
        MatchTerm(MatchKind.EQUAL, f"{number:02}".ljust(label_bytes, "x"), ("v" * operand_bytes,))
        for number in range(terms)
    )
    return one(variant="v", match=match)


def with_alternatives(count: int) -> Change:
    operands = tuple(f"{number:02}" for number in range(count))
    return one(variant="v", match=(MatchTerm(MatchKind.ONE_OF, "zone", operands),))


def with_header(**fields) -> Change:
    return dataclasses.replace(one(), header=dataclasses.replace(one().header, **fields))


def with_approvals(count: int) -> Change:
    return dataclasses.replace(
        one(), approvals=tuple((number.to_bytes(32, "big"), gen.NOBODY) for number in range(count))
    )


def with_bytes(size: int) -> Change:
    """A change whose entries have ``size`` bytes together, a little under the limit or over."""
    values = [bytes(VALUE_BYTES_MAX)] * 7
    missing = size - _of_values([*values, bytes(100_000)]).header.size + 100_000
    return _of_values([*values, bytes(missing)])


def _of_values(values: list[bytes]) -> Change:
    return gen.body([Entry(f"k{number}", value, ValueType.BYTES) for number, value in enumerate(values)], ANN)


EDGES = {
    "key": (lambda size: one(key="k" * size), KEY_BYTES_MAX),
    "key in UTF-8": (lambda size: one(key="é" * (size // 2) + "k" * (size % 2)), KEY_BYTES_MAX),
    "value": (lambda size: one(value=b"v" * size), VALUE_BYTES_MAX),
    "entries": (lambda count: gen.body([Entry("k", b"")] * count, ANN), ENTRIES_MAX),
    "change": (with_bytes, CHANGE_BYTES_MAX),
    "seen": (lambda count: one(seen=tuple((name, 1) for name in WRITER_IDS[:count])), SEEN_WRITERS_MAX),
    "variant": (lambda size: one(variant="v" * size), VARIANT_BYTES_MAX),
    "match terms": (lambda count: with_match(terms=count), MATCH_TERMS_MAX),
    "match label": (lambda size: with_match(label_bytes=size), MATCH_BYTES_MAX),
    "match operand": (lambda size: with_match(operand_bytes=size), MATCH_BYTES_MAX),
    "alternatives": (with_alternatives, MATCH_TERMS_MAX),
    "percentage": (lambda n: one(variant="v", match=(MatchTerm(MatchKind.PERCENT, "s", n),)), 10_000),
    "comment": (lambda size: with_header(comment="c" * size), COMMENT_BYTES_MAX),
    "comment in UTF-8": (lambda size: with_header(comment="é" * (size // 2) + "c" * (size % 2)), COMMENT_BYTES_MAX),
    "approvals": (with_approvals, SIGNATURES_MAX - 1),
    "seq": (lambda seq: with_header(seq=seq), SEQ_MAX),
    "time": (lambda time_ms: with_header(time_ms=time_ms), TIME_MS_MAX),
    "activation": (lambda time_ms: with_header(activation_ms=time_ms), TIME_MS_MAX),
    "expiry": (lambda time_ms: one(expires_ms=time_ms), TIME_MS_MAX),
    "rank": (lambda rank: one(variant="v", rank=rank), RANK_MAX),
    "policy": (lambda version: with_header(policy=version), POLICY_VERSION_MAX),
}


@pytest.mark.parametrize("name", EDGES)
def test_a_limit_holds_at_its_edge(name):
    make, limit = EDGES[name]
    change = make(limit)
    assert read(change) == change
    with pytest.raises(LimitExceeded):
        read(make(limit + 1))


def test_the_largest_change_is_exactly_as_large_as_stated():
    largest = with_bytes(CHANGE_BYTES_MAX)
    assert sum(len(encode(entry.to_wire())) for _, entry in largest.entries) == CHANGE_BYTES_MAX == largest.header.size


# -- the size of a change, shown by each of its parts ---------------------------------------------


@pytest.mark.parametrize("indices", [[], [0], [7], [0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6], range(7)])
def test_no_part_of_a_change_that_is_too_large_is_taken(indices):
    """However small the part: the others would join it."""
    part = with_bytes(CHANGE_BYTES_MAX + 1).restrict(indices)
    with pytest.raises(LimitExceeded, match=f"has {CHANGE_BYTES_MAX + 1} bytes of entries, the limit is"):
        read(part)
    assert read(with_bytes(CHANGE_BYTES_MAX).restrict(indices)).header.size == CHANGE_BYTES_MAX


def test_a_part_that_hides_the_size_is_a_part_of_another_change():
    """Two halves that each state nothing for the other: they are of two changes, so they never join."""
    whole = with_bytes(CHANGE_BYTES_MAX + 1)
    halves = [whole.restrict(half) for half in (range(4), range(4, 8))]
    stated = [read(dataclasses.replace(half, proof=tuple((0, digest) for _, digest in half.proof))) for half in halves]
    assert all(half.header.size < CHANGE_BYTES_MAX for half in stated)
    assert len({whole.id, *(half.id for half in stated)}) == 3
    with pytest.raises(ValueError, match="parts of one change"):
        stated[0].union(stated[1])


@pytest.mark.parametrize("sizes", [(CHANGE_BYTES_MAX, 1), (CHANGE_BYTES_MAX, CHANGE_BYTES_MAX)])
def test_sizes_that_add_up_to_too_much_are_refused_wherever_they_come_from(sizes):
    part = gen.body([Entry(name, b"") for name in "abcd"], ANN).restrict([0])
    proof = tuple((size, digest) for (_, digest), size in zip(part.proof, sizes, strict=True))
    with pytest.raises(LimitExceeded, match="bytes of entries"):
        read(dataclasses.replace(part, proof=proof))


def test_a_proof_of_thousands_of_the_largest_sizes_is_refused():
    """Their sum is beyond what is hashed as 4 bytes."""
    part = gen.body([Entry("k", b"")] * ENTRIES_MAX, ANN).restrict(range(0, ENTRIES_MAX, 2))
    proof = tuple((CHANGE_BYTES_MAX, digest) for _, digest in part.proof)
    with pytest.raises(LimitExceeded, match="add up to"):
        read(dataclasses.replace(part, proof=proof))


def test_the_form_that_takes_the_most_is_read():
    """As many entries and as many bytes as there may be, every second one dead and tiny, and all else full."""
    entries = [Entry(f"k{number:05}", b"" if number % 2 else bytes(985)) for number in range(ENTRIES_MAX)]
    missing = CHANGE_BYTES_MAX - gen.body(entries, ANN).header.size
    assert 0 < missing < 60_000
    entries[0] = dataclasses.replace(entries[0], value=bytes(985 + missing))
    limits = {"seq": SEQ_MAX, "time_ms": TIME_MS_MAX, "activation_ms": TIME_MS_MAX, "policy": POLICY_VERSION_MAX}
    change = gen.body(entries, ANN, comment="c" * COMMENT_BYTES_MAX, **limits)
    assert change.header.size == CHANGE_BYTES_MAX
    approvals = tuple((number.to_bytes(32, "big"), bytes(SIGNATURE_BYTES)) for number in range(SIGNATURES_MAX - 1))
    change = dataclasses.replace(change, approvals=approvals)
    part = change.restrict(range(0, ENTRIES_MAX, 2))
    assert len(part.proof) == ENTRIES_MAX // 2
    assert CHANGE_BYTES_MAX < len(part.encode()) <= FORM_BYTES_MAX
    assert read(part) == part
    assert read(change) == change


def test_what_is_longer_than_any_form_is_not_looked_at():
    with pytest.raises(LimitExceeded, match=f"the limit is {FORM_BYTES_MAX}"):
        Change.decode(bytes(FORM_BYTES_MAX + 1), ID)
    with pytest.raises(FormatError):
        Change.decode(bytes(FORM_BYTES_MAX), ID)


# -- what callers put together --------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: put("k", bytes(VALUE_BYTES_MAX + 1)),
        lambda: put("k", b"", variant="v", match=[MatchTerm(MatchKind.EQUAL, str(n), ("x",)) for n in range(17)]),
        lambda: put("k", b"", variant="v", match=[MatchTerm(MatchKind.EQUAL, "l" * 257, ("x",))]),
        lambda: put("k" * 513, b""),
        lambda: delete("k" * 513),
        lambda: delete("k", variant="v" * 65),
    ],
)
def test_put_and_delete_refuse_what_is_too_much(make):
    with pytest.raises(LimitExceeded):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: put("", b""),
        lambda: put("a//b", b""),
        lambda: put("k", b"\xff"),
        lambda: put("k", b"", match=TWO_TERMS),
        lambda: put("k", b"", variant="v", match=[MatchTerm(MatchKind.ONE_OF, "l", ("b", "a"))]),
        lambda: put("k", b"", variant="v", match=[MatchTerm(MatchKind.EQUAL, "\ud800", ("b",))]),
        lambda: put("k", b"", variant="v", match=TWO_TERMS[:1] * 2),
        lambda: put("\ud800", b""),
        lambda: delete("a/"),
        lambda: delete("a", variant="b/c"),
    ],
)
def test_put_and_delete_refuse_what_is_malformed(make):
    with pytest.raises(InvalidInput):
        make()


def test_put_sorts_the_conditions():
    assert put("k", b"", variant="v", match=TWO_TERMS[::-1]).match == TWO_TERMS


def test_a_writer_id_depends_on_key_and_incarnation():
    ids = {Writer(key, run).id for key in (bytes(32), b"k" * 32) for run in (bytes(8), b"r" * 8)}
    assert len(ids) == 4
    assert {len(name) for name in ids} == {16}


def test_version_ids_differ_by_index():
    change = one()
    assert len({change.version_id(index) for index in (0, 1, 255, 256)}) == 4


def test_errors_name_the_key():
    with pytest.raises(FormatError, match="'some/key'"):
        read(one(key="some/key", value=None))
