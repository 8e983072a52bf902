"""`gossipconf-sim scenarios`: the list, one text, all options."""

from __future__ import annotations

import json
import re

import pytest

from gossipconf_sim.scenario.reference import Entry, sections
from gossipconf_sim.scenario.scenario import load, shipped, source


def test_all_are_listed_with_their_sizes(run):
    shown = run("scenarios")
    assert (shown.code, shown.err) == (0, "")
    heading, *lines = shown.out.splitlines()
    assert heading.split() == ["SCENARIO", "NODES", "CHANGES", "WITH", "DESCRIPTION"]
    assert [line.split()[0] for line in lines] == shipped()
    by_name = {line.split()[0]: re.split(r"  +", line) for line in lines}
    assert by_name["wan19"][1:4] == ["400", "400", "19 zones"]
    assert "31% hostile" in by_name["byzantine"]
    assert "partition" in by_name["partition-heal"]
    for name, line in by_name.items():
        assert line[-1] == load(name).description != ""


def test_the_list_as_json(run, target):
    document = json.loads(run("scenarios", "--json", "-").out)
    assert [one["name"] for one in document] == shipped()
    assert list(document[0]) == ["name", "nodes", "changes", "zones", "faults", "hostile", "description"]
    assert run("scenarios", "--json", target).out
    assert json.loads(target.read_text()) == document


def test_a_text_is_that_of_the_file_to_the_byte(run, tmp_path):
    for name in ("lan", "wan19"):
        assert run("scenarios", name).out == source(name)
    own = tmp_path / "own.toml"
    own.write_text('description = "tab\\t"\nnodes\t= 7  \n\n')
    assert run("scenarios", own).out == own.read_text()


def test_a_terminal_gets_no_control_characters(run, tmp_path, monkeypatch):
    own = tmp_path / "own.toml"
    own.write_text('description = "\x1b[2J"\n')
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[2J" not in run("scenarios", own).out


def test_one_as_json_has_every_option(run):
    document = json.loads(run("scenarios", "partition-heal", "--json", "-").out)
    assert document["nodes"] == load("partition-heal").nodes
    assert document["network"]["loss"] == 0.0
    assert document["faults"][0]["kind"] == "partition"


def test_options_are_all_there_with_what_is_allowed(run):
    shown = run("scenarios", "--options")
    assert shown.code == 0
    for section in sections():
        assert f"\n{section.about}\n" in shown.out
        for entry in section.entries:
            line = next(one for one in shown.out.splitlines() if one.startswith(f"{entry.name} "))
            assert len(re.split(r"  +", line)) >= 3
    assert re.search(r'^start +"joined" +"joined", "cold" +whether the nodes begin', shown.out, re.MULTILINE)
    assert re.search(r"^name +must be given +string +what nodes call it", shown.out, re.MULTILINE)


def test_options_as_json(run):
    document = json.loads(run("scenarios", "--options", "--json", "-").out)
    for told, section in zip(document, sections(), strict=True):
        assert (told["table"], told["about"]) == (section.heading, section.about)
        assert [Entry(**one) for one in told["options"]] == list(section.entries)


@pytest.mark.parametrize("columns", [80, 100, 160])
@pytest.mark.parametrize("options", [[], ["--options"]])
def test_tables_fit_the_terminal(run, monkeypatch, columns, options):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in run("scenarios", *options).out.splitlines()]
    tables = [line for line in lines if "  " in line]
    assert max(map(len, tables)) <= columns


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lam"], "no scenario is named 'lam' (did you mean lan?); there are acks, burst, "),
        (["lan", "--options"], "--options shows those of all scenarios; leave out the name"),
        (["--json", "/no/where"], "the file '/no/where' cannot be written: there is no directory /no"),
    ],
)
def test_what_is_refused(error, arguments, told):
    assert error("scenarios", *arguments).startswith(f"error: {told}")
