"""`forks`: different changes under one number, with the proof that each was signed by the writer's key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from ...trust.keys import fingerprint
from ..output import count, json_time, moment, note, print_json, say, short
from ..reason import json_reason
from ..replies import Branch
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target


def forks(as_json: JsonOption = False, cluster: ClusterOption = None, agent: AgentOption = None) -> None:
    """List forks: different changes by one writer under one number.

    A fork says that a key is used twice. Either an agent that was restored
    or copied has handed a number out twice, or somebody else has the key. It
    is an alarm, not proof of guilt: both values are kept and one wins, as in
    any conflict. All agents come to know of it.

    If the key is stolen, cut it off with `gossipconf revoke`; that ends the fork too.

    \b
    Examples:
      gossipconf forks
      gossipconf forks --json
    """
    with open_session(Target.find(cluster, agent)) as session:
        known, more = session.forks()
        if more:
            note(f"there are more forks than these {len(known):,}")
        if as_json:
            print_json([_in_json(session, branches) for branches in known])
            return
        if not known:
            say("no forks")
            return
        for branches in known:
            _print(session, branches)
        say("is the key stolen? gossipconf revoke KEY --void CHANGE; else settle the keys: gossipconf conflicts")


def _print(session: Session, branches: Sequence[Branch]) -> None:
    header = branches[0].header.header
    say(
        Text.assemble((f"number {header.seq}", "bold"), f" of {_signer(session, branches[0])}: {len(branches)} changes")
    )
    for branch in branches:
        one = branch.header.header
        state = "live" if branch.lives else "replaced or void here"
        comment = f"  {one.comment}" if one.comment else ""
        say(f"  change {short(branch.header.id)}  {moment(one.time_ms)}  {count(one.count, 'key')}, {state}{comment}")


def _signer(session: Session, branch: Branch) -> str:
    header = branch.header.header
    return f"{session.role_of(header.writer.key, header.policy, '')} {fingerprint(header.writer.key)}"


def _in_json(session: Session, branches: Sequence[Branch]) -> dict[str, Any]:
    header = branches[0].header.header
    return {
        "writer": branches[0].header.writer_id.hex(),
        "key": fingerprint(header.writer.key),
        "role": session.role_of(header.writer.key, header.policy, ""),
        "number": header.seq,
        "branches": [
            {
                "change": branch.header.id.hex(),
                "time": json_time(branch.header.header.time_ms),
                "keys": branch.header.header.count,
                "live": branch.lives,
            }
            | json_reason(branch.header.header.comment)
            for branch in branches
        ],
    }
