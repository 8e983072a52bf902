"""Options: what a table may say, and the error for each thing that it may not, which names the path and what is
allowed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from gossipconf.model.errors import InvalidInput
from gossipconf_sim.options import MISSING, option, options_of, read
from gossipconf_sim.scenario.faults import FAULTS
from gossipconf_sim.scenario.scenario import LISTS, TABLES, Scenario


@dataclass(frozen=True, slots=True)
class Table:
    """One field of each kind."""

    name: str = option(MISSING, "whose it is")
    count: int = option(3, "how many", least=1, most=10)
    share: float = option(0.5, "which part", least=0, most=1)
    wait_s: float = option(1.0, "how long", least=0)
    depth: float = option(0.0, "how deep", most=0)
    any_number: float = option(0.0, "anything")
    loud: bool = option(False, "whether it is heard")
    mood: str = option("calm", "how it feels", choices=("calm", "wild"))
    span: tuple[float, float] = option((1.0, 2.0), "from and to", least=0, most=100)
    place: float | None = option(None, "where, if anywhere", least=-90, most=90)
    hidden: int = 7


def test_a_table_is_read_over_the_defaults() -> None:
    assert read(Table, {"name": "x"}, "table") == Table("x")
    values = {
        "name": "y",
        "count": 10,
        "share": 1,
        "wait_s": 0,
        "depth": -2.5,
        "loud": True,
        "mood": "wild",
        "span": [0, 100],
        "place": 4,
    }
    made = read(Table, values, "table")
    assert made == Table("y", 10, 1.0, 0.0, -2.5, 0.0, True, "wild", (0.0, 100.0), 4.0)
    assert (type(made.share), type(made.place)) == (float, float)


def test_one_number_is_a_range_of_itself() -> None:
    assert read(Table, {"name": "x", "span": 5}, "table").span == (5.0, 5.0)
    assert read(Table, {"name": "x", "span": (5, 6.5)}, "table").span == (5.0, 6.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (3, "table must be a table, not 3"),
        ([], "table must be a table, not []"),
        ({}, "table.name is missing: whose it is"),
        ({"nmae": "x"}, "table.nmae is not an option (did you mean name?); there are: name, count, share,"),
        ({"xyz": 1}, "table.xyz is not an option; there are: name, count, share,"),
        ({"hidden": 1}, "table.hidden is not an option; there are: name,"),
        ({"name": 3}, "table.name must be a string, not 3"),
        ({"name": True}, "table.name must be a string, not true"),
        ({"count": "3"}, 'table.count must be a whole number (1 to 10), not "3"'),
        ({"count": 3.0}, "table.count must be a whole number (1 to 10), not 3.0"),
        ({"count": True}, "table.count must be a whole number (1 to 10), not true"),
        ({"count": 0}, "table.count is 0; allowed: 1 to 10"),
        ({"count": 11}, "table.count is 11; allowed: 1 to 10"),
        ({"share": "much"}, 'table.share must be a number (0 to 1), not "much"'),
        ({"share": False}, "table.share must be a number (0 to 1), not false"),
        ({"share": {}}, "table.share must be a number (0 to 1), not a table"),
        ({"share": date(2027, 1, 1)}, "table.share must be a number (0 to 1), not 2027-01-01"),
        ({"share": -0.1}, "table.share is -0.1; allowed: 0 to 1"),
        ({"share": 1.1}, "table.share is 1.1; allowed: 0 to 1"),
        ({"wait_s": -1}, "table.wait_s is -1.0; allowed: 0 or more"),
        ({"depth": 1}, "table.depth is 1.0; allowed: at most 0"),
        ({"share": float("nan")}, "table.share must be a finite number (0 to 1), not nan"),
        ({"wait_s": float("inf")}, "table.wait_s must be a finite number (0 or more), not inf"),
        ({"wait_s": 10**400}, "table.wait_s must be a finite number (0 or more), not inf"),
        ({"any_number": -(10**400)}, "table.any_number must be a finite number, not -inf"),
        ({"span": [0, 10**400]}, "table.span must be a finite number (0 to 100), not inf"),
        ({"loud": 1}, "table.loud must be true or false, not 1"),
        ({"loud": "yes"}, 'table.loud must be true or false, not "yes"'),
        ({"mood": "mild"}, 'table.mood is "mild"; allowed: "calm", "wild"'),
        ({"mood": 1}, 'table.mood must be a string ("calm", "wild"), not 1'),
        ({"span": [1, 2, 3]}, "table.span must be a range [least, most] of numbers (0 to 100), not [1, 2, 3]"),
        ({"span": []}, "table.span must be a range [least, most] of numbers (0 to 100), not []"),
        ({"span": "1-2"}, 'table.span must be a range [least, most] of numbers (0 to 100), not "1-2"'),
        ({"span": [True, 2]}, "table.span must be a range [least, most] of numbers (0 to 100), not [True, 2]"),
        ({"span": [2, 1]}, "table.span must be a range [least, most]; [2, 1] begins above its end"),
        ({"span": [-1, 1]}, "table.span is -1.0; allowed: 0 to 100"),
        ({"span": [1, 101]}, "table.span is 101.0; allowed: 0 to 100"),
        ({"span": 101}, "table.span is 101.0; allowed: 0 to 100"),
        ({"place": 91}, "table.place is 91.0; allowed: -90 to 90"),
        ({"place": "north"}, 'table.place must be a number (-90 to 90), not "north"'),
    ],
)
def test_each_error_names_the_path_and_what_is_allowed(values: Any, words: str) -> None:
    named = {"name": "x"} | values if isinstance(values, dict) and values and "nmae" not in values else values
    with pytest.raises(InvalidInput) as caught:
        read(Table, named, "table")
    assert str(caught.value).startswith(words)


def test_a_path_may_be_empty() -> None:
    with pytest.raises(InvalidInput, match=r"^count is 0; allowed: 1 to 10$"):
        read(Table, {"name": "x", "count": 0}, "")


# -- the records themselves -----------------------------------------------------------------------

RECORDS = [Scenario, *TABLES.values(), *LISTS.values(), *FAULTS.values()]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_option_has_a_meaning_and_a_default_that_is_allowed(kind: type[Any]) -> None:
    for field, about, _ in options_of(kind):
        assert about.meaning, field.name
        assert not about.meaning.endswith("."), field.name
        if field.default is not MISSING and field.default is not None:
            one = {"name": "x"} if kind is LISTS["zones"] else {}
            if kind is not Scenario:
                assert getattr(read(kind, one | {field.name: field.default}, ""), field.name) == field.default


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_cannot_be_altered(kind: type[Any]) -> None:
    record = kind("x") if kind in {Scenario, LISTS["zones"]} else kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(kind)[0].name, None)
