"""The hash tree against a plain set, with ids that crowd together."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gossipconf.store.hash_tree import EMPTY_HASH, HashTree
from tests.strategies import crowded_ids

prefixes = st.one_of(
    st.lists(st.sampled_from([0, 1, 15]), max_size=6),
    st.sampled_from([[0] * 62, [0] * 63, [0] * 64, [0, 0, 0, 1, 1, 0]]),
).map(tuple)


def nibbles(item: bytes) -> tuple[int, ...]:
    return tuple(int(digit, 16) for digit in item.hex())


def under(items: set[bytes], prefix: tuple[int, ...]) -> list[bytes]:
    return sorted(item for item in items if nibbles(item)[: len(prefix)] == prefix)


def hash_by_definition(items: list[bytes], depth: int) -> bytes:
    """The hash of ascending ids as the format states it, with nothing kept between calls."""
    if not items:
        return bytes(16)
    if len(items) <= 16:
        return sha256(b"\x00" + b"".join(items)).digest()[:16]
    children = [[item for item in items if int(item.hex()[depth], 16) == nibble] for nibble in range(16)]
    return sha256(b"\x01" + b"".join(hash_by_definition(part, depth + 1) for part in children)).digest()[:16]


def tree_of(items) -> HashTree:
    tree = HashTree()
    for item in items:
        tree.add(item)
    return tree


class AgainstASet(RuleBasedStateMachine):
    """Any additions and removals; after each the tree must be a function of the set alone."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = HashTree()
        self.items: set[bytes] = set()

    @rule(new=st.sets(crowded_ids(), min_size=1, max_size=30))
    def add(self, new):
        for item in sorted(new - self.items, key=lambda one: sha256(one).digest()):
            self.tree.add(item)
        self.items |= new

    @precondition(lambda self: self.items)
    @rule(data=st.data())
    def remove(self, data):
        numbers = data.draw(st.sets(st.integers(0, len(self.items) - 1), max_size=25))
        for item in [one for number, one in enumerate(sorted(self.items)) if number in numbers]:
            self.tree.remove(item)
            self.items.remove(item)

    @rule()
    def ask_for_the_root_in_between(self):
        assert self.tree.root == hash_by_definition(sorted(self.items), 0)

    @rule(prefix=prefixes)
    def look_under(self, prefix):
        expected = under(self.items, prefix)
        assert self.tree.items(prefix) == expected
        assert self.tree.hash_at(prefix) == hash_by_definition(expected, len(prefix))
        assert self.tree.count(prefix) == len(expected)
        for levels in range(min(3, 65 - len(prefix))):
            below = [tuple(number >> 4 * up & 15 for up in reversed(range(levels))) for number in range(16**levels)]
            by_definition = [hash_by_definition(under(self.items, prefix + one), len(prefix) + levels) for one in below]
            assert self.tree.row(prefix, levels) == by_definition

    @precondition(lambda self: self.items)
    @rule(data=st.data(), length=st.integers(0, 32), other=crowded_ids())
    def start(self, data, length, other):
        here = sorted(self.items)[data.draw(st.integers(0, len(self.items) - 1))]
        for item in (here, other):
            start = item[:length]
            assert self.tree.starting_with(start) == sorted(one for one in self.items if one.startswith(start))

    @invariant()
    def same_set(self):
        assert self.tree.items() == sorted(self.items)
        assert len(self.tree) == len(self.items)
        assert all(item in self.tree for item in self.items)

    def teardown(self):
        assert self.tree.root == tree_of(sorted(self.items)).root


TestAgainstASet = AgainstASet.TestCase
TestAgainstASet.settings = settings(max_examples=40, stateful_step_count=20)


@given(st.sets(crowded_ids(), max_size=60), st.sets(crowded_ids(), max_size=60))
def test_roots_are_equal_exactly_for_equal_sets(one, two):
    assert (tree_of(one).root == tree_of(two).root) == (one == two)


@given(st.sets(crowded_ids()), crowded_ids())
def test_a_tree_made_at_once_is_the_same_and_grows_on_as_the_same(items, more):
    made, grown = HashTree.of(items), tree_of(items)
    assert (made.root, made.items(), len(made)) == (grown.root, grown.items(), len(grown))
    for tree in (made, grown):
        (tree.remove if more in items else tree.add)(more)
    assert (made.root, made.items()) == (grown.root, grown.items())


@given(st.sets(crowded_ids(), min_size=1, max_size=60), st.data())
def test_one_id_more_or_less_changes_the_root(items, data):
    tree = tree_of(items)
    root = tree.root
    tree.remove(sorted(items)[data.draw(st.integers(0, len(items) - 1))])
    assert tree.root != root


def test_the_empty_tree_has_the_empty_hash():
    tree = HashTree()
    assert tree.root == EMPTY_HASH == tree.hash_at((3, 4))
    assert tree.row((), 2) == [EMPTY_HASH] * 256
    assert tree.starting_with(b"\x01") == []


def test_the_seventeenth_id_divides_a_leaf_and_its_removal_joins_it_again():
    items = [bytes([number << 4]) + bytes(31) for number in range(16)] + [b"\x01" + bytes(31)]
    tree = tree_of(items[:16])
    before = tree.root
    assert before == sha256(b"\x00" + b"".join(sorted(items[:16]))).digest()[:16]
    tree.add(items[16])
    assert tree.root == sha256(b"\x01" + b"".join(tree.row((), 1))).digest()[:16]
    tree.remove(items[16])
    assert tree.root == before


def test_ids_that_differ_in_the_last_nibbles_only_make_a_deep_tree():
    items = {bytes(31) + bytes([number]) for number in range(256)}
    tree = tree_of(items)
    assert tree.count((0,) * 62) == 256
    assert tree.items((0,) * 63) == sorted(items)[:16]
    assert tree.root == hash_by_definition(sorted(items), 0)
    for item in items:
        tree.remove(item)
    assert tree.root == EMPTY_HASH
