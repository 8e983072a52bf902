"""The command `export`: what is published, as files that `apply` or another program reads."""

from __future__ import annotations

import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...model.entry import ValueType
from ...model.errors import InvalidInput
from ...model.limits import ENTRIES_MAX
from ..exits import NotFound
from ..files.value import TypedValue, check_own_key
from ..item import Item
from ..output import count, note, say, some_of
from ..prefix import PrefixArgument, prefix_of
from ..see.activation import is_activation, present_at
from ..session import open_session
from ..target import AgentOption, ClusterOption, Target

if TYPE_CHECKING:
    from ..files.formats.text import Written

FORMATS: Final = ("yaml", "json", "toml", "properties", "env", "dir", "consul", "etcd")
WHOLE_KEYS: Final = frozenset({"consul", "etcd", "dir"})
"""Formats with whole keys; in the others they are what is left below the prefix."""
KEYS_TOLD_MAX: Final = 5
"""Keys named in one line."""
SEGMENT_BYTES_MAX: Final = 200
"""Of a file's name, which most file systems let have 255."""


def export(
    prefix: PrefixArgument = "",
    format_name: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")] = "yaml",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE|DIR", help="Where to. Default: standard output; dir needs it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE, or write into a DIR that has files.")] = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Write values as a file, or a directory of files.

    `apply FILE --prefix PREFIX` makes what yaml, json, toml or properties say so
    again; `apply DIR` what dir does, a YAML file for the first two segments of a key;
    `import` reads env, consul and etcd. Only YAML keeps every type.

    Variants, sealed values and what a format cannot say are left out, and a note
    says which.

    \b
    Examples:
      gossipconf export shop --to shop.yaml
      gossipconf export shop/checkout --format env > .env
      gossipconf export --format dir --to config
      gossipconf export shop --format consul | consul kv import -
    """

    if format_name not in FORMATS:
        raise typer.BadParameter(f"{format_name!r} is none of {', '.join(FORMATS)}", param_hint="'--format'")
    if format_name == "dir" and to is None:
        raise typer.BadParameter("dir needs a directory, with --to DIR", param_hint="'--format'")
    prefix = prefix_of(prefix)
    if prefix:
        check_own_key(prefix)
    with open_session(Target.find(cluster, agent)) as session:
        values, left_out = _values(session.items(prefix))
    if not values and not left_out:
        raise NotFound(f"no keys under {prefix!r}" if prefix else "no keys yet")
    if format_name not in WHOLE_KEYS and prefix:
        if values.pop(prefix, None) is not None:
            left_out[prefix] = "is the prefix itself"
        values = {key.removeprefix(f"{prefix}/"): value for key, value in values.items()}
    if format_name == "dir":
        assert to is not None
        files, unfit = _files(values)
        _write_directory(to, files, force=force)
        said = f"{count(len(files), 'file')} in {to}; publish them with: gossipconf apply {shlex.quote(str(to))}"
    else:
        written = _writer(format_name, prefix)(values)
        _write(to, written, force=force)
        above = f"{prefix}/" if prefix and format_name not in WHOLE_KEYS else ""
        unfit = {above + key: why for key, why in written.left_out.items()}
        if written.as_text:
            note(f"note: written as text, without their type: {some_of(written.as_text, KEYS_TOLD_MAX)}")
        said = str(to)
    _tell_left_out(left_out | unfit)
    number = len(values) - len(unfit)
    if number > ENTRIES_MAX:
        note(f"note: one change has at most {ENTRIES_MAX:,} entries; export a prefix at a time to apply it again")
    if to is not None:
        say(f"wrote {count(number, 'key')}: {said}")


def _values(items: Iterator[Item]) -> tuple[dict[str, TypedValue], dict[str, str]]:
    """What is read where nobody is special, and what is left out with why."""
    values: dict[str, TypedValue] = {}
    left_out: dict[str, str] = {}
    for item in items:
        names = {
            one.entry.variant
            for one in item.versions
            if one.entry.variant and not is_activation(one) and one.entry.value is not None
        }
        version = present_at(item)
        if version is not None and version.entry.value is not None:
            if version.entry.type is ValueType.SEALED:
                left_out[item.key] = "is sealed"
            else:
                values[item.key] = version.entry.type, version.entry.value
        for name in sorted(names):
            left_out[f"{item.key} [{name}]"] = "is a variant"
    return values, left_out


def _writer(format_name: str, prefix: str) -> Callable[[Mapping[str, TypedValue]], Written]:
    from ..files.formats import flat, stores, trees  # noqa: PLC0415 - with the parsers that they need

    heading = f"Written by `gossipconf export`; publish it with: gossipconf apply FILE --prefix '{prefix}'"
    writers: Mapping[str, Callable[[Mapping[str, TypedValue]], Written]] = {
        "yaml": lambda values: trees.write_yaml(values, heading),
        "json": trees.write_json,
        "toml": trees.write_toml,
        "properties": flat.write_properties,
        "env": flat.write_env,
        "consul": stores.write_consul,
        "etcd": stores.write_etcd,
    }
    return writers[format_name]


# -- directories ----------------------------------------------------------------------------------


def _files(values: Mapping[str, TypedValue]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files by path below the directory: for each first two segments of keys one, and one for what lies above."""
    from ..files.formats.trees import nested, write_yaml  # noqa: PLC0415 - as above

    fit, left_out = nested(values)
    by_file: dict[str, dict[str, TypedValue]] = defaultdict(dict)
    for key, value in fit.items():
        first, *rest = key.split("/")
        if not rest or not _is_file_name(first):
            left_out[key] = "cannot be told by the name of a file; use --format yaml"
            continue
        place = f"{first}/{rest[0]}" if len(rest) > 1 and _is_file_name(rest[0]) else first
        by_file[f"{place}.yaml"][key.removeprefix(f"{place}/")] = value
    return {path: write_yaml(some).content for path, some in by_file.items()}, left_out


def _is_file_name(segment: str) -> bool:
    """Whether `apply` reads a file of that name, and file systems take it."""
    return not segment.startswith((".", "README")) and len(segment.encode()) <= SEGMENT_BYTES_MAX


def _write_directory(directory: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    try:
        if directory.exists() and any(directory.iterdir()) and not force:
            raise InvalidInput(f"{directory} has files; choose an empty directory, or say --force")
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise InvalidInput(f"{error.filename or directory} cannot be written: {error.strerror}") from None


def _write(to: Path | None, written: Written, *, force: bool) -> None:
    if to is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(written.content)
        sys.stdout.buffer.flush()
        return
    if to.exists() and not force:
        raise InvalidInput(f"{to} exists already; name another file, or say --force")
    try:
        to.write_bytes(written.content)
    except OSError as error:
        raise InvalidInput(f"{to} cannot be written: {error.strerror}") from None


def _tell_left_out(left_out: Mapping[str, str]) -> None:
    reasons: dict[str, list[str]] = defaultdict(list)
    for key, why in sorted(left_out.items()):
        reasons[why].append(key)
    for why, keys in sorted(reasons.items()):
        note(f"left out, since it {why}: {some_of(keys, KEYS_TOLD_MAX)}")
