"""Publishing commands: put, delete and apply.

The private key is used here, or by an ssh-agent, and never reaches an agent of ours. What is shown before a
publish is what happens, or the publish is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from ..model import entry as entries
from ..model.entry import Entry, ValueType
from ..model.errors import InvalidInput, LimitExceeded
from ..model.key import check_key, is_system_key
from ..model.limits import VALUE_BYTES_MAX
from ..trust.sealed import Opened, Place
from .delivery import Delivery
from .exits import NotFound
from .opener import is_sealed
from .output import (
    acknowledged,
    before_after,
    count,
    note,
    print_step,
    say,
    value_in_line,
    version_in_line,
)
from .passphrase import PassphraseFileOption
from .recipients import CaOption, SealToOption, recipients_named, sealed_value
from .session import Item, Session, open_session
from .target import AgentOption, ClusterOption, KeyOption, Target

if TYPE_CHECKING:
    from .documents import Documents, TypedValue
    from .plan import Plan

SUFFIX_TYPES: Final = {
    ".json": ValueType.JSON,
    ".yaml": ValueType.YAML,
    ".yml": ValueType.YAML,
    ".toml": ValueType.TOML,
}

CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; kept with the change for ever.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would be published; exit 2 if there is something.")
]


ProposeOption = Annotated[
    bool,
    typer.Option("--propose", help="Publish it later: propose it, under _proposals/, to those who must approve it."),
]
ProposeToOption = Annotated[
    Path | None, typer.Option("--propose-to", metavar="FILE", help="Propose it in a file, which goes to the approvers.")
]


def put(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key to write.")],
    value: Annotated[str, typer.Argument(metavar="VALUE|-|@FILE", help="The value, or - for stdin, or @ and a file.")],
    type_name: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="text, json, yaml, toml or bytes. Default: the type the key has, else the file's by its suffix, "
            "else text.",
        ),
    ] = None,
    seal_to: SealToOption = None,
    ca: CaOption = None,
    comment: CommentOption = "",
    dry_run: DryRunOption = False,
    propose: ProposeOption = False,
    propose_to: ProposeToOption = None,
    force: Annotated[bool, typer.Option("--force", help="Publish even if the value is the same.")] = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Publish one value, or propose it.

    JSON, YAML and TOML are checked before anything is signed. A value that begins
    with a dash follows `--`.

    With --seal-to only those named can read the value; all see its key and its
    size. Give a secret by stdin or file: a command's words are seen by others on
    the machine, and kept by the shell.

    \b
    Examples:
      gossipconf put shop/checkout/timeout_ms 1200 --comment "OPS-17: slow bank"
      gossipconf put shop/banner @banner.json
      gossipconf put shop/offset -- -5
      printf %s "$TEMPLATE" | gossipconf put shop/mail/template -
      gossipconf put shop/db/password @password --seal-to checkout-1 --seal-to me.pub
    """
    _check_own_key(key)
    chosen = None if type_name is None else _type_named(type_name)
    content = _read_value(value)
    delivery = Delivery(dry_run, propose, propose_to)
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        item = session.get(key)
        value_type = _default_type(value, item, is_sealing=bool(seal_to)) if chosen is None else chosen
        if value_type is ValueType.SEALED:
            raise InvalidInput(
                f"{key!r} is a sealed value; seal the new one with --seal-to, or name its type with --type "
                "to let everybody read it"
            )
        if seal_to:
            _check_secret(key, value_type, content)
            recipients = recipients_named(seal_to, target, ca, session.chain)
            content = sealed_value(Opened(value_type, content), Place(session.chain.cluster_id, key), recipients)
            value_type = ValueType.SEALED
        else:
            _check_syntax(key, value_type, content, is_told=chosen is not None)
        wanted = entries.put(key, content, value_type)
        before = item.winner
        if (
            not force
            and not item.is_conflict
            and before is not None
            and (before.entry.type, before.entry.value) == (value_type, content)
        ):
            say(f"{key} has this value already; nothing to publish")
            return
        change = delivery.send(session, [wanted], signer, comment)
        with acknowledged():
            print_step(
                "+" if before is None else "~",
                key,
                before_after(None if before is None else version_in_line(before), value_in_line(value_type, content)),
            )
            if seal_to and any(not is_sealed(one) and one.entry.value is not None for one in item.versions):
                note(
                    "note: the value until now was not sealed, and histories keep it readable; change the secret itself"
                )
            delivery.tell(session, change, 1)


def delete(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="The keys to delete.")],
    comment: CommentOption = "",
    dry_run: DryRunOption = False,
    propose: ProposeOption = False,
    propose_to: ProposeToOption = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Delete keys, all in one change or none, or propose it.

    The old values stay in the agents' history.

    \b
    Examples:
      gossipconf delete shop/banner
      gossipconf delete shop/a shop/b --comment "moved to shop/c"
    """
    for key in keys:
        _check_own_key(key)
    keys = list(dict.fromkeys(keys))
    delivery = Delivery(dry_run, propose, propose_to)
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        items = [session.get(key) for key in keys]
        missing = [item.key for item in items if item.winner is None and not item.is_conflict]
        if missing:
            raise NotFound(f"nothing is deleted: no value at {', '.join(map(repr, missing))}")
        change = delivery.send(session, [entries.delete(key) for key in keys], signer, comment)
        with acknowledged():
            for item in items:
                print_step("-", item.key, version_in_line(item.winner) if item.winner else Text())
            delivery.tell(session, change, len(items))


def apply(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="YAML, TOML, JSON or .properties, or a directory.")],
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="PREFIX", help="Put a file's tree, or a whole directory, under this key."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete keys under the same prefixes that the files do not have.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Publish without asking.")] = False,
    comment: CommentOption = "",
    dry_run: DryRunOption = False,
    propose: ProposeOption = False,
    propose_to: ProposeToOption = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Publish, or propose, a file or a directory of files as one change.

    shop/checkout.yaml below the directory goes under shop/checkout; nested
    mappings become key segments. The plan is shown first: + created, ~ updated,
    - deleted. Every agent applies all of it at once. Sealed values are left alone.

    \b
    Examples:
      gossipconf apply config/
      gossipconf apply checkout.yaml --prefix shop/checkout --prune
      gossipconf apply config/ --dry-run
    """
    # Here, so that commands that read no files start without the parsers of YAML and the rest.
    from .documents import load  # noqa: PLC0415
    from .plan import plan  # noqa: PLC0415

    documents = load(path, prefix=None if prefix is None else prefix.removesuffix("/"))
    delivery = Delivery(dry_run, propose, propose_to)
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        items = _items_under(session, documents)
        current = {
            item.key: (version.entry.type, version.entry.value)
            for item in items.values()
            if (version := item.winner) is not None and version.entry.value is not None
        }
        sealed = {key for key, (value_type, _) in current.items() if value_type is ValueType.SEALED}
        _check_none_sealed(sealed, documents)
        # No file has sealed values, so their absence says nothing: `delete` removes them.
        open_now = {key: value for key, value in current.items() if key not in sealed}
        made = _with_conflicts(
            plan(open_now, documents.entries, prune_prefixes=documents.prefixes if prune else ()), items
        )
        if documents.skipped:
            note(f"skipped: {', '.join(documents.skipped)}")
        if made.is_empty:
            say(f"nothing to do: {count(len(made.unchanged), 'key')} as in {path}")
            return
        _print_plan(made, items, documents)
        changes = _entries_of(made, documents.entries)
        if not dry_run and not yes:
            _ask(len(changes))
        expected = frozenset(
            version.id for entry in changes if entry.key in items for version in items[entry.key].versions
        )
        change = delivery.send(session, changes, signer, comment, expected)
        with acknowledged():
            delivery.tell(session, change, len(changes))


# -- values ---------------------------------------------------------------------------------------


def _check_own_key(key: str) -> None:
    check_key(key)
    if is_system_key(key):
        raise InvalidInput(f"key {key!r}: keys that begin with _ are the system's; choose another name")


def _type_named(name: str) -> ValueType:
    types = [one for one in ValueType if one is not ValueType.SEALED]
    for one in types:
        if one.name.lower() == name:
            return one
    raise typer.BadParameter(
        f"{name!r} is not a type; types are {', '.join(one.name.lower() for one in types)}", param_hint="'--type'"
    )


def _read_value(argument: str) -> bytes:
    """The bytes that VALUE stands for. Raises InvalidInput or LimitExceeded."""
    if argument == "-":
        content = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
        what = "stdin"
    elif argument.startswith("@"):
        path = Path(argument[1:])
        what = str(path)
        try:
            with path.open("rb") as file:
                content = file.read(VALUE_BYTES_MAX + 1)
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read: {error.strerror}; for a value that begins with @ use stdin"
            ) from None
    else:
        content, what = argument.encode(errors="surrogateescape"), "the value"
    if len(content) > VALUE_BYTES_MAX:
        raise LimitExceeded(f"{what} is larger than {VALUE_BYTES_MAX} bytes, the limit of a value")
    return content


def _default_type(argument: str, item: Item, *, is_sealing: bool) -> ValueType:
    if item.winner is not None and not (is_sealing and is_sealed(item.winner)):
        return item.winner.entry.type
    return SUFFIX_TYPES.get(PurePosixPath(argument).suffix, ValueType.TEXT) if argument[:1] == "@" else ValueType.TEXT


def _check_syntax(key: str, value_type: ValueType, content: bytes, *, is_told: bool) -> None:
    from .syntax import parse_value  # noqa: PLC0415 - as above

    try:
        parse_value(value_type, content)
    except InvalidInput as error:
        name = value_type.name.lower()
        hint = "" if is_told else f"; the type is {name} because the key or the file is, --type says otherwise"
        raise type(error)(f"{key!r}: {error}{hint}") from None


def _check_secret(key: str, value_type: ValueType, content: bytes) -> None:
    """As `_check_syntax`, in words that quote nothing of the value: parsers name its keys and tags."""
    try:
        _check_syntax(key, value_type, content, is_told=True)
    except InvalidInput:
        raise InvalidInput(
            f"{key!r}: the value is not {value_type.name}, as the key or --type says; where it is wrong is not told, "
            "because it is to be sealed"
        ) from None


# -- plans ----------------------------------------------------------------------------------------


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


def _with_conflicts(made: Plan, items: Mapping[str, Item]) -> Plan:
    """A key in conflict is published even if its winner is as wanted: that settles the conflict."""
    settled = tuple(key for key in made.unchanged if items[key].is_conflict)
    return replace(
        made,
        update=tuple(sorted((*made.update, *settled))),
        unchanged=tuple(key for key in made.unchanged if key not in settled),
    )


def _entries_of(made: Plan, wanted: Mapping[str, TypedValue]) -> Sequence[Entry]:
    puts = [entries.put(key, wanted[key][1], wanted[key][0]) for key in (*made.create, *made.update)]
    return [*puts, *(entries.delete(key) for key in made.delete)]


def _print_plan(made: Plan, items: Mapping[str, Item], documents: Documents) -> None:
    steps = [
        *(("+", key) for key in made.create),
        *(("~", key) for key in made.update),
        *(("-", key) for key in made.delete),
    ]
    for sign, key in sorted(steps, key=lambda step: step[1]):
        item = items.get(key)
        before = version_in_line(item.winner) if item is not None and item.winner is not None else None
        after = value_in_line(*documents.entries[key]) if sign != "-" else None
        what = before or Text() if after is None else before_after(before, after)
        if item is not None and item.is_conflict:
            what.append("  (settles a conflict)", style="dim")
        print_step(sign, key, what)
    counts = [
        f"{len(keys):,} to {verb}"
        for keys, verb in ((made.create, "create"), (made.update, "update"), (made.delete, "delete"))
        if keys
    ]
    say()
    say(", ".join([*counts, f"{len(made.unchanged):,} unchanged"]))


def _ask(number: int) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("not published: there is no terminal to ask on; add --yes to publish, or --dry-run to look")
    typer.confirm(f"Publish {'this change' if number == 1 else f'these {number:,} changes'}?", abort=True)
