"""What one peer's questions may cost: a token bucket in bytes, refilled with time.

A question of 41 bytes brings up to 1 MiB, and searching for what to send costs time. So
each peer has an allowance. An honest one does not notice: it asks one thing at a time,
and verifies what comes more slowly than the allowance grows. Who has used it up waits;
nothing is refused.

    the bucket, as a meter: Turner, New Directions in Communications, IEEE Communications Magazine 24(10), 1986
"""

from __future__ import annotations

from typing import Final

RATE_BYTES_S: Final = 4 << 20
"""How fast it grows. A core verifies about 4,000 signatures a second beside all else: 1 to 2 MiB of usual changes."""
BURST_BYTES: Final = 64 << 20
"""What may be used at once: a boot of 200,000 changes of 300 bytes, however fast the link and the one who asks."""
QUESTION_BYTES: Final = 128 << 10
"""What a question costs beside the changes that it brings: as much as the largest answer to a walk. At RATE_BYTES_S
that is thirty-two questions a second, of a few milliseconds each."""


class Allowance:
    """One peer's. Times are monotonic seconds."""

    __slots__ = ("_at_s", "_left_bytes")

    def __init__(self, now_s: float) -> None:
        self._left_bytes: float = BURST_BYTES
        self._at_s = now_s

    def is_full(self, now_s: float) -> bool:
        """Whether nothing of it is used: then it need not be remembered."""
        return self._left(now_s) >= BURST_BYTES

    def wait_s(self, now_s: float) -> float:
        """How long the next question has to wait: 0 while anything is left."""
        return max(0.0, -self._left(now_s) / RATE_BYTES_S)

    def spend(self, change_bytes: int, now_s: float) -> None:
        """A question has been answered with so many bytes of changes. What is left may be less than nothing."""
        self._left_bytes = self._left(now_s) - QUESTION_BYTES - change_bytes
        self._at_s = now_s

    def _left(self, now_s: float) -> float:
        return min(BURST_BYTES, self._left_bytes + (now_s - self._at_s) * RATE_BYTES_S)
