"""The command `demo`: makes the cluster, has the story performed, and ends what it started, whatever happens."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import trio
import typer
from rich.console import Console

from ...model.errors import GossipconfError
from .. import exits
from ..output import escaped, note, print_json, say
from ..target import NODES as NODES_DIRECTORY
from .fleet import AgentPlan, Fleet, free_places
from .relay import Relay
from .report import ClaimFailed, Report
from .screen import COLUMNS_MAX, Lines, Picture, Silence, print_acts
from .shop import SHARED_KEY, load_shop
from .story import NODES, ZONES, Story, Values

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the demo early: Ctrl-C, a supervisor, a closed terminal."""


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
    shop = load_shop().entries
    home = Path(tempfile.mkdtemp(prefix="gossipconf-demo-")) if directory is None else directory.absolute()
    stays = keep or directory is not None
    try:
        completed = trio.run(lambda: perform(home, shop, as_json=as_json, keep=keep))
    except GossipconfError:
        note(f"the agents' directories and logs are in {home}")
        raise
    if not stays:
        shutil.rmtree(home)
    if not completed:
        sys.exit(exits.INTERRUPTED)


async def perform(
    directory: Path, published: Values, *, expected: Values | None = None, as_json: bool = False, keep: bool = False
) -> bool:
    """Perform the demo in `directory`; False if a signal ended it early.

    `expected` is what readers must see once `published` is published, by default
    the same. Raises ClaimFailed, after printing the ends of the agents' logs to
    stderr, and ConfigError for a directory or a machine that will not do.
    """
    places = free_places(NODES)
    relay, fleet = Relay(places), Fleet(directory)
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, COLUMNS_MAX)
    picture = Picture(console, fleet, relay) if console.is_terminal and not as_json else None
    audience = picture or (Silence() if as_json else Lines(console))
    story = Story(fleet, relay, places, audience, published, published if expected is None else expected)
    report: Report | None = None
    failure: GossipconfError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_on_signal, nursery.cancel_scope)
        addresses = await relay.listen()
        fleet.make("demo", [AgentPlan(place, ZONES[place.node], addresses[place.node]) for place in places])
        nursery.start_soon(relay.run)
        nursery.start_soon(fleet.run)
        try:
            report = await _perform_before(picture, story)
            _print_results(console, story, report, as_json=as_json)
            if keep:
                _print_how_to_talk(directory, fleet, note if as_json else say)
                await trio.sleep_forever()
        except* GossipconfError as group:
            failure = _first(group)
        finally:
            await fleet.end()
        nursery.cancel_scope.cancel()
    if failure is not None:
        _print_logs(fleet)
        raise ClaimFailed(str(failure))
    return report is not None


async def _perform_before(picture: Picture | None, story: Story) -> Report:
    if picture is None:
        return await story.perform()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(picture.run)
        report = await story.perform()
        nursery.cancel_scope.cancel()
    return report


async def _cancel_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(*SIGNALS) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


def _first(group: BaseExceptionGroup[GossipconfError]) -> GossipconfError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


# -- telling --------------------------------------------------------------------------------------


def _print_results(console: Console, story: Story, report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
    else:
        print_acts(console, story.acts, report.total_ms)


def _print_how_to_talk(directory: Path, fleet: Fleet, tell: Callable[[str], None]) -> None:
    pids = ", ".join(f"{node} {pid}" for node, pid in fleet.pids().items())
    lines = (
        "The cluster stays up until Ctrl-C. Talk to it from another terminal:",
        "",
        f"  export GOSSIPCONF_CLUSTER={shlex.quote(str(directory))}",
        "  gossipconf status",
        "  gossipconf list shop/checkout",
        f"  gossipconf history {SHARED_KEY}",
        f"  gossipconf put {SHARED_KEY} 50",
        f"  gossipconf get {SHARED_KEY} --agent {shlex.quote(str(directory / NODES_DIRECTORY / 'e'))}",
        "",
        f"Processes: {pids}. Their directory stays when they have ended.",
    )
    for line in lines:
        tell(line)


def _print_logs(fleet: Fleet) -> None:
    for path, lines in fleet.log_tails():
        note(f"the end of {path}:")
        for line in lines:
            note(f"  {escaped(line)}")
