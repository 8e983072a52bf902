"""`--json` of commands that publish: one document on stdout, and all that is for people on stderr."""

from __future__ import annotations

import json

import pytest


def document(result):
    """What stdout has, and nothing else."""
    return json.loads(result.out)


def test_what_was_published(cluster, run):
    result = run("put", "result/a", "1", "--ticket", "OPS-1", "--comment", "why", "--json")
    found = document(result)
    assert result.code == 0
    assert (found["outcome"], found["agent"], found["ticket"], found["comment"]) == ("published", "a", "OPS-1", "why")
    assert found["change"] == json.loads(run("get", "result/a", "--json").out)["change"]
    (entry,) = found["entries"]
    assert (entry["key"], entry["variant"], entry["operation"], entry["expires"]) == ("result/a", "", "put", None)
    assert f"+ result/a  1\npublished 1 key at a, change {found['change'][:10]}\n" in result.err


def test_what_is_planned_has_no_id_yet(cluster, run, tmp_path):
    (tmp_path / "tree.yaml").write_text("a: 1\nb: 2\n")
    apply = ("apply", tmp_path / "tree.yaml", "--prefix", "result/tree", "--json")
    planned = run(*apply, "--dry-run")
    assert planned.code == 2
    assert (document(planned)["outcome"], document(planned)["change"]) == ("planned", None)
    assert [one["key"] for one in document(planned)["entries"]] == ["result/tree/a", "result/tree/b"]
    assert "2 to create" in planned.err
    assert document(run(*apply, "--yes"))["outcome"] == "published"
    again = run(*apply, "--yes")
    assert (again.code, document(again)) == (0, {"outcome": "unchanged", "change": None})


def test_of_a_wait_in_vain_the_change_is_told_all_the_same(cluster, run):
    late = run("put", "result/late", "1", "--json", "--wait", "9", "--timeout", "100ms")
    assert (late.code, document(late)["outcome"]) == (5, "published")
    assert "wanted: 9" in late.err


@pytest.mark.parametrize(
    "arguments",
    [("delete", "result/none"), ("put", "result/b", "1", "--if-version", "0123"), ("put", "_result", "1")],
)
def test_an_error_is_told_on_stderr_alone(cluster, run, arguments):
    refused = run(*arguments, "--json")
    assert (refused.code != 0, refused.out, refused.err.startswith("error: ")) == (True, "", True)


def test_the_next_command_of_the_same_process_is_not_affected(cluster, run):
    assert document(run("put", "result/c", "1", "--json"))["outcome"] == "published"
    assert run("put", "result/c", "2").out.startswith("~ result/c  1 → 2\npublished 1 key at a")
