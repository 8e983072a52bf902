"""The benchmark of reconciliation, on a small store: bytes are exact, so each line keeps to the bound or does not."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks import reconciliation

PAGE = (Path(__file__).parents[2] / "docs" / "reconciliation.md").read_text(encoding="utf-8")


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    reconciliation.add_options(parser)
    return parser.parse_args(arguments)


def test_every_line_keeps_to_the_bound() -> None:
    figures = reconciliation.measure(options("--changes", "1000", "--missing", "1,10,300"))
    assert figures["equal"] == {"bytes": 44, "bound": 64, "pass": True}
    assert len(figures["hints"]) == 3 * len(reconciliation.HINTS)
    for line in figures["hints"]:
        assert line["pass"], line
        assert line["payload_bytes"] < line["bytes"] <= line["bound"]
        assert line["round_trips"] in (1.0, 1.5)


def test_a_walk_takes_few_round_trips_and_bytes() -> None:
    figures = reconciliation.measure(options("--changes", "3000", "--missing", "1,100"))
    one, hundred = figures["walk"][:2]
    assert one["round_trips"] == 4, "hints, a row of 256 hashes, the items of one node, and the change"
    assert one["beyond_payload"] < 1_700
    assert hundred["round_trips"] == 4
    assert hundred["beyond_payload"] < 100 * 100


def test_the_page_says_how_it_was_measured() -> None:
    known = options()
    assert f"{known.changes:,} changes" in PAGE
    assert f"{known.value_bytes} bytes by {known.writers} writers" in PAGE
    lines = re.findall(r"^\| .* lack.* \|$", PAGE, re.MULTILINE)
    rows = len(known.missing.split(",")) * (len(reconciliation.HINTS) + len(reconciliation.WALKS))
    assert len(lines) == rows + 2, "and two headings"
    assert "MISSED" not in PAGE
