"""Schemas at real agents: who may set them, what they refuse, and what is told of values that fail."""

from __future__ import annotations

import json
import os

import pytest

from gossipconf.cli import exits
from gossipconf.cli.instant import now_ms
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import ValueType, put
from gossipconf.model.errors import InvalidValue
from gossipconf.trust.keys import load_signer
from gossipconf.trust.signing import Reservation, compose
from tests.cli.conftest import Agents, wait_at


@pytest.fixture
def limits(tmp_path):
    path = tmp_path / "limits.yaml"
    path.write_text("title: limits of the shop\ntype: integer\nmaximum: 100\n")
    return path


def well(result):
    assert result.code == 0, result.err
    return result.out


def publish_unchecked(cluster, key: str, value: bytes, value_type: ValueType = ValueType.JSON) -> None:
    """Hand a signed change to the agent as a program does that checks nothing. Raises what the agent answers."""
    with open_session(Target.find(cluster)) as session:
        change = compose(
            [put(key, value, value_type)],
            (),
            chain=session.chain,
            signer=load_signer(cluster / "keys" / "admin"),
            reservation=Reservation(os.urandom(8), 1),
            now_ms=now_ms(),
        )
        session.send(change)


def test_a_schema_is_set_shown_listed_and_removed(cluster, run, limits):
    assert run("schema", "set", "sa/limit", limits, "--dry-run").code == exits.DIFFERENCE
    assert run("schema", "show", "sa/limit").code == exits.NOT_FOUND
    assert well(run("schema", "set", "sa/limit/", limits, "--comment", "why")).startswith(
        "+ _schemas/sa/limit  61 bytes\n"
    )
    assert "has this schema already" in well(run("schema", "set", "sa/limit", limits))
    document = {"title": "limits of the shop", "type": "integer", "maximum": 100}
    assert json.loads(well(run("schema", "show", "sa/limit"))) == document
    assert json.loads(well(run("schema", "show")))["sa/limit"] == document
    (listed,) = (one for one in json.loads(well(run("schema", "list", "--json"))) if one["prefix"] == "sa/limit")
    assert (listed["value"], listed["comment"], listed["role"]) == (document, "why", "admins")
    (row,) = (line for line in well(run("schema", "list")).splitlines() if line.startswith("sa/limit "))
    assert row.split()[1:6] == ["limits", "of", "the", "shop", "admins"]
    assert well(run("schema", "remove", "sa/limit")).startswith("- _schemas/sa/limit\n")
    assert run("schema", "remove", "sa/limit").code == exits.NOT_FOUND


def test_values_are_checked_before_they_are_signed(cluster, run, limits, tmp_path):
    well(run("schema", "set", "sb", limits))
    try:
        well(run("put", "sb/limit", "100", "--type", "json"))
        for arguments in (("put", "sb/limit", "101"), ("put", "sb/limit", "101", "--dry-run"), ("put", "sb/a", "5")):
            refused = run(*arguments)
            assert refused.code == exits.INVALID_VALUE
            assert "in the schema of 'sb'" in refused.err
        (tmp_path / "sb.yaml").write_text("limit: 7\nother: 101\n")
        refused = run("apply", tmp_path / "sb.yaml", "--prefix", "sb", "--yes")
        assert (refused.code, "'sb/other': breaks \"maximum\": 100" in refused.err) == (exits.INVALID_VALUE, True)
        assert run("get", "sb/limit").out == "100"
        (tmp_path / "password").write_bytes(b"hunter2")
        sealed = run("put", "sb/password", f"@{tmp_path / 'password'}", "--seal-to", "nodes/a")
        assert sealed.code == exits.INVALID_VALUE
        assert "where it is wrong is not told" in sealed.err
        assert "integer" not in sealed.err
    finally:
        well(run("schema", "remove", "sb"))


def test_an_agent_refuses_what_nobody_has_checked(cluster, run, limits):
    well(run("schema", "set", "sc", limits))
    try:
        with pytest.raises(InvalidValue, match="'sc/x': breaks \"maximum\": 100, in the schema of 'sc'"):
            publish_unchecked(cluster, "sc/x", b"101")
        with pytest.raises(InvalidValue, match="not JSON"):
            publish_unchecked(cluster, "sc-free/x", b"{")
        with pytest.raises(InvalidValue, match="a schema is of type json"):
            publish_unchecked(cluster, "_schemas/sc/y", b"{}", ValueType.TEXT)
        publish_unchecked(cluster, "sc/x", b"99")
        assert run("get", "sc/x").out == "99"
    finally:
        well(run("schema", "remove", "sc"))


def test_live_values_that_would_fail_are_shown_before_a_schema_is_set(cluster, run, limits):
    well(run("put", "sd/a", "101", "--type", "json"))
    well(run("put", "sd/b", "5", "--type", "json"))
    refused = run("schema", "set", "sd", limits)
    assert refused.code == exits.ERROR
    assert "1 live value would fail; readers keep what they have" in refused.out
    assert 'sd/a  breaks "maximum": 100' in refused.out
    assert "correct them first, or add --yes" in refused.err
    checked = run("schema", "check", "sd", "--against", limits, "--json")
    assert checked.code == exits.INVALID_VALUE
    assert json.loads(checked.out)["failing"].keys() == {"sd/a"}
    well(run("schema", "set", "sd", limits, "--yes"))
    try:
        assert run("schema", "check", "sd").code == exits.INVALID_VALUE
        assert run("get", "sd/a").out == "101", "what was live before its schema stays"
        well(run("put", "sd/a", "99"))
        assert well(run("schema", "check", "sd")) == "2 values checked, none fail\n"
    finally:
        well(run("schema", "remove", "sd"))


def test_files_are_checked_as_apply_would_publish_them(cluster, run, limits, tmp_path):
    well(run("schema", "set", "se", limits))
    try:
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "se.yaml").write_text("a: 1\nb: 101\n")
        checked = run("schema", "check", tmp_path / "tree")
        assert checked.code == exits.INVALID_VALUE
        assert checked.out.splitlines()[-1] == "2 values checked, 1 fails"
        (tmp_path / "tree" / "se.yaml").write_text("a: 1\n")
        assert well(run("schema", "check", tmp_path / "tree")) == "1 value checked, none fail\n"
        (tmp_path / "limits.yaml").write_text("b: 101\n")
        assert well(run("schema", "check", tmp_path / "limits.yaml")) == "1 value checked, none fail\n"
        below = run("schema", "check", tmp_path / "limits.yaml", "--prefix", "se")
        assert (below.code, below.out.splitlines()[-1]) == (exits.INVALID_VALUE, "1 value checked, 1 fails")
        assert "it says where files go" in run("schema", "check", "se", "--prefix", "se").err
    finally:
        well(run("schema", "remove", "se"))


def test_what_is_no_schema_is_told_with_its_file(cluster, run, tmp_path):
    path = tmp_path / "x.json"
    for text, words in (("{", "x.json:1: not JSON"), ('{"type": "x"}', "x.json: no JSON Schema: at type")):
        path.write_text(text)
        refused = run("schema", "set", "sf", path)
        assert (refused.code, words in refused.err) == (exits.ERROR, True)
    assert "keys that begin with _" in run("schema", "set", "_policy", path).err


def test_only_whom_the_policy_gives_the_place_sets_a_schema(quorum, run, limits):
    """`admins` may write `shop`, and no key under `_schemas`."""
    refused = run("schema", "set", "shop/without-values", limits)  # else those that fail would be asked about first
    assert refused.code == exits.ERROR
    assert "does not let" in refused.err
    assert "put '_schemas/shop/without-values'" in refused.err


# -- what comes from peers ------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Agents `a` and `b`; `b` checks nothing before it publishes, as one without the packages."""
    made = Agents(tmp_path / "shop")
    monkeypatch.chdir(made.directory)
    monkeypatch.setenv("GOSSIPCONF_AGENT", "nodes/a")
    try:
        made.add("a")
        made.settle_address("a", made.address("a"))
        made.add("b")
        made.running["b"]._agent.inspector.can_check = False
        yield made
    finally:
        made.stop_all()


def publish_at_b(agents, key: str, value: bytes) -> None:
    signer = load_signer(agents.directory / "keys" / "admin")
    with open_session(Target.find(agents.directory, agents.directory / "nodes" / "b")) as session:
        session.check = lambda entries: None
        session.publish([put(key, value, ValueType.JSON)], signer)


def test_a_value_of_a_peer_that_fails_leaves_the_last_good_one(pair, run, limits, caplog):
    well(run("put", "shop/limit", "50", "--type", "json"))
    well(run("schema", "set", "shop", limits, "--wait", "all"))
    publish_at_b(pair, "shop/limit", b"101")
    pair.wait("a", "shop/limit", b"101")
    assert run("get", "shop/limit", "--agent", "nodes/b").out == "101"
    for _ in range(2):
        result = run("get", "shop/limit")
        assert (result.code, result.out) == (0, "50")
        assert "held back from readers: breaks \"maximum\": 100, in the schema of 'shop'" in result.err
        found = json.loads(well(run("get", "shop/limit", "--json")))
        assert (found["value"], found["outcome"]) == (50, "read")
        (held,) = found["held_back"]
        assert (held["value"], held["problem"]) == (101, "breaks \"maximum\": 100, in the schema of 'shop'")
        outcomes = {
            one["value"]: one["outcome"] for one in json.loads(well(run("get", "shop/limit", "--all", "--json")))
        }
        assert outcomes == {50: "read", 101: "unfit"}
        assert "1 value held back for a schema, readers keep the last good: shop/limit" in well(run("status"))
        assert json.loads(well(run("status", "--json")))["unfit"] == {"number": 1, "keys": ["shop/limit"]}
        assert run("schema", "check").code == exits.INVALID_VALUE
        pair.stop("a")
        pair.start("a")
    assert "is held back from readers of shop/limit" in caplog.text
    well(run("put", "shop/limit", "60", "--wait", "all"))
    assert (run("get", "shop/limit").out, run("get", "shop/limit").err) == ("60", "")


def test_where_no_good_value_came_before_there_is_none_until_the_schema_goes(pair, run, limits):
    well(run("schema", "set", "shop", limits, "--wait", "all"))
    publish_at_b(pair, "shop/limit", b"101")
    pair.wait("a", "shop/limit", b"101")
    missing = run("get", "shop/limit")
    assert missing.code == exits.NOT_FOUND
    assert "has no value now: the only one fails a schema" in missing.err
    well(run("schema", "remove", "shop"))
    wait_at(pair.directory, "a", "shop/limit", lambda item: not item.unfit)
    result = run("get", "shop/limit")
    assert (result.out, result.err) == ("101", "")


def test_every_command_that_publishes_checks(cluster, run, limits, tmp_path):
    """A rollback to what was allowed once, a promotion, an import and a merge are publishes like any other."""
    first = well(run("put", "sg/limit", "500", "--type", "json")).split()[-1]
    well(run("put", "sg/limit", "5"))
    well(run("put", "sg/limit", "600", "--variant", "canary", "--percent", "5"))
    well(run("schema", "set", "sg", limits, "--yes"))
    try:
        (tmp_path / "sg.json").write_text('[{"key": "sg/limit", "flags": 0, "value": "NzAw"}]')
        for arguments in (
            ("rollback", "--to", first, "sg/limit", "--yes"),
            ("promote", "sg/limit", "--variant", "canary", "--yes"),
            ("import", tmp_path / "sg.json", "--from", "consul", "--yes"),
            ("put", "sg/limit", "800", "--variant", "other", "--percent", "5"),
        ):
            refused = run(*arguments)
            assert refused.code == exits.INVALID_VALUE, (arguments, refused.err)
            assert "in the schema of 'sg'" in refused.err
    finally:
        well(run("schema", "remove", "sg"))
