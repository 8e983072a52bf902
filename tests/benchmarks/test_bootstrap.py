"""The two ways to boot are measured on the same changes, and must end with the same set."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import bootstrap


@pytest.mark.parametrize(("per_change", "changes"), [(1, 20), (8, 3)])
def test_both_ways_are_measured(per_change: int, changes: int) -> None:
    parser = argparse.ArgumentParser()
    bootstrap.add_options(parser)
    found = bootstrap.measure(
        parser.parse_args(["--entries", "20", "--per-change", str(per_change), "--runs", "1"])
    )  # which ends the program if the fingerprints differ
    assert (found["entries"], found["changes"]) == (20, changes)
    assert found["each_change_verified"].keys() >= {"node_cpu_s", "disk_cpu_s", "cpu_s", "signatures_alone_cpu_s"}
    assert found["checkpoint"].keys() >= {"node_cpu_s", "disk_cpu_s", "cpu_s", "read_cpu_s", "live_set_cpu_s"}
