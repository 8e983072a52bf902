"""The observer notes each delivery once, by the listener that told it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from benchmarks.propagation.errors import BenchmarkError
from benchmarks.propagation.marks import marked_value
from benchmarks.propagation.observer import Observer

LIMIT_S = 30.0


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe() for _ in range(3)]
    yield made
    for reader, writer in made:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def test_deliveries_have_their_time_and_listener(pipes: list[tuple[int, int]]) -> None:
    begin_s = time.monotonic()
    with Observer([reader for reader, _ in pipes]) as observer:
        for _, writer in pipes:
            os.write(writer, b"key " + marked_value(7, 40))
        os.write(pipes[1][1], marked_value(8, 40) + marked_value(7, 40))  # told twice
        assert observer.wait([7], LIMIT_S)
        assert not observer.wait([7, 8], 0.0)
        for position in (0, 2):
            os.write(pipes[position][1], marked_value(8, 40))
        assert observer.wait([7, 8], LIMIT_S)
        delivered_s = observer.delivered_s()
    assert sorted(delivered_s) == [7, 8]
    for times in delivered_s.values():
        assert sorted(times) == [0, 1, 2]
        assert all(begin_s <= at_s <= time.monotonic() for at_s in times.values())


def test_a_listener_that_is_cut_off_ends_the_waiting(pipes: list[tuple[int, int]]) -> None:
    with Observer([reader for reader, _ in pipes]) as observer:
        os.close(pipes[2][1])
        pipes[2] = (pipes[2][0], -1)
        with pytest.raises(BenchmarkError, match="listener at agent 2"):
            observer.wait([0], LIMIT_S)
