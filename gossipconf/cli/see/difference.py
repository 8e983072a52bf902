"""Differences: how two values of a key differ, for people and as JSON.

Values that have a structure (JSON, YAML, TOML) are compared as such: laid out with sorted
keys, so that only what they mean makes a difference. Text of several lines is compared by
line, everything else is one line. Knows values, and nothing of where they come from.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from ...model.entry import Slot, ValueType
from ...model.errors import InvalidInput
from ...model.version import Version
from ..output import (
    VALUE_CHARACTERS_MAX,
    before_after,
    escaped,
    json_text,
    json_time,
    json_value,
    print_step,
    say,
    short,
    slot_in_words,
    value_in_line,
)

STRUCTURED: Final = frozenset({ValueType.JSON, ValueType.YAML, ValueType.TOML})
LINE_CHARACTERS_MAX: Final = 60
"""A structure that is no longer than this stays in one line: `{"a": 1}` says more so than in three."""
CONTEXT_LINES: Final = 3
"""Around what differs, as in every diff."""
INDENT: Final = "    "
LINE_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}

Content = tuple[ValueType, bytes]
"""Type and bytes of a value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a slot has on two sides; None: nothing. ``remark``: what else is to be said."""

    slot: Slot
    before: Content | None
    after: Content | None
    before_version: Version | None = None
    after_version: Version | None = None
    remark: str = ""

    @classmethod
    def between(cls, slot: Slot, before: Version | None, after: Version | None, remark: str = "") -> Difference:
        """Of two versions, or None where there is none."""
        return cls(slot, content_of(before), content_of(after), before, after, remark)

    @property
    def is_empty(self) -> bool:
        """Whether the two sides are alike, and there is nothing else to be said."""
        return self.before == self.after and not self.remark

    @property
    def sign(self) -> str:
        """`+` for what is new, `-` for what is gone, `~` for the rest."""
        if self.before is None and self.after is not None:
            return "+"
        return "-" if self.after is None and self.before is not None else "~"


def content_of(version: Version | None) -> Content | None:
    """What a version puts; None for none, and for a delete."""
    if version is None or version.entry.value is None:
        return None
    return version.entry.type, version.entry.value


def print_difference(found: Difference, *, with_changes: bool = True) -> None:
    """In one line if both sides are one, else as a unified diff below the key. ``with_changes``: and of which."""
    name = slot_in_words(found.slot)
    before, after = _lines(found.before), _lines(found.after)
    is_one_line = len(before) <= 1 and len(after) <= 1
    words = _in_line(before, after) if is_one_line else Text()
    said = _remarks(found, before, after) + ([_changes(found)] if with_changes and _changes(found) else [])
    if said:
        words.append(f"{'  ' if words else ''}({escaped('; '.join(said))})", style="dim")
    print_step(found.sign, name, words)
    for line in () if is_one_line else unified(before, after):
        say(Text(INDENT + escaped(line), style=LINE_STYLES.get(line[:1], "")))


def json_difference(found: Difference) -> dict[str, Any]:
    """Both values whole, and the changes that they are of."""
    key, variant = found.slot
    return {
        "key": key,
        "variant": variant,
        "difference": {"+": "created", "~": "updated", "-": "deleted"}[found.sign],
        "before": _json_side(found.before, found.before_version),
        "after": _json_side(found.after, found.after_version),
        "remark": found.remark,
    }


def unified(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """The lines of a unified diff from its first `@@` on."""
    for number, line in enumerate(difflib.unified_diff(before, after, lineterm="", n=CONTEXT_LINES)):
        if number >= len(("---", "+++")):
            yield line


def laid_out(content: Content) -> object:
    """The structure of a value, or None if it has none or is not what its type says."""
    value_type, value = content
    if value_type not in STRUCTURED:
        return None
    from ...runtime.syntax import parse_value  # noqa: PLC0415 - the parsers of YAML and the rest, which most reads need not

    try:
        parsed = parse_value(value_type, value)
    except InvalidInput:  # published by a program that did not check
        return None
    return parsed if isinstance(parsed, dict | list) else None


def _lines(content: Content | None) -> list[str]:
    if content is None:
        return []
    structure = laid_out(content)
    if structure is not None:
        line = json_text(structure, sort_keys=True)
        return (
            [line] if len(line) <= LINE_CHARACTERS_MAX else json_text(structure, sort_keys=True, indent=2).split("\n")
        )
    value_type, value = content
    if value_type in {ValueType.BYTES, ValueType.SEALED}:
        return [value_in_line(value_type, value)]
    return value.decode(errors="replace").splitlines() or [""]


def _in_line(before: Sequence[str], after: Sequence[str]) -> Text:
    shown = [Text(_cut(lines[0])) if lines else None for lines in (before, after)]
    if shown[0] is None or shown[1] is None or shown[0] == shown[1]:
        return shown[1] or shown[0] or Text()
    return before_after(shown[0], shown[1].plain)


def _remarks(found: Difference, before: Sequence[str], after: Sequence[str]) -> list[str]:
    """What the lines do not show."""
    said = [found.remark] if found.remark else []
    if found.before is not None and found.after is not None:
        if found.before[0] is not found.after[0]:
            said.append(" → ".join(one[0].name.lower() for one in (found.before, found.after)))
        if found.before[1] != found.after[1]:
            if before == after:
                said.append("written otherwise")
            elif len(before) == len(after) == 1 and _cut(before[0]) == _cut(after[0]):
                said.append(f"differs after {VALUE_CHARACTERS_MAX} characters")
    return said


def _changes(found: Difference) -> str:
    """The changes that the two sides are of, as far as they are of any."""
    ids = [short(one.change_id) for one in (found.before_version, found.after_version) if one is not None]
    return " → ".join(dict.fromkeys(ids))


def _cut(line: str) -> str:
    shown = escaped(line[: VALUE_CHARACTERS_MAX + 1]) or '""'
    return shown if len(shown) <= VALUE_CHARACTERS_MAX else shown[:VALUE_CHARACTERS_MAX] + "…"


def _json_side(content: Content | None, version: Version | None) -> dict[str, Any] | None:
    if content is None and version is None:
        return None
    side: dict[str, Any] = {"type": None, "value": None}
    if content is not None:
        side = {"type": content[0].name.lower(), "value": json_value(*content)}
    if version is not None:
        side |= {"change": version.change_id.hex(), "time": json_time(version.header.time_ms)}
    return side
