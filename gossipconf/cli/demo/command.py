"""The command `demo`: its options, and the directory that it works in."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from ..output import note
from .report import ClaimFailed

INTERRUPTED: Final = 130
"""Ended by a signal before its end: 128 + SIGINT, as shells have it."""


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the cluster up at the end, until Ctrl-C, and say how to talk to it.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="A new or empty directory to work in, which stays. Default: /tmp."),
    ] = None,
) -> None:
    """Show on this machine, in half a minute, what gossipconf is for.

    Starts five agents as processes of their own, publishes the configuration of a
    shop, cuts the network in two, publishes on both sides, kills and restarts
    agents, heals the network, and settles the conflict. Every claim is checked;
    the exit code is 0 only if all of them hold.

    \b
    Examples:
      gossipconf demo
      gossipconf demo --json
      gossipconf demo --keep --dir /tmp/shop
    """
    # Here, so that the other commands, and the agents, start without what only the demo needs.
    from .performance import run  # noqa: PLC0415
    from .shop import load_shop  # noqa: PLC0415

    shop = load_shop().entries
    home = Path(tempfile.mkdtemp(prefix="gossipconf-demo-")) if directory is None else directory.absolute()
    stays = keep or directory is not None
    try:
        completed = run(home, shop, as_json=as_json, keep=keep)
    except ClaimFailed:
        note(f"the agents' directories and logs are in {home}")
        raise
    if not stays:
        shutil.rmtree(home, ignore_errors=True)
    if not completed:
        raise typer.Exit(INTERRUPTED)
