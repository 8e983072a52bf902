"""Seeds behind names: when they are resolved, what a result replaces, and that a failure takes nothing away."""

from __future__ import annotations

import pytest

from gossipconf.model.limits import ADDRESS_BOOK_MAX
from gossipconf.protocol.address_book import AddressBook
from gossipconf.protocol.environment import Connect, Resolve
from gossipconf.protocol.events import PeerUp, ResolveFailed
from gossipconf.protocol.messages import Pong
from gossipconf.protocol.node import Restored
from gossipconf.protocol.seeds import (
    NAME_ADDRESSES_MAX,
    NO_ADDRESS,
    REFRESH_S,
    RESOLVE_CAP_S,
    RESOLVE_FIRST_S,
    SEED_ADDRESSES_MAX,
)
from tests.protocol.wire import Bench, Tapped

NAME = "agents.prod.svc:7946"
OTHER = "srv:_gossipconf._tcp.example.org"
SHORTEST, JITTER = 0.75, 1.25
"""Between these factors a pause is drawn."""


def asked(bench: Bench) -> list[str]:
    """Names that the node wants resolved, since the last call."""
    return [output.name for output in bench.drain(Resolve)]


def resolve(bench: Bench, *addresses: str, name: str = NAME) -> None:
    bench.node.resolved(bench.now(), name, addresses)
    bench.wait(0.0)


def fail(bench: Bench, reason: str = "no such name", name: str = NAME) -> None:
    bench.node.resolve_failed(bench.now(), name, reason)


def seeds(bench: Bench) -> set[str]:
    return {address for address, record in bench.node.overlay.book._addresses.items() if record.is_seed}


def live(bench: Bench, duration_s: float) -> None:
    """Let time pass in which dials fail and links show signs of life."""
    bench.wait(duration_s)
    for output in bench.drain(Connect):
        bench.node.connect_failed(bench.now(), output.address, "refused")
    for link in bench.links():
        bench.tell(link.id, Pong(0))


def pause_before_next(bench: Bench, limit_s: float, step_s: float = 0.125) -> float:
    """How long until the name is to be resolved again, to a step."""
    begin_s = bench.now_s
    while bench.now_s - begin_s <= limit_s:
        live(bench, step_s)
        if asked(bench):
            return bench.now_s - begin_s
    raise AssertionError(f"not resolved within {limit_s} s")


# -- results --------------------------------------------------------------------------------------


def test_names_are_resolved_at_the_start_and_what_is_found_is_dialled_at_once() -> None:
    bench = Bench(seeds=["10.0.0.9:1"], seed_names=[NAME, OTHER])
    assert asked(bench) == [NAME, OTHER]
    assert bench.dialled() == ["10.0.0.9:1"]
    resolve(bench, "10.0.0.1:7946", "[::1]:7946", "10.0.0.1:7946")
    assert sorted(bench.dialled()) == ["10.0.0.1:7946", "[::1]:7946"]
    resolve(bench, "10.0.0.2:1", name=OTHER)
    assert bench.dialled() == ["10.0.0.2:1"]
    assert seeds(bench) == {"10.0.0.9:1", "10.0.0.1:7946", "[::1]:7946", "10.0.0.2:1"}
    assert asked(bench) == []


def test_a_node_without_names_resolves_nothing() -> None:
    bench = Bench(seeds=["a:1"])
    bench.lose(bench.connect("a"))
    bench.wait(2 * REFRESH_S)
    assert asked(bench) == []


def test_a_result_replaces_the_last_one_of_that_name_and_the_old_addresses_stay_as_ordinary_ones() -> None:
    bench = Bench(seeds=["literal:1"], seed_names=[NAME, OTHER])
    resolve(bench, "old:1", "both:1")
    resolve(bench, "other:1", name=OTHER)
    resolve(bench, "both:1", "new:1")
    assert seeds(bench) == {"literal:1", "both:1", "new:1", "other:1"}
    assert "old:1" in bench.node.overlay.book


@pytest.mark.parametrize("addresses", [None, ()])
def test_a_failure_or_nothing_found_keeps_what_was_found_and_is_told(addresses: tuple[str, ...] | None) -> None:
    bench = Bench(seed_names=[NAME])
    resolve(bench, "old:1")
    if addresses is None:
        fail(bench, "no resolver answers")
    else:
        resolve(bench, *addresses)
    assert seeds(bench) == {"old:1"}
    reason = NO_ADDRESS if addresses == () else "no resolver answers"
    assert bench.events(ResolveFailed) == [ResolveFailed(NAME, reason)]


def test_saved_addresses_are_used_while_no_name_can_be_resolved() -> None:
    bench = Bench(seed_names=[NAME], restored=Restored(addresses=(("saved:1", 0),)))
    fail(bench)
    assert bench.dialled() == ["saved:1"]


# -- when -----------------------------------------------------------------------------------------


def test_without_a_link_the_wait_doubles_up_to_a_cap_whether_names_are_resolved_or_not() -> None:
    bench = Bench(seed_names=[NAME])
    asked(bench)
    expected_s = RESOLVE_FIRST_S
    for number in range(10):
        if number % 2:
            fail(bench)
        else:
            resolve(bench, "nobody:1")
        pause_s = pause_before_next(bench, 2 * RESOLVE_CAP_S)
        assert expected_s * SHORTEST <= pause_s <= expected_s * JITTER + 0.25
        expected_s = min(RESOLVE_CAP_S, 2 * expected_s)
    assert expected_s == RESOLVE_CAP_S


def test_it_is_tried_for_days() -> None:
    bench = Bench(seed_names=[NAME])
    asked(bench)
    for _ in range(3 * 24 * 60):
        fail(bench)
        bench.outputs.clear()
        pause_before_next(bench, JITTER * RESOLVE_CAP_S + 1, step_s=60.0)
    resolve(bench, "back:1")
    assert seeds(bench) == {"back:1"}


def test_nodes_that_start_together_do_not_ask_together() -> None:
    pauses_s = []
    for seed in range(8):
        bench = Bench(seed_names=[NAME], seed=seed)
        asked(bench)
        fail(bench)
        pauses_s.append(pause_before_next(bench, 5.0, step_s=1 / 64))
    assert len(set(pauses_s)) > 4


@pytest.mark.parametrize("is_good", [True, False])
def test_with_a_link_a_name_is_resolved_every_few_minutes(is_good: bool) -> None:
    bench = Bench(seed_names=[NAME])
    asked(bench)
    resolve(bench, "a:1")
    bench.connect("a")
    first_s = pause_before_next(bench, JITTER * REFRESH_S + 1)
    assert first_s >= REFRESH_S * SHORTEST, "what was planned while there was no link is put off"
    for _ in range(3):
        if is_good:
            resolve(bench, "a:1")
        else:
            fail(bench)
        assert REFRESH_S * SHORTEST <= pause_before_next(bench, JITTER * REFRESH_S + 1) <= JITTER * REFRESH_S + 1


def test_a_node_that_loses_its_last_link_asks_soon_and_not_before_the_last() -> None:
    bench = Bench(seed_names=[NAME])
    asked(bench)
    resolve(bench, "a:1", "b:1")
    links = [bench.connect(name) for name in "ab"]
    pause_before_next(bench, JITTER * REFRESH_S + 1)
    resolve(bench, "a:1", "b:1")
    for _ in range(10):
        live(bench, RESOLVE_CAP_S / 10)
    bench.lose(links[0])
    live(bench, 2 * RESOLVE_FIRST_S)
    assert asked(bench) == []
    bench.lose(links[1])
    assert pause_before_next(bench, 5.0) <= JITTER * RESOLVE_FIRST_S + 0.25


def test_links_that_come_and_go_do_not_make_it_ask_more_often() -> None:
    bench = Bench(seed_names=[NAME])
    asked(bench)
    questions = 0
    for _ in range(300):
        resolve(bench, "a:1")
        link = bench.connect("a")
        bench.wait(0.5)
        bench.lose(link)
        bench.wait(0.5)
        questions += len(asked(bench))
    assert 5 <= questions <= 300 / RESOLVE_CAP_S * JITTER + 10


def test_a_name_is_not_asked_for_again_before_an_answer() -> None:
    bench = Bench(seed_names=[NAME])
    assert asked(bench) == [NAME]
    bench.lose(bench.connect("a"))
    bench.wait(2 * REFRESH_S)
    assert asked(bench) == []


def test_a_node_that_stops_resolves_and_dials_no_more() -> None:
    bench = Bench(seed_names=[NAME, OTHER])
    bench.connect("a")
    asked(bench)
    bench.node.stop(bench.now())
    resolve(bench, "a:1")
    fail(bench, name=OTHER)
    assert bench.node.next_timer_s is None
    assert (asked(bench), bench.dialled(), seeds(bench)) == ([], [], set())


# -- bounds ---------------------------------------------------------------------------------------


def test_of_a_large_service_some_are_used_and_these_are_kept() -> None:
    service = [f"10.0.{number // 256}.{number % 256}:1" for number in range(2_000)]
    used = []
    for seed in range(2):
        bench = Bench(seed_names=[NAME], seed=seed)
        resolve(bench, *service)
        first = seeds(bench)
        assert len(first) == NAME_ADDRESSES_MAX
        resolve(bench, *reversed(service))
        assert seeds(bench) == first
        gone = sorted(first)[:10]
        resolve(bench, *(address for address in service if address not in gone))
        assert len(seeds(bench)) == NAME_ADDRESSES_MAX
        assert len(seeds(bench) & first) == NAME_ADDRESSES_MAX - 10
        used.append(first)
    assert used[0] != used[1], "nodes do not all use the same"


def test_all_names_together_are_bounded_and_each_has_its_part() -> None:
    names = [f"{number}.example:1" for number in range(60)]
    literals = [f"literal{number}:1" for number in range(4)]
    bench = Bench(seeds=literals, seed_names=names)
    for number, name in enumerate(names):
        resolve(bench, *(f"10.{number}.0.{host}:1" for host in range(100)), name=name)
    found = seeds(bench)
    assert SEED_ADDRESSES_MAX / 2 < len(found) <= SEED_ADDRESSES_MAX
    assert all(any(address.startswith(f"10.{number}.") for address in found) for number in range(60))
    assert found >= set(literals)


def test_a_book_does_not_grow_with_a_service_that_moves() -> None:
    book = AddressBook([], [("met:1", 0)])
    book.met("met:1", "n", Bench().node.environment.rng)
    for turn in range(100):
        book.set_seeds(f"10.{turn}.0.{number}:1" for number in range(64))
    assert len(book) == ADDRESS_BOOK_MAX
    assert "met:1" in book
    assert all(f"10.99.0.{number}:1" in book for number in range(64))


# -- in a world -----------------------------------------------------------------------------------


def test_a_service_whose_every_member_moves_is_found_again() -> None:
    """As in an orchestrator: all instances are replaced, and only the name leads to the new ones."""
    world = Tapped()
    world.names[NAME] = ("a:1", "b:1")
    for name in ("a", "b", "stays"):
        world.add(name, seed_names=[NAME])
    world.run(5.0)
    assert len(world.node("stays").links()) == 2
    for name in "ab":
        world.crash(name)
    world.names_are_down = True
    for name in "cd":
        world.add(name, seed_names=[NAME])
    world.run(600.0)
    assert not world.events_of("c", PeerUp)
    assert world.events_of("c", ResolveFailed)
    world.names_are_down = False
    world.names[NAME] = ("c:1", "d:1")
    world.run(JITTER * RESOLVE_CAP_S + 2.0)
    assert {link.node_id for link in world.node("stays").links()} == {"c", "d"}


def test_a_process_that_is_paused_or_gone_gets_no_answer_meanwhile() -> None:
    world = Tapped()
    world.names[NAME] = ("a:1",)
    world.add("a")
    world.add("b", seed_names=[NAME])
    world.pause("b")
    world.add("c", seed_names=[NAME])
    world.crash("c")
    world.run(1.0)
    assert not world.node("a").links()
    world.resume("b")
    world.start("c")
    world.run(1.0)
    assert {link.node_id for link in world.node("a").links()} == {"b", "c"}
