"""Presence: who is there, and which state each node holds.

Each node tells of itself now and then, and soon after its state has changed; the
record is passed on once to every link. Soft state: it is no proof of anything, it
expires, and no decision about config rests on it. What comes within a moment is passed
on in one message.

A first form behind its final interface, for tens of agents: a telling costs as many
messages as the cluster has links. A node that knows of more than MEMBERS_MAX
members tells its neighbours only, and only now and then; it passes nothing on and takes
in nobody but neighbours. It lists nobody but these then: of the others it hears nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..model.encoding import as_array, encode, unpack
from ..model.errors import InvalidInput
from ..store.journal_ops import PutMeta
from .environment import Environment, LinkId
from .link import Link
from .messages import AGE_S_MAX, PRESENCES_MAX, Presence, Roster
from .overlay import Overlay
from .replica import Replica

TELL_S: Final = 10.0
"""How often a node tells of itself when nothing happens."""
SETTLE_S: Final = 0.2
"""Quiet time after a change before its new root is told: a burst is told once."""
TELL_MIN_S: Final = 1.0
"""At most one telling a second, however fast the state changes."""
RELAY_S: Final = 0.05
"""What is heard in this time is passed on together: when many nodes join at once each hears of all others."""
SILENT_S: Final = 3.5 * TELL_S
"""A member not heard of for three tellings is called silent."""
FORGET_S: Final = 24 * 3600.0
"""A silent member is listed for a day, so that an admin sees who is missing."""
CLOCK_SKEW_MAX_MS: Final = 24 * 3_600_000
"""A start later than tomorrow is a lie or a broken clock; it would outrank every honest record for ever."""
SAVE_S: Final = 2.0
"""Delay before a changed list of members is written, so that a burst of joins is one write."""
SAVED_MEMBERS: Final = "members"
"""Name under which the journal keeps who was there."""
MEMBERS_MAX: Final = 64
"""Members, this node included, up to which everybody hears of everybody. A first form, for tens of agents: the cost of
a telling is members times links, so above it each node hears of its neighbours only."""
SAVED_MEMBERS_MAX: Final = 2_000
"""Members read from a journal at most: more than are ever saved, and few enough to hold."""


@dataclass(slots=True)
class Member:
    """The latest presence of a node. Times are monotonic seconds.

    heard_s:     when the latest record was told by its node
    equal_s:     when its root last equalled this node's own
    remembered:  nothing was heard of it since this node started; ``heard_s`` is that start
    passed_s:    when a record of it was last passed on
    """

    presence: Presence
    heard_s: float
    equal_s: float
    remembered: bool = False
    passed_s: float = float("-inf")


class PresenceBoard:
    """Records of all members that were heard of, and the telling of one's own."""

    def __init__(
        self,
        environment: Environment,
        replica: Replica,
        overlay: Overlay,
        *,
        write_meta: Callable[[PutMeta], None],
        remembered: Iterable[Presence] = (),
    ) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._write_meta = write_meta
        self._members: dict[str, Member] = {}
        self._remembered = tuple(remembered)
        self._saved_names: tuple[str, ...] = ()
        self._save_planned = False
        self._started_ms = 0
        self._count = 0
        self._told_root = b""
        self._told_s = float("-inf")
        self._planned = False
        self._fresh: dict[str, LinkId] = {}
        self._relay_s = float("inf")

    def __len__(self) -> int:
        return len(self._members) + 1

    @property
    def is_crowded(self) -> bool:
        """Whether there are too many members for everybody to hear of everybody."""
        return len(self) > MEMBERS_MAX

    def members(self) -> list[Member]:
        """All other members, by name; if there are too many only those heard of lately, which are neighbours."""
        known = self._known()
        if self.is_crowded:
            silent_since_s = self._environment.now.monotonic_s - SILENT_S
            known = [member for member in known if member.heard_s >= silent_since_s and not member.remembered]
        return known

    def _known(self) -> list[Member]:
        return [self._members[name] for name in sorted(self._members)]

    def start(self) -> None:
        """Begin to tell."""
        self._started_ms = self._environment.now.wall_ms
        now_s = self._environment.now.monotonic_s
        for presence in self._remembered:
            if presence.node_id != self._overlay.identity.node_id:
                self._members[presence.node_id] = Member(presence, now_s, now_s, remembered=True)
        self._saved_names = tuple(sorted(self._members))
        self._tell_regularly()

    def stop(self) -> None:
        """Say that this node stops, so that nobody has to wait to miss it."""
        self._tell(stopped=True)

    def own(self) -> Presence:
        """What this node says of itself now."""
        identity = self._overlay.identity
        return Presence(
            node_id=identity.node_id,
            boot=self._overlay.boot,
            started_ms=self._started_ms,
            count=self._count,
            zone=identity.zone,
            address=identity.address,
            root=self._replica.root,
            policy=self._replica.policy_version,
            versions=len(self._replica.live),
            degraded=self._replica.disk_error is not None,
        )

    def link_up(self, link: Link) -> None:
        """Tell a new peer all that is known."""
        known = [self.own(), *(self._aged(member) for member in self._known() if not member.remembered)]
        for first in range(0, len(known), PRESENCES_MAX):
            self._overlay.send(link, Roster(tuple(known[first : first + PRESENCES_MAX])))

    def state_changed(self) -> None:
        """The root is another one: tell soon, unless there are too many who would; these are compared as they tell."""
        if self.is_crowded:
            return
        now_s = self._environment.now.monotonic_s
        root = self._replica.root
        for member in self._members.values():
            if member.presence.root == root:
                member.equal_s = now_s
        if not self._planned:
            self._plan(SETTLE_S)

    def handle(self, link: Link, roster: Roster) -> None:
        """Take in records, and pass on those that are new, soon and together."""
        was_crowded = self.is_crowded  # the record that makes it so is still passed on: the others are to know it too
        names = [one.node_id for one in roster.presences if self._take(one, first_hand=one.node_id == link.node_id)]
        if names and not was_crowded:
            self._fresh.update(dict.fromkeys(names, link.id))
            self._plan_relay(RELAY_S)

    def _plan_relay(self, delay_s: float) -> None:
        """Have the next relay after ``delay_s``, if none comes earlier."""
        at_s = self._environment.now.monotonic_s + delay_s
        if at_s < self._relay_s:
            self._relay_s = at_s
            self._environment.call_at(at_s, lambda: self._planned_relay(at_s))

    def _planned_relay(self, at_s: float) -> None:
        if self._relay_s == at_s:  # else an earlier one has taken its place
            self._relay_s = float("inf")
            self._relay()

    def _relay(self) -> None:
        """Pass on what is fresh: not to whom it came from, unless it came from several, to whom most of it is news.

        Of each member once in the time in which it may tell once; the rest waits. A peer that raises the
        counts of the records that it passes on would make news without end otherwise.
        """
        now_s = self._environment.now.monotonic_s
        members = {name: self._members[name] for name in self._fresh if name in self._members}
        told = [name for name, member in members.items() if now_s >= member.passed_s + 0.9 * TELL_MIN_S]
        sources = frozenset(self._fresh[name] for name in told)
        self._fresh = {name: self._fresh[name] for name in members if name not in told}
        for name in told:
            members[name].passed_s = now_s
        links = [link for link in self._overlay.ready_links() if len(sources) > 1 or link.id not in sources]
        records = [self._aged(members[name]) for name in told]
        for first in range(0, len(records), PRESENCES_MAX):
            self._overlay.send_all(links, Roster(tuple(records[first : first + PRESENCES_MAX])))
        if self._fresh:
            self._plan_relay(TELL_MIN_S)

    def _aged(self, member: Member) -> Presence:
        """A record as it is passed on: with its age."""
        return _of_age(member.presence, self._age_s(member))

    def _age_s(self, member: Member) -> int:
        return min(int(self._environment.now.monotonic_s - member.heard_s), AGE_S_MAX)

    def _take(self, presence: Presence, *, first_hand: bool) -> bool:
        """Keep a record that is newer than the one here, and pass it on.

        First hand, over the link of the node that it speaks of, it is kept in any case: what
        others have said of that node, however new they called it, gives way, and while the
        link lasts they are not heard about it.
        """
        if presence.node_id == self._overlay.identity.node_id:
            if presence.boot != self._overlay.boot and presence.started_ms > self._started_ms:
                self._overlay.report_namesake(presence.boot, presence.address)
            return False
        if presence.started_ms > self._environment.now.wall_ms + CLOCK_SKEW_MAX_MS:
            return False
        now_s = self._environment.now.monotonic_s
        heard_s = now_s - presence.age_s
        presence = _of_age(presence, 0)
        member = self._members.get(presence.node_id)
        if member is None:
            if self.is_crowded and not first_hand:
                return False
            member = self._members[presence.node_id] = Member(presence, heard_s, heard_s)
            newer = True
            self._plan_save()
        else:
            old = member.presence
            newer = (presence.started_ms, presence.boot, presence.count) > (old.started_ms, old.boot, old.count)
            gone = member.remembered or old.stopped or now_s - member.heard_s > SILENT_S
            if not newer and not first_hand and not (gone and presence.boot != old.boot):
                return False
            if not first_hand and self._is_linked(presence.node_id):
                return False
            member.presence = presence
            member.heard_s = heard_s
            member.remembered = False
        if presence.root == self._replica.root:
            member.equal_s = now_s
        return newer

    def _is_linked(self, name: str) -> bool:
        return any(link.node_id == name for link in self._overlay.ready_links())

    def _tell_regularly(self) -> None:
        self._environment.call_later(self._environment.jittered(TELL_S), self._tell_regularly)
        now_s = self._environment.now.monotonic_s
        self._forget(now_s)
        if now_s >= self._told_s + TELL_MIN_S:
            self._tell()
        self._plan_save()

    def _forget(self, now_s: float) -> None:
        """Forget who was silent for a day; and of too many, of whom nothing was heard for the longest time."""
        for name in [name for name, member in self._members.items() if now_s - member.heard_s > FORGET_S]:
            del self._members[name]
        surplus = len(self._members) - MEMBERS_MAX
        if surplus > 0:
            for name in sorted(self._members, key=lambda one: (self._members[one].heard_s, one))[:surplus]:
                del self._members[name]

    def _plan(self, delay_s: float) -> None:
        self._planned = True
        soonest_s = self._told_s + TELL_MIN_S - self._environment.now.monotonic_s
        self._environment.call_later(max(delay_s, soonest_s), self._tell_if_changed)

    def _tell_if_changed(self) -> None:
        self._planned = False
        if self._replica.root == self._told_root or self.is_crowded:
            return
        if self._environment.now.monotonic_s < self._told_s + 0.9 * TELL_MIN_S:
            self._plan(0.0)  # a regular telling has come in between; the tenth keeps rounding from planning for ever
        else:
            self._tell()

    def _tell(self, *, stopped: bool = False) -> None:
        self._count += 1
        self._told_root = self._replica.root
        self._told_s = self._environment.now.monotonic_s
        roster = Roster((dataclasses.replace(self.own(), stopped=stopped),))
        self._overlay.send_all(self._overlay.ready_links(), roster)

    def _plan_save(self) -> None:
        if not self._save_planned:
            self._save_planned = True
            self._environment.call_later(SAVE_S, self._save)

    def _save(self) -> None:
        """Remember who was there, so that an agent that restarts alone can say who is missing."""
        self._save_planned = False
        names = tuple(sorted(self._members))
        if names != self._saved_names:
            self._saved_names = names
            records = [member.presence.to_wire(self._age_s(member)) for member in self._known()]
            self._write_meta(PutMeta(SAVED_MEMBERS, encode(records)))


def _of_age(presence: Presence, age_s: int) -> Presence:
    return presence if presence.age_s == age_s else dataclasses.replace(presence, age_s=age_s)


def decode_saved_members(data: bytes | None) -> tuple[Presence, ...]:
    """The members that were saved; none for what cannot be read: they will be heard of again."""
    if data is None:
        return ()
    try:
        records = as_array(unpack(data), "the saved members", length_max=SAVED_MEMBERS_MAX)
        return tuple(Presence.from_wire(record) for record in records)
    except InvalidInput:
        return ()
