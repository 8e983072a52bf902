"""Tables: aligned columns without lines, fitted to a terminal, and whole into a pipe.

Knows which columns give way to others where there is no room. Knows nothing of what stands in them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .output import escaped, say, shown, stdout

GAP: Final = 2
"""Spaces between columns, and before a line that belongs to the one above."""

COLUMN_CHARACTERS_MIN: Final = (("cut", 8), ("fold", 24), ("fold", 8))
"""What is left of columns of a kind that give way to the others on a narrow terminal, in turn: a word, a few key
segments, then a word too, for ids and ages say nothing once they are cut."""


def table(columns: Mapping[str, str], rows: Sequence[Sequence[str | Text]], width: int) -> Table:
    """Aligned columns without lines, fitted to `width` characters.

    `columns`: heading → "left", "right", "cut" (may lose its end) or "fold" (may
    take several lines). Columns in which no row has anything are left out.
    """
    headings, cells, natural = _measured(columns, rows)
    kinds = [columns[heading] for heading in headings]
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for heading, kind, size in zip(headings, kinds, _fitted(natural, kinds, width), strict=True):
        made.add_column(
            Text(heading),
            justify="right" if kind == "right" else "left",
            no_wrap=kind != "fold",
            overflow="fold" if kind == "fold" else "ellipsis",
            width=size,
        )
    for row in cells:
        made.add_row(*row)
    return made


def print_table(columns: Mapping[str, str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print `table`; into a pipe whole, one line a row, and without rich, which takes seconds for 10,000 rows.

    Where a column that may be folded has no room beside those before it, it takes the line below. The first never does.
    """
    console = stdout()
    headings, cells, sizes = _measured(columns, rows)
    if console.is_terminal:
        kinds = [columns[heading] for heading in headings]
        fitted = _fitted(sizes, kinds, console.width)
        below = [
            position
            for position, kind in enumerate(kinds)
            if kind == "fold" and any(headings[:position]) and fitted[position] < sizes[position]
        ]
        if below:
            _print_stacked(headings, kinds, cells, below, console.width)
        else:
            console.print(table(columns, rows, console.width), soft_wrap=False)
        return
    for row in ([Text(heading) for heading in headings], *cells):
        padded = [
            " " * (size - cell.cell_len) + cell.plain
            if columns[heading] == "right"
            else cell.plain + " " * (size - cell.cell_len)
            for heading, cell, size in zip(headings, row, sizes, strict=True)
        ]
        sys.stdout.write((" " * GAP).join(padded).rstrip() + "\n")


def _print_stacked(
    headings: Sequence[str], kinds: Sequence[str], cells: Sequence[Sequence[Text]], below: Sequence[int], width: int
) -> None:
    """Each row in several lines: the columns ``below`` come after the others, in a line each."""
    beside = [position for position in range(len(headings)) if position not in below]
    lines = [[Text(heading, style="dim") for heading in headings], *cells]
    natural = [max(line[position].cell_len for line in lines) for position in beside]
    sizes = _fitted(natural, [kinds[position] for position in beside], width)
    for line in lines:
        row = Text(" " * GAP).join(
            _sized(line[position], size, kinds[position]) for position, size in zip(beside, sizes, strict=True)
        )
        row.rstrip()
        say(row)
        for position in below:
            if line[position]:
                say(Text(" " * GAP).append_text(line[position]))


def _sized(cell: Text, size: int, kind: str) -> Text:
    made = cell.copy()
    made.truncate(size, overflow="ellipsis")
    made.align("right" if kind == "right" else "left", size)
    return made


def _cell(content: str | Text) -> Text:
    return Text(escaped(content)) if isinstance(content, str) else shown(content)


def _measured(
    columns: Mapping[str, str], rows: Sequence[Sequence[str | Text]]
) -> tuple[list[str], list[list[Text]], list[int]]:
    """The columns in use: their headings, cells and natural widths."""
    used = [index for index, _ in enumerate(columns) if any(len(row[index]) for row in rows)]
    headings = [list(columns)[index] for index in used]
    cells = [[_cell(row[index]) for index in used] for row in rows]
    sizes = [
        max(cell_len(heading), *(row[position].cell_len for row in cells)) for position, heading in enumerate(headings)
    ]
    return headings, cells, sizes


def _fitted(natural: Sequence[int], kinds: Sequence[str], width: int) -> list[int]:
    """Column widths: first what may be cut gives way, the widest first, then what may be folded."""
    sizes = list(natural)
    excess = sum(sizes) + GAP * (len(sizes) - 1) - width
    for yielding, least in COLUMN_CHARACTERS_MIN:
        positions = [position for position, kind in enumerate(kinds) if kind == yielding]
        while excess > 0 and positions:
            widest = max(positions, key=lambda position: sizes[position])
            if sizes[widest] <= least:
                break
            sizes[widest] -= 1
            excess -= 1
    return sizes
