"""Presence: who is there.

Driven by events. A node tells of itself when it starts, stops, can no longer write or can
again, and when somebody is wrong about it; each such record is passed on once (`relay`).
Who loses a link tells that its peer is missed (`suspicion`). Beyond that there are signs of
life of 16 bytes, the rarer the more members there are, so that what lies or was lost does
not stay for ever; and two peers compare their rosters with a few bytes (`comparison`). So an
idle node sends the same few bytes a second among 8 members as among 2,000.

Soft state: it proves nothing, and no decision about config rests on it. Nobody signs it.
What a liar can do: invent members, up to UNCONFIRMED_MAX for each peer that listens and with
these peers' help until the roster is full, which then holds on to those it knew before; keep
a dead member alive while it goes on lying; say that a live one is gone, or was started anew,
and be believed for a few seconds, or where it says that the victim's own clock is wrong up
to a day, by those who have no link with the victim. What a node says of itself over its own
link prevails there, and whoever has that link tells it what others say.

Above MEMBERS_MAX members there is no roster any more: a node knows its neighbours, and
goes on to know some that it knew before. After a day it counts anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeAlias

from ..store.journal_ops import PutMeta
from .comparison import ROSTER_BYTES, Comparison
from .environment import Environment
from .link import Link
from .messages import PRESENCES_MAX, RosterDigest, RosterItems, Signs
from .messages import Roster as RosterMessage
from .overlay import Overlay
from .relay import Relay
from .replica import Replica
from .roster import MEMBERS_MAX, Member, Roster, SavedMembers
from .sighting import AGE_S_MAX, Beat, Beats, Labels, Presence, Sighting, Suspicion, age_told
from .standing import OwnStates, Standing, State
from .suspicion import FORGET_S, LIFE_MARGIN_S, beat_s, hearsay_s, pause_s, silence_s, suspicion_s

TELL_MIN_S: Final = 1.0
"""At most one telling a second, however fast things change."""
REFUTE_MIN_S: Final = 2.0
"""At most one refutation in this time: half of the shortest time after which a suspicion counts."""
GREETED_MAX: Final = 3
"""New peers that are given this node's latest record at once; those after them find it in the comparison."""
SHOW_ROOT_S: Final = 2.0
"""Pause after a change before neighbours are shown the new state: a burst is shown once."""
SHOW_ROOT_MIN_S: Final = 10.0
"""Neighbours are shown new states at most so often: 45 bytes for each, so 4 a second on a link while all publish."""
FIRST_BEAT_MIN: Final = 0.25
"""Share of the interval of signs of life before which none follows a start, which is one."""
CLOCK_SKEW_MAX_MS: Final = 24 * 3_600_000
"""A start later than tomorrow is a lie or a broken clock; it would outrank every honest record for ever."""
TIDY_S: Final = 60.0
"""How often is looked who is to be forgotten."""
CROWD_S: Final = FORGET_S
"""How long a node that has counted too many members keeps no roster; then it counts anew."""
SAVE_S: Final = 2.0
"""Delay before a changed list of members is written, so that a burst of joins is one write."""
SAVED_PER_S: Final = 100.0
"""A longer list is written more rarely: by as many members later by a second."""
SAVED_MEMBERS: Final = "members"
"""Name under which the journal keeps who was there."""

Message: TypeAlias = RosterMessage | Signs | RosterDigest | RosterItems
MESSAGES: Final = (RosterMessage, Signs, RosterDigest, RosterItems)
"""What presence takes."""


@dataclass(slots=True)
class _Neighbour:
    """A node with a link, and when it was last told what others say of it."""

    link: Link
    warned_s: float = float("-inf")


class PresenceBoard:
    """Who is there, and what is told about it."""

    def __init__(
        self,
        environment: Environment,
        replica: Replica,
        overlay: Overlay,
        *,
        write_meta: Callable[[PutMeta], None],
        remembered: SavedMembers | None = None,
        labels: Labels = (),
    ) -> None:
        self._environment = environment
        self._rng = environment.fork()
        self._replica = replica
        self._overlay = overlay
        self._write_meta = write_meta
        self._remembered = remembered or SavedMembers()
        self._labels = labels
        self._started_ms = 0
        self._count = 0
        self._beat = 0
        self._degraded = False
        self._told_s = float("-inf")
        self._refuted_s = float("-inf")
        self._shown_s = float("-inf")
        self._tell_planned = False
        self._show_planned = False
        self._greeted = 0
        self._crowd_ends_s = float("-inf")
        self._neighbours: dict[str, _Neighbour] = {}
        self._saved_names: tuple[str, ...] = ()
        self._save_planned = False
        self._states = OwnStates(environment, replica.root)
        self._roster = Roster(self.own())
        self._relay = Relay(
            environment,
            overlay,
            self._roster,
            send_records=self._send_records,
            age_s=self._age_s,
            own_beat=lambda: (self._replica.root, Beat(self._roster.own.tag, self._beat, 0)),
        )
        self._comparison = Comparison(
            environment, overlay, self._roster, root=lambda: self._replica.root, sighting=self._sighting
        )

    # -- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._roster) + 1

    @property
    def live_count(self) -> int:
        """Members of whom there was a sign of life not too long ago, this node included."""
        return self._roster.live_count

    @property
    def is_crowded(self) -> bool:
        """Whether there are too many members for a roster, as far as this node or most of its peers know."""
        return self._roster.crowded or self._comparison.peers_crowded

    def members(self) -> list[Member]:
        """All other members, by name; in a crowd, where nobody hears of all, those of whom there are signs of life."""
        known = self._roster.by_name()
        if self.is_crowded:
            known = [member for member in known if self.standing(member).state is not State.SILENT]
        return known

    def address_of(self, node_id: str) -> str | None:
        """Where a member said that it can be dialled, or None."""
        member = self._roster.get(node_id)
        return None if member is None else member.presence.address or None

    def standing(self, member: Member, now_s: float | None = None) -> Standing:
        """How a member stands, as far as this node knows; now, or at the time of its last input."""
        if now_s is None:
            now_s = self._environment.now.monotonic_s
        if member.presence.stopped:
            state = State.STOPPED
        elif not self._is_linked(member.name) and self._is_silent(member, now_s):
            state = State.SILENT
        else:
            state = self._states.compare(member.root, member.root_s)
        return Standing(
            state,
            None if member.remembered else max(0.0, now_s - self._heard_s(member)),
            None if member.root_s == float("-inf") else max(0.0, now_s - member.root_s),
            self._states.lag_s(member.root, now_s),
        )

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
            labels=self._labels,
        )

    def _is_silent(self, member: Member, now_s: float) -> bool:
        count = self._roster.live_count
        suspected_s = member.suspected_s
        if suspected_s is not None and now_s >= suspected_s + suspicion_s(count, self._overlay.health):
            return True
        return member.remembered or now_s - member.heard_s > silence_s(count)

    def _is_gone(self, member: Member) -> bool:
        now_s = self._environment.now.monotonic_s
        return member.presence.stopped or (not self._is_linked(member.name) and self._is_silent(member, now_s))

    def _is_linked(self, name: str) -> bool:
        return name in self._neighbours

    def _heard_s(self, member: Member) -> float:
        """Its last sign of life: of a neighbour, whatever its link has brought."""
        neighbour = self._neighbours.get(member.name)
        return member.heard_s if neighbour is None else max(member.heard_s, neighbour.link.heard_s)

    def _age_s(self, member: Member) -> int:
        """Since its last sign of life, rounded up: it must not look alive longer the more often that is passed on."""
        return max(0, min(ceil(self._environment.now.monotonic_s - self._heard_s(member)), AGE_S_MAX))

    def _sighting(self, member: Member | None) -> Sighting:
        """A record as it is passed on; None stands for this node's own."""
        if member is None:
            return Sighting(self._roster.own)
        suspected_s = member.suspected_s
        doubt_s = None if suspected_s is None else age_told(self._environment.now.monotonic_s - suspected_s)
        return Sighting(member.presence, self._age_s(member), doubt_s)

    # -- inputs -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        now = self._environment.now
        self._started_ms = now.wall_ms
        for presence in self._remembered.presences[:MEMBERS_MAX]:
            if presence.node_id != self._overlay.identity.node_id and self._roster.get(presence.node_id) is None:
                member = self._roster.add(presence, now.monotonic_s, now.monotonic_s, None)
                member.met = member.remembered = True
                member.root_s = float("-inf")
        self._saved_names = tuple(member.name for member in self._roster.by_name())
        if self._remembered.crowded:
            self._enter_crowd()
        self._tell()
        self._plan_beat()
        self._environment.call_later(self._environment.jittered(TIDY_S, self._rng), self._tidy)

    def stop(self) -> None:
        """Say that this node stops, so that nobody has to wait to miss it."""
        self._count += 1
        self._roster.tell(dataclasses.replace(self.own(), stopped=True))
        self._overlay.send_all(self._overlay.ready_links(), RosterMessage((self._sighting(None),)))

    def link_up(self, link: Link) -> None:
        """A new peer: say who this is, if that is news, and compare."""
        self._neighbours[link.node_id] = _Neighbour(link)
        member = self._roster.get(link.node_id)
        if member is not None:
            self._met(member)
            if link.hello is not None and link.hello.boot == member.presence.boot and not member.presence.stopped:
                self._hear(member, link.heard_s, link)
        if self._greeted < GREETED_MAX:
            self._greeted += 1
            self._overlay.send(link, RosterMessage((self._sighting(None),)))
        self._comparison.link_up(link)

    def link_down(self, link: Link) -> None:
        """A peer is gone: by its word, or it is missed after a pause."""
        self._comparison.link_down(link)
        neighbour = self._neighbours.get(link.node_id)
        if neighbour is None or neighbour.link is not link:
            return
        others = [one for one in self._overlay.ready_links() if one.node_id == link.node_id and one is not link]
        if others:
            neighbour.link = others[0]
            return
        member = self._roster.get(link.node_id)
        if member is not None and link.hello is not None and member.presence.boot == link.hello.boot:
            member.heard_s = max(member.heard_s, link.heard_s)
            if link.lost:
                lost_s = self._environment.now.monotonic_s
                delay_s = pause_s(self._overlay.health)
                boot = link.hello.boot
                self._environment.call_later(delay_s, lambda: self._miss(link.node_id, boot, lost_s))
        del self._neighbours[link.node_id]

    def dropped(self, link: Link) -> None:
        """A message to this peer found its queue full: the comparison makes it good."""
        self._comparison.dropped(link)

    def settle(self) -> None:
        """After each input: whether what this node says of itself is another thing now."""
        if (self._replica.disk_error is not None) != self._degraded:
            self._degraded = not self._degraded
            self._plan_tell()

    def state_changed(self) -> None:
        """The root is another one: show the neighbours soon. Others learn it with the next sign of life."""
        self._states.changed(self._replica.root)
        if not self._show_planned and self._neighbours:
            self._show_planned = True
            now_s = self._environment.now.monotonic_s
            at_s = max(now_s + self._environment.jittered(SHOW_ROOT_S, self._rng), self._shown_s + SHOW_ROOT_MIN_S)
            self._environment.call_at(at_s, self._show_root)

    def root_shown(self, link: Link, root: bytes) -> None:
        """A neighbour has shown its state, to us or in a comparison of sync."""
        member = self._roster.get(link.node_id)
        if member is not None:
            member.root, member.root_s = root, self._environment.now.monotonic_s

    def handle(self, link: Link, message: Message) -> None:
        """Take one of MESSAGES."""
        match message:
            case RosterMessage():
                changed = [self._take(link, one, message.news) for one in message.sightings]
                if any(changed):
                    self._plan_save()
                    if not message.news:
                        self._comparison.learned(link)
            case Signs():
                for beats in message.beats:
                    self._take_beats(link, beats)
                for suspicion in message.suspicions:
                    self._take_suspicion(link, suspicion)
            case RosterDigest():
                self.root_shown(link, message.root)
                if self._comparison.handle_digest(link, message):
                    self._roster.confirm_all(link.node_id)
            case RosterItems():
                self._comparison.handle_items(link, message)

    # -- records ----------------------------------------------------------------------------------

    def _take(self, link: Link, sighting: Sighting, news: bool) -> bool:
        """Keep a record that is newer than the one here; whether that changes the roster.

        First hand, over the link of the node that it speaks of, it is kept in any case: what
        others have said of that node, however new they called it, gives way, and while the
        link lasts they are not heard about it.
        """
        presence = sighting.presence
        name = presence.node_id
        member = self._roster.get(name)
        if member is not None and member.presence.tag == presence.tag:
            self._roster.told_by(member, link.node_id)
            self._relay.known_record(name, link)
            return self._compare_signs(member, sighting, link, news)
        if name == self._overlay.identity.node_id:
            self._hear_of_oneself(sighting)
            return False
        first_hand = name == link.node_id
        if not self._is_plausible(sighting) or not (first_hand or self._gives_way(link, member, sighting)):
            return False
        now_s = self._environment.now.monotonic_s
        heard_s = now_s - sighting.age_s
        if member is None:
            if not first_hand and not self._roster.takes(link.node_id):
                return False
            member = self._roster.add(presence, now_s, heard_s, None if first_hand else link.node_id)
            newer = True
        else:
            newer = _order(presence) > _order(member.presence)
            if not newer and member.presence.boot == presence.boot:  # what others have said of it, it does not know
                self._overlay.send(link, RosterMessage((self._sighting(member),), news=False))
            self._roster.replace(member, presence, heard_s)
            self._roster.told_by(member, link.node_id)
        if first_hand or self._is_linked(name):
            self._met(member)
        elif sighting.suspected_age_s is not None:
            self._roster.suspect(member, now_s - sighting.suspected_age_s)
        self._roster.share(member, True)
        if newer and news:
            self._relay.record(name, link)
        most = min(self._environment.tuning.roster_members, MEMBERS_MAX)
        if self._roster.live_count > most and not self._roster.crowded:
            self._relay.flush()  # what makes a crowd is still passed on: the others are to know it too
            self._enter_crowd()
        return True

    def _gives_way(self, link: Link, member: Member | None, sighting: Sighting) -> bool:
        """Whether hearsay about a node counts more than what is known of it."""
        presence = sighting.presence
        name = presence.node_id
        if self._is_linked(name):
            if member is None or presence.rank >= member.presence.rank:
                self._warn(name, RosterMessage((sighting,), news=False))
            return False
        if member is None:
            return sighting.age_s <= hearsay_s(max(self._roster.live_count, self._comparison.members_of(link)))
        if _order(presence) > _order(member.presence):
            return True
        is_alive = sighting.suspected_age_s is None and not presence.stopped
        return presence.boot != member.presence.boot and is_alive and self._is_gone(member)

    def _is_plausible(self, sighting: Sighting) -> bool:
        """Whether a record may be true: not of the far future, and not told more often than a node tells."""
        presence = sighting.presence
        alive_ms = self._environment.now.wall_ms + CLOCK_SKEW_MAX_MS - presence.started_ms
        return alive_ms >= 0 and presence.count <= 1 + alive_ms / (1000 * TELL_MIN_S)

    def _hear_of_oneself(self, sighting: Sighting) -> None:
        presence = sighting.presence
        if not self._is_plausible(sighting):
            return
        if presence.boot == self._overlay.boot:
            doubted = sighting.suspected_age_s is not None or presence != self._roster.own
            if presence.count > self._count or (presence.count == self._count and doubted):
                self._refute(presence.count)
        elif presence.started_ms > self._started_ms:
            self._overlay.report_namesake(presence.boot, presence.address)

    def _warn(self, name: str, message: RosterMessage | Signs) -> None:
        """Tell a neighbour what others say of it, now and then."""
        neighbour = self._neighbours[name]
        now_s = self._environment.now.monotonic_s
        if now_s >= neighbour.warned_s + TELL_MIN_S:
            neighbour.warned_s = now_s
            self._overlay.send(neighbour.link, message)

    def _met(self, member: Member) -> None:
        member.met = True
        self._roster.confirm(member)

    def _counts(self, member: Member) -> bool:
        """Whether a member is in the digest: not one of whom nothing was heard for a long time."""
        age_s = self._environment.now.monotonic_s - self._heard_s(member)
        return not member.remembered and age_s <= hearsay_s(self._roster.live_count)

    # -- suspicions and signs of life -------------------------------------------------------------

    def _compare_signs(self, member: Member, sighting: Sighting, link: Link, news: bool) -> bool:
        """The same record, with what else its teller knows: a suspicion, or a later sign of life where that matters."""
        changed = False
        if member.suspected_s is not None or not member.shared:
            changed = self._hear(member, self._environment.now.monotonic_s - sighting.age_s, link)
        if sighting.suspected_age_s is not None:
            changed = self._suspect(member, sighting.suspected_age_s, link, news=news) or changed
        return changed

    def _take_suspicion(self, link: Link, suspicion: Suspicion) -> None:
        if suspicion.tag == self._roster.own.tag:
            self._refute(self._count)
            return
        member = self._roster.tagged(suspicion.tag)
        if member is not None:
            self._suspect(member, suspicion.age_s, link, news=True)

    def _suspect(self, member: Member, age_s: int, link: Link, *, news: bool) -> bool:
        """Somebody misses a member; whether that is news, and this node knows no better."""
        suspected_s = self._environment.now.monotonic_s - age_s
        if self._is_linked(member.name):
            self._warn(member.name, Signs((), (Suspicion(member.presence.tag, age_s),)))
            return False
        if member.suspected_s is not None:
            self._relay.known_suspicion(member.name, link)
            return False
        if member.presence.stopped or member.heard_s >= suspected_s + LIFE_MARGIN_S:
            return False
        self._roster.suspect(member, suspected_s)
        if news:
            self._relay.suspicion(member.name, link)
        return True

    def _miss(self, name: str, boot: bytes, lost_s: float) -> None:
        """A link was lost a while ago: suspect its peer, if nothing was heard of it since."""
        member = self._roster.get(name)
        if member is None or self._is_linked(name) or member.presence.boot != boot or member.presence.stopped:
            return
        if member.suspected_s is None and member.heard_s <= lost_s:
            self._roster.suspect(member, self._environment.now.monotonic_s)
            self._relay.suspicion(name)

    def _hear(self, member: Member, heard_s: float, link: Link) -> bool:
        """A sign of life of a member's latest record, of then; whether that changes how it is told of.

        It ends a suspicion that is clearly older, or that is about a neighbour: whoever believes it is to compare.
        """
        changed = False
        member.heard_s = max(member.heard_s, heard_s)
        if member.suspected_s is not None and (
            self._is_linked(member.name) or member.heard_s >= member.suspected_s + LIFE_MARGIN_S
        ):
            self._roster.suspect(member, None)
            changed = True
        if not member.shared and self._counts(member):
            self._roster.share(member, True)
            changed = True
        if changed:
            self._comparison.learned(link)
        return changed

    def _take_beats(self, link: Link, beats: Beats) -> None:
        now_s = self._environment.now.monotonic_s
        for beat in beats.beats:
            if beat.tag == self._roster.own.tag:
                if beat.number > self._beat:
                    self._refute(self._count)
                continue
            member = self._roster.tagged(beat.tag)
            if member is None:
                continue
            first_hand = member.name == link.node_id
            if beat.number < member.beat or (not first_hand and self._is_linked(member.name)):
                continue
            if beat.number == member.beat and not first_hand:
                self._relay.known_beat(member.name, link)
                continue
            is_news = beat.number > member.beat
            member.beat = beat.number
            member.root, member.root_s = beats.root, now_s - beat.age_s
            self._hear(member, now_s - beat.age_s, link)
            if is_news:
                self._relay.beat(member.name, link)
            else:
                self._relay.known_beat(member.name, link)

    # -- telling ----------------------------------------------------------------------------------

    def _refute(self, count: int) -> None:
        """Others are wrong about this node: tell what is true, with a number that outranks them."""
        self._count = max(self._count, count)
        self._plan_tell(self._refuted_s + REFUTE_MIN_S)
        self._refuted_s = max(self._refuted_s, self._environment.now.monotonic_s)

    def _plan_tell(self, not_before_s: float = float("-inf")) -> None:
        if not self._tell_planned:
            self._tell_planned = True
            at_s = max(self._environment.now.monotonic_s, self._told_s + TELL_MIN_S, not_before_s)
            self._environment.call_at(at_s, self._tell)

    def _tell(self) -> None:
        """Have a new record, and let it be passed on."""
        self._tell_planned = False
        self._count += 1
        self._beat = 0
        self._told_s = self._environment.now.monotonic_s
        self._degraded = self._replica.disk_error is not None
        self._roster.tell(self.own())
        links = len(self._overlay.ready_links())
        self._greeted = links
        if links:
            self._relay.record(self._overlay.identity.node_id)

    def _plan_beat(self) -> None:
        """Give the first sign of life, at any time of an interval: nodes that start together spread theirs."""
        self._plan_beat_at(self._told_s, FIRST_BEAT_MIN + self._rng.random())

    def _plan_beat_at(self, last_s: float, share: float) -> None:
        """Give one when the last is old enough: by a share of the interval for as many members as there are by then."""
        due_s = last_s + share * beat_s(self._roster.live_count)
        self._environment.call_at(due_s, lambda: self._give_sign(last_s, share))

    def _give_sign(self, last_s: float, share: float) -> None:
        last_s = max(last_s, self._told_s)
        now_s = self._environment.now.monotonic_s
        if now_s < last_s + share * beat_s(self._roster.live_count):
            self._plan_beat_at(last_s, share)
            return
        self._beat += 1
        self._relay.beat(self._overlay.identity.node_id)
        self._plan_beat_at(now_s, self._environment.jittered(1.0, self._rng))

    def _show_root(self) -> None:
        """Show the neighbours this node's state. With the same number as the last sign of life: to them alone."""
        self._show_planned = False
        self._shown_s = self._environment.now.monotonic_s
        beats = Beats(self._replica.root, (Beat(self._roster.own.tag, self._beat, 0),))
        self._overlay.send_all(self._overlay.ready_links(), Signs((beats,), ()))

    def _send_records(self, links: list[Link], members: list[Member | None]) -> None:
        """Send records as news, in messages of about a frame."""
        batch: list[Sighting] = []
        size = 0
        for member in members:
            batch.append(self._sighting(member))
            size += len(batch[-1].presence.wire)
            if size > ROSTER_BYTES or len(batch) == PRESENCES_MAX:
                self._overlay.send_all(links, RosterMessage(tuple(batch)))
                batch, size = [], 0
        if batch:
            self._overlay.send_all(links, RosterMessage(tuple(batch)))

    # -- upkeep -----------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Forget who is gone for long, and count anew after a day in a crowd."""
        self._environment.call_later(self._environment.jittered(TIDY_S, self._rng), self._tidy)
        now_s = self._environment.now.monotonic_s
        for name in self._neighbours:
            if (linked := self._roster.get(name)) is not None:
                linked.heard_s = self._heard_s(linked)
        limit_s = hearsay_s(self._roster.live_count)
        for member in [one for one in self._roster if one.heard_s < now_s - limit_s]:
            self._roster.share(member, False)
            if not member.met or member.heard_s < now_s - max(limit_s, FORGET_S):
                self._roster.forget(member)
        if self._roster.crowded:
            self._roster.shrink(self._neighbours)
            if now_s >= self._crowd_ends_s:
                self._roster.crowded = False
        self._plan_save()

    def _enter_crowd(self) -> None:
        self._roster.crowded = True
        self._crowd_ends_s = self._environment.now.monotonic_s + self._environment.jittered(CROWD_S, self._rng)
        self._roster.shrink(self._neighbours)
        self._plan_save()

    def _plan_save(self) -> None:
        if not self._save_planned:
            self._save_planned = True
            self._environment.call_later(SAVE_S + len(self._roster) / SAVED_PER_S, self._save)

    def _save(self) -> None:
        """Remember who was there, so that an agent that restarts alone can say who is missing."""
        self._save_planned = False
        known = self._roster.by_name()
        names = tuple(member.name for member in known)
        if names != self._saved_names:
            self._saved_names = names
            saved = SavedMembers(tuple(member.presence for member in known), self._roster.crowded)
            self._write_meta(PutMeta(SAVED_MEMBERS, saved.encode()))


def _order(presence: Presence) -> tuple[int, bytes, int, bytes]:
    """The newer record is the higher; of two that claim one number all take the same."""
    return *presence.rank, presence.tag
