"""`gossipconf-sim run`: figures on the screen, JSON, picture, report, trace, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from gossipconf.model.errors import InvalidInput
from gossipconf_sim.cli import run as command
from gossipconf_sim.report.quantities import duration, number, share, size
from gossipconf_sim.run import play as playing
from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.scenario import load, parse_overrides, shipped
from tests.sim.cli.process import COMMAND, ENVIRONMENT
from tests.sim.report.runs import UNHEALED

SMALL = {"publish.changes": 4, "measure.settle_s": 0.5, "measure.idle_s": 0.2, "measure.samples": 20}
SETTINGS = [part for path, value in SMALL.items() for part in ("--set", f"{path}={value}")]
LAN = ["run", "lan", "--nodes", "6", *SETTINGS]


@pytest.fixture
def result():
    """What LAN gives."""
    return simulate(load("lan", {"nodes": 6, **SMALL})).result


@pytest.fixture
def unhealed(tmp_path):
    """A scenario file whose run violates an invariant."""
    path = tmp_path / "unhealed.toml"
    lines = ["nodes = 5"]
    for table in ("publish", "network", "measure"):
        lines += [f"[{table}]", *(f"{name} = {value}" for name, value in UNHEALED[table].items())]
    path.write_text("\n".join(lines))
    assert tomllib.loads(path.read_text()) == UNHEALED
    return path


def table(text: str) -> dict[str, list[str]]:
    """The printed tables: figure → its cells and meaning."""
    cells = [re.split(r"  +", line.strip()) for line in text.splitlines() if "  " in line]
    return {figure: rest for figure, *rest in cells if figure != "FIGURE"}


def same(one: dict, other: dict) -> bool:
    """Whether two documents of one run are equal but for what depends on the machine."""
    varying = ("wall_s", "events_per_s", "peak_rss_mib")
    return all(one[name] == other[name] for name in one if name not in varying) and set(one) == set(other)


# -- what is shown --------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_run(run, result):
    shown = run(*LAN)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[:2] == [
        f"lan: {load('lan').description}",
        "6 nodes, 4 changes measured, seed 0",
    ]
    rows = table(shown.out)
    last = result.last_delivery_ms
    assert rows["last delivery"][:3] == [duration(value / 1000) for value in (last.p50, last.p99, last.max)]
    assert rows["delivered"][0] == share(result.delivered_fraction)
    assert rows["copies"][0] == number(result.payload_copies_per_node)
    assert rows["bytes"][0] == size(result.bytes_per_node_per_change)
    assert rows["broadcast"][0] == size(result.bytes_by_class["broadcast"] / 24)
    assert rows["idle"][0] == f"{size(result.idle_bytes_per_node_per_s)}/s"
    assert rows["convergence"][0] == duration(result.convergence_ms / 1000)
    assert rows["violations"][0] == "0"
    assert all(len(row[-1].split()) > 1 for row in rows.values()), "each has its meaning"
    assert "cross-zone copies" not in rows
    assert "joined" not in rows


def test_no_change_and_one_node(run):
    assert "last delivery" not in table(run(*LAN, "--set", "publish.changes=0").out)
    assert run("run", "lan", "--nodes", 1, *SETTINGS).out.splitlines()[1] == "1 node, 4 changes measured, seed 0"


def test_a_violation_is_told_and_has_a_code(run, unhealed):
    shown = run("run", unhealed)
    assert shown.code == 1
    assert shown.err == "error: 1 violation of invariants\n"
    assert re.fullmatch(r"violated: heals: 5 nodes hold .*", shown.out.splitlines()[-1])
    assert table(shown.out)["convergence"][0] == "never"


def test_of_many_violations_some_are_told(run, monkeypatch):
    def violating(*arguments, **options):
        run = simulate(*arguments, **options)
        found = [f"heals: \x1b[2J {number}" for number in range(command.TOLD_MAX + 3)]
        run.result = dataclasses.replace(run.result, violations=found)
        return run

    monkeypatch.setattr(playing, "simulate", violating)
    shown = run(*LAN)
    assert shown.code == 1
    lines = [line for line in shown.out.splitlines() if line.startswith("violated: ")]
    assert lines == [f"violated: heals: \\x1b[2J {number}" for number in range(command.TOLD_MAX)]
    assert shown.out.endswith("and 3 more, which --json has\n")
    assert shown.err == f"error: {command.TOLD_MAX + 3} violations of invariants\n"


def test_a_narrow_terminal_folds_the_meanings(run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    heights = []
    for columns in (130, 70):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in run(*LAN).out.splitlines()]
        assert max(len(line) for line in lines[1:]) <= columns  # the first is the scenario's own words
        heights.append(len(lines))
    assert heights[0] < heights[1]


def test_progress_is_for_terminals_only(run, monkeypatch):
    assert run(*LAN).err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    told = run(*LAN).err
    assert "100%" in told
    assert "virtual" in told
    assert "events/s" in told


# -- files ----------------------------------------------------------------------------------------


def test_json_on_stdout_is_alone_there(run, result):
    shown = run(*LAN, "--json", "-")
    assert shown.err == ""
    assert same(json.loads(shown.out), result.to_json())


def test_json_in_a_file_is_beside_the_table(run, target, result):
    shown = run(*LAN, "--json", target)
    assert "last delivery" in table(shown.out)
    assert same(json.loads(target.read_text()), result.to_json())


def test_json_of_a_violation_has_it(run, unhealed):
    shown = run("run", unhealed, "--json", "-")
    assert shown.code == 1
    assert len(json.loads(shown.out)["violations"]) == 1


def test_the_seed_is_that_of_the_run(run):
    documents = [json.loads(run(*LAN, "--seed", seed, "--json", "-").out) for seed in (3, 3, 4)]
    assert same(documents[0], documents[1])
    assert documents[0]["seed"] == 3
    assert documents[0]["trace_sha256"] != documents[2]["trace_sha256"]


def test_picture_report_and_trace(run, tmp_path, result):
    plot, report, trace = tmp_path / "a.svg", tmp_path / "a.html", tmp_path / "a.jsonl"
    shown = run(*LAN, "--plot", plot, "--report", report, "--trace", trace)
    assert (shown.code, shown.err) == (0, "")
    assert plot.read_text().startswith("<?xml")
    assert result.trace_sha256 in report.read_text()
    first = json.loads(trace.read_text().splitlines()[0])
    assert first == {"s": 0.0, "host": 0, "input": "start"}


def test_the_command_in_the_report_gives_the_same_run(run, tmp_path):
    report = tmp_path / "a.html"
    run(*LAN, "--seed", 5, "--set", "publish.origins=one", "--report", report)
    told = re.search(r"<pre>(gossipconf-sim run .*)</pre>", report.read_text())
    assert told is not None
    again = json.loads(run(*shlex.split(told[1])[1:], "--json", "-").out)
    assert again["trace_sha256"] in report.read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("lan", None, 0, []), "gossipconf-sim run lan --seed 0"),
        (
            ("my file.toml", 9, 2, ["start=cold", "network.latency_ms=[1, 2]"]),
            "gossipconf-sim run 'my file.toml' --nodes 9 --seed 2 --set start=cold --set 'network.latency_ms=[1, 2]'",
        ),
    ],
)
def test_the_command_can_be_pasted(arguments, expected):
    assert command.command(*arguments) == expected


@pytest.mark.parametrize(
    ("option", "name", "told"),
    [
        ("--json", "", "the file '{path}' cannot be written: it is a directory"),
        ("--plot", "no/a.png", "the file '{path}' cannot be written: there is no directory {parent}"),
        ("--report", "no/a.html", "the file '{path}' cannot be written: there is no directory {parent}"),
        ("--trace", "no/a", "the file '{path}' cannot be written: there is no directory {parent}"),
        ("--trace", "", "the file '{path}' cannot be written: it is a directory"),
        ("--plot", "a.gif", "the picture '{path}' must end in .png, .svg, .pdf"),
        ("--plot", "", "the picture '{path}' must end in .png, .svg, .pdf"),
        ("--report", "a.pdf", "the report '{path}' must end in .html, .htm"),
    ],
)
def test_outputs_are_checked_before_the_run(error, tmp_path, monkeypatch, option, name, told):
    monkeypatch.setattr(playing, "simulate", lambda *_, **__: pytest.fail("it has begun"))
    path = tmp_path / name
    assert error(*LAN, option, path) == f"error: {told.format(path=path, parent=path.parent)}"


def test_two_outputs_do_not_share_a_file(error, tmp_path):
    for options in (["--report", "a.html", "--json", "a.html"], ["--trace", "x", "--json", "./x"]):
        named = [tmp_path / one if one[0] != "-" else one for one in options]
        assert "two outputs cannot go to the same file" in error(*LAN, *named)


def test_a_trace_is_no_stream(error):
    assert error(*LAN, "--trace", "-").startswith("error: --trace needs the name of a file")


@pytest.mark.parametrize("option", ["--json", "--plot", "--report"])
def test_a_full_disk_is_told_with_the_file(run, tmp_path, option):
    name = {"--json": "a.json", "--plot": "a.png", "--report": "a.html"}[option]
    path = tmp_path / name
    path.symlink_to("/dev/full")
    shown = run(*LAN, option, path)
    assert shown.code == 1
    assert shown.err == f"error: the file '{path}' cannot be written: No space left on device\n"
    assert "last delivery" in table(shown.out), "an hour's figures are not lost"


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lam"], "no scenario is named 'lam' (did you mean lan?); there are acks, burst, "),
        (["nowhere.toml"], "scenario file nowhere.toml cannot be read: No such file or directory"),
        (["lan", "--nodes", "0"], "scenario lan: nodes is 0; allowed: 1 to 1000000"),
        (["lan", "--nodes", "3", "--set", "nodes=4"], "nodes is given twice: by --nodes and by --set"),
        (["lan", "--set", "network.los=1"], "scenario lan: network.los is not an option (did you mean loss?); there"),
        (["lan", "--set", "networks.loss=1"], "scenario lan: networks is not an option (did you mean network?); there"),
        (["lan", "--set", "network.loss=much"], 'scenario lan: network.loss must be a number (0 to 0.99), not "much"'),
        (["lan", "--set", "network.loss=2"], "scenario lan: network.loss is 2.0; allowed: 0 to 0.99"),
        (["lan", "--set", "publish.changes=1.5"], "scenario lan: publish.changes must be a whole number (0 to 1000000"),
        (["lan", "--set", "start=warm"], 'scenario lan: start is "warm"; allowed: "joined", "cold"'),
        (["lan", "--set", "network.loss"], "'network.loss' is not path=value"),
        (["lan", "--set", "faults.0.for_s=1"], "scenario lan: faults.0.for_s: this scenario has no faults"),
        (["churn", "--set", "faults.1.for_s=1"], "scenario churn: faults.1.for_s: 1 is no element; there are 0 to 0"),
        (["lan", "--set", "network.latency_ms=[5, 1]"], "scenario lan: network.latency_ms must be a range"),
    ],
)
def test_bad_input_is_one_line_that_names_what_and_what_is_allowed(error, arguments, told):
    assert error("run", *arguments).startswith(f"error: {told}")


def test_wrong_usage(run):
    for arguments, words in (
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "lan", "--nodes", "many"], "Invalid value for '--nodes'"),
        (["run", "lan", "--sed", "1"], "No such option"),
    ):
        shown = run(*arguments)
        assert (shown.code, shown.out) == (2, "")
        assert words in shown.err


def test_a_broken_file_is_named(error, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("nodes = = 3")
    assert error("run", path).startswith(f"error: {path} is not TOML: ")


# -- how it runs ----------------------------------------------------------------------------------


def test_matplotlib_is_loaded_only_for_pictures():
    program = (
        "import sys; from gossipconf_sim.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *LAN], capture_output=True, env=ENVIRONMENT, check=False, timeout=60
    )
    assert done.returncode == 0


def test_a_missing_library_for_pictures_is_told_before_the_run(tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from gossipconf_sim.run import play; play.simulate = None\n"
        "from gossipconf_sim.cli.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *LAN, "--plot", tmp_path / "a.png"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        timeout=60,
    )
    assert done.stderr == "error: this needs matplotlib; install it with: pip install 'gossipconf[sim]'\n"


def test_the_same_figures_in_another_process(result):
    done = subprocess.run([*COMMAND, *LAN, "--json", "-"], capture_output=True, env=ENVIRONMENT, check=True, timeout=60)
    assert same(json.loads(done.stdout), result.to_json())


def test_every_shipped_scenario_can_be_overridden_by_every_form():
    for name in shipped():
        assert load(name, parse_overrides(["nodes=5", "network.latency_ms=[1, 2]", "start=cold"])).nodes == 5
    with pytest.raises(InvalidInput):
        parse_overrides(["=3"])


def test_a_scenario_is_not_overwritten(run, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("nodes = 3\n")
    shown = run("run", str(mine), "--json", str(mine))
    assert shown.code == 1
    assert "is the scenario itself" in shown.err
    assert mine.read_text() == "nodes = 3\n"
