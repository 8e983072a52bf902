"""Prefixes as people name them, with a slash at the end or without."""

from __future__ import annotations

from typing import Annotated

import typer

from ..model.key import check_prefix

PrefixArgument = Annotated[str, typer.Argument(metavar="PREFIX", help="Only keys under this one. Default: all.")]


def prefix_of(text: str) -> str:
    """``text`` without the slash that people put at the end of a prefix. Raises InvalidInput or LimitExceeded."""
    return check_prefix(text.removesuffix("/"))
