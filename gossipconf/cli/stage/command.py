"""The commands `gossipconf stage`, put together."""

from __future__ import annotations

import typer

from .ending import abort, commit
from .prepare import prepare
from .remove import remove
from .status import status

app = typer.Typer(
    help="Make values of a strict prefix take effect at the same moment on all its members.", no_args_is_help=True
)
app.command()(prepare)
app.command()(commit)
app.command()(abort)
app.command()(status)
app.command()(remove)
