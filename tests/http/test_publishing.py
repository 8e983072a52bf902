"""Publishing over HTTP: a signed change is taken, anything else refused, and after a refusal the state is as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.http import publishing
from gossipconf.model.entry import put
from gossipconf.model.limits import MESSAGE_BYTES_MAX
from tests.runtime.cluster import ADMIN, CLERK, Site, prepare, publish

from .serving import raw, served

PATH = "/api/v1/changes"


async def test_a_signed_change_is_published(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        change = prepare(agent, put("shop/a", b"1"), put("shop/b", b"2"))
        answer = await client.post(PATH, content=change.encode())
        assert answer.status_code == 201
        assert answer.json() == {"change": change.id.hex(), "versions": 2}
        assert agent.value("shop/b") == b"2"


async def test_a_change_that_was_overtaken_is_refused_if_that_is_asked(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        change = prepare(agent, put("shop/a", b"1"), signer=CLERK)
        await publish(agent, "shop/a", b"2")
        answer = await client.post(PATH + "?compared", content=change.encode())
        assert answer.status_code == 409, answer.text
        assert agent.value("shop/a") == b"2"


async def test_what_no_policy_allows_or_is_no_change_is_refused(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        root = agent.node.root
        good = prepare(agent, put("shop/a", b"1"), signer=ADMIN).encode()
        altered = good.replace(b"shop/a", b"shop/b")
        for body, status in ((altered, 403), (b"", 400), (b"{}", 400), (good[:-1], 400)):
            answer = await client.post(PATH, content=body)
            assert answer.status_code == status, answer.text
            assert answer.json()["fix"]
        assert agent.node.root == root
        assert agent.value("shop/a") is None


async def test_a_body_beyond_the_limit_is_not_read(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (_, client):
        answer = await client.post(PATH, content=bytes(MESSAGE_BYTES_MAX + 1))
        assert (answer.status_code, answer.json()["error"]) == (413, "LimitExceeded")


async def test_a_body_that_does_not_come_is_given_up(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "BODY_S", 0.01)
    async with served(site, tmp_path) as (agent, _):
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
        assert (await raw(agent, head.encode())).startswith(b"HTTP/1.1 408 ")
