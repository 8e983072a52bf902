"""A snapshot: everything that a program can read at one moment, which never changes.

A cell is what one key gives, already chosen; what it is read as is kept, so that the next read
of a number is two look-ups. Any thread may read: two that read a cell first both do the work.

Knows nothing of agents and of how a snapshot comes about (see `follower`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from ..model.entry import ValueType
from ..model.errors import InvalidInput, StrictRead, WrongType
from ..model.key import check_key, is_system_key
from ..model.version import Version
from ..trust.strict import strict_over
from .cell_map import CellMap
from .overrides import Overrides, variable_of
from .value import Content, copied, plain, read_as

T = TypeVar("T")
TREES: Final = (dict, list)
"""They could be changed by who has read them, so that each read gives a copy."""

CHECKED_KEYS_MAX: Final = 4_096
"""Keys without a value that a program goes on reading: their form is checked once."""


class Source(enum.Enum):
    """Where a value comes from, the first that has one wins: the fallback order."""

    ENVIRONMENT = "environment"
    """A variable GOSSIPCONF_OVERRIDE_… of this process."""
    FILE = "file"
    """The local override file."""
    GOSSIP = "gossip"
    """The cluster, and it has come, or was published here, since this agent started."""
    JOURNAL = "journal"
    """The cluster, and it was on this agent's disk when it started; nothing has replaced it since."""
    DEFAULT = "default"
    """What the program says for a key that has no value."""


class Cell:
    """What one key gives. ``version`` is None for what is overridden."""

    __slots__ = ("_given", "_open", "_origin", "_read", "key", "source", "version")

    def __init__(
        self,
        key: str,
        source: Source,
        version: Version | None = None,
        open_sealed: Callable[[Version], Content] | None = None,
        *,
        origin: str = "",
        given: Content | None = None,
    ) -> None:
        """Of the cluster's ``version``, for which ``open_sealed`` opens what is sealed; or of what overrides it:
        ``origin`` is the variable or the file, ``given`` what that says. Little is done here: there may be 100,000.
        """
        self.key, self.source, self.version = key, source, version
        self._open, self._origin, self._given = open_sealed, origin, given
        self._read: dict[type, Any] | None = None

    @property
    def origin(self) -> str:
        """The variable, the file or the id of the change in hex."""
        return self._origin if self.version is None else self.version.change_id.hex()

    @property
    def _content(self) -> Content:
        if self.version is not None:
            return Content(self.version.entry.type, self.version.entry.value or b"")
        assert self._given is not None
        return self._given

    @property
    def is_sealed(self) -> bool:
        """Whether the value is a secret, of which no error may tell anything."""
        return self._content.type is ValueType.SEALED

    def content(self) -> Content:
        """The value's bytes and their type, opened if it is sealed. Raises SealError."""
        if self.version is not None and self._open is not None and self.is_sealed:
            return self._open(self.version)
        return self._content

    def plain(self) -> Any:
        """The value in plain Python, a copy. Raises SealError, and `value.Unfit` for what cannot be parsed."""
        return plain(self.content())

    def read(self, wanted: type[T]) -> T:
        """The value as ``wanted``. Raises WrongType, SealError, or InvalidInput for a type that none is."""
        known = self._read
        if known is None:
            known = self._read = {}
        found = known.get(wanted)
        if found is None:
            found = known[wanted] = self._convert(wanted)
        return copied(found) if wanted in TREES else found

    def _convert(self, wanted: type[T]) -> T:
        try:
            return read_as(self.key, self.content(), wanted)
        except WrongType:
            if not self.is_sealed:
                raise
        raise WrongType(f"{self.key!r}: {wanted.__name__} is wanted, and the sealed value is not of that type")

    def is_as(self, other: Cell | None) -> bool:
        """Whether readers see the same value of the same origin in both."""
        if other is None or self.source is not other.source:
            return False
        if self.version is None or other.version is None:
            return self._given == other._given
        return self.version.id == other.version.id and self.version.entry == other.version.entry


@dataclass(frozen=True, slots=True)
class Snapshot:
    """cells: by key what has a value
    strict:    the strict prefixes, each with why it cannot be read, or None
    overrides: by which a key may have a value that the cluster has none of
    """

    cells: CellMap[Cell] = field(default_factory=CellMap)
    strict: Mapping[str, StrictRead | None] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)

    def find(self, key: str) -> Cell | None:
        """What ``key`` gives, None if nothing. Raises Fenced or NotAMember, and InvalidInput for what is no key."""
        cell = self.cells.find(key)
        if cell is not None:
            return cell
        _check_own_key(key)
        prefix = strict_over(self.strict, key) if self.strict else None
        if prefix is None:
            return overriding(self.overrides, key) if self.overrides else None
        error = self.strict[prefix]
        if error is not None:
            raise type(error)(str(error))  # a fresh one: it is given a traceback
        return None

    def may_read(self, key: str) -> bool:
        """Whether ``key`` belongs to no strict prefix that cannot be read now."""
        prefix = strict_over(self.strict, key)
        return prefix is None or self.strict[prefix] is None


@lru_cache(CHECKED_KEYS_MAX)
def _check_own_key(key: str) -> None:
    if is_system_key(check_key(key)):
        raise InvalidInput(f"key {key!r}: keys that begin with _ are the system's, and no values")


def overriding(overrides: Overrides, key: str) -> Cell | None:
    """What stands in the place of the cluster's value of ``key`` on this machine."""
    if not overrides:
        return None  # so it is nearly everywhere
    variable = variable_of(key)
    text = overrides.variables.get(variable)
    if text is not None:
        return Cell(key, Source.ENVIRONMENT, origin=variable, given=Content(ValueType.TEXT, text.encode()))
    content = overrides.file.get(key)
    return None if content is None else Cell(key, Source.FILE, origin=str(overrides.path or Path()), given=content)
