"""Activations: values published now that everybody reads from a moment on, by his own clock.

A change that superseded the present value would take it away at once, so what waits is a
variant of its own, `at-` and the moment: for everybody, and of the lowest ranks, so that who
reads another variant goes on doing so, as with any new value for all. Once its moment has
passed it is what people mean by the key's value. The next plain publish of the key removes it
in the same change, or it would go on being read before what is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from ...model.entry import Entry, delete
from ...model.errors import InvalidInput
from ...model.version import Version
from ...store.resolution import Reader, resolve
from ..instant import now_ms
from ..item import Item
from ..output import moment, note, slot_in_words

PREFIX: Final = "at-"
RANK_LAST: Final = 999
"""Ranks of activations are up to this, below those that people give to variants."""
RANK_STEP: Final = 10
"""Between one activation and the next: room for those that are published later and come into effect between."""

ActivateAtOption = Annotated[
    str | None,
    typer.Option(
        "--activate-at",
        metavar="TIME",
        help="Every agent reads it from this time on, by its own clock, and the present value until then: "
        "'2026-03-01 12:00' (UTC), or 15m from now.",
    ),
]
_ANYBODY: Final = Reader("", {})
_FORM: Final = "%Y%m%dT%H%M%SZ"


def variant_at(time_ms: int) -> str:
    """The variant of what is activated at a whole second."""
    return f"{PREFIX}{datetime.fromtimestamp(time_ms / 1000, UTC).strftime(_FORM)}"


def moment_of(variant: str) -> int | None:
    """The moment that names an activation, or None for any other variant."""
    if not variant.startswith(PREFIX):
        return None
    try:
        found = datetime.strptime(variant.removeprefix(PREFIX), _FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
    time_ms = round(found.timestamp() * 1000)
    return time_ms if variant_at(time_ms) == variant else None  # the parser takes shorter forms too


def is_activation(version: Version) -> bool:
    """Whether this version was published to be read from a moment on."""
    return moment_of(version.entry.variant) is not None


def whole_second(time_ms: int) -> int:
    """The first whole second from a time on: variants are named by seconds."""
    return -(-time_ms // 1000) * 1000


def rank_at(item: Item, time_ms: int) -> int:
    """A rank between those of the activations of `item` before and after. Raises InvalidInput if there is no room."""
    others = [
        (at_ms, version.entry.rank)
        for version in item.versions
        if (at_ms := moment_of(version.entry.variant)) is not None
    ]
    before = max((rank for at_ms, rank in others if at_ms < time_ms), default=0)
    after = min((rank for at_ms, rank in others if at_ms > time_ms), default=None)
    rank = min(before + RANK_STEP, RANK_LAST) if after is None else (before + after) // 2
    if rank <= before or (after is not None and rank >= after):
        raise InvalidInput(
            f"{item.key!r} has so many values with --activate-at that there is no room for this one; make the one in "
            f"force the key's own: gossipconf promote {item.key} --variant {_latest(item)}"
        )
    return rank


def _latest(item: Item) -> str:
    return max(_activations(item).items(), key=lambda pair: pair[1])[0]


def present(item: Item, now_ms: int) -> Version | None:
    """What people call the key's value: an activation whose moment has passed, else the default variant's."""
    versions = [version for version in item.versions if not version.entry.variant or is_activation(version)]
    return resolve(versions, _ANYBODY, now_ms).version


def present_at(item: Item) -> Version | None:
    """What is read of a key if no variant is for somebody, or has expired: what files are compared with."""
    return present(item, now_ms()) or item.default


def removals(item: Item, now_ms: int) -> Sequence[Entry]:
    """What removes the activations of `item` whose moment has passed, as a plain publish must."""
    return [delete(item.key, variant=name) for name, at_ms in _activations(item).items() if at_ms <= now_ms]


def warn_of_waiting(item: Item, now_ms: int) -> None:
    """Say what will take the place of a value that is published now."""
    for name, at_ms in _activations(item).items():
        if at_ms > now_ms:
            note(
                f"note: from {moment(at_ms)} on agents read variant {name} of {item.key} instead; take that back "
                f"with: gossipconf abort {item.key} --variant {name}"
            )


def check_none_waits(entries: Sequence[Entry], now_ms: int) -> None:
    """Raises InvalidInput if one of `entries` puts again what waits: without its moment it would count at once."""
    for entry in entries:
        at_ms = moment_of(entry.variant)
        if at_ms is not None and at_ms > now_ms and entry.value is not None:
            raise InvalidInput(
                f"{slot_in_words(entry.slot)} waits for {moment(at_ms)}, and this change would put it into effect at "
                "once; leave it out, or publish it with: gossipconf put --activate-at"
            )


def _activations(item: Item) -> Mapping[str, int]:
    """The activations of `item` that are no tombstones, by name, with their moments."""
    names = dict.fromkeys(version.entry.variant for version in item.versions)
    return {name: at_ms for name in names if (at_ms := moment_of(name)) is not None and item.holds(name) is not None}
