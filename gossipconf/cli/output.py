"""Output: how values, signers and moments look, as text for people and as JSON for programs.

Knows rich and the two streams. What other people wrote (values, comments, the names
that agents give themselves) is escaped before it reaches a terminal, which would obey
its control characters: strings here, a `Text` by whoever makes it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from ..model.entry import Operation, Slot, ValueType
from ..model.errors import InvalidInput
from ..model.version import Version
from ..runtime.json_form import json_reach as json_reach  # noqa: PLC0414 - theirs too
from ..runtime.json_form import json_time as json_time  # noqa: PLC0414
from ..trust import keys
from ..trust.sealed import Envelope
from .reason import json_reason

if TYPE_CHECKING:
    from ..trust.policy import Role
    from .item import Past
    from .session import Session

VALUE_CHARACTERS_MAX: Final = 200
"""Of a value in a table; `get` prints it whole."""

PIPE_COLUMNS: Final = 2_000
"""Width where there is no terminal: lines are not wrapped there, so that `grep` sees whole ones."""

SHORT_ID_DIGITS: Final = 10
"""Hex digits of an id that people see: 40 bits name one change among millions."""

SHORT_KEY_CHARACTERS: Final = 8
"""Of a fingerprint in a table: 48 bits, for people who know the few keys of a role."""


def stdout() -> Console:
    """The console for results; made when needed, because tests and pagers replace the stream."""
    return _console(stderr=False)


def stderr() -> Console:
    """The console for notes and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_COLUMNS
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


REPLACED: Final = "\ufffd"
"""Is as long as what it replaces, so that colours stay where they are."""


def say(text: str | Text = "") -> None:
    """One line of result; what is unprintable in a string is escaped. Into a pipe without rich: a plan has 10,000."""
    console, line = stdout(), _printable(text)
    if console.is_terminal:
        console.print(line)
    else:
        sys.stdout.write(line.plain + "\n")
        sys.stdout.flush()  # whoever reads the pipe sees it now, though the command may go on for long


def note(text: str | Text) -> None:
    """One line that is no result, on stderr, so that it never gets into a pipe."""
    stderr().print(_printable(text))


def abandon_output() -> None:
    """What is buffered cannot be written; without this the interpreter would try again as it ends, and fail."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextlib.contextmanager
def acknowledged() -> Iterator[None]:
    """What is said after a publish was acknowledged: it has succeeded, even if this cannot be written."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        abandon_output()
        note(f"published; the output cannot be written: {error.strerror}")


def print_json(value: Any, *, compact: bool = False) -> None:
    """One JSON document, or with `compact` one line of a stream of them."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    sys.stdout.write(json_text(value, **layout) + "\n")
    sys.stdout.flush()


STEP_COLOURS: Final = {"+": "green", "~": "yellow", "-": "red"}
"""Created or given, updated, deleted or taken away."""


def print_step(sign: str, what: str | Text, detail: str | Text = "", *, indent: str = "") -> None:
    """One difference, in one line."""
    parts = [Text(escaped(one)) if isinstance(one, str) else one for one in (what, detail)]
    gap = "  " if parts[1] else ""
    say(Text.assemble(indent, (sign, STEP_COLOURS[sign]), " ", parts[0], gap, parts[1]))


def print_labelled(label: str, text: str | Text, width: int) -> None:
    """One line of a report, behind a label that is filled up to ``width`` characters, or nothing to go on."""
    say(Text.assemble((label.ljust(width), "dim"), escaped(text) if isinstance(text, str) else text))


def before_after(before: Text | None, after: str) -> Text:
    """A value and what was there; ``after`` is escaped already."""
    return Text(after) if before is None else Text.assemble((before.plain, "dim"), (" → ", "dim"), after)


# -- words for things -----------------------------------------------------------------------------


def escaped(text: str) -> str:
    """`text` in one line, with its control and other unprintable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _printable(text: str | Text) -> Text:
    return shown(text) if isinstance(text, Text) else Text("\n".join(map(escaped, text.split("\n"))))


def shown(text: Text) -> Text:
    """`text` with a sign in the place of what is unprintable and was not escaped by whoever made it."""
    if all(line.isprintable() for line in text.plain.split("\n")):
        return text
    found = text.copy()
    found.plain = "".join(one if one.isprintable() or one == "\n" else REPLACED for one in text.plain)
    return found


def value_in_line(value_type: ValueType, value: bytes) -> str:
    """A value in one line, cut at VALUE_CHARACTERS_MAX; its size for bytes, and for whom it is for sealed values."""
    if value_type is ValueType.BYTES:
        return f"(bytes, {count(len(value), 'byte')})"
    if value_type is ValueType.SEALED:
        whom = f"to {count(len(recipients), 'recipient')}" if (recipients := _recipients(value)) else "as no envelope"
        return f"(sealed {whom}, {count(len(value), 'byte')})"
    text = value.decode(errors="replace")
    line = escaped(text[: VALUE_CHARACTERS_MAX + 1]) or '""'
    return line if len(line) <= VALUE_CHARACTERS_MAX else f"{line[:VALUE_CHARACTERS_MAX]}… ({len(value):,} bytes)"


def _recipients(value: bytes) -> tuple[bytes, ...]:
    """Ids of those to whom a value is sealed; none if it is no envelope."""
    try:
        return Envelope.decode(value).recipients
    except InvalidInput:  # published by a program that did not check
        return ()


def version_in_line(version: Version) -> Text:
    """The value that a version puts, or the word deleted."""
    if version.entry.operation is Operation.DELETE or version.entry.value is None:
        return Text("(deleted)", style="dim")
    return Text(value_in_line(version.entry.type, version.entry.value))


def slot_in_words(slot: Slot) -> str:
    """A key, and the variant where that is not the default one."""
    key, variant = slot
    return f"{key} [{variant}]" if variant else key


def signer_in_words(session: Session, version: Version) -> str:
    """The role and the signer's name; without one, where several keys have it, the first letters of the fingerprint."""
    role, fingerprint = session.signer_of(version)
    name = session.name_of(version.header.writer.key, version.header.policy)
    if name is not None:
        return f"{escaped(role)} {escaped(name)}"
    policy = session.chain[version.header.policy]
    sharing = next((len(one.keys) for one in policy.roles if one.name == role), len(policy.roots))
    return escaped(role) if sharing == 1 else f"{escaped(role)} {short_key(fingerprint)}"


def rights_in_words(role: Role) -> str:
    """`may put, delete and stage under shop, _schemas/shop`."""
    *others, last = role.operations or ("do nothing",)
    what = f"{', '.join(others)} and {last}" if others else last
    return f"may {what} under {', '.join(escaped(prefix) or '(all keys)' for prefix in role.prefixes)}"


def called_in_full(session: Session, key: bytes, policy: int) -> str:
    """A key's fingerprint, after the name that policies have for it."""
    return f"{escaped(session.name_of(key, policy) or '')} {keys.fingerprint(key)}".lstrip()


def called(session: Session, key: bytes, policy: int) -> str:
    """Whose a key is: the name that policies have for it, or the first letters of its fingerprint."""
    name = session.name_of(key, policy)
    return short_key(keys.fingerprint(key)) if name is None else escaped(name)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 key`, `2 keys`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some_of(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """At most so many names, escaped, and how many more there are: `a, b and 3 more`. ``--json`` has them all."""
    more = len(names) - most
    end = f"{separator.lstrip(',')}and {more:,} more" if more > 0 else ""
    return separator.join(map(escaped, names[:most])) + end


def age(time_ms: int, now_ms: int) -> str:
    """How long before now, or the date if that is more than a day; the future as a date, for clocks differ."""
    seconds = (now_ms - time_ms) // 1000
    return duration(max(0, seconds * 1000)) if -2 <= seconds < 86_400 else moment(time_ms)[:10]


def duration(milliseconds: int) -> str:
    """A length of time in its largest unit: `350 ms`, `4 s`, `3 min`, `2 h`, `5 days`."""
    seconds = milliseconds // 1000
    if 0 < milliseconds < 1000:
        return f"{milliseconds} ms"
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7_200:
        return f"{seconds // 60} min"
    return f"{seconds // 3_600} h" if seconds < 172_800 else f"{seconds // 86_400} days"


def moment(time_ms: int) -> str:
    """A time as `2026-03-01 12:00:05 UTC`; far beyond any calendar as milliseconds."""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):
        return f"{time_ms} ms"


def moment_and_age(time_ms: int, now_ms: int) -> str:
    """A time, and how long ago that is if it is less than a day."""
    said = age(time_ms, now_ms)
    return moment(time_ms) + ("" if "-" in said else f", {said} ago")


def short(identity: bytes) -> str:
    """The beginning of an id, in hex."""
    return identity.hex()[:SHORT_ID_DIGITS]


def short_key(fingerprint: str) -> str:
    """The beginning of a fingerprint as OpenSSH shows it, past its SHA256: to tell a few keys apart."""
    return fingerprint.removeprefix("SHA256:")[:SHORT_KEY_CHARACTERS]


# -- JSON -----------------------------------------------------------------------------------------


def json_text(value: Any, **layout: Any) -> str:
    """`value` as JSON that may be shown on a terminal: letters as they are, what is unprintable as escapes.

    `layout` is for `json.dumps`.
    """
    text = json.dumps(value, ensure_ascii=False, **layout)
    lines = text.split("\n")  # of the layout: in strings they are escaped by now
    return "\n".join(line if line.isprintable() else "".join(map(_json_character, line)) for line in lines)


def _json_character(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def json_value(value_type: ValueType, value: bytes | None) -> Any:
    """A value as JSON says it; text as it is, bytes as {"base64": …}, what does not parse as its text.

    A sealed value is {"base64": …, "recipients": […]}: the envelope, and the ids of those who may open it.
    """
    if value is None:
        return None
    if value_type is ValueType.BYTES:
        return {"base64": base64.b64encode(value).decode()}
    if value_type is ValueType.SEALED:
        ids = [recipient.hex() for recipient in _recipients(value)]
        return {"base64": base64.b64encode(value).decode(), "recipients": ids}
    from ..runtime.syntax import parse_value  # noqa: PLC0415 - the parsers of YAML and the rest, which text output needs not

    try:
        return parse_value(value_type, value)
    except InvalidInput:  # published by a program that did not check
        return value.decode(errors="replace")


def json_version(session: Session, version: Version) -> dict[str, Any]:
    """Everything that a reader may want of one version."""
    role, fingerprint = session.signer_of(version)
    entry, header = version.entry, version.header
    return {
        "key": entry.key,
        "variant": entry.variant,
        **json_reach(entry),
        "operation": entry.operation.name.lower(),
        "type": entry.type.name.lower() if entry.value is not None else None,
        "value": json_value(entry.type, entry.value),
        "role": role,
        "signer": fingerprint,
        "name": session.name_of(header.writer.key, header.policy),
        "time": json_time(header.time_ms),
        "activation": None if header.activation_ms is None else json_time(header.activation_ms),
        **json_reason(header.comment),
        "change": version.change_id.hex(),
        "version": version.id.hex(),
        "writer": version.writer_id.hex(),
        "number": header.seq,
        "policy": header.policy,
    }


def json_past(session: Session, past: Past) -> dict[str, Any]:
    """The same of a version of the history, with when it was replaced here, and whether it is void."""
    return json_version(session, past.version) | {
        "retired": None if past.retired_ms is None else json_time(past.retired_ms),
        "void": session.is_void(past.version),
    }
