"""What a slot held, told from the versions of it that are known: the truth, or that it is not known any more."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.cli.see import bygone
from gossipconf.model.change import Writer
from gossipconf.model.clock import join
from gossipconf.model.entry import Operation, delete, put
from gossipconf.model.version import Version, live, versions_of, winner
from tests.strategies import body, signer

NAMES = ("alice", "bob", "carol")


def version(by: str, seq: int, value: str | None, time_ms: int, replaced: list[Version] = []) -> Version:  # noqa: B006
    entry = delete("a") if value is None else put("a", value.encode())
    entry = replace(entry, seen=join(one.clock for one in replaced))
    (made,) = versions_of(body([entry], Writer(signer(by).public, bytes(8)), seq, time_ms=time_ms))
    return made


def nothing_void(version: Version) -> bool:
    return False


@st.composite
def pasts(draw: st.DrawFn) -> list[Version]:
    """All versions that a slot ever had, where some publishers hear of each other and some do not."""
    heard: dict[str, list[Version]] = {name: [] for name in NAMES}
    everything: list[Version] = []
    for number in range(draw(st.integers(1, 8))):
        name = draw(st.sampled_from(NAMES))
        if draw(st.booleans()):
            other = draw(st.sampled_from(NAMES))
            heard[name] += [one for one in heard[other] if one not in heard[name]]
        replaced = list(live(heard[name]))
        time_ms = max([one.header.time_ms + 1 for one in replaced] + [draw(st.integers(0, 20))])
        value = draw(st.sampled_from([None, f"value {number}"]))
        made = version(name, number + 1, value, time_ms, replaced)
        heard[name].append(made)
        everything.append(made)
    return everything


@given(pasts(), st.integers(0, 30), st.data())
def test_with_a_hole_in_history_it_is_the_same_or_nobody_guesses(past, time_ms, data):
    gone = data.draw(st.sets(st.sampled_from([*set(past) - live(past), None])))  # what lives is always there
    known = [one for one in past if one not in gone]
    with contextlib.suppress(bygone.Forgotten):
        assert bygone.at(time_ms, known, nothing_void) == bygone.at(time_ms, past, nothing_void)
    for one in known:
        with contextlib.suppress(bygone.Forgotten):
            assert bygone.before(one, known, nothing_void) == bygone.before(one, past, nothing_void)


@given(pasts(), st.integers(0, 30))
def test_with_all_of_history_nothing_is_forgotten(past, time_ms):
    then = live(one for one in past if one.header.time_ms <= time_ms)
    expected = winner(then) if then else None
    if expected is not None and expected.entry.operation is Operation.DELETE:
        expected = None
    assert bygone.at(time_ms, past, nothing_void) == expected
    for one in past:
        bygone.before(one, past, nothing_void)


def test_before_a_change_that_settled_a_conflict_its_winner_was_read():
    one, two = version("alice", 1, "1", 10), version("bob", 1, "2", 11)
    three = version("carol", 1, "3", 12, [one, two])
    assert bygone.before(three, [three, two, one], nothing_void) == two
    assert bygone.base([one, two], [one, two, three], nothing_void) is None
    assert bygone.at(10, [one, two, three], nothing_void) == one


def test_what_is_void_never_comes_back_and_hides_nothing():
    one = version("alice", 1, "1", 10)
    stolen = version("bob", 1, "2", 11, [one])
    three = version("carol", 1, "3", 12, [stolen])
    assert bygone.before(three, [one, stolen, three], lambda version: version == stolen) == one
    assert bygone.at(11, [one, stolen, three], lambda version: version == stolen) == one


def test_the_base_of_siblings_is_the_last_that_all_of_them_replaced():
    first = version("alice", 1, "1", 10)
    second = version("alice", 2, "2", 11, [first])
    ours, theirs = version("bob", 1, "3", 12, [second]), version("carol", 1, "4", 13, [second])
    assert bygone.base([ours, theirs], [first, second, ours, theirs], nothing_void) == second
    with pytest.raises(bygone.Forgotten):
        bygone.base([ours, theirs], [ours, theirs], nothing_void)
    apart = version("alice", 9, "9", 9)
    assert bygone.base([ours, apart], [first, second, ours, apart], nothing_void) is None


def test_a_first_version_had_nothing_before_it():
    one = version("alice", 1, "1", 10)
    assert bygone.before(one, [one], nothing_void) is None
    assert bygone.at(9, [one], nothing_void) is None
    assert bygone.at(10, [one, version("alice", 2, None, 11, [one])], nothing_void) == one
    assert bygone.at(11, [one, version("alice", 2, None, 11, [one])], nothing_void) is None
