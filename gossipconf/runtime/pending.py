"""Pending: what somebody waits for that another task brings about."""

from __future__ import annotations

import trio

from ..model.errors import GossipconfError


class Pending:
    """What somebody waits for: that something is done, or the error that it ended with."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._error: GossipconfError | None = None

    def finish(self, error: GossipconfError | None) -> None:
        """It is over, well or badly. Only the first time counts."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def wait(self) -> None:
        """Wait until it is over. Raises the error."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
