"""News: bounds of number, age and bytes whatever spreads, and whom to ask for what has not come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.protocol import news as module
from gossipconf.protocol.link import Link
from gossipconf.protocol.messages import DIGEST_BYTES, Hello
from gossipconf.protocol.news import (
    ANNOUNCERS_MAX,
    ANSWERED_AGAIN_S,
    AWAITED_MAX,
    HELD_BYTES_MAX,
    KEPT_MAX,
    KEPT_S,
    Latest,
    News,
)


def digest(number: int) -> bytes:
    return number.to_bytes(DIGEST_BYTES, "big")


def digests(first: int, end: int) -> Iterator[bytes]:
    return map(digest, range(first, end))


def came(latest: Latest, number: int, change: bytes | None = b"x", now_s: float = 0.0) -> News:
    """A change comes, and is held."""
    news = latest.add(digest(number), now_s)
    news.arrived(now_s, None, change, hops=1, zone=0)
    latest.come(news, now_s)
    return news


def known(latest: Latest, count: int) -> list[int]:
    return [number for number in range(count) if latest.get(digest(number))]


def held(latest: Latest, count: int) -> list[int]:
    """Those whose bytes can still be given."""
    return [number for number in known(latest, count) if latest.add(digest(number), 0.0).change is not None]


# -- bounds ---------------------------------------------------------------------------------------


def test_the_same_is_found_again_until_it_is_no_news() -> None:
    latest = Latest()
    first = latest.add(digest(1), 0.0)
    assert latest.add(digest(1), KEPT_S) is first is latest.get(digest(1))
    latest.add(digest(2), KEPT_S)
    assert latest.get(digest(1)) is first
    latest.add(digest(3), KEPT_S + 0.001)
    assert latest.get(digest(1)) is None
    assert latest.get(digest(2)) is not None


def test_at_most_so_many_are_remembered_the_newest() -> None:
    latest = Latest()
    for number in range(KEPT_MAX + 10):
        came(latest, number)
    assert known(latest, KEPT_MAX + 10) == list(range(10, KEPT_MAX + 10))
    assert len(held(latest, KEPT_MAX + 10)) == KEPT_MAX


def test_what_is_announced_drives_nothing_out_that_has_come() -> None:
    latest = Latest()
    came(latest, 0)
    for number in range(1, AWAITED_MAX + 12):
        latest.add(digest(number), 1.0)
    assert held(latest, 1) == [0]
    assert known(latest, AWAITED_MAX + 12) == [0, *range(12, AWAITED_MAX + 12)]


def test_a_peer_is_answered_again_after_a_while_only() -> None:
    news = News(digest(1), 0.0)
    asked = [(7, 0.0), (7, 0.5), (8, 0.5), (7, ANSWERED_AGAIN_S), (7, ANSWERED_AGAIN_S + 0.5)]
    assert [news.is_to_answer(link, now_s) for link, now_s in asked] == [True, False, True, True, False]


def test_bytes_are_held_up_to_a_limit_and_what_they_were_is_still_known() -> None:
    latest = Latest()
    size = HELD_BYTES_MAX // 4
    shared = bytes(size)
    for number in range(6):
        came(latest, number, shared)
    assert held(latest, 6) == [2, 3, 4, 5]
    assert known(latest, 6) == [0, 1, 2, 3, 4, 5]
    came(latest, 6, b"one more byte")
    assert held(latest, 7) == [3, 4, 5, 6]


def test_the_newest_is_held_however_large() -> None:
    latest = Latest()
    came(latest, 0)
    came(latest, 1, bytes(HELD_BYTES_MAX + 1))
    assert held(latest, 2) == [1]
    came(latest, 2)
    assert held(latest, 3) == [2]


def test_what_is_not_spread_any_more_holds_nothing() -> None:
    latest = Latest()
    came(latest, 0, None)
    assert (held(latest, 1), list(latest.held_since(0.0, 9))) == ([], [])


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(("came", "announced", "forgotten")), st.integers(0, 9), st.integers(0, 60)), max_size=60
)


@given(steps)
def test_the_account_of_bytes_is_right_whatever_comes_and_goes(steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD_BYTES_MAX", 100)
        patch.setattr(module, "KEPT_MAX", 6)
        latest = Latest()
        now_s = 0.0
        for kind, number, size in steps:
            now_s += size / 20
            if kind == "forgotten":
                latest.forget(digest(number))
            elif kind == "announced" or latest.add(digest(number), now_s).here:
                latest.add(digest(number), now_s)
            else:
                came(latest, number, bytes(size), now_s)
            sizes = [len(one.change) for one in latest._come.values() if one.change is not None]
            assert latest._held_bytes == sum(sizes) == sum(latest._held.values())
            assert len(sizes) <= 1 or sum(sizes) <= 100
            assert len(latest._come) <= 6
            assert latest._held.keys() <= latest._come.keys()
            assert not latest._come.keys() & latest._awaited.keys()


# -- what to tell a new peer ----------------------------------------------------------------------


def test_the_latest_are_told_the_newest_first() -> None:
    latest = Latest()
    for number in range(5):
        came(latest, number, now_s=float(number))
    came(latest, 5, None, now_s=5.0)
    latest.add(digest(6), 6.0)
    assert list(latest.held_since(2.0, 9)) == [digest(4), digest(3), digest(2)]
    assert list(latest.held_since(2.0, 2)) == [digest(4), digest(3)]
    assert list(latest.held_since(4.5, 9)) == []


def test_what_was_announced_long_before_it_came_counts_as_late() -> None:
    latest = Latest()
    latest.add(digest(1), 0.0)
    came(latest, 2, now_s=1.0)
    came(latest, 1, now_s=2.0)
    assert list(latest.held_since(1.5, 9)) == [digest(1)]


# -- whom to ask ----------------------------------------------------------------------------------


def peer(number: int, *, far: bool = False) -> Link:
    hello = Hello(1, 1, 0, bytes(32), f"p{number}", bytes(8), "", "", "")
    return Link(number, f"p{number}", False, "", 0.0, 0.0, hello=hello, greeted=True, near=not far)


def asked_in_turn(news: News, count: int) -> list[int]:
    found = []
    for _ in range(count):
        link = news.next_announcer()
        assert link is not None
        news.asked(link)
        found.append(link.id)
    return found


def test_near_peers_are_asked_first_and_then_all_in_turn() -> None:
    news = News(digest(1), 0.0)
    links = [peer(1, far=True), peer(2), peer(3), peer(4, far=True)]
    for link in links:
        news.announced_by(link)
    assert asked_in_turn(news, 9) == [2, 3, 1, 4, 2, 3, 1, 4, 2]
    links[1].closing = links[2].closing = True
    assert asked_in_turn(news, 3) == [1, 4, 1]
    links[0].closing = links[3].closing = True
    assert news.next_announcer() is None


def test_who_announces_it_later_is_asked_before_those_that_were() -> None:
    news = News(digest(1), 0.0)
    news.announced_by(peer(1))
    assert asked_in_turn(news, 1) == [1]
    news.announced_by(peer(2, far=True))
    news.announced_by(peer(3))
    assert asked_in_turn(news, 4) == [3, 2, 1, 3]


def test_so_many_announcers_are_remembered_each_once() -> None:
    news = News(digest(1), 0.0)
    links = [peer(number) for number in range(3 * ANNOUNCERS_MAX)]
    for link in (links[0], *links):
        news.announced_by(link)
    assert news.announcers == links[:ANNOUNCERS_MAX]


def test_a_peer_that_has_it_is_noted_once() -> None:
    news = News(digest(1), 0.0)
    for link in (3, 4, 3):
        news.known_to(link)
    assert news.known == [3, 4]


def test_what_has_come_is_waited_for_no_more() -> None:
    news = News(digest(1), 0.0, pulling=True, patient=True)
    news.arrived(5.0, None, b"x", hops=2, zone=7)
    assert (news.here, news.pulling, news.patient) == (True, False, False)
    assert (news.arrived_s, news.change, news.hops, news.zone) == (5.0, b"x", 2, 7)
