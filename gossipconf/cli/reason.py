"""The reason of a change: a comment, and the ticket that asks for it.

A change has one signed text for both. The convention: a ticket stands first, in square
brackets, as in `[OPS-17] slow bank`. Whoever writes that by hand names a ticket too. Knows
nothing of any tracker.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from ..model.errors import InvalidInput

TICKET_CHARACTERS_MAX: Final = 64
"""A tracker's number, or `owner/repository#17`; a whole address has its place in the comment."""

_TICKET: Final = re.compile(rf"[^\s\[\]]{{1,{TICKET_CHARACTERS_MAX}}}")
_REASON: Final = re.compile(rf"\[({_TICKET.pattern})\](?:\s+|\Z)")

CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; kept with the change for ever.")]
TicketOption = Annotated[
    str | None,
    typer.Option("--ticket", metavar="ID", help="The ticket behind it, such as OPS-17; kept before the comment."),
]


def reason(comment: str, ticket: str | None) -> str:
    """The text to sign. Raises InvalidInput if the ticket is none."""
    if ticket is None:
        return comment
    if not ticket.isprintable() or not _TICKET.fullmatch(ticket):
        raise InvalidInput(
            f"the ticket {ticket!r} has spaces or brackets, or not 1 to {TICKET_CHARACTERS_MAX} characters; "
            "write its number, such as OPS-17, and the rest with --comment"
        )
    return f"[{ticket}] {comment}".rstrip()


def json_reason(text: str) -> dict[str, str | None]:
    """A signed text for JSON: the ticket that it names, or None, and the rest of it."""
    found = _REASON.match(text)
    return {"ticket": found[1] if found else None, "comment": text[found.end() :] if found else text}
