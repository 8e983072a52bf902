"""A twin: two nodes of the same seed that are given the same inputs and must put out the same.

Stands in the place of one node of a world. What differs between the two can only come
from something that is not an input: a wall clock, a global generator, state shared
between nodes. (What differs between processes only, such as the order of a set, is seen
by comparing whole runs.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gossipconf.protocol.environment import Emit, Output
from gossipconf.protocol.events import PublishFailed
from gossipconf.protocol.node import Node

INPUTS: Final = frozenset(
    (
        *("start", "connected", "connect_failed", "resolved", "resolve_failed"),
        *("disconnected", "received", "dropped"),
        *("timer", "reserve", "publish", "persisted", "recalled", "ask", "cancel", "say", "stop"),
    )
)
DIFFERENCES_MAX: Final = 10
"""Remembered: after the first the two go different ways."""


class Twin:
    """Looks like a node to the world, which sees the first of the two."""

    def __init__(self, make: Callable[[], Node]) -> None:
        self.both = (make(), make())
        self.differences: list[str] = []

    def __getattr__(self, name: str) -> Any:
        first, second = self.both
        if name not in INPUTS:
            return getattr(first, name)

        def give(*arguments: Any, **named: Any) -> Any:
            answer = getattr(first, name)(*arguments, **named)
            self._compare(f"the answer to {name}", answer, getattr(second, name)(*arguments, **named))
            return answer

        return give

    def take_outputs(self) -> list[Output]:
        """The outputs of the first, which must be those of the second."""
        first, second = (node.take_outputs() for node in self.both)
        if first != second:
            self._compare("the outputs", list(map(_comparable, first)), list(map(_comparable, second)))
        self._compare("the next timer", self.both[0].next_timer_s, self.both[1].next_timer_s)
        return first

    def _compare(self, what: str, one: Any, other: Any) -> None:
        if one != other and len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(f"{what} of two nodes with equal seeds and inputs differ")


def _comparable(output: Output) -> Any:
    """Errors in events are equal if they say the same."""
    if isinstance(output, Emit) and isinstance(output.event, PublishFailed):
        return output.event.token, str(output.event.error)
    return output
