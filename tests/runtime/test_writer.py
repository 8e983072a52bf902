"""A disk that refuses: publishing stops, serving and relaying do not, and nothing that was acknowledged is lost.

The full disk is a real one, a small tmpfs, which only root can mount.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.model.errors import ControlError, JournalBusy, JournalCorrupt, JournalError, JournalWriteFailed
from gossipconf.protocol.environment import Persist
from gossipconf.protocol.replica import DISK_RETRY_S, Replica
from gossipconf.runtime.boot import JOURNAL_FILE
from gossipconf.runtime.writer import GROUP_OPS_MAX, HISTORY_SWEEP_S, JournalWriter
from gossipconf.store.journal import Journal
from gossipconf.store.journal_ops import JournalOp, PutMeta

from .cluster import HANG_S, Bell, Fleet, Site, WatchedAgent, asking, fleet_of, prepare, publish

DISK_BYTES = 2 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("writer"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted disk of DISK_BYTES."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("NOT TESTED: a full disk; only root can mount a small one")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", path], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"NOT TESTED: a full disk; mount says {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue


def make_room(disk: Path) -> None:
    (disk / "ballast").unlink()


# -- a full disk ----------------------------------------------------------------------------------


async def trio_of(fleet: Fleet, disk: Path) -> tuple[WatchedAgent, WatchedAgent, WatchedAgent]:
    """An agent on the small disk, and two that are linked to it and not to each other."""
    full = await fleet.start("full", data=disk / "data")
    first = await fleet.start("first", full, advertise="127.0.0.1:1")
    second = await fleet.start("second", full, advertise="127.0.0.1:2")
    await fleet.until(lambda: len(full.node.links()) == 2)
    await publish(full, "before", b"1")
    await fleet.settled(full, first, second)
    return full, first, second


async def test_a_full_disk_stops_publishing_and_nothing_else(site: Site, tmp_path: Path, disk: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        full, first, second = await trio_of(fleet, disk)
        fill(disk)
        big = prepare(full, put("refused", b"x" * 200_000))
        before = full.node.root
        with pytest.raises(JournalWriteFailed, match="free space"):
            await full.publish(big)
        assert full.node.root == before
        await publish(first, "meanwhile", b"y" * 200_000)
        await fleet.until(lambda: second.value("meanwhile"))  # relayed by the agent that cannot write
        assert full.node.root == first.node.root
        assert full.values() == {"before": b"1"}  # a reader sees only what would survive a crash
        assert full.node.presence.own().degraded
        async with asking(full) as asker:
            assert "free space" in (await asker.ask("info"))["disk_error"]
            assert (await asker.ask("get", key="before"))["versions"]
            assert (await asker.ask("log", key="before"))["ok"]
        with pytest.raises(JournalWriteFailed, match="takes no publish"):
            await full.publish(prepare(full, put("refused", b"z")))
        make_room(disk)
        await fleet.until(lambda: full.value("meanwhile"))
        assert full.node.replica.disk_error is None
        await publish(full, "after", b"2")
        await fleet.settled(full, first, second)
        assert second.value("after") == b"2"
        assert full.value("refused") is None
        expected = full.values()
        await fleet.kill(full)
        again = await fleet.start("full", data=disk / "data")
        assert again.values() == expected == {"before": b"1", "meanwhile": b"y" * 200_000, "after": b"2"}


async def test_a_kill_while_the_disk_is_full_loses_nothing_acknowledged(site: Site, tmp_path: Path, disk: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        full, first, _ = await trio_of(fleet, disk)
        acknowledged = {"before": b"1"}
        fill(disk)
        with contextlib.suppress(JournalWriteFailed):
            for number in range(100):
                await publish(full, f"key/{number}", b"x" * 40_000)
                acknowledged[f"key/{number}"] = b"x" * 40_000
        assert full.node.replica.disk_error is not None
        assert len(acknowledged) < 100
        await publish(first, "meanwhile", b"y" * 100_000)
        await fleet.until(lambda: full.node.root == first.node.root)
        await fleet.kill(full)
        make_room(disk)
        again = await fleet.start("full", data=disk / "data")
        assert acknowledged.items() <= again.values().items()
        await fleet.stop(again)


async def test_starting_on_a_full_disk_serves_what_is_there(site: Site, tmp_path: Path, disk: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        full, first, _ = await trio_of(fleet, disk)
        await fleet.kill(full)
        fill(disk)
        await publish(first, "meanwhile", b"y" * 100_000)
        again = await fleet.start("full", first.node.identity.address, data=disk / "data")
        assert again.values() == {"before": b"1"}
        with pytest.raises(JournalWriteFailed):
            await again.publish(prepare(again, put("refused", b"x" * 100_000)))
        make_room(disk)
        await fleet.until(lambda: again.node.replica.disk_error is None)
        await publish(again, "after", b"1")


async def test_a_disk_that_is_still_full_is_not_called_well(
    site: Site, tmp_path: Path, disk: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing left to write the agent must still try, or it would believe that there is room."""
    mock_clock.rate = 1.0
    written: list[str | None] = []
    tell = WatchedAgent._written

    def recorded(self: WatchedAgent, persist: Persist, error: str | None) -> None:
        written.append(error)
        tell(self, persist, error)

    monkeypatch.setattr(WatchedAgent, "_written", recorded)
    async with fleet_of(site, tmp_path) as fleet:
        full = await fleet.start("full", data=disk / "data")
        await full.writer.flushed()
        fill(disk)
        written.clear()
        with pytest.raises(JournalWriteFailed):
            await publish(full, "refused", b"x" * 200_000)
        for tries in (2, 3):
            mock_clock.jump(DISK_RETRY_S)
            await fleet.until(lambda tries=tries: len(written) >= tries)
        assert None not in written
        assert full.node.replica.disk_error is not None
        make_room(disk)
        mock_clock.jump(DISK_RETRY_S)
        await fleet.until(lambda: full.node.replica.disk_error is None)


async def test_a_read_only_data_directory(site: Site, tmp_path: Path, disk: Path) -> None:
    """Nobody could reach the agent, since its socket cannot be made: it says so, and touches nothing."""
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("full", data=disk / "data")
        await publish(agent, "before", b"1")
        await fleet.stop(agent)
        content = (disk / "data" / JOURNAL_FILE).read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with trio.fail_after(HANG_S), pytest.raises(ControlError, match="Read-only"):
            await WatchedAgent(agent.settings, Bell()).run()
        assert (disk / "data" / JOURNAL_FILE).read_bytes() == content
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        agent = await fleet.start("full", data=disk / "data")
        assert agent.values() == {"before": b"1"}


async def test_a_directory_that_becomes_read_only_under_a_stopping_agent(
    site: Site, tmp_path: Path, disk: Path
) -> None:
    """Its socket cannot be removed: no reason to fail, the next start replaces it."""
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    (decoy / "control.sock").touch()
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("full", data=disk / "data")
        await publish(agent, "before", b"1")
        subprocess.run(["mount", "--bind", decoy, disk / "data"], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", disk / "data"], check=True)
            await fleet.stop(agent)
        finally:
            subprocess.run(["umount", "--lazy", disk / "data"], check=True)
        again = await fleet.start("full", data=disk / "data")
        assert again.values() == {"before": b"1"}


# -- a disk that refuses by decree, where no mount is needed -----------------------------------------


def refuse(monkeypatch: pytest.MonkeyPatch, agent: WatchedAgent, error: JournalError) -> None:
    """From now on the journal of ``agent`` answers each write with ``error``."""
    commit = Journal.commit
    path = agent.settings.data / JOURNAL_FILE

    def refused(journal: Journal, ops: Sequence[JournalOp]) -> None:
        if journal.path == path:
            raise error
        commit(journal, ops)

    monkeypatch.setattr(Journal, "commit", refused)


FULL = JournalWriteFailed("the disk is full")


@contextlib.asynccontextmanager
async def superseded_unwritten(
    site: Site, data: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Fleet, WatchedAgent]]:
    """An agent whose readers see what a peer's change has superseded, since its disk does not take that change."""
    async with fleet_of(site, data) as fleet:
        full = await fleet.start("full")
        peer = await fleet.start("peer", full)
        await fleet.linked(full, peer)
        await publish(full, "key", b"old")
        await fleet.settled(full, peer)
        await full.writer.flushed()
        refuse(monkeypatch, full, FULL)
        await publish(peer, "key", b"new")
        await fleet.until(lambda: full.node.root == peer.node.root and full.node.replica.disk_error)
        assert full.value("key") == b"old"
        yield fleet, full
        monkeypatch.undo()
        await fleet.until(lambda: full.value("key") == b"new")


async def test_a_superseded_value_is_read_signed_until_its_successor_is_on_disk(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with superseded_unwritten(site, tmp_path, monkeypatch) as (_, full), asking(full) as asker:
        got = (await asker.ask("get", key="key"))["versions"]
        listed = (await asker.ask("list", prefix=""))["items"][0]["versions"]
        for (version,) in (got, listed):
            change = Change.decode(version["change"], site.cluster_id)
            site.cluster.chain().judge(change)
            assert change.entries[0][1].value == b"old"
        assert [one["retired"] for one in (await asker.ask("log", key="key"))["changes"]] == [0]


async def test_a_superseded_value_whose_signature_is_lost_is_refused_with_a_word(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with superseded_unwritten(site, tmp_path, monkeypatch) as (_, full), asking(full) as asker:
        with pytest.MonkeyPatch.context() as lost:
            lost.setattr(Replica, "retiring", lambda replica, version_id: None)
            for request in ({"op": "get", "key": "key"}, {"op": "list", "prefix": "key"}):
                reply = await asker.ask(**request)
                assert (reply["ok"], reply["error"]) == (False, "ControlError")
                assert "'key'" in reply["message"]
        assert (await asker.ask("get", key="key"))["ok"] is True  # the agent lives


async def test_a_watch_of_a_value_whose_signature_is_lost_says_so_and_goes_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with superseded_unwritten(site, tmp_path, monkeypatch) as (_, full), asking(full) as asker:
        with pytest.MonkeyPatch.context() as lost:
            lost.setattr(Replica, "retiring", lambda replica, version_id: None)
            assert (await asker.ask("watch", prefix="key"))["ok"] is True
            for watcher in full.reads._watchers:
                watcher.notify("key")
            reply = await asker.reply()
            assert reply is not None
            assert (reply["ok"], reply["error"]) == (False, "ControlError")


async def test_a_journal_in_another_programs_hands_is_a_failed_write(
    site: Site, tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup tool may have it open at the moment at which a disk that was full takes writes again."""
    mock_clock.rate = 1.0
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("a")
        await agent.writer.flushed()
        with pytest.MonkeyPatch.context() as busy:
            refuse(busy, agent, JournalBusy("the journal is in use by another program"))
            with pytest.raises(JournalWriteFailed, match="another program"):
                await publish(agent, "key", b"1")
        mock_clock.jump(DISK_RETRY_S)
        await fleet.until(lambda: agent.node.replica.disk_error is None)
        await publish(agent, "key", b"2")


# -- the writer alone -----------------------------------------------------------------------------


class Recorded(JournalWriter):
    """A writer whose groups are counted."""

    def __init__(self, journal: Journal) -> None:
        self.groups: list[int] = []
        self.told: list[tuple[int, str | None]] = []
        super().__init__(journal, lambda persist, error: self.told.append((persist.token, error)))

    async def _commit(self, ops: list[JournalOp]) -> str | None:
        self.groups.append(len(ops))
        return await super()._commit(ops)


def writes(count: int, rows: int = 1) -> list[Persist]:
    return [Persist(token, tuple(PutMeta(f"{token}-{row}", b"x") for row in range(rows)), ()) for token in range(count)]


@pytest.fixture
def journal(site: Site, tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / JOURNAL_FILE, cluster_id=site.cluster_id, node_id="a") as journal:
        yield journal


@pytest.mark.parametrize(
    ("count", "rows", "groups"), [(0, 1, []), (1, 1, [1]), (500, 1, [500]), (5, 800, [1_600, 1_600, 800])]
)
async def test_what_waits_shares_a_transaction(journal: Journal, count: int, rows: int, groups: list[int]) -> None:
    writer = Recorded(journal)
    for persist in writes(count, rows):
        writer.write(persist)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        with trio.fail_after(HANG_S):
            await writer.flushed()
        nursery.cancel_scope.cancel()
    assert writer.groups == groups
    assert writer.told == [(token, None) for token in range(count)]
    assert len(journal.meta()) == count * rows


async def test_a_write_larger_than_a_group_is_still_one_transaction(journal: Journal) -> None:
    writer = Recorded(journal)
    (persist,) = writes(1, GROUP_OPS_MAX + 1)
    writer.write(persist)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        await writer.flushed()
        nursery.cancel_scope.cancel()
    assert writer.groups == [GROUP_OPS_MAX + 1]


async def test_a_publish_waits_for_one_batch_of_old_history_only(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    writer = Recorded(journal)
    expired = trio.Event()
    commit = Journal.commit

    def expire(self: Journal, before_ms: int) -> int:
        order.append("history")
        if len(order) == 1:
            trio.from_thread.run_sync(writer.write, writes(1)[0])
        if len(order) == 4:
            trio.from_thread.run_sync(expired.set)
            return 0
        return 1_000

    def recorded(self: Journal, ops: Sequence[JournalOp]) -> None:
        order.append("publish")
        commit(self, ops)

    monkeypatch.setattr(Journal, "expire_history", expire)
    monkeypatch.setattr(Journal, "commit", recorded)
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            nursery.start_soon(writer.sweep_history, 30, lambda: 0)
            await expired.wait()
            await writer.flushed()
            nursery.cancel_scope.cancel()
    assert order == ["history", "publish", "history", "history"]


@pytest.mark.parametrize("error", [FULL, JournalBusy("in use by another program")])
async def test_a_disk_that_refuses_to_forget_is_asked_again(
    journal: Journal, error: JournalError, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1_000 * HISTORY_SWEEP_S
    asked: list[int] = []
    enough = trio.Event()

    def expire(self: Journal, before_ms: int) -> int:
        asked.append(before_ms)
        if len(asked) == 3:
            trio.from_thread.run_sync(enough.set)
        raise error

    monkeypatch.setattr(Journal, "expire_history", expire)
    with trio.fail_after(HANG_S * mock_clock.rate):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Recorded(journal).sweep_history, 30, lambda: 0)
            await enough.wait()
            nursery.cancel_scope.cancel()


async def test_a_damaged_journal_ends_the_writer(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: Journal, ops: object) -> None:
        raise JournalCorrupt("the file is damaged")

    monkeypatch.setattr(Journal, "commit", damaged)
    writer = Recorded(journal)
    writer.write(writes(1)[0])
    with pytest.raises(JournalCorrupt):
        await writer.run()
    assert writer.told == []
