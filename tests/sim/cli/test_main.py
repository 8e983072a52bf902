"""The simulator's command as a whole: help, exit codes, output that cannot be written, what it loads and needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from rich.text import Text

import gossipconf
from gossipconf.model.errors import GossipconfError
from gossipconf_sim.cli import main as frame
from gossipconf_sim.cli import output
from gossipconf_sim.cli.output import note, print_table, say
from tests.sim.cli.process import COMMAND, ENVIRONMENT

ROUNDS = [*COMMAND, "rounds", "push", "--nodes", "10"]
NOT_AT_THE_START = {"numpy", "matplotlib", "distributed", "dask", "trio", "msgpack", "cryptography"}
"""Each would add to the start of every `--help`."""


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=60
    )


# -- help -----------------------------------------------------------------------------------------


def test_help_and_version(run):
    assert run("--version").out == f"gossipconf-sim {gossipconf.__version__}\n"
    for ask in (["-h"], ["--help"]):
        result = run(*ask)
        assert result.code == 0
        assert "gossipconf-sim rounds push-pull --nodes 100000" in result.out
        assert "Exit codes: 0 done" in result.out


def test_a_command_starts_without_what_only_others_need():
    done = python("import sys, gossipconf_sim.cli.main; print(*sys.modules)")
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"gossipconf_sim", "typer"} <= loaded
    assert loaded.isdisjoint(NOT_AT_THE_START)


@pytest.mark.parametrize(
    ("missing", "extra"), [("typer", "sim"), ("rich", "sim"), ("numpy", "sim"), ("distributed", "dask")]
)
def test_a_missing_extra_is_told_in_one_line(missing, extra):
    """`distributed` is what a subcommand imports when it runs; here it stands in for one."""
    imports = "import distributed" if missing == "distributed" else ""
    done = python(
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = 'rounds push --nodes 10'.split()\n"
        f"from gossipconf_sim.cli import __main__\n"
        f"if {imports!r}:\n"
        f"    from gossipconf_sim.cli import main\n"
        f"    main.app = lambda **_: __import__('distributed')\n"
        f"__main__.main()"
    )
    needs = f"error: this needs {missing}; install it with: pip install 'gossipconf[{extra}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", needs)


def test_a_module_of_our_own_that_is_missing_is_a_fault():
    done = python(
        "import sys; sys.modules['gossipconf_sim.cli.rounds'] = None\n"
        "from gossipconf_sim.cli.__main__ import main\n"
        "main()"
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


# -- errors ---------------------------------------------------------------------------------------


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(frame, "app", app)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (GossipconfError("bad \x1b[2J\nthing"), "error: bad \\x1b[2J\\nthing"),
        (MemoryError(), "error: this machine has not enough memory for it; take fewer nodes"),
    ],
)
def test_an_error_is_one_line(monkeypatch, error, raised, told):
    fail_with(monkeypatch, raised)
    assert error() == told


@pytest.mark.parametrize("fault", [ZeroDivisionError(), FileNotFoundError(2, "no such file", "ours")])
def test_a_fault_of_our_own_gives_a_traceback(monkeypatch, fault):
    fail_with(monkeypatch, fault)
    with pytest.raises(type(fault)):
        frame.main([])


def test_wrong_usage_has_its_own_code(run):
    for arguments, words in (
        (["rounds", "push"], "Missing option '--nodes'"),
        (["rounds", "push", "--nodes", "ten"], "Invalid value for '--nodes'"),
        (["walk"], "No such command 'walk'"),
    ):
        result = run(*arguments)
        assert (result.code, result.out) == (2, "")
        assert words in result.err


# -- output that cannot be written ----------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_an_output_that_is_full_is_told_in_a_line(options):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*ROUNDS, *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            check=False,
            timeout=60,
        )
    told = "error: the output cannot be written: No space left on device\n"
    assert (result.returncode, result.stderr) == (1, told)


@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_a_closed_pipe_is_no_fault(options):
    with subprocess.Popen(
        [*ROUNDS, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait() == 1
    assert error == b""


@pytest.mark.parametrize(
    ("closed", "told"),
    [(">&-", b"error: the output cannot be written: standard output is closed\n"), (">&- 2>&-", b"")],
)
def test_a_closed_output_is_told_if_there_is_where(closed, told):
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *ROUNDS],
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (1, told)


# -- words ----------------------------------------------------------------------------------------


def test_strings_command_no_terminal(capfd):
    evil = "x\x1b[2J\ty\x9b\u202e"
    say(evil)
    note(evil)
    print_table({evil: "left"}, [(evil,)])
    captured = capfd.readouterr()
    assert (captured.out + captured.err).replace("\n", "").isprintable()
    assert captured.err == "x\\x1b[2J\\ty\\x9b\\u202e\n"
    assert captured.out.count(captured.err) == 3


def test_a_table_is_aligned_and_has_no_empty_column(capfd):
    print_table(
        {"NAME": "left", "NOTE": "left", "SIZE": "right", "UNIT": "left"},
        [("a", "", Text("10"), "kB"), ("横", "", "7", "")],
    )
    assert capfd.readouterr().out == "NAME  SIZE  UNIT\na       10  kB\n横       7\n"


def test_a_table_on_a_terminal_keeps_its_colours(capfd, monkeypatch):
    monkeypatch.setattr(output, "stdout", lambda: output.Console(force_terminal=True, color_system="standard"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_table({"A": "left"}, [(Text("late", "red"),)])
    assert "\x1b[31mlate\x1b[0m" in capfd.readouterr().out
