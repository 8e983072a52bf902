"""The admin's commands are timed beside an agent that holds what the options say."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import admin


@pytest.mark.slow  # two dozen processes of the command line
def test_a_small_run_has_a_figure_for_each_command():
    parser = argparse.ArgumentParser()
    admin.add_options(parser)
    options = parser.parse_args(["--keys", "40", "--per-change", "4", "--rewritten", "8", "--runs", "1"])
    found = admin.measure(options)
    assert (found["keys"], found["changes"], found["history"]) == (40, 10, 8 + admin.OFTEN)
    lines = found["commands"]
    assert {name.split()[0] for name in lines} >= {"list", "get", "history", "log", "diff", "blame", "explain"}
    assert all(one["cpu_s"] > 0 and one["p50_s"] <= one["worst_s"] for one in lines.values())
