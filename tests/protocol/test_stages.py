"""Stages through whole nodes: documents and words travel, decisions are on disk first, and all switch or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import pytest

from gossipconf.model.change import Change, Writer
from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.model.merkle import SparseTree
from gossipconf.protocol import statement_book
from gossipconf.protocol.certificate import Outcome
from gossipconf.protocol.epoch import Stage, make_stage
from gossipconf.protocol.events import (
    EpochCommitted,
    Event,
    MemoryMissing,
    Published,
    PublishFailed,
    StageAborted,
    StageAnswered,
    StageInvalid,
)
from gossipconf.protocol.participant import Standing
from gossipconf.protocol.record import ROW_PREFIX, Record
from gossipconf.trust.cluster import Cluster, sign_policy
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.policy import Genesis, Policy, Role
from gossipconf.trust.signing import Reservation, sign_change
from gossipconf.trust.statement import Kind
from gossipconf.trust.strict import StageKey
from gossipconf_sim.world.host import Host
from gossipconf_sim.world.world import World
from tests import strategies as gen

ROOT, ADMIN = gen.signer("root-1"), gen.signer("alice")
PREFIX = "shop/db"
NAMES = ("a", "b", "c")
SETTLE_S = 60.0


@cache
def cluster() -> Cluster:
    """One root; `alice` stages under `shop`, where `shop/db` is strict, and publishes elsewhere."""
    genesis = Genesis("staged", 0, bytes(16), (ROOT.public,), 1)
    role = Role("stagers", (ADMIN.public,), ("", PREFIX), ("put", "delete", "stage"))
    policy = Policy(1, genesis.roots, 1, (role,), ((f"strict/{PREFIX}", 1),))
    chain = Cluster(genesis, ()).chain()
    return Cluster(genesis, (sign_policy(chain, policy, [ROOT], now_ms=0, reservation=gen.reservation()),))


class Staged:
    """A world of nodes, its admin, and what the nodes have told."""

    def __init__(self, names: Sequence[str] = NAMES, seed: int = 0) -> None:
        self.world = World(cluster(), seed)
        self.told: list[tuple[str, Event]] = []
        self.world.on_event = self.hear
        for name in names:
            self.world.add(name, [other for other in names if other != name][:2])
        self.world.run(5.0)
        self.number = 0

    def hear(self, host: Host, event: Event) -> None:
        if isinstance(event, StageAnswered | EpochCommitted | StageAborted | StageInvalid | MemoryMissing):
            self.told.append((host.name, event))

    def submit(self, name: str, entry: Entry, *, by_root: bool = False, policy: int = 1) -> Change:
        """Publish one entry at a host, with numbers of its own."""
        self.number += 1
        signer = ROOT if by_root else ADMIN
        tree = SparseTree(1, {0: entry.leaf()}, ())
        header = replace(
            gen.header_of([entry], Writer(signer.public, bytes(8)), cluster_id=cluster().genesis.cluster_id),
            writer=Writer(signer.public, self.number.to_bytes(8, "big")),
            policy=policy,
            size=tree.size,
            root=tree.root,
            time_ms=self.world.clock_ms(),
        )
        change = sign_change(header, ((0, entry),), signer)
        self.world.submit(name, change)
        return change

    def prepare(
        self, name: str, before: Stage | None, members: Iterable[str], value: str = "1", **options: int
    ) -> Stage:
        policy = options.get("policy", 1)
        node = self.world.hosts[name].running
        revoked = node.stages._revoked_by[policy]
        stage = make_stage(
            PREFIX,
            None if before is None else before.epoch,
            members,
            revoked,
            [(f"{PREFIX}/host", ValueType.TEXT, value.encode())],
            policy=policy,
            waits=False,
        )
        self.submit(name, put(str(stage.key), stage.encode(), ValueType.BYTES), by_root=before is None, policy=policy)
        return stage

    def end(self, name: str, stage: Stage) -> None:
        key = replace(stage.key, is_abort=True)
        self.submit(name, put(str(key), stage.bare().encode(), ValueType.BYTES))

    def standing(self, name: str) -> Standing:
        return self.world.hosts[name].running.stages.standing(PREFIX)

    def served(self, *names: str) -> list[Stage | None]:
        return [self.standing(name).served for name in names]

    def all_serve(self, stage: Stage, *names: str) -> bool:
        return self.world.run_until(lambda: self.served(*names) == [stage] * len(names), SETTLE_S)

    def revoke(self, name: str, node_id: str) -> None:
        replica = self.world.hosts[name].running.replica
        head = replica.chain.head
        roles = with_membership(head.roles, Membership(nodes=(node_id,)))
        policy = replace(head, version=head.version + 1, roles=roles)
        number = Reservation(policy.version.to_bytes(8, "big"), 1)
        self.world.submit(
            name, sign_policy(replica.chain, policy, [ROOT], now_ms=self.world.clock_ms(), reservation=number)
        )


def test_all_members_switch_and_nobody_else() -> None:
    staged = Staged(("a", "b", "c", "d"))
    assert staged.standing("a") == Standing(None), "strict, and no epoch yet: nobody is a member"
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    assert staged.standing("d") == Standing(None)
    second = staged.prepare("d", first, ["b", "c", "d"], "2")
    assert staged.all_serve(second, "b", "c", "d")
    staged.world.run(5.0)
    assert staged.standing("a") == Standing(None)
    answers = [name for name, event in staged.told if isinstance(event, StageAnswered) and event.number == 2]
    assert sorted(answers) == ["a", "b", "c", "d"]


def test_the_fence_is_up_before_the_ack_leaves_and_falls_with_the_last_one() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    staged.world.crash("c")
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    assert [staged.standing(name) for name in "ab"] == [Standing(first, second)] * 2
    progress = staged.world.hosts["a"].running.stages.progress(PREFIX)[-1]
    assert (progress.outcome, progress.acked, progress.missing) == (Outcome.OPEN, ("a", "b"), ("c",))
    staged.world.start("c")
    assert staged.all_serve(second, *NAMES)


def test_a_participant_that_restarts_stays_fenced_and_switches_without_the_others_words_again() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    staged.world.crash("c")
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    staged.world.crash("a")
    staged.world.start("a")
    assert staged.standing("a") == Standing(first, second), "from the first moment on"
    staged.world.start("c")
    assert staged.all_serve(second, *NAMES)
    staged.world.crash("b")
    staged.world.start("b")
    assert staged.served("b") == [second]


def test_an_ack_that_is_on_disk_and_was_not_said_is_said_after_a_restart() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    world = staged.world

    def crash_before_it_speaks(host: Host, event: Event) -> None:
        if host.name == "c" and isinstance(event, StageAnswered):
            world.on_event = None
            world.schedule.later(0.0, world.crash, "c")

    world.on_event = crash_before_it_speaks
    second = staged.prepare("a", first, NAMES, "2")
    world.run(SETTLE_S)
    assert world.hosts["c"].node is None
    assert staged.standing("a") == Standing(first, second), "nobody has heard of it"
    world.partition(["c"], ["a", "b"])
    world.start("c")
    assert staged.standing("c") == Standing(first, second)
    world.run(5.0)
    assert world.hosts["c"].running.statements.has_said(Kind.ACK, second.id), "by itself, with nobody to remind it"
    world.heal()
    assert staged.all_serve(second, *NAMES)


def test_two_rivals_end_each_other_or_one_of_them() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    staged.world.partition(["a"], ["b", "c"])
    one, other = staged.prepare("a", first, NAMES, "1b"), staged.prepare("b", first, NAMES, "2b")
    staged.world.run(SETTLE_S)
    assert staged.standing("a") == Standing(first, one)
    assert staged.standing("b") == Standing(first, other)
    staged.world.heal()
    assert staged.all_serve(first, *NAMES), "each was nacked by who had acked its rival"
    third = staged.prepare("c", first, NAMES, "3")
    assert staged.all_serve(third, *NAMES)


def test_an_admin_anywhere_ends_a_stage_that_somebody_has_not_answered() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    staged.world.crash("c")
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    staged.end("b", second)
    staged.world.run(SETTLE_S)
    assert staged.standing("a") == Standing(first, second), "all that live have acked: only the missing one can nack"
    staged.world.start("c")
    assert staged.all_serve(first, *NAMES)
    assert ("c", StageAnswered(PREFIX, 2, second.id, is_ack=False)) in staged.told


def test_a_revoked_participant_is_waited_for_no_longer_and_the_next_epoch_goes_without_it() -> None:
    staged = Staged(("a", "b", "c", "d"))
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    staged.world.crash("c")
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    assert staged.served("a", "b") == [None, None]
    staged.revoke("a", "c")
    assert staged.all_serve(first, "a", "b")
    third = staged.prepare("b", first, ["a", "b", "d"], "3", policy=2)
    assert third.epoch.removed == ("c",)
    assert staged.all_serve(third, "a", "b", "d")
    found = {one.stage.id: one.outcome for one in staged.world.hosts["d"].running.stages.progress(PREFIX)}
    assert (found[second.id], found[third.id]) == (Outcome.ABORTED, Outcome.COMMITTED)
    staged.world.start("c")
    staged.world.run(SETTLE_S)
    assert second not in staged.served("c")


def test_a_node_whose_disk_is_lost_says_nothing_under_its_old_name() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    staged.world.crash("c")
    staged.world.start("c", empty_disk=True)
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    assert staged.standing("c") == Standing(None)
    assert staged.standing("a") == Standing(first, second)
    assert ("c", MemoryMissing(PREFIX, 1)) in staged.told
    assert ("c", MemoryMissing(PREFIX, 2)) in staged.told


def test_a_full_disk_promises_nothing_until_it_has_room() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    disk = staged.world.hosts["c"].disk
    disk.full = True
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    assert staged.served("c") == [first], "it has promised nothing"
    assert staged.served("a", "b") == [None, None]
    disk.full = False
    assert staged.all_serve(second, *NAMES)


def test_an_ordinary_publish_to_a_strict_prefix_is_refused_also_while_it_is_fenced() -> None:
    """May a participant in prepare publish? To the strict prefix nobody may, ever; to all others it may."""
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    outcomes: list[Event] = []

    def publish_both() -> tuple[list[str], int]:
        outcomes.clear()
        staged.submit("a", put(f"{PREFIX}/host", b"x"))
        staged.submit("a", put("shop/other", str(staged.number).encode()))
        staged.world.run(1.0)
        failed = [str(one.error) for one in outcomes if isinstance(one, PublishFailed)]
        return failed, sum(isinstance(one, Published) for one in outcomes)

    staged.world.on_event = lambda host, event: outcomes.append(event)
    open_failed, open_published = publish_both()
    staged.world.crash("c")
    second = staged.prepare("a", first, NAMES, "2")
    staged.world.run(SETTLE_S)
    assert staged.standing("a") == Standing(first, second)
    fenced_failed, fenced_published = publish_both()
    assert (open_published, fenced_published) == (1, 1)
    assert len(open_failed) == len(fenced_failed) == 1
    assert "strict" in open_failed[0]
    assert "strict" in fenced_failed[0]


def test_words_on_past_epochs_keep_none_out_on_the_one_that_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for the words of three epochs the prefix goes on for more: else its fence would never fall."""
    monkeypatch.setattr(statement_book, "SUBJECTS_MAX", 3)
    staged = Staged()
    stage = None
    for number in range(1, 7):
        stage = staged.prepare("a", stage, NAMES, str(number))
        staged.world.run(SETTLE_S)
        assert staged.served(*NAMES) == [stage] * 3
    for name in NAMES:
        node = staged.world.hosts[name].running
        assert stage is not None
        assert stage.id in node.statements.subjects()
        assert node.stages.claim(stage.id).age == 1


def test_what_is_no_document_of_its_key_is_told_and_ignored() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    key = str(StageKey(PREFIX, 2, bytes(32)))
    staged.submit("a", put(key, first.encode(), ValueType.BYTES))
    staged.submit("b", put(str(replace(first.key, number=3)), b"?", ValueType.BYTES))
    staged.world.run(SETTLE_S)
    assert staged.served(*NAMES) == [first] * 3
    assert {event.key for _, event in staged.told if isinstance(event, StageInvalid)} >= {key}


def test_a_record_reads_back_and_no_other_bytes_do() -> None:
    staged = Staged()
    first = staged.prepare("a", None, NAMES)
    assert staged.all_serve(first, *NAMES)
    data = staged.world.hosts["a"].disk.meta[f"{ROW_PREFIX}{PREFIX}"]
    record = Record.decode(data)
    assert record.position == first
    assert record.encode() == data
    full = replace(record, promise=first, gave_up=(frozenset({"b", "c"}),), past=(first.bare(),))
    assert Record.decode(full.encode()) == full
    with pytest.raises(Exception, match="record of epochs"):
        Record.decode(b"\x80")
