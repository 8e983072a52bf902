"""The virtual clock: a heap of what happens next. Knows time and order, and nothing of what happens."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

Action = Callable[..., None]


class Schedule:
    """Actions in the order of their times; those of one time in the order in which they were planned.

    now_s:       virtual seconds since the start
    events_run:  actions carried out so far
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events_run = 0
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._tie = itertools.count()

    def at(self, time_s: float, action: Action, *arguments: Any) -> None:
        """Call ``action`` at ``time_s``, or now if that has passed."""
        heapq.heappush(self._heap, (max(time_s, self.now_s), next(self._tie), action, arguments))

    def push(self, time_s: float, action: Action, *arguments: Any) -> None:
        """As `at`, for a time that is known not to have passed: the network's, for every message."""
        heapq.heappush(self._heap, (time_s, next(self._tie), action, arguments))

    def later(self, delay_s: float, action: Action, *arguments: Any) -> None:
        """Call ``action`` after ``delay_s``."""
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._tie), action, arguments))

    def run(self, end_s: float) -> None:
        """Let time pass until ``end_s``."""
        heap, pop = self._heap, heapq.heappop
        count = 0
        while heap and heap[0][0] <= end_s:
            self.now_s, _, action, arguments = pop(heap)
            count += 1
            action(*arguments)
        self.events_run += count
        self.now_s = end_s

    def run_until(self, condition: Callable[[], bool], end_s: float) -> bool:
        """Let time pass until ``condition`` holds, at most until ``end_s``; whether it holds."""
        heap, pop = self._heap, heapq.heappop
        while not condition():
            if not heap or heap[0][0] > end_s:
                self.now_s = end_s
                return condition()
            self.now_s, _, action, arguments = pop(heap)
            self.events_run += 1
            action(*arguments)
        return True
