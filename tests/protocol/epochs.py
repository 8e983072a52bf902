"""Every state that participants of an epoch can come to, found by trying all that can happen in each.

The shipped `Participant` is driven, with a world that is as hostile as it can be: whenever a
node decides it knows any part of what has been said, proposed and revoked, whatever it knew before.
That takes in every order of messages, their loss, delay and duplication, and that a crash forgets
what has come. What is being written at a crash may be on disk or not. A lost disk ends a node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeVar

from gossipconf.model.entry import ValueType
from gossipconf.protocol import participant as machine
from gossipconf.protocol.certificate import is_refused, is_removed
from gossipconf.protocol.epoch import Stage, make_stage
from gossipconf.protocol.participant import Participant, Record, View

Said = tuple[str, bytes, bool]
"""A node, a subject, and whether it has acked it or nacked it."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pool:
    """What has been said, as `Heard`."""

    said: frozenset[Said]

    def acks(self, subject: bytes) -> frozenset[str]:
        return frozenset(node for node, about, is_ack in self.said if about == subject and is_ack)

    def nacks(self, subject: bytes) -> frozenset[str]:
        return frozenset(node for node, about, is_ack in self.said if about == subject and not is_ack)


@dataclass(frozen=True, slots=True)
class World:
    """All nodes, those whose disk is lost being None; what was said, how many were revoked, what is to end."""

    nodes: tuple[Participant | None, ...]
    said: frozenset[Said] = frozenset()
    revoked: int = 0
    ending: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Setting:
    """What can happen.

    nodes:      with what they have on disk at first
    stages:     what is proposed, at any moment
    may_end:    whose end may be asked for, at any moment
    may_lose:   whose disk may be lost
    revoking:   who is revoked, in this order, at any moment; by policies 1, 2, …
    """

    nodes: tuple[Participant, ...]
    stages: tuple[Stage, ...]
    may_end: tuple[Stage, ...] = ()
    may_lose: tuple[str, ...] = ()
    revoking: tuple[str, ...] = ()

    def shut_out(self, policy: int) -> frozenset[str]:
        return frozenset(self.revoking[:policy])


@dataclass(slots=True)
class Explored:
    """What was found: how many states there are, and which committed or aborted what in one of them."""

    states: int = 0
    committed: set[bytes] = field(default_factory=set)
    aborted: set[bytes] = field(default_factory=set)
    removed: set[bytes] = field(default_factory=set)
    blocked: int = 0


class Violation(Exception):
    """An invariant does not hold in a state that can be reached."""


def member(node: str, position: Stage | None = None) -> Participant:
    """A node that is at an epoch, or has an empty disk."""
    answers = () if position is None else ((position.epoch.number, position.id, True),)
    return Participant(node, Record(position=position, answers=answers))


def stage(
    before: Stage | None, members: str, *, value: str = "", revoked: Iterable[str] = (), policy: int = 0
) -> Stage:
    """A stage with one-letter members."""
    contents = [("p/k", ValueType.TEXT, value.encode())] if value else []
    return make_stage(
        "p", None if before is None else before.epoch, members, revoked, contents, policy=policy, waits=False
    )


def explore(setting: Setting, *, states_max: int = 10_000_000) -> Explored:
    """Visit every state. Raises Violation with the way to it."""
    explorer = _Explorer(setting)
    first = World(setting.nodes)
    before: dict[World, World | None] = {first: None}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        try:
            explorer.check(world)
        except Violation as found:
            raise Violation(f"{found}\n{_way_to(world, before, setting)}") from None
        for following in explorer.followers(world):
            if following not in before:
                before[following] = world
                queue.append(following)
        if len(before) > states_max:
            raise AssertionError(f"more than {states_max} states")
    explorer.found.states = len(before)
    return explorer.found


class _Explorer:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.found = Explored()
        self._decisions: dict[tuple[object, ...], tuple[Participant, ...]] = {}

    # -- what can happen ---------------------------------------------------------------------------

    def followers(self, world: World) -> Iterator[World]:
        setting = self.setting
        for index, node in enumerate(world.nodes):
            if node is None:
                continue
            if node.writing is None:
                for decided in self.decisions(node, world):
                    yield _with_node(world, index, decided)
            else:
                yield _with_node(world, index, node.failed())
                yield _with_node(world, index, node.persisted())
            words = self.words(node, world)
            if not words <= world.said:
                yield World(world.nodes, world.said | words, world.revoked, world.ending)
            if node.node_id in setting.may_lose:
                yield _with_node(world, index, None)
        if world.revoked < len(setting.revoking):
            yield World(world.nodes, world.said, world.revoked + 1, world.ending)
        for one in setting.may_end:
            if one.id not in world.ending:
                yield World(world.nodes, world.said, world.revoked, world.ending | {one.id})

    def words(self, node: Participant, world: World) -> frozenset[Said]:
        revoked = tuple(map(self.setting.shut_out, range(1, world.revoked + 1)))
        return frozenset((node.node_id, *word) for word in node.words(Pool(world.said), revoked))

    def decisions(self, node: Participant, world: World) -> tuple[Participant, ...]:
        """All that a node may decide, whatever part of the world it knows."""
        promise = node.record.promise
        # Of a stage that is not answered yet only nacks are looked at, and the acks of newcomers.
        newcomers = {
            one.id: one.participants.difference(one.before.members if one.before else ())
            for one in self.setting.stages
            if node.record.answer_to(one.id) is None
        }
        matters = frozenset(
            one for one in world.said if one[1] in newcomers and (not one[2] or one[0] in newcomers[one[1]])
        )
        if promise is not None:  # nothing else that is heard is looked at; `check` looks with all of it
            revoked = tuple(map(self.setting.shut_out, range(1, world.revoked + 1)))
            subjects = set(machine.subjects_of(Record(promise=promise), revoked, {}))
            matters |= frozenset(one for one in world.said if one[1] in subjects)
        key = (node, matters, world.revoked, world.ending)
        if key not in self._decisions:
            found: dict[Participant, None] = {}
            for policy in range(world.revoked + 1):
                for said in _subsets(sorted(matters)):
                    for stages in _subsets(self.setting.stages):
                        for ending in _subsets([one for one in self.setting.may_end if one.id in world.ending]):
                            decided = node.step(self.view(stages, ending, frozenset(said), policy))
                            if decided != node:
                                found[decided] = None
            self._decisions[key] = tuple(found)
        return self._decisions[key]

    def view(self, stages: tuple[Stage, ...], ending: tuple[Stage, ...], said: frozenset[Said], policy: int) -> View:
        def revoked_by(version: int) -> frozenset[str] | None:
            return self.setting.shut_out(version) if version <= policy else None

        revoked = tuple(map(self.setting.shut_out, range(1, policy + 1)))
        return View(stages, ending, Pool(said), revoked, revoked_by)

    # -- what must hold ----------------------------------------------------------------------------

    def check(self, world: World) -> None:
        shut_out = self.setting.shut_out(world.revoked)
        live = [node for node in world.nodes if node is not None and node.node_id not in shut_out]
        served = {stage.id for node in live if (stage := node.standing(shut_out).served) is not None}
        if len(served) > 1:
            raise Violation("two participants serve different epochs")
        pool = Pool(world.said)
        revoked = tuple(map(self.setting.shut_out, range(1, world.revoked + 1)))
        for one in self.setting.stages:
            knowing = [node.node_id for node in live if one.id in {epoch.id for epoch in node.record.committed}]
            refused, removed = is_refused(one, pool), is_removed(one, pool, revoked)
            if pool.acks(one.id) & pool.nacks(one.id):
                raise Violation("a node has said ack and nack")
            if refused and one.participants <= pool.acks(one.id):
                raise Violation("a stage has certificates of both kinds")
            if knowing and (refused or removed):
                raise Violation(f"{knowing} know a stage committed that is aborted")
            self.found.committed |= {one.id} if knowing else set()
            self.found.aborted |= {one.id} if refused else set()
            self.found.removed |= {one.id} if removed else set()
        self._check_rest(world, live, revoked, shut_out)

    def _check_rest(
        self,
        world: World,
        live: list[Participant],
        revoked: tuple[frozenset[str], ...],
        shut_out: frozenset[str],
    ) -> None:
        """Where nothing is left to do for any node, though all know all: nobody is fenced who need not be."""
        ending = tuple(one for one in self.setting.may_end if one.id in world.ending)
        everything = self.view(self.setting.stages, ending, world.said, world.revoked)
        if any(
            node.writing is not None or node.step(everything) != node or not self.words(node, world) <= world.said
            for node in live
        ):
            return
        names = {node.node_id for node in live}
        for node in live:
            promise = node.record.promise
            if promise is None:
                continue
            missing = promise.participants - names - shut_out
            if missing or shut_out.issuperset(promise.epoch.members):
                self.found.blocked += 1
                continue
            raise Violation(f"{node.node_id} is fenced for ever")


def _subsets(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    listed = tuple(items)
    for size in range(len(listed) + 1):
        yield from combinations(listed, size)


def _with_node(world: World, index: int, node: Participant | None) -> World:
    nodes = (*world.nodes[:index], node, *world.nodes[index + 1 :])
    return World(nodes, world.said, world.revoked, world.ending)


def _way_to(world: World, before: dict[World, World | None], setting: Setting) -> str:
    """The states before ``world``, as what changed from each to the next."""
    states = [world]
    while (earlier := before[states[-1]]) is not None:
        states.append(earlier)
    names = {one.id: f"stage {chr(ord('s') + number)}" for number, one in enumerate(setting.stages)}
    lines = []
    for earlier, later in zip(states[::-1], states[-2::-1], strict=False):
        for old, new in zip(earlier.nodes, later.nodes, strict=True):
            if old != new:
                lines.append(f"{old.node_id if old else '?'}: {_named(old, names)} → {_named(new, names)}")
        if later.said != earlier.said:
            told = [(node, names.get(about, about.hex()[:6]), ack) for node, about, ack in later.said - earlier.said]
            lines.append(f"said: {sorted(told)}")
        if later.revoked != earlier.revoked:
            lines.append(f"revoked: {setting.revoking[: later.revoked]}")
        if later.ending != earlier.ending:
            lines.append(f"ending: {[names[one] for one in later.ending]}")
    return "\n".join(lines)


def _named(node: Participant | None, names: dict[bytes, str]) -> str:
    if node is None:
        return "lost"

    def name(one: Stage | None) -> str:
        return "none" if one is None else names.get(one.id, "first")

    def told(record: Record) -> str:
        gave_up = [sorted(one) for one in record.gave_up]
        return f"at {name(record.position)} promises {name(record.promise)} gave up {gave_up}"

    return told(node.record) + (f" (writing {told(node.writing)})" if node.writing else "")
