"""Documents: configuration files, as people write them, to the entries that are published.

Knows files and how a tree of values becomes keys. Knows nothing of the formats'
own rules (``syntax`` does), of what is published already (``plan`` does), of signing or of agents.

Keys
    A file's path below the directory that was named, without its suffix, is
    its prefix: ``apply config`` puts ``config/shop/checkout.yaml`` under
    ``shop/checkout``; ``apply checkout.yaml`` puts it under ``checkout``. What
    was named never shows in a key, so that moving it changes nothing. With a
    prefix P given, a directory goes below P, and a file's tree under P itself.
    Nested mappings become segments. In ``.properties`` a dot does (``a.b=v``
    is a/b, as in Spring); elsewhere a dot is only a dot.

Values
    A string is ``text``, verbatim. A number, a boolean, null, a list or an
    empty mapping is ``json``, in one canonical spelling. A list is one value:
    merged by index, two people's edits would make a list that neither wrote.
    A date of TOML is text in RFC 3339; everything in ``.properties`` is text. In YAML a tag
    says another type, and that the text is to be published as it is: `!json '{"a": 1}'`,
    `!yaml |`, `!toml |`, and `!bytes` with base64.

Files
    Each must hold a mapping; one that holds nothing, or only comments, gives
    no entries. ``syntax`` says how each format is read.

Whatever the libraries would pass over in silence is an error here: duplicate
keys, a key in two files, a scalar and a subtree at one key, NaN, files of
another kind. Errors name the file, the line where the parser tells it and the
key, never a value. They are InvalidInput or, for a limit, LimitExceeded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ...model.entry import ValueType
from ...model.errors import InvalidInput, LimitExceeded
from ...model.key import check_key, check_prefix, covers, is_system_key
from ...model.limits import CHANGE_BYTES_MAX, ENTRIES_MAX, VALUE_BYTES_MAX
from ...runtime.syntax import DEPTH_MAX, TREE_READERS, Verbatim, decode_text, parse_value, plain
from ...runtime.yaml_syntax import read_yaml
from .properties import SUFFIXES, Leaf, read_properties
from .value import TypedValue

YAML_SUFFIXES: Final = frozenset({".yaml", ".yml"})

FILE_BYTES_MAX: Final = 2 * CHANGE_BYTES_MAX
"""One file is at most one change; as much again for its comments and indentation."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a file or directory says: entries sorted by key, and where each comes from."""

    entries: Mapping[str, TypedValue]
    sources: Mapping[str, str]
    """key → `file` or `file:line`."""
    prefixes: tuple[str, ...]
    """The prefixes that the files speak for, none inside another: what a prune may touch."""
    skipped: tuple[str, ...]
    """Hidden and README files, by path below the directory."""


def load(path: Path, *, prefix: str | None = None) -> Documents:
    """The entries of one file, or of every configuration file below a directory.

    `prefix` puts a file's tree, or a whole directory, below that key; without
    it a file is put under its own name. Raises InvalidInput or LimitExceeded.
    """
    if prefix is not None:
        check_prefix(prefix)
    if path.is_dir():
        files, skipped = _walk(path)
        placed = {relative: _join(prefix or "", _without_suffix(relative)) for relative in files}
        base = path
    elif path.exists():
        if _suffix(path.name) not in SUFFIXES:
            raise InvalidInput(f"{path}: not a configuration file; its name must end in {_one_of(SUFFIXES)}")
        placed, skipped, base = {path.name: path.stem if prefix is None else prefix}, (), path.parent
    else:
        raise InvalidInput(f"{path}: no such file or directory")

    entries: dict[str, TypedValue] = {}
    sources: dict[str, str] = {}
    for relative, place in placed.items():
        name = str(base / relative)
        if place:
            _checked_key(place, name)
        for leaf in _leaves_of_file(name, base / relative):
            _add(entries, sources, place, leaf)
    _check_no_scalar_above(sources)
    ordered = sorted(entries)
    places = [prefix] if prefix is not None else list(placed.values())
    return Documents(
        entries={key: entries[key] for key in ordered},
        sources={key: sources[key] for key in ordered},
        prefixes=_outermost(places),
        skipped=skipped,
    )


# -- files to leaves ------------------------------------------------------------------------------


def _walk(directory: Path) -> tuple[list[str], tuple[str, ...]]:
    """The configuration files below a directory and what was skipped, as sorted relative paths."""
    files: list[str] = []
    skipped: list[str] = []
    foreign: list[str] = []
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            found = list(os.scandir(directory / below))
        except OSError as error:
            raise InvalidInput(f"{directory / below}: cannot be read: {error.strerror}") from None
        for item in found:
            relative = f"{below}{item.name}"
            if item.name.startswith("."):
                skipped.append(relative)
            elif item.is_dir(follow_symlinks=False):
                pending.append(relative + "/")
            elif item.name.startswith("README") or item.name.endswith(".md"):
                skipped.append(relative)
            elif item.is_file() and _suffix(item.name) in SUFFIXES:
                # A link to a file is followed: Kubernetes mounts its config maps so. One to a directory may loop.
                files.append(relative)
            else:
                foreign.append(relative)
    if foreign:
        raise InvalidInput(
            f"{directory}: not configuration files: {', '.join(sorted(foreign))}; "
            f"move them away, hide them behind a dot, or name them {_one_of(SUFFIXES)}"
        )
    if not files:
        raise InvalidInput(f"{directory}: no file that ends in {_one_of(SUFFIXES)}")
    return sorted(files), tuple(sorted(skipped))


def entries_in(content: bytes, name: str, suffix: str, place: str) -> dict[str, TypedValue]:
    """The entries of one text, which is read as a file with that suffix, below the key `place`; "": at the top.

    Raises InvalidInput or LimitExceeded.
    """
    entries: dict[str, TypedValue] = {}
    sources: dict[str, str] = {}
    for leaf in _leaves_of_text(name, suffix, content):
        _add(entries, sources, place, leaf)
    _check_no_scalar_above(sources)
    return entries


def _add(entries: dict[str, TypedValue], sources: dict[str, str], place: str, leaf: Leaf) -> None:
    key = _key(place, leaf)
    if key in sources:
        raise InvalidInput(f"{leaf.source}: key {key!r} is set already at {sources[key]}; keep one of the two")
    if len(entries) == ENTRIES_MAX:
        raise LimitExceeded(
            f"{leaf.source}: more than {ENTRIES_MAX:,} entries, the limit of one change; apply a part at a time, "
            "each a change: one file or directory, with --prefix for where it belongs"
        )
    entries[key], sources[key] = _typed(leaf, key), leaf.source


def _leaves_of_file(name: str, path: Path) -> Iterator[Leaf]:
    if not path.is_file():  # a pipe or a device would block or never end
        raise InvalidInput(f"{name}: not a regular file")
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"{name}: cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise LimitExceeded(f"{name}: larger than {FILE_BYTES_MAX} bytes; split it")
    return _leaves_of_text(name, _suffix(name), content)


def _leaves_of_text(name: str, suffix: str, content: bytes) -> Iterator[Leaf]:
    text = decode_text(content, name)
    if suffix == ".properties":
        return read_properties(text, name)
    tree = read_yaml(text, name, has_types=True) if suffix in YAML_SUFFIXES else TREE_READERS[suffix](text, name)
    if tree.root is None and suffix in YAML_SUFFIXES:  # a YAML file of nothing but comments
        return iter(())
    if not isinstance(tree.root, dict):
        raise InvalidInput(f"{name}: the file must hold a mapping of keys to values, not a list or a single value")
    return _leaves(tree.root, (), tree.lines, name)


def _leaves(
    mapping: Mapping[str, object], path: tuple[str, ...], lines: Mapping[tuple[str, ...], int], name: str
) -> Iterator[Leaf]:
    for segment, value in mapping.items():
        below = (*path, segment)
        source = f"{name}:{lines[below]}" if below in lines else name
        if len(below) > DEPTH_MAX:
            raise LimitExceeded(f"{source}: nested deeper than {DEPTH_MAX}")
        if isinstance(value, dict) and value:
            _check_segment(below, source)
            yield from _leaves(value, below, lines, name)
        else:
            yield Leaf(below, value, source)


# -- leaves to entries ----------------------------------------------------------------------------


def _check_segment(path: tuple[str, ...], source: str) -> None:
    if not path[-1]:
        raise InvalidInput(f"{source}: an empty key{' below ' + '/'.join(path[:-1]) if path[:-1] else ''}")
    if "/" in path[-1]:
        raise InvalidInput(f"{source}: key {path[-1]!r} contains a slash; nest a mapping instead")


def _key(place: str, leaf: Leaf) -> str:
    for end in range(1, len(leaf.path) + 1):
        _check_segment(leaf.path[:end], leaf.source)
    return _checked_key(_join(place, "/".join(leaf.path)), leaf.source)


def _checked_key(key: str, source: str) -> str:
    try:
        check_key(key)
    except InvalidInput as error:
        raise type(error)(f"{source}: {error}") from None
    if is_system_key(key):
        raise InvalidInput(f"{source}: key {key!r} begins with an underscore, which is the system's own")
    return key


def _typed(leaf: Leaf, key: str) -> TypedValue:
    where = f"{leaf.source}: key {key!r}"
    if isinstance(leaf.value, Verbatim):
        return _verbatim(leaf.value, where)
    value = plain(leaf.value, len(leaf.path), where)
    try:
        if isinstance(value, str):
            value_type, encoded = ValueType.TEXT, value.encode()
        else:
            spelled = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            value_type, encoded = ValueType.JSON, spelled.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{where}: half of a surrogate pair, which is not a character") from None
    except ValueError:  # Python writes no integer of more than 4,300 digits
        raise InvalidInput(f"{where}: a number too long to write; quote it to publish it as text") from None
    if len(encoded) > VALUE_BYTES_MAX:
        raise LimitExceeded(f"{where}: the value has {len(encoded)} bytes, the limit is {VALUE_BYTES_MAX}")
    return value_type, encoded


def _verbatim(value: Verbatim, where: str) -> TypedValue:
    """A value with its type and just these bytes, once they are of that type."""
    if len(value.content) > VALUE_BYTES_MAX:
        raise LimitExceeded(f"{where}: the value has {len(value.content)} bytes, the limit is {VALUE_BYTES_MAX}")
    try:
        parse_value(value.type, value.content)
    except InvalidInput as error:
        raise type(error)(f"{where}: {error}") from None
    return value.type, value.content


def _check_no_scalar_above(sources: Mapping[str, str]) -> None:
    """No key lies below another: a reader of `a` could take it for a value or for a tree."""
    for key, source in sources.items():
        cut = key.rfind("/")
        while cut > 0:
            if key[:cut] in sources:
                raise InvalidInput(
                    f"{source}: key {key!r} lies below {key[:cut]!r}, which is a value at {sources[key[:cut]]}; "
                    "rename one of the two"
                )
            cut = key.rfind("/", 0, cut)


# -- names ----------------------------------------------------------------------------------------


def _suffix(file_name: str) -> str:
    return PurePosixPath(file_name).suffix


def _without_suffix(relative: str) -> str:
    return str(PurePosixPath(relative).with_suffix(""))


def _join(prefix: str, rest: str) -> str:
    return f"{prefix}/{rest}" if prefix else rest


def _one_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _outermost(prefixes: Sequence[str]) -> tuple[str, ...]:
    distinct = sorted(set(prefixes))
    return tuple(one for one in distinct if not any(one != other and covers(other, one) for other in distinct))
