"""Variants as the command line shows and makes them, against a real agent."""

from __future__ import annotations

import json

import pytest

from gossipconf.cli.instant import now_ms
from gossipconf.cli.see.activation import variant_at, whole_second
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, put
from gossipconf.trust.keys import load_signer

from ..conftest import Agents, wait_at

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


# -- publishing -----------------------------------------------------------------------------------


def value(run, key: str) -> str:
    result = run("get", key)
    assert result.code == 0, result.err
    return result.out


def test_a_canary_is_put_widened_and_promoted(cluster, run):
    assert run("put", "canary/a", "1").code == 0
    refused = run("put", "canary/a", "2", "--variant", "canary")
    assert refused.code == 1
    assert "add --match LABEL=VALUE or --percent N" in refused.err
    made = run("put", "canary/a", "2", "--variant", "canary", "--match", "node=b", "--percent", "5")
    assert made.out.startswith("+ canary/a [canary]  2  (for node=b, 5% by salt canary, rank 10,000)\n")
    assert made.err == "note: matches 0 of 1 agent that a knows\n"
    assert value(run, "canary/a") == "1"
    same = run("put", "canary/a", "2", "--variant", "canary")
    assert same.out == "canary/a [canary] has this value already; nothing to publish\n"
    wider = run("put", "canary/a", "2", "--variant", "canary", "--match", "node=a,b", "--percent", "100")
    assert wider.out.startswith("~ canary/a [canary]  2 → 2  (for node=a,b, 100%")
    assert wider.err == "note: matches 1 of 1 agent that a knows\n"
    assert value(run, "canary/a") == "2"
    shadowed = run("put", "canary/a", "3")
    assert "a goes on reading variant canary; take it back with: gossipconf abort canary/a" in shadowed.err
    asked = run("promote", "canary", "--variant", "canary")
    assert (asked.code, "there is no terminal to ask on" in asked.err) == (1, True)
    plan = run("promote", "canary", "--variant", "canary", "--dry-run")
    assert plan.code == 2
    assert plan.out == (
        "~ canary/a  3 → 2\n- canary/a [canary]  2\n\n1 to update, 1 to delete, 0 unchanged\n"
        "dry run: nothing was published\n"
    )
    assert run("promote", "canary", "--variant", "canary", "--yes").code == 0
    found = json.loads(run("get", "canary/a", "--json").out)
    assert (found["value"], found["variant"], found["outcome"]) == ("2", "", "read")
    with open_session(Target.find(cluster)) as session:
        assert len({one.change_id for one in session.get("canary/a").versions}) == 1


def test_a_variant_of_many_keys_is_aborted_in_one_change(cluster, run):
    for number in range(3):
        assert run("put", f"many/{number}", "1").code == 0
        assert run("put", f"many/{number}", "2", "--variant", "blue", "--percent", "100").code == 0
    assert run("put", "many/x", "1").code == 0
    lines = run("list", "many", "--variants").out.splitlines()
    assert len(lines) == 7
    assert lines[2].startswith("many/0  blue     read ")
    assert lines[2].endswith("  100% by salt blue, rank 10,000")
    assert len(json.loads(run("list", "many", "--variants", "--json").out)) == 6
    plan = run("abort", "many", "--variant", "blue", "--dry-run")
    assert plan.code == 2
    assert "- many/2 [blue]  2\n" in plan.out
    assert "published 3 keys" in run("abort", "many", "--variant", "blue", "--yes").out
    assert value(run, "many/2") == "1"
    assert run("list", "many", "--variants").err == "no variants\n"
    for command in ("abort", "promote"):
        missing = run(command, "many", "--variant", "blue", "--yes")
        assert (missing.code, "no key at or under 'many' has a variant 'blue'" in missing.err) == (3, True)


def test_a_variant_alone_is_deleted(cluster, run):
    assert run("put", "alone/a", "1").code == 0
    assert run("put", "alone/a", "2", "--variant", "v", "--match", "node=a").code == 0
    assert "a goes on reading variant v" in run("delete", "alone/a").err
    assert value(run, "alone/a") == "2"
    assert run("delete", "alone/a", "--variant", "v").out.startswith("- alone/a [v]  2\n")
    assert run("get", "alone/a").code == 3
    again = run("delete", "alone/a", "--variant", "v")
    assert (again.code, "no value at 'alone/a [v]'" in again.err) == (3, True)


def test_a_new_value_of_a_variant_keeps_its_type(cluster, run):
    assert run("put", "kept/a", "[1]", "--type", "json", "--variant", "v", "--match", "node=a").code == 0
    assert run("put", "kept/a", "[", "--variant", "v").code == 1
    assert run("put", "kept/a", "[2]", "--variant", "v").code == 0
    assert json.loads(run("get", "kept/a", "--json").out)["value"] == [2]


def test_a_sealed_variant_opens_for_its_variant_and_is_not_promoted(cluster, run):
    sealed = ("--seal-to", "nodes/a/node.crt")
    assert run("put", "sealed/a", "-", *sealed, "--variant", "v", "--match", "node=a", stdin=b"hush").code == 0
    assert value(run, "sealed/a") == "hush"
    refused = run("promote", "sealed/a", "--variant", "v", "--yes")
    assert (refused.code, "sealed for this variant" in refused.err) == (1, True)


def test_an_override_is_read_before_all_else_and_ends_by_itself(cluster, run):
    assert run("put", "over/a", "1").code == 0
    assert run("put", "over/a", "2", "--variant", "v", "--match", "node=a").code == 0
    made = run("put", "over/a", "3", "--for", "2h")
    assert made.out.startswith("+ over/a [override]  3  (for everybody, rank 1,000,000; until ")
    assert value(run, "over/a") == "3"
    assert "a goes on reading variant override until it expires in 119 min" in run("put", "over/a", "4").err
    publish(cluster, put("over/a", b"3", variant="override", rank=1_000_000, expires_ms=now_ms() - 1))
    assert value(run, "over/a") == "2"
    assert run("put", "over/a", "3", "--for", "1h").out.startswith(
        "+ over/a [override]"
    )  # what has expired is no value


def test_what_nobody_reads_is_promoted_with_a_warning(cluster, run):
    publish(cluster, put("late/a", b"1", variant="v", match=node("a"), rank=1, expires_ms=now_ms() - 1))
    promoted = run("promote", "late/a", "--variant", "v", "--yes")
    assert promoted.code == 0
    assert promoted.err == "note: late/a [v] is expired: nobody reads it, and all would\n"
    assert value(run, "late/a") == "1"


def test_a_conflict_of_a_variant_does_not_make_the_default_published_again(cluster, run):
    assert run("put", "apart/a", "1").code == 0
    for number in range(2):
        entry = put("apart/a", b"2", variant="v", match=node("a"), rank=1)
        with open_session(Target.find(cluster)) as session:
            change = session.propose([entry], load_signer(cluster / "keys" / "admin"), comment=str(number)).change
            if not number:
                rival = change
            else:
                for one in (rival, change):
                    session.send(one)
    assert "nothing to publish" in run("put", "apart/a", "1").out


def test_a_value_that_has_expired_is_put_again(cluster, run):
    publish(cluster, put("again/a", b"1", expires_ms=now_ms() - 1))
    assert run("put", "again/a", "1", "--ttl", "1h").err == ""
    publish(cluster, put("again/a", b"1", expires_ms=now_ms() - 1))
    assert run("put", "again/a", "1").out.startswith("+ again/a  1\n")
    ending = run("put", "again/a", "1", "--ttl", "2h")
    assert ending.out.startswith("~ again/a  1 → 1  (until ")
    assert "and then again/a has none; an override leaves that in its place: --for TIME" in ending.err
    assert run("put", "again/a", "1").out.startswith("~ again/a  1 → 1\n")


# -- at a time ------------------------------------------------------------------------------------


def activated_before(cluster, key: str, content: bytes, ago_ms: int) -> str:
    """Publish what was activated a while ago; the name of its variant."""
    at_ms = whole_second(now_ms()) - ago_ms
    with open_session(Target.find(cluster)) as session:
        entry = put(key, content, variant=variant_at(at_ms), rank=10)
        session.publish([entry], load_signer(cluster / "keys" / "admin"), activation_ms=at_ms)
    return variant_at(at_ms)


def test_what_waits_for_its_time_leaves_the_present_value_alone(cluster, run):
    assert run("put", "wait/a", "1").code == 0
    made = run("put", "wait/a", "2", "--activate-at", "2100-01-01 12:00")
    assert made.out.startswith("+ wait/a [at-21000101T120000Z]  2  (from 2100-01-01 12:00:00 UTC on)\n")
    assert value(run, "wait/a") == "1"
    assert "active from 2100-01-01 12:00:00 UTC" in run("get", "wait/a", "--all").out
    assert "from 2100-01-01 12:00:00 UTC on agents read variant at-21000101T120000Z" in run("put", "wait/a", "3").err
    assert run("put", "wait/a", "4", "--activate-at", "2100-01-01 12:00").out.startswith("~ wait/a [at-21")
    assert run("abort", "wait/a", "--variant", "at-21000101T120000Z", "--yes").code == 0
    assert run("put", "wait/a", "5").err == ""


def test_what_was_activated_is_replaced_by_the_next_plain_put(cluster, run):
    assert run("put", "then/a", "1").code == 0
    name = activated_before(cluster, "then/a", b"2", 5_000)
    assert value(run, "then/a") == "2"
    assert run("put", "then/a", "2").out == "then/a has this value already; nothing to publish\n"
    made = run("put", "then/a", "3").out.splitlines()
    assert made[:2] == [
        "~ then/a  2 → 3",
        f"- then/a [{name}]  (its time had come; what is published now takes its place)",
    ]
    assert value(run, "then/a") == "3"
    name = activated_before(cluster, "then/a", b"4", 5_000)
    assert f"- then/a [{name}]  (its time had come)" in run("delete", "then/a").out
    assert run("get", "then/a").code == 3


def test_what_was_activated_is_promoted(cluster, run):
    name = activated_before(cluster, "made/a", b"2", 5_000)
    assert run("promote", "made/a", "--variant", name, "--yes").out.startswith(f"+ made/a  2\n- made/a [{name}]  2\n")
    assert json.loads(run("get", "made/a", "--json").out)["variant"] == ""


def test_what_waits_is_never_put_into_effect_by_another_command(cluster, run):
    assert run("put", "early/a", "1").code == 0
    name = "at-21000101T000000Z"
    assert run("put", "early/a", "2", "--activate-at", "2100-01-01").code == 0
    gone = run("abort", "early/a", "--variant", name, "--yes").out
    undone = run("rollback", gone.rstrip().rpartition(" ")[2], "--yes")
    assert undone.code == 1
    assert f"early/a [{name}] waits for 2100-01-01 00:00:00 UTC, and this change would put it" in undone.err
    assert value(run, "early/a") == "1"


def test_files_are_applied_at_a_time_all_in_one_change(cluster, run, tmp_path):
    file = tmp_path / "files.yaml"
    file.write_text("a: one\nb: two\n")
    assert run("put", "files/a", "1").code == 0
    assert run("put", "files/c", "1").code == 0
    at = ("--activate-at", "2100-01-01")
    refused = run("apply", file, "--prune", "--yes", *at)
    assert (refused.code, "only values can wait for their time" in refused.err) == (1, True)
    assert "published 2 keys" in run("apply", file, "--yes", *at).out
    assert value(run, "files/a") == "1"
    assert run("get", "files/b").code == 3
    with open_session(Target.find(cluster)) as session:
        waiting = [session.get(key).versions[-1] for key in ("files/a", "files/b")]
    assert {one.entry.variant for one in waiting} == {"at-21000101T000000Z"}
    assert len({one.change_id for one in waiting}) == 1


def test_files_replace_what_was_activated(cluster, run, tmp_path):
    file = tmp_path / "plain.yaml"
    file.write_text("a: one\nb: two\n")
    assert run("apply", file, "--yes").code == 0
    name = activated_before(cluster, "plain/a", b"other", 5_000)
    activated_before(cluster, "plain/b", b"two", 5_000)
    publish(cluster, put("plain/c", b"1", expires_ms=now_ms() + HOUR_MS))
    difference = run("diff", "plain", file)
    assert difference.code == 2
    assert "plain/a" in difference.out
    assert "plain/b" not in difference.out
    applied = run("apply", file, "--yes")
    assert applied.out.startswith(
        f"~ plain/a  one → one\n- plain/a [{name}]  other\n\n1 to update, 1 to delete, 1 unchanged\npublished 1 key"
    )
    assert value(run, "plain/a") == "one"
    assert "plain/a" not in run("list", "plain", "--variants").out
    file.write_text("a: one\nb: two\nc: '1'\n")
    assert "~ plain/c  1 → 1\n" in run("apply", file, "--yes").out  # files know no end: it expires no more
    assert json.loads(run("get", "plain/c", "--json").out)["expires"] is None


# -- several agents -------------------------------------------------------------------------------


def test_each_agent_reads_what_is_for_it_after_a_restart_too(tmp_path, run):
    agents = Agents(tmp_path / "shop")
    directory = agents.directory
    zones = {"a": "eu-west/a", "b": "us-east"}
    try:
        for name, zone in zones.items():
            agents.make(name)
            toml = directory / "nodes" / name / "agent.toml"
            labels = f'zone = "{zone}"\nlabels = {{ tier = "{name}-tier" }}'
            toml.write_text(toml.read_text().replace('zone = ""', labels))
            agents.start(name)
            agents.settle_address(name, agents.address(name))

        def at(name: str, *arguments: str):
            return run(*arguments, "--cluster", directory, "--agent", directory / "nodes" / name)

        assert at("a", "put", "shop/limit", "1").code == 0
        made = at("a", "put", "shop/limit", "2", "--variant", "eu", "--match", "zone=eu-*")
        assert made.code == 0
        assert at("b", "put", "shop/limit", "3", "--variant", "tier", "--match", "tier=b-tier").code == 0
        for _ in range(2):
            for name in zones:
                wait_at(directory, name, "shop/limit", lambda item: len(item.versions) == 3)
            assert [at(name, "get", "shop/limit").out for name in zones] == ["2", "3"]
            agents.stop("b")
            agents.start("b")
        assert at("b", "promote", "shop", "--variant", "eu", "--yes").code == 0
        wait_at(directory, "a", "shop/limit", lambda item: item.holds("eu") is None)
        assert [at(name, "get", "shop/limit").out for name in zones] == ["2", "3"]
    finally:
        agents.stop_all()
