"""The native API for reading: answers beside what the agent holds, pages, errors, the document beside the routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gossipconf.http import api
from gossipconf.http.app import make_app
from gossipconf.http.openapi import document
from gossipconf.model.entry import ValueType, delete, put
from gossipconf.model.errors import Fenced
from gossipconf.trust.keys import fingerprint
from tests.runtime.cluster import ADMIN, CLERK, Site, prepare, publish, publish_entries

from .serving import LOOPBACK, ServedAgent, raw, served

DOCUMENT = document()
REGISTRY = Registry().with_resource("urn:gossipconf", Resource.from_contents(DOCUMENT, DRAFT202012))


async def get(client: httpx.AsyncClient, path: str, status: int = 200, **query: Any) -> Any:
    """An answer, which is as the document says."""
    answer = await client.get(path, params=query)
    assert answer.status_code == status, answer.text
    said = described(path)["responses"]
    shape = said.get(str(status), said["default"])["content"]["application/json"].get("schema")
    body = answer.json()
    if shape is not None:
        name = shape["$ref"].removeprefix("#")
        Draft202012Validator({"$ref": f"urn:gossipconf#{name}"}, registry=REGISTRY).validate(body)
    return body


def described(path: str) -> dict[str, Any]:
    found = DOCUMENT["paths"].get(path) or DOCUMENT["paths"]["/api/v1/kv/{key}"]
    return found["get"]


# -- one key --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_type", "content", "value"),
    [
        (ValueType.TEXT, "grün".encode(), "grün"),
        (ValueType.JSON, b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (ValueType.JSON, b'"\\ud800"', "\ud800"),
        (ValueType.JSON, b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        (ValueType.JSON, b"NaN", "NaN"),
        (ValueType.YAML, b"a: 1\n", "a: 1\n"),
        (ValueType.TOML, b"a = inf\n", "a = inf\n"),
        (ValueType.BYTES, b"\xff\0", {"base64": "/wA="}),
    ],
)
async def test_a_value_of_each_type(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value_type: ValueType, content: bytes, value: Any
) -> None:
    async with served(site, tmp_path) as (agent, client):

        async def unchecked(change: object) -> None:
            """A program that does not look at what it publishes."""

        monkeypatch.setattr(agent.inspector, "check", unchecked)
        await publish_entries(agent, put("shop/a", content, value_type))
        body = await get(client, "/api/v1/kv/shop/a")
        assert (body["type"], body["value"]) == (value_type.name.lower(), value)
        answer = await client.get("/api/v1/kv/shop/a?raw")
        assert answer.content == content
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_key_tells_whence_it_is(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        change = await publish(agent, "shop/a b/\N{SNOWMAN}", b"1")
        body = await get(client, "/api/v1/kv/shop/a b/\N{SNOWMAN}")
        assert body["change"] == change.id.hex()
        assert body["version"] == change.versions[0].id.hex()
        assert body["signer"] == fingerprint(ADMIN.public)
        assert (body["key"], body["variant"], body["operation"]) == ("shop/a b/\N{SNOWMAN}", "", "put")
        assert body["time"].startswith("2023-11-14T")
        assert body["conflict"] == body["held_back"] == []


async def test_a_raw_value_is_sent_once(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        await publish(agent, "shop/a", b"1")
        first = await client.get("/api/v1/kv/shop/a?raw")
        again = await client.get("/api/v1/kv/shop/a?raw", headers={"If-None-Match": f'"x", {first.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        await publish(agent, "shop/a", b"2")
        later = await client.get("/api/v1/kv/shop/a?raw", headers={"If-None-Match": first.headers["ETag"]})
        assert (later.status_code, later.content) == (200, b"2")


async def test_a_key_without_a_value_says_why(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        assert "'shop/a' has no value here" in (await get(client, "/api/v1/kv/shop/a", 404))["message"]
        await publish(agent, "shop/a", b"1")
        await publish_entries(agent, delete("shop/a"))
        assert "(default: deleted)" in (await get(client, "/api/v1/kv/shop/a", 404))["message"]


async def test_a_conflict_is_told_with_the_value_that_counts(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        await conflict(agent, "shop/a")
        body = await get(client, "/api/v1/kv/shop/a")
        assert body["value"] == agent.value("shop/a").decode()  # type: ignore[union-attr]
        assert {body["value"], body["conflict"][0]["value"]} == {"1", "2"}
        [item] = (await get(client, "/api/v1/conflicts"))["items"]
        assert item["key"] == "shop/a"
        assert [one["value"] for one in item["versions"]] == [body["value"], body["conflict"][0]["value"]]


async def conflict(agent: ServedAgent, key: str) -> None:
    signed = ((b"1", ADMIN), (b"2", CLERK))
    for change in [prepare(agent, put(key, value), signer=signer) for value, signer in signed]:
        await agent.publish(change)


async def test_a_fenced_key_is_not_answered(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(site, tmp_path) as (agent, client):

        def fenced(key: str) -> None:
            raise Fenced("'shop' is fenced")

        monkeypatch.setattr(agent.reads, "versions", fenced)
        answer = await client.get("/api/v1/kv/shop/a")
        assert (answer.status_code, answer.json()["error"]) == (503, "Fenced")
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("key", ["a//b", "/a", "a/../b", "a%00b", "%20a", "x" * 513, "%ff", "a/"])
async def test_what_is_no_key_is_refused(site: Site, tmp_path: Path, key: str) -> None:
    async with served(site, tmp_path) as (agent, _):
        head = f"GET /api/v1/kv/{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await raw(agent, head.encode())
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), answer
        assert b'"fix":' in answer


# -- pages ----------------------------------------------------------------------------------------


async def pages(client: httpx.AsyncClient, path: str, turn: str, **query: Any) -> list[list[Any]]:
    """All pages, one after another."""
    found = []
    while True:
        body = await get(client, path, **query)
        found.append(body["items"])
        if body["next"] is None:
            return found
        query[turn] = body["next"]


async def test_all_pages_together_are_the_whole(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["a", "shop", "shop-x", *(f"shop/{number}" for number in range(7))]
    async with served(site, tmp_path) as (agent, client):
        await publish_entries(agent, *(put(key, key.encode()) for key in keys))
        await publish_entries(agent, delete("shop/3"))
        expected = [key for key in keys if key.startswith(("shop/", "shop")) and key not in {"shop-x", "shop/3"}]
        for limit in (1, 2, 100):
            found = await pages(client, "/api/v1/kv", "after", prefix="shop", limit=limit)
            assert [item["key"] for page in found for item in page] == expected
            assert all(len(page) <= limit for page in found)
        whole = await get(client, "/api/v1/kv")
        assert [item["key"] for item in whole["items"]] == sorted([*expected, "a", "shop-x"])
        monkeypatch.setattr(api, "LOOKED_AT_MAX", 2)
        found = await pages(client, "/api/v1/kv", "after", prefix="shop")
        assert [item["key"] for page in found for item in page] == expected
        monkeypatch.setattr(api, "PAGE_BYTES_MAX", 5)
        found = await pages(client, "/api/v1/kv", "after", prefix="shop")
        assert [item["key"] for page in found for item in page] == expected


async def test_conflicts_come_in_pages(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        for number in range(3):
            await conflict(agent, f"shop/{number}")
        found = await pages(client, "/api/v1/conflicts", "after", limit=2)
        assert [[item["key"] for item in page] for page in found] == [["shop/0", "shop/1"], ["shop/2"]]


async def test_history_has_what_was_and_what_is(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        changes = [await publish(agent, "shop/a", value) for value in (b"1", b"2", b"3")]
        await publish(agent, "shop/b", b"4")
        await agent.writer.flushed()
        found = await pages(client, "/api/v1/history", "before", key="shop/a", limit=1)
        assert [item["change"] for page in found for item in page] == [one.id.hex() for one in reversed(changes)]
        versions = [version for page in found for item in page for version in item["versions"]]
        assert [version["value"] for version in versions] == ["3", "2", "1"]
        assert [version["retired"] is None for version in versions] == [True, False, False]
        assert not any(version["void"] for version in versions)
        under = await get(client, "/api/v1/history", prefix="shop")
        assert len(under["items"]) == 4


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v1/kv", {"limit": "0"}),
        ("/api/v1/kv", {"limit": "1001"}),
        ("/api/v1/kv", {"limit": "x" * 10_000}),
        ("/api/v1/kv", {"prefix": "a/"}),
        ("/api/v1/kv", {"after": ""}),
        ("/api/v1/conflicts", {"limit": "\N{ARABIC-INDIC DIGIT ONE}"}),
        ("/api/v1/history", {}),
        ("/api/v1/history", {"key": "a", "prefix": "a"}),
        ("/api/v1/history", {"prefix": "", "limit": "101"}),
        ("/api/v1/history", {"prefix": "", "before": "1"}),
        ("/api/v1/history", {"prefix": "", "before": "1.00"}),
        ("/api/v1/history", {"prefix": "", "before": "1.zz"}),
        ("/api/v1/history", {"prefix": "", "before": "9" * 5_000 + "." + "00" * 32}),
    ],
)
async def test_a_malformed_query_is_refused(site: Site, tmp_path: Path, path: str, query: dict[str, str]) -> None:
    async with served(site, tmp_path) as (_, client):
        assert (await get(client, path, 400, **query))["fix"]


# -- the agent ------------------------------------------------------------------------------------


async def test_status_and_members(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        await publish(agent, "shop/a", b"1")
        body = await get(client, "/api/v1/status")
        assert (body["node"], body["keys"], body["members"]) == ("a", 1, 1)
        assert body["root"] == agent.node.root.hex()
        assert body["cluster"] == site.cluster_id.hex()
        assert "data_dir" not in body
        body = await get(client, "/api/v1/members")
        assert [(one["node"], one["state"], one["root"]) for one in body["members"]] == [
            ("a", "self", agent.node.root.hex())
        ]
        assert not body["crowded"]


async def test_the_document_is_valid_and_served(site: Site, tmp_path: Path) -> None:
    validate(DOCUMENT)
    async with served(site, tmp_path) as (_, client):
        assert await get(client, "/api/v1/openapi.json") == DOCUMENT


async def test_the_document_has_what_is_routed(site: Site, tmp_path: Path) -> None:
    agent = ServedAgent(site.settings("a", tmp_path, http=LOOPBACK), None)  # type: ignore[arg-type]
    guard: Any = make_app(agent, LOOPBACK, None, None, None)  # type: ignore[arg-type]
    routed = {
        (route.path.replace(":path", ""), method.lower()) for route in guard._app.routes for method in route.methods
    }
    assert {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods} == {
        (path, method) for path, method in routed if method != "head"
    }
