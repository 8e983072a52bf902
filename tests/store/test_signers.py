"""Who has approved a change: sets of approvals merge by union, whatever the order, and the tree tells who lacks one."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.model.limits import SIGNATURES_MAX
from gossipconf.model.version import versions_of
from gossipconf.store.live_set import LiveSet, signer_item
from tests import strategies as gen

ANN, BEN, _ = gen.WRITERS
APPROVERS = tuple(bytes([number]) * 32 for number in range(11, 15))
EXCHANGES_MAX = 8
"""As in test_live_set."""


def approved(change: Change, *keys: bytes) -> Change:
    """A form of ``change`` with approvals that nobody verifies."""
    return dataclasses.replace(change, approvals=tuple((key, gen.NOBODY) for key in sorted(keys)))


@st.composite
def forms(draw: st.DrawFn) -> list[Change]:
    """Parts of changes, each with some of the approvals, in any order; all entries are there, and bare headers."""
    pieces = draw(gen.parts(draw(gen.change_sets())))
    subsets = st.sets(st.sampled_from(APPROVERS))
    return [approved(piece, *draw(subsets)) for piece in pieces]


def built(changes) -> LiveSet:
    store = LiveSet()
    for change in changes:
        store.add(change)
    return store


def signers(store: LiveSet) -> dict[bytes, tuple[bytes, ...]]:
    return {part.id: tuple(key for key, _ in part.approvals) for part in store.parts() if part.entries}


def exchange(one: LiveSet, two: LiveSet) -> None:
    """What one round of sync brings: each side sends the parts whose items the other lacks."""
    mine, theirs = set(one.tree.items()), set(two.tree.items())
    to_two = [one.part(change_id) for change_id in one.by_change(sorted(mine - theirs))]
    to_one = [two.part(change_id) for change_id in two.by_change(sorted(theirs - mine))]
    for part in to_two:
        two.add(part)
    for part in to_one:
        one.add(part)


def test_two_sets_of_approvals_of_one_change_become_one():
    change = gen.body([put("pay", b"1")], ANN)
    store = built([approved(change, APPROVERS[0])])
    before = store.root
    other = approved(change, APPROVERS[1])
    assert not store.holds(other)
    outcome = store.add(other)
    assert outcome.is_news
    assert list(outcome.stored) == [change.id]
    assert not outcome.gained
    assert signers(store) == {change.id: APPROVERS[:2]}
    assert store.root != before
    assert store.root == built([approved(change, *APPROVERS[:2])]).root


def test_who_comes_again_or_stripped_is_no_news():
    change = gen.body([put("pay", b"1")], ANN)
    store = built([approved(change, *APPROVERS)])
    for form in (approved(change, APPROVERS[2]), approved(change), approved(change.restrict(()), APPROVERS[1])):
        assert store.holds(form)
        assert not store.add(form).is_news
    assert signers(store) == {change.id: APPROVERS}


def test_a_second_signature_by_one_key_is_no_news_so_that_nobody_can_flood_with_them():
    change = gen.body([put("pay", b"1")], ANN)
    store = built([approved(change, APPROVERS[0])])
    root = store.root
    again = dataclasses.replace(change, approvals=((APPROVERS[0], b"\x01" * 64),))
    assert store.holds(again)
    assert not store.add(again).is_news
    assert store.root == root


def test_with_the_change_its_approvals_go():
    change = gen.body([put("pay", b"1")], ANN)
    later = gen.body([dataclasses.replace(put("pay", b"2"), seen=versions_of(change)[0].clock)], BEN)
    store = built([approved(change, *APPROVERS), later])
    assert store.root == built([later]).root
    assert store.holds(approved(change, APPROVERS[0]))
    assert not store.add(approved(change, *APPROVERS)).is_news


def test_of_too_many_those_with_the_smallest_keys_stay_whatever_the_order():
    change = gen.body([put("pay", b"1")], ANN)
    many = [bytes([100 + number]) * 32 for number in range(40)]
    low, high = approved(change, *many[:25]), approved(change, *many[15:])
    one, two = built([low, high]), built([high, low])
    assert one.root == two.root
    assert signers(one) == signers(two) == {change.id: tuple(many[: SIGNATURES_MAX - 1])}


@given(forms())
def test_the_tree_has_the_approvals_of_what_lives_and_no_others(pieces):
    store = built(pieces)
    expected = {version.id for versions in store.slots().values() for version in versions}
    expected |= {signer_item(change_id, key) for change_id, keys in signers(store).items() for key in keys}
    branches = {one.id for forks in store.forks().values() for one in forks.values()}
    assert {item for item in store.tree.items() if item not in store._branch_items} == expected
    assert set(store._branch_items.values()) == branches
    assert all(store.by_change([item]) for item in store.tree.items())


@given(forms(), st.data())
def test_two_sets_end_equal_with_the_union(pieces, data):
    one = built(data.draw(st.lists(st.sampled_from(pieces))))
    two = built(data.draw(st.lists(st.sampled_from(pieces))))
    for _ in range(EXCHANGES_MAX):
        exchange(one, two)
        if one.root == two.root:
            break
    assert one.root == two.root
    assert signers(one) == signers(two)


@given(st.permutations(range(len(APPROVERS))), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_the_order_makes_no_difference(order, cuts):
    change = gen.body([put("a", b"1"), put("b", b"1"), put("c", b"1")], ANN)
    pieces = [approved(change.restrict(range(cut)), key) for key, cut in zip(APPROVERS, cuts, strict=True)]
    expected = built([*pieces, change])
    store = built([*(pieces[place] for place in order), change])
    assert store.root == expected.root
    assert signers(store) == {change.id: APPROVERS}
