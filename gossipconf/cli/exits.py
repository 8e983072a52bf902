"""Exit codes: what a script learns from a command besides its output. Knows errors, not commands."""

from __future__ import annotations

import textwrap
from typing import Final

from ..model.errors import AgentUnreachable, GossipconfError, InvalidValue, StrictRead, UnknownChange

ERROR: Final = 1
DIFFERENCE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 4
INCOMPLETE: Final = 5
KEY_CHANGED: Final = 6
INVALID_VALUE: Final = 7
FENCED: Final = 8
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""

MEANINGS: Final = {
    0: "done, or nothing to do",
    ERROR: "an error, told on stderr in one line that begins with `error:`",
    DIFFERENCE: "wrong usage; with `--dry-run`: there is something to publish; `diff`: something differs",
    NOT_FOUND: "no such key, change, policy or proposal",
    UNREACHABLE: "no agent answers",
    INCOMPLETE: "`acks`, `--wait`, `stage`: the time is over, and somebody has not applied it or not answered",
    KEY_CHANGED: "a key is not at the version that `--if-version` names, or has changed since it was shown",
    INVALID_VALUE: "a value is not what a schema says, or not of its type; nothing was published",
    FENCED: "a key of a strict prefix cannot be read at this agent now: fenced, or the agent is no member",
    INTERRUPTED: "ended by Ctrl-C",
}


HELP_COLUMNS: Final = 80
"""As wide as help is where nobody says otherwise."""


def epilog() -> str:
    """The codes as help shows them, a line or two each."""
    lines = [
        textwrap.fill(f"{code:>5}  {meaning.replace('`', '')}", HELP_COLUMNS, subsequent_indent=" " * 7)
        for code, meaning in MEANINGS.items()
    ]
    return "\b\nExit codes:\n" + "\n".join(lines)


class NotFound(GossipconfError):
    """A key that has no value now, or a change, policy or proposal that is not there."""


class KeyChanged(GossipconfError):
    """A key is not what the publish was made for; nothing was published."""


def code_of(error: GossipconfError) -> int:
    """The exit code that tells of `error`."""
    if isinstance(error, (NotFound, UnknownChange)):
        return NOT_FOUND
    if isinstance(error, KeyChanged):
        return KEY_CHANGED
    if isinstance(error, InvalidValue):
        return INVALID_VALUE
    if isinstance(error, StrictRead):
        return FENCED
    return UNREACHABLE if isinstance(error, AgentUnreachable) else ERROR
