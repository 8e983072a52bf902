"""`stage commit` and `stage abort`: how a stage ends, and waiting for it.

Neither decides anything: a stage is committed once all participants have acked, and aborted once one
has nacked. `commit` waits for either; `abort` asks those who have not answered to nack.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from ...model.entry import ValueType, put
from ...model.errors import GossipconfError
from ...protocol.certificate import Outcome
from ...trust.strict import StageKey
from .. import exits
from ..lifetime import timeout_s
from ..output import count, note, print_json, say, short, stderr
from ..passphrase import PassphraseFileOption
from ..publish.delivery import Delivery, DryRunOption
from ..reason import CommentOption, TicketOption, reason
from ..see.wait import TIMEOUT
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, KeyOption, Target
from .prepare import PrefixOption
from .progress import Progress, again, one_prefix, one_stage
from .status import advice, json_stage

LOOK_S: Final = 0.1
"""How often the agent is asked how a stage stands: a look-up in its memory."""
StageArgument = Annotated[
    str | None,
    typer.Argument(metavar="STAGE", help="The stage, by its id. Default: the open one, or the last."),
]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to wait: 500ms, 30s, 5m.")]


class StageEnded(GossipconfError):
    """A stage has ended otherwise than was asked for."""


def commit(
    stage: StageArgument = None,
    prefix: PrefixOption = None,
    timeout: TimeoutOption = TIMEOUT,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Wait until a stage is committed.

    It is so by itself, once all participants have acked; nobody decides. Ends with 0
    when it is, with 1 if one has nacked, and with 5 if the time is over: then it
    says who is missing, and the stage goes on. Run it as often as you like.

    \b
    Examples:
      gossipconf stage commit
      gossipconf stage commit 3f9a2c1b --timeout 5m
    """
    wait_s = timeout_s(timeout)
    with open_session(Target.find(cluster, agent)) as session:
        found = _wait(session, one_stage(one_prefix(session, prefix), stage), wait_s)
        _tell(found, session, Outcome.COMMITTED, as_json=as_json)


def abort(
    stage: StageArgument = None,
    prefix: PrefixOption = None,
    timeout: TimeoutOption = TIMEOUT,
    comment: CommentOption = "",
    ticket: TicketOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Ask for the end of a stage, and wait for it.

    Whoever has not answered yet nacks, and then it is over. If all have acked it is
    too late: it is committed, and this ends with 1. Who has acked cannot take that
    back, so the stage stays open as long as all that have not acked are down: this
    ends with 5 then, and says who they are.

    \b
    Examples:
      gossipconf stage abort
      gossipconf stage abort 3f9a2c1b --comment "OPS-31: the new database is not ready"
    """
    wait_s = timeout_s(timeout)
    delivery = Delivery(dry_run, propose=False, path=None)
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        found = one_stage(one_prefix(session, prefix), stage)
        if found.is_open and not found.asked_to_end:
            signer = target.signer(key_file, passphrase_file)
            key = StageKey(found.stage.epoch.prefix, found.stage.epoch.number, found.stage.id, is_abort=True)
            entry = put(str(key), found.stage.bare().encode(), ValueType.BYTES)
            change = delivery.send(session, [entry], signer, reason(comment, ticket))
            if dry_run:
                delivery.tell(session, change, 1)
        _tell(_wait(session, found, wait_s), session, Outcome.ABORTED, as_json=as_json)


def _wait(session: Session, found: Progress, wait_s: float) -> Progress:
    """How the stage stands once it has ended or the time is over; until then a bar, if stderr is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415 - few commands wait
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console, until_s = stderr(), time.monotonic() + wait_s
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("acked", total=len(found.stage.participants))
        while found.is_open and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(LOOK_S, left_s))
            found = again(session, found)
            bar.update(task, completed=len(found.acked))
    return found


def _tell(found: Progress, session: Session, wanted: Outcome, *, as_json: bool) -> None:
    """Say how a stage has ended. Raises StageEnded if it has ended otherwise, Exit if it has not ended."""
    epoch = found.stage.epoch
    what = f"stage {short(found.stage.id)} of epoch {epoch.number} of {epoch.prefix}"
    if as_json:
        print_json(json_stage(found))
    if found.is_open:
        note(f"{what} is open: {len(found.acked)} of {count(len(found.stage.participants), 'participant')} have acked")
        for line in advice(found):
            note(line)
        raise typer.Exit(exits.INCOMPLETE)
    if found.outcome is not wanted:
        raise StageEnded(
            f"{what} is {found.outcome.value}" + (f": {', '.join(found.nacked)} nacked" if found.nacked else "")
        )
    if as_json:
        return
    if wanted is Outcome.COMMITTED:
        say(f"{what} is committed; {count(len(epoch.members), 'member')} serve{'s' * (len(epoch.members) == 1)} it")
    else:
        say(
            f"{what} is aborted; epoch {epoch.number - 1} is served as before" if epoch.before else f"{what} is aborted"
        )
