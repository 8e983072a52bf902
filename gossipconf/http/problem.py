"""Errors as clients see them: a status, a word, a sentence and the mend, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import JSONResponse

from ..model.errors import (
    ControlError,
    GossipconfError,
    InvalidInput,
    JournalError,
    LimitExceeded,
    Rejected,
    StaleReservation,
    StrictRead,
)

RETRY_S: Final = 1
"""After which a client may ask again where it is a matter of time."""


class Problem(Exception):
    """What ends a request. ``fix`` says what to do next."""

    def __init__(self, status: int, error: str, message: str, fix: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.fix = fix
        self.headers = headers

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": self.error, "message": self.message, "fix": self.fix}

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body(), self.status, self.headers)


KNOWN: Final[tuple[tuple[type[GossipconfError], int, str], ...]] = (
    (LimitExceeded, 400, "ask for less"),
    (InvalidInput, 400, "mend the request; /api/v1/openapi.json describes it"),
    (StaleReservation, 409, "prepare and sign it again"),
    (JournalError, 503, "make room on the agent's disk, or publish at another agent"),
    (StrictRead, 503, "ask again, or see: gossipconf stage status"),
    (Rejected, 403, "see: gossipconf policy show"),
    (ControlError, 503, "ask again, or ask another agent"),
)
"""What errors of ours mean to a client; the first that fits."""


def problem_of(error: GossipconfError) -> Problem:
    """The problem that an error of ours is."""
    for kind, status, fix in KNOWN:
        if isinstance(error, kind):
            headers = {"Retry-After": str(RETRY_S)} if status == 503 else None
            return Problem(status, type(error).__name__, str(error), fix, headers)
    return Problem(500, type(error).__name__, str(error), "see the agent's log")
