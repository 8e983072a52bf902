"""A map and its successors are what a dict and its copies are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipconf.embed.cell_map import SHARDS, CellMap

CHANGES = st.lists(st.dictionaries(st.text(max_size=2), st.none() | st.integers(), max_size=5), max_size=8)


@given(CHANGES)
def test_it_is_a_dict_that_is_copied(all_changes):
    model: dict[str, int] = {}
    found: CellMap[int] = CellMap()
    earlier = []
    for changes in all_changes:
        earlier.append((found, model))
        found = found.replaced(changes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        assert dict(found) == model
        assert len(found) == len(model)
        assert all(found.find(key) == found.get(key) == model.get(key) for key in changes)
    assert all(dict(before) == copy for before, copy in earlier), "none of them has changed"


def test_a_successor_shares_what_has_not_changed():
    before = CellMap().replaced({str(number): number for number in range(10_000)})
    after = before.replaced({"1": 2})
    assert sum(one is not other for one, other in zip(before.shards, after.shards, strict=True)) == 1
    assert len(before.shards) == SHARDS
