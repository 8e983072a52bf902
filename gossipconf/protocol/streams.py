"""Streams: over which near links the changes of one writer go, learned from the first of them.

The first change of a writer is announced, and every node pulls it from whoever announces
first. Whom it has pulled from pushes to it from then on, so that the next one comes in one
copy over one one-way time a hop: a Plumtree (J. Leitão, J. Pereira, L. Rodrigues,
"Epidemic broadcast trees", 2007) for each of the latest writers. One tree for all of them
would be deep for most, and this one costs no message to make. Who loses the link over which
changes came asks another peer for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .environment import LinkId

StreamTag: TypeAlias = int
"""32 bits that stand for a writer."""

STREAMS_MAX: Final = 512
"""Writers that are told apart, the latest: 25 a second for FRESH_S. A writer is a key at an agent."""


FRESH_S: Final = 20.0
"""How long after a writer's last change its tree is gone by. Links come and go: to learn anew costs two one-way times a
hop, a broken tree fifty milliseconds."""


def stream_of(writer_id: bytes) -> StreamTag:
    """The tag of a writer. Two with one tag only teach each other badly."""
    return int.from_bytes(writer_id[:4], "big")


@dataclass(slots=True)
class _Stream:
    """What is known of one writer.

    used_s:   when its last change came
    pushed:   for each peer, whether it is pushed to
    parent:   the link over which that change came
    earlier:  links whose peers had a change before this node: what they push does not come from here
    """

    used_s: float = float("-inf")
    pushed: dict[LinkId, bool] = field(default_factory=dict)
    parent: LinkId | None = None
    earlier: tuple[LinkId, ...] = ()


class Streams:
    """For each of the latest writers and each near link, whether the peer is pushed to."""

    def __init__(self) -> None:
        self._streams: OrderedDict[StreamTag, _Stream] = OrderedDict()

    def pushes(self, stream: StreamTag, link_id: LinkId) -> bool | None:
        """Whether the peer gets this writer's changes from here; None while that is not known."""
        learned = self._streams.get(stream)
        return None if learned is None else learned.pushed.get(link_id)

    def set(self, stream: StreamTag, link_id: LinkId, *, pushed: bool) -> None:
        """Note that the peer gets this writer's changes from here, or from elsewhere."""
        self._of(stream).pushed[link_id] = pushed

    def begin(self, stream: StreamTag, now_s: float) -> None:
        """A change of this writer is new here: what was learned too long ago does not count."""
        learned = self._of(stream)
        if now_s - learned.used_s > FRESH_S:
            learned.pushed, learned.parent, learned.earlier = {}, None, ()
        learned.used_s = now_s

    def came(self, stream: StreamTag, link_id: LinkId, known: Collection[LinkId]) -> None:
        """Note that a change of this writer came over this link first, and that these peers had it before."""
        learned = self._of(stream)
        learned.parent = link_id
        learned.pushed |= dict.fromkeys(known, False)
        learned.pushed[link_id] = False
        others = tuple(one for one in known if one != link_id)
        learned.earlier = others or learned.earlier

    def asked(self, stream: StreamTag, link_id: LinkId, *, pushed: bool) -> bool:
        """The peer has asked for pushes or for none. Returns whether the writer is known; else that teaches nothing."""
        learned = self._streams.get(stream)
        if learned is not None:
            learned.pushed[link_id] = pushed
        return learned is not None

    def has_parent(self, stream: StreamTag) -> bool:
        """Whether some peer is expected to push this writer's changes."""
        learned = self._streams.get(stream)
        return learned is not None and learned.parent is not None

    def substitutes(self, stream: StreamTag, link_ids: Sequence[LinkId]) -> list[LinkId]:
        """Of these peers those that can be asked for this writer's changes: none that gets them from here, and if
        possible none that gets them from one that does."""
        learned = self._streams[stream]
        others = [one for one in link_ids if not learned.pushed.get(one)]
        return [one for one in others if one in learned.earlier] or others

    def forget(self, link_id: LinkId) -> list[StreamTag]:
        """This link is no more, or leads far. Returns the writers whose changes came over it."""
        orphaned = []
        for stream, learned in self._streams.items():
            learned.pushed.pop(link_id, None)
            if learned.parent == link_id:
                learned.parent = None
                orphaned.append(stream)
        return orphaned

    def _of(self, stream: StreamTag) -> _Stream:
        learned = self._streams.get(stream)
        if learned is None:
            if len(self._streams) == STREAMS_MAX:
                self._streams.popitem(last=False)
            learned = self._streams[stream] = _Stream()
        self._streams.move_to_end(stream)
        return learned
