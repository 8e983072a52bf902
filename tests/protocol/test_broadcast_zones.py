"""Broadcast across zones: which far links push is learned for each link and zone of origin, to the exact outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import pytest

from gossipconf.protocol.broadcast import ANNOUNCED_AT_ONCE_OF, ANNOUNCED_OF, NEIGHBOURS_LEAST, RECAP_S
from gossipconf.protocol.eagerness import EAGER_SHARE, LEARNED, Eagerness
from gossipconf.protocol.environment import Send
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.grafts import CREDIT_MAX, NEAR_ENOUGH, NEIGHBOUR_RTTS, PRUNE_S
from gossipconf.protocol.link import FAR_AGREEING
from gossipconf.protocol.messages import (
    AGE_MS_MAX,
    HOPS_MAX,
    Announce,
    Graft,
    Message,
    Ping,
    Prune,
    Pull,
    Push,
    Recap,
    digest_of,
)
from gossipconf.protocol.pulls import FAR_PATIENCE_DELAYS, FAR_PATIENCE_S
from gossipconf.protocol.zone import tag_of
from tests.protocol.wire import Bench, change

NEAR_RTT_S, FAR_RTT_S = 0.002, 0.1
HERE, THERE, YONDER = map(tag_of, ("here", "there", "yonder"))
A_MOMENT_S = 1e-6


@dataclass
class Border:
    """A node of zone `here`, named `m`, with near peers and one far peer for each of some zones."""

    bench: Bench
    near: Sequence[int]
    far: Sequence[int]

    def __post_init__(self) -> None:
        self.fresh = self.numbered()

    def numbered(self) -> Iterator[bytes]:
        """Changes, each of another writer."""
        for number in range(1, 1 << 20):
            yield change(str(number), f"k{number}", incarnation=number.to_bytes(8, "big")).encode()

    def tell(self, link: int, *messages: Message) -> None:
        self.bench.tell(link, *messages)

    def wait(self, duration_s: float) -> None:
        """Let time pass while every peer gives signs of life."""
        while duration_s > 0:
            step_s = min(duration_s, 0.5)
            self.bench.wait(step_s)
            duration_s -= step_s
            for link in (*self.near, *self.far):
                self.tell(link, Ping(1))

    def asked(self, link: int) -> list[Graft | Prune]:
        """What the node has asked a far peer for since the last call."""
        return [one for one in self.bench.said(link) if isinstance(one, Graft | Prune)]

    def spoken(self, link: int) -> list[object]:
        """What it has told of changes since the last call."""
        return [one for one in self.bench.said(link) if isinstance(one, Push | Announce | Pull | Recap)]

    def forget(self) -> None:
        """What was said so far is of no interest."""
        for link in (*self.near, *self.far):
            self.bench.said(link)

    def publish(self) -> bytes:
        """Let the node publish a change."""
        data = next(self.fresh)
        self.bench.node.publish(self.bench.now(), 1, self.bench.node.replica.decode(data))
        self.bench.write()
        return data

    def comes(self, *links: int, zone: int = YONDER) -> bytes:
        """A change comes over these links, one at once after the other."""
        data = next(self.fresh)
        for link in links:
            self.tell(link, Push(2, zone, 0, data))
        return data


def border(
    near: Sequence[str] = ("a", "b"), far: Sequence[str] = ("there", "yonder"), *, label: str = "here"
) -> Border:
    """All links are measured, and every far peer has been asked for pushes, as at a cluster's start."""
    bench = Bench("m", zone=label)
    near_links = [bench.connect(name, zone=label) for name in near]
    far_links = [bench.connect(f"f{number}", zone=zone) for number, zone in enumerate(far)]
    bench.wait(NEAR_RTT_S)
    for link in near_links:
        bench.answer(link, 0.0)
    bench.wait(FAR_RTT_S - NEAR_RTT_S)
    for link in far_links:
        bench.answer(link, 0.0)
    made = Border(bench, near_links, far_links)
    assert [link.near for link in bench.links()] == [True] * len(near) + [False] * len(far)
    made.forget()
    return made


def grafted(made: Border, *links: int) -> Border:
    """The peers of these links have asked for everything."""
    for link in links:
        made.tell(link, Graft(()))
    return made


def believing(made: Border) -> Border:
    """Near peers have brought enough to be believed."""
    for link in made.near:
        for _ in range(CREDIT_MAX + 1):
            made.comes(link, zone=THERE)
    made.forget()
    return made


def losses_until_prune(first: Eagerness | None = None) -> int:
    """How many outcomes a link that never wins stands."""
    link = first or Eagerness(True)
    return next(count for count in range(1, 100) if link.score(YONDER, won=False) is False)


def losses_by_discredit() -> int:
    """And one that always wins and could always be done without."""
    known = Eagerness(True)

    def outcome() -> bool:
        known.score(YONDER, won=True)
        return known.discredit(YONDER) is False

    return next(count for count in range(1, 100) if outcome())


# -- whom to push to ------------------------------------------------------------------------------


def test_a_new_far_peer_is_asked_for_pushes_and_a_near_one_is_not() -> None:
    bench = Bench("m", zone="here")
    near, far = bench.connect("a", zone="here/x"), bench.connect("f", zone="there")
    assert (bench.said(near, Graft), bench.said(far, Graft)) == ([], [Graft(())])


@pytest.mark.parametrize("asks_before", [False, True])
def test_a_peer_without_label_is_asked_once_it_has_turned_out_to_be_far(asks_before: bool) -> None:
    bench = Bench("m")
    link = bench.connect("f")
    if asks_before:  # it has found out first
        bench.tell(link, Graft(()))
    bench.answer(link, FAR_RTT_S, FAR_AGREEING - 1)
    assert bench.said(link, Graft) == []
    bench.answer(link, FAR_RTT_S)
    assert bench.said(link, Graft) == [Graft(())]


def test_once_it_has_good_ones_a_share_of_new_far_peers_is_asked() -> None:
    made = border()
    for _ in range(LEARNED):
        made.comes(made.far[0])
        made.comes(made.far[1], zone=THERE)
    asked = 0
    for number in range(200):
        link = made.bench.connect(f"x{number}", zone="there")
        asked += len(made.bench.said(link, Graft))
        made.bench.lose(link)
    assert 0.5 * EAGER_SHARE < asked / 200 < 1.5 * EAGER_SHARE


def test_what_is_published_here_goes_to_far_peers_that_have_asked_and_to_near_ones() -> None:
    made = border(far=("there", "there", "yonder"))
    made.tell(made.far[0], Graft(()))
    made.tell(made.far[2], Graft((HERE,)))
    data = made.publish()
    pushed = [Push(1, HERE, 0, data)]
    assert [made.spoken(link) for link in made.near] == [pushed, pushed]
    assert [made.spoken(link) for link in made.far] == [pushed, [], pushed]


def test_graft_and_prune_move_the_zones_that_they_name() -> None:
    made = border()
    link = made.far[0]
    pushes = []
    for message in (Graft((YONDER,)), Graft(()), Prune((YONDER,)), Prune(()), Graft((HERE, YONDER)), Prune((HERE,))):
        made.tell(link, message)
        mine, theirs = made.publish(), made.comes(made.far[1])
        came = [one.change for one in made.spoken(link) if isinstance(one, Push)]
        pushes.append((mine in came, theirs in came))
    assert pushes == [(False, True), (True, True), (True, False), (False, False), (True, True), (False, True)]


def test_nothing_goes_back_to_the_zone_that_it_is_from() -> None:
    made = border(far=("there", "yonder", "yonder"))
    grafted(made, *made.far)
    data = made.comes(made.far[1])
    assert [made.spoken(link) for link in made.far] == [[Push(3, YONDER, 0, data)], [], []]


def test_what_is_from_nowhere_goes_to_far_peers_of_unknown_zones_too() -> None:
    """Its origin knows nobody far, and they have not told their tags."""
    made = border(far=("there",))
    bare = made.bench.connect("g", zone="")
    made.bench.answer(bare, FAR_RTT_S, FAR_AGREEING)
    grafted(made, *made.far, bare)
    made.bench.said(bare)
    data = made.comes(made.near[0], zone=0)
    assert made.spoken(bare) == made.spoken(made.far[0]) == [Push(3, 0, 0, data)]


def test_what_comes_from_afar_is_pushed_to_near_peers_and_by_them_announced() -> None:
    made = border()
    from_far, from_near = made.comes(made.far[1]), next(made.fresh)
    made.tell(made.near[0], Push(3, YONDER, 0, from_far))
    made.tell(made.near[0], Push(3, YONDER, 0, from_near))
    assert made.spoken(made.near[0]) == [Push(3, YONDER, 0, from_far)]
    assert made.spoken(made.near[1]) == [Push(3, YONDER, 0, from_far), Announce((digest_of(from_near),))]


def test_what_is_pushed_to_many_is_encoded_once_for_each_kind() -> None:
    made = border(near=("a", "b", "c"), far=("there", "there", "yonder"))
    grafted(made, *made.far)
    made.bench.drain(Send)
    made.publish()
    sent = [one for one in made.bench.drain(Send) if one.frame_class is FrameClass.BROADCAST]
    assert [one.link for one in sent] == [*made.near, *made.far]
    assert len({id(one.message) for one in sent}) == 2


def test_a_far_peer_whose_queue_was_full_is_told_instead_of_pushed_to() -> None:
    made = border()
    slow = made.far[0]
    made.tell(slow, Graft(()))
    made.bench.node.dropped(made.bench.now(), slow, FrameClass.BROADCAST)
    data = made.comes(made.far[1])
    assert made.spoken(slow) == [Announce((digest_of(data),))]


# -- recaps ---------------------------------------------------------------------------------------


def test_of_what_is_not_pushed_a_share_is_told_later_in_one_message_with_its_age() -> None:
    made = border()
    expected: list[tuple[bytes, float]] = []
    link = made.far[0]
    begin_s = made.bench.now_s
    for _ in range(10 * ANNOUNCED_OF):
        digest = digest_of(made.comes(made.far[1]))
        if (digest[0] + link) % ANNOUNCED_OF == ANNOUNCED_OF // 2:
            expected.append((digest, made.bench.now_s))
            if len(expected) == 1:
                begin_s = made.bench.now_s
        made.bench.wait(0.25 * RECAP_S / ANNOUNCED_OF / 10)
        assert not expected or made.bench.now_s < begin_s + RECAP_S
    assert 2 < len(expected) < 3 * 10, "about one in ANNOUNCED_OF"
    made.bench.wait(begin_s + RECAP_S - A_MOMENT_S - made.bench.now_s)
    assert made.spoken(link) == []
    made.bench.wait(2 * A_MOMENT_S)
    (recap,) = made.spoken(link)
    assert isinstance(recap, Recap)
    assert recap.digests == tuple(digest for digest, _ in expected)
    ages_ms = [1000 * (begin_s + RECAP_S - at_s) for _, at_s in expected]
    assert list(recap.ages_ms) == pytest.approx(ages_ms, abs=1.01)
    made.bench.wait(3 * RECAP_S)
    assert made.spoken(link) == []


@pytest.mark.parametrize("neighbours", [NEIGHBOURS_LEAST - 1, NEIGHBOURS_LEAST])
def test_of_what_nobody_pushes_a_share_is_told_at_once_to_zones_of_several_nodes(neighbours: int) -> None:
    made = border()
    link = made.far[0]
    for number in range(neighbours - 1):  # beside the peer itself
        made.bench.node.overlay.book.learn(f"there{number}:1", Random(0), THERE)
    told = []
    for _ in range(4 * ANNOUNCED_AT_ONCE_OF):
        digest = digest_of(made.comes(made.far[1]))
        at_once = (digest[0] + link) % ANNOUNCED_AT_ONCE_OF == 0 and neighbours >= NEIGHBOURS_LEAST
        assert made.spoken(link) == ([Announce((digest,))] if at_once else [])
        told.append(at_once)
    assert any(told) == (neighbours >= NEIGHBOURS_LEAST)


def test_what_a_recap_tells_and_is_not_here_is_pulled() -> None:
    made = border()
    missing, here = digest_of(next(made.fresh)), digest_of(made.comes(made.far[1]))
    made.forget()
    made.tell(made.far[0], Recap((missing, here), (500, 500)))
    assert made.spoken(made.far[0]) == [Pull((missing,))]
    made.tell(made.far[0], Recap((missing,), (500,)))
    assert made.spoken(made.far[0]) == [], "it is being pulled"


# -- learning -------------------------------------------------------------------------------------


def pruned(made: Border, winner: int, loser: int) -> Eagerness:
    """Let a link lose until it is pruned; what the node knows of it then."""
    known = Eagerness(True)
    for _ in range(losses_until_prune(known)):
        assert made.asked(loser) == []
        made.comes(winner, loser)
    known.asked_for(YONDER, eager=False)
    made.wait(PRUNE_S + A_MOMENT_S)
    assert made.asked(loser) == [Prune((YONDER,))]
    return known


def test_a_link_that_brings_only_copies_is_pruned_after_a_few() -> None:
    made = border(far=("there", "there"))
    winner, loser = made.far
    pruned(made, winner, loser)
    made.comes(winner, loser, zone=THERE)
    made.wait(PRUNE_S + A_MOMENT_S)
    assert (made.asked(winner), made.asked(loser)) == ([], [])


def test_prunes_of_a_moment_go_in_one_message() -> None:
    made = border(far=("there", "there"))
    winner, loser = made.far
    for _ in range(losses_until_prune()):
        for zone in (YONDER, THERE):
            made.comes(winner, loser, zone=zone)
    made.wait(PRUNE_S - 2 * A_MOMENT_S)
    assert made.asked(loser) == []
    made.wait(4 * A_MOMENT_S)
    assert made.asked(loser) == [Prune((YONDER, THERE))]


def recapped(made: Border, winner: int, teller: int, *, late_s: float) -> None:
    """A change comes over one link, and a far peer tells that it had it so much later, or earlier."""
    data = made.comes(winner)
    made.bench.wait(0.2)
    made.tell(teller, Recap((digest_of(data),), (round(1000 * (0.2 - late_s)),)))


def test_a_link_that_would_have_been_earlier_is_grafted() -> None:
    made = border(far=("there", "there"))
    winner, other = made.far
    known = pruned(made, winner, other)
    wins = next(count for count in range(1, 100) if known.score(YONDER, won=True))
    for _ in range(wins):
        assert made.asked(other) == []
        recapped(made, winner, other, late_s=-0.01)
    assert made.asked(other) == [Graft((YONDER,))]
    known.asked_for(YONDER, eager=True)
    for _ in range(losses_until_prune(known)):
        assert made.asked(other) == []
        made.comes(winner, other)
    made.wait(PRUNE_S + A_MOMENT_S)
    assert made.asked(other) == [Prune((YONDER,))], "who was just grafted stands some outcomes, and no more"


def test_a_link_that_would_have_been_later_stays_as_it_is() -> None:
    made = border(far=("there", "there"))
    winner, other = made.far
    pruned(made, winner, other)
    for late_s in (0.01, 0.0, 0.1) * 10:
        recapped(made, winner, other, late_s=late_s)
    assert made.asked(other) == []


def test_who_wins_again_before_the_prune_is_sent_is_not_pruned() -> None:
    made = border(far=("there", "there"))
    winner, other = made.far
    known = Eagerness(True)
    for _ in range(losses_until_prune(known)):
        data = made.comes(winner, other)
    known.asked_for(YONDER, eager=False)
    made.bench.wait(PRUNE_S / 2)
    wins = next(count for count in range(1, 100) if known.score(YONDER, won=True))
    for _ in range(wins):
        made.tell(other, Recap((digest_of(data),), (AGE_MS_MAX,)))
    made.wait(2 * PRUNE_S)
    assert made.asked(other) == [Graft((YONDER,))]


def test_what_a_new_peer_tells_of_the_time_before_it_was_one_teaches_nothing() -> None:
    made = border(far=("there",))
    digests = tuple(digest_of(made.comes(made.far[0])) for _ in range(50))
    made.bench.wait(0.1)
    new = made.bench.connect("g", zone="there")
    assert made.bench.said(new, Graft) == [Graft(())]
    made.tell(new, Announce(digests))
    made.wait(2 * PRUNE_S)
    assert made.asked(new) == []
    pruned(made, made.far[0], new)


def test_a_zone_gets_what_two_neighbours_get_from_afar_through_one_of_them() -> None:
    """Of two that get it at once the one with the larger name does without; the other must not think so too."""
    expected = losses_by_discredit()
    for neighbours, late_s, prunes in (
        (("a", "b"), 0.0, True),
        (("a", "b"), NEIGHBOUR_RTTS * NEAR_RTT_S - A_MOMENT_S, True),
        (("a", "b"), NEIGHBOUR_RTTS * NEAR_RTT_S + A_MOMENT_S, False),  # it may have it from here
        (("x", "y"), 0.0, False),
    ):
        made = border(near=neighbours, far=("there", "there"))
        for count in range(1, expected + 1):
            data = made.comes(made.far[0])
            made.bench.wait(late_s)
            for link in made.near:  # both: it counts once
                made.tell(link, Push(3, YONDER, 0, data))
            made.wait(PRUNE_S + A_MOMENT_S)
            asked = made.asked(made.far[0])
            assert asked == ([Prune((YONDER,))] if prunes and count == expected else [])
            made.tell(made.near[0], Push(3, YONDER, 0, data))


@pytest.mark.parametrize(
    ("late_s", "counts"),
    [(0.0, True), (NEIGHBOUR_RTTS * NEAR_RTT_S - A_MOMENT_S, True), (NEIGHBOUR_RTTS * NEAR_RTT_S + A_MOMENT_S, False)],
)
def test_a_near_peer_that_tells_of_a_change_has_it_by_an_earlier_way(late_s: float, counts: bool) -> None:
    """Unless it may have it from here."""
    made = believing(border(near=("x", "y"), far=("there", "there")))
    outcomes = losses_by_discredit()
    for _ in range(outcomes):
        assert made.asked(made.far[0]) == []
        data = made.comes(made.far[0])
        made.bench.wait(late_s)
        for link in made.near:  # both: it counts once
            made.tell(link, Announce((digest_of(data),)))
        made.wait(PRUNE_S + A_MOMENT_S)
    assert made.asked(made.far[0]) == ([Prune((YONDER,))] if counts else [])


def test_what_a_near_peer_has_told_of_before_it_came_from_afar_is_lost() -> None:
    made = believing(border(near=("x", "y"), far=("there", "there")))
    for _ in range(losses_until_prune()):
        assert made.asked(made.far[0]) == []
        data = next(made.fresh)
        made.tell(made.near[0], Announce((digest_of(data),)))
        made.tell(made.far[0], Push(2, YONDER, 0, data))
        made.tell(made.near[1], Push(2, YONDER, 1, data))  # it counts once
        made.wait(PRUNE_S + A_MOMENT_S)
    assert made.asked(made.far[0]) == [Prune((YONDER,))]


@pytest.mark.parametrize("before", [True, False])
def test_the_word_of_a_near_peer_that_brings_nothing_does_not_count(before: bool) -> None:
    made = believing(border(near=("x", "y"), far=("there", "there")))
    counted = 0
    for _ in range(3 * CREDIT_MAX):
        data = next(made.fresh)
        told = [(made.near[0], Announce((digest_of(data),))), (made.far[0], Push(2, YONDER, 0, data))]
        for link, message in told if before else reversed(told):
            made.tell(link, message)
        made.wait(PRUNE_S + A_MOMENT_S)
        counted += made.bench.node.broadcast._latest.get(digest_of(data)).discredited
    assert counted == CREDIT_MAX
    assert made.bench.node.broadcast._grafts._of(made.bench.links()[2]).wins(YONDER) > 0.9


@pytest.mark.parametrize("near", range(1, NEAR_ENOUGH + 1))
def test_a_node_with_few_near_peers_keeps_the_last_far_peer_that_pushes(near: int) -> None:
    made = border(near=("a", "b", "c")[:near], far=("there",))
    for _ in range(3 * losses_until_prune()):
        made.comes(made.near[0], made.far[0])
    made.wait(2 * PRUNE_S)
    assert made.asked(made.far[0]) == ([Prune((YONDER,))] if near >= NEAR_ENOUGH else [])


def test_of_two_far_peers_that_bring_only_copies_such_a_node_keeps_one() -> None:
    made = border(near=("a",), far=("there", "there"))
    for _ in range(3 * losses_until_prune()):
        made.comes(made.near[0], *made.far)
    made.wait(2 * PRUNE_S)
    assert [made.asked(link) for link in made.far] == [[Prune((YONDER,))], []]


@pytest.mark.parametrize("near", range(NEAR_ENOUGH + 1))
def test_where_a_node_relied_on_a_lost_far_peer_the_next_best_is_asked(near: int) -> None:
    made = border(near=("a", "b", "c")[:near], far=("there", "there", "there"))
    first, worse, better = made.far
    pruned(made, first, worse)
    pruned(made, first, better)
    recapped(made, first, better, late_s=-0.01)
    made.forget()
    made.bench.lose(first)
    made.far = [worse, better]
    assert made.asked(worse) == []
    assert made.asked(better) == ([Graft((YONDER,))] if near < NEAR_ENOUGH else [])


def test_where_others_push_anyway_nobody_replaces_a_lost_far_peer() -> None:
    made = border(near=(), far=("there", "there", "there"))
    first, lazy, eager = made.far
    pruned(made, first, lazy)
    made.bench.lose(first)
    assert (made.asked(lazy), made.asked(eager)) == ([], [])


# -- announcements from afar ----------------------------------------------------------------------

PATIENCE_S = FAR_PATIENCE_S + FAR_PATIENCE_DELAYS * FAR_RTT_S / 2


def test_what_a_far_peer_announces_may_still_come_by_push() -> None:
    made = border()
    data = next(made.fresh)
    made.tell(made.far[0], Announce((digest_of(data),)))
    made.tell(made.far[0], Announce((digest_of(data),)))
    made.bench.wait(PATIENCE_S - A_MOMENT_S)
    assert made.spoken(made.far[0]) == []
    made.bench.wait(2 * A_MOMENT_S)
    assert made.spoken(made.far[0]) == [Pull((digest_of(data),))]

    data = next(made.fresh)
    made.tell(made.far[0], Announce((digest_of(data),)))
    made.tell(made.far[1], Push(2, YONDER, 0, data))
    made.bench.wait(2 * PATIENCE_S)
    assert made.spoken(made.far[0]) == []


def test_a_near_peer_that_announces_it_meanwhile_is_asked_at_once() -> None:
    made = border()
    digest = digest_of(next(made.fresh))
    made.tell(made.far[0], Announce((digest,)))
    made.tell(made.near[0], Announce((digest,)))
    assert made.spoken(made.near[0]) == [Pull((digest,))]
    made.bench.wait(PATIENCE_S + A_MOMENT_S)
    assert made.spoken(made.far[0]) == [Pull((digest,))], "the near one has not answered"


def test_who_pulls_over_a_far_link_is_pushed_to_from_then_on() -> None:
    made = border()
    link = made.far[0]
    data = made.comes(made.far[1])
    made.forget()
    made.tell(link, Pull((digest_of(data),)))
    assert made.spoken(link) == [Push(3, YONDER, HOPS_MAX, data)]
    again = made.comes(made.far[1])
    assert made.spoken(link) == [Push(3, YONDER, 0, again)]
    made.publish()
    assert made.spoken(link) == [], "of that zone only"


def test_what_was_pulled_from_afar_is_pushed_to_near_peers() -> None:
    """It begins its way through this zone here."""
    made = border()
    data = next(made.fresh)
    made.tell(made.far[0], Announce((digest_of(data),)))
    made.bench.wait(PATIENCE_S + A_MOMENT_S)
    made.forget()
    made.tell(made.far[0], Push(2, YONDER, HOPS_MAX, data))
    assert [made.spoken(link) for link in made.near] == [[Push(3, YONDER, 0, data)]] * 2
