"""The neighbourhood: which links are near, and the name that the nodes of one zone agree on (see `zone`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .environment import Environment
from .link import Link
from .messages import ZoneTold
from .zone import TAG_MAX, ZoneTag, tag_of

TELL_S: Final = 0.1
"""Delay before a new tag is told, so that a smaller one that comes meanwhile is told instead."""
FAR_TAGS_MAX: Final = 256
"""Tags of zones known to be far, so that no node of these is dialled in search of a near one."""


class Neighbourhood:
    """This node's zone, and where its peers are. ``label`` is what the owner calls the zone, or empty;
    then ``saved`` is the tag that it had before a restart, if it had one."""

    def __init__(self, environment: Environment, label: str, saved: ZoneTag, tell: Callable[[ZoneTold], None]) -> None:
        self.labelled = bool(label)
        self.zone: ZoneTag = tag_of(label) if label else saved
        self._environment = environment
        self._tell = tell
        self._telling = False
        self._far_tags: dict[ZoneTag, None] = {}

    def greeted(self, link: Link) -> None:
        """A peer has said hello: place its link as far as that tells."""
        assert link.hello is not None
        link.zone = tag_of(link.hello.zone)
        self._place(link)

    def measured(self, link: Link) -> None:
        """A round trip was measured: place a link without labels by it."""
        self._place(link)

    def told(self, link: Link, zone: ZoneTag) -> None:
        """A peer without label has told its tag."""
        assert link.hello is not None
        if link.hello.zone:
            return
        link.zone = zone
        self._place(link)

    def may_be_near(self, zone: ZoneTag) -> bool:
        """Whether a node with this tag may be near, as far as is known."""
        if self.labelled:
            return zone in (0, self.zone)
        return zone == self.zone or zone not in self._far_tags

    def knows_label(self, link: Link) -> bool:
        """Whether labels tell where a peer is: both ends have one."""
        return self.labelled and link.hello is not None and bool(link.hello.zone)

    def _place(self, link: Link) -> None:
        assert link.hello is not None
        link.place(self.zone, labelled=self.knows_label(link))
        if link.is_far:
            self._note_far(link.zone)
            if not self.zone:
                self._adopt(self._environment.rng.randint(1, TAG_MAX))
        elif link.near and not self.labelled and not link.hello.zone and 0 < link.zone < (self.zone or TAG_MAX + 1):
            self._adopt(link.zone)

    def _note_far(self, zone: ZoneTag) -> None:
        if zone and zone != self.zone and zone not in self._far_tags:
            if len(self._far_tags) >= FAR_TAGS_MAX:
                del self._far_tags[next(iter(self._far_tags))]
            self._far_tags[zone] = None

    def _adopt(self, zone: ZoneTag) -> None:
        self.zone = zone
        self._far_tags.pop(zone, None)
        if not self._telling:
            self._telling = True
            self._environment.call_later(TELL_S, self._tell_zone)

    def _tell_zone(self) -> None:
        self._telling = False
        self._tell(ZoneTold(self.zone))
