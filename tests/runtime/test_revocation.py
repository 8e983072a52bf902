"""A node that the policy revokes: its links end when the policy arrives, and no peer lets it in again."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gossipconf.runtime.pki import issue_node
from gossipconf.runtime.ticket import create_ticket, load_ticket
from gossipconf.trust.cluster import sign_policy
from gossipconf.trust.floor import Floor, keeping
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.policy import Policy
from gossipconf.trust.signing import Reservation

from .cluster import HANG_S, NOW_MS, ROOT, Site, WatchedAgent, fleet_of, publish


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def decree(agent: WatchedAgent, membership: Membership) -> None:
    """Publish the next policy, as before but for what it says of nodes."""
    chain = agent.node.replica.chain
    head = chain.head
    roles = with_membership(head.roles, membership)
    policy = Policy(head.version + 1, head.roots, head.threshold, roles)
    reservation = Reservation(b"policies", head.version + 1)
    with trio.fail_after(HANG_S):
        await agent.publish(sign_policy(chain, policy, [ROOT], now_ms=NOW_MS, reservation=reservation))


def peers(agent: WatchedAgent) -> set[str]:
    return {link.node_id for link in agent.node.links()}


async def test_links_end_when_the_policy_arrives_and_none_is_made_again(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gossipconf")
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        c = await fleet.start("c", a)
        await fleet.linked(a, b, c)
        await decree(a, Membership(nodes=("c",)))
        await fleet.until(lambda: "c" not in peers(a) | peers(b) and not peers(c))
        await fleet.stop(c)
        c = await fleet.start("c", a, b)
        await fleet.until(lambda: any("cannot reach" in line for line in caplog.messages))
        await publish(a, "key", b"x")
        await fleet.settled(a, b)
        assert peers(a) == {"b"}
        assert c.value("key") is None
        assert any("refused a connection" in line and "has revoked node 'c'" in line for line in caplog.messages)


async def test_a_revoked_ticket_takes_with_it_what_it_has_made(site: Site, tmp_path: Path) -> None:
    create_ticket(site.directory / "ca", site.directory / "t", site.cluster, node=None, days=30)
    ticket = load_ticket(site.directory / "t")
    for name in ("b", "c"):
        ticket.issuer.issue_node(name, site.directory / name)
    async with fleet_of(site, tmp_path) as fleet:
        a, d = await fleet.start("a"), await fleet.start("d")
        b, c = await fleet.start("b", a), await fleet.start("c", a)
        await fleet.linked(a, b, c)
        await decree(a, Membership(certificates=(ticket.fingerprint,)))
        await fleet.until(lambda: not peers(a))
        await fleet.stop(d)
        d = await fleet.start("d", a)
        await fleet.linked(a, d)
        assert peers(a) == {"d"}


async def test_one_certificate_is_revoked_and_the_node_gets_another(site: Site, tmp_path: Path) -> None:
    lost = x509.load_pem_x509_certificate(site.certificate("b").certificate.read_bytes())
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        await decree(a, Membership(certificates=(lost.fingerprint(hashes.SHA256()),)))
        await fleet.until(lambda: not peers(a))
        await fleet.stop(b)
        site.certificate("b").certificate.unlink()
        site.certificate("b").key.unlink()
        issue_node(site.directory / "ca", "b", site.directory / "b")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)


async def test_a_revoked_agent_says_so_and_goes_on_serving(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        await publish(a, "key", b"x")
        await decree(a, Membership(nodes=("a",)))
        await fleet.until(lambda: any("peers refuse this agent" in line for line in caplog.messages))
        assert a.value("key") == b"x"
        await fleet.stop(a)
        caplog.clear()
        a = await fleet.start("a")
        assert [line for line in caplog.messages if "peers refuse" in line] == [
            "peers refuse this agent: policy 2 has revoked node 'a'; it goes on serving what it has"
        ]


async def test_who_is_pardoned_comes_back(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        await decree(a, Membership(nodes=("b",)))
        await fleet.until(lambda: not peers(a))
        await decree(a, Membership())
        await fleet.linked(a, b)
        await fleet.settled(a, b)


async def test_a_value_that_a_stolen_key_has_replaced_again_and_again_comes_back(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than versions are looked up, so that a node which looked at the latest only would find none."""
    monkeypatch.setattr("gossipconf.runtime.recollection.RECALLED_MAX", 2)
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        good = await publish(a, "key", b"good")
        for number in range(5):
            await publish(a, "key", str(number).encode())
        await a.writer.flushed()
        chain = a.node.replica.chain
        floor = Floor(b"", "", chain.head.version, keeping(good.versions))
        policy = replace(chain.head, version=chain.head.version + 1, floors=(floor,))
        with trio.fail_after(HANG_S):
            await a.publish(sign_policy(chain, policy, [ROOT], now_ms=NOW_MS, reservation=Reservation(b"policies", 2)))
        await fleet.until(lambda: a.value("key") == b"good")
