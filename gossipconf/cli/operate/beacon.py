"""Beacons: `beacon run`. An online key states at an interval what an agent holds, so that all others know how old
their view is. The key stays in this process; the agent only delivers."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.text import Text

from ...model.errors import ControlError, InvalidInput
from ..lifetime import milliseconds
from ..output import escaped, moment, note, say
from ..passphrase import PassphraseFileOption
from ..session import open_session
from ..target import AgentOption, ClusterOption, KeyOption, Target

VALID_INTERVALS = 3
"""A beacon expires after so many intervals: two may be lost before anybody calls a view expired."""

app = typer.Typer(help="State how fresh the configuration is.", no_args_is_help=True)


@app.command()
def run(
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="How often: 30s, 1m, 1h.")] = "60s",
    valid: Annotated[
        str | None,
        typer.Option("--valid", metavar="TIME", help="How long each one holds. Default: three times --every."),
    ] = None,
    number: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="Stop after this many. Default: never.")
    ] = None,
    key: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Sign the state of an agent at an interval, until Ctrl-C.

    Every agent learns from it that its view is at most so old; `gossipconf status`
    says so. The key needs a role with the operation `snapshot` on all keys, and
    should have no other. A beacon is as good as the agent that it asks: run it
    beside one that is well connected. An agent that does not answer is tried again
    at the next interval.

    \b
    Examples:
      gossipconf beacon run --key keys/beacon
      gossipconf beacon run --key keys/beacon --every 5m --agent /var/lib/gossipconf
    """
    every_ms = milliseconds(every, "--every")
    lasts_ms = VALID_INTERVALS * every_ms if valid is None else milliseconds(valid, "--valid")
    if lasts_ms < every_ms:
        raise InvalidInput(f"--valid is {valid}, less than --every {every}: views would expire between two beacons")
    target = Target.find(cluster, agent)
    signer = target.signer(key, passphrase_file)
    signed = 0
    while True:
        try:
            with open_session(Target.find(cluster, agent)) as session:  # anew: it may have been restarted, or moved
                statement = session.sign_beacon(signer, lasts_ms)
        except ControlError as error:
            if number is not None:
                raise
            note(Text.assemble(("no beacon:", "yellow"), " ", escaped(str(error))))
        else:
            signed += 1
            say(f"{moment(statement.time_ms)}  {escaped(session.node)}  {statement.root.hex()}")
            if signed == number:
                return
        time.sleep(every_ms / 1000)
