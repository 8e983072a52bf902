"""The Merkle tree: RFC 6962's known answers, and proofs that prove nothing else."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.errors import FormatError
from gossipconf.model.merkle import SparseTree, leaf_hash, node_hash

CERTIFICATE_TRANSPARENCY = (
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
)
"""Leaves of the Certificate Transparency test log, each with the root of the tree up to it."""


def leaves(count: int) -> dict[int, bytes]:
    return {index: leaf_hash(index.to_bytes(2, "big")) for index in range(count)}


def tree(count: int) -> SparseTree:
    return SparseTree(count, leaves(count), ())


def root_by_definition(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(hashes) == 1:
        return hashes[0]
    k = max(1 << power for power in range(20) if 1 << power < len(hashes))
    return sha256(b"\x01" + root_by_definition(hashes[:k]) + root_by_definition(hashes[k:])).digest()


@st.composite
def subsets(draw: st.DrawFn, min_size: int = 0) -> tuple[int, list[int]]:
    """A number of leaves, and some of their indices."""
    count = draw(st.integers(1, 20))
    return count, sorted(draw(st.sets(st.integers(0, count - 1), min_size=min_size)))


def proof_of(count: int, indices: list[int]) -> tuple[dict[int, bytes], tuple[bytes, ...]]:
    return {index: leaves(count)[index] for index in indices}, tree(count).proof(indices)


def altered(hashes: tuple[bytes, ...], place: int) -> tuple[bytes, ...]:
    return (*hashes[:place], bytes([hashes[place][0] ^ 1]) + hashes[place][1:], *hashes[place + 1 :])


@pytest.mark.parametrize("count", range(1, 9))
def test_known_roots(count):
    hashes = {i: leaf_hash(bytes.fromhex(leaf)) for i, (leaf, _) in enumerate(CERTIFICATE_TRANSPARENCY[:count])}
    assert SparseTree(count, hashes, ()).root.hex() == CERTIFICATE_TRANSPARENCY[count - 1][1]


@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 100])
def test_the_root_is_that_of_the_definition(count):
    assert tree(count).root == root_by_definition(list(leaves(count).values()))


def test_a_leaf_is_never_a_node():
    left, right = bytes(32), b"\x01" * 32
    assert leaf_hash(left + right) != node_hash(left, right)


@given(subsets())
def test_any_subset_s_proof_leads_to_the_root(subset):
    count, indices = subset
    chosen, proof = proof_of(count, indices)
    part = SparseTree(count, chosen, proof)
    assert part.root == tree(count).root
    assert part.proof(indices) == proof
    if not indices:
        assert proof == (part.root,)
    if len(indices) == count:
        assert proof == ()


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
        assert SparseTree(count, chosen | {index: bytes(32)}, proof).root != tree(count).root


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
        SparseTree(count, chosen, (*proof[:place], bytes(32), *proof[place:]))
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


@pytest.mark.parametrize("other", [tree(3), SparseTree(4, leaves(4) | {2: bytes(32)}, ())])
def test_parts_of_different_trees_are_not_merged(other):
    with pytest.raises(FormatError, match="different trees"):
        tree(4).merge(other)


@pytest.mark.parametrize("count", [0, -1])
def test_a_tree_has_a_leaf(count):
    with pytest.raises(FormatError):
        SparseTree(count, {}, (bytes(32),))


def test_the_largest_tree_is_fourteen_deep():
    assert len(tree(16_384).proof([5_000])) == 14
