"""The page of all settings: options of `agent.toml`, presets, and every tunable with its formula and trade-off.

    python -m gossipconf.runtime.reference > docs/settings.md

Made from the records themselves; a test compares the page.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from ..protocol.tuning import DEFAULT_PRESET, PRESETS, tunables
from .settings import Options

PAGE: Final = "docs/settings.md"
RECIPE: Final = f"python -m gossipconf.runtime.reference > {PAGE}"

INTRODUCTION: Final = """\
An agent reads `agent.toml` in its directory. Relative paths are relative to the file. `gossipconf agent run` takes
`--listen`, `--advertise`, `--join`, `--zone`, `--preset` and `--data` in place of what the file says; all else is in
the file only. The three forms of a seed are in [operations.md](operations.md#seeds)."""

CHOICE: Final = """\
| preset | for |
|---|---|
| `lan` | one site, or a few that are near each other; the default |
| `wan` | regions around the world, each agent with its `zone`: patient with links that lose, sparing between regions |
| `local` | agents on one machine, for tests and demonstrations: a loss is noticed in 3 s, for five times the wake-ups |

`lan` is the default because it holds everywhere: its limits leave room for three round trips to the far side
of the world and a lost segment, so agents that are far apart and keep it pay some bytes more and work. The others are
wrong somewhere: `wan` takes 30 s to notice that a machine has vanished, and `local` gives up dials and links that a
distant or lossy way only delays. Agents of one cluster may have different presets; each keeps its own pace."""

TUNABLES: Final = """\
A preset sets these. There is no option for one of them alone: they rest on each other. `k` is near_links +
far_links."""


def page() -> str:
    """The page, in Markdown."""
    parts = ["# Settings", f"<!-- Made by `{RECIPE}`; a test compares. -->", INTRODUCTION]
    parts += ["## Options of `agent.toml`", _options(), "## Presets", CHOICE, _presets(), "## Tunables", TUNABLES]
    for one, known in tunables():
        parts += [
            f"### `{one.name}`",
            f"{_sentence(known.meaning)} In {known.unit}.",
            f"Formula: {known.formula}",
            f"Trade-off: {known.trade_off}",
        ]
    return "\n\n".join(parts) + "\n"


def _options() -> str:
    rows = [f"| `{one.name}` | {_default(one)} | {_cell(one.metadata['meaning'])} |" for one in fields(Options)]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def _presets() -> str:
    heads = [f"`{name}`{' (default)' if name == DEFAULT_PRESET else ''}" for name in PRESETS]
    rows = [
        f"| `{one.name}` | {' | '.join(f'{getattr(tuning, one.name):g}' for tuning in PRESETS.values())} |"
        for one, _ in tunables()
    ]
    return "\n".join([f"| tunable | {' | '.join(heads)} |", "|---|" + "---|" * len(PRESETS), *rows])


def _default(option: Field[Any]) -> str:
    """In TOML."""
    value, toml = option.default, option.metadata["toml"]
    if toml:
        return f"`{toml}`"
    if value is MISSING:
        return "must be given"
    return "`[]`" if value == () else f"`{value}`" if isinstance(value, int) else f'`"{value}"`'


def _sentence(meaning: str) -> str:
    return f"{meaning[0].upper()}{meaning[1:]}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
