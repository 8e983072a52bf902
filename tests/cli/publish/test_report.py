"""`report-unhealthy`, and what of votes and halts the reading commands show."""

from __future__ import annotations

import json


def canary(run, key: str, *options: str) -> str:
    """Publish a good value and a canary for everybody that one vote halts; return the canary's change."""
    assert run("put", key, "good").code == 0
    put = run("put", key, "bad", "--variant", "canary", "--percent", "100", *options)
    assert put.code == 0
    return json.loads(run("get", key, "--json").out)["change"]


def test_a_canary_is_halted_by_the_vote_that_makes_its_limit(cluster, run):
    change = canary(run, "report/a", "--halt-after", "1")
    assert run("get", "report/a").out == "bad"
    shown = run("report-unhealthy", "report/a", "--dry-run").out
    assert shown == f"would report change {change[:10]}: 0 of 1 votes so far\n"
    assert run("get", "report/a").out == "bad", "a dry run reports nothing"
    voted = run("report-unhealthy", "report/a", "--reason", "errors above 5%")
    assert voted.out == f"change {change[:10]}: halted by 1 of 1 vote: a\n"
    assert run("get", "report/a").out == "good"
    again = json.loads(run("report-unhealthy", "--change", change[:12], "--json").out)
    assert again == {"node": "a", "change": change, "nodes": ["a"], "limit": 1, "halted": True}
    everything = run("get", "report/a", "--all").out
    assert "halted  bad  (text)" in everything
    assert "  votes    halted by 1 of 1 vote: a\n" in everything
    assert "limit 1 vote" in everything
    outcomes = {
        one["variant"]: (one["outcome"], one.get("votes"))
        for one in json.loads(run("get", "report/a", "--all", "--json").out)
    }
    assert outcomes == {
        "": ("read", None),
        "canary": ("halted", {"nodes": ["a"], "limit": 1, "halted": True}),
    }
    status = json.loads(run("status", "--json").out)
    assert {"change": change, "keys": ["report/a"], "nodes": ["a"], "limit": 1, "halted": True} in status["votes"]
    assert f"change {change[:10]} to report/a: halted by 1 of 1 vote: a\n" in run("status").out


def test_a_canary_alone_that_is_halted_leaves_no_value(cluster, run):
    run("put", "report/alone", "bad", "--variant", "canary", "--percent", "100", "--halt-after", "1")
    assert run("report-unhealthy", "report/alone").code == 0
    read = run("get", "report/alone")
    assert read.code == 3
    assert "its change is held off by votes" in read.err


def test_the_admin_s_next_change_is_read_again_and_keeps_the_limit(cluster, run):
    canary(run, "report/b", "--halt-after", "1")
    run("report-unhealthy", "report/b")
    assert run("put", "report/b", "better", "--variant", "canary").code == 0
    assert run("get", "report/b").out == "better"
    assert run("report-unhealthy", "report/b").code == 0
    assert run("get", "report/b").out == "good"
    assert run("abort", "report/b", "--variant", "canary", "--yes").code == 0
    assert run("get", "report/b").out == "good"
    assert "report/b" not in run("status").out


def test_the_same_value_can_be_published_anew_where_it_is_held_off(cluster, run):
    canary(run, "report/f", "--halt-after", "1")
    assert run("put", "report/f", "bad", "--variant", "canary").out.endswith("nothing to publish\n")
    run("report-unhealthy", "report/f")
    assert "published 1 key" in run("put", "report/f", "bad", "--variant", "canary").out
    assert run("get", "report/f").out == "bad"


def test_explain_does_not_say_that_no_variant_is_for_an_agent_where_votes_hold_it_off(cluster, run):
    canary(run, "report/g", "--halt-after", "1")
    run("report-unhealthy", "report/g")
    said = json.loads(run("explain", "report/g", "--json").out)["because"]
    assert said == "it is the value for all: votes hold a variant off, and no other is for a now"


def test_votes_below_the_limit_are_shown_and_change_nothing(cluster, run):
    change = canary(run, "report/c", "--halt-after", "2")
    assert run("report-unhealthy", "report/c").out == f"change {change[:10]}: called unhealthy by 1 of 2 votes: a\n"
    assert run("get", "report/c").out == "bad"


def test_what_carries_no_limit_or_is_not_read_here_is_told(cluster, run):
    canary(run, "report/d")
    for options in ((), ("--dry-run",)):
        refused = run("report-unhealthy", "report/d", *options)
        assert (refused.code, refused.out) == (1, "")
        assert "carries no limit of votes" in refused.err
    assert run("report-unhealthy", "report/none", "--dry-run").code == 3
    assert run("report-unhealthy").code == 2
    assert run("report-unhealthy", "report/d", "--change", "abcd").code == 2


def test_a_share_that_grows_begins_with_nobody_and_tells_so(cluster, run):
    run("put", "report/e", "old")
    put = run(
        "put", "report/e", "new", "--variant", "canary", "--percent", "100", "--over", "300d", "--halt-after", "3"
    )
    assert "(for 100% by salt canary, limit 3 votes, growing over 300 days, rank 10,000)" in put.out
    assert run("get", "report/e").out == "old"
    shown = json.loads(run("get", "report/e", "--all", "--json").out)[1]
    assert shown["outcome"] == "no_match"
    assert shown["match"] == [
        {"kind": "percent", "salt": "canary", "percent": 100.0},
        {"kind": "halt", "votes": 3},
        {"kind": "pace", "over_ms": 300 * 86_400_000},
    ]
