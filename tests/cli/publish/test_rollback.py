"""`rollback`, against real agents: keys become what they were, by a new change."""

from __future__ import annotations

import re

import pytest

from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import MatchKind, MatchTerm, put
from gossipconf.trust.keys import load_signer

from ..test_commands import document, siblings


@pytest.fixture
def state(cluster, run):
    """What is under a prefix now: key → value, of keys that have one."""
    return lambda prefix: {one["key"]: one["value"] for one in document(run("list", prefix, "--json"))}


@pytest.fixture
def published(cluster, run):
    """Apply a tree as one change, and nothing else stays under the prefix; returns the change's id."""

    def publish(tmp_path, prefix, text):
        (tmp_path / "state.yaml").write_text(text)
        result = run("apply", tmp_path / "state.yaml", "--prefix", prefix, "--prune", "--yes")
        assert result.code == 0, result.err
        return result.out.split()[-1]

    return publish


def test_a_change_is_undone_whole(run, state, published, tmp_path):
    published(tmp_path, "undo", "a: one\nb: one\n")
    change = published(tmp_path, "undo", "a: two\nc: two\n")
    dry = run("rollback", change, "--dry-run")
    assert dry.code == 2
    assert dry.out == (
        "~ undo/a  two → one\n+ undo/b  one\n- undo/c  two\n\n1 to create, 1 to update, 1 to delete, 0 unchanged\n"
        "dry run: nothing was published\n"
    )
    assert "add --yes" in run("rollback", change).err
    assert state("undo") == {"undo/a": "two", "undo/c": "two"}
    assert run("rollback", change, "--yes", "--ticket", "OPS-17").code == 0
    assert state("undo") == {"undo/a": "one", "undo/b": "one"}
    found = document(run("get", "undo/a", "--json"))
    assert (found["ticket"], found["comment"]) == ("OPS-17", f"undoes {change}")
    assert run("rollback", change, "--yes").out == "nothing to do: 3 keys as they were\n"


def test_a_rollback_can_be_undone(run, state, published, tmp_path):
    published(tmp_path, "redo", "a: one\n")
    change = published(tmp_path, "redo", "a: two\n")
    undone = run("rollback", change, "--yes").out.split()[-1]
    assert state("redo") == {"redo/a": "one"}
    assert run("rollback", undone, "--yes").code == 0
    assert state("redo") == {"redo/a": "two"}


def test_some_keys_of_a_change(run, state, published, tmp_path):
    published(tmp_path, "some", "x: {a: one, b: one}\ny: one\n")
    change = published(tmp_path, "some", "x: {a: two, b: two}\ny: two\n")
    assert run("rollback", change, "some/x", "--yes").code == 0
    assert state("some") == {"some/x/a": "one", "some/x/b": "one", "some/y": "two"}
    refused = run("rollback", change, "some/z", "--yes")
    assert (refused.code, refused.err) == (3, f"error: change {change} has no key at or under 'some/z'\n")


def test_what_came_later_at_the_same_keys_is_warned_of(run, state, published, tmp_path):
    published(tmp_path, "later", "a: one\nb: one\n")
    change = published(tmp_path, "later", "a: two\nb: two\n")
    newer = run("put", "later/a", "three").out.split()[-1]
    result = run("rollback", change, "--yes")
    assert re.match(rf"warning: change {newer} by admins, .*, came later and is undone too at later/a\n", result.err)
    assert state("later") == {"later/a": "one", "later/b": "one"}


def test_back_to_a_version_and_to_a_time(run, state, published, tmp_path):
    first = published(tmp_path, "back", "a: one\nb: one\n")
    time = document(run("get", "back/a", "--json"))["time"]
    published(tmp_path, "back", "a: two\n")
    published(tmp_path, "back", "a: three\nd: three\n")
    assert run("rollback", "--to", first, "--yes").code == 0
    assert state("back") == {"back/a": "one", "back/b": "one", "back/d": "three"}, "the keys of that change"
    assert run("rollback", "--at", time, "back", "--yes", "--comment", "as it was").code == 0
    assert state("back") == {"back/a": "one", "back/b": "one"}
    assert run("rollback", "--to", first, "back", "--dry-run").out == "nothing to do: 3 keys as they were\n"
    early = run("rollback", "--at", "2001-01-01", "back", "--dry-run")
    assert "2 to delete" in early.out


def test_a_conflict_is_settled_by_going_back(cluster, run, state):
    assert run("put", "knot/a", "one").code == 0
    first = document(run("get", "knot/a", "--json"))["change"]
    siblings(cluster, "knot/a", "two", "three")
    assert run("rollback", "--to", first, "--yes").code == 0
    assert state("knot") == {"knot/a": "one"}
    assert document(run("get", "knot/a", "--json"))["conflict"] == []


def test_a_variant_comes_back_with_whom_it_is_for(cluster, run):
    signer = load_signer(cluster / "keys" / "admin")
    match = (MatchTerm(MatchKind.EQUAL, "zone", ("eu",)),)
    with open_session(Target.find(cluster)) as session:
        session.publish([put("var/a", b"1"), put("var/a", b"canary", variant="canary", match=match)], signer)
        changed = session.publish([put("var/a", b"other", variant="canary")], signer).change
    assert run("rollback", changed.id.hex(), "--yes").out.startswith(
        "~ var/a [canary]  other → canary  (for zone=eu, rank 0)\n"
    )
    with open_session(Target.find(cluster)) as session:
        (variant,) = [one for one in session.get("var/a").versions if one.entry.variant]
    assert (variant.entry.value, variant.entry.match) == (b"canary", match)


def test_what_had_an_end_comes_back_with_it(cluster, run):
    signer = load_signer(cluster / "keys" / "admin")
    with open_session(Target.find(cluster)) as session:
        session.publish([put("ended/a", b"1", expires_ms=1_000)], signer)
        changed = session.publish([put("ended/a", b"2")], signer).change
    result = run("rollback", changed.id.hex(), "--yes")
    assert result.err == "note: ended/a comes back expired, since 1970-01-01 00:00:01 UTC\n"
    assert run("get", "ended/a").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ((), 2, "name a CHANGE to undo"),
        (("3f9a2c1b77", "--to", "3f9a2c1b77", "--at", "2h"), 2, "name a CHANGE to undo"),
        (("3f9a2c1b77",), 3, "knows no change 3f9a2c1b77"),
        (("shop/a",), 1, "is no change"),
        (("--at", "yesterday", "shop"), 1, "--at is 'yesterday'"),
        (("--at", "2h", "no/such"), 3, "no history at or under 'no/such'"),
        (("--at", "2h", "_policy"), 1, "the system's"),
    ],
)
def test_bad_input_is_named(cluster, run, arguments, code, part):
    result = run("rollback", *arguments)
    assert result.code == code
    assert part in result.err


def test_nothing_is_guessed_where_history_does_not_reach(agents, run):
    """An agent that came later knows what lives, and not what was there before."""
    agents.add("a")
    with open_session(Target.find(agents.directory, agents.directory / "nodes" / "a")) as session:
        agents.settle_address("a", session.info["address"])
    where = ("--cluster", agents.directory, "--agent")
    assert run("put", "x", "1", *where, agents.directory / "nodes" / "a").code == 0
    change = run("put", "x", "2", *where, agents.directory / "nodes" / "a").out.split()[-1]
    assert run("put", "y", "1", *where, agents.directory / "nodes" / "a").code == 0
    agents.stop("a")  # what is news to it is passed on whole, and after a restart nothing is
    agents.start("a")
    agents.add("b")
    agents.wait("b", "y")
    agents.wait("b", "x")
    at_b = (*where, agents.directory / "nodes" / "b")
    refused = run("rollback", change, "--yes", *at_b)
    assert refused.code == 1
    assert "nothing is published: b's history does not have what was there at 1 key: x; ask an agent" in refused.err
    assert run("get", "x", *at_b).out == "2"
    partly = run("rollback", "--at", "2001-01-01", "--partial", "--yes", *at_b)
    assert "left as they are: b's history" in partly.err
    assert partly.out.startswith("- y  1\n")
    assert run("get", "x", *at_b).out == "2"
