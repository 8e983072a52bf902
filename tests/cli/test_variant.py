"""Variants as the command line shows and makes them, against a real agent."""

from __future__ import annotations

import json

import pytest

from gossipconf.cli.session import now_ms, open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, put
from gossipconf.trust.keys import load_signer

HOUR_MS = 3_600_000


def publish(cluster, *entries: Entry) -> None:
    with open_session(Target.find(cluster)) as session:
        session.publish(entries, load_signer(cluster / "keys" / "admin"))


def node(*names: str) -> tuple[MatchTerm, ...]:
    return (MatchTerm(MatchKind.ONE_OF, "node", names),)


# -- reading --------------------------------------------------------------------------------------


def test_what_is_read_is_what_the_asked_agent_reads(cluster, run):
    publish(
        cluster,
        put("v/a", b"1"),
        put("v/a", b"2", variant="mine", match=node("a", "z"), rank=7),
        put("v/a", b"3", variant="others", match=node("b"), rank=9),
    )
    assert run("get", "v/a").out == "2"
    found = json.loads(run("get", "v/a", "--json").out)
    assert (found["value"], found["variant"], found["rank"], found["outcome"]) == ("2", "mine", 7, "read")
    assert found["match"] == [{"kind": "one_of", "label": "node", "values": ["a", "z"]}]
    shown = run("get", "v/a", "--all").out
    assert [part.splitlines()[0] for part in shown.split("\n\n")] == [
        "default, behind a variant  1  (text)",
        "read  2  (text)",
        "does not match  3  (text)",
    ]
    assert "  variant  mine, for node=a,z, rank 7\n" in shown
    assert run("list", "v").out.splitlines()[1].split()[:3] == ["v/a", "mine", "2"]


def test_what_has_expired_is_said_to_have(cluster, run):
    publish(cluster, put("lapsed/a", b"1", expires_ms=now_ms() - HOUR_MS), put("lapsed/b", b"2"))
    publish(cluster, put("lapsed/b", b"3", variant="o", rank=1, expires_ms=now_ms() - 2 * HOUR_MS))
    read = run("get", "lapsed/a")
    assert read.code == 3
    assert "'lapsed/a' has no value now: expired 60 min ago; see: gossipconf get --all lapsed/a" in read.err
    assert run("get", "lapsed/a", "--default", "7").out == "7\n"
    assert run("get", "lapsed/b").out == "2"
    assert "1  (expired 60 min ago)" in run("list", "lapsed").out
    assert "expired 2 h ago" in run("get", "lapsed/b", "--all").out
    assert [one["outcome"] for one in json.loads(run("list", "lapsed", "--json").out)] == ["expired", "read"]


def test_what_will_expire_is_said_to(cluster, run):
    publish(cluster, put("soon/a", b"1", expires_ms=now_ms() + 3 * HOUR_MS))
    assert run("get", "soon/a").out == "1"
    assert "1  (expires in 2 h)" in run("list", "soon").out  # less a moment, and rounded down


@pytest.mark.parametrize("variants", [("b",), ("b", "c")])
def test_a_key_of_variants_for_others_has_no_value_here(cluster, run, variants):
    key = f"others/{len(variants)}"
    publish(cluster, *(put(key, b"1", variant=name, match=node(name)) for name in variants))
    read = run("get", key)
    assert read.code == 3
    assert f"{len(variants)} variant" in read.err
    assert "none of which is for this agent" in read.err
    assert "1  (does not match)" in run("list", key).out
