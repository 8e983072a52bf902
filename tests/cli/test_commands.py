"""The commands that publish and read, against a real agent."""

from __future__ import annotations

import base64
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gossipconf.cli.exits import KeyChanged
from gossipconf.cli.instant import now_ms
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import ValueType, put
from gossipconf.model.limits import VALUE_BYTES_MAX
from gossipconf.trust.keys import Signer, fingerprint, load_public, load_signer
from gossipconf.trust.signing import Reservation, compose


def document(result):
    assert result.code == 0, result.err
    return json.loads(result.out)


def siblings(cluster, key, *values):
    """Make a conflict: changes of different writers that have not seen each other."""
    signer = load_signer(cluster / "keys" / "admin")
    with open_session(Target.find(cluster)) as session:
        for number, value in enumerate(values):
            change = compose(
                [put(key, value.encode(), ValueType.TEXT)],
                (),
                chain=session.chain,
                signer=signer,
                reservation=Reservation(os.urandom(8), 1),
                now_ms=now_ms() + number,
                comment=f"number {number}",
            )
            session._client.request("publish", change=change.encode())


# -- one value ------------------------------------------------------------------------------------


def test_a_value_comes_back_as_it_was_put(cluster, run):
    result = run("put", "one/a", "1200", "--comment", "why")
    assert result.code == 0
    assert result.out.startswith("+ one/a  1200\npublished 1 key at a, change ")
    assert run("get", "one/a").stdout == b"1200"
    found = document(run("get", "one/a", "--json"))
    assert {name: found[name] for name in ("key", "type", "value", "role", "comment", "conflict", "operation")} == {
        "key": "one/a",
        "type": "text",
        "value": "1200",
        "role": "admins",
        "comment": "why",
        "conflict": [],
        "operation": "put",
    }
    assert found["signer"] == fingerprint(load_public(cluster / "keys" / "admin.pub"))


def test_the_same_value_is_not_published_again_unless_forced(cluster, run):
    assert run("put", "same/a", "1").code == 0
    assert run("put", "same/a", "1").out == "same/a has this value already; nothing to publish\n"
    assert len(document(run("history", "same/a", "--json"))) == 1
    assert run("put", "same/a", "1", "--force").code == 0
    assert len(document(run("history", "same/a", "--json"))) == 2
    assert "1 → 1" not in run("put", "same/a", "2").out


def version_of(run, key):
    return document(run("get", key, "--json"))["change"]


def test_a_publish_can_depend_on_the_version_that_was_read(cluster, run, tmp_path):
    assert run("put", "cas/a", "1", "--if-version", "none").code == 0
    first = version_of(run, "cas/a")
    again = run("put", "cas/a", "2", "--if-version", "none")
    assert (again.code, again.err) == (
        6,
        f"error: 'cas/a' is at version {first[:10]}; nothing was published: see gossipconf get --all cas/a\n",
    )
    assert run("put", "cas/a", "2", "--if-version", first[:10]).code == 0
    assert run("put", "cas/a", "2", "--if-version", first).code == 6, "also where there is nothing to publish"
    assert run("delete", "cas/a", "--if-version", first).code == 6
    (tmp_path / "cas.yaml").write_text("a: 3\nb: 3\n")
    second = version_of(run, "cas/a")
    assert run("apply", tmp_path / "cas.yaml", "--yes", "--if-version", second).code == 6, "cas/b has no value"
    assert run("apply", tmp_path / "cas.yaml", "--yes", "--if-version", second, "--if-version", "none").code == 0
    third = version_of(run, "cas/a")
    assert run("delete", "cas/a", "cas/b", "--if-version", third).code == 0
    assert run("put", "cas/a", "4", "--if-version", third).code == 6
    assert run("put", "cas/a", "4", "--if-version", "none").code == 0, "a deleted key has no value"
    assert run("put", "cas/a", "5", "--if-version", "latest").code == 2


def test_of_many_at_once_who_have_read_the_same_version_one_publishes(cluster, run):
    assert run("put", "cas/race", "0").code == 0
    version = version_of(run, "cas/race")
    signer = load_signer(cluster / "keys" / "admin")
    start = threading.Barrier(8)

    def publish(number: int) -> bool:
        with open_session(Target.find(cluster)) as session:
            start.wait()
            try:
                session.publish([put("cas/race", b"%d" % number)], signer, if_version=[version])
            except KeyChanged:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(publish, range(8))) == 1
    assert document(run("get", "cas/race", "--json"))["conflict"] == []


def test_a_key_in_conflict_is_at_no_single_version(cluster, run):
    siblings(cluster, "cas/fight", "one", "two")
    versions = [one["change"] for one in document(run("get", "--all", "cas/fight", "--json"))]
    refused = run("put", "cas/fight", "3", "--if-version", versions[0])
    assert refused.code == 6
    assert "one of 2 in conflict" in refused.err
    assert run("put", "cas/fight", "3", "--if-version", versions[0], "--if-version", versions[1]).code == 0


def test_a_ticket_stands_before_the_comment_and_apart_in_json(cluster, run):
    assert run("put", "reason/a", "1", "--ticket", "OPS-17", "--comment", "slow bank").code == 0
    found = document(run("get", "reason/a", "--json"))
    assert (found["ticket"], found["comment"]) == ("OPS-17", "slow bank")
    assert "[OPS-17] slow bank" in run("history", "reason/a").out
    refused = run("put", "reason/a", "2", "--ticket", "OPS 17")
    assert refused.code == 1
    assert "write its number" in refused.err


def test_bytes_survive_stdin_and_stdout(cluster, run):
    value = bytes(range(256))
    assert run("put", "bytes/a", "-", "--type", "bytes", stdin=value).out.startswith("+ bytes/a  (bytes, 256 bytes)")
    assert run("get", "bytes/a").stdout == value
    assert document(run("get", "bytes/a", "--json"))["value"] == {"base64": base64.b64encode(value).decode()}


def test_a_file_has_the_type_of_its_suffix(cluster, run, tmp_path):
    (tmp_path / "v.json").write_text('{"a": [1, 2]}')
    assert run("put", "file/a", f"@{tmp_path / 'v.json'}").code == 0
    found = document(run("get", "file/a", "--json"))
    assert (found["type"], found["value"]) == ("json", {"a": [1, 2]})


def test_a_key_keeps_its_type_unless_told_otherwise(cluster, run):
    assert run("put", "typed/a", "1", "--type", "json").code == 0
    refused = run("put", "typed/a", "no json")
    assert refused.code == 1
    assert "not JSON" in refused.err
    assert "--type says otherwise" in refused.err
    assert run("put", "typed/a", "2").code == 0
    assert document(run("get", "typed/a", "--json"))["value"] == 2
    assert run("put", "typed/a", "no json", "--type", "text").code == 0


@pytest.mark.parametrize(
    ("type_name", "value", "part"),
    [("json", "{", "not JSON"), ("yaml", "a: b: c", "not YAML"), ("toml", "a", "not TOML"), ("text", b"\xff", "UTF-8")],
)
def test_syntax_is_checked_before_anything_is_signed(cluster, run, type_name, value, part):
    content = value if isinstance(value, bytes) else value.encode()
    result = run("put", "syntax/a", "-", "--type", type_name, stdin=content)
    assert result.code == 1
    assert result.err.startswith("error: 'syntax/a'")
    assert part in result.err
    assert run("get", "syntax/a").code == 3


def test_a_dry_run_publishes_nothing_and_tells_by_its_code(cluster, run):
    assert run("put", "dry/a", "1", "--dry-run").code == 2
    assert run("get", "dry/a").code == 3
    assert run("put", "dry/a", "1").code == 0
    assert run("put", "dry/a", "1", "--dry-run").code == 0
    assert run("delete", "dry/a", "--dry-run").code == 2
    assert run("get", "dry/a").out == "1"


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["put", "a//b", "1"], 1, "empty segment"),
        (["put", "_policy/2", "1"], 1, "the system's"),
        (["put", "a", "@/no/such/file"], 1, "/no/such/file cannot be read"),
        (["put", "a", "1", "--type", "xml"], 2, "types are text, json, yaml, toml, bytes"),
        (["put", "a", "1", "--type", "sealed"], 2, "not a type"),
        (["put", "a", "1", "--key", "/no/key"], 1, "/no/key cannot be read"),
        (["put", "a", "1", "--comment", "x" * 1025], 1, "limit is 1024"),
        (["put", "a"], 2, "Missing argument"),
        (["delete", "/a"], 1, "empty segment"),
        (["delete"], 2, "Missing argument"),
        (["get", ""], 1, "must not be empty"),
        (["list", "a//b"], 1, "empty segment"),
        (["list", "--deletd"], 2, "No such option"),
        (["watch", "a//b"], 1, "empty segment"),
        (["watch", "--count", "0"], 2, "--count"),
        (["history"], 2, "either a KEY or --prefix"),
        (["history", "a", "--prefix", "b"], 2, "either a KEY or --prefix"),
        (["history", "no/such/key"], 3, "no history at or under 'no/such/key'"),
        (["conflicts", " a"], 1, "begins or ends with a space"),
        (["apply", "no/such/file"], 1, "no such file"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_input_is_named(cluster, run, arguments, code, part):
    result = run(*arguments)
    assert result.code == code
    assert part in result.err
    assert "Traceback" not in result.err


def test_a_value_over_the_limit(cluster, run):
    result = run("put", "large/a", "-", stdin=b"x" * (VALUE_BYTES_MAX + 1))
    assert result.code == 1
    assert "larger than 1048576 bytes" in result.err


def test_a_key_that_the_policy_does_not_know_is_refused(cluster, run, tmp_path):
    Signer.generate().save(tmp_path / "stranger")
    result = run("put", "stranger/a", "1", "--key", tmp_path / "stranger")
    assert result.code == 1
    assert "which policy 1 does not know" in result.err


def test_the_environment_names_agent_cluster_and_key(cluster, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "no cluster.gossipconf here" in run("put", "env/a", "1").err
    monkeypatch.setenv("GOSSIPCONF_CLUSTER", str(cluster))
    monkeypatch.setenv("GOSSIPCONF_AGENT", str(cluster / "nodes" / "a"))
    monkeypatch.setenv("GOSSIPCONF_KEY", str(cluster / "keys" / "admin"))
    assert run("put", "env/a", "1").code == 0
    monkeypatch.delenv("GOSSIPCONF_CLUSTER")
    assert run("get", "env/a").out == "1"  # the agent's directory has a cluster file too


def test_an_agent_is_named_as_its_node(cluster, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("put", "named/a", "1", "--cluster", cluster, "--agent", "a").code == 0
    monkeypatch.chdir(cluster / "nodes")
    assert run("get", "named/a", "--agent", "a").out == "1"
    nobody = run("get", "named/a", "--agent", "b")
    assert (nobody.code, nobody.err.startswith("error: no agent at b: ")) == (4, True)


def test_a_nodes_directory_is_enough(cluster, run, monkeypatch):
    monkeypatch.chdir(cluster / "nodes" / "a")
    assert run("put", "inside/a", "1").code == 0
    assert run("get", "inside/a").out == "1"


# -- reading --------------------------------------------------------------------------------------


def test_a_missing_key_has_its_own_code_and_a_default(cluster, run):
    result = run("get", "missing/a")
    assert (result.code, result.out) == (3, "")
    assert result.err == "error: 'missing/a' has no value; see what there is with: gossipconf list\n"
    assert run("get", "missing/a", "--default", "7").out == "7\n"
    assert document(run("get", "missing/a", "--default", "7", "--json"))["value"] == "7"
    assert run("get", "missing/a", "--all").code == 3


def test_lists_are_by_whole_segments_and_hide_what_is_deleted(cluster, run):
    for key in ("lists/a", "lists/b", "listsx/c"):
        assert run("put", key, f"value of {key}").code == 0
    assert run("delete", "lists/b").out.startswith("- lists/b  value of lists/b\n")
    lines = run("list", "lists/").out.splitlines()
    assert [line.split() for line in lines[:1]] == [["KEY", "VALUE", "BY", "AGE"]]
    assert lines[1].startswith("lists/a  value of lists/a  admins  ")
    assert len(lines) == 2
    assert "(deleted)" in run("list", "lists", "--deleted").out
    assert [item["key"] for item in document(run("list", "lists", "--json"))] == ["lists/a"]
    assert "lists/b" in run("get", "lists/b").err
    assert document(run("list", "lists", "--deleted", "--json"))[1]["operation"] == "delete"
    assert run("list", "nothing/here").err == "no keys under 'nothing/here'\n"
    assert document(run("list", "nothing/here", "--json")) == []


def test_a_list_goes_on_where_it_was_cut(cluster, run):
    for key in ("page/a", "page/b", "page/c"):
        assert run("put", key, "1").code == 0
    assert run("delete", "page/b").code == 0
    first = run("list", "page", "--limit", "1", "--json")
    assert [one["key"] for one in document(first)] == ["page/a"]
    assert first.err == "the first 1; go on with: --after page/a\n"
    rest = run("list", "page", "--limit", "9", "--after", "page/a", "--json")
    assert [one["key"] for one in document(rest)] == ["page/c"]
    assert rest.err == ""


def test_control_characters_reach_no_terminal(cluster, run):
    assert run("put", "evil/a", "a\x1b[31mb\nc", "--comment", "\x1b]0;x\x07").code == 0
    for arguments in (["list", "evil"], ["history", "evil/a"], ["get", "--all", "evil/a"]):
        result = run(*arguments)
        assert "a\\x1b[31mb\\nc" in result.out
        assert "\x1b" not in result.out


def test_history_is_newest_first(cluster, run):
    for value in ("1", "2", "3"):
        assert run("put", "past/a", value, "--comment", f"number {value}").code == 0
    found = document(run("history", "past/a", "--json"))
    assert [(one["value"], one["comment"], one["retired"] is None) for one in found] == [
        ("3", "number 3", True),
        ("2", "number 2", False),
        ("1", "number 1", False),
    ]
    lines = run("history", "--prefix", "past", "--limit", "2").out.splitlines()
    assert [line.split()[3:7:3] for line in lines[1:]] == [["live", "3"], ["replaced", "2"]]


def test_conflicts_show_all_values_and_a_put_settles_them(cluster, run):
    assert run("conflicts", "fight").out == "no conflicts\n"
    siblings(cluster, "fight/a", "one", "two")
    found = document(run("conflicts", "fight", "--json"))
    assert [(item["value"], [one["value"] for one in item["conflict"]]) for item in found] == [("two", ["one"])]
    before = document(run("status", "--json"))["conflicts"]
    assert before >= 1
    assert f"{before} value{'s' if before > 1 else ''} in conflict: changed in several places" in run("status").out
    shown = run("conflicts", "fight").out
    assert shown.startswith("1 key in conflict")
    assert "wins  two" in shown
    assert "also  one" in shown
    read = run("get", "fight/a")
    assert read.out == "two"
    assert "in conflict" in read.err
    assert run("list", "fight").out.splitlines()[1].startswith("!  fight/a  two")
    assert [one["value"] for one in document(run("get", "--all", "fight/a", "--json"))] == ["two", "one"]
    assert run("put", "fight/a", "two").code == 0  # the same value as the winner's: it settles the conflict
    assert run("conflicts", "fight").out == "no conflicts\n"
    assert document(run("conflicts", "fight", "--json")) == []
    assert document(run("status", "--json"))["conflicts"] == before - 1


def test_status_names_the_agent_that_was_asked(cluster, run):
    assert run("status").out.startswith("1 agent: a, which knows of no other\n")
    found = document(run("status", "--json"))
    assert found["members"][0]["state"] == "self"
    assert len(bytes.fromhex(found["members"][0]["root"])) == 16
    assert (found["certificate"]["days_left"], found["certificate"]["ending"]) == (364, False)
    assert "certificate of a: 364 days left; of those above it: 3,649 days left\n" in run("status").out
    lines = run("status", "--watch", "--count", "2", "--every", "0.1", "--json").out.splitlines()
    assert [json.loads(line)["node"] for line in lines] == ["a", "a"]


def test_acks_count_who_has_applied_a_change(cluster, run):
    change = run("put", "acks/a", "1").out.split()[-1]
    result = run("acks", change)
    assert (result.code, result.out) == (0, "all of 1 agent has applied it, as a hears\n")
    found = document(run("acks", "--json", "--timeout", "2s"))
    assert (found["applied"], found["total"], found["missing"], found["change"]) == (1, 1, [], None)
    unknown = run("acks", "0123456789")
    assert unknown.code == 3
    assert "knows no change 0123456789" in unknown.err
    for timeout in ("", "30", "0s", "2h", "51m", "٣s"):
        refused = run("acks", change, "--timeout", timeout)
        assert refused.code == 1
        assert "write 500ms, 30s or 5m" in refused.err


# -- deleting and applying ------------------------------------------------------------------------


def test_a_delete_is_of_all_keys_or_of_none(cluster, run):
    run("put", "gone/a", "1")
    result = run("delete", "gone/a", "gone/b")
    assert (result.code, result.err) == (3, "error: nothing is deleted: no value at 'gone/b'\n")
    assert run("get", "gone/a").out == "1"
    run("put", "gone/b", "2")
    assert "published 2 keys" in run("delete", "gone/a", "gone/b", "gone/a").out
    assert run("get", "gone/a").err == "error: 'gone/a' has been deleted; see: gossipconf history gone/a\n"
    ids = {document(run("history", key, "--json"))[0]["change"] for key in ("gone/a", "gone/b")}
    assert len(ids) == 1


def test_apply_shows_a_plan_and_publishes_one_change(cluster, run, tmp_path):
    file = tmp_path / "applied.yaml"
    file.write_text("a: 1\nb: {c: no}\n")
    result = run("apply", file, "--yes")
    assert result.out.startswith("+ applied/a  1\n+ applied/b/c  no\n\n2 to create, 0 unchanged\npublished 2 keys at a")
    assert run("apply", file).out == f"nothing to do: 2 keys as in {file}\n"
    file.write_text("a: 2\nd: x\n")
    expected = "~ applied/a  1 → 2\n+ applied/d  x\n\n1 to create, 1 to update, 0 unchanged\n"
    dry = run("apply", file, "--dry-run")
    assert (dry.code, dry.out) == (2, expected + "dry run: nothing was published\n")
    refused = run("apply", file)
    assert refused.code == 1
    assert "add --yes" in refused.err
    pruned = run("apply", file, "--prune", "--yes", "--comment", "tidy")
    assert "- applied/b/c  no" in pruned.out
    assert "1 to create, 1 to update, 1 to delete, 0 unchanged" in pruned.out
    found = document(run("list", "applied", "--deleted", "--json"))
    assert [(item["key"], item["value"]) for item in found] == [
        ("applied/a", 2),
        ("applied/b/c", None),
        ("applied/d", "x"),
    ]
    assert {item["comment"] for item in found} == {"tidy"}
    assert len({item["change"] for item in found}) == 1


def test_apply_of_a_directory_says_what_it_skips(cluster, run, tmp_path):
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "dir.json").write_text('{"a": true}')
    result = run("apply", tmp_path, "--prefix", "tree/", "--yes")
    assert result.err == "skipped: README.md\n"
    assert document(run("get", "tree/dir/a", "--json"))["value"] is True


def test_apply_settles_a_conflict_even_if_the_winner_is_as_wanted(cluster, run, tmp_path):
    siblings(cluster, "settled/a", "one", "two")
    (tmp_path / "settled.yaml").write_text("a: two\n")
    assert (
        "~ settled/a  two → two  (settles 2 values in conflict)" in run("apply", tmp_path / "settled.yaml", "--yes").out
    )
    assert run("conflicts", "settled").out == "no conflicts\n"


def test_what_changed_since_the_plan_was_shown_is_not_overwritten(cluster, run, tmp_path, monkeypatch):
    (tmp_path / "raced.yaml").write_text("a: 1\nb: 1\n")
    monkeypatch.setattr(
        "gossipconf.cli.publish.steps.ask", lambda number: siblings(cluster, "raced/a", "another admin's value")
    )
    result = run("apply", tmp_path / "raced.yaml")
    assert result.code == 6
    assert "1 of the keys changed meanwhile, such as 'raced/a'; nothing was published" in result.err
    assert run("get", "raced/b").code == 3
