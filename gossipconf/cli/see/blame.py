"""`blame`: who set what, and why: of each value, and within structures of each path, the change that it came with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ...model.key import check_variant
from ...model.version import Version
from ..exits import NotFound
from ..item import Item
from ..output import (
    VALUE_CHARACTERS_MAX,
    escaped,
    json_text,
    json_time,
    json_value,
    moment,
    note,
    print_json,
    short,
    signer_in_words,
    version_in_line,
)
from ..prefix import prefix_of
from ..reason import json_reason
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .difference import content_of, laid_out
from .record import Wanted, versions

BOUNDARY: Final = "^"
"""As `git blame` marks what is older than it can tell."""

Path = tuple[str | int, ...]
"""The way to a leaf of a structure: keys of mappings, indices of lists."""


@dataclass(frozen=True, slots=True)
class Blame:
    """A value, or the leaf of a structure at ``path``, and the version that it came with.

    ``is_older``: it may have come earlier, for the agent's history goes back no further.
    """

    version: Version
    path: Path
    leaf: object
    came_with: Version
    is_older: bool = False


def blame(
    name: Annotated[str, typer.Argument(metavar="KEY|PREFIX", help="A key, or all keys under a prefix.")],
    variant: Annotated[str, typer.Option("--variant", metavar="NAME", help="Values of this variant.")] = "",
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Tell of each value who set it, when and why.

    Of JSON, YAML and TOML each path is told apart: the change with which it came
    to have its value. That is looked for in the agent's history; ^ marks what may
    be older, because history goes back no further.

    \b
    Examples:
      gossipconf blame shop/checkout
      gossipconf blame shop/banner --json | jq '.[] | select(.path == "/colour")'
    """
    check_variant(variant)
    with open_session(Target.find(cluster, agent)) as session:
        found = [one for item in session.items(prefix_of(name)) for one in _blames(session, item, variant)]
        if as_json:
            print_json([_in_json(session, one) for one in found])
        elif found:
            _print(session, found)
        else:
            raise NotFound(f"no value at {name!r} or under it; see: gossipconf list")


def _blames(session: Session, item: Item, variant: str) -> Iterator[Blame]:
    version = next((one for one in item.versions if one.entry.variant == variant), None)
    content = content_of(version)
    if version is None or content is None:
        return
    structure = laid_out(content)
    if structure is None:
        yield Blame(version, (), None, version)
        return
    yield from _of_leaves(session, version, structure)


def _of_leaves(session: Session, version: Version, structure: object) -> Iterator[Blame]:
    """Go back from version to version as long as a leaf had the same value there."""
    wanted = Wanted(key=version.entry.key, until_ms=version.header.time_ms)
    leaves = dict(_leaves(structure, ()))
    came_with = dict.fromkeys(leaves, version)
    looking = set(leaves) if version.entry.seen else set()
    last = version
    for past in versions(session, wanted, None) if looking else ():
        older = past.version
        if not last.supersedes(older):
            continue  # of another variant, void, or a sibling that lost
        content = content_of(older)
        then = {} if content is None else dict(_leaves(laid_out(content), ()))
        looking = {path for path in looking if path in then and _is_same(then[path], leaves[path])}
        came_with |= dict.fromkeys(looking, older)
        last = older
        if not looking:
            break
    for path, leaf in leaves.items():
        yield Blame(version, path, leaf, came_with[path], path in looking and bool(last.entry.seen))


def _leaves(node: object, path: Path) -> Iterator[tuple[Path, object]]:
    """What is neither a mapping nor a list, nor empty."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(node, list) and node:
        for index, value in enumerate(node):
            yield from _leaves(value, (*path, index))
    elif node is not None or path:
        yield path, node


def _is_same(one: object, other: object) -> bool:
    """As JSON: 1 is not true, and not 1.0."""
    return json.dumps(one) == json.dumps(other)


# -- output ---------------------------------------------------------------------------------------


def _print(session: Session, found: Sequence[Blame]) -> None:
    rows: list[Sequence[str | Text]] = []
    for one in found:
        by = one.came_with
        rows.append(
            (
                moment(by.header.time_ms).removesuffix(" UTC"),
                (BOUNDARY if one.is_older else "") + short(by.change_id),
                signer_in_words(session, by),
                Text.assemble(
                    escaped(one.version.entry.key), (escaped("#" + _pointer(one.path)) if one.path else "", "cyan")
                ),
                _value_in_line(one),
                escaped(by.header.comment),
            )
        )
    columns = {"TIME (UTC)": "left", "CHANGE": "left", "BY": "left", "KEY": "fold", "VALUE": "cut", "COMMENT": "cut"}
    print_table(columns, rows)
    if any(one.is_older for one in found):
        note(f"{BOUNDARY} perhaps older: this agent's history goes back no further")


def _value_in_line(one: Blame) -> Text:
    if not one.path:
        return version_in_line(one.version)
    line = escaped(json_text(one.leaf))
    return Text(line if len(line) <= VALUE_CHARACTERS_MAX else line[:VALUE_CHARACTERS_MAX] + "…")


def _pointer(path: Path) -> str:
    """A JSON pointer (RFC 6901); nothing for a value that is told whole."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _in_json(session: Session, one: Blame) -> dict[str, Any]:
    by, entry = one.came_with, one.version.entry
    role, fingerprint = session.signer_of(by)
    return {
        "key": entry.key,
        "variant": entry.variant,
        "path": _pointer(one.path),
        "value": one.leaf if one.path else json_value(entry.type, entry.value),
        "change": by.change_id.hex(),
        "time": json_time(by.header.time_ms),
        "role": role,
        "signer": fingerprint,
        **json_reason(by.header.comment),
        "perhaps_older": one.is_older,
    }
