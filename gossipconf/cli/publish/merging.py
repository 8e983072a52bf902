"""Three-way merges: two values that were made from one, put together.

    lines       what only one side has changed is taken; where both have, both stay, between the markers of git
    structures  JSON, YAML and TOML by path; a list is one value, for merged by index it would be one that nobody wrote

The common regions of lines are those of diff3 (Khanna, Kunal, Pierce, "A Formal
Investigation of Diff3", 2007). Knows values; knows no versions and no agents.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomli_w

from ...model.entry import ValueType
from ...model.errors import InvalidInput
from ...runtime.syntax import TREE_READERS, decode_text
from ..files.formats.trees import yaml_text

LINES_MAX: Final = 10_000
"""Of a text that is compared by line: beyond it difflib takes minutes, and the whole text counts as one line."""
TEXTUAL: Final = frozenset({ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML})
OURS, BASE, BOTH, THEIRS = "<<<<<<< ", "||||||| ", "=======", ">>>>>>> "
MARKERS: Final = (OURS, BASE, BOTH + "\n", THEIRS)

_SUFFIXES: Final = {ValueType.JSON: ".json", ValueType.YAML: ".yaml", ValueType.TOML: ".toml"}


class _Nothing:
    """No value of any structure."""


MISSING: Final = _Nothing()
"""There is nothing at a path."""
UNKNOWN: Final = _Nothing()
"""Nobody knows what was there."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the two sides are called in markers."""

    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge. `conflicts`: where both sides have changed the same, as paths or lines; then `content` has markers."""

    content: bytes
    conflicts: tuple[str, ...] = ()


def merge(value_type: ValueType, base: bytes | None, ours: bytes, theirs: bytes, labels: Labels) -> Merged:
    """`ours` and `theirs`, both made from `base`; None: from nothing that is known, so that every difference conflicts.

    Raises InvalidInput for a type that is no text.
    """
    if value_type not in TEXTUAL:
        raise InvalidInput(f"a value of type {value_type.name.lower()} cannot be merged; pick one")
    if theirs in (ours, base):
        return Merged(ours)
    if ours == base:
        return Merged(theirs)
    lines = _merge_lines(base, ours, theirs, labels)
    trees = _trees(value_type, (base, ours, theirs))
    if trees is None:
        return lines
    conflicts: list[str] = []
    one, other = _merge_trees(trees[0], trees[1], trees[2], (), conflicts)
    if not conflicts:
        # The lines keep comments and spelling, if they mean the same.
        parsed = None if lines.conflicts else _trees(value_type, (lines.content,))
        is_same = parsed is not None and _is_same(parsed[0], one)
        return lines if is_same else Merged(_spelled(value_type, one, ours))
    if value_type is not ValueType.JSON and lines.conflicts:
        return Merged(lines.content, tuple(conflicts))
    shown = _merge_lines(None, _spelled(value_type, one, None), _spelled(value_type, other, None), labels)
    return Merged(shown.content, tuple(conflicts))


def has_markers(content: bytes) -> bool:
    """Whether markers are left in a text that somebody has edited."""
    return any(line.startswith(MARKERS) for line in f"{content.decode(errors='replace')}\n".splitlines(keepends=True))


# -- structures -----------------------------------------------------------------------------------


def _trees(value_type: ValueType, contents: Sequence[bytes | None]) -> list[Any] | None:
    """The structures of some values, or None if one has none."""
    suffix = _SUFFIXES.get(value_type)
    if suffix is None:
        return None
    try:
        return [
            UNKNOWN if content is None else TREE_READERS[suffix](decode_text(content, "a value"), "a value").root
            for content in contents
        ]
    except InvalidInput:  # published by a program that did not check
        return None


def _merge_trees(base: Any, ours: Any, theirs: Any, path: tuple[str, ...], conflicts: list[str]) -> tuple[Any, Any]:
    """The merge as either side would have it: the same twice, but where they conflict."""
    if _is_same(ours, theirs) or _is_same(theirs, base):
        return ours, ours
    if _is_same(ours, base):
        return theirs, theirs
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        conflicts.append("/".join(path) or "the whole value")
        return ours, theirs
    known = base if isinstance(base, dict) else {}
    otherwise = UNKNOWN if base is UNKNOWN else MISSING
    one: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for key in dict.fromkeys((*ours, *theirs)):
        here, there = ours.get(key, MISSING), theirs.get(key, MISSING)
        merged = _merge_trees(known.get(key, otherwise), here, there, (*path, key), conflicts)
        for made, value in zip((one, other), merged, strict=True):
            if value is not MISSING:
                made[key] = value
    return one, other


def _is_same(one: Any, other: Any) -> bool:
    """As published values are: 1 is neither 1.0 nor true."""
    if isinstance(one, _Nothing) or isinstance(other, _Nothing):
        return one is other
    return _canonical(one) == _canonical(other)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda one: {type(one).__name__: str(one)})  # TOML has dates


def _spelled(value_type: ValueType, value: Any, like: bytes | None) -> bytes:
    """A structure as text; JSON in one line if `like` is."""
    if value_type is ValueType.YAML:
        return yaml_text(value)
    if value_type is ValueType.TOML:
        return tomli_w.dumps(value).encode()
    is_line = like is not None and b"\n" not in like.strip()
    end = "\n" if like is None or like.endswith(b"\n") else ""
    return (json.dumps(value, ensure_ascii=False, indent=None if is_line else 2) + end).encode()


# -- lines ----------------------------------------------------------------------------------------


def _merge_lines(base: bytes | None, ours: bytes, theirs: bytes, labels: Labels) -> Merged:
    a, b = (text.decode().splitlines(keepends=True) for text in (ours, theirs))
    known = [] if base is None else base.decode().splitlines(keepends=True)
    made: list[str] = []
    conflicts: list[str] = []
    for chunk in _chunks(known, a, b) if base is not None else _two_way(a, b):
        if isinstance(chunk, list):
            made += chunk
            continue
        before, one, other = chunk
        conflicts.append(f"line {len(made) + 1}")
        made += [f"{OURS}{labels.ours}\n", *_ended(one)]
        made += [f"{BASE}before both\n", *_ended(before)] if base is not None else []
        made += [f"{BOTH}\n", *_ended(other), f"{THEIRS}{labels.theirs}\n"]
    return Merged("".join(made).encode(), tuple(conflicts))


Chunk = list[str] | tuple[list[str], list[str], list[str]]
"""Lines that are settled, or (before, ours, theirs) where both have changed."""


def _chunks(base: list[str], a: list[str], b: list[str]) -> Iterator[Chunk]:
    at_base = at_a = at_b = 0
    for start_base, start_a, start_b, length in (*_common(base, a, b), (len(base), len(a), len(b), 0)):
        before, one, other = base[at_base:start_base], a[at_a:start_a], b[at_b:start_b]
        if other in (one, before):
            yield one
        elif one == before:
            yield other
        else:
            yield before, one, other
        yield base[start_base : start_base + length]
        at_base, at_a, at_b = start_base + length, start_a + length, start_b + length


def _common(base: list[str], a: list[str], b: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Regions of the base that both sides have kept: (start in base, in a, in b, lines), ascending."""
    kept_a, kept_b = _kept(base, a), _kept(base, b)
    for line in sorted(kept_a.keys() & kept_b.keys()):  # of one line each; neighbours meet with nothing between
        yield line, kept_a[line], kept_b[line], 1


def _kept(base: list[str], side: list[str]) -> Mapping[int, int]:
    """Line of the base → the same line in `side`, ascending in both."""
    if max(len(base), len(side)) > LINES_MAX:
        return {}
    matcher = difflib.SequenceMatcher(None, base, side, autojunk=False)
    return {
        block.a + offset: block.b + offset for block in matcher.get_matching_blocks() for offset in range(block.size)
    }


def _two_way(a: list[str], b: list[str]) -> Iterator[Chunk]:
    if max(len(a), len(b)) > LINES_MAX:
        yield [], a, b
        return
    for tag, start_a, end_a, start_b, end_b in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            yield a[start_a:end_a]
        else:
            yield [], a[start_a:end_a], b[start_b:end_b]


def _ended(lines: list[str]) -> list[str]:
    """The lines, the last one ended too: a marker stands alone."""
    return lines if not lines or lines[-1].endswith("\n") else [*lines[:-1], lines[-1] + "\n"]
