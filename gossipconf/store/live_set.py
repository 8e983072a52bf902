"""The live set: every version that nothing known supersedes, and proof of every fork.

The replicated set has two kinds of items, both in the hash tree:

- live versions;
- branches of forks: bare headers of different changes with the same writer and
  sequence number. Of each fork the FORK_BRANCHES_MAX smallest change ids are kept, dead
  or alive; a version of a further branch is void, as if never received.

State is a function of what has been added, whatever the order:

    live(S ∪ T) = live(live(S) ∪ live(T))       smallest(A ∪ B) = smallest(smallest(A) ∪ smallest(B))

The branches of a fork only ever move towards the smallest ids, so they settle first;
under settled branches the live versions join by the first law. (A version that died
because of a branch that was voided later may be gone from one replica and alive in
another; as the trees differ, sync carries it back.)

Bodies must have been judged before they are added. No I/O, no clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..model.change import Change
from ..model.clock import Clock
from ..model.entry import Slot
from ..model.hashing import FORK_TAG, tagged_hash
from ..model.key import covers
from ..model.limits import FORK_BRANCHES_MAX, RETIRED_HEADERS_MAX
from ..model.version import Version, versions_of
from .hash_tree import HashTree

WRITERS_REMEMBERED_MAX: Final = 10_000
"""Writers whose highest number is remembered for the frontier; each start of a publishing agent makes one."""

Number: TypeAlias = tuple[bytes, int]
"""(writer id, seq): what two different changes must never share."""


@dataclass(slots=True)
class Outcome:
    """What one addition did.

    gained:   versions that became live
    retired:  versions that were superseded or voided, those dead on arrival included, each with a change that
              holds at least that entry
    touched:  ids of changes whose kept part is different now
    forks:    (writer, seq) of forks that were found or grew
    """

    gained: list[Version] = field(default_factory=list)
    retired: list[tuple[Version, Change]] = field(default_factory=list)
    touched: dict[bytes, None] = field(default_factory=dict)
    forks: list[Number] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        """Whether the replicated set is different now."""
        return bool(self.touched)


@dataclass(slots=True)
class _Kept:
    """A change of which something lives: a part that covers at least the live entries, and which these are."""

    change: Change
    live: set[int]


class LiveSet:
    """The replicated set of one node."""

    def __init__(self) -> None:
        self.tree = HashTree()
        self._kept: dict[bytes, _Kept] = {}
        self._slots: dict[Slot, tuple[Version, ...]] = {}
        self._owners: dict[bytes, tuple[bytes, int]] = {}  # tree item -> (change id, index; -1: a fork's branch)
        self._numbers: dict[
            bytes, list[tuple[int, bytes]]
        ] = {}  # writer -> (seq, change id) of kept changes, ascending
        self._forks: dict[Number, dict[bytes, Change]] = {}  # -> change id -> bare header
        self._branches: dict[bytes, Change] = {}  # change id -> bare header, of every fork
        self._retired: OrderedDict[Number, Change] = OrderedDict()  # bare headers of changes without live part
        self._highest: OrderedDict[bytes, int] = OrderedDict()  # writer -> highest seq met, latest writer last
        self._writers_forgotten = False

    # -- reading ----------------------------------------------------------------------------------

    @property
    def root(self) -> bytes:
        """The fingerprint: 16 bytes, equal exactly for equal replicated sets."""
        return self.tree.root

    def __len__(self) -> int:
        """How many versions live."""
        return len(self._owners) - len(self._branches)

    def slot(self, slot: Slot) -> tuple[Version, ...]:
        """The live versions of ``slot``, the winner first."""
        return self._slots.get(slot, ())

    def slots(self) -> Mapping[Slot, tuple[Version, ...]]:
        """Every slot with its live versions, the winner first."""
        return self._slots

    def part(self, change_id: bytes) -> Change | None:
        """What must be kept of a change: its live entries, or the bare header of a fork's branch, or None."""
        kept = self._kept.get(change_id)
        if kept is not None:
            if len(kept.live) < len(kept.change.entries):
                kept.change = kept.change.restrict(kept.live)
            return kept.change
        return self._branches.get(change_id)

    def parts(self) -> Iterator[Change]:
        """What must be kept of every change: enough to rebuild this set."""
        for change_id in list(self._kept):
            part = self.part(change_id)
            assert part is not None
            yield part
        for change_id, header in self._branches.items():
            if change_id not in self._kept:
                yield header

    def holds(self, change: Change) -> bool:
        """Whether adding ``change`` could bring nothing: every entry of it that is here already lives."""
        kept = self._kept.get(change.id)
        return kept is not None and all(index in kept.live for index, _ in change.entries)

    def parts_of_items(self, items: Iterable[bytes]) -> list[Change]:
        """The changes that carry the tree ``items`` (whole ids, or their beginnings), each once."""
        wanted: dict[bytes, set[int]] = {}
        for start in items:
            for item in self.tree.starting_with(start):
                change_id, index = self._owners[item]
                indices = wanted.setdefault(change_id, set())
                if index >= 0:
                    indices.add(index)
        parts = []
        for change_id, indices in wanted.items():
            kept = self._kept.get(change_id)
            part = self.part(change_id) if kept is None else kept.change.restrict(indices)
            assert part is not None
            parts.append(part)
        return parts

    def frontier(self, limit: int) -> tuple[Clock, bool]:
        """{writer: highest seq met} of the ``limit`` writers met last, and whether that is all of them."""
        recent = list(self._highest.items())[-limit:]
        return tuple(sorted(recent)), len(recent) == len(self._highest) and not self._writers_forgotten

    def highest(self, writer: bytes) -> int:
        """The highest sequence number met of ``writer``, 0 if none."""
        return self._highest.get(writer, 0)

    def changes_after(self, writer: bytes, seq: int) -> Iterator[bytes]:
        """Ids of kept changes of ``writer`` with numbers above ``seq``, ascending by number."""
        numbers = self._numbers.get(writer, [])
        for _, change_id in numbers[bisect_left(numbers, (seq + 1, b"")) :]:
            yield change_id

    def writers(self) -> list[bytes]:
        """Writers with kept changes, in order of their ids."""
        return sorted(self._numbers)

    def forks(self) -> Mapping[Number, Mapping[bytes, Change]]:
        """The forks known: (writer, seq) -> change id -> bare header."""
        return self._forks

    @property
    def retired_count(self) -> int:
        """How many headers of dead changes are remembered."""
        return len(self._retired)

    def under(self, prefix: str) -> list[Slot]:
        """Slots whose key ``prefix`` covers, sorted."""
        return sorted(slot for slot in self._slots if covers(prefix, slot[0]))

    # -- adding -----------------------------------------------------------------------------------

    def add(self, change: Change) -> Outcome:
        """Add a judged change, whole or in part."""
        outcome = Outcome()
        self._meet(change)
        if not self._settle_fork(change, outcome):
            outcome.retired.extend((version, change) for version in versions_of(change))
            return outcome
        kept = self._kept.get(change.id)
        gained = [version for version in versions_of(change) if kept is None or version.index not in kept.live]
        self._keep_part(change)
        for version in gained:
            self._add_version(version, change, outcome)
        self._drop_if_dead(change, outcome)
        return outcome

    def remember_header(self, header: Change) -> None:
        """Recall the bare header of a change that died before a restart, so that a fork of it is recognised."""
        self._retire(header)
        self._meet(header)

    def _meet(self, change: Change) -> None:
        writer = change.writer_id
        self._highest[writer] = max(self._highest.get(writer, 0), change.header.seq)
        self._highest.move_to_end(writer)
        if len(self._highest) > WRITERS_REMEMBERED_MAX:
            self._highest.popitem(last=False)
            self._writers_forgotten = True

    def _add_version(self, version: Version, change: Change, outcome: Outcome) -> None:
        rivals = self._slots.get(version.slot, ())
        if any(rival.supersedes(version) for rival in rivals):
            outcome.retired.append((version, change))
            return
        for rival in rivals:
            if version.supersedes(rival):
                self._remove_version(rival, outcome)
        survivors = (*self._slots.get(version.slot, ()), version)
        self._slots[version.slot] = tuple(sorted(survivors, key=lambda one: one.precedence, reverse=True))
        self._own(version.id, version.change_id, version.index)
        self._kept[version.change_id].live.add(version.index)
        outcome.gained.append(version)
        outcome.touched[version.change_id] = None

    def _remove_version(self, version: Version, outcome: Outcome) -> None:
        survivors = tuple(one for one in self._slots[version.slot] if one.id != version.id)
        if survivors:
            self._slots[version.slot] = survivors
        else:
            del self._slots[version.slot]
        self._disown(version.id)
        kept = self._kept[version.change_id]
        kept.live.remove(version.index)
        outcome.retired.append((version, kept.change))
        outcome.touched[version.change_id] = None
        if len(kept.live) * 2 <= len(kept.change.entries):
            change = kept.change
            kept.change = change.restrict(kept.live)
            self._drop_if_dead(change, outcome)

    def _keep_part(self, change: Change) -> None:
        kept = self._kept.get(change.id)
        if kept is not None:
            kept.change = kept.change.union(change)
            return
        self._kept[change.id] = _Kept(change, set())
        insort(self._numbers.setdefault(change.writer_id, []), (change.header.seq, change.id))

    def _drop_if_dead(self, change: Change, outcome: Outcome) -> None:
        kept = self._kept.get(change.id)
        if kept is None or kept.live:
            return
        del self._kept[change.id]
        numbers = self._numbers[change.writer_id]
        numbers.remove((change.header.seq, change.id))
        if not numbers:
            del self._numbers[change.writer_id]
        self._retire(change.restrict(()))

    def _retire(self, header: Change) -> None:
        number = (header.writer_id, header.header.seq)
        if number not in self._forks:
            self._retired[number] = header
            if len(self._retired) > RETIRED_HEADERS_MAX:
                self._retired.popitem(last=False)

    # -- forks ------------------------------------------------------------------------------------

    def _settle_fork(self, change: Change, outcome: Outcome) -> bool:
        """Compare ``change`` with others of its number; False if it is a branch that is not kept."""
        number = (change.writer_id, change.header.seq)
        branches = self._known_branches(number)
        if change.id in branches or not branches:
            return True
        branches[change.id] = change.restrict(())
        kept = dict(sorted(branches.items())[:FORK_BRANCHES_MAX])
        former = self._forks.get(number, {})
        for branch_id in former:
            if branch_id not in kept:
                self._void_branch(branch_id, outcome)
        for branch_id in kept:
            if branch_id not in former:
                self._own(fork_item(branch_id), branch_id, -1)
                self._branches[branch_id] = branches[branch_id]
                outcome.touched[branch_id] = None
        if kept != former:
            self._forks[number] = kept
            self._retired.pop(number, None)
            outcome.forks.append(number)
        return change.id in kept

    def _known_branches(self, number: Number) -> dict[bytes, Change]:
        """Bare headers of every change known with ``number``."""
        if number in self._forks:
            return dict(self._forks[number])
        writer, seq = number
        found = {}
        numbers = self._numbers.get(writer, [])
        for other_seq, change_id in numbers[bisect_left(numbers, (seq, b"")) :]:
            if other_seq != seq:
                break
            found[change_id] = self._kept[change_id].change.restrict(())
        retired = self._retired.get(number)
        if retired is not None:
            found[retired.id] = retired
        return found

    def _void_branch(self, branch_id: bytes, outcome: Outcome) -> None:
        """Remove a branch that smaller ids have pushed out, and what of it lived."""
        self._disown(fork_item(branch_id))
        del self._branches[branch_id]
        outcome.touched[branch_id] = None
        kept = self._kept.get(branch_id)
        if kept is None:
            return
        for version in list(versions_of(kept.change.restrict(kept.live))):
            self._remove_version(version, outcome)

    def _own(self, item: bytes, change_id: bytes, index: int) -> None:
        self.tree.add(item)
        self._owners[item] = (change_id, index)

    def _disown(self, item: bytes) -> None:
        self.tree.remove(item)
        del self._owners[item]


def fork_item(change_id: bytes) -> bytes:
    """The tree item that stands for a fork's branch."""
    return tagged_hash(FORK_TAG, change_id)
