"""Confirmation of what came from a checkpoint: two different peers, kept on disk."""

from __future__ import annotations

import pytest

from gossipconf.model.encoding import encode
from gossipconf.protocol.confirmation import SAVED_CONFIRMATION, Comparisons
from gossipconf.protocol.events import Confirmed
from gossipconf.protocol.messages import Root
from gossipconf.protocol.node import Restored
from gossipconf.store.journal_ops import PutMeta
from tests.protocol.wire import Bench


def shown(bench: Bench, peer: str, root: bytes | None = None) -> None:
    """A peer of this name says which root it has."""
    bench.tell(bench.connect(peer), Root(root or bench.node.root, 1, False))


def saved(bench: Bench) -> list[Comparisons | None]:
    """What was written of it, in order."""
    ops = [op for persist in bench.write() for op in persist.ops]
    return [Comparisons.decode(op.value) for op in ops if isinstance(op, PutMeta) and op.name == SAVED_CONFIRMATION]


def test_a_node_that_verified_each_signature_needs_none() -> None:
    bench = Bench()
    assert bench.node.confirmation.unconfirmed is None
    shown(bench, "a")
    assert saved(bench) == []


def test_two_different_peers_confirm_and_each_is_written() -> None:
    bench = Bench(restored=Restored(comparisons=Comparisons(7)))
    shown(bench, "a")
    shown(bench, "a")
    assert bench.node.confirmation.unconfirmed == Comparisons(7, ("a",)), "the same peer again is no other one"
    shown(bench, "b", bytes(16))
    assert bench.node.confirmation.unconfirmed == Comparisons(7, ("a",)), "one that holds something else neither"
    shown(bench, "c")
    assert bench.node.confirmation.unconfirmed is None
    assert saved(bench) == [Comparisons(7, ("a",)), Comparisons(7, ("a", "c"))]
    assert bench.events(Confirmed) == [Confirmed(("a", "c"))]


def test_what_is_saved_reads_back() -> None:
    for one in (Comparisons(7), Comparisons(7, ("a",)), Comparisons(7, ("a", "b"))):
        assert Comparisons.decode(one.op().value) == one
    assert Comparisons.decode(None) is None


UNREADABLE = [b"", b"\xc0", encode([1]), encode([-1, []]), encode([1, [2]]), encode([1, ["a"] * 3])]


@pytest.mark.parametrize("data", UNREADABLE)
def test_what_cannot_be_read_confirms_nothing(data: bytes) -> None:
    assert Comparisons.decode(data) == Comparisons(0)
