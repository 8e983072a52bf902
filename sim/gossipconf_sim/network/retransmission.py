"""What loss costs on TCP: waits. The laws only, as functions of numbers; knows no wires and no clock.

A lost segment is sent again after a time-out, which doubles with each further loss (RFC
6298). Fast retransmission and tail loss probes, which are sooner when more is under way,
are left out: config is sparse, and most messages are the last for a while.
"""

from __future__ import annotations

from random import Random
from typing import Final

SEGMENT_BYTES: Final = 1_448
"""What one packet carries: an Ethernet frame without the headers of IP and TCP and its time stamps."""
TIMEOUT_MAX_S: Final = 120.0
"""The longest wait between two transmissions, as in Linux."""
TIMEOUT_OF_FIRST_S: Final = 1.0
"""The first wait of a connection that is being opened: it has measured no round trip yet (RFC 6298)."""
WINDOW_BYTES: Final = 10 * SEGMENT_BYTES
"""What is sent without any acknowledgement: TCP's initial window (RFC 6928), to which an idle connection returns."""


def segments(length: int) -> int:
    """Packets that carry ``length`` bytes."""
    return 1 + (length - 1) // SEGMENT_BYTES


def wait_of_lost_s(count: int, loss: float, timeout_s: float, rng: Random) -> float:
    """How much later the last of ``count`` packets is there because some were lost, each with probability ``loss``.

    The most unlucky one is lost so many times; all others are repaired meanwhile. P(lost at most k times) =
    (1 - loss^(k+1))^count.
    """
    draw = rng.random()
    wait_s, all_lost = 0.0, loss
    while draw >= (1 - all_lost) ** count:
        wait_s += timeout_s
        timeout_s = min(2 * timeout_s, TIMEOUT_MAX_S)
        all_lost *= loss
    return wait_s


def next_attempt_s(since_s: float, timeout_s: float, now_s: float) -> float:
    """When what was first sent at ``since_s`` and never acknowledged is sent again, at ``now_s`` or later."""
    attempt_s = since_s
    while attempt_s < now_s:
        attempt_s += timeout_s
        timeout_s = min(2 * timeout_s, TIMEOUT_MAX_S)
    return attempt_s
