"""Folding: tables whose wide columns go on in the next line, so that they fit a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from .output import GAP, print_table, stdout

LAST_MIN: Final = 20
"""What the last column gets on a terminal that is too narrow for the others."""

Cell = str | Text


def print_folded(
    columns: Mapping[str, str], rows: Sequence[Sequence[Cell]], limits: Mapping[str, int] | None = None
) -> None:
    """As `output.print_table`; the last column has what the others leave of the terminal's width.

    limits:  the most that others may have, by heading
    """
    console = stdout()
    sizes = [
        min((limits or {}).get(heading, console.width), max(cell_len(_plain(row[place])) for row in rows))
        for place, heading in enumerate(columns)
    ]
    taken = sum(
        max(size, cell_len(heading)) + GAP
        for size, heading in zip(sizes[:-1], columns, strict=False)
        if size  # a column without anything is left out
    )
    sizes[-1] = max(LAST_MIN, console.width - taken)
    lines: list[list[Cell]] = []
    for row in rows:
        folded = [_fold(cell, max(1, size)) for cell, size in zip(row, sizes, strict=True)]
        for line in range(max(map(len, folded))):
            lines.append([cell[line] if line < len(cell) else "" for cell in folded])
    print_table(columns, lines)


def _plain(cell: Cell) -> str:
    return cell.plain if isinstance(cell, Text) else cell


def _fold(cell: Cell, columns: int) -> list[Cell]:
    """The lines of a cell; one that fits stays as it is."""
    plain = _plain(cell)
    if cell_len(plain) <= columns:
        return [cell]
    lines = textwrap.wrap(plain, columns)
    return [Text(line, cell.style) for line in lines] if isinstance(cell, Text) else list(lines)
