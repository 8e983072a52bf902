"""Health: what each check says, and that a partition takes nobody out of service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gossipconf.model.errors import GossipconfError, JournalWriteFailed
from gossipconf.store.journal import Journal
from gossipconf.trust.snapshot import Statement, sign_snapshot
from tests.runtime.cluster import KEEPER, Site, publish

from .serving import ServedAgent, served

NOBODY = "127.0.0.1:1"


async def ready(client: httpx.AsyncClient, query: str = "") -> tuple[int, dict[str, tuple[bool, str]]]:
    """The status, and each check with what it says."""
    answer = await client.get(f"/health/ready{query}")
    return answer.status_code, {one["name"]: (one["ok"], one["reason"]) for one in answer.json()["checks"]}


async def test_the_first_agent_of_a_cluster_is_ready(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (_, client):
        assert (await client.get("/health/live")).json() == {"status": "live", "node": "a"}
        status, found = await ready(client)
        assert status == 200
        assert list(found) == ["disk", "joined"]
        assert "no seeds" in found["joined"][1]


async def test_who_has_nothing_and_meets_nobody_is_not_ready(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path, NOBODY) as (_, client):
        status, found = await ready(client)
        assert (status, found["joined"][0]) == (503, False)
        assert "none of its seeds" in found["joined"][1]
        assert (await ready(client, "?exclude=joined"))[0] == 200
        assert (await client.get("/health/live")).status_code == 200


async def test_who_restarts_alone_with_its_disk_is_ready(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, _):
        await publish(agent, "shop/a", b"1")
    async with served(site, tmp_path, NOBODY) as (_, client):
        status, found = await ready(client)
        assert status == 200
        assert "serves the 1 keys" in found["joined"][1]


async def test_a_disk_that_takes_nothing_makes_unready(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(site, tmp_path) as (agent, client):

        def refuse(self: Journal, ops: object) -> None:
            raise JournalWriteFailed("No space left on device")

        monkeypatch.setattr(Journal, "commit", refuse)
        with pytest.raises(GossipconfError):
            await publish(agent, "shop/a", b"1")
        status, found = await ready(client)
        assert (status, found["disk"][0]) == (503, False)
        assert "No space left" in found["disk"][1]
        assert (await ready(client, "?exclude=disk"))[0] == 200


async def test_the_age_of_the_view_counts_only_if_it_is_asked(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        status, found = await ready(client, "?max_age_s=60")
        assert (status, found["fresh"][0]) == (503, False)
        assert "no beacon" in found["fresh"][1]
        beacon(agent)
        assert (await ready(client, "?max_age_s=60"))[0] == 200
        status, found = await ready(client, "?max_age_s=1")  # clocks may differ by 10 s
        assert (status, found["fresh"][0]) == (503, False)
        assert "the limit is 1 s" in found["fresh"][1]
        assert (await ready(client))[0] == 200


def beacon(agent: ServedAgent) -> None:
    """A beacon of what the agent has now."""
    chain, now_ms = agent.node.replica.chain, agent.now().wall_ms
    statement = Statement(chain.cluster_id, chain.head.version, now_ms, now_ms + 600_000, agent.node.root)
    agent.submit_beacon(sign_snapshot(statement, KEEPER, chain))


@pytest.mark.parametrize(
    "query", ["exclude=all", "max_age_s=", "max_age_s=-1", "max_age_s=1e3", "max_age_s=" + "9" * 99]
)
async def test_what_is_no_threshold_is_refused(site: Site, tmp_path: Path, query: str) -> None:
    async with served(site, tmp_path) as (_, client):
        answer: Any = await client.get(f"/health/ready?{query}")
        assert answer.status_code == 400
        assert answer.json()["fix"]
