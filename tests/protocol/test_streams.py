"""Streams: what is learned of each writer, and what a change costs once it is."""

from __future__ import annotations

from gossipconf.protocol.broadcast import LATE_ANNOUNCED_S, LATE_TOLD
from gossipconf.protocol.environment import Send
from gossipconf.protocol.grafts import PRUNE_S
from gossipconf.protocol.messages import GRAFT_ZONES_MAX, Announce, Graft, Ping, Prune, Pull, Push, digest_of
from gossipconf.protocol.news import KEPT_S
from gossipconf.protocol.streams import FRESH_S, STREAMS_MAX, Streams, stream_of
from tests.protocol.wire import Bench, change

STREAM = stream_of(change().writer_id)


def test_each_writer_is_learned_by_itself() -> None:
    streams = Streams()
    streams.set(1, 7, pushed=True)
    streams.set(2, 7, pushed=False)
    assert (streams.pushes(1, 7), streams.pushes(2, 7), streams.pushes(3, 7), streams.pushes(1, 8)) == (
        True,
        False,
        None,
        None,
    )


def test_the_latest_writers_are_kept() -> None:
    streams = Streams()
    for stream in range(STREAMS_MAX):
        streams.set(stream, 1, pushed=True)
    streams.set(0, 2, pushed=True)
    streams.set(STREAMS_MAX, 1, pushed=True)
    assert streams.pushes(0, 1)
    assert streams.pushes(1, 1) is None


def test_whoever_asks_for_what_nobody_sent_drives_nothing_out() -> None:
    streams = Streams()
    streams.set(0, 1, pushed=True)
    for stream in range(1, 10 * STREAMS_MAX):
        streams.asked(stream, 2, pushed=True)
    assert streams.pushes(0, 1)


def test_a_link_that_is_gone_is_forgotten() -> None:
    streams = Streams()
    streams.set(1, 7, pushed=True)
    streams.came(2, 7, [7])
    assert streams.pushes(2, 7) is False
    assert streams.forget(7) == [2]
    assert streams.pushes(1, 7) is streams.pushes(2, 7) is None
    assert streams.forget(7) == []


def test_of_substitutes_those_that_had_a_change_earlier_come_first() -> None:
    streams = Streams()
    streams.came(1, 7, [5, 7])
    streams.set(1, 6, pushed=True)
    assert streams.substitutes(1, [5, 6, 8]) == [5]
    streams.came(1, 7, [7])
    assert streams.substitutes(1, [5, 6, 8]) == [5], "one that tells nothing of others changes nothing"
    assert streams.substitutes(1, [6, 8]) == [8]
    assert streams.substitutes(1, [6]) == []


def test_what_was_learned_long_ago_does_not_count() -> None:
    streams = Streams()
    streams.begin(1, 0.0)
    streams.came(1, 7, [5, 7])
    streams.begin(1, FRESH_S)
    assert streams.pushes(1, 5) is False
    streams.begin(1, 2 * FRESH_S + 0.1)
    assert streams.pushes(1, 5) is None
    assert streams.forget(7) == []


# -- in a node ------------------------------------------------------------------------------------


def among(*names: str) -> tuple[Bench, list[int]]:
    bench = Bench()
    links = [bench.connect(name) for name in names]
    bench.drain(Send)
    return bench, links


def news(seq: int) -> bytes:
    return change(key=f"k{seq}", seq=seq).encode()


def pushed(data: bytes) -> Push:
    return Push(1, 0, 5, data)


def spoken(bench: Bench, link: int) -> list[Announce | Pull | Push | Prune]:
    return [message for message in bench.said(link) if isinstance(message, Announce | Pull | Push | Prune)]


def test_who_has_pulled_is_pushed_to_and_others_are_told_late_if_they_stay_silent() -> None:
    bench, (source, child, other) = among("a", "b", "c")
    first, second = news(1), news(2)
    bench.tell(source, pushed(first))
    assert [type(one) for link in (child, other) for one in spoken(bench, link)] == [Announce, Announce]
    bench.tell(child, Pull((digest_of(first),)))
    bench.said(child)
    bench.tell(source, pushed(second))
    assert [type(one) for one in spoken(bench, child)] == [Push]
    assert spoken(bench, other) == []
    bench.wait(2 * LATE_ANNOUNCED_S)
    assert spoken(bench, other) == [Announce((digest_of(second),))]
    assert spoken(bench, source) == spoken(bench, child) == []


def test_who_has_told_of_it_is_not_told_late() -> None:
    bench, (source, other) = among("a", "b")
    for seq in (1, 2):
        bench.said(other)
        bench.tell(source, pushed(news(seq)))
    bench.tell(other, Announce((digest_of(news(2)),)))
    bench.wait(2 * LATE_ANNOUNCED_S)
    assert spoken(bench, other) == []


def test_a_few_are_told_late_and_not_all() -> None:
    bench, (source, *others) = among(*"abcdefg")
    bench.tell(source, pushed(news(1)))
    for link in others:
        bench.said(link)
    bench.tell(source, pushed(news(2)))
    bench.wait(2 * LATE_ANNOUNCED_S)
    assert sum(len(spoken(bench, link)) for link in others) == LATE_TOLD


def test_whoever_brings_a_second_copy_is_asked_for_no_more_and_obeys() -> None:
    bench, (source, other) = among("a", "b")
    bench.tell(source, pushed(news(1)))
    bench.said(other)
    bench.tell(other, pushed(news(1)))
    bench.wait(PRUNE_S)
    assert spoken(bench, other) == [Prune((STREAM,))]
    assert spoken(bench, source) == []

    bench.tell(other, Pull((digest_of(news(1)),)), Prune((STREAM,)))
    bench.said(other)
    bench.tell(source, pushed(news(2)))
    assert spoken(bench, other) == []


def test_whoever_was_asked_twice_may_answer_twice() -> None:
    bench, (source,) = among("a")
    bench.tell(source, pushed(news(1)), pushed(news(1)))
    bench.wait(PRUNE_S)
    assert spoken(bench, source) == []


def test_a_peer_that_was_pulled_from_again_is_not_declined() -> None:
    """It was too late once, and shall push all the same, because the other one has failed."""
    bench, (source, other) = among("a", "b")
    bench.tell(source, pushed(news(1)))
    bench.tell(other, pushed(news(1)))
    bench.tell(other, Announce((digest_of(news(2)),)))
    bench.tell(other, pushed(news(2)))
    bench.wait(PRUNE_S)
    assert not [one for one in spoken(bench, other) if isinstance(one, Prune)]


def test_another_writer_begins_with_announcements() -> None:
    bench, (source, other) = among("a", "b")
    bench.tell(source, pushed(news(1)))
    bench.said(other)
    bench.tell(source, pushed(change(incarnation=bytes([1] * 8)).encode()))
    assert [type(one) for one in spoken(bench, other)] == [Announce]


def test_who_loses_the_peer_that_pushed_asks_another_one_that_it_does_not_push_to() -> None:
    bench, (source, child, other) = among("a", "b", "c")
    bench.tell(source, pushed(news(1)))
    bench.tell(child, Pull((digest_of(news(1)),)))
    for link in (child, other):
        bench.said(link)
    bench.lose(source)
    assert [bench.said(link, Graft) for link in (child, other)] == [[], [Graft((STREAM,))]]
    bench.lose(other)
    assert bench.said(child, Graft) == []


def test_however_many_writers_came_over_a_link_another_peer_is_asked_in_messages_that_it_accepts() -> None:
    bench, (source, other) = among("a", "b")
    written = [change(key=f"w{number}", incarnation=number.to_bytes(8, "big")) for number in range(GRAFT_ZONES_MAX + 1)]
    for one in written:
        bench.tell(source, pushed(one.encode()))
    bench.said(other)
    bench.lose(source)
    grafts = bench.said(other, Graft)
    assert [len(graft.zones) for graft in grafts] == [GRAFT_ZONES_MAX, 1]
    assert {zone for graft in grafts for zone in graft.zones} == {stream_of(one.writer_id) for one in written}


def test_whoever_repeats_what_is_long_known_is_not_taken_for_the_peer_that_brings_news() -> None:
    bench, (source, liar, child) = among("a", "f", "b")
    bench.tell(source, pushed(news(1)))
    for _ in range(round(KEPT_S) + 1):
        bench.wait(1.0)
        for link in (source, liar, child):
            bench.tell(link, Ping(1))
    bench.tell(source, pushed(news(2)))
    bench.tell(liar, pushed(news(1)))
    bench.said(child)
    bench.lose(source)
    assert bench.said(child, Graft) + bench.said(liar, Graft) == [Graft((STREAM,))]


def test_links_that_are_gone_are_remembered_for_no_writer() -> None:
    bench, (source,) = among("a")
    for seq in range(1, 9):
        passing = bench.connect("f")
        bench.tell(passing, Announce((digest_of(news(seq)),)))
        bench.lose(passing)
        bench.tell(source, pushed(news(seq)))
    (learned,) = bench.node.broadcast._streams._streams.values()
    assert list(learned.pushed) == [source]
    assert learned.earlier == ()


def test_a_peer_that_asks_is_pushed_to() -> None:
    bench, (source, other) = among("a", "b")
    bench.tell(source, pushed(news(1)))
    bench.said(other)
    bench.tell(other, Graft((STREAM,)))
    bench.tell(source, pushed(news(2)))
    assert [type(one) for one in spoken(bench, other)] == [Push]


def test_a_writer_of_long_ago_begins_anew() -> None:
    bench, (source, other) = among("a", "b")
    bench.tell(source, pushed(news(1)))
    bench.said(other)
    for _ in range(round(FRESH_S) + 1):
        bench.wait(1.0)
        bench.tell(source, Ping(1))
        bench.tell(other, Ping(1))
    bench.said(other)
    bench.tell(source, pushed(news(2)))
    assert [type(one) for one in spoken(bench, other)] == [Announce]


def test_second_copies_from_another_zone_are_not_declined() -> None:
    bench, (source, other) = among("a", "b")
    data = news(1)
    bench.tell(source, Push(1, 7, 5, data))
    bench.tell(other, Push(1, 7, 5, data))
    bench.wait(PRUNE_S)
    assert not [one for one in spoken(bench, other) if isinstance(one, Prune)]
