"""The file of a sweep: going on from it, what a kill leaves, and files of other things."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from gossipconf.model.errors import InvalidInput
from gossipconf_sim.sweep.grid import Row, Sweep, parse_axes, plan
from gossipconf_sim.sweep.results_file import SweepFile


@pytest.fixture
def planned() -> Sweep:
    return plan("lan", parse_axes(["nodes=5,6"]), {"network.loss": 0.1}, repeats=2)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sweep.jsonl"


def fill(target: Path, planned: Sweep, runs: int = 4) -> list[Row]:
    """Write the first runs, as if they had been done."""
    rows = [Row(job, {"figure": number}) for number, job in enumerate(planned.jobs()[:runs])]
    with SweepFile(target, planned) as file:
        for row in rows:
            file.append(row)
    return rows


def refusal(target: Path, planned: Sweep) -> str:
    before = target.read_bytes() if target.is_file() else None
    with pytest.raises(InvalidInput) as refused, SweepFile(target, planned):
        pass
    assert (target.read_bytes() if target.is_file() else None) == before, "what is refused is left as it is"
    return str(refused.value)


def test_a_line_for_the_sweep_and_one_for_each_run(target, planned):
    fill(target, planned, 2)
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"sweep": planned.header()},
        {"point": {"nodes": 5}, "seed": 0, "result": {"figure": 0}},
        {"point": {"nodes": 6}, "seed": 0, "result": {"figure": 1}},
    ]


def test_rows_are_on_disk_at_once(target, planned):
    with SweepFile(target, planned) as file:
        assert target.read_bytes().count(b"\n") == 1
        file.append(Row(planned.jobs()[0], {}))
        assert target.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("runs", range(5))
def test_the_same_sweep_goes_on(target, planned, runs):
    rows = fill(target, planned, runs)
    with SweepFile(target, planned) as file:
        assert file.rows == rows
        assert file.pending() == planned.jobs()[runs:]


def test_the_order_of_axes_and_lines_is_free(target):
    planned = plan("lan", parse_axes(["nodes=5,6", "network.loss=0,0.1"]))
    rows = fill(target, planned)
    header, *lines = target.read_text().splitlines(keepends=True)
    target.write_text(header + "".join(reversed(lines)))
    turned = plan("lan", parse_axes(["network.loss=0,0.1", "nodes=5,6"]))
    with SweepFile(target, turned) as file:
        assert [row.result for row in file.rows] == [row.result for row in reversed(rows)]
        assert file.pending() == []


def test_a_kill_at_any_byte_loses_no_more_than_the_line_that_it_tore(target, planned):
    rows = fill(target, planned)
    whole = target.read_bytes()
    ends = [place for place, byte in enumerate(whole, start=1) if byte == ord("\n")]
    for length in sorted({*range(0, len(whole), 17), *(end + by for end in ends for by in (-1, 0, 1))}):
        target.write_bytes(whole[:length])
        kept = max(0, whole[:length].count(b"\n") - 1)
        with SweepFile(target, planned) as file:
            assert file.rows == rows[:kept]
            for row in rows[kept:]:
                file.append(row)
        assert target.read_bytes() == whole


@pytest.mark.parametrize(
    ("vary", "fixed", "options", "told"),
    [
        ("nodes=5,7", {"network.loss": 0.1}, {"repeats": 2}, 'vary is {"nodes": [5, 6]} there and {"nodes": [5, 7]} '),
        ("nodes=5,6", {}, {"repeats": 2}, 'set is {"network.loss": 0.1} there and {} here'),
        ("nodes=5,6", {"network.loss": 0.1}, {"repeats": 3}, "repeats is 2 there and 3 here"),
        ("nodes=5,6", {"network.loss": 0.1}, {"repeats": 2, "seed": 1}, "seed is 0 there and 1 here"),
    ],
)
def test_the_results_of_another_sweep_are_refused(target, planned, vary, fixed, options, told):
    fill(target, planned, 1)
    error = refusal(target, plan("lan", parse_axes([vary]), fixed, **options))
    assert error.startswith(f"{target} holds the results of another sweep: {told}")
    assert error.endswith("; name another file with --out")


def test_the_results_of_another_text_or_version_are_refused(target, tmp_path, monkeypatch):
    scenario = tmp_path / "mine.toml"
    scenario.write_text("nodes = 5\n")
    fill(target, plan(str(scenario)), 1)
    scenario.write_text("nodes = 6\n")
    assert "another sweep: the scenario's text has changed; " in refusal(target, plan(str(scenario)))
    monkeypatch.setattr("gossipconf_sim.sweep.grid.__version__", "99")
    assert 'another sweep: version is "' in refusal(target, plan(str(scenario)))


def test_a_file_without_results_is_taken_by_another_sweep(target, planned):
    fill(target, planned, 0)
    other = plan("lan", parse_axes(["nodes=7"]))
    rows = fill(target, other)
    with SweepFile(target, other) as file:
        assert file.rows == rows


@pytest.mark.parametrize(
    "content", ["notes", "notes\n", "{}\n", "[]\n", '{"sweep": 5}\n', '{"sweep": {}, "x": \n', "\n"]
)
def test_a_file_of_something_else_is_refused(target, planned, content):
    target.write_text(content)
    assert refusal(target, planned).startswith(f"{target} is a file of something else than a sweep; ")


@pytest.mark.parametrize("line", ["torn", "{}", '{"point": {"nodes": 9}, "seed": 0, "result": {}}', "[]", ""])
def test_a_damaged_line_is_told_by_its_number(target, planned, line):
    fill(target, planned)
    lines = target.read_text().splitlines()
    lines[2] = line
    target.write_text("\n".join(lines) + "\n")
    assert refusal(target, planned) == (f"{target} is damaged: its line 3 is no run of this sweep; remove the line")


def test_a_file_is_written_by_one_sweep_at_a_time(target, planned):
    with SweepFile(target, planned):
        assert "is being written by another sweep" in refusal(target, planned)
    with SweepFile(target, planned) as file:
        assert len(file.pending()) == 4


@pytest.mark.parametrize(("name", "told"), [("", "Is a directory"), ("no/file", "No such file or directory")])
def test_a_file_that_cannot_be_opened_is_told(tmp_path, planned, name, told):
    target = tmp_path / name
    assert refusal(target, planned) == f"{target} cannot be written: {told}"


def test_a_disk_that_is_full_is_told_and_can_be_gone_on_from(target, planned):
    rows = fill(target, planned, 1)
    size, (soft, hard) = target.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    more = Row(planned.jobs()[1], {"text": "x" * 1000})
    with SweepFile(target, planned) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, hard))
        try:
            with pytest.raises(InvalidInput, match=r"sweep\.jsonl cannot be written: File too large$"):
                file.append(more)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.stat().st_size == size + 500
    with SweepFile(target, planned) as file:
        assert file.rows == rows
    assert target.stat().st_size == size


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
def test_devices_are_refused(planned, name):
    with pytest.raises(InvalidInput, match=f"^{name} is no regular file: "), SweepFile(Path(name), planned):
        pass
