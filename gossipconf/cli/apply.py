"""The command `apply`: make what is published as files say, in one change whose plan is shown first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..model import entry as entries
from ..model.entry import Entry, ValueType
from ..model.errors import InvalidInput
from ..model.version import Version
from .activation import ActivateAtOption, present, removals
from .delivery import Delivery, DryRunOption, ProposeOption, ProposeToOption
from .expectation import IfVersionOption
from .output import acknowledged, count, note, say
from .passphrase import PassphraseFileOption
from .reach import Reach, reach_of
from .reason import CommentOption, TicketOption, reason
from .session import Item, Session, now_ms, open_session
from .steps import YesOption, ask, print_plan, replaceable
from .target import AgentOption, ClusterOption, KeyOption, Target
from .wait import TIMEOUT, TimeoutOption, Wait, WaitOption

if TYPE_CHECKING:
    from .documents import Documents, TypedValue
    from .plan import Plan


def apply(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="YAML, TOML, JSON or .properties, or a directory.")],
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="PREFIX", help="Put a file's tree, or a whole directory, under this key."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete keys under the same prefixes that the files do not have.")
    ] = False,
    activate_at: ActivateAtOption = None,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    comment: CommentOption = "",
    ticket: TicketOption = None,
    dry_run: DryRunOption = False,
    propose: ProposeOption = False,
    propose_to: ProposeToOption = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = TIMEOUT,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Publish, or propose, a file or a directory of files as one change.

    shop/checkout.yaml below the directory goes under shop/checkout; nested
    mappings become key segments. The plan is shown first: + created, ~ updated,
    - deleted. Every agent applies all of it at once. Sealed values are left alone,
    and so are variants. With --activate-at agents change over by their own clocks.

    \b
    Examples:
      gossipconf apply config/
      gossipconf apply checkout.yaml --prefix shop/checkout --prune
      gossipconf apply config/ --dry-run
      gossipconf apply december/ --activate-at "2026-12-01 06:00"
    """
    # Here, so that commands that read no files start without the parsers of YAML and the rest.
    from .documents import load  # noqa: PLC0415
    from .plan import plan  # noqa: PLC0415

    documents = load(path, prefix=None if prefix is None else prefix.removesuffix("/"))
    reach = reach_of(activate_at=activate_at)
    delivery = Delivery(
        dry_run, propose, propose_to, Wait.of(wait, timeout), if_version or (), activation_ms=reach.activation_ms
    )
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        items = _items_under(session, documents)
        current = {
            item.key: (version.entry.type, version.entry.value)
            for item in items.values()
            if (version := _now_at(item)) is not None and version.entry.value is not None
        }
        sealed = {key for key, (value_type, _) in current.items() if value_type is ValueType.SEALED}
        _check_none_sealed(sealed, documents)
        # No file has sealed values, so their absence says nothing: `delete` removes them.
        open_now = {key: value for key, value in current.items() if key not in sealed}
        made = _with_unsettled(
            plan(open_now, documents.entries, prune_prefixes=documents.prefixes if prune else ()), items
        )
        if documents.skipped:
            note(f"skipped: {', '.join(documents.skipped)}")
        if made.is_empty:
            say(f"nothing to do: {count(len(made.unchanged), 'key')} as in {path}")
            return
        _check_no_delete(made, reach)
        changes = _entries_of(made, documents.entries, items, reach)
        print_plan(changes, items, len(made.unchanged))
        if not dry_run and not yes:
            ask(len(changes))
        change = delivery.send(session, changes, signer, reason(comment, ticket), replaceable(items, changes))
        with acknowledged():
            delivery.tell(session, change, len({entry.key for entry in changes}))


def _items_under(session: Session, documents: Documents) -> Mapping[str, Item]:
    """What is published under the prefixes that the files speak for: all wanted keys are among them."""
    return {item.key: item for prefix in documents.prefixes for item in session.items(prefix)}


def _check_none_sealed(sealed: set[str], documents: Documents) -> None:
    """A secret must not be replaced by what everybody reads because a file happens to have its key."""
    for key in sorted(sealed & documents.entries.keys()):
        raise InvalidInput(
            f"{documents.sources[key]}: key {key!r} is a sealed value, and from a file everybody could read it; "
            "take it out of the file, and publish it with: gossipconf put --seal-to"
        )


def _now_at(item: Item) -> Version | None:
    """What the files' values are compared with: what is read if no variant is for somebody, or has expired."""
    return present(item, now_ms()) or item.default


def _with_unsettled(made: Plan, items: Mapping[str, Item]) -> Plan:
    """A key in conflict, or whose value has an end, is published even if its value is as wanted: that settles it."""
    settled = tuple(
        key
        for key in made.unchanged
        if items[key].is_conflict or ((now := _now_at(items[key])) is not None and now.entry.expires_ms is not None)
    )
    return replace(
        made,
        update=tuple(sorted((*made.update, *settled))),
        unchanged=tuple(key for key in made.unchanged if key not in settled),
    )


def _check_no_delete(made: Plan, reach: Reach) -> None:
    if made.delete and reach.activation_ms is not None:
        raise InvalidInput(
            f"{made.delete[0]!r} would be deleted, and only values can wait for their time; leave --prune out, and "
            "delete what is not wanted any more once the time has come"
        )


def _entries_of(
    made: Plan, wanted: Mapping[str, TypedValue], items: Mapping[str, Item], reach: Reach
) -> Sequence[Entry]:
    puts = [
        reach.entry(items.get(key, Item(key, ())), wanted[key][1], wanted[key][0])
        for key in (*made.create, *made.update)
    ]
    if reach.activation_ms is not None:
        return puts
    # What was activated before would go on being read before what is published now.
    touched = [items[key] for key in (*made.create, *made.update, *made.delete) if key in items]
    removed = [entry for item in touched for entry in removals(item, now_ms())]
    return [*puts, *(entries.delete(key) for key in made.delete), *removed]
