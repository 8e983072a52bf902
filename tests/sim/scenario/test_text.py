"""A scenario as the text of its file."""

from __future__ import annotations

import tomllib

import pytest

from gossipconf_sim.run.explore import random_scenario
from gossipconf_sim.scenario.scenario import from_values, load, shipped
from gossipconf_sim.scenario.text import dump


@pytest.mark.parametrize("name", shipped())
def test_shipped_scenarios_come_back(name):
    chosen = load(name, {"network.loss": 0.25})
    assert from_values(name, tomllib.loads(dump(chosen))) == chosen


def test_any_scenario_comes_back():
    for seed in range(200):
        chosen = random_scenario(seed)
        assert from_values(chosen.name, tomllib.loads(dump(chosen))) == chosen


def test_strings_that_need_care():
    for text in ('"', "\\", "tab\t", "line\nline", "bell\x07", "delete\x7f", "ünïcode", "'''"):
        chosen = from_values("odd", {"description": text, "zones": [{"name": "a"}]})
        assert from_values("odd", tomllib.loads(dump(chosen))) == chosen


def test_defaults_are_written_out():
    text = dump(from_values("plain", {}))
    assert "\n[network]\nlatency_ms = [0.25, 0.75]\n" in text
    assert "\nzone_labels = true\n" in text
    assert "zones" not in text
