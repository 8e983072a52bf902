"""The observer: one thread that reads what every agent tells, and notes when.

All times are of CLOCK_MONOTONIC, which is one clock for all processes of a machine. A delivery is noted when this
thread has read it: later than the agent has told it, by the time that the thread waits for a processor, and for
every system alike.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from .errors import BenchmarkError
from .marks import MarkScanner

READ_BYTES: Final = 65_536


class Observer:
    """Reads the descriptors ``listeners``, one for each agent, from entry to exit."""

    def __init__(self, listeners: Sequence[int]) -> None:
        self._listeners = tuple(listeners)
        self._delivered: dict[int, dict[int, float]] = {}
        self._lost: int | None = None
        self._changed = threading.Condition()
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def delivered_s(self) -> dict[int, dict[int, float]]:
        """Of each change, when each agent (by its index) told it first."""
        with self._changed:
            return {number: dict(times) for number, times in self._delivered.items()}

    def wait(self, numbers: Sequence[int], timeout_s: float) -> bool:
        """Wait until every agent has told of ``numbers``; False after ``timeout_s``. Raises BenchmarkError."""

        def is_over() -> bool:
            return self._lost is not None or all(
                len(self._delivered.get(number, ())) == len(self._listeners) for number in numbers
            )

        with self._changed:
            told = self._changed.wait_for(is_over, timeout_s)
            if self._lost is not None:
                raise BenchmarkError(f"the listener at agent {self._lost} was cut off")
            return told

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop, selectors.EVENT_READ)
            for index, descriptor in enumerate(self._listeners):
                selector.register(descriptor, selectors.EVENT_READ, (index, MarkScanner()))
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    index, scanner = key.data
                    data = os.read(key.fd, READ_BYTES)
                    self._note(index, scanner.feed(data), time.monotonic())
                    if not data:
                        selector.unregister(key.fd)
                        self._lose(index)

    def _note(self, index: int, numbers: Sequence[int], at_s: float) -> None:
        if numbers:
            with self._changed:
                for number in numbers:
                    self._delivered.setdefault(number, {}).setdefault(index, at_s)
                self._changed.notify_all()

    def _lose(self, index: int) -> None:
        with self._changed:
            self._lost = index
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
