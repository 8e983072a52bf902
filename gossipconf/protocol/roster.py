"""The roster: whom this node knows of, bounded, and its digest.

Data only: who tells whom, and when, is for `presence` and its parts. Every change of what
is shared changes the digest at once, so that two nodes can compare their rosters with
eight bytes. The digest is a sum without carry (XOR) of one item for each member, kept for
ROSTER_BUCKETS parts; a member's item names its very record and whether it is suspected.
Whoever wants two different rosters to look alike can do so; it harms itself.

Of too many members those are kept whom this node has met, then those of whom two peers
have told, then those it has known the longest: whoever invents members comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from ..model.encoding import as_array, encode, unpack
from ..model.errors import InvalidInput
from . import fields
from .messages import BUCKET_DIGEST_BYTES, BUCKET_ITEMS_MAX, ROSTER_BUCKETS, ROSTER_DIGEST_BYTES
from .sighting import TAG_BYTES, Presence

MEMBERS_MAX: Final = 2_000
"""Members, this node included, of whom a roster is kept: about 2 MB, and a day's refreshing at 20 bytes a second."""
UNCONFIRMED_MAX: Final = MEMBERS_MAX // 4
"""Members of whom only one peer has told: so much of the roster can one liar fill before anybody repeats it."""
CROWD_KEPT_MAX: Final = 128
"""Members that a node goes on to know when they have become too many: all of those it has links with, eight times."""
SAVED_BYTES_MAX: Final = 512 << 10
"""Saved records: 2,000 usual ones, and few enough to be written again whenever somebody joins."""
SUSPECTED: Final = 0x9E3779B97F4A7C15
"""Factor by which a suspicion changes a member's item: odd, so that items stay different. A summand would not do: of an
even number of suspicions nothing would remain in a sum without carry."""


@dataclass(slots=True)
class Member:
    """The latest record of a node, and what is known of it. Times are monotonic seconds.

    heard_s:      its last sign of life, as far as was told
    since_s:      when this node first knew of it
    root, root_s: the state that it said it holds, and when it said so
    beat:         number of the last sign of life of this record
    met:          whether this node has had a link with it
    teller:       the one peer that has told of it; None once it was met, or others have told too
    remembered:   nothing was heard of it since this node started; ``heard_s`` is that start
    suspected_s:  when a link to it was lost, unrefuted; None if none was
    shared:       whether it counts in the digest: heard of not too long ago
    passed_s:     when a record of it was last passed on
    """

    presence: Presence
    heard_s: float
    since_s: float
    root: bytes
    root_s: float
    bucket: int
    beat: int = 0
    met: bool = False
    teller: str | None = None
    remembered: bool = False
    suspected_s: float | None = None
    shared: bool = False
    passed_s: float = float("-inf")

    @property
    def name(self) -> str:
        """Its node's name."""
        return self.presence.node_id

    @property
    def item(self) -> int:
        """What stands for it in a digest."""
        return item_of(self.presence, self.suspected_s is not None)


def item_of(presence: Presence, suspected: bool) -> int:
    """What stands for a record in a digest."""
    item = int.from_bytes(presence.tag)
    return item * SUSPECTED % (1 << 8 * TAG_BYTES) if suspected else item


class Roster:
    """All other members that are known of, and this node's own record where rosters are compared."""

    def __init__(self, own: Presence) -> None:
        self.crowded = False
        self.own = own
        self._members: dict[str, Member] = {}
        self._tags: dict[bytes, Member] = {}
        self._sums = [0] * ROSTER_BUCKETS
        self._unconfirmed: dict[str, int] = {}
        self._shared = 0
        self._own_bucket = _bucket(own.node_id)
        self._sums[self._own_bucket] ^= item_of(own, False)

    # -- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    @property
    def live_count(self) -> int:
        """Members of whom there was a sign of life not too long ago, this node included."""
        return self._shared + 1

    def get(self, name: str) -> Member | None:
        """The member of this name, or None."""
        return self._members.get(name)

    def tagged(self, tag: bytes) -> Member | None:
        """The member whose latest record has this tag, or None."""
        return self._tags.get(tag)

    def by_name(self) -> list[Member]:
        """All, in the order of their names."""
        return [self._members[name] for name in sorted(self._members)]

    # -- comparing --------------------------------------------------------------------------------

    @property
    def digest(self) -> bytes:
        """Eight bytes that are equal where rosters are."""
        whole = 0
        for one in self._sums:
            whole ^= one
        return whole.to_bytes(ROSTER_DIGEST_BYTES)

    @property
    def bucket_digests(self) -> bytes:
        """The digests of all buckets, one after another."""
        return b"".join(self._bucket_digest(number) for number in range(ROSTER_BUCKETS))

    def _bucket_digest(self, number: int) -> bytes:
        return self._sums[number].to_bytes(ROSTER_DIGEST_BYTES)[-BUCKET_DIGEST_BYTES:]

    def differing_buckets(self, digests: bytes) -> list[tuple[int, bool]]:
        """Buckets whose digest is another one in ``digests``, and whether that is the digest of an empty one."""
        found = []
        for number in range(ROSTER_BUCKETS):
            theirs = digests[number * BUCKET_DIGEST_BYTES : (number + 1) * BUCKET_DIGEST_BYTES]
            if theirs != self._bucket_digest(number):
                found.append((number, not any(theirs)))
        return found

    def items(self, buckets: Iterable[int]) -> dict[int, dict[bytes, Member | None]]:
        """The items of some buckets, and whose they are; None stands for this node. By name of the member."""
        found: dict[int, dict[bytes, Member | None]] = {number: {} for number in buckets}
        for member in self._members.values():
            if member.shared and member.bucket in found:
                found[member.bucket][member.item.to_bytes(TAG_BYTES)] = member
        if self._own_bucket in found:
            found[self._own_bucket][self.own.tag] = None
        return {number: dict(list(items.items())[:BUCKET_ITEMS_MAX]) for number, items in found.items()}

    # -- changing ---------------------------------------------------------------------------------

    def tell(self, own: Presence) -> None:
        """This node has a new record."""
        self._sums[self._own_bucket] ^= item_of(self.own, False) ^ item_of(own, False)
        self.own = own

    def add(self, presence: Presence, now_s: float, heard_s: float, teller: str | None) -> Member:
        """A member that was not known. ``teller``: who has told of it, or None if it was met."""
        member = Member(presence, heard_s, now_s, presence.root, heard_s, _bucket(presence.node_id))
        member.teller = teller
        if teller is not None:
            self._unconfirmed[teller] = self._unconfirmed.get(teller, 0) + 1
        self._members[presence.node_id] = member
        self._tags[presence.tag] = member
        return member

    def replace(self, member: Member, presence: Presence, heard_s: float) -> None:
        """A member has a new record, and nobody suspects that."""
        shared = member.shared
        self.share(member, False)
        self._untag(member)
        member.presence = presence
        member.heard_s = heard_s
        member.root, member.root_s = presence.root, heard_s
        member.beat = 0
        member.suspected_s = None
        member.remembered = False
        self._tags[presence.tag] = member
        self.share(member, shared)

    def share(self, member: Member, shared: bool) -> None:
        """Let a member count in the digest, or no more."""
        if member.shared != shared:
            member.shared = shared
            self._shared += 1 if shared else -1
            self._sums[member.bucket] ^= member.item

    def suspect(self, member: Member, suspected_s: float | None) -> None:
        """A member is suspected since then, or trusted again."""
        shared = member.shared
        self.share(member, False)
        member.suspected_s = suspected_s
        self.share(member, shared)

    def forget(self, member: Member) -> None:
        """Drop a member."""
        self.confirm(member)
        self.share(member, False)
        self._untag(member)
        del self._members[member.name]

    def _untag(self, member: Member) -> None:
        if self._tags.get(member.presence.tag) is member:
            del self._tags[member.presence.tag]

    # -- whom to believe --------------------------------------------------------------------------

    def told_by(self, member: Member, teller: str) -> None:
        """A peer has told of a member: the second one confirms it."""
        if member.teller is not None and member.teller != teller:
            self.confirm(member)

    def confirm(self, member: Member) -> None:
        """It was met, or not only one peer tells of it."""
        if member.teller is not None:
            self._unconfirmed[member.teller] -= 1
            if not self._unconfirmed[member.teller]:
                del self._unconfirmed[member.teller]
            member.teller = None

    def confirm_all(self, teller: str) -> None:
        """A peer holds the same roster: it tells of all."""
        if any(name != teller for name in self._unconfirmed):
            for member in self._members.values():
                self.told_by(member, teller)

    def takes(self, teller: str) -> bool:
        """Whether one more member would be kept, of whom a peer has told and nobody else.

        Makes room at the cost of one that counts no more, if need be.
        """
        if self.crowded or self._unconfirmed.get(teller, 0) >= UNCONFIRMED_MAX:
            return False
        if len(self._members) >= MEMBERS_MAX:
            stale = [member for member in self._members.values() if not member.shared]
            if stale:
                self.forget(min(stale, key=_worth))
        return True

    def shrink(self, linked: Iterable[str]) -> None:
        """Keep CROWD_KEPT_MAX members, and those with a link."""
        kept = frozenset(linked)
        others = sorted((member for member in self._members.values() if member.name not in kept), key=_worth)
        for member in others[: max(0, len(self._members) - CROWD_KEPT_MAX)]:
            self.forget(member)


def _bucket(name: str) -> int:
    return crc32(name.encode()) % ROSTER_BUCKETS


def _worth(member: Member) -> tuple[bool, bool, bool, float, str]:
    """The lowest goes first."""
    return member.shared, member.met, member.teller is None, -member.since_s, member.name


# -- saving -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SavedMembers:
    """Who was there before a restart. ``crowded``: there were more than a roster holds."""

    presences: tuple[Presence, ...] = ()
    crowded: bool = False

    def encode(self) -> bytes:
        """What a journal keeps: as many as fit."""
        size, wires = 0, []
        for presence in self.presences:
            size += len(presence.wire)
            if size > SAVED_BYTES_MAX:
                break
            wires.append(presence.wire)
        return encode([self.crowded, wires])

    @classmethod
    def decode(cls, data: bytes | None) -> SavedMembers:
        """What was saved; nobody for what cannot be read: they will be heard of again."""
        if data is None:
            return cls()
        try:
            crowded, wires = as_array(unpack(data), "the saved members", 2)
            presences = as_array(wires, "the saved records", length_max=2 * MEMBERS_MAX)
            return cls(tuple(Presence.from_wire(wire) for wire in presences), fields.flag(crowded))
        except InvalidInput:
            return cls()
