"""Scenario files: what they may hold, how paths alter them, and what is said of every mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gossipconf.model.errors import InvalidInput
from gossipconf_sim.conditions import NetworkConditions
from gossipconf_sim.hostile.byzantine import Hostility
from gossipconf_sim.network.zones import Zone
from gossipconf_sim.scenario.faults import FAULTS, Crash, Partition
from gossipconf_sim.scenario.scenario import (
    Preload,
    Publishing,
    Scenario,
    from_values,
    load,
    parse_overrides,
    parse_value,
    shipped,
    source,
)

KINDS = ", ".join(FAULTS)


def refusal(values: dict[str, Any]) -> str:
    """What is said of the tables of a file."""
    with pytest.raises(InvalidInput) as caught:
        from_values("mine", values)
    return str(caught.value)


def refused(name: str, overrides: dict[str, Any] | None = None) -> str:
    """What is said of a scenario with overrides."""
    with pytest.raises(InvalidInput) as caught:
        load(name, overrides)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


# -- what is read ---------------------------------------------------------------------------------


def test_an_empty_file_is_the_defaults(file: Path) -> None:
    file.write_text("")
    assert load(str(file)) == Scenario("mine")


def test_all_tables_and_lists_are_read() -> None:
    scenario = from_values(
        "mine",
        {
            "nodes": 7,
            "network": {"loss": 0.25, "latency_ms": 3},
            "publish": {"changes": 5},
            "preload": {"keys": 2, "on": "seeds"},
            "zones": [{"name": "a"}, {"name": "b", "weight": 2}],
            "hostile": [{"behaviour": "lie", "share": 0.2}],
            "faults": [{"kind": "partition", "for_s": 5}, {"kind": "crash"}],
        },
    )
    assert scenario == Scenario(
        "mine",
        nodes=7,
        network=NetworkConditions(loss=0.25, latency_ms=(3.0, 3.0)),
        publish=Publishing(changes=5),
        preload=Preload(2, on="seeds"),
        zones=(Zone("a"), Zone("b", 2.0)),
        hostile=(Hostility("lie", 0.2),),
        faults=(Partition(for_s=5.0), Crash()),
    )


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_is_sound_and_says_what_it_is_for(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.description.endswith((".", "?"))
    assert source(name).startswith("description = ")


def test_a_scenario_cannot_be_altered() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("lan").nodes = 3  # type: ignore[misc]


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"node": 3}, "node is not an option (did you mean nodes?); there are: description, nodes, start,"),
        ({"qwerty": 3}, "qwerty is not an option; there are: description, nodes,"),
        ({"name": "x"}, "name is not an option"),
        ({"nodes": 0}, "nodes is 0; allowed: 1 to 1000000"),
        ({"nodes": 1_000_001}, "nodes is 1000001; allowed: 1 to 1000000"),
        ({"start": "warm"}, 'start is "warm"; allowed: "joined", "cold"'),
        ({"network": 3}, "network must be a table, not 3"),
        ({"network": {"lose": 0.1}}, "network.lose is not an option (did you mean loss?); there are: latency_ms,"),
        ({"network": {"loss": 1}}, "network.loss is 1.0; allowed: 0 to 0.99"),
        ({"publish": {"origins": "some"}}, 'publish.origins is "some"; allowed: "all", "one"'),
        ({"zones": {}}, "zones must be a list of tables: write [[zones]]"),
        ({"zones": [3]}, "zones.0 must be a table, not 3"),
        ({"zones": [{}]}, "zones.0.name is missing: what nodes call it, a path such as eu-west/a"),
        (
            {"zones": [{"name": "a"}, {"name": "b", "wieght": 1}]},
            "zones.1.wieght is not an option (did you mean weight?)",
        ),
        ({"zones": [{"name": "a"}, {"name": "a"}]}, "zones: two zones have the same name"),
        ({"zones": [{"name": ""}]}, "zones.0.name is ''; allowed: printable, 1 to 256 bytes"),
        ({"zones": [{"name": "a\n"}]}, r"zones.0.name is 'a\n'; allowed: printable, 1 to 256 bytes"),
        ({"zones": [{"name": "é" * 129}]}, "zones.0.name is 'éé"),
        (
            {"zones": [{"name": "a", "latitude": 1, "longitude": 1}, {"name": "b"}]},
            "zones: give latitude and longitude of all zones, or of none",
        ),
        ({"zones": [{"name": "a", "latitude": 1}]}, "zones: give latitude and longitude of all zones, or of none"),
        ({"zones": [{"name": "a", "latitude": 91}]}, "zones.0.latitude is 91.0; allowed: -90 to 90"),
        ({"zones": [{"name": "a", "weight": 0}]}, "zones: the weights must not all be 0"),
        ({"hostile": [{"behaviour": "rude"}]}, 'hostile.0.behaviour is "rude"; allowed: "suppress", "delay",'),
        ({"hostile": [{"share": 0.5}, {"share": 0.5}]}, "hostile: the shares add up to 1 or more; leave honest hosts"),
        ({"nodes": 2, "hostile": [{"share": 0.9}]}, "hostile: the shares make all of 2 hosts hostile; leave honest"),
        ({"faults": {"kind": "crash"}}, "faults must be a list of tables: write [[faults]]"),
        ({"faults": [3]}, "faults.0 must be a table, not 3"),
        ({"faults": [{}]}, f"faults.0.kind is missing; allowed: {KINDS}"),
        ({"faults": [{"kind": "crahs"}]}, f"faults.0.kind is 'crahs' (did you mean crash?); allowed: {KINDS}"),
        ({"faults": [{"kind": ["crash"]}]}, "faults.0.kind is ['crash']"),
        (
            {"faults": [{"kind": "crash"}, {"kind": "crash", "shar": 1}]},
            "faults.1.shar is not an option (did you mean share?)",
        ),
        ({"faults": [{"kind": "partition", "sides": 1}]}, "faults.0.sides is 1; allowed: 2 to 1000"),
        ({"publish": {"entries": 20, "keys": 10}}, "publish.entries is larger than publish.keys"),
        (
            {"publish": {"entries": 9, "value_bytes": 1 << 20}},
            "publish: entries times value_bytes is more than one change may hold, 8388608 bytes",
        ),
        (
            {"preload": {"keys": 9, "value_bytes": 1 << 20}},
            "preload: keys times value_bytes is more than one change may",
        ),
    ],
)
def test_each_mistake_is_named_with_what_is_allowed(values: dict[str, Any], words: str) -> None:
    assert refusal(values).startswith(words)


def test_a_scenario_that_is_not_there_is_told_with_those_that_are() -> None:
    said = refused("lna")
    assert said.startswith("no scenario is named 'lna' (did you mean lan?); there are acks, burst, ")
    assert said.endswith(", and files (.toml)")
    assert "did you mean" not in refused("x" * 40)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing, binary, broken = (tmp_path / f"{name}.toml" for name in ("missing", "binary", "broken"))
    binary.write_bytes(b"nodes = \xff")
    broken.write_text("nodes = ")
    assert refused(str(missing)) == f"scenario file {missing} cannot be read: No such file or directory"
    assert refused(str(binary)) == f"scenario file {binary} cannot be read: it is not UTF-8"
    assert refused(str(broken)).startswith(f"{broken} is not TOML: Invalid value")
    assert refused(str(tmp_path)).startswith(f"no scenario is named {str(tmp_path)!r}")
    assert refused("x" * 300).endswith("cannot be read: File name too long")


def test_a_mistake_in_a_file_names_the_file(file: Path) -> None:
    file.write_text("[network]\nlos = 0.1\n")
    assert refused(str(file)).startswith(f"scenario {file}: network.los is not an option (did you mean loss?)")


# -- overrides ------------------------------------------------------------------------------------


def test_paths_alter_options_of_the_scenario_of_tables_and_of_elements() -> None:
    scenario = load("partition-heal", {"nodes": 5, "network.loss": 0.1, "faults.0.for_s": 3, "preload.on": "seeds"})
    (partition,) = scenario.faults
    assert isinstance(partition, Partition)
    assert (scenario.nodes, scenario.network.loss, partition.for_s, scenario.preload.on) == (5, 0.1, 3.0, "seeds")
    assert load("partition-heal", {"faults": []}).faults == ()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"node": 1}, "node is not an option (did you mean nodes?)"),
        ({"netwrok.loss": 0.1}, "netwrok is not an option (did you mean network?)"),
        ({"network.lossy": 0.1}, "network.lossy is not an option (did you mean loss?)"),
        ({"network.loss": "much"}, 'network.loss must be a number (0 to 0.99), not "much"'),
        ({"network.loss.x": 1}, "network.loss must be a number (0 to 0.99), not a table"),
        ({"network": 3}, "network must be a table, not 3"),
        ({"nodes.x": 1}, "nodes.x is not an option: nodes is no table"),
        ({"faults.9.for_s": 1}, "faults.9.for_s: 9 is no element; there are 0 to 0"),
        ({"faults.-1.for_s": 1}, "faults.-1.for_s: -1 is no element; there are 0 to 0"),
        ({"faults.x.for_s": 1}, "faults.x.for_s: x is no element; there are 0 to 0"),
        ({"faults.².for_s": 1}, "faults.².for_s: ² is no element; there are 0 to 0"),
        ({"faults.0": 1}, "faults.0 must name an option of one of them, such as faults.0.share"),
        ({"faults.0.for": 1}, "faults.0.for is not an option (did you mean for_s?)"),
        ({"faults.0.kind": "storm"}, "faults.0.kind is 'storm'; allowed: "),
        ({"faults.0.for_s.x": 1}, "faults.0.for_s.x is not an option: faults.0.for_s is no table"),
        ({"hostile.0.share": 1}, "hostile.0.share: this scenario has no hostile"),
        ({"faults": [], "faults.0.for_s": 1}, "faults.0.for_s: 0 is no element; there is none"),
        ({"network.": 1}, "network. is not an option"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(overrides: dict[str, Any], words: str) -> None:
    assert refused("partition-heal", overrides).startswith(f"scenario partition-heal: {words}")


def test_assignments_are_read_as_toml_or_as_they_stand() -> None:
    assert parse_overrides(["nodes=5", " network.loss = 0.1 ", "start=cold", 'publish.origins="one"', "x="]) == {
        "nodes": 5,
        "network.loss": 0.1,
        "start": "cold",
        "publish.origins": "one",
        "x": "",
    }
    assert parse_value("[1, 2.5]") == [1, 2.5]
    assert parse_value("true") is True
    assert parse_value("a=b") == "a=b"
    assert parse_value("1\nnodes = 2") == "1\nnodes = 2"


@pytest.mark.parametrize("text", ["nodes", "=3", " =3", ""])
def test_what_is_no_assignment_is_told_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not path=value, such as network\.loss=0\.3$"):
        parse_overrides([text])
