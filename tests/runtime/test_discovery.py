"""Seeds behind names: what is looked up and how, what a failure is called, and agents that find each other so."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import dns.rcode
import pytest
import trio
import trio.testing
from dns.asyncresolver import Resolver
from dns.resolver import NoResolverConfiguration

from gossipconf.model.errors import ConfigError, DiscoveryError
from gossipconf.protocol.seeds import NAME_ADDRESSES_MAX, REFRESH_S, RESOLVE_CAP_S
from gossipconf.runtime.address import parse_address
from gossipconf.runtime.agent import Agent
from gossipconf.runtime.discovery import RESOLVE_LIMIT_S, TARGETS_MAX, THREADS_MAX, Discovery

from .cluster import NOW_MS, Bell, Site, WatchedAgent, fleet_of
from .memory_network import MemoryNetwork, PatientClock
from .name_server import NameServer

SRV = "srv:_gossipconf._tcp.example.org"
SERVICE = "_gossipconf._tcp.example.org"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("discovery"))


@pytest.fixture
async def server(nursery: trio.Nursery) -> NameServer:
    server = NameServer()
    await nursery.start(server.run)
    return server


async def failure(discovery: Discovery, name: str) -> str:
    with pytest.raises(DiscoveryError) as raised:
        await discovery.look_up(name)
    return str(raised.value)


# -- names by the system's resolver -----------------------------------------------------------------


async def test_all_addresses_of_a_name_are_given_with_its_port() -> None:
    def getaddrinfo(host: str, port: int, **hints: Any) -> list[tuple[Any, ...]]:
        assert (host, hints) == ("agents.prod.svc", {"type": socket.SOCK_STREAM})
        kinds = [(socket.AF_INET, ("10.0.0.1", port)), (socket.AF_INET6, ("2001:db8::1", port, 0, 0))]
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in [*kinds, *kinds]]

    found = await Discovery(getaddrinfo=getaddrinfo).look_up("agents.prod.svc:7946")
    assert found == ["10.0.0.1:7946", "[2001:db8::1]:7946"]
    assert [parse_address(address)[1] for address in found] == [7946, 7946]


async def test_the_systems_resolver_is_asked() -> None:
    found = await Discovery().look_up("localhost:7946")
    assert set(found) & {"127.0.0.1:7946", "[::1]:7946"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
async def test_a_name_that_is_not_known(error: Exception, reason: str) -> None:
    def getaddrinfo(*arguments: Any, **hints: Any) -> list[tuple[Any, ...]]:
        raise error

    assert await failure(Discovery(getaddrinfo=getaddrinfo), "nowhere.example:1") == reason


async def test_a_resolver_that_hangs_ends_in_time_and_takes_no_thread_that_others_need(
    autojump_clock: trio.testing.MockClock,
) -> None:
    released = threading.Event()
    begun: list[str] = []

    def getaddrinfo(host: str, port: int, **hints: Any) -> list[tuple[Any, ...]]:
        begun.append(host)
        released.wait()
        return []

    discovery = Discovery(getaddrinfo=getaddrinfo)
    try:
        async with trio.open_nursery() as nursery:
            for number in range(3 * THREADS_MAX):
                nursery.start_soon(failure, discovery, f"{number}.example:1")
        assert trio.current_time() == pytest.approx(RESOLVE_LIMIT_S)
        assert await failure(discovery, "again.example:1") == f"no answer within {RESOLVE_LIMIT_S:g} s"
        assert len(begun) <= THREADS_MAX
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    finally:
        released.set()


# -- SRV records --------------------------------------------------------------------------------------


async def test_srv_records_give_hosts_and_ports_the_best_priority_first(server: NameServer) -> None:
    server.records = {
        (SERVICE, "SRV"): ["20 0 7003 c.example.org.", "10 5 7001 a.example.org.", "10 5 7002 b.example.org."],
        ("a.example.org", "A"): ["10.0.0.1", "10.0.0.2"],
        ("a.example.org", "AAAA"): ["2001:db8::1"],
        ("b.example.org", "AAAA"): ["2001:db8::2"],
        ("c.example.org", "A"): ["10.0.0.3"],
    }
    found = await Discovery(make_resolver=server.resolver).look_up(SRV)
    assert [sorted(found[:3]), *found[3:]] == [
        ["10.0.0.1:7001", "10.0.0.2:7001", "[2001:db8::1]:7001"],
        "[2001:db8::2]:7002",
        "10.0.0.3:7003",
    ]


async def test_hosts_and_record_types_that_fail_do_not_hide_the_others(server: NameServer) -> None:
    server.records = {
        (SERVICE, "SRV"): ["1 1 7001 a.example.org.", "1 1 7002 gone.example.org."],
        ("a.example.org", "A"): ["10.0.0.1"],
    }
    server.rcodes = {"AAAA": dns.rcode.SERVFAIL}
    assert await Discovery(make_resolver=server.resolver).look_up(SRV) == ["10.0.0.1:7001"]
    server.records[SERVICE, "SRV"] = ["1 1 7002 gone.example.org."]
    assert "gone.example.org" in await failure(Discovery(make_resolver=server.resolver), SRV)


async def test_no_such_service_and_a_service_without_hosts(server: NameServer) -> None:
    discovery = Discovery(make_resolver=server.resolver)
    assert "does not exist" in await failure(discovery, SRV)
    server.records = {(SERVICE, "SRV"): ["0 0 0 ."]}
    assert await discovery.look_up(SRV) == []
    server.records = {(SERVICE, "TXT"): ["x"]}
    assert "does not contain an answer" in await failure(discovery, SRV)
    server.rcodes = {"SRV": dns.rcode.SERVFAIL}
    assert "SERVFAIL" in await failure(discovery, SRV)


async def test_many_services_are_bounded_and_come_over_tcp_if_udp_has_no_room(server: NameServer) -> None:
    hosts = [f"h{number:03}.example.org" for number in range(2 * TARGETS_MAX)]
    server.records = {(SERVICE, "SRV"): [f"{number} 0 7946 {host}." for number, host in enumerate(hosts)]}
    server.records |= {(host, "A"): [f"10.0.0.{number}"] for number, host in enumerate(hosts)}
    server.is_truncating = True
    found = await Discovery(make_resolver=server.resolver).look_up(SRV)
    assert found == [f"10.0.0.{number}:7946" for number in range(TARGETS_MAX)]
    assert TARGETS_MAX == NAME_ADDRESSES_MAX


async def test_a_machine_without_name_servers() -> None:
    def make_resolver() -> Resolver:
        raise NoResolverConfiguration("cannot open /etc/resolv.conf")

    assert "/etc/resolv.conf" in await failure(Discovery(make_resolver=make_resolver), SRV)


async def test_without_dnspython_an_agent_with_an_srv_seed_does_not_start(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    agent = WatchedAgent(site.settings("a", tmp_path, ["10.0.0.1:7946", SRV]), Bell())
    with pytest.raises(ConfigError, match=rf"option 'join': {SRV} needs dnspython; .*pip install 'gossipconf\[srv\]'"):
        await agent.run()
    assert not list(tmp_path.iterdir())


# -- agents -------------------------------------------------------------------------------------------


async def test_agents_find_each_other_by_name(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", f"localhost:{parse_address(a.address)[1]}")
        await fleet.linked(a, b)


async def test_agents_find_each_other_by_srv_records(site: Site, tmp_path: Path, server: NameServer) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        server.records = {
            (SERVICE, "SRV"): [f"0 0 {parse_address(a.address)[1]} a.example.org."],
            ("a.example.org", "A"): ["127.0.0.1"],
        }
        b = await fleet.start("b", SRV, look_up=Discovery(make_resolver=server.resolver).look_up)
        await fleet.linked(a, b)
        assert server.asked[0] == (SERVICE, "SRV")


class Names:
    """A resolver whose answers a test sets; ``asked`` are the times of questions, on trio's clock."""

    def __init__(self) -> None:
        self.addresses: list[str] | None = None
        self.asked: list[float] = []

    async def look_up(self, name: str) -> list[str]:
        self.asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.addresses is None:
            raise DiscoveryError("no resolver answers")
        return self.addresses


async def test_names_are_resolved_again_for_ever(
    site: Site, tmp_path: Path, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A resolver that is down for an hour, a name that leads nowhere, a peer whose place another takes elsewhere."""
    caplog.set_level(logging.WARNING, "gossipconf")
    network = MemoryNetwork(lambda one, other: 0.001, 0.001)
    clock = PatientClock(mock_clock, network)
    names = Names()

    def agent(name: str, host: str, join: tuple[str, ...] = ()) -> Agent:
        return Agent(
            site.settings(name, tmp_path / name, join, listen=(host, 1)),
            rng=Random(name),
            wall_ms=lambda: NOW_MS,
            make_transport=network.transport_of(name),
            look_up=names.look_up,
        )

    async with trio.open_nursery() as nursery:
        seeker = agent("seeker", "s", ("agents.example:1",))
        nursery.start_soon(seeker.run)
        peer = agent("peer", "p")
        nursery.start_soon(peer.run)
        await clock.run(3_600.0)
        assert 3_600 / RESOLVE_CAP_S / 1.25 <= len(names.asked) <= 3_600 / RESOLVE_CAP_S / 0.75 + 6
        lines = [record.getMessage() for record in caplog.records if "seed" in record.getMessage()]
        assert lines == ["cannot resolve the seed agents.example:1: no resolver answers"]
        names.addresses = ["q:1"]
        await clock.run(60.0)
        assert not seeker.node.links()
        names.addresses = ["p:1"]
        await clock.run(RESOLVE_CAP_S * 1.25 + 1)
        assert [link.node_id for link in seeker.node.links()] == ["peer"]

        names.asked.clear()
        await clock.run(3 * REFRESH_S)
        assert 2 <= len(names.asked) <= 4

        peer.stop()
        await clock.run(10.0)
        names.addresses = ["moved:1"]
        nursery.start_soon(agent("successor", "moved").run)
        await clock.run(RESOLVE_CAP_S * 1.25 + 1)
        assert [(link.node_id, link.address) for link in seeker.node.links()] == [("successor", "moved:1")]
        nursery.cancel_scope.cancel()
