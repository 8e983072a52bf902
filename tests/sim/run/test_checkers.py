"""Each checker fires on the bug that it is for, planted in a sound world, and is silent without it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from gossipconf.model.change import Change, Writer
from gossipconf.model.entry import Entry, put
from gossipconf.model.limits import ADDRESS_BOOK_MAX, FORK_BRANCHES_MAX
from gossipconf.model.version import versions_of
from gossipconf.protocol.address_book import AddressBook
from gossipconf.protocol.asker import Asker
from gossipconf.protocol.environment import Emit
from gossipconf.protocol.epoch import make_stage
from gossipconf.protocol.events import StageAborted
from gossipconf.protocol.frames import FrameClass, FrameQueue
from gossipconf.protocol.participant import Standing
from gossipconf.protocol.subject import Subject
from gossipconf.store.hash_tree import HashTree
from gossipconf.store.journal_ops import DropChange
from gossipconf.store.live_set import LiveSet, fork_item
from gossipconf_sim.network.wire import Lane
from gossipconf_sim.run.checkers import CHECKERS, NOTICED_S, violations
from gossipconf_sim.world.world import World
from tests.protocol.wire import Tapped, change, second_policy
from tests.strategies import signed, signer


def sound() -> Tapped:
    """Three nodes that have published, replaced, forked and restarted."""
    world = Tapped("a", "b", "c", twin="b")
    world.run(2.0)
    for number, name in enumerate(("a", "b", "c", "a")):
        world.publish(name, signer("alice"), [put("one", b"%d" % number), put(f"two/{name}", b"%d" % number)])
        world.run(0.2)
    for number in range(2):
        world.inject("a", change(str(number), f"fork/{number}", incarnation=b"forked__"))
    world.run(15.0)
    world.crash("c")
    world.start("c")
    world.run(5.0)
    assert world.converged()
    assert len(world.acknowledged) == 4
    return world


def live(world: Tapped, name: str) -> LiveSet:
    return world.node(name).replica.live


def a_change(world: Tapped) -> Change:
    return world.acknowledged[-1][2]


# -- one bug for each -----------------------------------------------------------------------------


def keep_a_forgery(world: Tapped) -> None:
    forged = change("forged")
    live(world, "b").add(dataclasses.replace(forged, signature=bytes(64)))


def keep_what_nobody_may_write(world: Tapped) -> None:
    live(world, "b").add(change("1", "pay/x", by="carol", incarnation=b"carol___"))


def keep_what_a_future_policy_allows(world: Tapped) -> None:
    live(world, "b").add(change("1", "zoo/x", by="zoe", policy=2))


def accept_a_policy_of_nobody(world: Tapped) -> None:
    policy = second_policy()
    live(world, "b").add(dataclasses.replace(policy, approvals=()))  # one root of the two that are needed


def hash_nothing(world: Tapped) -> None:
    for name in ("a", "b", "c"):
        world.inject(name, change(name, f"lonely/{name}", incarnation=b"lonely_" + name.encode()))
        _replace_root(live(world, name).tree)


def _replace_root(tree: HashTree) -> None:
    tree._root.hash = b"the same, always"


def show_another_winner(world: Tapped) -> None:
    for name in ("a", "b", "c"):
        for number in range(2):
            world.inject(name, change(str(number), "sibling", incarnation=b"sibling%d" % number))
    slots = live(world, "b")._slots
    slots["sibling", ""] = tuple(reversed(slots["sibling", ""]))


def leave_an_item_behind(world: Tapped) -> None:
    live(world, "b").tree.add(bytes(32))


def lose_what_was_acknowledged(world: Tapped) -> None:
    name, _, one = world.acknowledged[-1]
    world.hosts[name].disk.write([DropChange(one.id)])


def acknowledge_before_writing(world: Tapped) -> None:
    """A node that says so too early, and the power that goes at the wrong moment."""
    node = world.node("a")
    world.publish_value("a", "early", "1")
    (token,) = node.replica._pending
    node.persisted(world._clock(world.hosts["a"]), token)
    world._settle(world.hosts["a"])
    world.crash("a")


def return_the_older_one(world: Tapped) -> None:
    old, new = world.publish_value("a", "back", "1"), None
    world.run(1.0)
    new = world.publish_value("a", "back", "2")
    world.run(1.0)
    assert new.id != old.id
    world._show(world.hosts["a"], [(("back", ""), tuple(versions_of(old)))])


def return_nothing_any_more(world: Tapped) -> None:
    world._show(world.hosts["a"], [(("one", ""), ())])


def restart_from_an_older_disk(world: Tapped) -> None:
    backup = dict(world.hosts["a"].disk.changes)
    world.publish_value("a", "one", "newer")
    world.run(1.0)
    world.crash("a")
    world.hosts["a"].disk.changes = backup
    world.start("a")


def restart_without_a_part_of_the_disk(world: Tapped) -> None:
    world.crash("a")
    world.hosts["a"].disk.write([DropChange(world.acknowledged[-1][2].id)])
    world.start("a")


def apply_the_half_of_a_change(world: Tapped) -> None:
    world.publish("a", signer("alice"), [put("half/1", b"1"), put("half/2", b"1")])
    world.partition(["a"], ["b", "c"])
    world.run(0.1)
    live(world, "b").add(a_change(world).restrict((0,)))


def forget_a_fork(world: Tapped) -> None:
    """Known to `b` no more, though its fingerprint says so."""
    live(world, "b")._forks.clear()


def keep_every_branch(world: Tapped) -> None:
    forks = live(world, "b")._forks
    (number,) = forks
    for value in range(FORK_BRANCHES_MAX):
        extra = change(f"more {value}", incarnation=b"forked__").restrict(())
        forks[number][extra.id] = extra
    assert len(forks[number]) > FORK_BRANCHES_MAX


def remember_every_address(world: Tapped) -> None:
    world.node("b").overlay.book = AddressBook(f"x{number}:1" for number in range(ADDRESS_BOOK_MAX + 1))


def queue_without_end(world: Tapped) -> None:
    """A shell that takes everything for a peer that reads nothing."""
    world.hosts["c"].read_bytes_s = 1.0
    wire = next(wire for wire in world.hosts["b"].links.values() if wire.other(world.hosts["b"]).name == "c")
    lane = wire.lanes[wire.side_of(world.hosts["b"])] = Lane()
    lane.queue = FrameQueue(dict.fromkeys(FrameClass, 1 << 60))
    for _ in range(67):  # the first and the last do not count
        world.network.send(world.hosts["b"], wire, FrameClass.ACK, bytes(1024))


def give_up_on_who_cannot_be_reached(world: Tapped) -> None:
    """Addresses that fail are forgotten, as in systems that never heal."""
    for name in ("a", "b", "c"):
        book = world.node(name).overlay.book
        book.failed = lambda address, *_, book=book: book.forget(address)  # type: ignore[method-assign, misc]
    world.partition(["a"], ["b", "c"])
    world.run(5.0)
    world.publish_value("a", "apart", "1")
    world.heal()
    world.whole_since_s, world.heal_limit_s = world.now_s, 60.0
    world.run(60.0)


def draw_from_the_global_generator(world: Tapped) -> None:
    for node in world.twins_of("b").both:
        node.environment.jittered = lambda period_s, rng=None: period_s * random.random()  # type: ignore[method-assign]
    world.run(15.0)


def count_somebody_twice(world: Tapped) -> None:
    told = tally_at_rest(world)
    told.told = dataclasses.replace(told.told, applied=4, total=4)  # type: ignore[type-var]


def name_the_wrong_one(world: Tapped) -> None:
    told = tally_at_rest(world)
    told.told = dataclasses.replace(told.told, missing=("b",))  # type: ignore[type-var]


def tally_at_rest(world: Tapped) -> Asker:
    world.ask("a", Subject(), 60.0)
    world.run(NOTICED_S + 1.0)
    assert CHECKERS["counted"](world) == []
    (asker,) = world.node("a").acks.askers()
    return asker


def serve_two_epochs(world: Tapped) -> None:
    for name in "ab":
        stage = make_stage("p", None, [name], [], (), policy=1, waits=False)
        world.node(name).stages.standing = lambda prefix, stage=stage: Standing(stage)  # type: ignore[method-assign, misc]
    world._emit(world.hosts["a"], Emit(StageAborted("p", 2, bytes(32))))


BUGS: list[tuple[str, Callable[[Tapped], None]]] = [
    ("authentic", keep_a_forgery),
    ("authentic", keep_what_nobody_may_write),
    ("authentic", keep_what_a_future_policy_allows),
    ("authentic", accept_a_policy_of_nobody),
    ("convergent", hash_nothing),
    ("convergent", show_another_winner),
    ("convergent", leave_an_item_behind),
    ("durable", lose_what_was_acknowledged),
    ("durable", acknowledge_before_writing),
    ("monotonic", return_the_older_one),
    ("available", return_nothing_any_more),
    ("monotonic", restart_from_an_older_disk),
    ("available", restart_without_a_part_of_the_disk),
    ("atomic", apply_the_half_of_a_change),
    ("no silent divergence", forget_a_fork),
    ("bounded", keep_every_branch),
    ("bounded", remember_every_address),
    ("bounded", queue_without_end),
    ("heals", give_up_on_who_cannot_be_reached),
    ("deterministic", draw_from_the_global_generator),
    ("counted", count_somebody_twice),
    ("counted", name_the_wrong_one),
    ("together", serve_two_epochs),
]


def test_a_sound_world_has_no_violations() -> None:
    assert list(violations(sound())) == []


def test_every_checker_has_a_bug() -> None:
    assert {name for name, _ in BUGS} == set(CHECKERS)


@pytest.mark.parametrize(("checker", "plant"), BUGS)
def test_the_checker_fires_on_its_bug(checker: str, plant: Callable[[Tapped], None]) -> None:
    world = sound()
    plant(world)
    assert CHECKERS[checker](world) != []


# -- what is no violation -------------------------------------------------------------------------


def test_what_a_later_policy_allows_is_authentic() -> None:
    world = sound()
    world.inject("b", second_policy())
    world.inject("b", change("1", "zoo/x", by="zoe", policy=2))
    assert live(world, "b").slot(("zoo/x", ""))
    assert list(violations(world)) == []


def test_what_a_wiped_disk_has_lost_is_not_held_against_it() -> None:
    world = sound()
    world.crash("a")
    world.start("a", empty_disk=True)
    assert list(violations(world)) == []


def test_a_superseded_publish_need_not_be_on_disk() -> None:
    world = sound()
    first = world.publish_value("a", "one", "x")
    world.run(1.0)
    world.publish_value("a", "one", "y")
    world.run(1.0)
    assert first.id not in world.hosts["a"].disk.changes
    assert list(violations(world)) == []


def test_a_fork_that_all_forget_is_missed_unless_all_who_found_it_have_crashed() -> None:
    world = sound()
    for name in "abc":
        live(world, name)._forks.clear()
    assert len(CHECKERS["no silent divergence"](world)) == 1
    for name in "abc":
        world.hosts[name].started_s = world.now_s
    assert CHECKERS["no silent divergence"](world) == []


def test_a_branch_that_smaller_ids_push_out_may_vanish() -> None:
    world = sound()
    branches = [change(str(number), f"crowd/{number}", incarnation=b"crowded_") for number in range(12)]
    for one in sorted(branches, key=lambda one: one.id, reverse=True):
        world.inject("a", one)
        world.run(0.1)
    world.run(15.0)
    assert world.converged()
    assert len(live(world, "c").under("crowd")) == FORK_BRANCHES_MAX
    assert list(violations(world)) == []


def test_parts_from_a_stranger_are_no_breach_of_atomicity() -> None:
    world = sound()
    whole = world.publish("a", signer("alice"), [put("half/1", b"1"), put("half/2", b"1")])[1]
    world.partition(["a"], ["b", "c"])
    world.run(0.1)
    world.inject("b", whole.restrict((0,)))
    assert list(violations(world)) == []


def test_what_has_superseded_the_rest_may_come_later() -> None:
    world = sound()
    world.partition(["a"], ["b", "c"])
    whole = world.publish("a", signer("alice"), [put("half/1", b"1"), put("half/2", b"1")])[1]
    world.run(0.1)
    world.publish_value("a", "half/1", "2")
    world.run(0.1)
    live(world, "b").add(whole.restrict((1,)))
    assert list(violations(world)) == []


def test_a_partly_superseded_change_is_whole_in_spirit() -> None:
    world = sound()
    whole = world.publish("a", signer("alice"), [put("half/1", b"1"), put("half/2", b"1")])[1]
    world.run(1.0)
    seen = ((whole.writer_id, whole.header.seq),)
    world.inject("b", signed([Entry("half/1", b"2", seen=seen)], "bob"))
    assert len(live(world, "b").slot(("half/1", ""))) == 1
    assert list(violations(world)) == []


def test_a_partition_that_ends_is_healed_in_time() -> None:
    world = sound()
    world.partition(["a"], ["b", "c"])
    world.run(5.0)
    world.publish_value("a", "apart", "1")
    world.heal()
    world.whole_since_s, world.heal_limit_s = world.now_s, 60.0
    world.run(60.0)
    assert list(violations(world)) == []


def test_an_empty_world_is_sound() -> None:
    assert list(violations(World(sound().cluster))) == []


def test_fork_items_are_part_of_the_fingerprint() -> None:
    world = sound()
    forks = live(world, "a").forks()
    assert len(forks) == 1
    assert all(fork_item(branch) in live(world, "c").tree for branches in forks.values() for branch in branches)
    assert Writer(signer("alice").public, b"forked__").id in {writer for writer, _ in forks}
