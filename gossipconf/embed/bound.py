"""Bound models: an object that follows the values under a prefix, always one whole and valid model.

A model is made from one snapshot, so that keys that were published together are seen together.
Where the values do not make one the last good model stays, and the log says why, by key.
Of a strict prefix that may not be read nothing is shown, neither old nor new.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import trio

from ..model.errors import InvalidModel, SealError, StrictRead
from ..model.key import check_prefix, covers
from .follower import Follower
from .model import Unmade, cells_of, check_model, make
from .reading import MISSING
from .snapshot import Snapshot

M = TypeVar("M")

log = logging.getLogger("gossipconf")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the present values do not make a model: the key that is wrong, as far as it is known, and what is wrong."""

    key: str
    reason: str


class Bound(Generic[M]):
    """A model that lives. ``value`` is an attribute look-up; iterating gives each new model, the latest only."""

    def __init__(self, follower: Follower, model: type[M], prefix: str, default: Any = MISSING) -> None:
        """Raises InvalidModel if there is no valid model and no ``default``; Fenced, NotAMember, InvalidInput."""
        check_model(model)
        self.model, self.prefix = model, check_prefix(prefix)
        self.problem: Problem | None = None
        """Why `value` is not of the present values; None if it is."""
        self._follower = follower
        self._value: Any = default
        self._unreadable: StrictRead | None = None
        self._has_ended = self._is_new = False
        self._wake = trio.Event()
        self._make(follower.snapshot)
        if self._unreadable is not None:
            raise self._unreadable
        if self._value is MISSING:
            assert self.problem is not None
            raise InvalidModel(f"{self.problem.key!r}: {self.problem.reason}; no {model.__name__} can be made")
        self._is_new = False
        follower.subscribe(self)

    @property
    def value(self) -> M:
        """The model: of the present values, or the last good one. Raises Fenced or NotAMember.

        Do not change it: everybody who reads it has the same one.
        """
        if self._unreadable is not None:
            raise type(self._unreadable)(str(self._unreadable))
        return self._value  # type: ignore[no-any-return]

    def changed(self, keys: Sequence[str], unreadable: Sequence[str]) -> None:
        """Make the next model, if what changed is under the prefix."""
        if any(covers(self.prefix, key) for key in (*keys, *unreadable)):
            self._make(self._follower.snapshot)

    def ended(self) -> None:
        """The agent has stopped: the last model stays."""
        self._has_ended = True
        self._wake.set()

    def close(self) -> None:
        """Follow nothing any more, and end the iteration."""
        self._follower.unsubscribe(self)
        self.ended()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        await trio.lowlevel.checkpoint()
        while not self._is_new or self._unreadable is not None:
            if self._has_ended:
                raise StopAsyncIteration
            self._wake = trio.Event()
            await self._wake.wait()
        self._is_new = False
        return self.value

    def _make(self, snapshot: Snapshot) -> None:
        before = self.problem
        try:
            following = make(self.model, self.prefix, snapshot)
            is_same = self._value is not MISSING and bool(following == self._value)
        except StrictRead as error:
            self._unreadable = error.with_traceback(None)
            return
        except Unmade as error:
            self._unreadable, self.problem = None, self._problem_of(error, snapshot)
        except SealError as error:
            self._unreadable, self.problem = None, Problem(self.prefix, str(error))
        except Exception as error:  # of the user's class, whose faults must not end the agent
            self._unreadable = None
            self.problem = Problem(self.prefix, f"{self.model.__name__} has failed with a {type(error).__name__}")
            log.debug("%s under %r", self.model.__name__, self.prefix, exc_info=error)
        else:
            self._unreadable = self.problem = None
            if not is_same:
                self._value, self._is_new = following, True
            elif before is not None:
                log.info("%s under %r is valid again", self.model.__name__, self.prefix)
        if self.problem is not None and self.problem != before and self._value is not MISSING:
            log.warning(
                "%r: %s; %s keeps its last good value", self.problem.key, self.problem.reason, self.model.__name__
            )
        if self._is_new or self._unreadable is None:
            self._wake.set()

    def _problem_of(self, error: Unmade, snapshot: Snapshot) -> Problem:
        """In words that tell nothing of secrets: what a model says of one may quote it."""
        key = "/".join(one for one in (self.prefix, *error.path) if one)
        if any(cell.is_sealed for cell in cells_of(self.model, self.prefix, snapshot)):
            return Problem(key, "what is wrong is not told, because the model has a sealed value")
        return Problem(key, error.reason)
