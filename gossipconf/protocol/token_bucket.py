"""A token bucket: so many at once, and so many a second from then on."""

from __future__ import annotations


class TokenBucket:
    """Full at first. Times are monotonic seconds."""

    __slots__ = ("_at_s", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """How long until there is a token; 0 if there is one."""
        if now_s > self._at_s:
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
        return max(0.0, (1 - self._tokens) / self._per_s)

    def take(self, now_s: float) -> bool:
        """Take a token; False if there is none."""
        if self.wait_s(now_s) > 0:
            return False
        self._tokens -= 1
        return True
