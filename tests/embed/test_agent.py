"""The agent in a program's own process, with real sockets and disks: reading, publishing, and how the block ends."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import gossipconf
from gossipconf import Agent, KeyMissing, Source, WrongType
from gossipconf.embed.overrides import Overrides
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, ValueType, put
from gossipconf.model.errors import (
    AgentFailed,
    ConfigError,
    ControlError,
    InvalidInput,
    InvalidValue,
    JournalBusy,
    NotAuthorised,
    NotRecipient,
    Rejected,
)
from gossipconf.protocol.beacons import Freshness
from gossipconf.store.resolution import Verdict
from gossipconf.trust.recipient import RecipientKey
from gossipconf.trust.sealed import SEAL_RANDOM_BYTES, Opened, Place, seal
from tests.runtime.cluster import ADMIN, HANG_S, STRANGER, Bell, Site, WatchedAgent


class SiteWithSchemas(Site):
    """Its admin may publish schemas too."""

    ADMIN_PREFIXES = ("", "_schemas")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return SiteWithSchemas(tmp_path_factory.mktemp("embedded"))


@asynccontextmanager
async def opened(site: Site, data: Path, name: str = "a", *join: str, **options: Any) -> AsyncIterator[Agent]:
    options.setdefault("environment", {})
    with trio.fail_after(HANG_S):
        async with Agent.open(site.settings(name, data / name, join), **options) as agent:
            yield agent


async def until(agent: Agent, key: str, value: str | int) -> None:
    """Wait until ``key`` reads ``value``."""
    with agent.watch(key) as watch, trio.fail_after(HANG_S):
        while agent.get(key, type(value), None) != value:
            await anext(watch)


# -- reading and publishing -----------------------------------------------------------------------


async def test_what_one_publishes_another_reads(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path, "a") as a, opened(site, tmp_path, "b", a._agent.node.identity.address) as b:
        change = await a.publish({"shop/limit": 30, "shop/name": "Amélie"}, signer=ADMIN, comment="first")
        assert a.get("shop/limit", int) == 30, "at once, where it was published"
        await until(b, "shop/name", "Amélie")
        assert b.get("shop/limit", int) == 30, "a change is seen whole"
        assert b.explain("shop/limit").origin == change
        assert b.health().joined
        assert b.health().peers == ("a",)
        assert b.health().root == a.health().root


async def test_values_are_published_as_what_they_are(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish({"t": "30", "b": b"\xff", "l": [1], "n": 2.5, "gone": "x"}, signer=ADMIN)
        assert (agent.get("t", int), agent.get("b", bytes), agent.get("l", list)) == (30, b"\xff", [1])
        await agent.publish({"t": 31, "n": "text", "gone": None}, signer=ADMIN)
        assert agent.get("t") == "31", "a key of text stays text"
        assert agent.get("n", bytes) == b'"text"', "and one of json stays json"
        assert agent.keys() == ["b", "l", "n", "t"]
        with pytest.raises(KeyMissing, match="'gone'"):
            agent.get("gone")


async def test_reading_says_what_is_wrong(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish({"name": "secret words", "tree": {"a": 1}}, signer=ADMIN)
        with pytest.raises(WrongType, match="'name': int is wanted, and the value is text that is no whole") as raised:
            agent.get("name", int, default=3)
        assert "secret" not in str(raised.value)
        with pytest.raises(WrongType, match="'tree': str is wanted, and the value is of type dict"):
            agent.get("tree")
        with pytest.raises(InvalidInput, match="cannot be read as"):
            agent.get("name", set)
        for key in ("_policies/1", "", "a//b"):
            with pytest.raises(InvalidInput):
                agent.get(key, default="")
        agent.get("tree", dict)["a"] = 2
        assert agent.get("tree", dict) == {"a": 1}, "what was read is the reader's own"
        assert agent.get("none", int, default=None) is None


async def test_a_snapshot_never_changes(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish({"k": "1"}, signer=ADMIN)
        before = agent.snapshot
        await agent.publish({"k": "2"}, signer=ADMIN)
        assert [one.cells["k"].read(str) for one in (before, agent.snapshot)] == ["1", "2"]


async def test_a_variant_is_read_where_it_matches(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        for_a = put("k", b"of a", variant="one", match=[MatchTerm(MatchKind.EQUAL, "node", ("a",))], rank=1)
        for_b = put("k", b"of b", variant="two", match=[MatchTerm(MatchKind.EQUAL, "node", ("b",))], rank=2)
        await agent.publish({"k": "of all"}, entries=[for_a, for_b], signer=ADMIN)
        assert agent.get("k") == "of a"
        verdicts = {one.variant: one.verdict.value for one in agent.explain("k").competitors}
        assert "of a" not in repr(agent.explain("k")), "it may go to a log"
        assert verdicts == {"": "default, behind a variant", "one": "read", "two": "does not match"}


async def test_one_vote_is_enough_where_one_is_the_limit(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish({"k": "good"}, signer=ADMIN)
        canary = put("k", b"bad", variant="canary", match=[MatchTerm(MatchKind.HALT, "", 1)], rank=1)
        await agent.publish(entries=[canary], signer=ADMIN)
        assert agent.get("k") == "bad"
        votes = await agent.report_unhealthy("k", "it fails")
        assert votes.is_halted
        assert agent.get("k") == "good", "at once"
        with pytest.raises(Rejected, match="has nothing to call unhealthy"):
            await agent.report_unhealthy("none", "it fails")


async def test_what_may_not_be_published(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        with pytest.raises(NotAuthorised):
            await agent.publish({"k": "v"}, signer=STRANGER)
        with pytest.raises(InvalidInput, match="_policies"):
            await agent.publish({"_policies/9": "v"}, signer=ADMIN)
        with pytest.raises(InvalidInput, match="'k': this value cannot be published"):
            await agent.publish({"k": {1, 2}}, signer=ADMIN)
        assert agent.keys() == []
    with pytest.raises(ControlError, match="has stopped"):
        await agent.publish({"k": "v"}, signer=ADMIN)


async def test_rivals_through_one_agent_all_succeed_without_a_conflict(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(lambda number=number: agent.publish({"k": number}, signer=ADMIN))
        assert agent.health().conflicts == 0
        assert agent.get("k", int) in range(20)


async def test_any_thread_may_read(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish({"k": 30}, signer=ADMIN)
        assert await trio.to_thread.run_sync(agent.get, "k", int) == 30
        await agent.settled("k")  # no strict key: at once


async def test_health_of_one_that_is_alone(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish({"k": "v"}, signer=ADMIN)
        health = agent.health()
        assert (health.node, health.is_serving, health.joined, health.keys) == ("a", True, False, 1)
        assert (health.freshness, health.at_most_ms, health.disk_error) == (Freshness.NEVER, None, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            health.keys = 2
    assert not agent.health().is_serving


# -- the fallback order ---------------------------------------------------------------------------


async def test_the_fallback_order(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        await agent.publish(dict.fromkeys(["a/env", "a/file", "a/disk", "a/new"], "cluster"), signer=ADMIN)
        assert agent.source("a/new") is Source.GOSSIP
    local = tmp_path / "local.toml"
    local.write_text('[a]\nenv = "file"\nfile = "file"\nonly = 5\n')
    environment = {"GOSSIPCONF_OVERRIDE_A__ENV": "variable", "GOSSIPCONF_OVERRIDE_NEW_KEY": "7", "HOME": "/"}
    async with opened(site, tmp_path, override_file=local, environment=environment) as agent:
        await agent.publish({"a/new": "newer", "a/env": "newer"}, signer=ADMIN)
        expected = {
            "a/env": ("variable", Source.ENVIRONMENT),
            "a/file": ("file", Source.FILE),
            "a/new": ("newer", Source.GOSSIP),
            "a/disk": ("cluster", Source.JOURNAL),
            "none": ("default", Source.DEFAULT),
        }
        assert {key: (agent.get(key, default="default"), agent.source(key)) for key in expected} == expected
        assert agent.get("new-key", int) == 7, "a variable gives a value to a key that the cluster does not know"
        assert agent.get("a/only", int) == 5
        explanation = agent.explain("a/env")
        assert explanation.sources == (Source.ENVIRONMENT, Source.FILE, Source.GOSSIP)
        assert explanation.origin == explanation.variable == "GOSSIPCONF_OVERRIDE_A__ENV"
        assert agent.explain("a/disk").sources == (Source.JOURNAL,)
        assert agent.explain("none").sources == ()
    assert agent.get("a/disk") == "cluster", "what there was can be read on"


async def test_an_override_file_of_the_settings(site: Site, tmp_path: Path) -> None:
    local = tmp_path / "local.yaml"
    local.write_text("shop:\n  limit: 3\n")
    settings = dataclasses.replace(site.settings("a", tmp_path / "a"), overrides=local)
    async with Agent.open(settings, environment={}) as agent:
        assert (agent.get("shop/limit", int), agent.source("shop/limit")) == (3, Source.FILE)


# -- the block ------------------------------------------------------------------------------------


async def test_what_the_block_raises_comes_out_as_it_is(site: Site, tmp_path: Path) -> None:
    for number, error in enumerate(
        (ValueError("mine"), ExceptionGroup("mine too", [KeyError("x")]), KeyboardInterrupt())
    ):
        with pytest.raises(type(error)) as raised:
            async with opened(site, tmp_path / str(number)):
                raise error
        assert raised.value is error


async def test_it_stops_gracefully_whatever_the_block_raises(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="mine"):
        async with opened(site, tmp_path):
            raise ValueError("mine")
    assert "agent a has stopped" in caplog.messages


async def test_a_block_that_is_cancelled_ends_the_agent(site: Site, tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with opened(site, tmp_path) as agent:
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not agent.health().is_serving
    async with opened(site, tmp_path) as agent:
        assert agent.health().is_serving, "nothing is held any more"


async def test_what_is_wrong_at_the_start_is_one_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "agent.toml").write_text('node = "a"\nnodes = 3')
    with pytest.raises(ConfigError, match="unknown option 'nodes'"):
        async with Agent.open(tmp_path):
            pass
    with pytest.raises(ConfigError, match="override file"):
        async with opened(site, tmp_path, override_file=tmp_path / "none.toml"):
            pass
    async with opened(site, tmp_path):
        with pytest.raises(JournalBusy):
            async with opened(site, tmp_path):
                pass


class Faulty(WatchedAgent):
    """An agent that fails once ``fault`` is set."""

    fault: Exception | None = None

    async def fail(self) -> None:
        assert self.fault is not None
        raise self.fault


async def wait() -> None:
    await trio.sleep_forever()


async def wait_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)


async def wait_and_raise() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("mine")


async def wait_and_raise_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(wait_and_raise)


@pytest.mark.parametrize(
    ("block", "fault", "expected"),
    [
        (wait, JournalBusy("the disk"), JournalBusy),
        (wait, RuntimeError("a bug"), AgentFailed),
        (wait_in_a_nursery, JournalBusy("the disk"), JournalBusy),
        (wait_and_raise, JournalBusy("the disk"), ValueError),  # the block's own error wins
        (wait_and_raise_in_a_nursery, JournalBusy("the disk"), ExceptionGroup),
    ],
)
async def test_an_agent_that_fails_cancels_the_block(
    site: Site,
    tmp_path: Path,
    block: Callable[[], Awaitable[None]],
    fault: Exception,
    expected: type[Exception],
) -> None:
    inner = Faulty(site.settings("a", tmp_path / "a"), Bell())
    inner.fault = fault
    agent = Agent(inner, Overrides())

    async def run() -> None:
        async with agent.live():
            inner.start_soon(inner.fail)
            await block()

    with trio.fail_after(HANG_S), pytest.raises(expected) as raised:
        await run()
    assert not agent.health().is_serving
    if isinstance(raised.value, ExceptionGroup):
        assert [str(error) for error in raised.value.exceptions] == ["mine"], "and no cancellation beside it"


async def test_a_fault_where_snapshots_are_made_is_one_error_too(site: Site, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(site, tmp_path) as agent:
            agent._follower.resolver.read = None  # type: ignore[method-assign, assignment]
            agent._agent.reads.held_off(["k"])
            await trio.sleep_forever()

    with pytest.raises(AgentFailed, match="has failed: TypeError"):
        await run()


def test_the_package_names_what_it_offers() -> None:
    assert {name: getattr(gossipconf, name).__name__ for name in gossipconf.__all__ if name != "__version__"} == {
        name: name for name in gossipconf.__all__ if name != "__version__"
    }
    assert set(gossipconf.__all__) <= set(dir(gossipconf))
    with pytest.raises(AttributeError, match="no attribute 'Agents'"):
        gossipconf.Agents  # noqa: B018 - that it raises is what is tested


# -- schemas and secrets --------------------------------------------------------------------------


async def test_a_value_that_fails_a_schema_is_not_read_and_the_last_good_one_is(site: Site, tmp_path: Path) -> None:
    async def take_anything(entries: Sequence[Entry]) -> None:
        """An agent that cannot check by schemas publishes whatever it is given."""

    schema = put("_schemas/shop", b'{"type": "integer"}', ValueType.JSON)
    async with opened(site, tmp_path) as agent:
        await agent.publish(entries=[schema, put("shop/limit", b"30", ValueType.JSON)], signer=ADMIN)
        with pytest.raises(InvalidValue):
            await agent.publish({"shop/limit": "many"}, signer=ADMIN)
        async with opened(site, tmp_path, "b", agent._agent.node.identity.address) as other:
            await until(other, "shop/limit", 30)
            other._agent.inspector.check = take_anything  # type: ignore[method-assign]
            await other.publish({"shop/limit": "many", "other": "x"}, signer=ADMIN)
            await until(agent, "other", "x")
        assert agent.get("shop/limit", int) == 30
        assert agent.health().held_back == 1
        assert {one.verdict for one in agent.explain("shop/limit").competitors} == {Verdict.READ, Verdict.UNFIT}
    async with opened(site, tmp_path) as agent:
        assert (agent.get("shop/limit", int), agent.source("shop/limit")) == (30, Source.JOURNAL)
        await agent.publish({"shop/limit": 31}, signer=ADMIN)
        assert (agent.get("shop/limit", int), agent.source("shop/limit")) == (31, Source.GOSSIP)


async def test_a_sealed_value_is_opened_by_its_recipient_and_by_nobody_else(site: Site, tmp_path: Path) -> None:
    async with opened(site, tmp_path) as agent:
        own = agent._agent.credentials.recipient
        assert own is not None
        for key, to in (("mine", own), ("theirs", RecipientKey.generate())):
            place = Place(site.cluster_id, key)
            envelope = seal(Opened(ValueType.TEXT, b"hunter2"), place, [to.public], bytes(SEAL_RANDOM_BYTES))
            await agent.publish(entries=[put(key, envelope, ValueType.SEALED)], signer=ADMIN)
        assert (agent.get("mine"), agent.get("mine", bytes)) == ("hunter2", b"hunter2")
        with pytest.raises(WrongType, match="the sealed value is not of that type"):
            agent.get("mine", int)
        with pytest.raises(NotRecipient):
            agent.get("theirs", default="x")
