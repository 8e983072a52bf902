"""What can be said of a member's state: as it was told, and when.

Nobody floods its fingerprint at each change. A member's is known from its record, its
signs of life and, of a neighbour, from the comparisons of sync; so it is as old as that.
Equal ones were equal when it said so. One that was told before this node's own last change
says nothing about now: the answer is "unknown", and who wants to know has to ask.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from .environment import Environment

ROOTS_REMEMBERED: Final = 256
"""Own states of the past by which a member that lags is told from one that is ahead: minutes of steady publishing."""


class State(enum.StrEnum):
    """Of a member, as far as this node knows."""

    EQUAL = "equal"
    """The state that it told last is this node's."""
    DIFFERS = "differs"
    """It has told another one since this node's last changed."""
    UNKNOWN = "unknown"
    """It has told nothing since then."""
    SILENT = "silent"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands.

    heard_age_s:  since its last sign of life; None if there was none since this node started
    told_age_s:   since it told its state; None if it did not since this node started
    lag_s:        for how long it has been behind, if it told a state that was this node's once
    """

    state: State
    heard_age_s: float | None
    told_age_s: float | None
    lag_s: float | None


class OwnStates:
    """The states that this node has had, and until when."""

    def __init__(self, environment: Environment, root: bytes) -> None:
        self._environment = environment
        self._left_s: dict[bytes, float] = {}
        self.root = root
        self.since_s = float("-inf")

    def changed(self, root: bytes) -> None:
        """The state is another one now."""
        now_s = self._environment.now.monotonic_s
        self._left_s.pop(self.root, None)  # to the end of the order
        self._left_s[self.root] = now_s
        if len(self._left_s) > ROOTS_REMEMBERED:
            del self._left_s[next(iter(self._left_s))]
        self.root, self.since_s = root, now_s

    def compare(self, root: bytes, told_s: float) -> State:
        """How a state that was told then compares with this node's now."""
        if root == self.root:
            return State.EQUAL
        return State.DIFFERS if told_s >= self.since_s else State.UNKNOWN

    def lag_s(self, root: bytes, now_s: float) -> float | None:
        """For how long this node has left that state; None if it never had it, or has it now."""
        left_s = self._left_s.get(root)
        return None if left_s is None or root == self.root else max(0.0, now_s - left_s)
