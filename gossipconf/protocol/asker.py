"""The asker: what the node that asks keeps beside its question, and when it asks anew.

Knows tallies and the time; sends nothing (see `acks`).
"""

from __future__ import annotations

from typing import Final

from .events import AckProgress
from .messages import LEASE_MS_MAX
from .question import Question
from .tally import Tally
from .token_bucket import TokenBucket

LEASE_S_MAX: Final = LEASE_MS_MAX / 1000
"""A lease, as in `Ask`."""
PATIENCE_S: Final = 3.0
"""How long an asker waits for a link before it calls it silent: six round trips around the globe and back."""
RENEW_SHARE: Final = 0.7
"""The lease is renewed after this share of it, by a new epoch."""
EPOCHS_PER_S: Final = 0.5
"""Epochs that an asker begins for what is torn."""
EPOCHS_BURST: Final = 3.0
"""And at once: one loss is answered without delay."""
MEND_LEAST_S: Final = 0.01
"""A new epoch waits so long at least for whoever is torn to report elsewhere, and as long as this one has taken."""
MEND_MOST_S: Final = 1.0
"""And no longer: by then all that can mend itself has."""


class Asker:
    """What an asker knows beside the question. Times are monotonic seconds.

    tally:    of this epoch, so far
    before:   of the epoch before, until this one is as far
    torn_s:   when a new epoch is due because something is torn, None if nothing is
    renew_s:  when one is due for the lease
    shown:    the one of the two tallies that the owner was told of last
    told:     what it was told, at told_s
    """

    __slots__ = ("before", "epochs", "question", "renew_s", "shown", "tally", "told", "told_s", "torn_s")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.tally = Tally(0, 0)
        self.before: Tally | None = None
        self.torn_s: float | None = None
        self.renew_s = float("inf")
        self.shown: Tally | None = None
        self.told: AckProgress | None = None
        self.told_s = 0.0
        self.epochs = TokenBucket(EPOCHS_PER_S, EPOCHS_BURST)

    def begin(self, now_s: float) -> None:
        """An epoch begins."""
        self.before = self.shown
        self.torn_s = None
        left_s = self.question.expires_s - now_s
        self.renew_s = now_s + RENEW_SHARE * LEASE_S_MAX if left_s > LEASE_S_MAX else float("inf")

    def look(self, now_s: float) -> AckProgress | None:
        """Take in what the question says now; what the owner must be told, or None if that is nothing new."""
        question = self.question
        age_s = now_s - question.begun_s
        if question.is_changed:
            self.tally = question.tally()
            if not self.tally.torn:
                self.torn_s = None
            elif self.torn_s is None:
                self.torn_s = now_s + min(max(age_s, MEND_LEAST_S), MEND_MOST_S)
        has_begun = self.tally.is_whole or age_s >= PATIENCE_S
        if self.before is None or has_begun or self.tally.total >= self.before.total:
            self.before = None
        shown = self.shown = self.before or self.tally
        assert question.number is not None
        told = AckProgress(
            question.number,
            shown.applied,
            shown.total,
            shown.missing,
            shown.silent,
            shown.more_silent,
            shown.zones,
            # While an epoch begins that only renews the lease, what was complete is.
            complete=shown.is_whole if shown is self.tally else self.told is not None and self.told.complete,
        )
        if told == self.told:
            return None
        self.told, self.told_s = told, now_s
        return told

    def wants_epoch(self, now_s: float) -> bool:
        """Whether a new epoch must begin now, and may."""
        return now_s >= self.renew_s or (self.torn_s is not None and now_s >= self.torn_s and self.epochs.take(now_s))

    def due_s(self, now_s: float) -> float:
        """When to look again even if nothing is heard."""
        due_s = self.renew_s
        if self.torn_s is not None:
            wait_s = max(self.epochs.wait_s(now_s), MEND_LEAST_S)  # rounding must not make it wait for nothing
            due_s = min(due_s, max(self.torn_s, now_s + wait_s))
        if self.before is not None:
            due_s = min(due_s, max(self.question.begun_s + PATIENCE_S, now_s + MEND_LEAST_S))
        return due_s
