"""The command `delete`: delete keys, all in one change."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from ...model import entry as entries
from ...model.key import check_variant
from ..exits import NotFound
from ..expectation import IfVersionOption
from ..files.value import check_own_key
from ..instant import now_ms
from ..output import acknowledged, print_step, slot_in_words, version_in_line
from ..see.activation import removals
from ..session import open_session
from .placement import tell_others
from .publishing import Publishing, publishing


@publishing
def delete(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="The keys to delete.")],
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Delete this variant of them, and nothing else.")
    ] = None,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Delete keys, all in one change or none, or propose it.

    The old values stay in the agents' history. Variants are deleted by name: without
    --variant they stay, and those for whom they are go on reading them.

    \b
    Examples:
      gossipconf delete shop/banner
      gossipconf delete shop/a shop/b --comment "moved to shop/c"
      gossipconf delete shop/limit --variant canary
    """
    for key in keys:
        check_own_key(key)
    keys = list(dict.fromkeys(keys))
    name = "" if variant is None else check_variant(variant)
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        items = [session.get(key) for key in keys]
        removed = {item.key: () if name else removals(item, now_ms()) for item in items}
        missing = [
            slot_in_words((item.key, name))
            for item in items
            if item.holds(name) is None and not item.is_conflict and not removed[item.key]
        ]
        if missing:
            raise NotFound(f"nothing is deleted: no value at {', '.join(map(repr, missing))}")
        wanted = [entries.delete(key, variant=name) for key in keys]
        changes = [*wanted, *(one for key in keys for one in removed[key])]
        change = delivery.send(session, changes, signer, how.reason())
        with acknowledged():
            for item, entry in zip(items, wanted, strict=True):
                before = item.holds(name)
                print_step("-", slot_in_words(entry.slot), version_in_line(before) if before else Text())
                for other in removed[item.key]:
                    print_step("-", slot_in_words(other.slot), "(its time had come)")
                tell_others(session, item, entry, now_ms())
            delivery.tell(session, change, len(items))
