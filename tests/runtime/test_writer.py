"""A disk that refuses: publishing stops, serving and relaying do not, and nothing that was acknowledged is lost.

The full disk is a real one, a small tmpfs, which only root can mount.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipconf.model.entry import put
from gossipconf.model.errors import ControlError, JournalCorrupt, JournalWriteFailed
from gossipconf.protocol.environment import Persist
from gossipconf.protocol.replica import DISK_RETRY_S
from gossipconf.runtime.agent import JOURNAL_FILE
from gossipconf.runtime.writer import GROUP_OPS_MAX, JournalWriter
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
            assert (await asker.ask("history", key="before"))["ok"]
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


async def test_a_damaged_journal_ends_the_writer(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: Journal, ops: object) -> None:
        raise JournalCorrupt("the file is damaged")

    monkeypatch.setattr(Journal, "commit", damaged)
    writer = Recorded(journal)
    writer.write(writes(1)[0])
    with pytest.raises(JournalCorrupt):
        await writer.run()
    assert writer.told == []
