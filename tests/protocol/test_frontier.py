"""The frontier as a hint: what it names, what is lacked of it, and that writers whose ids begin alike do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.errors import FormatError, ProtocolViolation
from gossipconf.model.limits import SEQ_MAX
from gossipconf.protocol.frontier import (
    START_BYTES,
    by_start,
    check_frontier,
    frontier_of,
    known_behind,
    known_by,
    lacks_of,
)

seqs = st.integers(1, SEQ_MAX)
stores = st.dictionaries(st.integers(0, 9).map(lambda number: bytes([number]) * 16), seqs, max_size=6)
"""{writer: highest number met}."""


@given(stores, stores)
def test_each_side_learns_what_the_other_knows_of_its_writers(leader: dict[bytes, int], follower: dict[bytes, int]):
    frontier = check_frontier(frontier_of(leader.items()))
    assert known_by(frontier) == by_start(leader.items())
    lacks = lacks_of(frontier, by_start(follower.items()))
    behind = {writer: follower.get(writer, 0) for writer, seq in leader.items() if follower.get(writer, 0) < seq}
    assert known_behind(frontier, lacks) == {writer[:START_BYTES]: seq for writer, seq in behind.items()}


def test_writers_that_begin_alike_share_the_larger_number():
    """So what the smaller one lacks is left to the tree, and nothing is given twice."""
    twins = [(b"a" * 8 + b"1" * 8, 5), (b"a" * 8 + b"2" * 8, 9)]
    assert frontier_of(twins) == (b"a" * 8, (9,))
    assert lacks_of(frontier_of(twins), by_start(twins)) == ()


def test_a_peer_may_lack_all_of_a_writer_and_no_writer_that_it_was_not_shown():
    frontier = (b"a" * START_BYTES, (3,))
    assert known_behind(frontier, ((0, SEQ_MAX),)) == {b"a" * START_BYTES: 0}
    with pytest.raises(ProtocolViolation, match="not shown"):
        known_behind(frontier, ((1, 1),))


@pytest.mark.parametrize(
    "frontier", [(b"a" * 7, (1,)), (b"a" * 8, (1, 2)), (b"a" * 16, (1, 2)), (b"b" * 8 + b"a" * 8, (1, 2))]
)
def test_a_frontier_that_does_not_fit_together_is_refused(frontier):
    with pytest.raises(FormatError):
        check_frontier(frontier)
