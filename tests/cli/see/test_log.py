"""`log` and `show`: what has been changed, by whom, and what judged it; against real agents."""

from __future__ import annotations

import json

import pytest

from gossipconf.trust.keys import fingerprint, load_public


def document(result):
    assert result.code == 0, result.err
    return json.loads(result.out)


def changes(run, *arguments):
    """Of each change in the log its keys with their signs, and its state."""
    found = document(run("log", *arguments, "--json"))
    return [([f"{entry['sign']} {entry['key']}" for entry in one["entries"]], one["state"]) for one in found]


@pytest.fixture
def tree(cluster, run, tmp_path, request):
    """Three changes under a prefix of the test's own, which it is."""
    prefix = request.node.name.replace("_", "-")
    (tmp_path / "tree.yaml").write_text("a: 1\nb: 2\n")
    assert run("apply", tmp_path / "tree.yaml", "--prefix", prefix, "--yes", "--comment", "OPS-1: begin").code == 0
    assert run("put", f"{prefix}/a", "3", "--comment", "OPS-2\x1b[31m").code == 0
    assert run("delete", f"{prefix}/a").code == 0
    return prefix


def test_the_log_tells_changes_and_not_versions(tree, run):
    assert changes(run, tree) == [
        ([f"- {tree}/a"], "live"),
        ([f"~ {tree}/a"], "replaced"),
        ([f"+ {tree}/a", f"+ {tree}/b"], "partly"),
    ]
    assert changes(run, f"{tree}/b") == [([f"+ {tree}/b"], "live")]
    assert changes(run, f"{tree}/", "--limit", "1") == [([f"- {tree}/a"], "live")]
    assert changes(run, tree, "--writer", "root") == []
    assert len(changes(run, tree, "--writer", "admins", "--since", "1h")) == 3
    newest = document(run("log", tree, "--json"))[0]
    assert len(changes(run, tree, "--until", newest["time"])) == 2


def test_the_log_as_a_table(tree, run):
    result = run("log", tree)
    assert result.code == 0
    heading, *lines = result.out.splitlines()
    assert heading.split() == ["TIME", "(UTC)", "CHANGE", "STATE", "BY", "KEYS", "COMMENT"]
    assert [line.split()[3] for line in lines] == ["live", "replaced", "partly"]
    assert f"+{tree}/a +{tree}/b" in lines[2]
    assert lines[2].endswith("OPS-1: begin")
    assert lines[1].endswith("OPS-2\\x1b[31m")
    assert "\x1b" not in result.out
    assert "the newest 1; older ones" in run("log", tree, "--limit", "1").err
    assert run("log", "no/such").err == "no changes under 'no/such'\n"


def test_a_large_change_is_one_line(cluster, run, tmp_path):
    (tmp_path / "large.yaml").write_text("".join(f"k{number}: {number}\n" for number in range(100, 200)))
    assert run("apply", tmp_path / "large.yaml", "--yes").code == 0
    (_, line) = run("log", "large").out.splitlines()
    assert line.rstrip().endswith("+large/k100 +large/k101 +large/k102 and 97 more")
    assert len(document(run("log", "large", "--json"))[0]["entries"]) == 100


def test_a_change_whole(tree, cluster, run):
    deleted, put, _ = [one["change"] for one in document(run("log", tree, "--json"))]
    shown = run("show", put[:10])
    assert shown.code == 0
    assert put in shown.out
    admin = fingerprint(load_public(cluster / "keys" / "admin.pub"))
    assert f"admins {admin}, its writer; the signature is valid" in shown.out
    assert "role admins: may put and delete under (all keys), " in shown.out
    assert f"~ {tree}/a  1 → 3\n" in shown.out
    assert f"- {tree}/a  3\n" in run("show", deleted).out
    found = document(run("show", put, "--json"))
    assert (found["state"], found["judged_by"]["policy"], found["judged_by"]["roles"][0]["role"]) == (
        "replaced",
        1,
        "admins",
    )
    (difference,) = found["differences"]
    assert (difference["before"]["value"], difference["after"]["value"], difference["difference"]) == (
        1,
        3,  # the key keeps its type
        "updated",
    )


def test_what_is_no_change_is_named(cluster, run):
    unknown = run("show", "0123456789")
    assert (unknown.code, unknown.err.startswith("error: a knows no change 0123456789")) == (3, True)
    assert "is no change" in run("show", "shop/a").err


def test_all_who_have_signed_are_told(quorum, run):
    assert run("put", "pay/logged", "1", "--propose", "--key", "keys/dave").code == 0
    (proposal,) = [
        one["id"] for one in document(run("proposals", "--json")) if one["entries"][0]["key"] == "pay/logged"
    ]
    assert run("approve", proposal, "--yes", "--key", "keys/erin").code == 0
    (record,) = document(run("log", "pay/logged", "--json"))
    keys = [fingerprint(load_public(quorum / "keys" / f"{name}.pub")) for name in ("dave", "erin")]
    assert record["signers"] == [{"role": "payments", "signer": key, "name": None} for key in keys]
    assert len(document(run("log", "pay/logged", "--writer", keys[0], "--json"))) == 1
    assert document(run("log", "pay/logged", "--writer", keys[1], "--json")) == []
    shown = run("show", record["change"]).out
    assert f"payments {keys[1]}, approved it; the signature is valid" in shown
    assert "role payments: may put and delete under pay, with 2 of 3 keys" in shown


def test_policies_have_a_log_too(cluster, run):
    (record,) = document(run("log", "_policy", "--json"))
    assert [entry["key"] for entry in record["entries"]] == ["_policy/1"]
    assert "as a policy: the signatures of 1 of 1 root" in run("show", record["change"]).out
