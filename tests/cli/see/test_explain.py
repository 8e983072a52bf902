"""`explain`: why an agent reads what it reads; against a real agent, `a`, without a zone."""

from __future__ import annotations

import json

from gossipconf.cli.instant import now_ms
from gossipconf.cli.output import moment
from gossipconf.model.entry import MatchKind, MatchTerm, delete, put

from ..publish.test_variant import HOUR_MS, node, publish
from ..test_commands import siblings


def explained(run, key):
    result = run("explain", key, "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_the_only_value(cluster, run):
    assert run("put", "why/a", "1", "--comment", "OPS-3\x1b").code == 0
    found = explained(run, "why/a")
    assert (found["agent"], found["reads"]["value"], found["because"]) == ("a", "1", "it is the only value")
    assert found["judged_by"] == {"policy": 1, "roles": [{"role": "admins", "approvals": 1, "keys": 1}]}
    assert found["writers"] == found["judged_by"]
    assert (found["sealed"], found["schemas"], found["next"], found["view"]["freshness"]) == (None, [], None, "never")
    shown = run("explain", "why/a").out
    assert "\nreads      1\nbecause    it is the only value\ncandidates read  1\n" in shown
    assert "OPS-3\\x1b" in shown
    assert "writers    by policy 1, the newest: role admins, 1 of 1 key\n" in shown
    assert "freshness  view of unknown age" in shown


def test_each_condition_of_a_variant_is_told(cluster, run):
    zone = MatchTerm(MatchKind.GLOB, "zone", ("eu-*",))
    share = MatchTerm(MatchKind.PERCENT, "salt", 10_000)
    publish(
        cluster,
        put("why/v", b"1"),
        put("why/v", b"2", variant="mine", match=(*node("a", "z"), share), rank=5),
        put("why/v", b"3", variant="low", rank=1),
        put("why/v", b"4", variant="europe", match=(zone,), rank=9),
    )
    found = explained(run, "why/v")
    assert found["reads"]["value"] == "2"
    assert found["because"] == "this variant is for a, and of 2 that are it has the highest rank"
    said = {
        one["variant"]: (one["outcome"], [part["holds"] for part in one["conditions"]]) for one in found["candidates"]
    }
    assert said == {
        "": ("shadowed", []),
        "europe": ("no_match", [False]),
        "low": ("outranked", []),
        "mine": ("read", [True, True]),
    }
    shown = run("explain", "why/v").out
    assert "zone=eu-* does not hold: it has no label zone\n" in shown
    assert "node=a,z holds: its node is a\n" in shown
    assert "100% by salt salt holds: a stands at " in shown


def test_what_time_will_change(cluster, run):
    expires_ms = now_ms() + 2 * HOUR_MS
    publish(cluster, put("why/t", b"1"), put("why/t", b"2", variant="o", rank=1, expires_ms=expires_ms))
    found = explained(run, "why/t")
    assert (found["reads"]["value"], found["next"]["reads"]["value"]) == ("2", "1")
    assert f"next       {moment(expires_ms)}, in 119 min: reads 1\n" in run("explain", "why/t").out
    later_ms = now_ms() + 72 * HOUR_MS
    publish(cluster, put("why/later", b"1", expires_ms=later_ms))
    assert f"next       {moment(later_ms)}: reads no value\n" in run("explain", "why/later").out
    publish(cluster, put("why/gone", b"1", expires_ms=now_ms() - 2 * HOUR_MS))
    gone = explained(run, "why/gone")
    assert (gone["reads"], gone["next"]) == (None, None)
    assert "expired 2 h ago" in gone["because"]
    assert "reads      no value\n" in run("explain", "why/gone").out


def test_what_is_deleted_is_said_once(cluster, run):
    assert run("put", "why/d", "1").code == 0
    publish(cluster, delete("why/d", variant="gone"))
    assert "\n           deleted  variant gone\n" in run("explain", "why/d").out
    assert "\ndeleted\n  variant  gone, for nobody\n" in run("get", "why/d", "--all").out


def test_a_conflict(cluster, run):
    siblings(cluster, "why/c", "one", "two")
    found = explained(run, "why/c")
    assert (found["reads"]["value"], found["because"]) == (
        "two",
        "it is the value for all; of 2 siblings it was signed last",
    )
    assert [one["outcome"] for one in found["candidates"]] == ["read", "sibling"]
    assert "conflict   2 siblings, in changes " in run("explain", "why/c").out


def test_a_sealed_value_and_who_opens_it(cluster, run, tmp_path):
    assert run("seal", "key", tmp_path / "seal.key").code == 0
    for key, recipient in (("why/mine", "a"), ("why/other", tmp_path / "seal.key.pub")):
        result = run("put", key, "-", "--seal-to", recipient, stdin=b"hunter2")
        assert result.code == 0, result.err
    assert explained(run, "why/mine")["sealed"]["can_open"] is True
    assert explained(run, "why/other")["sealed"]["can_open"] is False
    shown = run("explain", "why/other").out
    assert "sealed     to 1 recipient; a is none of them\n" in shown
    assert "hunter2" not in shown + run("explain", "why/mine").out


def test_schemas_that_cover_the_key(cluster, run, tmp_path):
    assert run("put", "why/s/n", "5", "--type", "json").code == 0
    (tmp_path / "schema.json").write_text('{"type": "integer"}')
    assert run("schema", "set", "why/s", tmp_path / "schema.json").code == 0
    try:
        assert explained(run, "why/s/n")["schemas"] == [{"prefix": "why/s", "says": "holds"}]
        assert "schema     of why/s: holds\n" in run("explain", "why/s/n").out
        assert explained(run, "why/s/none")["schemas"] == [{"prefix": "why/s", "says": "there is no value to check"}]
    finally:
        assert run("schema", "remove", "why/s").code == 0


def test_nothing_there(cluster, run):
    found = explained(run, "why/no/such")
    assert (found["reads"], found["candidates"], found["judged_by"]) == (None, [], None)
    assert "has no value" in found["because"]
    bad = run("explain", "a//b")
    assert (bad.code, "empty segment" in bad.err) == (1, True)
