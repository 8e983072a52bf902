"""Acks: whatever happens to links and nodes, a tally at rest is the truth; and nobody can make a cluster shout."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.errors import InvalidInput, LimitExceeded
from gossipconf.protocol.acks import (
    ALL_BURST,
    ALL_PER_S,
    ASK_S_MAX,
    ENDED_MAX,
    HELD_MAX,
    LINK_BURST,
    LINK_PER_S,
    OWN_MAX,
    RESEND_S,
    SETTLE_S,
)
from gossipconf.protocol.asker import EPOCHS_BURST, EPOCHS_PER_S, PATIENCE_S
from gossipconf.protocol.environment import Send
from gossipconf.protocol.events import AckProgress
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import HOPS_MAX, Ask, Cancel, Report, decode_message, encode_message
from gossipconf.protocol.question import PAUSE_LEAST_S, Question
from gossipconf.protocol.subject import Subject
from gossipconf.protocol.tally import COUNT_MAX, NAMES_MAX, Tally
from gossipconf_sim.run.checkers import NOTICED_S, counted
from tests.protocol.wire import Bench, Tapped, change

ACKS = (Ask, Report, Cancel)
LEASE_S = 60.0


class Cluster(Tapped):
    """Hosts with links made by hand, old enough to count."""

    def __init__(self, count: int, edges: list[tuple[int, int]], *, seed: int = 0, **options: Any) -> None:
        self.host_names = [f"n{number:02d}" for number in range(count)]
        super().__init__(*self.host_names, seed=seed, dials=False, **options)
        for one, other in edges:
            self.wire(self.host_names[one], self.host_names[other])
        self.run(SETTLE_S + 0.5)
        self.sent.clear()

    def question(self, name: str) -> Question:
        (found,) = self.node(name).acks.questions()
        return found

    def told(self, name: str) -> AckProgress:
        """What the only asker there was told last."""
        return self.events_of(name, AckProgress)[-1]

    def check(self) -> None:
        self.run(NOTICED_S + 1)
        assert counted(self) == []


def path(count: int) -> list[tuple[int, int]]:
    return [(number, number + 1) for number in range(count - 1)]


def ring(count: int) -> list[tuple[int, int]]:
    return [*path(count), (0, count - 1)]


# -- one question, nothing goes wrong --------------------------------------------------------------


def test_nobody_says_anything_while_nobody_asks() -> None:
    world = Cluster(4, ring(4))
    world.publish_value("n00", "a", "1")
    world.run(30)
    assert world.since(0.0, *ACKS) == []


def test_an_asker_knows_who_has_applied_a_change_and_who_has_not() -> None:
    world = Cluster(5, [(0, 1), (1, 2), (2, 3)])  # the last one is alone
    missed = world.publish_value("n04", "b", "1")
    world.run(1)
    world.ask("n00", Subject.of([missed], world.node("n04").replica.live), LEASE_S)
    world.run(1)
    told = world.told("n00")
    assert (told.applied, told.total, told.complete) == (0, 4, True)
    assert told.missing == ("n00", "n01", "n02", "n03")
    world.wire("n04", "n03")  # and as it comes to them, the asker sees it
    world.run(5)
    told = world.told("n00")
    assert (told.applied, told.total, told.missing, told.complete) == (5, 5, (), True)
    world.check()


def test_one_that_is_alone_knows_at_once() -> None:
    world = Cluster(1, [])
    world.ask("n00", Subject(), LEASE_S)
    assert world.told("n00") == AckProgress(1, 1, 1, (), (), False, (), complete=True)


def test_in_peace_each_link_carries_one_word_each_way_and_each_node_reports_once() -> None:
    edges = [*ring(8), (0, 4), (1, 5), (2, 6)]
    world = Cluster(8, edges)
    world.ask("n00", Subject(), LEASE_S)
    world.run(1)
    assert world.told("n00").total == 8
    assert len(world.since(0.0, Report)) == 7
    assert len(world.since(0.0, Ask)) == 2 * len(edges) - 7


def test_zones_are_counted() -> None:
    world = Cluster(0, [])
    for name, zone in (("a", "eu"), ("b", "eu"), ("c", "us"), ("d", "")):
        world.add(name, zone=zone)
    for name in "bcd":
        world.wire("a", name)
    world.run(SETTLE_S + 0.5)
    world.ask("d", Subject(), LEASE_S)
    world.run(1)
    assert world.told("d").zones == (("eu", 2, 2), ("us", 1, 1))
    assert world.told("d").total == 4


def test_a_cancelled_question_is_forgotten_by_all_and_does_not_come_back() -> None:
    world = Cluster(6, ring(6))
    number = world.ask("n00", Subject(), LEASE_S)
    world.run(1)
    world.cancel("n00", number)
    world.run(1)
    assert [node.acks.questions() for node in world.running()] == [[]] * 6
    late = world.since(0.0, Ask)[0]
    world.node("n03").received(world._clock(world.hosts["n03"]), _a_link(world, "n03"), _bytes(late.message))
    assert world.node("n03").acks.questions() == []
    world.cancel("n00", number)  # twice does no harm


def test_a_question_ends_with_its_lease_even_if_the_asker_has_vanished() -> None:
    world = Cluster(4, path(4))
    world.ask("n00", Subject(), 20.0)
    world.run(1)
    world.crash("n00")
    world.run(10)
    assert len(world.node("n03").acks.questions()) == 1
    world.run(10)
    assert [node.acks.questions() for node in world.running()] == [[]] * 3


def test_a_long_question_is_renewed() -> None:
    world = Cluster(3, path(3))
    world.ask("n00", Subject(), 300.0)
    world.run(280)
    assert len(world.node("n02").acks.questions()) == 1
    assert len(world.events_of("n00", AckProgress)) <= 3, "a renewal is nothing that the owner need be told of"
    world.check()
    world.run(30)
    assert all(not node.acks.questions() for node in world.running())


# -- losses ---------------------------------------------------------------------------------------


def test_a_lost_parent_is_replaced_without_a_new_epoch() -> None:
    world = Cluster(4, ring(4))
    world.ask("n00", Subject(), LEASE_S)
    world.run(1)
    world.reset_link(world.question("n02").sides[world.question("n02").parent].link.node_id, "n02")  # type: ignore[index]
    world.run(2)
    assert (world.told("n00").total, world.told("n00").complete) == (4, True)
    assert world.question("n00").epoch == 1
    world.check()


def test_who_has_nobody_above_goes_below_another() -> None:
    """n01 hangs on the asker and has a child; when it loses the asker, only those below it are left."""
    world = Cluster(4, [(0, 1), (1, 2), (0, 3), (3, 2)])
    world.ask("n00", Subject(), LEASE_S)
    world.run(1)
    for child in ("n01", "n03"):
        world.reset_link("n00", child)
        world.run(1.0)
        world.wire("n00", child)
        world.run(2)
        assert (world.told("n00").total, world.told("n00").complete) == (4, True)
        world.check()


def test_a_crashed_node_counts_no_more() -> None:
    world = Cluster(5, ring(5))
    world.ask("n00", Subject(), LEASE_S)
    world.run(1)
    world.crash("n02")
    world.run(3)
    assert (world.told("n00").total, world.told("n00").complete) == (4, True)


def test_a_paused_peer_is_called_silent_and_holds_nobody_up() -> None:
    world = Cluster(5, [(0, 1), (1, 2), (1, 3), (3, 4)])
    world.pause("n02")
    world.ask("n00", Subject(), LEASE_S)
    world.run(0.5)
    told = world.told("n00")
    assert (told.total, told.silent, told.complete) == (4, (), False), "the others are known at once"
    world.run(PATIENCE_S)
    told = world.told("n00")
    assert (told.total, told.silent, told.complete) == (4, ("n02",), False)
    world.resume("n02")
    world.run(5)
    told = world.told("n00")
    assert (told.total, told.silent, told.complete) == (5, (), True)


def test_a_report_that_finds_the_queue_full_is_sent_again() -> None:
    world = Cluster(2, path(2))
    change_ = world.publish_value("n01", "a", "1")
    world.ask("n00", Subject.of([change_], world.node("n01").replica.live), LEASE_S)
    world.run(0.2)
    node = world.node("n01")
    (link,) = node.links()
    now = world._clock(world.hosts["n01"])
    before = len(world.since(0.0, Report))
    node.dropped(now, link.id, FrameClass.ACK)
    world._settle(world.hosts["n01"])
    world.run(RESEND_S + 0.1)
    assert len(world.since(0.0, Report)) == before + 1


STEPS = ("cut", "crash", "silent", "restart", "join", "wire", "publish", "pause")


@st.composite
def stories(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[tuple[float, str, int, int]]]:
    """A connected graph, and what happens to it: when (s after the question), what, to whom."""
    count = draw(st.integers(2, 10))
    tree = [(draw(st.integers(0, number - 1)), number) for number in range(1, count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    more = draw(st.lists(pairs, max_size=2 * count))
    edges = sorted({*tree, *more})
    step = st.tuples(
        st.one_of(st.sampled_from([0.0, 0.0005, 0.001, 0.002]), st.floats(0.0, 3.0)),
        st.sampled_from(STEPS),
        st.integers(0, 99),
        st.integers(0, 99),
    )
    return count, edges, sorted(draw(st.lists(step, max_size=8)))


def _happen(world: Cluster, kind: str, first: int, second: int) -> None:
    running = [host.name for host in world.honest()]
    one, other = running[first % len(running)], running[second % len(running)]
    match kind:
        case "cut":
            wires = list(world.network.wires())
            if wires:
                world.network.reset(wires[first % len(wires)], "cut")
        case "crash" | "silent" if one != "n00":
            world.crash(one, silent=kind == "silent")
        case "restart" if one != "n00":
            world.crash(one)
            world.start(one)
            world.wire(one, running[(first + 1) % len(running)])
        case "join":
            name = f"x{len(world.hosts):02d}"
            world.add(name)
            world.wire(name, one)
        case "wire" if one != other and not any(link.node_id == other for link in world.node(one).links()):
            world.wire(one, other)
        case "publish":
            world.publish_value(one, "k", str(first))
        case "pause" if one != "n00":
            world.pause(one)
            world.schedule.later(2.0, world.resume, one)


@settings(max_examples=150)
@given(stories(), st.integers(0, 3))
def test_at_rest_a_tally_is_the_truth(story: Any, seed: int) -> None:
    count, edges, steps = story
    world = Cluster(count, edges, seed=seed)
    asked = change("1", key="k")
    world.inject(world.host_names[-1], asked)  # one has it, nobody else has heard of it yet
    world.ask("n00", Subject.of([asked], world.node(world.host_names[-1]).replica.live), 200.0)
    for at_s, kind, first, second in steps:
        world.schedule.later(at_s, _happen, world, kind, first, second)
    world.run(60)
    (asker,) = world.node("n00").acks.askers()
    assert asker.told is not None
    assert asker.told.complete, asker.tally
    assert asker.question.epoch <= EPOCHS_BURST + EPOCHS_PER_S * 60 + 3
    world.check()
    _check_tree(world, asker.question)


def _check_tree(world: Cluster, own: Question) -> None:
    """Every way along parents ends at the asker, and each node is a child exactly of its parent."""
    questions = {
        node.identity.node_id: one for node in world.running() for one in node.acks.questions() if one.id == own.id
    }
    parents = {
        name: None if one.parent is None else one.sides[one.parent].link.node_id for name, one in questions.items()
    }
    for name in _connected(world, own.name):
        seen = []
        while (parent := parents[name]) is not None:
            assert name not in seen, f"a loop: {seen}"
            seen.append(name)
            name = parent  # noqa: PLW2901 - walked upwards
        assert name == own.name
    children = [
        (side.link.node_id, name) for name, one in questions.items() for side in one.sides.values() if side.report
    ]
    assert sorted(children) == sorted((child, parent) for child, parent in parents.items() if parent is not None)


def _connected(world: Cluster, start: str) -> list[str]:
    found = [start]
    for name in found:
        found += [link.node_id for link in world.node(name).links() if link.node_id not in found]
    return found


# -- costs ----------------------------------------------------------------------------------------


def test_bytes_grow_with_the_nodes_and_stay_flat_on_each_link() -> None:
    figures = []
    for count in (20, 80):
        edges = sorted({*ring(count), *((number, (number * 7 + 3) % count) for number in range(count))})
        world = Cluster(count, [pair for pair in edges if pair[0] != pair[1]])
        missed = change("1", key="k")
        live = Bench().node.replica.live
        world.ask("n00", Subject.of([missed], live), LEASE_S)  # nobody has it, so that all names are told
        world.run(5)
        assert world.told("n00").total == count
        sent = world.since(0.0, *ACKS)
        links: dict[tuple[str, str], int] = {}
        for one in sent:
            pair = (min(one.sender, one.receiver), max(one.sender, one.receiver))
            links[pair] = links.get(pair, 0) + one.bytes
        figures.append((sum(one.bytes for one in sent) / count, max(links.values())))
    (each, most), (later_each, later_most) = figures
    assert later_each < 1.5 * each
    assert later_most < most + NAMES_MAX * 5


def test_more_names_than_are_told_are_sampled_and_the_counts_stay() -> None:
    count = NAMES_MAX + 20
    world = Cluster(count, path(count))
    world.ask("n00", Subject.of([change("1")], Bench().node.replica.live), LEASE_S)
    world.run(2)
    told = world.told("n00")
    assert (told.applied, told.total, len(told.missing), told.complete) == (0, count, NAMES_MAX, True)
    assert set(told.missing) <= set(world.host_names)
    world.check()


def test_the_reports_of_a_burst_are_few() -> None:
    """A child that changes its mind without end costs the parent four reports a second."""
    bench, asker, child = _between()
    for number in range(4_000):
        bench.tell(child, _report(bench, total=1 + number % 2))
        bench.wait(0.001)
    assert 10 < len(bench.said(asker, Report)) < 50


# -- limits against peers who mean ill -------------------------------------------------------------


def _ask(question: int, *, epoch: int = 1, depth: int = 0, again: bool = False, lease_ms: int = 60_000) -> Ask:
    return Ask(question.to_bytes(8, "big"), epoch, depth, Subject(), lease_ms, 60_000, again)


def _report(bench: Bench, **counts: Any) -> Report:
    (question,) = bench.node.acks.questions()
    return Report(question.id, question.epoch, Tally(**({"applied": 0, "total": 1} | counts)))


def _between() -> tuple[Bench, int, int]:
    """A node with an asker on one side and another peer on the other."""
    bench = Bench()
    asker, child = bench.connect("asker"), bench.connect("child")
    bench.wait(SETTLE_S + 0.1)
    bench.tell(asker, _ask(1))
    bench.said(asker)
    return bench, asker, child


def _bytes(message: Any) -> bytes:
    return encode_message(message)


def _a_link(world: Cluster, name: str) -> int:
    return world.node(name).links()[0].id


def test_new_questions_and_epochs_are_relayed_at_a_bounded_rate() -> None:
    bench = Bench()
    hostile = [bench.connect(f"hostile{number}") for number in range(6)]
    honest = bench.connect("honest")
    bench.wait(SETTLE_S + 0.1)
    for link in (*hostile, honest):
        bench.said(link)
    seconds = 9
    number = 0
    for _ in range(seconds * 10):
        for link in hostile:
            number += 1
            bench.tell(link, _ask(number), _ask(1 + number % 7, epoch=number + 2))
        bench.wait(0.1)
    assert len(bench.said(honest, Ask)) <= ALL_BURST + ALL_PER_S * seconds + 1
    assert len(bench.node.acks.questions()) <= HELD_MAX
    bench.tell(honest, _ask(1 << 40))  # who asks seldom is heard all the same, if not at once
    bench.wait(5)
    bench.tell(honest, _ask(1 << 40))
    assert any(one.id == (1 << 40).to_bytes(8, "big") for one in bench.node.acks.questions())


def test_one_link_cannot_use_up_the_rate_of_all() -> None:
    bench = Bench()
    hostile, honest = bench.connect("hostile"), bench.connect("honest")
    bench.wait(SETTLE_S + 0.1)
    for number in range(200):
        bench.tell(hostile, _ask(number))
    assert len(bench.node.acks.questions()) == LINK_BURST
    bench.tell(honest, _ask(1_000))
    assert len(bench.node.acks.questions()) == LINK_BURST + 1


def test_of_too_many_questions_those_of_the_busiest_link_give_way() -> None:
    bench = Bench()
    honest, hostile = bench.connect("honest"), bench.connect("hostile")
    bench.wait(SETTLE_S + 0.1)
    bench.tell(honest, _ask(0))
    bench.node.ask(bench.now(), Subject(), LEASE_S)
    for number in range(1, 200):
        bench.tell(hostile, _ask(number))
        bench.wait(1 / LINK_PER_S)
        bench.tell(honest, _ask(0, epoch=1 + number))  # its lease is renewed
    ids = [one.id for one in bench.node.acks.questions()]
    assert (0).to_bytes(8, "big") in ids
    assert len(ids) <= HELD_MAX + 1


def test_an_unknown_question_an_old_epoch_and_a_stranger_are_not_heard() -> None:
    bench, asker, child = _between()
    (question,) = bench.node.acks.questions()
    bench.tell(child, Report(b"unknown!", 1, Tally(5, 5)))
    bench.tell(child, Report(question.id, 0, Tally(5, 5)), Report(question.id, 2, Tally(5, 5)))
    bench.tell(child, Cancel(question.id))  # not from the parent
    bench.tell(child, Ask(question.id, 0, 0, Subject(), 60_000, 3_000, False))
    bench.wait(0.2)
    assert [one.id for one in bench.node.acks.questions()] == [question.id]
    assert [one.tally.total for one in bench.said(asker, Report)] == [1]
    bench.tell(asker, Cancel(question.id))
    assert bench.node.acks.questions() == []


def test_a_liar_reaches_the_highest_number_and_no_further() -> None:
    bench, asker, child = _between()
    other = bench.connect("other")
    bench.wait(SETTLE_S + 0.1)
    bench.tell(child, _report(bench, applied=COUNT_MAX, total=COUNT_MAX))
    bench.tell(other, _report(bench, applied=0, total=COUNT_MAX, missing=("somebody",)))
    bench.wait(1)
    tally = bench.said(asker, Report)[-1].tally
    assert (tally.applied, tally.total, tally.missing) == (COUNT_MAX, COUNT_MAX, ())
    assert bench.closed(asker) is None


def test_a_report_from_the_parent_makes_no_loop() -> None:
    bench, asker, child = _between()
    bench.tell(child, _ask(1, depth=0))  # it could be the parent too
    bench.said(child)
    bench.tell(asker, _report(bench, total=7))  # the parent calls itself a child
    (question,) = bench.node.acks.questions()
    assert question.parent == child
    bench.wait(0.1)
    assert bench.said(child, Report)[-1].tally.total == 8


def test_the_depths_that_are_relayed_end() -> None:
    bench, _, child = _between()
    bench.tell(child, _ask(2, depth=HOPS_MAX), _ask(3, depth=HOPS_MAX - 1), _ask(4, lease_ms=0))
    assert len(bench.node.acks.questions()) == 1


def test_a_question_that_somebody_else_leads_on_is_asked_anew() -> None:
    bench = Bench()
    peer = bench.connect("peer")
    bench.wait(SETTLE_S + 0.1)
    number = bench.node.ask(bench.now(), Subject(), LEASE_S)
    (first,) = bench.said(peer, Ask)
    bench.tell(peer, Ask(first.question, 1 << 30, 0, Subject(), 60_000, 3_000, False))
    (second,) = bench.said(peer, Ask)
    assert second.question != first.question
    bench.tell(peer, Report(second.question, second.epoch, Tally(1, 1)))
    (asker,) = bench.node.acks.askers()
    assert asker.told is not None
    assert (asker.told.question, asker.told.total, asker.told.complete) == (number, 2, True)
    for _ in range(100):  # and he cannot make it ask without end
        bench.tell(peer, Ask(asker.question.id, 1 << 30, 0, Subject(), 60_000, 3_000, False))
    assert len(bench.said(peer, Ask)) <= EPOCHS_BURST


def test_who_asks_again_and_again_is_not_told_again_and_again() -> None:
    bench, asker, child = _between()
    bench.tell(child, _report(bench))
    bench.wait(0.1)
    bench.said(asker)
    for _ in range(100):
        bench.tell(asker, _ask(1, again=True))
        bench.wait(0.01)
    assert len(bench.said(asker, Report)) <= 2


def test_the_ends_that_are_remembered_are_bounded() -> None:
    bench = Bench()
    for _ in range(ENDED_MAX + 50):
        bench.node.cancel(bench.now(), bench.node.ask(bench.now(), Subject(), LEASE_S))
    assert len(bench.node.acks._ended) == ENDED_MAX


# -- the owner ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lease_s", [0.0, -1.0, ASK_S_MAX + 1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(lease_s: float) -> None:
    bench = Bench()
    with pytest.raises(InvalidInput, match="at most 3600 s"):
        bench.node.ask(bench.now(), Subject(), lease_s)


def test_a_node_asks_so_many_questions_at_a_time() -> None:
    bench = Bench()
    numbers = [bench.node.ask(bench.now(), Subject(), LEASE_S) for _ in range(OWN_MAX)]
    with pytest.raises(LimitExceeded, match="ask another agent"):
        bench.node.ask(bench.now(), Subject(), LEASE_S)
    bench.node.cancel(bench.now(), numbers[0])
    bench.node.ask(bench.now(), Subject(), LEASE_S)


def test_a_change_that_is_applied_is_told_at_once() -> None:
    bench, asker, child = _between()
    wanted = change("1", key="k")
    question = Ask(b"wanted!!", 1, 0, Subject.of([wanted], bench.node.replica.live), 60_000, 3_000, False)
    bench.tell(asker, question)
    bench.tell(child, Report(question.question, 1, Tally(1, 1)))
    bench.wait(2)
    bench.said(asker)
    bench.node.replica.receive(wanted, "somebody")
    bench.node.timer(bench.now())
    assert [one.tally.applied for one in bench.said(asker, Report)] == [2]
    assert PAUSE_LEAST_S < 0.001


def test_sends_are_of_the_class_ack() -> None:
    bench, _, child = _between()
    bench.collect()
    kinds = {
        one.frame_class
        for one in bench.outputs
        if isinstance(one, Send) and one.link == child and isinstance(decode_message(one.message), ACKS)
    }
    assert kinds == {FrameClass.ACK}
