"""Tables: what gives way on a narrow terminal, and what never does."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from gossipconf.cli import output
from gossipconf.cli import table as tables
from gossipconf.cli.table import print_table, table

COLUMNS = {"TIME": "left", "CHANGE": "left", "KEYS": "fold", "COMMENT": "cut"}


@pytest.fixture
def printed(monkeypatch):
    """What a table looks like on a terminal that is so wide."""

    def show(columns, rows, width):
        stream = io.StringIO()
        console = Console(file=stream, width=width, force_terminal=True, color_system=None, soft_wrap=True)
        for module in (output, tables):
            monkeypatch.setattr(module, "stdout", lambda: console)
        print_table(columns, rows)
        return [line.rstrip() for line in stream.getvalue().splitlines()]

    return show


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit_the_terminal_and_cut_values_first(width):
    stream = io.StringIO()
    rows = [("", "some/rather/long/key/of/a/service", "v" * 150, "admins", "3 min")]
    columns = {"": "left", "KEY": "fold", "VALUE": "cut", "BY": "left", "AGE": "left"}
    Console(file=stream, width=width).print(table(columns, rows, width))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "some/rather/long/key/of/a/service" in lines[1] or width == 60
    assert lines[1].rstrip().endswith("…  admins  3 min")


def test_what_would_be_folded_takes_the_line_below(printed):
    rows = [("2026-11-25 17:28:46", "72bacba89c", "shop/checkout/payment/timeout_ms", "[OPS-1] slow bank again")]
    assert printed(COLUMNS, rows, 100) == [
        "TIME                 CHANGE      KEYS                              COMMENT",
        "2026-11-25 17:28:46  72bacba89c  shop/checkout/payment/timeout_ms  [OPS-1] slow bank again",
    ]
    assert printed(COLUMNS, rows, 60) == [
        "TIME                 CHANGE      COMMENT",
        "  KEYS",
        "2026-11-25 17:28:46  72bacba89c  [OPS-1] slow bank again",
        "  shop/checkout/payment/timeout_ms",
    ]


def test_a_row_without_it_has_no_line_below(printed):
    columns = {"KEY": "fold", "AGE": "right", "FOR": "fold"}
    rows = [("a", "1 s", ""), ("b", Text("10 min"), "zone=eu-west-1,eu-west-2")]
    assert printed(columns, rows, 30) == [
        "KEY     AGE",
        "  FOR",
        "a       1 s",
        "b    10 min",
        "  zone=eu-west-1,eu-west-2",
    ]


def test_the_first_column_stays_where_it_is(printed):
    rows = [("!", "some/rather/long/key/of/a/service", "admins", "13 min")]
    lines = printed({"": "left", "KEY": "fold", "BY": "left", "AGE": "left"}, rows, 40)
    assert lines[0].split() == ["KEY", "BY", "AGE"]
    assert lines[1].startswith("!  some/rather/")
    assert max(map(len, lines)) <= 40
