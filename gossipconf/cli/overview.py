"""Overviews: what `--help` says of a group of commands, each in a whole sentence, and those of `gossipconf` by purpose.

Knows names and purposes; what a command does its own module says.
"""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

SECTIONS: Final = {
    "Begin": ("init", "demo", "agent", "pki", "key"),
    "Publish": ("put", "delete", "apply", "edit", "import", "export", "promote", "abort", "stage", "seal", "schema"),
    "See": ("get", "list", "watch", "history", "log", "show", "diff", "blame", "explain", "status", "acks"),
    "Undo and settle": ("rollback", "conflicts", "resolve", "report-unhealthy"),
    "Approve": ("proposals", "approve", "withdraw"),
    "Policy and trust": ("policy", "revoke", "void", "forks", "checkpoint", "beacon"),
}
SENTENCE_CHARACTERS_MAX: Final = 200
"""More than any has: the first sentence of a command's help is shown whole, in several lines where it must be."""
NAME_CHARACTERS: Final = 16
"""So that the sentences of all sections begin in one column."""


class Overview(TyperGroup):
    """A group whose commands are listed with whole sentences."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list for ``--help``."""
        self.write(formatter, "Commands", self.list_commands(ctx))

    def write(self, formatter: Any, heading: str, names: Any) -> None:
        """Write one section."""
        rows = [
            (name.ljust(NAME_CHARACTERS), self.commands[name].get_short_help_str(SENTENCE_CHARACTERS_MAX))
            for name in names
        ]
        with formatter.section(heading):
            formatter.write_dl(rows)


class Sections(Overview):
    """The commands of `gossipconf` by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list for ``--help``."""
        for heading, names in SECTIONS.items():
            self.write(formatter, heading, names)
