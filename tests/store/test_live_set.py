"""The live set against its definition: the same set whatever the order, the repetitions and the pieces."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.change import Change, Writer
from gossipconf.model.entry import Entry, put
from gossipconf.model.limits import FORK_BRANCHES_MAX, RETIRED_HEADERS_MAX
from gossipconf.model.version import live, versions_of, winner
from gossipconf.store import live_set
from gossipconf.store.hash_tree import HashTree
from gossipconf.store.live_set import LiveSet, fork_item
from tests import strategies as gen

ANN, BEN, CAT = gen.WRITERS

EXCHANGES_MAX = 8
"""Rounds after which two sets must be equal. The branches of all forks settle in the first, what lives under them
in the next two; the rest is margin."""

floods = gen.change_sets(max_size=12, branches=6, writers=gen.WRITERS[:2], numbers=(1, 2))
"""Forks with more branches than are kept, whose branches replace and claim each other; for `few_branches`."""

few_branches = patch.object(live_set, "FORK_BRANCHES_MAX", 2)
"""Floods with two branches kept go through the same code as floods with eight, and small ones are soon enough."""


def built(changes) -> LiveSet:
    store = LiveSet()
    for change in changes:
        store.add(change)
    return store


def state(store: LiveSet):
    """All that must be a function of the set: items, root, and the slots with their versions in order."""
    slots = {slot: tuple(one.id for one in versions) for slot, versions in store.slots().items()}
    forks = {number: sorted(branches) for number, branches in store.forks().items()}
    return store.root, store.tree.items(), slots, forks


def check_inside(store: LiveSet) -> None:
    """What must hold of one set alone."""
    items = {one.id for versions in store.slots().values() for one in versions}
    assert len(store) == len(items)
    items |= {fork_item(branch) for branches in store.forks().values() for branch in branches}
    assert store.tree.items() == sorted(items)
    fresh = HashTree()
    for item in sorted(items):
        fresh.add(item)
    assert store.root == fresh.root
    for slot, versions in store.slots().items():
        assert versions
        assert live(versions) == set(versions)
        assert versions[0] == winner(versions)
        assert store.slot(slot) == versions
    assert all(len(branches) <= FORK_BRANCHES_MAX for branches in store.forks().values())


def fork_branches(changes, kept: int = FORK_BRANCHES_MAX) -> dict[tuple[bytes, int], list[bytes]]:
    """By definition: the smallest ids of every writer and number that more than one body has."""
    numbers = defaultdict(set)
    for change in changes:
        numbers[change.writer_id, change.header.seq].add(change.id)
    return {number: sorted(ids)[:kept] for number, ids in numbers.items() if len(ids) > 1}


def exchange(one: LiveSet, two: LiveSet) -> None:
    """What one round of sync brings: each side sends the parts whose items the other lacks."""
    mine, theirs = set(one.tree.items()), set(two.tree.items())
    to_two = [one.part(change_id) for change_id in one.by_change(sorted(mine - theirs))]
    to_one = [two.part(change_id) for change_id in two.by_change(sorted(theirs - mine))]
    for part in to_two:
        two.add(part)
    for part in to_one:
        one.add(part)


# -- against the definition -----------------------------------------------------------------------


@given(gen.change_sets(max_size=12))
def test_it_holds_what_lives_by_definition_and_every_fork(changes):
    store = built(changes)
    check_inside(store)
    expected = live(version for change in changes for version in versions_of(change))
    assert {one for versions in store.slots().values() for one in versions} == expected
    assert {number: sorted(ids) for number, ids in store.forks().items()} == fork_branches(changes)


@given(gen.change_sets(), st.data())
def test_order_repetition_and_pieces_make_no_difference(changes, data):
    pieces = data.draw(gen.parts(changes))
    repeated = data.draw(st.lists(st.sampled_from(changes), max_size=4))
    assert state(built([*pieces, *repeated])) == state(built(changes))


@given(gen.change_sets())
def test_a_set_rebuilt_from_its_parts_is_the_same(changes):
    store = built(changes)
    parts = list(store.parts())
    again = built(reversed(parts))
    check_inside(again)
    assert state(again) == state(store)
    assert {part.id: part.entries for part in again.parts()} == {part.id: part.entries for part in parts}


@given(gen.change_sets(max_size=12), st.data())
def test_a_set_made_at_once_is_the_same_as_one_made_step_by_step(changes, data):
    pieces = data.draw(gen.parts(changes))
    store = LiveSet.of(pieces)
    check_inside(store)
    assert state(store) == state(built(pieces))
    assert dict(store.met()) == dict(built(pieces).met())
    extra = data.draw(st.sampled_from(changes))
    store.add(extra)
    assert state(store) == state(built(changes))


@given(gen.change_sets(max_size=12), st.data())
def test_made_at_once_it_knows_who_has_approved_what(changes, data):
    approvals = st.lists(st.sampled_from((b"1", b"2", b"3")), unique=True).map(
        lambda keys: tuple((key * 32, bytes(64)) for key in sorted(keys))
    )
    pieces = [replace(piece, approvals=data.draw(approvals)) for piece in data.draw(gen.parts(changes))]
    store, expected = LiveSet.of(pieces), built(pieces)
    assert state(store) == state(expected)
    items = store.tree.items()
    assert store.by_change(items) == expected.by_change(items)
    for piece in pieces:  # and they go with what they approve
        store.void(lambda version, gone=piece.id: version.change_id == gone, lambda header: False)
        expected.void(lambda version, gone=piece.id: version.change_id == gone, lambda header: False)
        assert store.root == expected.root


@given(gen.change_sets())
def test_parts_have_only_what_lives_and_keep_their_root(changes):
    store = built(changes)
    for part in store.parts():
        assert part.tree().root == part.header.root
        assert store.part(part.id) == part
        assert {one.id for one in versions_of(part)} <= set(store.tree.items())
        assert part.entries or fork_item(part.id) in store.tree
    assert store.part(bytes(32)) is None


@given(gen.change_sets(), st.data())
def test_the_union_of_two_sets_is_the_set_of_the_union(changes, data):
    left = data.draw(st.lists(st.sampled_from(changes), unique_by=lambda one: one.id))
    right = data.draw(st.lists(st.sampled_from(changes), unique_by=lambda one: one.id))
    one, two = built(left), built(right)
    for _ in range(EXCHANGES_MAX):
        exchange(one, two)
        if one.root == two.root:
            break
    assert state(one) == state(two) == state(built({change.id: change for change in left + right}.values()))


@given(gen.change_sets(max_size=4), gen.change_sets(max_size=4))
def test_roots_are_equal_exactly_for_equal_items(left, right):
    one, two = built(left), built(right)
    assert (one.root == two.root) == (one.tree.items() == two.tree.items())


@given(gen.change_sets(), st.data())
def test_outcomes_add_up(changes, data):
    store = LiveSet()
    alive: set[bytes] = set()
    for change in data.draw(gen.parts(changes)):
        before = store.tree.items()
        outcome = store.add(change)
        assert outcome.is_news == (store.tree.items() != before)
        alive |= {one.id for one in outcome.gained}
        for one, holder in outcome.retired:
            assert one.index in dict(holder.entries)
            assert holder.id == one.change_id
            alive.discard(one.id)
        assert alive == {one.id for versions in store.slots().values() for one in versions}
        assert not store.add(change).is_news
        assert store.holds(change) or not {one.id for one in versions_of(change)} <= alive or not change.entries


# -- floods of branches ---------------------------------------------------------------------------


@few_branches
@given(floods)
def test_of_a_flood_the_smallest_branches_stay(changes):
    store = built(changes)
    check_inside(store)
    expected = fork_branches(changes, 2)
    assert {number: sorted(ids) for number, ids in store.forks().items()} == expected
    allowed = {change.id for change in changes}
    for number, ids in expected.items():
        allowed -= {one.id for one in changes if (one.writer_id, one.header.seq) == number and one.id not in ids}
    assert {one.change_id for versions in store.slots().values() for one in versions} <= allowed


@few_branches
@given(floods, st.data())
def test_two_sets_that_exchange_a_flood_become_equal(changes, data):
    left = data.draw(st.lists(st.sampled_from(changes), unique_by=lambda one: one.id))
    one = built(left)
    two = built(data.draw(st.permutations(changes)))
    rounds = 0
    while one.root != two.root:
        exchange(one, two)
        rounds += 1
        assert rounds <= EXCHANGES_MAX
    check_inside(one)
    check_inside(two)
    assert state(one) == state(two)


@settings(max_examples=50)
@few_branches
@given(floods, st.data())
def test_three_sets_that_exchange_a_flood_become_equal(changes, data):
    stores = []
    for _ in range(3):
        stores.append(built(data.draw(st.lists(st.sampled_from(changes), unique_by=lambda one: one.id))))
    rounds = 0
    while len({store.root for store in stores}) > 1:
        exchange(stores[0], stores[1])
        exchange(stores[1], stores[2])
        rounds += 1
        assert rounds <= 2 * EXCHANGES_MAX
    assert state(stores[0]) == state(stores[1]) == state(stores[2])


def branch(comment: str, writer: Writer = ANN, seq: int = 1, **fields) -> Change:
    return gen.body([Entry("a", comment.encode(), **fields)], writer, seq, comment=comment)


def test_a_ninth_branch_with_a_larger_id_is_void():
    branches = sorted((branch(str(number)) for number in range(9)), key=lambda change: change.id)
    store = built(branches[:8])
    before = state(store)
    outcome = store.add(branches[8])
    assert not outcome.is_news
    assert [one.change_id for one, _ in outcome.retired] == [branches[8].id]
    assert state(store) == before


def test_a_ninth_branch_with_a_smaller_id_voids_the_largest():
    branches = sorted((branch(str(number)) for number in range(9)), key=lambda change: change.id)
    store = built(branches[1:])
    outcome = store.add(branches[0])
    assert [one.change_id for one, _ in outcome.retired] == [branches[8].id]
    assert state(store) == state(built(branches[:8]))
    assert store.part(branches[8].id) is None


def test_what_a_voided_branch_had_replaced_comes_back_by_exchange():
    branches = sorted((branch(str(number)) for number in range(9)), key=lambda change: change.id)
    victim = gen.body([Entry("b", b"kept")], BEN, 1)
    clock = ((BEN.id, 1),)
    thief = next(
        change
        for number in range(10_000)
        if (change := gen.body([Entry("b", b"", seen=clock)], ANN, 1, comment=f"t{number}")).id > branches[7].id
    )
    one, two = built([victim, thief]), built([victim, *branches[:8]])
    assert one.slot(("b", ""))[0].change_id == thief.id
    for _ in range(EXCHANGES_MAX):
        exchange(one, two)
    assert state(one) == state(two)
    assert [version.change_id for version in one.slot(("b", ""))] == [victim.id]


# -- forks ----------------------------------------------------------------------------------------


def test_a_fork_is_found_although_its_first_branch_is_dead():
    first, second = branch("1"), branch("2")
    after = branch("after", BEN, seen=((ANN.id, 1),))
    store = built([first, after])
    assert store.part(first.id) is None
    assert store.add(second).forks == [(ANN.id, 1)]
    assert set(store.forks()[ANN.id, 1]) == {first.id, second.id}
    assert state(store) == state(built([second, first, after])) == state(built([after, second, first]))


def test_a_fork_is_found_from_a_header_remembered_over_a_restart():
    first, second = branch("1"), branch("2")
    after = branch("after", BEN, seen=((ANN.id, 1),))
    store = built(built([first, after]).parts())
    store.remember_header(first.restrict(()))
    store.add(second)
    assert state(store) == state(built([first, after, second]))


def test_bare_headers_alone_make_a_fork_known():
    store = built([branch("1").restrict(()), branch("2").restrict(())])
    assert list(store.forks()) == [(ANN.id, 1)]
    assert len(store) == 0
    assert len(store.tree) == 2


def test_the_same_change_twice_is_no_fork():
    store = built([branch("1"), branch("1")])
    assert not store.forks()


def test_only_the_last_retired_headers_are_remembered():
    changes = [branch("x", seq=seq, seen=((ANN.id, seq - 1),) if seq > 1 else ()) for seq in range(1, 4)]
    store = built(changes)
    for seq in range(10, 10 + RETIRED_HEADERS_MAX):
        store.remember_header(gen.body([Entry("z", b"")], CAT, seq).restrict(()))
    assert not store.add(branch("other")).forks  # forgotten here; another node's proof still brings the fork
    assert store.add(gen.body([Entry("y", b"")], CAT, 9 + RETIRED_HEADERS_MAX)).forks


# -- the smaller questions ------------------------------------------------------------------------


def test_frontier_and_changes_after_name_what_is_kept():
    one, two, three = (gen.body([Entry("abc"[seq - 1], b"")], ANN, seq) for seq in (1, 2, 3))
    other = gen.body([Entry("d", b"")], BEN, 7)
    store = built([three, one, two, other])
    assert store.frontier(5) == (((ANN.id, 3), (BEN.id, 7)) if ANN.id < BEN.id else ((BEN.id, 7), (ANN.id, 3)), True)
    assert store.frontier(1) == (((BEN.id, 7),), False)
    assert list(store.changes_after(ANN.id, 1)) == [two.id, three.id]
    assert list(store.changes_after(CAT.id, 0)) == []
    assert store.highest(ANN.id) == 3
    assert store.highest(CAT.id) == 0
    assert store.writers() == sorted([ANN.id, BEN.id])


def test_under_lists_whole_segments_only():
    store = built([gen.body([Entry(key, b"") for key in ("shop/a", "shop", "shopping", "_nodes/x")], ANN, 1)])
    assert store.under("shop") == [("shop", ""), ("shop/a", "")]
    assert store.under("") == [("shop", ""), ("shop/a", ""), ("shopping", "")]
    assert store.under("_nodes") == [("_nodes/x", "")]


def test_items_lead_to_their_changes():
    change = gen.body([Entry(key, b"") for key in "abcd"], ANN, 1)
    other = gen.body([Entry("e", b"")], BEN, 1)
    store = built([change, other])
    found = store.by_change([change.version_id(2), other.version_id(0), change.version_id(0)[:5]])
    assert found == {change.id: {0, 2}, other.id: {0}}
    assert store.by_change([bytes(32)]) == {}


# -- cost -----------------------------------------------------------------------------------------


def test_sets_in_one_process_share_what_they_hold() -> None:
    """A thousand simulated nodes hold one change: nothing of it is made anew for each."""
    alice = Writer(gen.signer("alice").public, b"a" * 8)
    change = gen.body([put("x", b"1")], alice, 1)
    one, two = built([change]), built([change])
    assert one.slot(("x", "")) is two.slot(("x", "")) is change.versions
    assert one.stored(change.id) is one.part(change.id) is two.stored(change.id) is change
    (mine,), (theirs,) = one.slots(), two.slots()
    assert mine is theirs


def test_what_has_died_here_is_known_when_it_comes_again() -> None:
    """A peer that replays old changes causes no work: neither the whole nor a part nor the bare header is news."""
    alice = Writer(gen.signer("alice").public, b"a" * 8)
    old = gen.body([put("x", b"1"), put("y", b"1")], alice, 1)
    live = LiveSet()
    live.add(old)
    live.add(gen.body([Entry(key, b"2", seen=((alice.id, 1),)) for key in ("x", "y")], alice, 2))
    for replay in (old, old.restrict([1]), old.restrict([])):
        assert live.holds(replay)
    assert not live.holds(gen.body([put("x", b"3")], alice, 1))


def test_the_stored_form_is_cut_down_when_half_of_it_is_dead() -> None:
    """Superseding one entry of many must not rewrite the many."""
    alice = Writer(gen.signer("alice").public, b"a" * 8)
    keys = [f"k{number}" for number in range(8)]
    first = gen.body([put(key, b"1") for key in keys], alice, 1)
    live = LiveSet()
    live.add(first)
    written = []
    for seq, key in enumerate(keys, 2):
        outcome = live.add(gen.body([Entry(key, b"2", seen=((alice.id, 1),))], alice, seq))
        written.append(first.id in outcome.stored)
        stored = live.stored(first.id)
        assert (stored is None) == (seq == 9)
    assert written == [False, False, False, True, False, True, True, True]


def test_many_siblings_of_one_change_are_added_at_once() -> None:
    """They cannot supersede each other and are not compared; what is read is the largest of them."""
    alice = Writer(gen.signer("alice").public, b"a" * 8)
    crowd = gen.body([put("x", b"%d" % number) for number in range(300)], alice, 1)
    live = LiveSet()
    outcome = live.add(crowd)
    assert len(outcome.gained) == len(live.slot(("x", ""))) == 300
    assert live.slot(("x", ""))[0] == winner(live.slot(("x", "")))
