"""The command `apply`: make what is published as files say, in one change whose plan is shown first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..expectation import IfVersionOption
from ..output import count, note, say
from ..see.activation import ActivateAtOption
from ..session import open_session
from .publishing import Publishing, publishing
from .reach import reach_of
from .steps import YesOption, publish_shown


@publishing
def apply(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="YAML, TOML, JSON or .properties, or a directory.")],
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="PREFIX", help="Put a file's tree, or a whole directory, under this key."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete keys under the same prefixes that the files do not have.")
    ] = False,
    activate_at: ActivateAtOption = None,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Publish, or propose, a file or a directory of files as one change.

    shop/checkout.yaml below the directory goes under shop/checkout; nested
    mappings become key segments. The plan is shown first: + created, ~ updated,
    - deleted. Every agent applies all of it at once. Sealed values are left alone,
    and so are variants. With --activate-at agents change over by their own clocks.

    A check for drift is --prune --dry-run: it exits with 0 if what is published is as
    the files say, and with 2 if not.

    \b
    Examples:
      gossipconf apply config/
      gossipconf apply checkout.yaml --prefix shop/checkout --prune
      gossipconf apply config/ --prune --dry-run
      gossipconf apply december/ --activate-at "2026-12-01 06:00"
    """
    # Here, so that commands that read no files start without the parsers of YAML and the rest.
    from ..files.documents import load  # noqa: PLC0415
    from .declared import compare  # noqa: PLC0415

    documents = load(path, prefix=None if prefix is None else prefix.removesuffix("/"))
    reach = reach_of(activate_at=activate_at)
    delivery = how.delivery(if_version, reach.activation_ms)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        made = compare(session, documents.entries, documents.sources, documents.prefixes, prune=prune, reach=reach)
        if documents.skipped:
            note(f"skipped: {', '.join(documents.skipped)}")
        if not made.entries:
            say(f"nothing to do: {count(made.unchanged, 'key')} as in {path}")
            return
        text = how.reason()
        publish_shown(session, delivery, signer, made.entries, made.items, text, unchanged=made.unchanged, yes=yes)
