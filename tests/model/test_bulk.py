"""Changes in bulk: whatever lies in the bytes, what comes of it is what decoding each change would give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model import bulk
from gossipconf.model.change import Change
from gossipconf.model.encoding import decode, encode
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, Operation, ValueType
from gossipconf.model.errors import FormatError, GossipconfError, LimitExceeded
from gossipconf.model.limits import FORM_BYTES_MAX, KEY_BYTES_MAX
from tests import strategies as gen

WRITER = gen.WRITERS[0]
SEEN = ((gen.WRITERS[1].id, 7),)
BODIES = (
    gen.body([Entry("a/b", b"1")], WRITER),
    gen.body([Entry("a/b", b"2", seen=SEEN, expires_ms=5)], WRITER, 2, comment="é", activation_ms=4),
    gen.body([Entry("a/c", None, operation=Operation.DELETE, seen=SEEN)], WRITER, 3),
    gen.body([Entry("a/d", b"\xff" * 300, ValueType.BYTES), Entry("e", b"x" * 70_000)], WRITER, 4),
    gen.body([Entry("a", b"1"), Entry("b", b"2"), Entry("c", b"3")], WRITER, 5).restrict([0, 2]),
    gen.body([Entry("a", b"1"), Entry("b", b"2")], WRITER, 6).restrict([]),
    gen.body([Entry("v", b"1", variant="canary", rank=1, match=(MatchTerm(MatchKind.PERCENT, "s", 5),))], WRITER, 7),
    gen.signed([Entry("pay/x", b"1")], "dave", "erin", cluster_id=gen.CLUSTER_ID),
)
ODD: tuple[Any, ...] = (
    *(None, False, True, -1, 0, 1, 2, (1 << 64) - 1),
    *("", "a", "/a", "a//b", "a/../b", "a ", "\u200b", "é" * 300, "x" * 600, "_x"),
    *(b"", b"\xff", bytes(8), bytes(16), bytes(32), bytes(64)),
    *((), (0,), ((),), ((bytes(16), 1),), ((bytes(16), 0),), (("a", 1),)),
)
JUNK = st.one_of(st.integers(-2, 20), st.integers(-(1 << 63), (1 << 64) - 1), st.sampled_from(ODD))


def outcome(read: Any) -> Any:
    """What reading gives, or how it fails."""
    try:
        return [(change, change.id, change.versions, change.place, change.writer_id) for change in read()]
    except GossipconfError as error:
        return type(error), str(error)


def one_by_one(pieces: list[bytes]) -> Any:
    return outcome(lambda: [Change.decode(piece, gen.CLUSTER_ID) for piece in pieces])


def in_bulk(data: bytes) -> Any:
    return outcome(lambda: [change for change, _ in bulk.read(data, gen.CLUSTER_ID)])


def altered(value: Any, path: list[int], junk: Any) -> Any:
    """``value`` with ``junk`` somewhere inside: each number of ``path`` chooses an element on the way down."""
    if not path or not isinstance(value, tuple) or not value:
        return junk
    place = path[0] % len(value)
    return (*value[:place], altered(value[place], path[1:], junk), *value[place + 1 :])


@given(st.lists(st.sampled_from(BODIES)))
def test_bulk_gives_what_decoding_gives(changes):
    pieces = [change.encode() for change in changes]
    assert in_bulk(b"".join(pieces)) == one_by_one(pieces)
    assert [piece for _, piece in bulk.read(b"".join(pieces), gen.CLUSTER_ID)] == pieces


@given(gen.change_sets())
def test_and_of_hostile_bodies_too(changes):
    pieces = [change.encode() for change in changes]
    assert in_bulk(b"".join(pieces)) == one_by_one(pieces)


@given(st.integers(0, len(BODIES) - 1), st.lists(st.integers(0, 13), min_size=1, max_size=4), JUNK)
def test_any_altered_field_ends_as_it_would_one_by_one(which, path, junk):
    wire = decode(BODIES[which].encode(), "a change", FORM_BYTES_MAX)
    pieces = [BODIES[0].encode(), encode(altered(wire, path, junk)), BODIES[1].encode()]
    assert in_bulk(b"".join(pieces)) == one_by_one(pieces)


@pytest.mark.parametrize("path", [*([field] for field in range(14)), *([12, 0, field] for field in range(9))], ids=str)
def test_every_field_of_a_plain_change_is_checked(path):
    for body in BODIES[:3]:
        wire = decode(body.encode(), "a change", FORM_BYTES_MAX)
        for junk in ODD:
            piece = encode(altered(wire, path, junk))
            assert in_bulk(piece) == one_by_one([piece]), junk


def test_what_is_not_canonical_is_refused():
    piece = BODIES[0].encode()
    assert piece[0] == 0x9E
    longer = b"\xdc\x00\x0e" + piece[1:]
    with pytest.raises(FormatError, match="canonical"):
        list(bulk.read(piece + longer, gen.CLUSTER_ID))


def test_what_is_cut_off_is_refused():
    piece = BODIES[0].encode()
    with pytest.raises(FormatError, match=f"cut off after {len(piece) - 1} bytes"):
        list(bulk.read(piece + piece[:-1], gen.CLUSTER_ID))


def test_no_msgpack_is_refused():
    with pytest.raises(FormatError, match="not msgpack"):
        list(bulk.read(b"\xc1" * 9, gen.CLUSTER_ID))


def test_a_value_without_end_is_refused_before_it_is_held_whole():
    endless = b"\xc6\x7f\xff\xff\xff" + bytes(2 * FORM_BYTES_MAX)
    with pytest.raises(LimitExceeded, match="has more than"):
        list(bulk.read(endless, gen.CLUSTER_ID))


def test_long_keys_are_measured_in_bytes():
    fits, over = "é" * (KEY_BYTES_MAX // 2), "é" * (KEY_BYTES_MAX // 2 + 1)
    for key in (fits, over):
        pieces = [gen.body([Entry(key, b"")], WRITER).encode()]
        assert in_bulk(pieces[0]) == one_by_one(pieces)
