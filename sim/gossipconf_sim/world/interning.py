"""What thousands of nodes in one process share: verdicts on signatures, and what identical bytes decode to.

Nothing is skipped and nothing is assumed: each different signature is verified and each
different byte string decoded by the shipped code, once; what comes out is immutable.
So memory and time grow with what is different and not with the number of nodes.
"""

from __future__ import annotations

from typing import Final

from gossipconf.model.change import Change
from gossipconf.protocol.decoders import Decoders
from gossipconf.protocol.messages import Addresses, Message, Roster, decode_message
from gossipconf.protocol.overlay import decode_saved_addresses
from gossipconf.protocol.roster import SavedMembers
from gossipconf.protocol.sighting import Presence
from gossipconf.protocol.zone import ZoneTag
from gossipconf.trust.keys import verify

MESSAGES_REMEMBERED_MAX: Final = 1 << 14
"""Decoded messages kept. Copies of one are under way for less than a second of virtual time."""
PRESENCES_REMEMBERED_MAX: Final = 1 << 18
"""Presence records kept: a node makes one when it starts, and few after that."""


class Interning:
    """One for a world. Errors are not remembered: who sends what is refused pays for it each time."""

    def __init__(self) -> None:
        self.decoders = Decoders(self.message, self.change)
        self._verified: set[tuple[bytes, bytes, bytes]] = set()
        self._changes: dict[bytes, Change] = {}
        self._messages: dict[bytes, Message | None] = {}
        self._forms: dict[bytes, bytes] = {}
        self._addresses: dict[str, str] = {}
        self._presences: dict[bytes, Presence] = {}
        self._saved_members: tuple[bytes | None, SavedMembers] = (None, SavedMembers())

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
            message = self._shared(decode_message(data))
        if len(self._messages) >= MESSAGES_REMEMBERED_MAX:
            self._messages.clear()
        self._messages[data] = message
        return message

    def _shared(self, message: Message | None) -> Message | None:
        """``message`` with the parts that every node remembers for long as the one copy of all."""
        if isinstance(message, Addresses):
            return Addresses(tuple(map(self._address, message.addresses)), message.zones)
        if isinstance(message, Roster):
            if len(self._presences) >= PRESENCES_REMEMBERED_MAX:
                self._presences.clear()
            for one in message.sightings:
                one.presence = self._presences.setdefault(one.presence.wire, one.presence)
        return message

    def _address(self, address: str) -> str:
        return self._addresses.setdefault(address, address)

    def addresses(self, data: bytes | None) -> tuple[tuple[str, ZoneTag], ...]:
        """The address book that was saved as ``data``."""
        return tuple((self._address(address), zone) for address, zone in decode_saved_addresses(data))

    def members(self, data: bytes | None) -> SavedMembers:
        """The members that were saved as ``data``; the latest such bytes are remembered."""
        if data is None or data != self._saved_members[0]:
            self._saved_members = (data, SavedMembers.decode(data))
        return self._saved_members[1]

    def form(self, data: bytes) -> bytes:
        """The one copy of ``data`` that all disks share."""
        return self._forms.setdefault(data, data)
