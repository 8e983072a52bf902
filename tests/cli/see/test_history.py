"""`history`, against a real agent."""

from __future__ import annotations

import json

from gossipconf.cli.output import moment
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target


def values(result):
    assert result.code == 0, result.err
    return [(one["key"], one["value"]) for one in json.loads(result.out)]


def test_history_by_prefix_writer_and_time(cluster, run):
    for value in ("1", "2", "3"):
        assert run("put", "hist/a", value).code == 0
        assert run("put", "hist/b", value).code == 0
    everything = [("hist/b", "3"), ("hist/a", "3"), ("hist/b", "2"), ("hist/a", "2"), ("hist/b", "1"), ("hist/a", "1")]
    assert values(run("history", "--prefix", "hist/", "--json")) == everything
    assert values(run("history", "--prefix", "hist", "--limit", "3", "--json")) == everything[:3]
    assert values(run("history", "--prefix", "hist", "--writer", "admins", "--json")) == everything
    assert values(run("history", "hist/a", "--writer", "root", "--json")) == []
    assert values(run("history", "--writer", "admins", "--limit", "2", "--json")) == everything[:2]
    with open_session(Target.find(cluster)) as session:
        newest_ms = session.get("hist/b").versions[0].header.time_ms
    until = f"{moment(newest_ms)[:19]}.{newest_ms % 1000:03d}"
    assert ("hist/b", "3") not in values(run("history", "--prefix", "hist", "--until", until, "--json"))
    assert values(run("history", "--prefix", "hist", "--since", until, "--json")) == everything[:1]
    assert values(run("history", "--prefix", "hist", "--since", "1h", "--json")) == everything


def test_a_name_without_a_history_of_its_own_is_a_prefix(cluster, run):
    for key in ("names/a", "names/b/c", "names/b"):
        assert run("put", key, "1").code == 0
    assert values(run("history", "names", "--json")) == [("names/b", "1"), ("names/b/c", "1"), ("names/a", "1")]
    assert values(run("history", "names/b", "--json")) == [("names/b", "1")]
    assert values(run("history", "names/b/", "--json")) == [("names/b", "1"), ("names/b/c", "1")]
    heading = run("history", "names").out.splitlines()[0]
    assert heading.split() == ["TIME", "(UTC)", "CHANGE", "STATE", "BY", "KEY", "VALUE"]
    heading = run("history", "names/b").out.splitlines()[0]
    assert heading.split() == ["TIME", "(UTC)", "CHANGE", "STATE", "BY", "VALUE"]


def test_what_cannot_be_asked_is_named(cluster, run):
    for arguments, code, part in (
        (["history"], 2, "either a KEY or --prefix"),
        (["history", "a", "--prefix", "b"], 2, "either a KEY or --prefix"),
        (["history", "a", "--since", "noon"], 1, "--since is 'noon'"),
        (["history", "a", "--writer", "nobody"], 1, "roles are admins"),
        (["history", "no/such", "--since", "1h"], 3, "no history at or under 'no/such' that was asked for"),
        (["history", "--prefix", "no/such"], 3, "no history at or under 'no/such'\n"),
    ):
        result = run(*arguments)
        assert (result.code, part in result.err) == (code, True), result.err
