"""The shop: where the demo's configuration lies, and which of its keys the story changes.

Knows paths and keys. How files become keys is ``documents``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...model.entry import ValueType
from ...model.errors import ConfigError
from ..files.documents import Documents, load
from ..files.value import TypedValue

PREFIX: Final = "shop"
KEYS_MIN: Final = 200
"""Fewer would not be a realistic configuration of six services."""

WEST_KEY: Final = "shop/shared/flags/kill_switch/payments_wallet"
WEST_VALUE: Final[TypedValue] = (ValueType.JSON, b"true")
"""Something burns on the west side, and somebody throws a switch."""

EAST_KEY: Final = "shop/gateway/rate_limit/anonymous"
EAST_VALUE: Final[TypedValue] = (ValueType.JSON, b"150")
"""The east side halves a limit."""

SHARED_KEY: Final = "shop/checkout/order/hold_minutes"
SHARED_WEST: Final[TypedValue] = (ValueType.JSON, b"30")
SHARED_EAST: Final[TypedValue] = (ValueType.JSON, b"45")
SHARED_SETTLED: Final[TypedValue] = (ValueType.JSON, b"40")
"""Both sides change the same key without knowing of each other, and later agree."""

_HERE: Final = Path(__file__).resolve().parent
PLACES: Final = (_HERE.parents[2] / "examples" / "shop", _HERE / "examples" / "shop")
"""In a checkout, and in an installed wheel."""


def find_shop() -> Path:
    """The directory of the example. Raises ConfigError naming where it was looked for."""
    for place in PLACES:
        if place.is_dir():
            return place
    raise ConfigError(
        f"neither {' nor '.join(map(str, PLACES))} exists, which the demo needs; install gossipconf again"
    )


def load_shop() -> Documents:
    """The example's entries, under the prefix ``shop``. Raises ConfigError if it is not what the story needs."""
    path = find_shop()
    documents = load(path, prefix=PREFIX)
    for key in (WEST_KEY, EAST_KEY, SHARED_KEY):
        if key not in documents.entries:
            raise ConfigError(f"{path} has been changed: the demo needs its key {key!r}")
    if len(documents.entries) < KEYS_MIN:
        raise ConfigError(f"{path} has {len(documents.entries)} keys; the demo wants at least {KEYS_MIN}")
    return documents
