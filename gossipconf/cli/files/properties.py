"""Files of ``.properties``, in UTF-8: each line a value, whose dots are nested mappings' keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import javaproperties

from ...model.errors import InvalidInput
from ...runtime.syntax import TREE_READERS

SUFFIXES: Final = (*TREE_READERS, ".properties")
"""The formats of files, by name."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a file, and the mapping keys that lead to it. `source`: `file` or `file:line`."""

    path: tuple[str, ...]
    value: object
    source: str


def read_properties(text: str, name: str) -> Iterator[Leaf]:
    """The values of a file, in its order. Raises InvalidInput."""
    line = 1
    try:
        for element in javaproperties.parse(re.sub(r"\r\n?", "\n", text)):
            if isinstance(element, javaproperties.KeyValue):
                yield Leaf(tuple(element.key.split(".")), element.value, f"{name}:{line}")
            line += element.source.count("\n")
    except javaproperties.InvalidUEscapeError:
        raise InvalidInput(f"{name}:{line}: a \\u escape that is not followed by four hexadecimal digits") from None
