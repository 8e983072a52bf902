"""Result: with `--json`, what has come of a publish as one JSON document on stdout; what is for people goes to stderr.

Knows how that looks. Whether a change was published, proposed or only composed, `delivery` says.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Final, TextIO

import typer

from ...model.change import Change
from ..output import acknowledged, json_reach, json_time, print_json
from ..reason import json_reason

JsonResultOption = Annotated[
    bool,
    typer.Option("--json", help="Print what has come of it as JSON; the plan, and what else is said, go to stderr."),
]


@dataclass(slots=True)
class Result:
    """Where the document goes, and whether it has been written."""

    stream: TextIO
    is_told: bool = False


_WANTED: Final[ContextVar[Result | None]] = ContextVar("result", default=None)
"""That of the running command, which is far from where its change is sent."""


@contextlib.contextmanager
def as_json() -> Iterator[None]:
    """While the command runs. What ends without an error and sends nothing has found nothing to do."""
    result = Result(sys.stdout)
    token = _WANTED.set(result)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _WANTED.reset(token)
    if not result.is_told:
        print_json({"outcome": "unchanged", "change": None})


def tell(outcome: str, node: str, change: Change, **more: Any) -> None:
    """Write the document, if one is wanted. ``outcome``: published, proposed or planned."""
    result = _WANTED.get()
    if result is None:
        return
    result.is_told = True
    with contextlib.redirect_stdout(result.stream), acknowledged():
        print_json(document(outcome, node, change) | more)


def document(outcome: str, node: str, change: Change) -> dict[str, Any]:
    """A change without its values. One that was only planned has no id: it is composed anew when it is published."""
    header = change.header
    return {
        "outcome": outcome,
        "change": None if outcome == "planned" else change.id.hex(),
        "agent": node,
        "activation": None if header.activation_ms is None else json_time(header.activation_ms),
        **json_reason(header.comment),
        "entries": [
            {
                "key": one.entry.key,
                "variant": one.entry.variant,
                "operation": one.entry.operation.name.lower(),
                **json_reach(one.entry),
            }
            for one in change.versions
        ],
    }
