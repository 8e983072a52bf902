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
from gossipconf.model.limits import FRONTIER_WRITERS_MAX, SEQ_MAX, SYNC_BUDGET_BYTES
from gossipconf.protocol.messages import (
    ADDRESSES_MAX,
    BATCH_CHANGES_MAX,
    EPOCH_MAX,
    HOPS_MAX,
    LEASE_MS_MAX,
    PRESENCES_MAX,
    WALK_NODES_MAX,
    WANTED_ITEMS_MAX,
    Addresses,
    Ask,
    Batch,
    Cancel,
    Check,
    Checked,
    Given,
    Goodbye,
    Hello,
    Hinted,
    Hints,
    Message,
    Ping,
    Pong,
    Presence,
    Push,
    Report,
    Root,
    Roster,
    Told,
    Walk,
    Walked,
    Want,
    WantPolicies,
    decode_message,
    encode_message,
)
from gossipconf.protocol.subject import AskedChange, Subject
from gossipconf.protocol.tally import COUNT_MAX, Tally
from gossipconf.store.hash_tree import DEPTH_MAX, FANOUT, LEAF_ITEMS_MAX, Inner, Leaf

# -- every message --------------------------------------------------------------------------------

numbers = st.integers(0, SEQ_MAX)
policies = st.integers(0, (1 << 31) - 1)
hashes = st.binary(min_size=16, max_size=16)
nonces = st.binary(min_size=8, max_size=8)
node_ids = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,9}[a-z0-9])?", fullmatch=True)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
budgets = st.integers(0, SYNC_BUDGET_BYTES)
bodies = st.binary(max_size=40)


def tuples(of: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=most).map(tuple)


def clocks(least: int) -> st.SearchStrategy[Any]:
    return st.dictionaries(hashes, st.integers(least, SEQ_MAX), max_size=4).map(lambda one: tuple(sorted(one.items())))


prefixes = tuples(st.integers(0, FANOUT - 1), DEPTH_MAX - 1)
inner = st.lists(hashes, min_size=FANOUT, max_size=FANOUT).map(lambda one: Inner(tuple(one)))
leaves = tuples(hashes, LEAF_ITEMS_MAX).map(Leaf)
told = st.builds(Told, prefixes, st.one_of(inner, leaves))
presences = st.builds(
    Presence, node_ids, nonces, st.integers(0, 1 << 52), numbers, names, names, hashes, policies, numbers, st.booleans()
)
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
    Addresses: st.builds(Addresses, tuples(names)),
    Goodbye: st.builds(Goodbye, st.integers(0, 1 << 16), names),
    Roster: st.builds(Roster, tuples(presences)),
    Push: st.builds(Push, st.integers(0, 255), bodies),
    Root: st.builds(Root, hashes, policies),
    Hints: st.builds(Hints, numbers, hashes, policies, clocks(1), st.booleans(), budgets),
    Hinted: st.builds(Hinted, numbers, hashes, policies, clocks(0), st.booleans()),
    Batch: st.builds(Batch, tuples(bodies)),
    Check: st.builds(Check, numbers),
    Checked: st.builds(Checked, numbers, hashes, policies),
    Walk: st.builds(Walk, numbers, tuples(st.tuples(prefixes, hashes))),
    Walked: st.builds(Walked, numbers, tuples(told)),
    Want: st.builds(Want, numbers, tuples(hashes), budgets),
    Given: st.builds(Given, numbers),
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
PRESENCE = Presence("n", bytes(8), 1, 1, "", "", HASH, 1, 1, False)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Push(256, b""), "hops"),
        (Root(bytes(15), 1), "root"),
        (Root(HASH, 1 << 31), "policy"),
        (Hints(1, HASH, 1, (), True, SYNC_BUDGET_BYTES + 1), "budget"),
        (Hints(1, HASH, 1, ((HASH, 0),), True, 1), "frontier"),
        (Hints(1, HASH, 1, ((HASH, 1), (HASH, 2)), True, 1), "frontier"),
        (Hints(1, HASH, 1, ((b"b" * 16, 1), (b"a" * 16, 1)), True, 1), "frontier"),
        (Hinted(1, HASH, 1, ((HASH, -1),), False), "lacks"),
        (Hinted(1, HASH, 1, ((b"b" * 16, 0), (b"a" * 16, 0)), False), "lacks"),
        (Goodbye(0, "x" * 257), "reason"),
        (Walk(1, (((16,), HASH),)), "nodes"),
        (Walk(1, (((0,) * (DEPTH_MAX + 1), HASH),)), "nodes"),
        (Walked(1, (Told((), Inner((HASH,) * 15)),)), "nodes"),
        (Walked(1, (Told((), Leaf((b"short",))),)), "nodes"),
        (Walked(1, (Told((), Leaf((HASH,) * (LEAF_ITEMS_MAX + 1))),)), "nodes"),
        (Walked(1, (Told((0,) * DEPTH_MAX, Inner((HASH,) * FANOUT)),)), "nodes"),
        (Roster((dataclasses.replace(PRESENCE, node_id="x" * 65),)), "presences"),
        (Roster((dataclasses.replace(PRESENCE, degraded=1),)), "presences"),
        (Roster((PRESENCE,) * (PRESENCES_MAX + 1)), "presences"),
        (Addresses(("x:1",) * (ADDRESSES_MAX + 1)), "addresses"),
        (Addresses(("x" * 257,)), "addresses"),
        (Batch((b"",) * (BATCH_CHANGES_MAX + 1)), "changes"),
        (Walk(1, (((), HASH),) * (WALK_NODES_MAX + 1)), "nodes"),
        (Want(1, (HASH,) * (WANTED_ITEMS_MAX + 1), 1), "items"),
    ],
)
def test_what_is_beyond_a_limit_is_a_violation_that_names_the_field(message: Message, field: str) -> None:
    with pytest.raises(ProtocolViolation, match=f"{field} of {type(message).__name__}"):
        decode_message(encode_message(message))


def test_a_presence_may_grow_too() -> None:
    fields = unpack(encode_message(Roster((PRESENCE,))))
    assert decode_message(encode([fields[0], [[*fields[1][0], "newer"]]])) == Roster((PRESENCE,))
    with pytest.raises(ProtocolViolation, match="a presence has at least 12 fields"):
        decode_message(encode([fields[0], [fields[1][0][:-1]]]))


# -- sizes ----------------------------------------------------------------------------------------


def test_a_comparison_is_small() -> None:
    assert len(encode_message(Root(b"\xff" * 16, (1 << 31) - 1))) <= 40


@pytest.mark.parametrize(("seq", "most"), [(1, 20), (1 << 16, 24), ((1 << 32) - 1, 24), (SEQ_MAX, 28)])
def test_a_frontier_entry_is_small(seq: int, most: int) -> None:
    frontier = tuple((number.to_bytes(16, "big"), seq) for number in range(FRONTIER_WRITERS_MAX))
    full = len(encode_message(Hints(1, HASH, 1, frontier, False, SYNC_BUDGET_BYTES)))
    empty = len(encode_message(Hints(1, HASH, 1, (), False, SYNC_BUDGET_BYTES)))
    assert full - empty <= most * FRONTIER_WRITERS_MAX + 4
