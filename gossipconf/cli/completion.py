"""Completion in shells: keys, prefixes and changes, as the agent that a command would ask has them.

What an argument stands for is told by its metavar. Knows the agent's replies, and verifies
nothing: what is completed is a word to type. Whatever fails completes nothing, and says nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, get_type_hints

import typer
from typer.models import ArgumentInfo

from ..model.change import Change
from ..model.errors import GossipconfError
from ..model.key import is_system_key
from .client import Client
from .output import escaped, short
from .target import Target

VARIABLE: Final = "_GOSSIPCONF_COMPLETE"
"""Set by the scripts that `--install-completion` writes, and by nobody else."""
WAIT_S: Final = 0.5
"""For an agent's answer: somebody has pressed a key and waits."""
OFFERED_MAX: Final = 200
"""Words in one offer: a screen full, and shells ask before they show so many."""
CHANGES_MAX: Final = 50
"""The latest changes are those that people mean."""


def install(app: typer.Typer) -> None:
    """Give all arguments of the commands of `app` their completion; does nothing but in a shell that completes."""
    if VARIABLE in os.environ:
        for callback in _callbacks(app):
            _complete(callback)


def _callbacks(app: typer.Typer) -> Iterator[Any]:
    for command in app.registered_commands:
        yield command.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _callbacks(group.typer_instance)


def _complete(callback: Any) -> None:
    """Make the annotations what they say, so that whoever evaluates them again gets the arguments that are changed."""
    hints = get_type_hints(callback, include_extras=True)
    for hint in hints.values():
        for info in getattr(hint, "__metadata__", ()):
            if isinstance(info, ArgumentInfo) and info.metavar is not None:
                info.autocompletion = _completer(info.metavar)
    callback.__annotations__ = hints


def _completer(metavar: str) -> Callable[..., list[str]] | None:
    words = {word for part in metavar.strip("[]").split() for word in part.strip("[…]").split("|")}
    finders = [
        finder for name, finder in (("KEY", _keys), ("PREFIX", _prefixes), ("CHANGE", _changes)) if name in words
    ]
    if not finders:
        return None

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            with _client(ctx) as client:
                found = (word for finder in finders for word in finder(client, incomplete))
                return list(islice(dict.fromkeys(found), OFFERED_MAX))
        except (GossipconfError, OSError, LookupError, TypeError, ValueError):
            return []

    return complete


def _client(ctx: typer.Context) -> Client:
    """The agent that the command line so far, or the environment, means."""
    cluster, agent = (
        Path(value) if (value := ctx.params.get(name) or os.environ.get(variable)) else None
        for name, variable in (("cluster", "GOSSIPCONF_CLUSTER"), ("agent", "GOSSIPCONF_AGENT"))
    )
    for path in Target.find(cluster, agent).agents:
        try:
            return Client(path, timeout_s=WAIT_S)
        except GossipconfError:
            continue
    raise LookupError("no agent answers")


def _keys(client: Client, incomplete: str) -> Iterator[str]:
    """Keys that begin so; the system's own only where that is asked for."""
    above = incomplete.rpartition("/")[0]
    after: str | None = None
    while True:
        reply = client.request("ids", prefix=above, after=after)
        for key, _ in reply["keys"]:
            after = key
            if key.startswith(incomplete) and (not is_system_key(key) or incomplete.startswith("_")):
                yield escaped(key)
        if not reply["more"]:
            return


def _prefixes(client: Client, incomplete: str) -> Iterator[str]:
    """The keys' beginnings, a segment further than what is typed."""
    depth = incomplete.count("/") + 1
    for key in _keys(client, incomplete):
        if key.count("/") >= depth:
            yield "/".join(key.split("/")[:depth])


def _changes(client: Client, incomplete: str) -> Iterator[str]:
    """The latest changes to users' keys that begin so."""
    cluster_id = bytes.fromhex(client.request("info")["cluster"])
    for raw in client.request("log", prefix="", limit=CHANGES_MAX, entries=1)["changes"]:
        change_id = short(Change.decode(raw["parts"][0][0], cluster_id).id)
        if change_id.startswith(incomplete.lower()):
            yield change_id
