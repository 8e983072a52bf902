"""The outbox: what is collected leaves together, in order, in time, and never as more than a message may be."""

from __future__ import annotations

from dataclasses import replace

from gossipconf.model.limits import FORM_BYTES_MAX, MESSAGE_BYTES_MAX
from gossipconf.protocol.messages import (
    BUNDLED_MAX,
    HOPS_MAX,
    Announce,
    Bundle,
    Message,
    Push,
    decode_message,
    encode_message,
)
from gossipconf.protocol.outbox import BUNDLE_BYTES, Outbox
from gossipconf.protocol.tuning import LAN
from gossipconf.protocol.zone import TAG_MAX
from tests.protocol.wire import Bench

COLLECTED_S = 0.25


def announce(number: int) -> Announce:
    return Announce((number.to_bytes(8, "big"),))


def collecting(batching_s: float = COLLECTED_S) -> tuple[Bench, Outbox, list[int]]:
    """An outbox of a node with two peers, to whom nothing else is said."""
    bench = Bench()
    links = [bench.connect("a"), bench.connect("b")]
    bench.wait(0.0)
    for link in links:
        bench.said(link)
    bench.node.environment.tuning = replace(LAN, batching_s=batching_s)
    return bench, Outbox(bench.node.environment, bench.node.overlay), links


def sent(bench: Bench, link: int) -> list[list[Message | None]]:
    """The messages in each bundle."""
    return [[decode_message(data) for data in bundle.messages] for bundle in bench.said(link, Bundle)]


def test_without_a_time_to_collect_each_message_leaves_at_once() -> None:
    bench, outbox, (first, second) = collecting(0.0)
    outbox.send(bench.links(), announce(1))
    assert bench.said(first) == bench.said(second) == [announce(1)]


def test_what_comes_within_the_time_leaves_as_one_message_in_order() -> None:
    bench, outbox, (first, second) = collecting()
    to_first, _ = bench.links()
    outbox.send(bench.links(), announce(1))
    bench.wait(COLLECTED_S / 2)
    outbox.send([to_first], announce(2))
    assert sent(bench, first) == sent(bench, second) == []
    bench.wait(COLLECTED_S / 2 + 0.001)
    assert sent(bench, first) == [[announce(1), announce(2)]]
    assert sent(bench, second) == [[announce(1)]]
    outbox.send([to_first], announce(3))
    bench.wait(COLLECTED_S + 0.001)
    assert sent(bench, first) == [[announce(3)]], "and the next time begins anew"


def test_a_full_bundle_does_not_wait() -> None:
    bench, outbox, (first, _) = collecting()
    for number in range(BUNDLED_MAX + 1):
        outbox.send(bench.links(), announce(number))
    assert sent(bench, first) == [[announce(number) for number in range(BUNDLED_MAX)]]


def test_the_longest_change_goes_into_a_bundle_that_may_be_sent_whatever_was_collected() -> None:
    bench, outbox, (first, _) = collecting()
    short = Announce((bytes(8), b"\xff" * 8))  # so short that what stands before each one counts
    longest = Push(HOPS_MAX, TAG_MAX, HOPS_MAX, bytes(FORM_BYTES_MAX))
    for _ in range(BUNDLE_BYTES // len(encode_message(short))):
        outbox.send(bench.links(), short)
    outbox.send(bench.links(), longest)
    bench.wait(COLLECTED_S + 0.001)
    bundles = bench.said(first, Bundle)
    assert all(len(encode_message(bundle)) <= MESSAGE_BYTES_MAX for bundle in bundles)
    assert decode_message(bundles[-1].messages[-1]) == longest


def test_what_was_collected_for_a_lost_peer_is_dropped() -> None:
    bench, outbox, (first, second) = collecting()
    to_first, _ = bench.links()
    outbox.send(bench.links(), announce(1))
    outbox.link_down(to_first)
    bench.wait(COLLECTED_S + 0.001)
    assert sent(bench, first) == []
    assert sent(bench, second) == [[announce(1)]]
