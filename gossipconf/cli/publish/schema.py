"""Schemas: what values under a prefix must be. Published like any value, under `_schemas/`.

Knows the commands and how what fails is shown; ``runtime.schema_set`` knows what a schema says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ...model import entry as entries
from ...model.entry import ValueType
from ...model.errors import InvalidInput, SchemaUnusable
from ...model.key import check_prefix, is_system_key
from ...model.version import Version
from ...runtime.schema import SCHEMA_BYTES_MAX, Schema
from ...runtime.schema_set import SCHEMA_PREFIX, SchemaSet, prefix_of, schema_key
from ...trust.files import read_bounded
from .. import exits
from ..exits import NotFound
from ..expectation import IfVersionOption
from ..instant import now_ms
from ..item import Item
from ..output import (
    acknowledged,
    age,
    count,
    json_version,
    note,
    print_json,
    print_step,
    say,
    short,
    signer_in_words,
    slot_in_words,
)
from ..session import Session, open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .publishing import Publishing, publishing

FAILING_SHOWN: Final = 20
"""Values that fail and are named one by one before a schema is set; `check` names all."""

PrefixArgument = Annotated[
    str, typer.Argument(metavar="PREFIX", help='A key, or a prefix: all keys under it. "": all keys.')
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A JSON Schema, in JSON or YAML.")]

app = typer.Typer(help="What values must be: JSON Schemas for prefixes.", no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Failing:
    """A live version that is not what schemas say, and in what."""

    version: Version
    problem: str


@app.command("set")
@publishing
def set_schema(
    prefix: PrefixArgument,
    file: FileArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Set it without asking, even if live values fail.")] = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Attach a JSON Schema to a prefix: what each value under it must be.

    All schemas that cover a key hold. Values are checked before they are signed, and
    by the agent at which they are published. JSON, YAML and TOML are checked as what
    they say, text as a string, bytes as {"base64": …}, sealed values before they are
    sealed. Live values that fail are shown first, and stay as they are.

    It is an entry at _schemas/PREFIX, and whoever the policy gives that may set it.

    \b
    Examples:
      gossipconf schema set shop/checkout/timeout_ms timeout.json
      gossipconf schema set shop/limits limits.yaml --dry-run
    """
    prefix = _own_prefix(prefix)
    text = _schema_text(file)
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        key = schema_key(prefix)
        item = session.get(key)
        before = item.default
        if before is not None and before.entry.value == text and not item.is_conflict:
            say(f"{_named(prefix)} has this schema already; nothing to publish")
            return
        failing = list(_failing(session, SchemaSet({prefix: text}), prefix))
        _show_failing(failing)
        if failing and not how.dry_run and not yes:
            _ask(len(failing))
        expected = frozenset(version.id for version in item.versions)
        wanted = entries.put(key, text, ValueType.JSON)
        change = delivery.send(session, [wanted], signer, how.reason(), expected)
        with acknowledged():
            print_step("+" if before is None else "~", key, Text(f"{len(text)} bytes", style="dim"))
            delivery.tell(session, change, 1)


@app.command()
def show(
    prefix: Annotated[
        str | None, typer.Argument(metavar="PREFIX", help="Of this prefix alone. Default: of all, by prefix.")
    ] = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Print the schema of a prefix, or all of them.

    \b
    Examples:
      gossipconf schema show shop/limits > limits.json
      gossipconf schema show --json
    """
    with open_session(Target.find(cluster, agent)) as session:
        items = _items(session)
        if prefix is None:
            print_json({one: _document(item) for one, item in items.items()})
            return
        prefix = _own_prefix(prefix)
        if prefix not in items:
            raise NotFound(f"{_named(prefix)} has no schema; see: gossipconf schema list")
        print_json(_json_schema(session, items[prefix]) if as_json else _document(items[prefix]))


@app.command("list")
def list_schemas(
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """List the prefixes that have a schema, and who has set each when.

    \b
    Example:
      gossipconf schema list
    """
    with open_session(Target.find(cluster, agent)) as session:
        items = _items(session)
        if as_json:
            print_json([_json_schema(session, item) for item in items.values()])
        elif not items:
            note("no schemas yet; set one with: gossipconf schema set PREFIX FILE")
        else:
            columns = {"PREFIX": "fold", "TITLE": "cut", "BY": "left", "AGE": "left", "CHANGE": "left"}
            print_table(columns, [_row(session, prefix, item) for prefix, item in items.items()])


@app.command()
@publishing
def remove(
    prefix: PrefixArgument,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Take the schema of a prefix away.

    Those of prefixes above and below it stay.

    \b
    Example:
      gossipconf schema remove shop/limits --comment "split in two"
    """
    prefix = _own_prefix(prefix)
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        key = schema_key(prefix)
        item = session.get(key)
        if item.default is None and not item.is_conflict:
            raise NotFound(f"{_named(prefix)} has no schema; see: gossipconf schema list")
        change = delivery.send(session, [entries.delete(key)], signer, how.reason())
        with acknowledged():
            print_step("-", key)
            delivery.tell(session, change, 1)


@app.command()
def check(
    what: Annotated[
        str, typer.Argument(metavar="PREFIX|FILE|DIR", help="Live values under this, or files as `apply` takes them.")
    ] = "",
    below: Annotated[
        str | None,
        typer.Option("--prefix", metavar="PREFIX", help="Put files under this key, as `apply` does."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="By this schema and not by those published."),
    ] = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Check values by the schemas: those that are live, or those of files.

    A name that is a file or directory here is checked as `apply` would publish it.
    Ends with 7 if a value fails. Sealed values are not looked into.

    \b
    Examples:
      gossipconf schema check
      gossipconf schema check shop/limits --against limits.json
      gossipconf schema check config/
      gossipconf schema check limits.yaml --prefix shop/limits
    """
    is_file = bool(what) and Path(what).exists()
    if below is not None and not is_file:
        raise typer.BadParameter("it says where files go; name one that is there", param_hint="'--prefix'")
    with open_session(Target.find(cluster, agent)) as session:
        prefix = _own_prefix(below or "") if is_file else _own_prefix(what)
        schemas = session.schemas() if against is None else SchemaSet({prefix: _schema_text(against)})
        if is_file:
            number, failing = _check_files(schemas, Path(what), prefix or None)
        else:
            found = list(_failing(session, schemas, prefix))
            number = sum(len(item.versions) for item in session.items(prefix) if not is_system_key(item.key))
            failing = {slot_in_words(one.version.slot): one.problem for one in found}
    if as_json:
        print_json({"checked": number, "failing": failing})
    else:
        _print_failing(failing)
        fail = "fails" if len(failing) == 1 else "fail"
        say(f"{count(number, 'value')} checked, {len(failing) or 'none'} {fail}")
    if failing:
        raise typer.Exit(exits.INVALID_VALUE)


# -- schemas --------------------------------------------------------------------------------------


def _own_prefix(prefix: str) -> str:
    """A prefix of users' keys. Raises InvalidInput."""
    prefix = check_prefix(prefix.removesuffix("/"))
    if is_system_key(prefix):
        raise InvalidInput(f"{prefix!r}: keys that begin with _ are the system's, and have no schemas")
    return prefix


def _named(prefix: str) -> str:
    return repr(prefix) if prefix else "the prefix of all keys"


def _schema_text(path: Path) -> bytes:
    """The schema in a file as it is published, in JSON. Raises InvalidInput or SchemaUnusable that names the file."""
    from ...runtime.syntax import TREE_READERS, decode_text, plain  # noqa: PLC0415 - as in `apply`

    try:
        content = read_bounded(path, SCHEMA_BYTES_MAX)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    suffix = path.suffix if path.suffix in {".yaml", ".yml"} else ".json"
    document = plain(TREE_READERS[suffix](decode_text(content, str(path)), str(path)).root, 0, str(path))
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        Schema(text)
    except SchemaUnusable as error:
        raise SchemaUnusable(f"{path}: {error}") from None
    return text


def _items(session: Session) -> dict[str, Item]:
    return {prefix_of(item.key): item for item in session.items(SCHEMA_PREFIX) if item.default is not None}


def _document(item: Item) -> Any:
    """What a schema says, or None for what some other program has published in its place."""
    assert item.default is not None
    try:
        return json.loads(item.default.entry.value or b"")
    except ValueError:
        return None


def _json_schema(session: Session, item: Item) -> dict[str, Any]:
    assert item.default is not None
    return {"prefix": prefix_of(item.key)} | json_version(session, item.default)


def _row(session: Session, prefix: str, item: Item) -> Sequence[str | Text]:
    version = item.default
    assert version is not None
    document = _document(item)
    title = str(document.get("title", "")) if isinstance(document, dict) else ""
    shown: str | Text = prefix or Text("(all keys)", style="dim")
    header = version.header
    return shown, title, signer_in_words(session, version), age(header.time_ms, now_ms()), short(version.change_id)


# -- values that fail -----------------------------------------------------------------------------


def _failing(session: Session, schemas: SchemaSet, prefix: str) -> Iterator[Failing]:
    """The live versions under `prefix`, of all variants and siblings, that are not what `schemas` say."""
    for item in session.items(prefix):
        for version in item.versions:
            problem = _problem(schemas, version.entry.key, version.entry.type, version.entry.value)
            if problem is not None:
                yield Failing(version, problem)


def _problem(schemas: SchemaSet, key: str, value_type: ValueType, value: bytes | None) -> str | None:
    try:
        return None if value is None else schemas.problem(key, value_type, value)
    except SchemaUnusable as error:
        return str(error)


def _check_files(schemas: SchemaSet, path: Path, prefix: str | None) -> tuple[int, dict[str, str]]:
    from ..files.documents import load  # noqa: PLC0415 - the parsers of YAML and the rest, which live values may not need

    found = load(path, prefix=prefix).entries
    problems = {key: _problem(schemas, key, value_type, value) for key, (value_type, value) in found.items()}
    return len(found), {key: problem for key, problem in problems.items() if problem is not None}


def _print_failing(failing: dict[str, str]) -> None:
    if failing:
        print_table({"KEY": "fold", "PROBLEM": "fold"}, list(failing.items()))
        say()


def _show_failing(failing: Sequence[Failing]) -> None:
    if not failing:
        return
    shown = {slot_in_words(one.version.slot): one.problem for one in failing[:FAILING_SHOWN]}
    _print_failing(shown)
    more = f", {FAILING_SHOWN} of them above" if len(failing) > FAILING_SHOWN else ""
    say(f"{count(len(failing), 'live value')} would fail{more}; readers keep what they have")


def _ask(number: int) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"not published: {count(number, 'live value')} would fail, and there is no terminal to ask on; correct "
            "them first, or add --yes"
        )
    typer.confirm("Set the schema all the same?", abort=True)
