"""`diff`: what differs between two versions of a key, two times, two agents, or what is published and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from ...model.entry import Slot, ValueType
from ...model.errors import InvalidInput
from ...model.key import check_key, check_variant
from ...model.version import Version
from .. import exits
from ..change_id import begins, is_beginning
from ..exits import NotFound
from ..instant import instant_ms, now_ms
from ..item import Item
from ..output import note, print_json, say
from ..prefix import prefix_of
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target
from . import bygone
from .activation import present_at
from .difference import Difference, content_of, json_difference, print_difference
from .record import Wanted, beside_epochs, records, versions

WAYS: Final = "name a file or two changes, or --from TIME, or --agents A B, but not several of these"


def diff(
    name: Annotated[str, typer.Argument(metavar="KEY|PREFIX", help="What to look at. Default: all keys.")] = "",
    others: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|DIR|CHANGE…", help="Files that `apply` reads, or one or two changes of the key."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="What was read at this time: '2026-03-01 12:00', 2h.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="And at this time. Default: now. Times are UTC.")
    ] = None,
    agents: Annotated[
        tuple[str, str] | None,
        typer.Option("--agents", metavar="A B", help="Two agents: their names, directories or control sockets."),
    ] = None,
    variant: Annotated[str, typer.Option("--variant", metavar="NAME", help="Of a key: this variant.")] = "",
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Show what differs: - before, + after. Exit 2 if anything does.

    With a KEY alone: its last version and the one before. With one change, that
    version and what the key has now; with two, these versions. With --from: what
    has been published under a prefix between two times. With --agents: what two
    agents have. With a file or directory: what is published, and what `apply
    --prune` would publish.

    JSON, YAML and TOML are compared by what they say, with sorted keys; text of
    several lines by line; other values in one line.

    \b
    Examples:
      gossipconf diff shop/checkout/timeout_ms
      gossipconf diff shop/banner 3f9a2c1b 77ab01c9
      gossipconf diff shop --from 2h
      gossipconf diff shop --agents a b
      gossipconf diff shop/checkout checkout.yaml
    """
    others = others or []
    path = Path(others[0]) if len(others) == 1 and not _is_change(others[0]) else None
    if sum((bool(others), start is not None, agents is not None)) > 1 or len(others) > 2:
        raise typer.BadParameter(WAYS)
    if not name and start is None and agents is None:
        raise typer.BadParameter("name a KEY; or say --from TIME, or --agents A B, of all keys")
    if end is not None and start is None:
        raise typer.BadParameter("--to needs a --from")
    target = Target.find(cluster, agent)
    if agents is not None:
        found = _between_agents(target, agents, prefix_of(name))
    else:
        with open_session(target) as session:
            if path is not None:
                found = list(_against_files(session, prefix_of(name), path))
            elif start is not None:
                found = list(_between_times(session, prefix_of(name), start, end))
            else:
                found = [_between_versions(session, (check_key(name), check_variant(variant)), others)]
    found = [one for one in found if not one.is_empty]
    if as_json:
        print_json([json_difference(one) for one in found])
    elif not found:
        say("no difference")
    else:
        for one in found:
            print_difference(one)
    if found:
        raise typer.Exit(exits.DIFFERENCE)


def _is_change(text: str) -> bool:
    """Whether TEXT means a change: a file of that name comes first."""
    return is_beginning(text) and not Path(text).exists()


# -- versions of a key ----------------------------------------------------------------------------


def _between_versions(session: Session, slot: Slot, names: Sequence[str]) -> Difference:
    key, variant = slot
    past = [one for one in versions(session, Wanted(key=key), None) if one.version.entry.variant == variant]
    known = [one.version for one in past]
    if names:
        first, *rest = [_named(known, name, key) for name in names]
        after = rest[0] if rest else bygone.at(max(one.header.time_ms for one in known), known, session.is_void)
        return Difference.between(slot, first, after)
    counting = [version for version in known if not session.is_void(version)]
    if not counting:
        which = f" [{variant}]" if variant else ""
        more = beside_epochs(session, key) or f"; of all keys under a prefix: gossipconf diff {key} --from 1d"
        raise NotFound(f"no history of {key!r}{which}{more}")
    before = counting[1] if len(counting) > 1 else None
    remark = "its first version" if before is None and not counting[0].entry.seen else ""
    return Difference.between(slot, before, counting[0], remark)


def _named(known: Sequence[Version], name: str, key: str) -> Version:
    """The version of the change that ``name`` means. Raises NotFound or InvalidInput."""
    if not is_beginning(name):
        raise InvalidInput(f"{name!r} is no change, nor a file; changes have ids: see gossipconf history {key}")
    found = [version for version in known if begins(version.change_id, name)]
    if not found:
        raise NotFound(f"no change {name} of {key!r} here; see: gossipconf history {key}")
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} changes of {key!r} begin with {name}; give more digits")
    return found[0]


# -- times ----------------------------------------------------------------------------------------


def _between_times(session: Session, prefix: str, start: str, end: str | None) -> Iterator[Difference]:
    from_ms = instant_ms(start, "--from")
    to_ms = now_ms() if end is None else instant_ms(end, "--to")
    if from_ms >= to_ms:
        raise InvalidInput(f"--from {start} is not before --to {end or 'now'}; nothing can be between them")
    within = Wanted(prefix=prefix, since_ms=from_ms + 1, until_ms=to_ms + 1)
    touched = {one.version.slot for record in records(session, within, limit=None) for one in record.versions}
    past: dict[str, list[Version]] = {}
    for slot in sorted(touched):
        key, _ = slot
        if key not in past:
            past[key] = [one.version for one in versions(session, Wanted(key=key, until_ms=to_ms + 1), None)]
        known = [version for version in past[key] if version.slot == slot]
        before, remark = None, ""
        try:
            before = bygone.at(from_ms, known, session.is_void)
        except bygone.Forgotten:
            remark = "what it had then is no longer in this agent's history"
        yield Difference.between(slot, before, bygone.at(to_ms, known, session.is_void), remark)


# -- agents ---------------------------------------------------------------------------------------


def _between_agents(target: Target, names: tuple[str, str], prefix: str) -> list[Difference]:
    with open_session(target.other(names[0])) as one, open_session(target.other(names[1])) as other:
        if one.node == other.node:
            note(f"both are {one.node}")
        mine, theirs = dict(one.ids(prefix)), dict(other.ids(prefix))
        found: list[Difference] = []
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                found += _between_items(one.get(key), other.get(key))
        return found


def _between_items(one: Item, other: Item) -> Iterator[Difference]:
    for slot in sorted({version.slot for version in (*one.versions, *other.versions)}):
        mine, theirs = ([version for version in item.versions if version.slot == slot] for item in (one, other))
        if {version.id for version in mine} == {version.id for version in theirs}:
            continue
        before, after = mine[0] if mine else None, theirs[0] if theirs else None
        remark = ""
        if content_of(before) == content_of(after):
            remark = "the same value, of other changes"
        elif len(mine) > 1 or len(theirs) > 1:
            remark = f"of {len(mine)} siblings and {len(theirs)}"
        yield Difference.between(slot, before, after, remark)


# -- files ----------------------------------------------------------------------------------------


def _against_files(session: Session, prefix: str, path: Path) -> Iterator[Difference]:
    from ..files.documents import load  # noqa: PLC0415 - the parsers of YAML and the rest, which other ways need not
    from ..files.plan import plan  # noqa: PLC0415

    documents = load(path, prefix=prefix)
    if documents.skipped:
        note(f"skipped: {', '.join(documents.skipped)}")
    published = {
        item.key: version
        for one in documents.prefixes
        for item in session.items(one)
        if (version := present_at(item)) is not None and version.entry.value is not None
    }
    sealed = {key for key, version in published.items() if version.entry.type is ValueType.SEALED}
    current = {key: content for key, version in published.items() if (content := content_of(version)) is not None}
    made = plan(
        {key: content for key, content in current.items() if key not in sealed},
        {key: content for key, content in documents.entries.items() if key not in sealed},
        prune_prefixes=documents.prefixes,
    )
    for key in sorted((*made.create, *made.update, *made.delete, *(sealed & documents.entries.keys()))):
        remark = "sealed, and in a file everybody could read it" if key in sealed else ""
        after = None if key in sealed else documents.entries.get(key)
        yield Difference((key, ""), current.get(key), after, published.get(key), None, remark)
