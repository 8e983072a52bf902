"""What thousands of nodes in one process share: verdicts on signatures, and what identical bytes decode to.

Nothing is skipped and nothing is assumed: each different signature is verified and each
different byte string decoded by the shipped code, once; what comes out is immutable.
So memory and time grow with what is different and not with the number of nodes.
"""

from __future__ import annotations

from typing import Final

from gossipconf.model.change import Change
from gossipconf.protocol.decoders import Decoders
from gossipconf.protocol.messages import Message, decode_message
from gossipconf.trust.keys import verify

MESSAGES_REMEMBERED_MAX: Final = 1 << 16
"""Decoded messages kept. Copies of one are under way for less than a second of virtual time."""


class Interning:
    """One for a world. Errors are not remembered: who sends what is refused pays for it each time."""

    def __init__(self) -> None:
        self.decoders = Decoders(self.message, self.change)
        self._verified: set[tuple[bytes, bytes, bytes]] = set()
        self._changes: dict[bytes, Change] = {}
        self._messages: dict[bytes, Message | None] = {}
        self._forms: dict[bytes, bytes] = {}

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        """Raise BadSignature unless ``signature`` is ``public``'s over ``message``."""
        key = (public, signature, message)
        if key not in self._verified:
            verify(public, signature, message)
            self._verified.add(key)

    def change(self, data: bytes, cluster_id: bytes) -> Change:
        """The change that ``data`` encodes. Raises what `Change.decode` raises. A world has one cluster."""
        change = self._changes.get(data)
        if change is None:
            change = self._changes[data] = Change.decode(data, cluster_id)
        return change

    def message(self, data: bytes) -> Message | None:
        """The message that ``data`` encodes. Raises ProtocolViolation."""
        try:
            return self._messages[data]
        except KeyError:
            message = decode_message(data)
        if len(self._messages) >= MESSAGES_REMEMBERED_MAX:
            self._messages.clear()
        self._messages[data] = message
        return message

    def form(self, data: bytes) -> bytes:
        """The one copy of ``data`` that all disks share."""
        return self._forms.setdefault(data, data)
