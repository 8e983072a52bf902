"""Proposals: `proposals` lists them, `approve` signs one after showing it, `withdraw` takes one's own back.

What is shown is compared with what is live now. With the signature that completes it a
change is published, whole; before that nothing of it is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ...model.change import Change
from ...model.entry import Operation, delete
from ...model.errors import InvalidInput, NotAuthorised, Rejected, UnknownPolicy
from ...model.limits import ID_DIGITS_MIN
from ...model.version import Version
from ...trust.keys import Signer, fingerprint
from ...trust.proposal import Support, check_proposal, load_proposal, save_proposal
from ...trust.signing import approve as add_approval
from .. import exits
from ..change_id import is_beginning
from ..exits import NotFound
from ..instant import now_ms
from ..item import Item
from ..output import (
    acknowledged,
    age,
    before_after,
    called,
    called_in_full,
    count,
    escaped,
    json_reach,
    json_time,
    json_value,
    moment,
    note,
    print_json,
    print_step,
    say,
    short,
    slot_in_words,
    some_of,
    value_in_line,
    version_in_line,
)
from ..passphrase import PassphraseFileOption
from ..reason import json_reason
from ..see.outcome import reach_in_words
from ..see.wait import TIMEOUT, TimeoutOption, Wait, WaitOption
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, KeyOption, Target
from .board import Proposed, finished, is_published, moved, place_of, read_board
from .delivery import post
from .first_epoch import remember

KEYS_SHOWN: Final = 3
"""Keys of a proposal in the list; `approve` shows all."""


def proposals(
    everything: Annotated[bool, typer.Option("--all", help="Show those too that have been published.")] = False,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """List what waits for approvals: who has signed, and who may.

    Proposals in files are not listed. A ! marks one whose base has moved: what it
    would replace is not what is live now.

    \b
    Examples:
      gossipconf proposals
      gossipconf proposals --json | jq -r '.[].id'
    """
    with open_session(Target.find(cluster, agent)) as session:
        board = read_board(session)
        shown = [one for one in board.proposals if everything or not one.is_done]
        items = [_items(session, one.change) for one in shown]
        if as_json:
            print_json([_json_proposal(session, one, live) for one, live in zip(shown, items, strict=True)])
        elif shown:
            rows = [_row(session, one, live) for one, live in zip(shown, items, strict=True)]
            columns = {
                "": "left", "ID": "left", "BY": "left", "AGE": "right", "SIGNED": "fold", "MISSING": "right",
                "MAY SIGN": "fold", "KEYS": "fold", "COMMENT": "cut",
            }  # fmt: skip
            print_table(columns, rows)
        else:
            note("nothing is proposed")
        if board.strays:
            note(f"note: {count(len(board.strays), 'entry', 'entries')} under _proposals/ left out: no valid proposals")


def approve(
    what: Annotated[str, typer.Argument(metavar="FILE|ID", help="A proposal's file, or the beginning of its id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking, even if the base has moved.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it changes; exit 2 if it can be signed or published.")
    ] = False,
    wait: WaitOption = None,
    timeout: TimeoutOption = TIMEOUT,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Sign a proposal, after showing what it changes now.

    With enough signatures it is published, also if all had signed before and
    nobody knew of all the others: then anybody may do this. If what it replaces has changed since it
    was proposed, a warning says so: it would become a conflict beside the newer
    value. Then this asks, or wants --yes; on a terminal it always asks.

    \b
    Examples:
      gossipconf approve 3f9a2c
      gossipconf approve limits.proposal --key keys/erin --yes
    """
    waiting = Wait.of(wait, timeout)
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        path, change = _found(session, what)
        support = _checked(session, change)
        signer = target.signer(key_file, passphrase_file)
        has_moved = _show(session, change, support)
        if is_published(session, change):
            say("it has been published already")
            return
        is_signed = signer.public in support.signed
        if support.missing and is_signed:
            say(f"{fingerprint(signer.public)} has signed this already")
            _say_missing(support, what)
            return
        if support.missing and signer.public not in support.may:
            raise NotAuthorised(
                f"{fingerprint(signer.public)} cannot approve this; it may still be signed by: "
                f"{', '.join(map(fingerprint, support.may))}"
            )
        if dry_run:
            say("dry run: nothing was signed")
            raise typer.Exit(exits.DIFFERENCE)
        _confirm(yes=yes, has_moved=has_moved)
        if support.missing:
            remember(target, session.chain, (entry for _, entry in change.entries), signer, key_file)
            change = add_approval(change, signer)
            support = check_proposal(session.chain, change)
        if path is not None:
            save_proposal(path, change, is_new=False)
        if not support.missing:
            session.send(change)
            with acknowledged():
                say(f"published {count(change.header.count, 'key')} at {session.node}, change {short(change.id)}")
                with contextlib.suppress(Rejected):  # a newer policy may have taken this place away
                    _tidy(session, signer)
                if waiting is not None:
                    waiting.finish(session, change)
            return
        if path is None:
            post(session, signer, change.restrict(()))
        with acknowledged():
            say(f"signed by {fingerprint(signer.public)}")
            _say_missing(support, what)


def withdraw(
    proposal: Annotated[str, typer.Argument(metavar="ID", help="The beginning of its id.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be withdrawn; exit 2 if something would.")
    ] = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Take a proposal of one's own back, or one's signature.

    Of somebody else's proposal only the own signature goes. Whoever has copied
    either can still use it: a signature cannot be unmade. A newer change to the
    same keys makes a late completion show as a conflict.

    \b
    Example:
      gossipconf withdraw 3f9a2c
    """
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        one = _on_board(session, proposal)
        place = place_of(signer.public, one.change.id)
        if place not in one.places:
            raise NotAuthorised(
                f"{fingerprint(signer.public)} has put nothing there for {short(one.change.id)}; it was proposed by "
                f"{fingerprint(one.change.header.writer.key)}, whose holder can withdraw it"
            )
        is_own = signer.public == one.change.header.writer.key
        what = f"{'the proposal' if is_own else 'the signature of'} {short(one.change.id)}"
        session.publish([delete(place)], signer, comment=f"withdraws {short(one.change.id)}", dry_run=dry_run)
        with acknowledged():
            say(f"dry run: not withdrawn: {what}" if dry_run else f"withdrawn: {what}")
        if dry_run:
            raise typer.Exit(exits.DIFFERENCE)


# -- finding --------------------------------------------------------------------------------------


def _found(session: Session, what: str) -> tuple[Path | None, Change]:
    """The change that a file holds or an id names."""
    path = Path(what)
    if path.is_file():
        return path, load_proposal(path, session.chain.cluster_id)
    if not is_beginning(what):
        raise NotFound(f"{what!r} is no file, and no id of a proposal ({ID_DIGITS_MIN} hex digits or more)")
    return None, _on_board(session, what).change


def _on_board(session: Session, start: str) -> Proposed:
    found = read_board(session).named(start)
    if not found:
        raise NotFound(f"no proposal {start}; see: gossipconf proposals, and give {ID_DIGITS_MIN} digits or more")
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} proposals begin with {start}; give more digits")
    return found[0]


def _checked(session: Session, change: Change) -> Support:
    """Who has signed and who may, every signature verified. Raises Rejected or InvalidInput."""
    try:
        return check_proposal(session.chain, change)
    except UnknownPolicy:
        raise UnknownPolicy(
            f"it names policy {change.header.policy}, and the agent {session.node} knows {session.chain.head.version}; "
            "let it catch up, or name another with --agent"
        ) from None


def _items(session: Session, change: Change) -> Mapping[str, Item]:
    """What is live now at the keys of a change."""
    return {key: session.get(key) for key in dict.fromkeys(entry.key for _, entry in change.entries)}


def _live(change: Change, items: Mapping[str, Item]) -> Mapping[tuple[str, str], Sequence[Version]]:
    """The live versions of each slot of a change, the winner first."""
    return {
        entry.slot: [version for version in items[entry.key].versions if version.slot == entry.slot]
        for _, entry in change.entries
    }


# -- showing --------------------------------------------------------------------------------------


def _show(session: Session, change: Change, support: Support) -> bool:
    """Show a proposal beside what is live; returns whether its base has moved."""
    header = change.header
    by = called_in_full(session, header.writer.key, header.policy)
    say(f"change {short(change.id)}, proposed {moment(header.time_ms)} by {by}")
    if header.comment:
        say(f"  {header.comment}")
    live = _live(change, _items(session, change))
    for _, entry in change.entries:
        before = next(iter(live[entry.slot]), None)
        name = slot_in_words(entry.slot)
        if entry.operation is Operation.DELETE or entry.value is None:
            print_step("-", name, version_in_line(before) if before else "")
        else:
            after = value_in_line(entry.type, entry.value)
            what = before_after(version_in_line(before) if before else None, after)
            if reach := reach_in_words(entry, header.activation_ms):
                what.append(f"  ({escaped(reach)})", style="dim")
            print_step("~" if before else "+", name, what)
    for key in support.signed:
        say(f"  signed by {called_in_full(session, key, header.policy)}")
    if header.policy != session.chain.head.version:
        note(
            f"note: it names policy {header.policy} and is judged by that; "
            f"policy {session.chain.head.version} is in force now"
        )
    late = moved(change, (version for versions in live.values() for version in versions))
    for version in late:
        note(
            Text.assemble(
                ("warning:", "yellow"),
                f" {escaped(version.entry.key)} has changed since this was proposed, at "
                f"{moment(version.header.time_ms)}: both values would stay, in conflict",
            )
        )
    return bool(late)


def _confirm(*, yes: bool, has_moved: bool) -> None:
    if yes:
        return
    if sys.stdin.isatty():
        typer.confirm("Approve this?", abort=True)
    elif has_moved:
        raise InvalidInput(
            "not signed: its base has moved and there is no terminal to ask on; propose it again, or add --yes"
        )


def _say_missing(support: Support, what: str) -> None:
    say(f"{count(support.missing, 'approval')} missing; next: gossipconf approve {what}, by one of:")
    for key in support.may:
        say(f"  {fingerprint(key)}")


def _tidy(session: Session, signer: Signer) -> None:
    """Remove what this signer has put for proposals that are published now; others do so with theirs."""
    old = finished(session, read_board(session), signer.public)
    if old:
        session.publish([delete(place) for place in old], signer, comment="published")


def _row(session: Session, one: Proposed, items: Mapping[str, Item]) -> list[str]:
    header = one.change.header
    keys = [entry.key for _, entry in one.change.entries]
    return [
        "!" if _has_moved(one, items) else "",
        short(one.change.id),
        _name(session, one.change, header.writer.key),
        age(header.time_ms, now_ms()),
        ", ".join(_name(session, one.change, key) for key in one.support.signed),
        "published" if one.is_done else str(one.support.missing or "none: approve it to publish"),
        ", ".join(_name(session, one.change, key) for key in one.support.may),
        some_of(keys, KEYS_SHOWN),
        header.comment,
    ]


def _has_moved(one: Proposed, items: Mapping[str, Item]) -> bool:
    versions = (version for item in items.values() for version in item.versions)
    return not one.is_done and bool(moved(one.change, versions))


def _name(session: Session, change: Change, key: bytes) -> str:
    """A signer in a table: its role under the change's policy, and its name or the first letters of its fingerprint."""
    _, entry = change.entries[0]
    return f"{session.role_of(key, change.header.policy, entry.key)} {called(session, key, change.header.policy)}"


def _json_proposal(session: Session, one: Proposed, items: Mapping[str, Item]) -> dict[str, Any]:
    header = one.change.header
    live = _live(one.change, items)
    return {
        "id": one.change.id.hex(),
        "proposer": fingerprint(header.writer.key),
        "time": json_time(header.time_ms),
        **json_reason(header.comment),
        "activation": None if header.activation_ms is None else json_time(header.activation_ms),
        "policy": header.policy,
        "signed": [fingerprint(key) for key in one.support.signed],
        "missing": one.support.missing,
        "may": [fingerprint(key) for key in one.support.may],
        "published": one.is_done,
        "moved": _has_moved(one, items),
        "entries": [
            {
                "key": entry.key,
                "variant": entry.variant,
                **json_reach(entry),
                "operation": entry.operation.name.lower(),
                "type": entry.type.name.lower() if entry.value is not None else None,
                "value": json_value(entry.type, entry.value),
                "live": [json_value(version.entry.type, version.entry.value) for version in live[entry.slot]],
            }
            for _, entry in one.change.entries
        ],
    }
