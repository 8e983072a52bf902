"""The performance: sets the stage, has the story performed before its audience, and ends what it started.

Whatever happens, no process outlives it: not a failed claim, not Ctrl-C, not a
terminal that goes away.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio
from rich.console import Console

from ...model.errors import GossipconfError
from ...runtime.error_group import first_of
from ..output import escaped, note, print_json, say
from .fleet import AgentPlan, Fleet, free_places
from .relay import Relay
from .report import ClaimFailed, Report
from .screen import COLUMNS_MAX, Lines, Picture, Silence, print_acts
from .shop import SHARED_KEY
from .story import EAST, NODES, WEST, ZONES, Story, Values

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the demo early: Ctrl-C, a supervisor, a closed terminal."""
CUT: Final = signal.SIGUSR1
HEAL: Final = signal.SIGUSR2
PID_FILE: Final = "demo.pid"
"""In the demo's directory while its cluster is kept: to whom these signals go."""


def run(
    directory: Path, published: Values, *, expected: Values | None = None, as_json: bool = False, keep: bool = False
) -> bool:
    """`perform`, in a trio loop of its own."""
    return trio.run(lambda: perform(directory, published, expected=expected, as_json=as_json, keep=keep))


async def perform(
    directory: Path, published: Values, *, expected: Values | None = None, as_json: bool = False, keep: bool = False
) -> bool:
    """Perform the demo in `directory`; False if a signal ended it early.

    `expected` is what readers must see once `published` is published, by default
    the same. Raises ClaimFailed, after printing the ends of the agents' logs to
    stderr, and InvalidInput for a directory or a machine that will not do.
    """
    places = free_places(NODES)
    relay, fleet = Relay(places), Fleet(directory, SHARED_KEY)
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, COLUMNS_MAX)
    picture = Picture(console, fleet, relay) if console.is_terminal and not as_json else None
    audience = picture or (Silence() if as_json else Lines(console))
    story = Story(fleet, relay, places, audience, published, published if expected is None else expected)
    report: Report | None = None
    failure: GossipconfError | None = None
    is_staged = False
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_on_signal, nursery.cancel_scope)
        try:
            addresses = await relay.listen()
            nursery.start_soon(relay.run)
            fleet.make("demo", [AgentPlan(place, ZONES[place.node], addresses[place.node]) for place in places])
            is_staged = True
            nursery.start_soon(fleet.run)
            report = await _perform_before(picture, story)
            _print_results(console, story, report, as_json=as_json)
            if keep:
                await _keep(directory, fleet, relay, note if as_json else say)
        except* GossipconfError as group:
            failure = first_of(group)
        finally:
            await fleet.end()
        nursery.cancel_scope.cancel()
    if failure is not None:
        if not is_staged:  # the directory will not do: no agent has been started, and no claim has failed
            raise failure
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
        async for number in signals:
            if number == signal.SIGHUP:  # the terminal has gone: what is printed from here on goes nowhere
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
                os.dup2(nowhere, sys.stderr.fileno())
            scope.cancel()


async def _keep(directory: Path, fleet: Fleet, relay: Relay, tell: Callable[[str], None]) -> None:
    """Leave the cluster up until cancelled, and let whoever tries it cut and heal its network by signals."""
    with trio.open_signal_receiver(CUT, HEAL) as signals:
        (directory / PID_FILE).write_text(f"{os.getpid()}\n")
        _print_how_to_talk(directory, fleet, tell)
        async for number in signals:
            if number == CUT:
                relay.cut(WEST, EAST)
            else:
                relay.heal()


# -- telling --------------------------------------------------------------------------------------


def _print_results(console: Console, story: Story, report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
    else:
        print_acts(console, story.acts, report.total_ms)


def _print_how_to_talk(directory: Path, fleet: Fleet, tell: Callable[[str], None]) -> None:
    pids = ", ".join(f"{node} {pid}" for node, pid in fleet.pids().items())
    lines = (
        "",
        "The cluster stays up until Ctrl-C. Talk to it from another terminal:",
        "",
        f"  export GOSSIPCONF_CLUSTER={shlex.quote(str(directory))}",
        "  gossipconf status",
        "  gossipconf list shop/checkout",
        f"  gossipconf history {SHARED_KEY}",
        f"  gossipconf put {SHARED_KEY} 50",
        f"  gossipconf get {SHARED_KEY} --agent e",
        "",
        "Cut the network into a b c and d e, and make it whole again:",
        "",
        f"  kill -USR1 {os.getpid()}",
        f"  kill -USR2 {os.getpid()}",
        "",
        f"Processes: {pids}",
        "Their directory stays when they have ended.",
    )
    for line in lines:
        tell(line)


def _print_logs(fleet: Fleet) -> None:
    for path, lines in fleet.log_tails():
        note(f"the end of {path}:")
        for line in lines:
            note(f"  {escaped(line)}")
