"""`stage` at real agents: an epoch for all at once, the fence, its end, and a participant that is gone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gossipconf.cli import exits
from gossipconf.cli.session import open_session
from gossipconf.cli.stage.progress import prefixes
from gossipconf.cli.target import Target

WAIT = ("--timeout", "60s")


def well(run, *arguments):
    result = run(*arguments)
    assert result.code == 0, result.err
    return result


def change_policy(run, tmp_path, alter: Callable[[str], str]) -> None:
    """Edit the policy's text, sign and publish."""
    text = well(run, "policy", "show").out
    number = 1 + json.loads(well(run, "policy", "show", "--json").out)["version"]
    draft = tmp_path / f"policy-{number}.draft"
    (tmp_path / "next.yaml").write_text(alter(text))
    well(run, "policy", "edit", draft, "--from", tmp_path / "next.yaml")
    publish_policy(run, draft)


def publish_policy(run, draft) -> None:
    well(run, "policy", "sign", draft, "--key", "keys/root", "--yes")
    well(run, "policy", "publish", draft)


def make_strict(text: str) -> str:
    assert "parameters: {}" in text
    text = text.replace("parameters: {}", 'parameters:\n  "strict/shop/db": 1')
    return text.replace("operations: [put, delete]", "operations: [put, delete, stage]")


@pytest.fixture
def strict(agents, run, tmp_path, monkeypatch):
    """Agents a, b and c; `shop/db` is strict, and had a value before."""
    for name in ("a", "b", "c"):
        agents.make(name)
        agents.start(name)
        if name == "a":
            agents.settle_address(name, agents.address(name))
    monkeypatch.chdir(agents.directory)
    monkeypatch.setenv("GOSSIPCONF_AGENT", str(agents.directory / "nodes" / "a"))
    well(run, "put", "shop/db/host", "old")
    change_policy(run, tmp_path, make_strict)
    well(run, "put", "shop/other", "x")  # under the new policy: who has it knows that one
    agents.wait("b", "shop/other")
    agents.wait("c", "shop/other")
    return agents


def at(name: str) -> tuple[str, str]:
    return "--agent", f"nodes/{name}"


def until(agents, name: str, condition) -> None:
    """Look at an agent's stages whenever something may have changed, until they are as they should be."""
    with open_session(Target.find(agents.directory, agents.directory / "nodes" / name)) as session:
        while not condition(prefixes(session)[0]):
            pass


def test_from_the_first_epoch_to_a_fence_and_its_end(strict, run, tmp_path):
    refused = run("get", "shop/db/host")
    assert refused.code == exits.FENCED
    assert "no member" in refused.err
    assert "left out" in run("list", "shop").err

    by_admin = run("stage", "prepare", "--prefix", "shop/db", "--members", "a,b,c", "--yes")
    assert by_admin.code == exits.ERROR
    assert "the first epoch" in by_admin.err
    first = well(run, "stage", "prepare", "shop/db/port=1", "--members", "a,b,c", "--yes", "--key", "keys/root")
    assert "3 participants" in first.out
    assert "epoch:" in (strict.directory / "keys" / "root.signed").read_text(), "the root remembers what it has signed"
    assert "is committed; 3 members serve it" in well(run, "stage", "commit", *WAIT).out
    for name in "abc":
        until(strict, name, lambda one: one.state == "served")
        assert well(run, "get", "shop/db/host", *at(name)).stdout == b"old", "what was there before is taken over"
    assert well(run, "get", "shop/db/port").stdout == b"1"
    assert "ordinary publish is void" in run("put", "shop/db/host", "new").err
    assert "shop/db/host" in well(run, "list", "shop").out

    assert "the epoch of shop/db that a serves has it" in well(run, "explain", "shop/db/host").out
    assert "may put, delete and stage under (all keys)" in well(run, "explain", "shop/other").out
    for where in (("history", "shop/db/port"), ("diff", "shop/db/port"), ("log", "shop/db/port")):
        assert "'shop/db' is strict, and comes in epochs: see gossipconf log _stages/shop/db\n" in run(*where).err
    assert "_stages/shop/db/1/" in well(run, "log", "_stages/shop/db").out

    strict.stop("c")
    planned = run("stage", "prepare", "shop/db/host=new", "--delete", "shop/db/port", "--dry-run")
    assert planned.code == exits.DIFFERENCE
    assert "~ shop/db/host" in planned.out
    assert "- shop/db/port" in planned.out
    well(run, "stage", "prepare", "shop/db/host=new", "--yes", "--comment", "OPS-1")
    until(strict, "b", lambda one: one.state == "fenced")
    until(strict, "a", lambda one: one.state == "fenced" and len(one.open[0].acked) == 2)
    fenced = run("get", "shop/db/host", *at("b"))
    assert fenced.code == exits.FENCED
    assert "fenced" in fenced.err
    rival = run("stage", "prepare", "shop/db/host=other", "--yes")
    assert "is open" in rival.err
    waiting = run("stage", "commit", "--timeout", "500ms")
    assert waiting.code == exits.INCOMPLETE
    assert "missing: c" in waiting.err
    told = well(run, "stage", "status").out
    assert "fenced at a" in told
    assert "missing: c" in told
    with open_session(Target.find(strict.directory, strict.directory / "nodes" / "a")) as session:
        changes = session.watch("shop")
        strict.start("c")
        well(run, "stage", "commit", *WAIT)
        changed = next(changes)
        assert (changed.key, changed.default.entry.value) == ("shop/db/host", b"new")
    for name in "abc":
        until(strict, name, lambda one: one.state == "served" and one.in_force.stage.epoch.number == 2)
        assert well(run, "get", "shop/db/host", *at(name)).stdout == b"new"
    item = json.loads(well(run, "get", "shop/db/host", "--json").out)
    assert item["key"] == "shop/db/host"

    strict.stop("c")
    well(run, "stage", "prepare", "shop/db/host=bad", "--yes")
    until(strict, "b", lambda one: one.state == "fenced")
    late = run("stage", "abort", "--timeout", "500ms")
    assert late.code == exits.INCOMPLETE
    assert "asked for its end" in late.err
    strict.start("c")
    aborted = well(run, "stage", "abort", *WAIT)
    assert "is aborted; epoch 2 is served as before" in aborted.out
    for name in "abc":
        until(strict, name, lambda one: one.state == "served")
        assert well(run, "get", "shop/db/host", *at(name)).stdout == b"new"


def test_a_participant_that_is_gone_is_removed(strict, run, tmp_path):
    well(run, "stage", "prepare", "--members", "a,b,c", "--yes", "--key", "keys/root")
    for name in "abc":
        until(strict, name, lambda one: one.state == "served")
    strict.stop("c")
    well(run, "stage", "prepare", "shop/db/host=new", "--yes", "--on-fence", "wait")
    until(strict, "a", lambda one: bool(one.open) and len(one.open[0].acked) == 2)
    draft = tmp_path / "remove.draft"
    assert "stop c before this is published" in well(run, "stage", "remove", "c", draft).out
    publish_policy(run, draft)
    for name in "ab":
        until(strict, name, lambda one: one.state == "served")
        assert well(run, "get", "shop/db/host", *at(name)).stdout == b"old"
    again = well(run, "stage", "prepare", "shop/db/host=new", "--yes")
    assert "c was revoked" in again.err
    assert "2 participants" in again.out
    for name in "ab":
        until(strict, name, lambda one: one.state == "served" and one.in_force.stage.epoch.number == 2)
        assert well(run, "get", "shop/db/host", *at(name)).stdout == b"new"
    shown = json.loads(well(run, "stage", "status", "--json").out)
    assert shown[0]["epoch"] == 2
    assert {stage["outcome"] for stage in shown[0]["stages"]} == {"committed", "aborted"}
    assert run("stage", "prepare", "--members", "a,b,c", "--yes").err.count("never a member again") == 1


def test_without_a_strict_prefix_the_commands_say_what_makes_one(cluster, run):
    assert "strict/PREFIX" in well(run, "stage", "status").err
    result = run("stage", "prepare", "shop/db/host=x", "--prefix", "shop/db")
    assert result.code == exits.NOT_FOUND
    assert "strict/shop/db: 1" in result.err
    assert run("stage", "prepare", "x=y", "--on-fence", "block").code == exits.DIFFERENCE


def test_what_a_stage_changes_is_held_to_schemas(strict, run, tmp_path):
    (tmp_path / "host.json").write_text('{"enum": ["old", "db1"]}')
    well(run, "schema", "set", "shop/db/host", tmp_path / "host.json", "--yes")
    prepare = ("stage", "prepare", "--prefix", "shop/db", "--all", "--key", "keys/root", "--dry-run")
    assert run(*prepare, "shop/db/host=db2").code == exits.INVALID_VALUE
    assert run(*prepare, "shop/db/host=db1").code == exits.DIFFERENCE
