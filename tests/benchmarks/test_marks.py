"""Values are found again in any stream, however it is cut."""

from __future__ import annotations

import pytest

from benchmarks.propagation.marks import MARK_BYTES, MarkScanner, marked_value


@pytest.mark.parametrize("size_bytes", [MARK_BYTES, 100, 4_000])
def test_a_value_has_its_size_and_one_mark(size_bytes: int) -> None:
    value = marked_value(42, size_bytes)
    assert len(value) == size_bytes
    assert MarkScanner().feed(value) == [42]
    assert marked_value(42, size_bytes) == value
    assert marked_value(43, size_bytes) != value


@pytest.mark.parametrize("piece_bytes", [1, 3, MARK_BYTES - 1, MARK_BYTES, 64, 10_000])
def test_marks_are_found_once_whatever_the_pieces(piece_bytes: int) -> None:
    stream = b"".join(b"PUT\nkey\n" + marked_value(number, 30) + b"\n" for number in range(20))
    scanner = MarkScanner()
    found = [
        number
        for begin in range(0, len(stream), piece_bytes)
        for number in scanner.feed(stream[begin : begin + piece_bytes])
    ]
    assert found == list(range(20))


def test_what_only_resembles_a_mark_is_none() -> None:
    assert MarkScanner().feed(b"#1234567# #123456789# #abcdefgh#") == []
