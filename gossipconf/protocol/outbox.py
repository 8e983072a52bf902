"""The outbox: what broadcast sends to each peer, at once or collected for a while.

Collecting (`Tuning.batching_s`) trades time for messages: all that goes to one peer within
that time leaves as one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .environment import Environment, LinkId
from .link import Link
from .messages import BUNDLED_MAX, Bundle, Message, encode_message
from .overlay import Overlay

BUNDLE_BYTES: Final = 65_536
"""A bundle of so many bytes leaves before its time: waiting longer would hardly save messages."""


@dataclass(slots=True)
class _Collected:
    """Encoded messages for one peer."""

    link: Link
    messages: list[bytes] = field(default_factory=list)
    size: int = 0


class Outbox:
    """Sends messages of the broadcast class; with a tuning that says so, several as one."""

    def __init__(self, environment: Environment, overlay: Overlay) -> None:
        self._environment = environment
        self._overlay = overlay
        self._collected: dict[LinkId, _Collected] = {}

    def send(self, links: Sequence[Link], message: Message) -> None:
        """Send ``message`` on each of ``links``; it is encoded once."""
        if not self._environment.tuning.batching_s:
            self._overlay.send_all(links, message)
            return
        data = encode_message(message)
        for link in links:
            self._collect(link, data)

    def link_down(self, link: Link) -> None:
        """Forget what was collected for a peer that is gone."""
        self._collected.pop(link.id, None)

    def _collect(self, link: Link, data: bytes) -> None:
        if not self._collected:
            self._environment.call_later(self._environment.tuning.batching_s, self._flush_all)
        collected = self._collected.setdefault(link.id, _Collected(link))
        if collected.messages and collected.size + len(data) > BUNDLE_BYTES:  # it may be as long as a message can be
            self._flush(collected)
            collected = self._collected[link.id] = _Collected(link)
        collected.messages.append(data)
        collected.size += len(data)
        if collected.size >= BUNDLE_BYTES or len(collected.messages) == BUNDLED_MAX:
            self._flush(self._collected.pop(link.id))

    def _flush_all(self) -> None:
        collected, self._collected = self._collected, {}
        for one in collected.values():
            self._flush(one)

    def _flush(self, collected: _Collected) -> None:
        self._overlay.send(collected.link, Bundle(tuple(collected.messages)))
