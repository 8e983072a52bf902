"""The command `gossipconf-sim`: its subcommands put together, and errors turned into exit codes.

Only what gossipconf raises on purpose, a machine without enough memory, and an output
that cannot be written end without a traceback here (typer sees to wrong usage, a closed
pipe and Ctrl-C); a fault of our own shows one. Importing this loads no numpy and no
protocol: a subcommand imports what it needs when it runs.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from gossipconf import __version__
from gossipconf.model.errors import GossipconfError

from . import exits, explore, rounds, run, scenarios, sweep
from .output import abandon_output, escaped, note

EPILOG = """\b
Exit codes: 0 done; 1 error; 2 wrong usage."""

OUTPUT_FAILURES = frozenset({errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT})
"""What writing to a full or closed standard output raises; no file of ours fails without its name."""

app = typer.Typer(
    name="gossipconf-sim",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(explore.explore)
app.command()(rounds.rounds)
app.command()(run.run)
app.command()(scenarios.scenarios)
app.command()(sweep.sweep)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"gossipconf-sim {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Measure how changes spread, before you roll out.

    Runs the protocol code that ships under a virtual clock. The same parameters and
    seed give the same figures.

    \b
    Examples:
      gossipconf-sim run lan --nodes 200
      gossipconf-sim run partition-heal --report heal.html
      gossipconf-sim sweep lan --vary nodes=50,100,200 --repeats 3
      gossipconf-sim rounds push-pull --nodes 100000 --trials 20
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command of `arguments` (default: the process's own) and exit with its code."""
    if sys.stdout is None:  # Python's way to say that it was closed before the start
        _fail("the output cannot be written: standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode sees escapes, no traceback
    try:
        try:
            app(args=None if arguments is None else list(arguments), prog_name="gossipconf-sim")
        finally:
            sys.stdout.flush()  # here a failure is told; at the interpreter's end it would be a traceback
    except BrokenPipeError:
        abandon_output()
        sys.exit(exits.ERROR)
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_FAILURES:
            raise
        abandon_output()
        _fail(f"the output cannot be written: {error.strerror}")
    except MemoryError:
        _fail("this machine has not enough memory for it; take fewer nodes")
    except GossipconfError as error:
        _fail(escaped(str(error)))


def _fail(reason: str) -> None:
    note(Text.assemble(("error:", "red"), f" {reason}"))
    sys.exit(exits.ERROR)
