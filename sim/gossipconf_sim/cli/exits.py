"""Exit codes: what a script learns from a command besides its output."""

from __future__ import annotations

from typing import Final

ERROR: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""

MEANINGS: Final = {
    0: "done",
    ERROR: "an error, told on stderr in one line that begins with `error:`",
    USAGE: "wrong usage: an unknown option, or a value that is no number",
    INTERRUPTED: "ended by Ctrl-C",
}
