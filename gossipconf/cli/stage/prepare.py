"""`stage prepare`: the next epoch of a strict prefix, from the one in force and what is to change.

Knows what is wanted; whether it comes about is the participants' to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.text import Text

from ...model.entry import Entry, ValueType, put
from ...model.entry import delete as deletion
from ...model.errors import InvalidInput
from ...model.key import check_node_id, covers
from ...protocol.epoch import Stage, make_stage
from ...trust.strict import STAGES_ROOT, StageKey
from ..exits import NotFound
from ..files.value import SUFFIX_TYPES, check_syntax, read_value
from ..opener import is_sealed
from ..output import acknowledged, before_after, count, note, print_step, say, short, value_in_line
from ..passphrase import PassphraseFileOption
from ..publish.delivery import Delivery, DryRunOption, ProposeToOption
from ..publish.first_epoch import remember
from ..publish.steps import YesOption, ask
from ..reason import CommentOption, TicketOption, reason
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, KeyOption, Target
from .progress import StrictPrefix, document, ever_revoked, one_prefix

Values: TypeAlias = Mapping[str, tuple[ValueType, bytes]]
PrefixOption = Annotated[
    str | None,
    typer.Option("--prefix", metavar="PREFIX", help="The strict prefix. Default: the only one there is."),
]


def prepare(
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|KEY=VALUE", help="Values by file, or one by one; @FILE and - as with `put`."),
    ] = None,
    prefix: PrefixOption = None,
    members: Annotated[
        str | None,
        typer.Option("--members", metavar="a,b,c", help="Who serves the epoch. Default: as the one in force."),
    ] = None,
    all_members: Annotated[bool, typer.Option("--all", help="All agents that the asked one knows to live.")] = False,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="KEY", help="A key to leave out; repeatable.")
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Only what is given here; nothing is taken over from the epoch in force.")
    ] = False,
    on_fence: Annotated[
        str, typer.Option("--on-fence", metavar="raise|wait", help="What a read does until the outcome is known.")
    ] = "raise",
    yes: YesOption = False,
    comment: CommentOption = "",
    ticket: TicketOption = None,
    dry_run: DryRunOption = False,
    propose_to: ProposeToOption = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Propose the next epoch of a strict prefix.

    An epoch holds all values of its prefix: those in force, with what is given here.
    Each participant (the members of the epoch in force and of the next one) answers
    by itself, ack or nack; who is new before all others. From its ack on its readers
    get neither the old values nor the new ones, until all have acked (`stage commit`
    waits for that) or one has nacked.

    The first epoch of a prefix says for ever whose agreement counts. The roots sign
    it (--key keys/root; several by --propose-to and `approve`), and it is remembered
    beside the key: nothing else excludes two. It takes over what ordinary changes
    have put there.

    \b
    Examples:
      gossipconf stage prepare shop/db/host=db2 shop/db/port=5433
      gossipconf stage prepare db.yaml --prefix shop/db --only --on-fence wait
      gossipconf stage prepare shop/db/host=db1 --prefix shop/db --all --key keys/root
      gossipconf stage prepare --prefix shop/db --members web-1,web-2,web-4 --dry-run
    """
    if on_fence not in ("raise", "wait"):
        raise typer.BadParameter(f"{on_fence!r} is neither raise nor wait", param_hint="'--on-fence'")
    if members is not None and all_members:
        raise typer.BadParameter("either --members or --all")
    delivery = Delivery(dry_run, propose=False, path=propose_to)
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        found = one_prefix(session, prefix)
        _check_none_open(found)
        before = None if found.in_force is None else found.in_force.stage
        base = {} if only else _base(session, found)
        values = _values(changes or [], delete or [], base, found.prefix)
        session.check(
            [put(key, value, kind) for key, (kind, value) in values.items() if base.get(key) != (kind, value)]
        )
        wanted = _members(session, members, before, everybody=all_members)
        stage = make_stage(
            found.prefix,
            None if before is None else before.epoch,
            wanted,
            ever_revoked(session.chain),
            [(key, kind, value) for key, (kind, value) in values.items()],
            policy=session.chain.head.version,
            waits=on_fence == "wait",
        )
        if _is_same(stage, before):
            say(f"epoch {stage.epoch.number - 1} of {found.prefix} is like that already; nothing to prepare")
            return
        _print_plan(stage, before, base, values)
        if not (yes or dry_run or propose_to is not None):
            ask(1)
        entries = [put(str(stage.key), stage.encode(), ValueType.BYTES), *_bygone(session, found)]
        if not dry_run:
            remember(target, session.chain, entries, signer, key_file)
        change = delivery.send(session, entries, signer, reason(comment, ticket))
        with acknowledged():
            if dry_run or propose_to is not None:
                delivery.tell(session, change, 1)
            say(
                f"prepared epoch {stage.epoch.number} of {found.prefix} at {session.node}, stage {short(stage.id)}: "
                f"{count(len(stage.participants), 'participant')}"
            )
            say(f"next: gossipconf stage commit {short(stage.id)}")


def _check_none_open(found: StrictPrefix) -> None:
    """A rival would most likely end with both aborted."""
    for one in found.open:
        raise InvalidInput(
            f"stage {short(one.stage.id)} of epoch {one.stage.epoch.number} of {found.prefix!r} is open "
            f"({len(one.acked)} of {len(one.stage.participants)} have acked); wait for it with: gossipconf stage "
            "commit, or end it with: gossipconf stage abort"
        )


def _base(session: Session, found: StrictPrefix) -> Values:
    """What the next epoch begins with: the one in force, or what ordinary changes have put there."""
    if found.in_force is not None:
        contents = document(session, found.in_force.stage).contents or ()
        return {key: (kind, value) for key, kind, value in contents}
    values = {}
    for item in session.ordinary_items(found.prefix):
        version = item.default
        if version is not None and version.entry.value is not None:
            if is_sealed(version):
                raise InvalidInput(f"{item.key!r} is sealed, which no epoch can be; leave it out with --only")
            values[item.key] = (version.entry.type, version.entry.value)
    return values


def _values(changes: Sequence[str], deleted: Sequence[str], base: Values, prefix: str) -> Values:
    """`base` with what the command line says."""
    from ..files.documents import load  # noqa: PLC0415 - the parsers, which other commands start without

    values = dict(base)
    for one in changes:
        key, equals, argument = one.partition("=")
        if not equals:
            values.update(load(Path(one), prefix=prefix).entries)
            continue
        suffix = Path(argument).suffix if argument.startswith("@") else ""
        kind = values[key][0] if key in values else SUFFIX_TYPES.get(suffix, ValueType.TEXT)
        content = read_value(argument)
        check_syntax(key, kind, content, is_told=False)
        values[key] = kind, content
    for key in values:
        if not covers(prefix, key):
            raise InvalidInput(f"{key!r} is not under {prefix!r}; an epoch holds keys of its prefix only")
    for key in deleted:
        if key not in values:
            raise NotFound(f"--delete {key}: the epoch has no such key")
        del values[key]
    return values


def _members(session: Session, named: str | None, before: Stage | None, *, everybody: bool) -> list[str]:
    """Who is to serve the epoch. Raises InvalidInput."""
    revoked = ever_revoked(session.chain)
    if named is not None:
        return [check_node_id(one.strip()) for one in named.split(",")]
    if everybody:
        status = session.status()
        if status.crowded:
            raise InvalidInput(
                f"{session.node} does not know all agents, as there are too many; name them with --members"
            )
        return [one.node for one in status.members if one.state != "stopped" and one.node not in revoked]
    if before is None:
        raise InvalidInput("this is the first epoch: say who is to serve it, with --members a,b,c or --all")
    gone = [one for one in before.epoch.members if one in revoked]
    if gone:
        note(f"note: {', '.join(gone)} was revoked, and is no member any more")
    return [one for one in before.epoch.members if one not in revoked]


def _is_same(stage: Stage, before: Stage | None) -> bool:
    return before is not None and (stage.epoch.members, stage.epoch.contents) == (
        before.epoch.members,
        before.epoch.contents,
    )


def _bygone(session: Session, found: StrictPrefix) -> list[Entry]:
    """Deletes of documents that nobody asks for any more: of the epochs before the one in force."""
    if found.in_force is None:
        return []
    number = found.in_force.stage.epoch.number
    keys = []
    for item in session.items(f"{STAGES_ROOT}/{found.prefix}"):
        named = StageKey.parse(item.key)
        lives = any(version.entry.value is not None for version in item.versions)
        if lives and named is not None and named.prefix == found.prefix and named.number < number:
            keys.append(item.key)
    return [deletion(key) for key in keys]


def _print_plan(stage: Stage, before: Stage | None, base: Values, values: Values) -> None:
    old, new = set() if before is None else set(before.epoch.members), set(stage.epoch.members)
    for node in sorted(old | new):
        if node not in new:
            print_step("-", f"member {node}", "revoked" if node in stage.epoch.removed else "")
        elif node not in old:
            print_step("+", f"member {node}")
    for key in sorted({*base, *values}):
        was, now = (None if one is None else value_in_line(*one) for one in (base.get(key), values.get(key)))
        if was == now and base.get(key) == values.get(key):
            continue
        sign = "-" if now is None else "+" if was is None else "~"
        print_step(sign, key, was or "" if now is None else before_after(None if was is None else Text(was), now))
    same = sum(base.get(key) == value for key, value in values.items())
    fence = "wait" if stage.epoch.waits else "raise"
    say()
    say(f"{count(len(values), 'value')}, {same:,} as before; {count(len(new), 'member')}; fenced reads {fence}")
