"""Metrics: their form as Prometheus' own parser reads it, their figures, and the page that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gossipconf.http.exposition import Family, Kind, text_of
from gossipconf.http.metrics import FAMILIES, VIEW_AGE, table
from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.runtime.schema_set import SCHEMA_PREFIX
from tests.runtime.cluster import ADMIN, CLERK, HANG_S, Site, fleet_of, prepare, publish, publish_entries

from .serving import LOOPBACK, ServedAgent, ServedFleet, served
from .test_health import beacon

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
UNITS = ("_seconds", "_bytes", "_timestamp_seconds", "_seconds_total", "_bytes_total")


async def figures(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """By name and values of labels."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_every_family_is_there(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path, ServedFleet) as fleet:
        a = await fleet.start("a", http=LOOPBACK)
        b = await fleet.start("b", a, http=LOOPBACK)
        await fleet.linked(a, b)
        await fleet.until(lambda: all(link.rtt_s is not None for link in a.node.links()))
        await publish_entries(a, schema("shop", '{"type": "integer"}'))
        assert isinstance(a, ServedAgent)
        beacon(a)
        async with httpx.AsyncClient(base_url=a.url, timeout=HANG_S) as client:
            found = await figures(client)
    assert {name for name, *_ in found} == set(FAMILIES)


async def test_what_an_agent_has(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        before = await figures(client)
        await publish(agent, "shop/a", b"1")
        await publish(agent, "shop/b", b"1")
        after = await figures(client)
        assert after["gossipconf_keys",] == 2
        assert after["gossipconf_versions",] - before["gossipconf_versions",] == 2
        assert after["gossipconf_policy_version",] == agent.node.replica.policy_version
        assert after["gossipconf_start_time_seconds",] == agent.started_ms / 1000
        assert after["gossipconf_certificate_expiry_timestamp_seconds", "own"] * 1000 == (
            agent.credentials.lifetime.ends_ms
        )
        assert after["gossipconf_pending_writes",] == after["gossipconf_disk_error",] == 0
        assert after["gossipconf_journal_bytes",] > 0
        assert after["process_resident_memory_bytes",] > 1 << 20
        assert after["gossipconf_links",] == after["gossipconf_convergence_lag_seconds",] == 0


async def test_a_conflict_and_its_end(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        siblings = [
            prepare(agent, put("shop/a", value), signer=signer) for value, signer in ((b"1", ADMIN), (b"2", CLERK))
        ]
        for change in siblings:
            await agent.publish(change)
        assert (await figures(client))["gossipconf_conflicts",] == 1
        await publish(agent, "shop/a", b"3")
        assert (await figures(client))["gossipconf_conflicts",] == 0


async def test_the_age_of_the_view(site: Site, tmp_path: Path) -> None:
    async with served(site, tmp_path) as (agent, client):
        before = await figures(client)
        assert (VIEW_AGE.name,) not in before
        assert before["gossipconf_view_freshness", "never"] == 1
        beacon(agent)
        after = await figures(client)
        assert 10 <= after[VIEW_AGE.name,] < 10 + HANG_S  # by so much clocks may differ
        assert after["gossipconf_view_freshness", "never"] == 0
        assert after["gossipconf_view_freshness", "fresh"] == 1


async def test_values_that_fail_a_schema_are_counted_by_it(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path, ServedFleet) as fleet:
        apart = await fleet.start("b")  # knows of no schema
        await publish_entries(apart, put("shop/n", b'"x"', type=ValueType.JSON))
        agent = await fleet.start("a", http=LOOPBACK)
        assert isinstance(agent, ServedAgent)
        await publish_entries(agent, schema("shop", '{"type": "integer"}'), schema("other", "{}"))
        await fleet.stop(agent)
        agent = await fleet.start("a", apart, http=LOOPBACK)
        assert isinstance(agent, ServedAgent)
        await fleet.until(lambda: agent.last_good.unfit)
        async with httpx.AsyncClient(base_url=agent.url, timeout=HANG_S) as client:
            found = await figures(client)
        assert found["gossipconf_unfit_values", "shop"] == 1
        assert found["gossipconf_unfit_values", "other"] == 0


def schema(prefix: str, text: str) -> Entry:
    return put(f"{SCHEMA_PREFIX}/{prefix}", text.encode(), type=ValueType.JSON)


# -- the form -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(), st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False))), max_size=5))
def test_any_label_and_value_is_read_as_it_was(pairs: list[tuple[str, float]]) -> None:
    family = Family("x_total", Kind.GAUGE, "X.", ("label",))
    pairs = [("".join(c for c in text if c.isprintable() or c == "\n"), value) for text, value in pairs]
    text = text_of(family.sample(value, label) for label, value in pairs)
    read = [sample for one in text_string_to_metric_families(text) for sample in one.samples]
    assert [(sample.labels["label"], sample.value) for sample in read] == pairs


def test_names_have_their_unit_and_counters_say_that_they_are() -> None:
    for family in FAMILIES.values():
        assert re.fullmatch(r"(gossipconf|process)_[a-z_]+", family.name)
        assert (family.kind is Kind.COUNTER) == family.name.endswith("_total")
        if re.search(r"seconds|bytes", family.name):
            assert family.name.endswith(UNITS)
        assert family.meaning.endswith(".")
        assert "|" not in family.meaning


# -- the page -------------------------------------------------------------------------------------


def test_the_page_lists_them_as_they_are() -> None:
    assert table(FAMILIES.values()) in OPERATIONS.read_text(), "see `python -c` of table(FAMILIES.values())"


def test_alerts_are_about_what_there_is() -> None:
    page = OPERATIONS.read_text()
    named = set(re.findall(r"gossipconf_[a-z_]+[a-z]", page.partition("Alerts to begin with")[2]))
    assert len(named) > 10
    assert named <= set(FAMILIES)
