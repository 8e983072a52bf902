"""Plans: what is created, updated, deleted and left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.cli.files.documents import load
from gossipconf.cli.files.plan import Plan, plan
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput

SHOP = Path(__file__).parents[3] / "examples" / "shop"
TEXT, JSON = ValueType.TEXT, ValueType.JSON

CURRENT = {
    "shop/a": (TEXT, b"1"),
    "shop/b": (TEXT, b"1"),
    "shop/c": (TEXT, b"1"),
    "shop/gone": (TEXT, b"1"),
    "shop": (TEXT, b"1"),
    "shopping/kept": (TEXT, b"1"),
    "_policy/1": (TEXT, b"1"),
}
WANTED = {"shop/z": (TEXT, b"1"), "shop/b": (JSON, b"1"), "shop/a": (TEXT, b"1"), "shop/c": (TEXT, b"2")}


def test_a_plan_without_pruning_deletes_nothing():
    assert plan(CURRENT, WANTED) == Plan(
        create=("shop/z",), update=("shop/b", "shop/c"), delete=(), unchanged=("shop/a",)
    )


def test_pruning_goes_by_whole_segments_and_spares_the_system():
    assert plan(CURRENT, WANTED, prune_prefixes=["shop"]).delete == ("shop", "shop/gone")
    assert plan(CURRENT, {}, prune_prefixes=["", "_policy"]).delete == (
        "shop",
        "shop/a",
        "shop/b",
        "shop/c",
        "shop/gone",
        "shopping/kept",
    )
    with pytest.raises(InvalidInput):
        plan(CURRENT, WANTED, prune_prefixes=["shop/"])


def test_a_plan_of_what_is_there_is_empty():
    shop = load(SHOP).entries
    assert plan(shop, shop, prune_prefixes=[""]).is_empty
    assert not plan({}, shop).is_empty
    assert not plan(shop, {}, prune_prefixes=[""]).is_empty


KEYS = st.sampled_from(["a", "a/b", "a/c", "ab", "b/c/d", "_s/x"])
VALUES = st.dictionaries(KEYS, st.tuples(st.sampled_from([TEXT, JSON]), st.sampled_from([b"1", b"2"])))


@settings(deadline=None)
@given(VALUES, VALUES, st.lists(st.sampled_from(["", "a", "b/c", "zz"])))
def test_carrying_out_a_plan_gives_what_was_wanted(current, wanted, prefixes):
    made = plan(current, wanted, prune_prefixes=prefixes)
    after = {key: value for key, value in current.items() if key not in made.delete}
    after |= {key: wanted[key] for key in (*made.create, *made.update)}
    assert {key: after[key] for key in wanted} == wanted
    assert plan(after, wanted, prune_prefixes=prefixes).is_empty
    for keys in (made.create, made.update, made.delete, made.unchanged):
        assert list(keys) == sorted(keys)
