"""The screen: what a person is shown while the story goes on, and the table at its end.

On a terminal of 80 × 24 or more, sentences scroll above a live picture of the
agents; elsewhere there are only lines. Shows what it is told and what the fleet
sees; decides and measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..output import count
from .fleet import Fleet
from .relay import Relay
from .report import Act
from .story import EAST, NODES, WEST

COLUMNS_MAX: Final = 96
"""Longer lines are hard to read."""
PICTURES_PER_S: Final = 20
READING_S: Final = 1.0
"""Pause after an act on a terminal, for the reader; the total includes them, no other time does."""
SLOW_MOTION_MS: Final = 2_500
"""How long the first spread takes when it is shown again for human eyes."""
BAR_COLUMNS: Final = 20
STATE_STYLES: Final = ("green", "yellow", "magenta", "cyan", "blue")
"""One for each different fingerprint in the picture; equal colours are equal states."""


class Silence:
    """An audience that shows nothing: for `--json`."""

    def __init__(self) -> None:
        self.keys = 0
        self.full_ms: dict[str, int] = {}

    def act(self, title: str) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def saw(self, text: str) -> None:
        """Nothing."""

    async def repeat_slowly(self) -> None:
        """No repetition."""
        await trio.lowlevel.checkpoint()

    async def breathe(self) -> None:
        """No pause."""
        await trio.lowlevel.checkpoint()


class Lines(Silence):
    """Sentences, one under the other."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._acts = 0

    def act(self, title: str) -> None:
        """A heading."""
        self._acts += 1
        self._console.print()
        self._console.print(Text(f"{self._acts}  {title}", style="bold"))

    def say(self, text: str) -> None:
        """A sentence."""
        self._console.print(Padding(Text(text), (0, 0, 0, 3)))

    def saw(self, text: str) -> None:
        """A sentence with a tick."""
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row("  ", Text("✓", style="green"), Text(text))
        self._console.print(grid)


class Picture(Lines):
    """Sentences above a live picture of the agents."""

    def __init__(self, console: Console, fleet: Fleet, relay: Relay) -> None:
        super().__init__(console)
        self._fleet = fleet
        self._relay = relay
        self._is_repeating = False
        self._live = Live(console=console, auto_refresh=False, transient=True, get_renderable=self.render)

    async def run(self) -> None:
        """Draw until cancelled; the picture is wiped at the end."""
        with self._live:
            while True:
                self._live.refresh()
                await trio.sleep(1 / PICTURES_PER_S)

    async def repeat_slowly(self) -> None:
        """Let the bars fill once more, as they were seen to, so slowly that a person sees it."""
        slower = max(1.0, SLOW_MOTION_MS / max(self.full_ms.values()))
        self.say(f"Once more in slow motion, {slower:.0f} times slower:")
        seen_ms, self.full_ms, begin_s = self.full_ms, {}, trio.current_time()
        self._is_repeating = True
        for node in sorted(seen_ms, key=seen_ms.__getitem__):
            await trio.sleep_until(begin_s + seen_ms[node] * slower / 1000)
            self.full_ms[node] = seen_ms[node]
        self._is_repeating = False

    async def breathe(self) -> None:
        """Leave time to read."""
        await trio.sleep(READING_S)

    def render(self) -> RenderableType:
        """The picture of this moment: a row for each agent, its side's name above."""
        is_cut = self._relay.is_cut
        parts: list[RenderableType] = [Text(), _grid([_HEADINGS])]
        for side, label in ((WEST, "west"), (EAST, "east")):
            style = "red" if is_cut else "dim"
            title = Text(f"{label}, cut off" if is_cut else label, style)
            parts.append(Rule(title, characters="╌" if is_cut else "─", style=style, align="left"))
            parts.append(_grid([self._row(node) for node in side]))
        return Constrain(Group(*parts), min(self._console.width, COLUMNS_MAX))

    def _row(self, node: str) -> tuple[Text, ...]:
        sight = self._fleet.sights.get(node)
        if sight is None:
            state = "starting" if self._fleet.is_running(node) else "not running"
            return Text(node, "dim"), Text(state, "dim" if self._fleet.is_running(node) else "red")
        keys = 0 if self._is_repeating and node not in self.full_ms else sight.keys
        filled = round(min(1.0, keys / self.keys) * BAR_COLUMNS) if self.keys else 0
        style = self._style_of(sight.root)
        links = " ".join(other if other in sight.peers else "·" for other in NODES)
        if sight.conflicts:
            remark = Text(count(sight.conflicts, "conflict"), "red")
        else:
            remark = Text(f"after {self.full_ms[node]:,} ms" if node in self.full_ms else "", "dim")
        return (
            Text(node, "bold"),
            Text.assemble(("━" * filled, style), ("─" * (BAR_COLUMNS - filled), "dim")),
            Text(str(keys)),
            Text(sight.root.hex()[:8] if keys == sight.keys else "", style),
            Text(links),
            remark,
        )

    def _style_of(self, root: bytes) -> str:
        roots = [sight.root for sight in self._fleet.sights.values() if sight]
        order = sorted(set(roots), key=lambda one: (-roots.count(one), roots.index(one)))
        return STATE_STYLES[order.index(root) % len(STATE_STYLES)]


_HEADINGS: Final = tuple(Text(words, "dim") for words in ("", "keys", "", "fingerprint", "linked to", ""))


def _grid(rows: Sequence[Sequence[Text]]) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    for width in (1, BAR_COLUMNS, 4, 11, 9, 14):
        grid.add_column(width=width, no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid


def print_acts(console: Console, acts: Sequence[Act], total_ms: int) -> None:
    """The table of what happened and how long each part took."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("what happened")
    table.add_column("what was checked")
    table.add_column("took", justify="right", no_wrap=True)
    for act in acts:
        table.add_row(act.what, act.result, f"{act.took_ms:,} ms")
    console.print()
    console.print(table)
    console.print(Text(f"Every line was checked against the agents. In all {total_ms / 1000:.1f} s."))
