"""What readers see: keys by prefix and in order, against a plain look at every key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.entry import Entry, delete, put
from gossipconf.model.key import covers
from gossipconf.model.version import Version, versions_of
from gossipconf.runtime.reads import ReadView
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import Reservation, compose

from .cluster import ADMIN, NOW_MS, ROOT

CLUSTER = found_cluster(
    "reads", [ROOT], [Role("admins", (ADMIN.public,), ("",))], threshold=1, now_ms=1, salt=bytes(16)
)
KEYS = st.text("a_-./0b", min_size=1, max_size=5)
"""Around the slash and the underscore, where ranges of sorted keys could go wrong; not all are valid, and no matter."""


def version_of(entry: Entry) -> Version:
    chain = CLUSTER.chain()
    change = compose([entry], (), chain=chain, signer=ADMIN, reservation=Reservation(bytes(8), 1), now_ms=NOW_MS)
    return next(iter(versions_of(change)))


ONE = version_of(put("any", b"1"))
GONE = version_of(delete("any"))


@given(st.sets(KEYS), KEYS | st.just(""), st.none() | KEYS)
def test_keys_are_those_that_the_prefix_covers(keys: set[str], prefix: str, after: str | None) -> None:
    view = ReadView({(key, ""): (ONE,) for key in keys})
    expected = sorted(key for key in keys if covers(prefix, key) and (after is None or key > after))
    assert list(view.keys(prefix, after)) == expected


@given(st.lists(st.tuples(KEYS, st.booleans())), KEYS | st.just(""))
async def test_keys_that_come_and_go(steps: list[tuple[str, bool]], prefix: str) -> None:
    view = ReadView({})
    there: set[str] = set()
    for key, is_put in steps:
        watcher = view.watch(prefix)
        view.show((((key, ""), (ONE,) if is_put else ()),))
        if is_put != (key in there) and covers(prefix, key):
            assert await watcher.take() == [key]
        view.unwatch(watcher)
        (there.add if is_put else there.discard)(key)
    assert list(view.keys(prefix)) == sorted(key for key in there if covers(prefix, key))
    assert all(view.versions(key) == [ONE] for key in there)


def test_values_are_counted_and_not_tombstones_variants_or_the_systems_keys() -> None:
    slots = {("a", ""): (ONE,), ("a", "canary"): (ONE,), ("b", ""): (GONE,), ("_policy/1", ""): (ONE,)}
    view = ReadView(slots)
    assert view.value_count == 1
    for slot, versions, number in (
        (("b", ""), (ONE,), 2),
        (("b", ""), (ONE, GONE), 2),
        (("a", ""), (GONE,), 1),
        (("b", "canary"), (ONE,), 1),
        (("_policy/2", ""), (ONE,), 1),
        (("b", ""), (), 0),
        (("b", ""), (), 0),
    ):
        view.show(((slot, versions),))
        assert view.value_count == number


def test_conflicts_are_the_slots_with_siblings_that_readers_see() -> None:
    slots = {("b", "canary"): (ONE, GONE), ("b", ""): (ONE,), ("_policy/1", ""): (ONE, GONE), ("c", ""): (ONE, GONE)}
    view = ReadView(slots)
    assert sorted(view.conflicts()) == [("b", "canary"), ("c", "")]
    for slot, versions, expected in (
        (("b", ""), (ONE, GONE), [("b", ""), ("b", "canary"), ("c", "")]),
        (("b", ""), (GONE, ONE), [("b", ""), ("b", "canary"), ("c", "")]),
        (("c", ""), (GONE,), [("b", ""), ("b", "canary")]),
        (("_policy/2", ""), (ONE, GONE), [("b", ""), ("b", "canary")]),
        (("b", "canary"), (), [("b", "")]),
        (("b", "canary"), (), [("b", "")]),
    ):
        view.show(((slot, versions),))
        assert sorted(view.conflicts()) == expected
        assert sorted(ReadView(view._slots).conflicts()) == expected, "the same as what is found at a start"
