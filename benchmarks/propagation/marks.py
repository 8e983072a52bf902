"""Marks: values that say which change they are of, and are found again in whatever bytes a listener reads."""

from __future__ import annotations

import random
import re
import string
from typing import Final

_MARK: Final = re.compile(rb"#([0-9]{8})#")
MARK_BYTES: Final = 10
_FILL: Final = (string.ascii_letters + string.digits).encode()


def marked_value(number: int, size_bytes: int) -> bytes:
    """A value of ``size_bytes`` printable bytes for change ``number``, not compressible to speak of."""
    fill = random.Random(number).choices(_FILL, k=size_bytes - MARK_BYTES)
    return b"#%08d#" % number + bytes(fill)


class MarkScanner:
    """Finds marks in a stream, however it is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[int]:
        """The numbers of the marks that ``data`` completes, in order."""
        data = self._rest + data
        found = list(_MARK.finditer(data))
        end = found[-1].end() if found else 0
        self._rest = data[max(end, len(data) - MARK_BYTES + 1) :]
        return [int(one[1]) for one in found]
