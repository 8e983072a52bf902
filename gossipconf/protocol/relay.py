"""Passing on what is news about members: once, in batches, to whom it did not come from.

Records and suspicions travel within a fraction of a second, signs of life within half a
minute: at rest most of what has come over several links meanwhile need not be sent back
over any of them, and each crosses each link about once. Knows what is to be passed on
and where it came from; what is worth it is for `presence` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from .environment import Environment, LinkId
from .link import Link
from .messages import ROOTS_MAX, SUSPICIONS_MAX, Signs
from .overlay import Overlay
from .roster import Member, Roster
from .sighting import BEATS_MAX, Beat, Beats, Suspicion, age_told

RELAY_S: Final = 0.2
"""News of this time is passed on together: a crowd that starts at once is told in few messages."""
TELL_MIN_S: Final = 1.0
"""Records of one member are passed on at most once a second, however fast somebody raises their counts."""
BEAT_RELAY_S: Final = 30.0
"""Signs of life of this time are passed on together; over four links they are two minutes under way."""
FLUSH_BYTES: Final = 32 << 10
"""Records passed on at once: half of what a link's queue holds; the rest waits for the next turn."""

Sources = dict[LinkId, None]
T = TypeVar("T")


class Relay:
    """What waits to be passed on."""

    def __init__(
        self,
        environment: Environment,
        overlay: Overlay,
        roster: Roster,
        *,
        send_records: Callable[[list[Link], list[Member | None]], None],
        age_s: Callable[[Member], int],
        own_beat: Callable[[], tuple[bytes, Beat]],
    ) -> None:
        self._environment = environment
        self._rng = environment.fork()
        self._overlay = overlay
        self._roster = roster
        self._send_records = send_records
        self._age_s = age_s
        self._own_beat = own_beat
        self._records: dict[str, Sources] = {}
        self._suspicions: dict[str, Sources] = {}
        self._beats: dict[str, Sources] = {}
        self._flush_s = float("inf")
        self._beats_planned = False

    # -- what is news -----------------------------------------------------------------------------

    def record(self, name: str, source: Link | None = None) -> None:
        """A member, or this node itself, has a new record."""
        self._records[name] = _from(source)
        self._plan(RELAY_S)

    def suspicion(self, name: str, source: Link | None = None) -> None:
        """A member is suspected."""
        self._suspicions[name] = _from(source)
        self._plan(RELAY_S)

    def beat(self, name: str, source: Link | None = None) -> None:
        """A member, or this node itself, has given a sign of life."""
        self._beats[name] = _from(source)
        if not self._beats_planned:
            self._beats_planned = True
            self._environment.call_later(self._environment.jittered(BEAT_RELAY_S, self._rng), self._flush_beats)

    def known_record(self, name: str, link: Link) -> None:
        """The same record has come over another link: it need not go there."""
        _add(self._records, name, link)

    def known_suspicion(self, name: str, link: Link) -> None:
        """The same of a suspicion."""
        _add(self._suspicions, name, link)

    def known_beat(self, name: str, link: Link) -> None:
        """The same of a sign of life."""
        _add(self._beats, name, link)

    # -- passing on -------------------------------------------------------------------------------

    def _plan(self, delay_s: float) -> None:
        """Pass on after about ``delay_s``, if that is not to be done earlier."""
        at_s = self._environment.now.monotonic_s + self._environment.jittered(delay_s, self._rng)
        if at_s < self._flush_s:
            self._flush_s = at_s
            self._environment.call_at(at_s, lambda: self._flush_planned(at_s))

    def _flush_planned(self, at_s: float) -> None:
        if self._flush_s == at_s:  # else an earlier one has taken its place
            self._flush_s = float("inf")
            self.flush()

    def flush(self) -> None:
        """Pass on now what may be passed on; the rest waits."""
        suspicions, self._suspicions = self._suspicions, {}
        for links, names in self._by_links(suspicions):
            self._send_suspicions(links, names)
        now_s = self._environment.now.monotonic_s
        told: dict[str, Sources] = {}
        late: dict[str, Sources] = {}
        budget = FLUSH_BYTES
        for name, sources in self._records.items():
            member = self._member(name)
            if member is None and name != self._roster.own.node_id:
                continue  # forgotten meanwhile
            presence = self._roster.own if member is None else member.presence
            if budget < 0 or (member is not None and now_s < member.passed_s + 0.9 * TELL_MIN_S):
                late[name] = sources
                continue
            budget -= len(presence.wire)
            told[name] = sources
            if member is not None:
                member.passed_s = now_s
        self._records = late
        for links, names in self._by_links(told):
            self._send_records(links, [self._member(name) for name in names])
        if late:
            self._plan(RELAY_S if budget < 0 else TELL_MIN_S)

    def _send_suspicions(self, links: list[Link], names: list[str]) -> None:
        now_s = self._environment.now.monotonic_s
        members = [member for name in names if (member := self._member(name)) is not None]
        doubted = [
            Suspicion(one.presence.tag, age_told(now_s - one.suspected_s))
            for one in members
            if one.suspected_s is not None
        ]
        for part in _parts(doubted, SUSPICIONS_MAX):
            self._overlay.send_all(links, Signs((), tuple(part)))

    def _flush_beats(self) -> None:
        self._beats_planned = False
        beats, self._beats = self._beats, {}
        for links, names in self._by_links(beats):
            by_root: dict[bytes, list[Beat]] = {}
            for name in names:
                member = self._member(name)
                if name == self._roster.own.node_id:
                    root, beat = self._own_beat()
                elif member is not None:
                    root, beat = member.root, Beat(member.presence.tag, member.beat, self._age_s(member))
                else:
                    continue
                by_root.setdefault(root, []).append(beat)
            groups = [Beats(root, tuple(part)) for root, of in by_root.items() for part in _parts(of, BEATS_MAX)]
            for some in _parts(groups, ROOTS_MAX):
                self._overlay.send_all(links, Signs(tuple(some), ()))

    def _by_links(self, news: dict[str, Sources]) -> Iterable[tuple[list[Link], list[str]]]:
        """Links, and what each of them is to be told, those together that are told the same."""
        if not news:
            return []
        alike: dict[tuple[str, ...], list[Link]] = {}
        for link in self._overlay.ready_links():
            names = tuple(name for name, sources in news.items() if link.id not in sources)
            if names:
                alike.setdefault(names, []).append(link)
        return [(links, list(names)) for names, links in alike.items()]

    def _member(self, name: str) -> Member | None:
        return self._roster.get(name)


def _from(source: Link | None) -> Sources:
    return {} if source is None else {source.id: None}


def _add(news: dict[str, Sources], name: str, link: Link) -> None:
    if name in news:
        news[name][link.id] = None


def _parts(items: list[T], length: int) -> list[list[T]]:
    return [items[first : first + length] for first in range(0, len(items), length)]
