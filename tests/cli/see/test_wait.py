"""Waiting for a publish to spread, and who has what: when a goal is reached, and with which code a command ends."""

from __future__ import annotations

import json
import os

import pytest

from gossipconf.cli import exits
from gossipconf.cli.replies import Tally
from gossipconf.cli.see.wait import Goal
from gossipconf.model.errors import InvalidInput
from tests.cli.conftest import Agents, wait_at
from tests.cli.terminal import on_terminal


def tally(applied: int, total: int, *zones: tuple[str, int, int], complete: bool = True) -> Tally:
    return Tally(applied, total, complete, (), (), False, zones)


def reached(goal: str, seen: Tally) -> bool:
    return Goal.parse(goal).is_reached(seen)


def test_all_are_those_who_have_answered():
    assert reached("all", tally(3, 3))
    assert not reached("all", tally(2, 3))
    assert not reached("all", tally(3, 3, complete=False)), "there may be more"


def test_a_share_is_rounded_up():
    assert not reached("95%", tally(18, 20))
    assert reached("95%", tally(19, 20))
    assert not reached("33.4%", tally(1, 3))
    assert reached("33.3%", tally(1, 3))
    assert not reached("95%", tally(19, 20, complete=False)), "a share of a number that may still grow"


def test_a_number_needs_no_answer_of_others():
    assert reached("2", tally(2, 9, complete=False))
    assert not reached("2", tally(1, 1))


def test_a_zone_is_all_below_it_and_no_other_of_a_like_name():
    assert reached("zone=eu", tally(3, 9, ("eu", 1, 1), ("eu/a", 2, 2), ("europe", 0, 4)))
    assert not reached("zone=eu", tally(8, 9, ("eu/a", 1, 2), ("us", 7, 7)))
    assert reached("zone=eu/a/", tally(2, 9, ("eu/a", 2, 2), ("eu/b", 0, 2)))
    assert not reached("zone=eu", tally(4, 4, ("us", 4, 4))), "nobody there is not everybody"


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "all agents", "zone=", "-1", "٣", "5 %", "most"])
def test_what_is_no_goal_is_refused(text):
    with pytest.raises(InvalidInput, match="write all, a share such as 95%"):
        Goal.parse(text)


# -- real agents ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zones(tmp_path_factory):
    """Agents `a` and `b`, in zones eu/a and us."""
    made = Agents(tmp_path_factory.mktemp("w") / "shop")
    try:
        for name, zone in (("a", "eu/a"), ("b", "us")):
            made.make(name)
            toml = made.directory / "nodes" / name / "agent.toml"
            toml.write_text(toml.read_text().replace('zone = ""', f'zone = "{zone}"'))
            assert f'zone = "{zone}"' in toml.read_text()
            made.start(name)
            if name == "a":
                made.settle_address("a", made.address("a"))
        wait_at(made.directory, "b", "_policy/1", lambda item: bool(item.versions))
        yield made
    finally:
        made.stop_all()


@pytest.fixture
def shop(zones, monkeypatch, run):
    monkeypatch.chdir(zones.directory)
    monkeypatch.setenv("GOSSIPCONF_AGENT", "nodes/a")
    return zones


def test_a_publish_waits_until_all_have_it(shop, run):
    result = run("put", "wait/a", "1", "--wait", "all")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "all of 2 agents have applied it, as a hears"
    result = run("delete", "wait/a", "--wait", "zone=us", "--timeout", "20s")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "all of 1 agent in us has applied it"
    assert run("get", "wait/a", "--agent", "nodes/b").code == exits.NOT_FOUND


def test_a_wait_in_vain_has_its_own_code_and_the_change_stays(shop, run):
    result = run("put", "wait/b", "1", "--wait", "3", "--timeout", "500ms")
    assert result.code == exits.INCOMPLETE
    assert result.out.splitlines()[-1] == "all of 2 agents have applied it, as a hears; wanted: 3"
    assert run("get", "wait/b").out == "1"
    result = run("put", "wait/b", "2", "--wait", "zone=asia", "--timeout", "300ms")
    assert result.code == exits.INCOMPLETE
    assert result.out.splitlines()[-1] == "no agent that is connected is in zone asia; zones: eu/a, us"


def test_on_a_terminal_a_bar_shows_how_far_it_is(shop):
    put = ("put", "wait/bar", "1", "--force")
    environment = {**os.environ, "TERM": "xterm"}
    code, seen = on_terminal(
        *put, "--wait", "3", "--timeout", "500ms", answers=(), directory=shop.directory, environment=environment
    )
    assert code == exits.INCOMPLETE, seen
    assert "applied, waiting for 3" in seen
    assert "2/3" in seen
    code, seen = on_terminal(*put, "--wait", "all", answers=(), directory=shop.directory, environment=environment)
    assert code == 0, seen
    assert "all of 2 agents have applied it" in seen


def test_apply_waits_too(shop, run, tmp_path):
    (tmp_path / "w.yaml").write_text("x: 1\n")
    result = run("apply", tmp_path / "w.yaml", "--prefix", "wait/c", "--yes", "--wait", "100%")
    assert result.code == 0, result.err
    assert "all of 2 agents have applied it" in result.out


def test_a_wrong_wait_is_told_before_anything_is_published(shop, run):
    result = run("put", "wait/d", "1", "--wait", "many")
    assert (result.code, "write all, a share such as 95%" in result.err) == (1, True)
    assert run("get", "wait/d").code == exits.NOT_FOUND
    assert run("put", "wait/d", "1", "--wait", "all", "--propose").code == exits.DIFFERENCE
    assert run("put", "wait/d", "1", "--wait", "all", "--dry-run").code == exits.DIFFERENCE
    assert json.loads(run("list", "wait/d", "--json").out) == []


# -- status of a key or a change ------------------------------------------------------------------


def test_status_of_a_key_shows_its_value_and_who_has_it(shop, run):
    change = run("put", "wait/e", "7", "--comment", "why", "--wait", "all").out.splitlines()[-2].split()[-1]
    lines = run("status", "wait/e").out.splitlines()
    assert lines[0].startswith("wait/e  7  (admins, ")
    assert lines[0].endswith(f", change {change}: why)")
    assert lines[1] == "all of 2 agents have applied it, as a hears"
    by_change = run("status", change, "--wait", "all", "--json")
    assert by_change.code == 0, by_change.err
    (found,) = json.loads(by_change.out)["changes"]
    assert (found["change"], found["applied"], found["total"], found["versions"]) == (change, 2, 2, [])
    found = json.loads(run("status", "wait/e", "--json").out)
    assert (found["key"], found["changes"][0]["versions"][0]["value"]) == ("wait/e", "7")


def test_a_key_comes_before_a_change(shop, run):
    run("put", "feed", "1")
    assert run("status", "feed").out.startswith("feed  1  (")
    assert run("status", "wait/none").code == exits.NOT_FOUND
    unknown = run("status", "beef")
    assert unknown.code == exits.NOT_FOUND
    assert "knows no change beef" in unknown.err


def test_status_waits_in_vain_too(shop, run):
    run("put", "wait/f", "1")
    result = run("status", "wait/f", "--wait", "9", "--timeout", "300ms")
    assert result.code == exits.INCOMPLETE
    assert result.out.startswith("wait/f  1  (")
    assert run("status", "--wait", "all").code == exits.DIFFERENCE
    assert run("status", "wait/f", "--watch").code == exits.DIFFERENCE
