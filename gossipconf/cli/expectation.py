"""Expectations: what a publish may replace, so that nobody's newer value is lost to it.

Compared with what the agent says is live as it hands out the number to sign under; it
takes no publish that has not seen all that is live there (see `protocol.replica`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import typer

from ..model.entry import Operation, Slot
from ..model.limits import ID_DIGITS_MIN
from ..model.version import Version
from .change_id import begins, is_beginning
from .exits import KeyChanged
from .output import short, slot_in_words

ABSENT: Final = "none"
"""What `--if-version` calls a key without a value: no version of it is live, or only its deletion."""

IfVersionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--if-version",
        metavar="CHANGE|none",
        help="Publish only if each key's live version is of this change (an id's beginning), or with none: if it has "
        "no value. Several may be named. Compared at the agent that is asked: a rival at another one becomes a "
        "conflict that both see.",
    ),
]


def check_names(names: Sequence[str]) -> None:
    """Raises BadParameter if one of what `--if-version` names can be no version."""
    for name in names:
        if name != ABSENT and not is_beginning(name):
            raise typer.BadParameter(
                f"{name!r} is neither {ABSENT!r} nor the start of a change's id, {ID_DIGITS_MIN} or more hex digits",
                param_hint="'--if-version'",
            )


def check_versions(slots: Iterable[Slot], live: Sequence[Version], names: Sequence[str]) -> None:
    """Raises KeyChanged unless what is live in each of `slots` is of the changes that `names` name."""
    if not names:
        return
    values: dict[Slot, list[Version]] = {slot: [] for slot in slots}
    for version in live:
        if version.slot in values and version.entry.operation is Operation.PUT:
            values[version.slot].append(version)
    for slot, versions in values.items():
        if not versions and ABSENT not in names:
            raise KeyChanged(f"{slot_in_words(slot)!r} has no value; nothing was published")
        for version in versions:
            if not any(begins(version.change_id, name) for name in names):
                rivals = f", one of {len(versions)} in conflict" if len(versions) > 1 else ""
                raise KeyChanged(
                    f"{slot_in_words(slot)!r} is at version {short(version.change_id)}{rivals}; nothing was published: "
                    f"see gossipconf get --all {version.entry.key}"
                )


def check_shown(replaced: Sequence[Version], shown: frozenset[bytes] | None) -> None:
    """Raises KeyChanged if a version would be replaced that is not among those that were `shown`."""
    if shown is None:
        return
    changed = sorted({version.entry.key for version in replaced if version.id not in shown})
    if changed:
        raise KeyChanged(
            f"{len(changed)} of the keys changed meanwhile, such as {changed[0]!r}; nothing was published: "
            "run the command again to see the new plan"
        )
