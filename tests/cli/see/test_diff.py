"""`diff` between versions, times, agents and files, against real agents."""

from __future__ import annotations

import json

import pytest

from ..conftest import Agents


def differences(result):
    """(sign of a word, key, before, after) of what differs; exit code 2 if anything does."""
    found = json.loads(result.out)
    assert result.code == (2 if found else 0), result.err
    return [
        (one["key"], *(None if side is None else side["value"] for side in (one["before"], one["after"])))
        for one in found
    ]


def last_change(run, key):
    return json.loads(run("history", key, "--json").out)[0]["change"]


def test_versions_of_a_key(cluster, run):
    ids = []
    for value in ("1", "2", "3"):
        assert run("put", "dv/a", value).code == 0
        ids.append(last_change(run, "dv/a"))
    assert differences(run("diff", "dv/a", "--json")) == [("dv/a", "2", "3")]
    shown = run("diff", "dv/a")
    assert (shown.code, shown.out) == (2, f"~ dv/a  2 → 3  ({ids[1][:10]} → {ids[2][:10]})\n")
    assert differences(run("diff", "dv/a", ids[0], ids[1][:12], "--json")) == [("dv/a", "1", "2")]
    assert differences(run("diff", "dv/a", ids[2], ids[0], "--json")) == [("dv/a", "3", "1")]
    assert differences(run("diff", "dv/a", ids[0], "--json")) == [("dv/a", "1", "3")]
    same = run("diff", "dv/a", ids[2])
    assert (same.code, same.out) == (0, "no difference\n")
    assert run("put", "dv/b", "1").code == 0
    assert "(its first version" in run("diff", "dv/b").out
    assert run("delete", "dv/b").code == 0
    assert differences(run("diff", "dv/b", "--json")) == [("dv/b", "1", None)]


def test_two_times(cluster, run):
    assert run("put", "dt/a", "1").code == 0
    assert run("put", "dt/b", "1").code == 0
    first = json.loads(run("history", "dt/b", "--json").out)[0]["time"]
    for key, value in (("dt/a", "2"), ("dt/a", "3"), ("dt/c", "new"), ("dt/d", "short-lived")):
        assert run("put", key, value).code == 0
    assert run("delete", "dt/b", "dt/d").code == 0
    now = [("dt/a", "1", "3"), ("dt/b", "1", None), ("dt/c", None, "new")]
    assert differences(run("diff", "dt", "--from", first, "--json")) == now
    middle = next(one["time"] for one in json.loads(run("history", "dt/a", "--json").out) if one["value"] == "2")
    assert differences(run("diff", "dt", "--from", first, "--to", middle, "--json")) == [("dt/a", "1", "2")]
    assert differences(run("diff", "dt/c", "--from", first, "--to", middle, "--json")) == []
    before = run("diff", "dt", "--from", "2h", "--to", "1h")
    assert (before.code, before.out) == (0, "no difference\n")
    assert "- dt/b  1" in run("diff", "dt", "--from", first).out


def test_files(cluster, run, tmp_path):
    file = tmp_path / "df.yaml"
    file.write_text("a: 1\nb: {c: x}\ngone: 1\n")
    assert run("apply", file, "--yes").code == 0
    assert run("diff", "df", file).out == "no difference\n"
    file.write_text("a: 2\nb: {c: x}\nnew: true\n")
    assert differences(run("diff", "df", file, "--json")) == [
        ("df/a", 1, 2),
        ("df/gone", 1, None),
        ("df/new", None, True),
    ]
    assert run("diff", "df/", file).out.splitlines()[-1] == "+ df/new  true"
    missing = run("diff", "df", tmp_path / "none.yaml")
    assert (missing.code, "no such file" in missing.err) == (1, True)


def test_two_agents(quorum, run):
    assert run("put", "shop/da", "1").code == 0
    assert run("acks", "--timeout", "20s").code == 0
    same = run("diff", "shop", "--agents", "a", "b")
    assert (same.code, same.out) == (0, "no difference\n")
    assert "both are a" in run("diff", "shop", "--agents", "a", "nodes/a").err
    unknown = run("diff", "shop", "--agents", "a", "nowhere")
    assert (unknown.code, "nowhere" in unknown.err) == (4, True)


def test_agents_that_differ(tmp_path, run, monkeypatch):
    made = Agents(tmp_path / "apart")
    monkeypatch.chdir(made.directory)
    try:
        made.make("a")
        made.make("b")  # which is not told of a
        made.start("a")
        made.start("b")
        for node, key, value in (("a", "k/1", "one"), ("b", "k/1", "two"), ("a", "k/2", "x"), ("b", "k/3", "y")):
            assert run("put", key, value, "--agent", f"nodes/{node}").code == 0
        result = run("diff", "k", "--agents", "a", "b", "--json")
        assert differences(result) == [("k/1", "one", "two"), ("k/2", "x", None), ("k/3", None, "y")]
        assert differences(run("diff", "k/2", "--agents", "b", "a", "--json")) == [("k/2", None, "x")]
        assert run("put", "k/1", "one", "--agent", "nodes/b").code == 0
        assert "(the same value, of other changes" in run("diff", "k/1", "--agents", "a", "b").out
    finally:
        made.stop_all()


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["diff"], 2, "name a KEY; or say --from TIME"),
        (["diff", "a", "b", "c", "d"], 2, "not several of these"),
        (["diff", "a", "0123", "--from", "1h"], 2, "not several of these"),
        (["diff", "a", "--from", "1h", "--agents", "a", "b"], 2, "not several of these"),
        (["diff", "a", "--to", "1h"], 2, "--to needs a --from"),
        (["diff", "a", "--from", "soon"], 1, "--from is 'soon'"),
        (["diff", "a", "--from", "1h", "--to", "2h"], 1, "is not before"),
        (
            ["diff", "no/such"],
            3,
            "no history of 'no/such'; of all keys under a prefix: gossipconf diff no/such --from 1d",
        ),
        (["diff", "no/such", "0123"], 3, "no change 0123"),
        (["diff", "no/such", "xyz", "0123"], 1, "is no change, nor a file"),
    ],
)
def test_bad_input_is_named(cluster, run, arguments, code, part):
    result = run(*arguments)
    assert (result.code, part in result.err) == (code, True), result.err
