"""Agents in one process, with real sockets and disks: what an admin and a reader may rely on."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipconf.model.entry import put
from gossipconf.model.errors import (
    ConfigError,
    ControlError,
    GossipconfError,
    JournalBusy,
    JournalCorrupt,
    JournalForeign,
    KeyFileError,
    StaleReservation,
    TransportError,
)
from gossipconf.protocol.tuning import WAN
from gossipconf.runtime.address import parse_address
from gossipconf.runtime.boot import JOURNAL_FILE
from gossipconf.runtime.settings import AgentSettings
from gossipconf.store.journal import Journal, PutChange
from gossipconf.trust.cluster import found_cluster

from .cluster import ADMIN, HANG_S, ROOT, Bell, Fleet, Site, WatchedAgent, fleet_of, prepare, publish, raw_peer

DEAD = "127.0.0.1:1"
"""Nobody listens there."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("agents"))


@pytest.fixture(autouse=True)
def _no_tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


async def refusal(settings: AgentSettings, expected: type[GossipconfError]) -> str:
    """Start an agent that cannot start; what it says."""
    with trio.fail_after(HANG_S), pytest.raises(expected) as raised:
        await WatchedAgent(settings, Bell()).run()
    return str(raised.value)


# -- spreading ------------------------------------------------------------------------------------


async def test_what_is_published_at_one_is_read_at_all(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        c = await fleet.start("c", a)
        await fleet.linked(a, b, c)  # b and c have heard of each other from a
        for number, agent in enumerate((a, b, c)):
            await publish(agent, f"key/{number}", f"{number}".encode())
            assert agent.value(f"key/{number}") == f"{number}".encode()  # at once, where it was published
        await fleet.settled(a, b, c)
        assert b.values() == c.values() == a.values() == {"key/0": b"0", "key/1": b"1", "key/2": b"2"}


async def test_each_publish_is_read_where_it_was_acknowledged(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        for number in range(30):
            agent = (a, b)[number % 2]
            await publish(agent, "counter", str(number).encode())
            assert agent.value("counter") == str(number).encode()
            await fleet.settled(a, b)
        assert len(a.reads.versions("counter")) == 1


async def test_both_sides_of_a_partition_publish_and_then_converge(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await publish(a, "both", b"0")
        await fleet.settled(a, b)
        await fleet.stop(b)
        await publish(a, "of/a", b"1")
        await publish(a, "both", b"a")
        await fleet.stop(a)
        b = await fleet.start("b")
        assert b.values() == {"both": b"0"}
        await publish(b, "of/b", b"2")
        await publish(b, "both", b"b")
        a = await fleet.start("a", b)
        await fleet.linked(a, b)
        await fleet.settled(a, b)
        assert a.values() == b.values()
        assert a.values() | {"both": b"?"} == {"both": b"?", "of/a": b"1", "of/b": b"2"}
        for agent in (a, b):
            assert len(agent.reads.versions("both")) == 2
            assert agent.reads.conflicts() == [("both", "")]


async def test_two_publishers_of_one_key_at_once(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        c = await fleet.start("c", a)
        await fleet.linked(a, b, c)
        at_a, at_b = prepare(a, put("key", b"from a")), prepare(b, put("key", b"from b"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.publish, at_a)
            nursery.start_soon(b.publish, at_b)
        await fleet.settled(a, b, c)
        siblings = [[version.change_id for version in agent.reads.versions("key")] for agent in (a, b, c)]
        assert siblings[0] == siblings[1] == siblings[2]
        assert set(siblings[0]) == {at_a.id, at_b.id}
        await publish(c, "key", b"settled")
        await fleet.settled(a, b, c)
        for agent in (a, b, c):
            assert [version.entry.value for version in agent.reads.versions("key")] == [b"settled"]
            assert agent.reads.conflicts() == []


# -- starting -------------------------------------------------------------------------------------


async def test_a_restarted_agent_serves_before_it_has_any_link(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        for number in range(20):
            await publish(a, f"key/{number}", b"x")
        await fleet.settled(a, b)
        await fleet.stop(a)
        await fleet.kill(b)
        b = await fleet.start("b", DEAD)
        assert not b.node.links()
        assert b.values() == {f"key/{number}": b"x" for number in range(20)}


async def test_an_agent_keeps_the_pace_that_it_was_given(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("a", tuning=WAN)
        assert agent.node.environment.tuning is WAN


async def test_an_empty_disk_boots_from_one_peer(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        for number in range(20):
            await publish(b, f"key/{number % 5}", str(number).encode())
        await fleet.settled(a, b)
        await fleet.kill(b)
        shutil.rmtree(b.settings.data)
        b = await fleet.start("b", DEAD, a)
        await fleet.settled(a, b)
        assert b.values() == {f"key/{number % 5}": str(number).encode() for number in range(15, 20)}
        await publish(b, "key/0", b"again")
        await fleet.settled(a, b)
        assert a.value("key/0") == b"again"
        assert not a.node.replica.live.forks()


async def test_seeds_that_are_dead_or_late(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        address = a.address
        await publish(a, "key", b"1")
        await fleet.stop(a)
        b = await fleet.start("b", DEAD, address, "no-such-host.invalid:1")
        c = await fleet.start("c", b)
        await fleet.linked(b, c)
        assert b.values() == {}
        a = await fleet.start("a", listen=parse_address(address))  # it knows of nobody; b goes on trying
        await fleet.linked(a, b, c)
        await fleet.settled(a, b, c)
        assert c.values() == {"key": b"1"}


async def test_saved_addresses_replace_seeds(site: Site, tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1.0
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        mock_clock.jump(6)  # the address book is saved with a delay
        await publish(b, "key", b"1")
        await fleet.settled(a, b)
        await fleet.kill(b)
        b = await fleet.start("b")
        await fleet.linked(a, b)


async def test_what_a_crash_left_behind_goes_to_history(site: Site, tmp_path: Path) -> None:
    """A publish is on disk before what it supersedes is moved: killed in between, both are there."""
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        changes = [await publish(a, "key", str(number).encode()) for number in range(3)]
        await fleet.stop(a)
        path = a.settings.data / JOURNAL_FILE
        path.unlink()
        with Journal.open(path, cluster_id=site.cluster_id, node_id="a") as journal:
            journal.commit([PutChange(change.id, change.encode()) for change in changes])
        for _ in range(2):
            a = await fleet.start("a")
            assert a.values() == {"key": b"2"}
            await a.writer.flushed()
            history = await a.writer.read(lambda journal: journal.history_after(("", b""), key="key", limit=10))
            assert {row.change_id for row in history} == {changes[0].id, changes[1].id}
            assert all(row.retired_ms > 0 for row in history)
            await fleet.stop(a)
        with Journal.open(path, cluster_id=site.cluster_id, node_id="a") as journal:
            assert changes[2].encode() in set(journal.changes())
            assert changes[0].encode() not in set(journal.changes())


# -- stopping -------------------------------------------------------------------------------------


async def test_a_graceful_stop_says_goodbye_and_loses_nothing(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        acknowledged: set[str] = set()

        async def write(number: int) -> None:
            for round_number in range(20):
                key = f"key/{number}/{round_number}"
                with contextlib.suppress(StaleReservation, ControlError):  # overtaken, or stopped
                    await publish(a, key, b"x")
                    acknowledged.add(key)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(write, number)
            await fleet.until(lambda: len(acknowledged) > 10)
            await fleet.stop(a)
            nursery.cancel_scope.cancel()
        await fleet.until(lambda: not b.node.links())
        assert any("lost the link to a: peer: the agent is shutting down" in one.getMessage() for one in caplog.records)
        a = await fleet.start("a")
        assert acknowledged <= set(a.values())
        await fleet.until(lambda: acknowledged <= set(b.values()))  # all were sent before the goodbye


async def test_an_agent_can_be_stopped_at_once_and_started_again(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        for number in range(5):
            a = await fleet.start("a", DEAD)
            await publish(a, f"key/{number}", b"x")
            await fleet.stop(a)
            assert not a.settings.control_socket.exists()
        assert sorted(path.name for path in a.settings.data.iterdir()) == [JOURNAL_FILE]


# -- what is wrong at the start -------------------------------------------------------------------


async def test_a_certificate_of_another_name(site: Site, tmp_path: Path) -> None:
    files = site.certificate("b")
    message = await refusal(dataclasses.replace(site.settings("a", tmp_path / "a"), files=files), ConfigError)
    assert "'a'" in message
    assert "'b'" in message
    assert str(files.certificate) in message
    assert not (tmp_path / "a").exists()


async def test_a_certificate_of_another_cluster(site: Site, tmp_path: Path) -> None:
    other = found_cluster("other", [ROOT], [], threshold=1, now_ms=1, salt=b"x" * 16)
    other.save(tmp_path / "other.gossipconf")
    settings = AgentSettings(
        "a", ("127.0.0.1", 0), tmp_path / "other.gossipconf", site.certificate("a"), tmp_path / "a"
    )
    assert "is for cluster" in await refusal(settings, KeyFileError)


async def test_missing_files_are_named(site: Site, tmp_path: Path) -> None:
    settings = site.settings("a", tmp_path / "a")
    no_cluster = AgentSettings("a", settings.listen, tmp_path / "nothing", settings.files, settings.data)
    assert str(tmp_path / "nothing") in await refusal(no_cluster, KeyFileError)
    (tmp_path / "file").write_text("")
    in_the_way = site.settings("a", tmp_path / "file" / "data")
    assert "option 'data'" in await refusal(in_the_way, ConfigError)


async def test_a_port_in_use(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        message = await refusal(site.settings("b", tmp_path / "b", listen=parse_address(a.address)), TransportError)
        assert a.address in message
        assert "in use" in message
        await publish(a, "key", b"1")


async def test_a_data_directory_in_use(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        assert "in use" in await refusal(site.settings("a", a.settings.data), JournalBusy)
        assert a.settings.control_socket.exists()
        await publish(a, "key", b"1")
        assert a.value("key") == b"1"


async def test_a_damaged_journal_is_left_as_it_is(site: Site, tmp_path: Path) -> None:
    path = await _journal_of(site, tmp_path, "a")
    damaged = bytearray(path.read_bytes())
    for position in range(len(damaged) // 2, len(damaged), 500):  # a single byte may lie in unused space
        damaged[position] ^= 0xFF
    for content in (bytes(damaged), b"not a journal" * 100, bytes(damaged[:100])):
        path.write_bytes(content)
        message = await refusal(site.settings("a", tmp_path / "a"), JournalCorrupt)
        assert str(path) in message
        assert "move the file aside" in message
        assert path.read_bytes() == content


async def test_the_journal_of_another_node_is_left_as_it_is(site: Site, tmp_path: Path) -> None:
    path = await _journal_of(site, tmp_path, "b")
    content = path.read_bytes()
    message = await refusal(site.settings("a", tmp_path / "b"), JournalForeign)
    assert str(path) in message
    assert path.read_bytes() == content


async def test_a_journal_with_a_forged_change(site: Site, tmp_path: Path) -> None:
    """Its rows are whole, so SQLite and the checksums are content; the signature is not."""
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        change = prepare(a, put("key", b"1"))
        await fleet.stop(a)
    forged = change.encode().replace(change.signature, bytes(64))
    for data in (forged, b"no change at all"):
        path = a.settings.data / JOURNAL_FILE
        path.unlink()
        with Journal.open(path, cluster_id=site.cluster_id, node_id="a") as journal:
            journal.commit([PutChange(change.id, data)])
        message = await refusal(a.settings, JournalCorrupt)
        assert "move the file aside" in message


async def _journal_of(site: Site, data: Path, name: str) -> Path:
    """The journal that an agent leaves after some publishes."""
    async with fleet_of(site, data) as fleet:
        agent = await fleet.start(name)
        for number in range(20):
            await publish(agent, f"key/{number}", b"x" * 1_000)
        await fleet.stop(agent)
    return agent.settings.data / JOURNAL_FILE


# -- leaks ----------------------------------------------------------------------------------------


async def test_two_hundred_links_leave_nothing_behind(
    site: Site, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1.0
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        await _come_and_go(fleet, site, a, mock_clock, 5)
        before = _holdings(a)
        await _come_and_go(fleet, site, a, mock_clock, 200)
        assert _holdings(a) == before


def _holdings(agent: WatchedAgent) -> dict[str, int]:
    node = agent.node
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "links": len(node.overlay._links),
        "connections": len(agent._links),
        "sync peers": len(node.sync._peers),
        "sync waiting": len(node.sync._waiting),
        "dialling": len(node.overlay._dialling),
        "addresses": len(node.overlay.book),
        "members": len(node.members()),
        "publishes": len(agent._waiting),
        "timers": min(max(len(node.environment._timers), 8), 12),  # a few come and go
    }


async def _come_and_go(
    fleet: Fleet, site: Site, agent: WatchedAgent, clock: trio.testing.MockClock, times: int
) -> None:
    for number in range(times):
        clock.jump(0.03)  # so that the admission of connections has a token for the next
        async with raw_peer(site, f"guest{number % 3}", agent) as peer:
            await peer.greet()
            if number % 2:
                await peer.send_bytes(b"\xff\xff\xff\xff")
                await peer.end()
        await fleet.until(lambda: not agent._links)
    clock.jump(15)  # what was planned for links that have gone comes due
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
    assert ADMIN.public
