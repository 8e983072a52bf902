"""Peers that lie about what spreads and where: whatever they tell costs a bounded amount of memory and messages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gossipconf.model.encoding import encode
from gossipconf.protocol.environment import Send
from gossipconf.protocol.fields import DIGESTS_MAX
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.link import FAR_AGREEING
from gossipconf.protocol.messages import (
    AGE_MS_MAX,
    DIGEST_BYTES,
    GRAFT_ZONES_MAX,
    HOPS_MAX,
    Addresses,
    Announce,
    Graft,
    Message,
    Ping,
    Pong,
    Prune,
    Pull,
    Push,
    Recap,
    ZoneTold,
    digest_of,
    encode_message,
)
from gossipconf.protocol.neighbourhood import FAR_TAGS_MAX, TELL_S
from gossipconf.protocol.news import AWAITED_MAX, KEPT_MAX
from gossipconf.protocol.pulls import PULLS_MAX, RTT_UNKNOWN_S
from gossipconf.protocol.zone import TAG_MAX, tag_of
from tests.protocol.wire import Bench, change

NEAR_S, FAR_S = 0.001, 0.1


def besieged(*, label: str = "here", far: bool = True) -> tuple[Bench, int, int]:
    """A node, a liar, and an honest near peer."""
    bench = Bench("m", zone=label)
    honest = bench.connect("a", zone=label)
    bench.answer(honest, NEAR_S)
    liar = bench.connect("f", zone="there" if far and label else label)
    bench.answer(liar, FAR_S if far else NEAR_S)
    for link in (liar, honest):
        bench.said(link)
    return bench, liar, honest


def invented(first: int, count: int = DIGESTS_MAX) -> tuple[bytes, ...]:
    return tuple((first + number).to_bytes(DIGEST_BYTES, "big") for number in range(count))


def works(bench: Bench, honest: int) -> bool:
    """Whether what is published here still reaches an honest peer at once."""
    data = change("still", "alive", seq=1 << 30).encode()
    bench.node.publish(bench.now(), 1, bench.node.replica.decode(data))
    bench.write()
    return data in [push.change for push in bench.said(honest, Push)]


def sizes(messages: Sequence[Message]) -> int:
    return sum(len(encode_message(message)) for message in messages)


@pytest.mark.parametrize("far", [False, True])
def test_changes_that_do_not_exist_are_asked_for_so_many_times_and_forgotten(far: bool) -> None:
    bench, liar, honest = besieged(far=far)
    told = [Announce(invented(first)) for first in range(0, 3 * AWAITED_MAX, DIGESTS_MAX)]
    for message in told:
        bench.tell(liar, message)
    assert len(bench.node.broadcast._latest._awaited) <= AWAITED_MAX
    bench.wait(10.0)
    pulls = bench.said(liar, Pull)
    assert len(pulls) <= PULLS_MAX * len(told)
    assert sizes(pulls) <= PULLS_MAX * sizes(told)
    assert bench.said(honest, Pull) == []
    bench.wait(100.0)
    assert bench.said(liar, Pull) == []
    assert len(bench.node.environment._timers) < 30
    assert works(bench, bench.connect("b", zone="here"))


def test_a_digest_that_is_named_again_and_again_is_asked_for_once_and_given_once() -> None:
    bench, liar, honest = besieged(far=False)
    data = change().encode()
    for message in (
        Announce((digest_of(data),) * DIGESTS_MAX),
        Recap((digest_of(data),) * DIGESTS_MAX, (5,) * DIGESTS_MAX),
    ):
        bench.tell(liar, message)
    assert bench.said(liar, Pull) == [Pull((digest_of(data),))]
    bench.tell(honest, Push(1, 0, 0, data))
    bench.said(liar)
    bench.tell(liar, *[Pull((digest_of(data),) * DIGESTS_MAX)] * 9)
    assert len(bench.said(liar, Push)) == 1


@pytest.mark.parametrize("kind", [Graft, Prune])
@pytest.mark.parametrize("far", [False, True])
def test_grafting_or_pruning_all_moves_nobody_but_the_liar(kind: type[Graft | Prune], far: bool) -> None:
    bench, liar, honest = besieged(far=far)
    for first in range(1, 20_000, GRAFT_ZONES_MAX):
        bench.tell(liar, kind(tuple(range(first, first + GRAFT_ZONES_MAX))), kind(()))
    assert bench.said(liar) == []
    assert bench.said(honest) == []
    (known,) = bench.node.broadcast._grafts._far.values()
    assert len(known.outgoing) <= GRAFT_ZONES_MAX
    assert bench.closed(liar) is None
    assert works(bench, honest)
    bench.lose(liar)
    assert bench.node.broadcast._grafts._far == {}


def test_changes_of_thousands_of_zones_teach_a_bounded_number() -> None:
    bench, liar, honest = besieged()
    for seq in range(1, 1_000):
        data = change(str(seq), f"k{seq}", seq=seq).encode()
        bench.tell(liar, Push(HOPS_MAX, seq, HOPS_MAX - seq % 2, data), Push(0, seq, 0, data))
    (known,) = bench.node.broadcast._grafts._far.values()
    assert len(known.scores) == GRAFT_ZONES_MAX
    bench.wait(1.0)
    asked = [message for message in bench.said(liar) if isinstance(message, Graft | Prune)]
    assert len(asked) <= 2 * GRAFT_ZONES_MAX
    assert works(bench, honest)


@pytest.mark.parametrize("label", ["", "here"])
def test_tags_without_end_are_told_on_slowly_and_remembered_to_a_bound(label: str) -> None:
    bench, liar, honest = besieged(label=label, far=False)
    far = bench.connect("far", zone="there" if label else "")
    bench.answer(far, FAR_S, 1 if label else FAR_AGREEING)
    bench.said(honest)
    begin_s, drawn = bench.now_s, bench.node.overlay.zone
    for step in range(1_000):
        bench.tell(liar, ZoneTold(drawn - 1 - step))
        bench.tell(far, ZoneTold(step + 1))
        bench.wait(0.001)
    bench.wait(1.0)
    told = bench.said(honest, ZoneTold)
    assert len(told) <= (bench.now_s - begin_s) / TELL_S + 1
    assert bool(told) == (not label)
    hood = bench.node.overlay.neighbourhood
    assert len(hood._far_tags) <= FAR_TAGS_MAX
    assert len(bench.node.overlay.book._zones) <= 4
    assert hood.zone == (tag_of("here") if label else drawn - 1_000)
    assert works(bench, honest)


NONSENSE = [
    Recap(invented(1), ()),
    Recap(invented(1, 1), (0,) * DIGESTS_MAX),
    Recap(invented(1, 3), (AGE_MS_MAX, 0, 1)),
    Pull(invented(1)),
    Graft((0,)),
    Prune((0, 0, TAG_MAX)),
    ZoneTold(0),
    Addresses(("x:1", "y:1"), ()),
    Addresses((), (1, 2, 3)),
]


@pytest.mark.parametrize("message", NONSENSE, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("far", [False, True])
def test_nonsense_changes_little(message: Message, far: bool) -> None:
    bench, liar, honest = besieged(far=far)
    for _ in range(100):
        bench.tell(liar, message)
        bench.wait(0.02)
    said = [one for one in bench.drain(Send) if one.frame_class is FrameClass.BROADCAST and one.link == honest]
    assert said == []
    assert bench.closed(liar) is None
    assert works(bench, honest)


def test_whoever_claims_to_have_had_everything_is_asked_once_and_drives_out_nobody() -> None:
    """It never pushes what it is asked for; the honest far peer goes on."""
    bench, liar, honest = besieged()
    other = bench.connect("g", zone="there")
    bench.said(other)
    for seq in range(1, 200):
        data = change(str(seq), f"k{seq}", seq=seq).encode()
        bench.tell(other, Push(1, 7, 0, data))
        bench.wait(0.01)
        bench.tell(liar, Recap((digest_of(data),), (AGE_MS_MAX,)), Ping(1))
        bench.tell(honest, Ping(1))
    assert [one for one in bench.said(other) if isinstance(one, Graft | Prune)] == []
    assert len([one for one in bench.said(liar) if isinstance(one, Graft | Prune)]) <= 1
    assert works(bench, honest)


def test_a_peer_that_announces_and_never_gives_does_not_keep_a_change_away() -> None:
    bench, liar, honest = besieged(far=False)
    data = change().encode()
    bench.tell(liar, Announce((digest_of(data),)))
    bench.tell(honest, Announce((digest_of(data),)))
    assert (len(bench.said(liar, Pull)), len(bench.said(honest, Pull))) == (1, 0)
    bench.wait(0.02)
    assert len(bench.said(honest, Pull)) > 0


def test_one_peer_that_never_gives_does_not_make_the_others_push_everything() -> None:
    bench, liar, _ = besieged(far=False)
    for message in (Announce(invented(0, 50)), Announce(invented(50, 50))):
        bench.tell(liar, message)
        bench.wait(2.0)
    assert not bench.node.broadcast._pulls.are_late


def test_changes_that_do_not_exist_drive_out_none_that_a_peer_pulls() -> None:
    bench, liar, honest = besieged(far=False)
    data = change().encode()
    bench.tell(liar, Push(1, 0, 5, data))
    for first in range(0, 2 * KEPT_MAX, DIGESTS_MAX):
        bench.tell(liar, Announce(invented(first)))
    bench.said(honest)
    bench.tell(honest, Pull((digest_of(data),)))
    assert [push.change for push in bench.said(honest, Push)] == [data]


@pytest.mark.parametrize("pong_s", [None, 60.0])
def test_whoever_answers_pings_late_or_never_is_not_waited_for(pong_s: float | None) -> None:
    bench = Bench("m", zone="here")
    honest, liar = (bench.connect(name, zone="here") for name in ("a", "f"))
    bench.answer(honest, NEAR_S)
    if pong_s is not None:
        (ping,) = bench.said(liar, Ping)
        for _ in range(round(pong_s)):
            bench.wait(1.0)
            bench.tell(liar, Ping(1))
            bench.tell(honest, *(Pong(one.token) for one in bench.said(honest, Ping)))
        bench.tell(liar, Pong(ping.token))
    data = change().encode()
    for link in (liar, honest):
        bench.tell(link, Announce((digest_of(data),)))
    bench.wait(RTT_UNKNOWN_S)
    assert bench.said(honest, Pull) == [Pull((digest_of(data),))]


def test_messages_that_only_look_like_digests_are_refused() -> None:
    for data in (b"", bytes(DIGEST_BYTES - 1), bytes(DIGEST_BYTES * (DIGESTS_MAX + 1)), 7, None):
        bench, liar, _ = besieged()
        bench.node.received(bench.now(), liar, encode([Announce.TYPE, data]))
        assert "digests of Announce" in (bench.closed(liar) or "")
