"""The page of all options: up to date and complete."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gossipconf_sim.scenario.faults import FAULTS
from gossipconf_sim.scenario.reference import PAGE, RECIPE, page, sections
from gossipconf_sim.scenario.scenario import LISTS, TABLES, from_values

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date():
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(), f"run: {RECIPE}"


def test_make_docs_makes_the_page():
    assert f"$(BIN)/{RECIPE}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_table_and_fault_is_there_with_what_it_is_for():
    found = list(sections())
    assert len(found) == 1 + len(TABLES) + len(LISTS) + len(FAULTS)
    for section in found:
        assert section.about.endswith(".")
        assert all(entry.meaning for entry in section.entries)


@pytest.mark.parametrize(
    ("table", "name", "default", "allowed"),
    [
        ("", "nodes", "100", "1 to 1000000"),
        ("[network]", "latency_ms", "[0.25, 0.75]", "0 or more"),
        ("[hosts]", "zone_labels", "true", ""),
        ("[publish]", "origins", '"all"', '"all", "one"'),
        ("[[zones]]", "name", "", ""),
        ("[[zones]]", "latitude", "", "-90 to 90"),
        ('[[faults]] kind = "partition"', "for_s", "60.0", "0.001 or more"),
    ],
)
def test_entries(table, name, default, allowed):
    (section,) = (one for one in sections() if one.heading == table)
    (entry,) = (one for one in section.entries if one.name == name)
    assert (entry.default, entry.allowed) == (default, allowed)
    assert entry.required is ((table, name) == ("[[zones]]", "name"))


def test_defaults_are_those_that_are_taken():
    plain = from_values("plain", {})
    for section in sections():
        table = section.heading.strip("[]")
        for entry in section.entries if table in TABLES or not table else ():
            taken = getattr(getattr(plain, table) if table else plain, entry.name)
            told = tomllib.loads(f"default = {entry.default}")["default"]
            assert told == (list(taken) if isinstance(taken, tuple) else taken)
