"""Output: tables and sentences for people, JSON for programs, to a stream or a file.

Knows rich, the two streams and the option `--json`. What is unprintable in a string is
escaped before it reaches a terminal, which would obey its control characters.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gossipconf.model.errors import GossipconfError

PIPE_COLUMNS: Final = 2_000
"""Width where there is no terminal: lines are not wrapped there, so that `grep` sees whole ones."""

GAP: Final = 2
"""Spaces between columns."""

STDOUT: Final = "-"
"""The file name that means standard output."""

JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="F", help="Write JSON: to file F, or with - to stdout instead of the text."),
]


class OutputFailed(GossipconfError):
    """A file for results cannot be written; names it and the reason."""


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


def say(text: str | Text = "") -> None:
    """One line of result."""
    stdout().print(_printable(text))


def note(text: str | Text) -> None:
    """One line that is no result, on stderr, so that it never gets into a pipe; lost if stderr is closed."""
    if sys.stderr is None:
        return
    stderr().print(_printable(text))


def abandon_output() -> None:
    """What is buffered cannot be written; without this the interpreter would try again as it ends, and fail."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def print_table(columns: Mapping[str, str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Aligned columns without lines. `columns`: heading → "left" or "right"; those without anything are left out."""
    used = [index for index, _ in enumerate(columns) if any(len(row[index]) for row in rows)]
    headings = [list(columns)[index] for index in used]
    cells = [[Text(escaped(cell)) if isinstance(cell := row[index], str) else cell for index in used] for row in rows]
    lines = [[Text(escaped(heading), "dim") for heading in headings], *cells]
    sizes = [max(cell_len(line[position].plain) for line in lines) for position in range(len(used))]
    console = stdout()
    for line in lines:
        made = Text(" " * GAP).join(
            _padded(cell, size, columns[heading]) for cell, size, heading in zip(line, sizes, headings, strict=True)
        )
        made.rstrip()
        if console.is_terminal:
            console.print(made)
        else:
            sys.stdout.write(made.plain + "\n")  # without rich, which takes seconds for 10,000 rows


def _padded(cell: Text, size: int, side: str) -> Text:
    space = " " * (size - cell.cell_len)
    return Text.assemble(space, cell) if side == "right" else Text.assemble(cell, space)


# -- JSON -----------------------------------------------------------------------------------------


def check_json(target: str | None) -> None:
    """Raise OutputFailed if `--json` names what cannot be written: before the work, whose figures would be lost."""
    if target is None or target == STDOUT:
        return
    path = Path(target)
    if path.is_dir():
        raise OutputFailed(f"the file {target!r} cannot be written: it is a directory")
    if not path.parent.is_dir():
        raise OutputFailed(f"the file {target!r} cannot be written: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputFailed(f"the file {target!r} cannot be written: permission denied")


def write_json(target: str, value: Any) -> None:
    """One JSON document, to the file `target` or with - to standard output. Raises OutputFailed for a file."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if target == STDOUT:
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputFailed(f"the file {target!r} cannot be written: {error.strerror or error}") from None


# -- words for things -----------------------------------------------------------------------------


def escaped(text: str) -> str:
    """`text` in one line, with its control and other unprintable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _printable(text: str | Text) -> Text:
    return text if isinstance(text, Text) else Text("\n".join(map(escaped, text.split("\n"))))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 node`, `2,000 nodes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
