"""Floors: which versions one covers and keeps, and which documents are refused."""

from __future__ import annotations

from typing import Any

import pytest

from gossipconf.model.encoding import decode, encode
from gossipconf.model.entry import Entry
from gossipconf.model.errors import FormatError, InvalidInput
from gossipconf.model.limits import VALUE_BYTES_MAX
from gossipconf.trust.floor import FLOORS_MAX, KEPT_MAX, Floor, Floors, Kept, floors_from_wire, keeping
from tests import strategies as gen

ALICE, BOB = (gen.signer(name).public for name in ("alice", "bob"))
CHANGE = gen.signed([Entry("shop/a", b"1"), Entry("shop/b", b"2")], "alice")
A, B = CHANGE.versions
FLOOR = Floor(ALICE, "shop", 1, (Kept(b"a" * 32), Kept(b"b" * 32, (0, 3))))


def decoded(value: Any) -> Any:
    """As it comes out of a policy document."""
    return decode(encode(value), "floors", VALUE_BYTES_MAX)


def floors_of(*policies: tuple[Floor, ...]) -> Floors:
    floors = Floors()
    for policy in policies:
        floors.add(policy)
    return floors


@pytest.mark.parametrize(
    ("floor", "is_void"),
    [
        (Floor(ALICE, "", 1), True),
        (Floor(b"", "", 1), True),
        (Floor(BOB, "", 1), False),
        (Floor(ALICE, "shop/a", 1), True),
        (Floor(ALICE, "sho", 1), False),
        (Floor(ALICE, "", 0), False),
        (Floor(ALICE, "", 1, keeping([A, B])), False),
        (Floor(ALICE, "", 1, keeping([A])), False),
        (Floor(ALICE, "", 1, keeping([B])), True),
    ],
)
def test_what_is_in_the_scope_and_not_kept_is_void(floor, is_void):
    assert floors_of((floor,)).is_void(A) == is_void


def test_the_latest_floor_about_a_version_decides():
    void, kept, elsewhere = Floor(ALICE, "", 1), Floor(ALICE, "", 1, keeping([A])), Floor(BOB, "", 1)
    assert not floors_of((void,), (kept,)).is_void(A)
    assert floors_of((kept,), (void,)).is_void(A)
    assert floors_of((void,), (elsewhere,)).is_void(A)
    assert [floors_of(*some).have_former for some in ([], [()], [(void,), ()], [(void,), (kept,)])] == [
        False,
        False,
        False,
        True,
    ]


def test_no_floor_covers_a_policy():
    floor = Floor(b"", "", 9)
    assert not floor.has_in_scope(ALICE, 1, "_policy/2")
    assert floor.has_in_scope(ALICE, 1, "_proposals/x")


def test_only_floors_about_all_keys_say_what_is_no_branch():
    assert floors_of((Floor(ALICE, "", 1),)).is_branch_void(CHANGE)
    assert not floors_of((Floor(ALICE, "shop", 1),)).is_branch_void(CHANGE)
    assert not floors_of((Floor(ALICE, "", 1, keeping([A])),)).is_branch_void(CHANGE)


def test_all_entries_of_a_change_are_kept_without_their_numbers():
    assert keeping([B, A]) == (Kept(CHANGE.id),)
    assert keeping([B]) == (Kept(CHANGE.id, (1,)),)


def test_a_floor_comes_back_from_its_document():
    assert floors_from_wire(decoded([FLOOR.to_wire()]), 2) == (FLOOR,)


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        ([ALICE[:31], "", 1, []], "has 32 bytes or none"),
        ([ALICE, "a//b", 1, []], "segment"),
        ([ALICE, "", 2, []], "newest policy"),
        ([ALICE, "", 1, [[b"b" * 32, []], [b"a" * 32, []]]], "ascending order of change ids"),
        ([ALICE, "", 1, [[b"a" * 32, [1, 1]]]], "entries that a floor keeps must be in"),
        ([ALICE, "", 1, [[b"a" * 31, []]]], "a change that a floor keeps"),
    ],
)
def test_what_is_no_floor_is_refused(wire, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        floors_from_wire(decoded([wire]), 2)


def test_floors_are_bounded():
    with pytest.raises(InvalidInput, match=str(FLOORS_MAX)):
        floors_from_wire(decoded([FLOOR.to_wire()] * (FLOORS_MAX + 1)), 2)
    listed = [[number.to_bytes(32), []] for number in range(KEPT_MAX // 2 + 1)]
    with pytest.raises(FormatError, match=f"the limit is {KEPT_MAX}"):
        floors_from_wire(decoded([[ALICE, "", 1, listed]] * 2), 2)
