"""`stage status`: who has answered a stage and who is missing, what blocks it, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...protocol.certificate import Outcome
from ..output import count, note, print_json, say, short, some_of
from ..session import open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .prepare import PrefixOption
from .progress import Progress, StrictPrefix, prefixes

NAMES_MAX: Final = 12
"""Names in a line; `--json` has all."""


def status(
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Show the epochs and open stages of strict prefixes at an agent.

    Of an open stage it shows who has acked and who is missing, and what to do next.

    \b
    Examples:
      gossipconf stage status
      gossipconf stage status --prefix shop/db --json | jq '.[].stages'
    """
    with open_session(Target.find(cluster, agent)) as session:
        found = prefixes(session, prefix)
        if as_json:
            print_json([_json(one) for one in found])
        elif not found:
            note("no prefix is strict; a policy with the parameter strict/PREFIX: 1 makes one so")
        else:
            for number, one in enumerate(found):
                if number:
                    say()
                _print(one, session.node)


def advice(found: Progress) -> list[str]:
    """What blocks an open stage, and what to do next, a line each."""
    lines = []
    before = found.stage.before
    new = () if before is None else tuple(one for one in found.missing if one not in before.members)
    if new and not found.asked_to_end:
        return [
            f"missing: {_names(new)}, new; the members of the epoch in force ack after all who are new",
            "it goes on by itself when they are there; to end it instead: gossipconf stage abort",
        ]
    if found.missing:
        lines.append(f"missing: {_names(found.missing)}")
    if found.is_blocked:
        lines.append(
            "all members of the new epoch are revoked, and nobody can know whether they have gone on without the "
            "others: this stage stays open; put the values under another prefix, with agents under new names"
        )
    elif found.missing and found.asked_to_end:
        lines.append("somebody has asked for its end: it is over once one that is missing is back and nacks")
    elif found.missing:
        lines.append("it goes on by itself when they are back; to end it instead: gossipconf stage abort")
    if found.missing and not found.is_blocked:
        lines.append("if one will never be back, stop it for good, and then: gossipconf stage remove NODE")
    return lines


def json_stage(found: Progress) -> dict[str, Any]:
    """A stage for JSON."""
    epoch = found.stage.epoch
    return {
        "stage": found.stage.id.hex(),
        "prefix": epoch.prefix,
        "epoch": epoch.number,
        "outcome": found.outcome.value,
        "members": list(epoch.members),
        "participants": sorted(found.stage.participants),
        "acked": list(found.acked),
        "nacked": list(found.nacked),
        "missing": list(found.missing),
        "revoked": list(found.revoked),
        "asked_to_end": found.asked_to_end,
        "on_fence": "wait" if epoch.waits else "raise",
    }


def _json(one: StrictPrefix) -> dict[str, Any]:
    return {
        "prefix": one.prefix,
        "strict": one.is_strict,
        "state": one.state,
        "epoch": None if one.in_force is None else one.in_force.stage.epoch.number,
        "stages": [json_stage(stage) for stage in one.stages],
    }


def _print(one: StrictPrefix, node: str) -> None:
    say(f"{one.prefix}: {_state_in_words(one.state, node)}" + ("" if one.is_strict else "; strict no more"))
    if one.in_force is None:
        say("  no epoch yet; the roots sign the first one: gossipconf stage prepare --all --key keys/root")
    for stage in one.stages:
        epoch = stage.stage.epoch
        is_last = stage is one.in_force
        if stage.outcome is Outcome.COMMITTED and not is_last:
            continue
        words = "in force" if is_last else stage.outcome.value
        say(f"  epoch {epoch.number}, stage {short(stage.stage.id)}: {words}; members {_names(epoch.members)}")
        if stage.nacked and not is_last:
            say(f"    nacked: {_names(stage.nacked)}")
        if stage in one.open:
            say(f"    acked: {len(stage.acked)} of {count(len(stage.stage.participants), 'participant')}")
            for line in advice(stage):
                say(f"    {line}")


def _state_in_words(state: str, node: str) -> str:
    return {
        "served": f"{node} serves it",
        "fenced": f"fenced at {node}: its readers get no value until the open stage ends",
        "no member": f"{node} is no member, and its readers get no value",
        "revoked": f"{node} is revoked, and its readers get no value",
    }.get(state, state)


def _names(nodes: Sequence[str]) -> str:
    return some_of(nodes, NAMES_MAX)
