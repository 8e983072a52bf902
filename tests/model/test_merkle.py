"""The Merkle sum tree: its definition, proofs that prove nothing else, and sums that nobody can understate."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.errors import FormatError, LimitExceeded
from gossipconf.model.merkle import SIZE_MAX, SparseTree, Subtree, leaf_of, node_of

NOTHING = (0, bytes(32))


def leaves(count: int) -> dict[int, Subtree]:
    """Leaves of different sizes, one in seven of none."""
    return {index: leaf_of(index * 1000 % 7, index.to_bytes(2, "big")) for index in range(count)}


def tree(count: int) -> SparseTree:
    return SparseTree(count, leaves(count), ())


def by_definition(nodes: list[Subtree]) -> tuple[int, bytes]:
    """The shape of RFC 6962, section 2.1, with sizes."""
    if len(nodes) == 1:
        return nodes[0]
    k = max(1 << power for power in range(20) if 1 << power < len(nodes))
    halves = by_definition(nodes[:k]), by_definition(nodes[k:])
    data = b"".join(size.to_bytes(4, "big") + digest for size, digest in halves)
    return halves[0][0] + halves[1][0], sha256(b"\x01" + data).digest()


@st.composite
def subsets(draw: st.DrawFn, min_size: int = 0) -> tuple[int, list[int]]:
    """A number of leaves, and some of their indices."""
    count = draw(st.integers(1, 20))
    return count, sorted(draw(st.sets(st.integers(0, count - 1), min_size=min_size)))


def proof_of(count: int, indices: list[int]) -> tuple[dict[int, Subtree], tuple[Subtree, ...]]:
    return {index: leaves(count)[index] for index in indices}, tree(count).proof(indices)


def altered(proof: tuple[Subtree, ...], place: int) -> tuple[Subtree, ...]:
    size, digest = proof[place]
    return (*proof[:place], (size, bytes([digest[0] ^ 1]) + digest[1:]), *proof[place + 1 :])


@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 100])
def test_root_and_size_are_those_of_the_definition(count):
    made = tree(count)
    assert (made.size, made.root) == by_definition(list(leaves(count).values()))
    assert made.size == sum(size for size, _ in leaves(count).values())


def test_a_leaf_is_its_size_and_its_data():
    assert leaf_of(258, b"data") == (258, sha256(b"\x00\x00\x00\x01\x02data").digest())


def test_a_leaf_is_never_a_node():
    left, right = (1, bytes(32)), (2, b"\x01" * 32)
    data = b"".join(size.to_bytes(4, "big") + digest for size, digest in (left, right))
    assert node_of(left, right) == (3, sha256(b"\x01" + data).digest())
    assert leaf_of(1, data[4:])[1] != node_of(left, right)[1]


@given(subsets())
def test_any_subset_s_proof_leads_to_the_root(subset):
    count, indices = subset
    chosen, proof = proof_of(count, indices)
    part = SparseTree(count, chosen, proof)
    assert (part.size, part.root) == (tree(count).size, tree(count).root)
    assert part.proof(indices) == proof
    if not indices:
        assert proof == ((part.size, part.root),)
    if len(indices) == count:
        assert proof == ()


@given(subsets())
def test_a_proof_is_at_most_half_as_long_as_the_tree_is_wide(subset):
    """FORM_BYTES_MAX counts on it."""
    count, indices = subset
    proof = tree(count).proof(indices)
    assert len(proof) <= (count + 1) // 2
    assert len(proof) + len(indices) <= count


# -- sums -----------------------------------------------------------------------------------------


@given(subsets(), st.data())
def test_no_size_can_be_misstated(subset, data):
    """Neither in the proof nor in a leaf, nor by moving bytes from one subtree to another."""
    count, indices = subset
    chosen, proof = proof_of(count, indices)
    shift = data.draw(st.integers(-6, 6).filter(bool))
    places = [("proof", place) for place in range(len(proof))] + [("leaf", index) for index in indices]
    moved = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=2, unique=True))
    stated, told = list(proof), dict(chosen)
    for (kind, place), by in zip(moved, (shift, -shift), strict=False):
        target = stated if kind == "proof" else told
        size, digest = target[place]
        target[place] = (max(0, size + by), digest)
    if (stated, told) == (list(proof), chosen):
        return
    lie = SparseTree(count, told, stated)
    assert (lie.size, lie.root) != (tree(count).size, tree(count).root)


@given(st.integers(2, 20), st.data())
def test_what_parts_of_one_root_reveal_together_is_within_the_size_of_each(count, data):
    indices = st.sets(st.integers(0, count - 1))
    parts = [sorted(data.draw(indices)) for _ in range(3)]
    sizes = {SparseTree(count, *proof_of(count, part)).size for part in parts}
    assert len(sizes) == 1
    assert sum(leaves(count)[index][0] for index in {*parts[0], *parts[1], *parts[2]}) <= sizes.pop()


def test_the_same_size_divided_otherwise_is_another_root():
    one, other = ([(size, bytes(32)) for size in sizes] for sizes in ((3, 5), (5, 3)))
    assert node_of(*one)[0] == node_of(*other)[0]
    assert node_of(*one)[1] != node_of(*other)[1]


def test_sizes_add_up_to_what_four_bytes_hold_and_no_further():
    full = (SIZE_MAX, bytes(32))
    assert node_of(full, NOTHING)[0] == SIZE_MAX
    with pytest.raises(LimitExceeded, match=str(SIZE_MAX + 1)):
        node_of(full, (1, bytes(32)))
    with pytest.raises(LimitExceeded):
        SparseTree(4, {0: NOTHING}, (full, full))


# -- parts ----------------------------------------------------------------------------------------


@given(subsets(), st.data())
def test_a_part_proves_any_smaller_part(subset, data):
    count, indices = subset
    fewer = sorted(data.draw(st.sets(st.sampled_from(indices)))) if indices else []
    assert SparseTree(count, *proof_of(count, indices)).proof(fewer) == tree(count).proof(fewer)


@pytest.mark.parametrize(("indices", "wanted"), [([], [0]), ([], [0, 1, 2]), ([0], [2]), ([0, 1], [0, 3])])
def test_a_part_has_no_proof_for_leaves_below_a_hash_of_its_own_proof(indices, wanted):
    with pytest.raises(FormatError, match="not known here"):
        SparseTree(4, *proof_of(4, indices)).proof(wanted)


@given(subsets(), st.data())
def test_an_altered_hash_changes_the_root(subset, data):
    count, indices = subset
    chosen, proof = proof_of(count, indices)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        assert SparseTree(count, chosen, altered(proof, place)).root != tree(count).root
    if indices:
        index = data.draw(st.sampled_from(indices))
        assert SparseTree(count, chosen | {index: NOTHING}, proof).root != tree(count).root


@given(subsets(min_size=1), st.data())
def test_a_leaf_at_another_index_changes_the_root_or_is_refused(subset, data):
    count, indices = subset
    chosen, proof = proof_of(count, indices)
    index = data.draw(st.sampled_from(indices))
    moved = dict(chosen)
    other = data.draw(st.integers(0, count - 1).filter(lambda other: other != index)) if count > 1 else None
    if other is None:
        return
    moved[other] = moved.pop(index)
    try:
        root = SparseTree(count, moved, proof).root
    except FormatError:
        return
    assert root != tree(count).root


@given(subsets(), st.data())
def test_a_hash_too_few_or_too_many_is_refused(subset, data):
    count, indices = subset
    chosen, proof = proof_of(count, indices)
    place = data.draw(st.integers(0, len(proof)))
    with pytest.raises(FormatError):
        SparseTree(count, chosen, (*proof[:place], NOTHING, *proof[place:]))
    if place < len(proof):
        with pytest.raises(FormatError):
            SparseTree(count, chosen, proof[:place] + proof[place + 1 :])


@given(st.integers(2, 20), st.data())
def test_the_merge_of_two_parts_proves_both(count, data):
    indices = st.sets(st.integers(0, count - 1))
    left, right = sorted(data.draw(indices)), sorted(data.draw(indices))
    joined = SparseTree(count, *proof_of(count, left))
    joined.merge(SparseTree(count, *proof_of(count, right)))
    both = sorted({*left, *right})
    assert joined.proof(both) == tree(count).proof(both)


@pytest.mark.parametrize(
    "other",
    [
        tree(3),
        SparseTree(4, leaves(4) | {2: NOTHING}, ()),
        SparseTree(4, {}, ((tree(4).size + 1, tree(4).root),)),
    ],
)
def test_parts_of_different_trees_are_not_merged(other):
    with pytest.raises(FormatError, match="different trees"):
        tree(4).merge(other)


@pytest.mark.parametrize("count", [0, -1])
def test_a_tree_has_a_leaf(count):
    with pytest.raises(FormatError):
        SparseTree(count, {}, (NOTHING,))


def test_the_largest_tree_is_fourteen_deep():
    assert len(tree(16_384).proof([5_000])) == 14
