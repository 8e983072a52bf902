"""The command `gossipconf`: its subcommands put together, and errors turned into exit codes.

Only what gossipconf raises on purpose ends without a traceback here (typer sees to
wrong usage, a closed pipe and Ctrl-C); a fault of our own shows one.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from .. import __version__
from ..model.errors import GossipconfError
from . import completion, exits
from .demo.command import demo
from .operate import agent, beacon, checkpoint, init, key, pki
from .output import abandon_output, escaped, note
from .overview import Overview, Sections
from .policies import policy, revoke, void
from .publish import (
    apply,
    delete,
    edit,
    export,
    importing,
    proposals,
    put,
    report,
    resolve,
    rollback,
    schema,
    seal,
    variant,
)
from .see import acks, blame, diff, explain, forks, history, log, read, show, status
from .stage import command as stage

OUTPUT_FAILURES = frozenset({errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT})
"""What writing to a full or closed standard output raises; no file of ours fails without its name."""

app = typer.Typer(
    name="gossipconf",
    cls=Sections,
    help="A config centre without a centre: publish signed configuration at any agent, read it at every agent.",
    epilog=exits.epilog(),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init.init)
app.add_typer(key.app, name="key", cls=Overview)
app.add_typer(pki.app, name="pki", cls=Overview)
app.add_typer(agent.app, name="agent", cls=Overview)
app.command()(put.put)
app.command()(delete.delete)
app.command()(apply.apply)
app.command()(variant.promote)
app.command()(variant.abort)
app.command()(edit.edit)
app.command()(export.export)
app.command("import")(importing.import_file)
app.command()(report.report_unhealthy)
app.command()(rollback.rollback)
app.add_typer(stage.app, name="stage", cls=Overview)
app.add_typer(seal.app, name="seal", cls=Overview)
app.add_typer(schema.app, name="schema", cls=Overview)
app.command()(proposals.proposals)
app.command()(proposals.approve)
app.command()(proposals.withdraw)
app.command()(revoke.revoke)
app.add_typer(void.app, name="void", cls=Overview)
app.command()(read.get)
app.command("list")(read.list_keys)
app.command()(read.watch)
app.command()(history.history)
app.command()(log.log)
app.command()(show.show)
app.command()(diff.diff)
app.command()(blame.blame)
app.command()(explain.explain)
app.command()(read.conflicts)
app.command()(resolve.resolve)
app.command()(forks.forks)
app.add_typer(policy.app, name="policy", cls=Overview)
app.command()(status.status)
app.command()(acks.acks)
app.add_typer(checkpoint.app, name="checkpoint", cls=Overview)
app.add_typer(beacon.app, name="beacon", cls=Overview)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"gossipconf {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """A config centre without a centre: publish signed configuration at any agent, read it at every agent.

    \b
    Example, a cluster of one:
      gossipconf init shop
      gossipconf pki node a --cluster shop
      gossipconf agent run shop/nodes/a &
      cd shop
      gossipconf put shop/greeting hello
      gossipconf get shop/greeting
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command of `arguments` (default: the process's own) and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode sees escapes, no traceback
    completion.install(app)
    try:
        try:
            app(args=None if arguments is None else list(arguments), prog_name="gossipconf")
        finally:
            sys.stdout.flush()  # here a failure is told; at the interpreter's end it would be a traceback
    except BrokenPipeError:
        abandon_output()
        sys.exit(exits.ERROR)
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_FAILURES:
            raise
        abandon_output()
        note(Text.assemble(("error:", "red"), f" the output cannot be written: {error.strerror}"))
        sys.exit(exits.ERROR)
    except GossipconfError as error:
        note(Text.assemble(("error:", "red"), " ", escaped(str(error))))
        sys.exit(exits.code_of(error))
