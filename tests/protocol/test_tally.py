"""Tallies and subjects: what is put together does not depend on the order, and no number of a liar spoils the form."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Change
from gossipconf.model.encoding import encode, unpack
from gossipconf.model.entry import put
from gossipconf.model.errors import FormatError, InvalidInput, LimitExceeded
from gossipconf.protocol.subject import CHANGES_MAX, SUBJECT_BYTES_MAX, AskedChange, Subject
from gossipconf.protocol.tally import COUNT_MAX, NAMES_MAX, ZONES_MAX, Tally
from gossipconf.store.live_set import LiveSet
from tests.protocol.wire import change
from tests.strategies import signed

SALT = b"question"
nodes = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["", "eu", "us/a", "us/b"]), st.booleans()),
    min_size=1,
    max_size=200,
    unique_by=lambda one: one[0],
)


def alone(number: int, zone: str, applied: bool) -> Tally:
    return Tally.alone(f"n{number:03d}", zone, applied=applied)


@given(nodes, st.randoms(use_true_random=False))
def test_any_tree_adds_up_to_the_same(people: list[tuple[int, str, bool]], rng: object) -> None:
    tallies = [alone(*one) for one in people]
    flat = Tally.together(tallies, SALT)
    assert flat.total == len(people)
    assert flat.applied == sum(applied for *_, applied in people)
    missing = sorted(f"n{number:03d}" for number, _, applied in people if not applied)
    assert set(flat.missing) <= set(missing)
    assert len(flat.missing) == min(len(missing), NAMES_MAX)
    assert flat.zones == tuple(
        (zone, sum(a for _, z, a in people if z == zone), sum(z == zone for _, z, _ in people))
        for zone in ("eu", "us/a", "us/b")
        if any(z == zone for _, z, _ in people)
    )
    while len(tallies) > 1:  # put together in random pairs
        rng.shuffle(tallies)  # type: ignore[attr-defined]
        tallies = [Tally.together(tallies[at : at + 2], SALT) for at in range(0, len(tallies), 2)]
    assert Tally.together(tallies, SALT) == flat


def test_of_too_many_zones_those_that_are_kept_are_exact() -> None:
    tallies = [alone(number, f"zone-{number % 100:02d}", number % 3 == 0) for number in range(400)]
    halves = [Tally.together(tallies[at::7], SALT) for at in range(7)]
    zones = Tally.together(halves, SALT).zones
    assert [zone for zone, _, _ in zones] == [f"zone-{number:02d}" for number in range(ZONES_MAX)]
    assert all(total == 4 for _, _, total in zones)


def test_who_is_torn_and_mended_is_not_torn() -> None:
    one = Tally(1, 1, torn=("a", "b"))
    other = Tally(1, 1, mended=("b", "c"))
    assert Tally.together([one, other], SALT).torn == ("a",)
    assert not Tally.together([one, other], SALT).is_whole
    assert Tally.together([other, Tally(1, 1, torn=("c",))], SALT).is_whole


# -- what liars say -------------------------------------------------------------------------------

counts = st.integers(0, COUNT_MAX)
names = st.lists(st.sampled_from([f"n{number}" for number in range(60)]), max_size=NAMES_MAX, unique=True)


@st.composite
def legal(draw: st.DrawFn) -> Tally:
    """Any tally that a reader takes."""
    total = draw(counts)
    applied = draw(st.integers(0, total))
    missing = tuple(draw(names))[: total - applied]
    zone = draw(st.integers(0, COUNT_MAX))
    zones = (("z", draw(st.integers(0, zone)), zone),)
    return Tally(applied, total, missing, zones, tuple(draw(names)), draw(st.booleans()), draw(counts))


@given(st.lists(legal(), min_size=1, max_size=5))
def test_what_an_honest_node_makes_of_lies_is_taken_by_an_honest_node(lies: list[Tally]) -> None:
    together = Tally.together(lies, SALT)
    assert Tally.from_wire(unpack(encode(together.to_wire()))) == together
    assert together.total <= COUNT_MAX


@pytest.mark.parametrize(
    "tally",
    [
        Tally(2, 1),
        Tally(1, 1, ("a",)),
        Tally(0, COUNT_MAX + 1),
        Tally(0, 1, zones=(("z", 2, 1),)),
        Tally(0, 99, tuple(f"n{number}" for number in range(NAMES_MAX + 1))),
        Tally(0, 1, ("Not a name",)),
        Tally(0, 99, zones=tuple((f"z{number}", 0, 1) for number in range(ZONES_MAX + 1))),
        Tally(-1, 1),
    ],
)
def test_an_impossible_tally_is_malformed(tally: Tally) -> None:
    with pytest.raises(InvalidInput):
        Tally.from_wire(unpack(encode(tally.to_wire())))


# -- what is asked --------------------------------------------------------------------------------


def after(first: Change) -> Change:
    """What supersedes the entry of ``first`` under the key a."""
    return signed([replace(put("a", b"2"), seen=((first.writer_id, first.header.seq),))], "alice", seq=2)


def test_a_change_is_met_by_who_holds_it_has_buried_it_or_has_its_successor() -> None:
    first = change("1")
    successor = after(first)
    holder, buried, newcomer, other = (LiveSet() for _ in range(4))
    holder.add(first)
    subject = Subject.of([first], holder)
    buried.add(first)
    buried.add(successor)
    newcomer.add(successor)  # it has never met the first
    other.add(change("3", key="elsewhere", seq=3))  # a higher number of the same writer proves nothing
    assert [subject.is_met(one) for one in (holder, buried, newcomer, other)] == [True, True, True, False]


def test_a_buried_change_is_asked_for_by_its_number_alone() -> None:
    first = change("1")
    live = LiveSet()
    live.add(first)
    live.add(after(first))
    header = next(one for one in live.named(first.id.hex()[:10]) if one.id == first.id)
    subject = Subject.of([header], live)
    assert subject.changes[0].slot is None
    assert subject.is_met(live)
    assert not subject.is_met(LiveSet())


def test_of_several_slots_one_is_named_in_which_the_change_lives() -> None:
    both = signed([put("a", b"1"), put("b", b"1")], "alice", seq=1)
    live = LiveSet()
    live.add(both)
    live.add(after(both))
    assert Subject.of([both], live).changes[0].slot == ("b", "")


def test_a_root_is_met_by_who_has_it_and_no_subject_by_everybody() -> None:
    live = LiveSet()
    live.add(change("1"))
    assert Subject(root=live.root).is_met(live)
    assert not Subject(root=live.root).is_met(LiveSet())
    assert Subject().is_met(live)


def test_a_subject_has_its_limits() -> None:
    asked = AskedChange(bytes(32), bytes(16), 1, None)
    with pytest.raises(LimitExceeded, match="ask for fewer"):
        Subject((asked,) * (CHANGES_MAX + 1))
    large = AskedChange(bytes(32), bytes(16), 1, ("k" * 512, ""))
    with pytest.raises(LimitExceeded, match=f"{SUBJECT_BYTES_MAX} bytes"):
        Subject((large,) * 4)
    with pytest.raises(FormatError, match="or for a root"):
        Subject((asked,), bytes(16))
    with pytest.raises(FormatError, match="16 bytes"):
        Subject(root=bytes(15))
