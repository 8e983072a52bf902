"""Booting from a checkpoint file: an empty disk, one that holds something, and files that are refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gossipconf.model.errors import CheckpointError
from gossipconf.runtime.boot import JOURNAL_FILE
from gossipconf.store.checkpoint import seal
from gossipconf.store.journal import Journal
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.keys import Signer

from .cluster import HANG_S, KEEPER, ROOT, Bell, Fleet, Site, WatchedAgent, asking, fleet_of, publish

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("checkpoints"))


def save(agent: WatchedAgent, path: Path, *, signer: Signer = KEEPER, made_ms: int | None = None) -> Path:
    """Write what ``agent`` holds to a file that is valid for a day."""
    made_ms = time.time_ns() // 1_000_000 if made_ms is None else made_ms
    parts = agent.node.replica.live.parts()
    chain = agent.node.replica.chain
    path.write_bytes(seal(parts, chain, signer, time_ms=made_ms, expires_ms=made_ms + DAY_MS).encode())
    return path


async def saved(fleet: Fleet, directory: Path) -> tuple[WatchedAgent, Path]:
    """An agent that holds two keys, and a file of that."""
    a = await fleet.start("a")
    await publish(a, "shop/x", b"1")
    await publish(a, "shop/y", b"2")
    return a, save(a, directory / "checkpoint")


def held(site: Site, data: Path) -> int:
    """How many changes a stopped agent's journal has."""
    with Journal.open(data / JOURNAL_FILE, cluster_id=site.cluster_id, node_id="b") as journal:
        return len(list(journal.changes()))


async def test_an_empty_disk_boots_alone_and_serves(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a, file = await saved(fleet, tmp_path)
        root = a.node.root
        await fleet.stop(a)
        b = await fleet.start("b", checkpoint=file)
        assert (b.node.root, b.value("shop/x"), b.value("shop/y")) == (root, b"1", b"2")
        assert b.node.confirmation.unconfirmed is not None
        await fleet.stop(b)
        b = await fleet.start("b")  # and from its own disk, where each signature is verified
        assert (b.node.root, b.value("shop/x")) == (root, b"1")


async def test_it_is_unconfirmed_until_two_different_peers_held_the_same_and_restarts_confirm_nothing(
    site: Site, tmp_path: Path
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a, file = await saved(fleet, tmp_path)
        await publish(a, "shop/later", b"3")  # what the file lacks comes by sync
        b = await fleet.start("b", a, checkpoint=file)
        await fleet.settled(a, b)
        await fleet.until(lambda: b.node.confirmation.comparisons.equal == ("a",))
        await fleet.stop(b)
        b = await fleet.start("b", checkpoint=file)
        assert b.node.confirmation.unconfirmed.equal == ("a",)
        async with asking(b) as asker:
            status = await asker.ask("status")
        assert (status["unconfirmed"]["equal"], status["unconfirmed"]["wanted"]) == (["a"], 2)
        c = await fleet.start("c", a, b)
        await fleet.settled(a, b, c)
        await fleet.until(lambda: b.node.confirmation.unconfirmed is None)
        assert a.node.confirmation.unconfirmed is c.node.confirmation.unconfirmed is None
        await fleet.stop(b)
        b = await fleet.start("b")
        assert b.node.confirmation.unconfirmed is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "cut off or altered"),
        (lambda data: data[:40], "cut off within its snapshot"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "cut off or altered"),
        (lambda data: b"", "it is an empty file"),
    ],
)
async def test_a_damaged_file_is_refused_and_nothing_is_written(
    site: Site, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        _, file = await saved(fleet, tmp_path)
        file.write_bytes(damage(file.read_bytes()))
        said = await refusal(site, tmp_path / "b", file)
        assert words in said
        assert str(file) in said


async def test_files_that_nobody_may_boot_from(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a, file = await saved(fleet, tmp_path)
        save(a, file, made_ms=time.time_ns() // 1_000_000 - 2 * DAY_MS)
        assert "has expired" in await refusal(site, tmp_path / "b", file)
        other = found_cluster("other", [ROOT], a.node.replica.chain.head.roles, threshold=1, now_ms=1, salt=bytes(16))
        now_ms = time.time_ns() // 1_000_000
        foreign = seal(other.policies, other.chain(), KEEPER, time_ms=now_ms, expires_ms=now_ms + DAY_MS)
        file.write_bytes(foreign.encode())
        assert "belongs to cluster" in await refusal(site, tmp_path / "b", file)
        assert "cannot be read" in await refusal(site, tmp_path / "b", tmp_path / "missing")


async def test_an_oversized_file_is_refused_by_its_size(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        _, file = await saved(fleet, tmp_path)
        monkeypatch.setattr("gossipconf.store.checkpoint.CHECKPOINT_BYTES_MAX", 100)
        assert "the limit of a checkpoint is 100" in await refusal(site, tmp_path / "b", file)


async def refusal(site: Site, data: Path, file: Path) -> str:
    """How an agent with an empty disk fails to start from ``file``; its disk is empty still."""
    with trio.fail_after(HANG_S), pytest.raises(CheckpointError) as raised:
        await WatchedAgent(site.settings("b", data, checkpoint=file), Bell()).run()
    assert held(site, data) == 0
    return str(raised.value)


async def test_a_disk_that_holds_something_merges_and_verifies_each_change(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with fleet_of(site, tmp_path) as fleet:
        a, file = await saved(fleet, tmp_path)
        await fleet.stop(a)
        b = await fleet.start("b")
        await publish(b, "shop/own", b"0")
        await fleet.stop(b)
        b = await fleet.start("b", checkpoint=file)
        await fleet.until(lambda: b.value("shop/y") == b"2")
        assert b.value("shop/own") == b"0"
        assert b.node.confirmation.unconfirmed is None, "it has verified each signature"
        await fleet.until(lambda: "were news, and verified one by one" in caplog.text)


async def test_a_bad_file_does_not_keep_a_disk_that_holds_something_from_serving(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        b = await fleet.start("b")
        await publish(b, "shop/own", b"0")
        await fleet.stop(b)
        b = await fleet.start("b", checkpoint=tmp_path / "missing")
        assert b.value("shop/own") == b"0"
        assert "serves what it holds, and does not merge" in caplog.text
