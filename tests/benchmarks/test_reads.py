"""Reads are measured of each kind, quiet and while changes come."""

from __future__ import annotations

import argparse

from benchmarks import reads


def test_each_kind_is_measured_twice() -> None:
    parser = argparse.ArgumentParser()
    reads.add_options(parser)
    found = reads.measure(
        parser.parse_args(["--keys", "20", "--reads", "1000", "--changes-per-s", "100", "--values-per-change", "2"])
    )
    kinds = {"get_int", "get_bytes", "get_of_a_tree", "get_default", "bound_value", "bare_dict"}
    assert found["quiet"].keys() == kinds
    assert found["busy"].keys() == kinds | {"changes_per_s", "values_per_s"}
    assert all(found["quiet"][kind].keys() == {"median_ns", "p99_ns", "within_bound"} for kind in kinds)
