"""What applications call unhealthy at real agents: who may, what comes of it, and that it lasts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, put
from gossipconf.model.errors import ControlError, InvalidInput, LimitExceeded, Rejected
from gossipconf.runtime.complaint import REASON_BYTES_MAX, Votes
from gossipconf.store.resolution import resolve
from gossipconf.trust.membership import Membership
from gossipconf.trust.statement import Kind

from .cluster import HANG_S, Site, WatchedAgent, asking, fleet_of, publish_entries
from .test_revocation import decree

ALL = MatchTerm(MatchKind.PERCENT, "salt", 10_000)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def canary(limit: int | None, *match: MatchTerm, key: str = "key") -> Entry:
    limits = () if limit is None else (MatchTerm(MatchKind.HALT, "", limit),)
    return put(key, b"bad", variant="canary", match=[*(match or (ALL,)), *limits])


def read(agent: WatchedAgent, key: str = "key") -> bytes | None:
    found = resolve(agent.reads.versions(key), agent.reader, agent.now().wall_ms, agent.node.halts.halted).version
    return None if found is None else found.entry.value


async def both(agent: WatchedAgent, *entries: Entry) -> Change:
    """Publish a good default and a canary."""
    await publish_entries(agent, put("key", b"good"))
    return await publish_entries(agent, *entries)


async def test_a_canary_that_enough_agents_call_unhealthy_is_read_by_nobody_any_more(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gossipconf")
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b, c = await fleet.start("b", a), await fleet.start("c", a)
        await fleet.linked(a, b, c)
        change = await both(a, canary(2))
        await fleet.until(lambda: [read(one) for one in (a, b, c)] == [b"bad"] * 3)
        watcher = c.reads.watch("key")
        with trio.fail_after(HANG_S):
            assert await a.report_unhealthy("key", reason="errors") == Votes(change.id, ("a",), 2, False)
            assert (await a.report_unhealthy(None, change.id.hex()[:12])).nodes == ("a",), "once and for good"
            await fleet.until(lambda: b.node.halts.votes(change.id) == ("a",))
            assert await b.report_unhealthy("key") == Votes(change.id, ("a", "b"), 2, True)
            assert await watcher.take() == ["key"], "readers are told"
        await fleet.until(lambda: [read(one) for one in (a, b, c)] == [b"good"] * 3)
        assert (await c.report_unhealthy("key")).nodes == ("a", "b"), "what is held off already needs no vote"
        await fleet.stop(c)
        await fleet.stop(a, b)
        c = await fleet.start("c")
        assert read(c) == b"good", "over a restart, with nobody there"
        assert c.node.halts.votes(change.id) == ("a", "b")
        await publish_entries(c, canary(None))
        await fleet.until(lambda: read(c) == b"bad")
    assert any("calls change" in line and "unhealthy: errors" in line for line in caplog.messages)
    assert any(line.startswith("HALTED: change") and "key" in line for line in caplog.messages)


async def test_only_who_reads_it_may_vote_and_only_where_there_is_a_limit(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        change = await both(a, canary(1, MatchTerm(MatchKind.EQUAL, "node", ("b",))), canary(None, key="free"))
        with pytest.raises(Rejected, match="carries no limit"):
            await a.report_unhealthy("key")
        with pytest.raises(Rejected, match="reads no value of 'nothing'"):
            await a.report_unhealthy("nothing")
        other = await publish_entries(a, canary(1, MatchTerm(MatchKind.EQUAL, "node", ("b",)), key="far"))
        with pytest.raises(Rejected, match="reads nothing of change"):
            await a.report_unhealthy(None, other.id.hex())
        with pytest.raises(InvalidInput, match="no change begins"):
            await a.report_unhealthy(None, "00" * 32)
        with pytest.raises(LimitExceeded, match="the reason has"):
            await a.report_unhealthy("key", reason="x" * (REASON_BYTES_MAX + 1))
        assert a.node.halts.votes(change.id) == a.node.halts.votes(other.id) == ()


async def test_a_revoked_node_s_vote_is_counted_no_more(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        b = await fleet.start("b", a)
        await fleet.linked(a, b)
        change = await both(a, canary(1))
        await fleet.until(lambda: read(b) == b"bad")
        with trio.fail_after(HANG_S):
            await b.report_unhealthy("key")
            await fleet.until(lambda: read(a) == b"good")
            await decree(a, Membership(nodes=("b",)))
        await fleet.until(lambda: read(a) == b"bad")
        assert a.node.halts.votes(change.id) == ()


async def test_over_the_control_socket(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        change = await both(a, canary(2))
        async with asking(a) as asker:
            assert (await asker.ask("status"))["votes"] == []
            told = {"change": change.id, "nodes": ["a"], "limit": 2, "halted": False}
            assert await asker.ask("unhealthy", key="key", reason="") == {"ok": True, **told}
            assert (await asker.ask("status"))["votes"] == [{**told, "keys": ["key"]}]
            versions = (await asker.ask("get", key="key"))["versions"]
            assert [one.get("votes") for one in versions] == [None, told]
            for wrong in ({}, {"key": "key"}, {"key": 5, "reason": ""}, {"change": "x", "reason": ""}):
                assert not (await asker.ask("unhealthy", **wrong))["ok"]


async def test_a_stopping_agent_says_nothing(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        change = await both(a, canary(2))
        await fleet.stop(a)
        with pytest.raises(ControlError, match="stopping"):
            await a.say(Kind.UNHEALTHY, change.id)
