"""Streams: over which near links the changes of one writer go, learned from the first of them.

The first change of a writer is announced, and every node pulls it from whoever announces
first. Whom it has pulled from pushes to it from then on, so that the next one comes in one
copy over one one-way time a hop: a Plumtree (J. Leitão, J. Pereira, L. Rodrigues,
"Epidemic broadcast trees", 2007) for each of the latest writers. One tree for all of them
would be deep for most, and this one costs no message to make.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

from .environment import LinkId

StreamTag: TypeAlias = int
"""32 bits that stand for a writer."""

STREAMS_MAX: Final = 64
"""Writers that are told apart, the latest: a writer is a key at an agent, and few publish often."""


def stream_of(writer_id: bytes) -> StreamTag:
    """The tag of a writer. Two with one tag only teach each other badly."""
    return int.from_bytes(writer_id[:4], "big")


class Streams:
    """For each of the latest writers and each near link, whether the peer is pushed to."""

    def __init__(self) -> None:
        self._streams: OrderedDict[StreamTag, dict[LinkId, bool]] = OrderedDict()

    def pushes(self, stream: StreamTag, link_id: LinkId) -> bool | None:
        """Whether the peer gets this writer's changes from here; None while that is not known."""
        learned = self._streams.get(stream)
        return None if learned is None else learned.get(link_id)

    def set(self, stream: StreamTag, link_id: LinkId, *, pushed: bool) -> None:
        """Note that the peer gets this writer's changes from here, or from elsewhere."""
        learned = self._streams.get(stream)
        if learned is None:
            if len(self._streams) == STREAMS_MAX:
                self._streams.popitem(last=False)
            learned = self._streams[stream] = {}
        learned[link_id] = pushed
        self._streams.move_to_end(stream)

    def decline(self, stream: StreamTag, link_id: LinkId) -> None:
        """The peer has asked for no pushes; of a writer of whom nothing is known that teaches nothing."""
        learned = self._streams.get(stream)
        if learned is not None:
            learned[link_id] = False

    def forget(self, link_id: LinkId) -> None:
        """This link is no more, or leads far."""
        for learned in self._streams.values():
            learned.pop(link_id, None)
