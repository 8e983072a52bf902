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
from ..model.merkle import SparseTree
from ..model.version import Version, versions_of
from .hash_tree import HashTree

WRITERS_REMEMBERED_MAX: Final = 10_000
"""Writers whose highest number is remembered for the frontier; each start of a publishing agent makes one."""

DEAD_VERSIONS_MAX: Final = 50_000
"""Ids of dead versions remembered (about 5 MB): a peer that replays old changes must not cause work or writes."""
LARGE_CHANGE_ENTRIES: Final = 64
"""From this size on a change's tree is worth remembering: hashing 10,000 entries takes 50 ms."""
TREES_REMEMBERED_MAX: Final = 16
"""Trees remembered: a few MB each for the largest changes, and few changes are as large."""

Number: TypeAlias = tuple[bytes, int]
"""(writer id, seq): what two different changes must never share."""


@dataclass(slots=True)
class Outcome:
    """What one addition did.

    gained:   versions that became live
    retired:  versions that were superseded or voided, those dead on arrival included, each with a change that
              holds at least that entry
    touched:  ids of changes of which something else is replicated now
    stored:   ids of changes whose stored form is another one now: what must be written
    forks:    (writer, seq) of forks that were found or grew
    """

    gained: list[Version] = field(default_factory=list)
    retired: list[tuple[Version, Change]] = field(default_factory=list)
    touched: dict[bytes, None] = field(default_factory=dict)
    stored: dict[bytes, None] = field(default_factory=dict)
    forks: list[Number] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        """Whether the replicated set is different now."""
        return bool(self.touched)


@dataclass(slots=True)
class _Kept:
    """A change of which something lives: its stored form, and which of the entries in that live.

    The stored form is cut down only when half of it is dead: superseding one entry of
    10,000 must not cost as much as the 10,000, in memory or on disk.
    """

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
        self._dead: OrderedDict[bytes, None] = OrderedDict()  # ids of versions that have died here
        self._trees: OrderedDict[bytes, SparseTree] = OrderedDict()  # change id -> tree over its stored form

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

    def stored(self, change_id: bytes) -> Change | None:
        """What is kept of a change, dead entries included as long as they are fewer than the live ones."""
        kept = self._kept.get(change_id)
        return self._branches.get(change_id) if kept is None else kept.change

    def part(self, change_id: bytes) -> Change | None:
        """What is replicated of a change: its live entries, or the bare header of a fork's branch, or None."""
        kept = self._kept.get(change_id)
        return self._branches.get(change_id) if kept is None else self._cut(kept, kept.live)

    def parts(self) -> Iterator[Change]:
        """What is replicated of every change: enough to rebuild this set."""
        for kept in self._kept.values():
            yield self._cut(kept, kept.live)
        for change_id, header in self._branches.items():
            if change_id not in self._kept:
                yield header

    def holds(self, change: Change) -> bool:
        """Whether adding ``change`` could bring nothing: every entry of it that is here lives, or has died here."""
        kept = self._kept.get(change.id)
        if not change.entries:
            retired = self._retired.get((change.writer_id, change.header.seq))
            return kept is not None or change.id in self._branches or (retired is not None and retired.id == change.id)
        return all(
            (kept is not None and index in kept.live) or change.version_id(index) in self._dead
            for index, _ in change.entries
        )

    def parts_of_items(self, items: Iterable[bytes]) -> list[Change]:
        """The changes that carry the tree ``items`` (whole ids, or their beginnings), each once."""
        wanted: dict[bytes, set[int]] = {}
        for start in items:
            for item in self.tree.starting_with(start):
                change_id, index = self._owners[item]
                indices = wanted.setdefault(change_id, set())
                if index >= 0:
                    indices.add(index)
        return [
            self._cut(self._kept[change_id], indices) if change_id in self._kept else self._branches[change_id]
            for change_id, indices in wanted.items()
        ]

    def _cut(self, kept: _Kept, indices: set[int]) -> Change:
        """A stored change with only some of its entries. The trees of large ones are remembered."""
        change = kept.change
        if len(indices) == len(change.entries):
            return change
        return change.restrict(indices, self.tree_of(change))

    def tree_of(self, change: Change) -> SparseTree:
        """The Merkle tree of ``change``; remembered if it is the stored form of a large one."""
        kept = self._kept.get(change.id)
        if kept is None or kept.change is not change or len(change.entries) < LARGE_CHANGE_ENTRIES:
            return change.tree()
        tree = self._trees.get(change.id)
        if tree is None:
            tree = self._trees[change.id] = change.tree()
            if len(self._trees) > TREES_REMEMBERED_MAX:
                self._trees.popitem(last=False)
        self._trees.move_to_end(change.id)
        return tree

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
        if change.entries:
            self._meet(change)
        if not self._settle_fork(change, outcome):
            for version in versions_of(change):
                self._bury(version, change, outcome)
            return outcome
        kept = self._kept.get(change.id)
        fresh: dict[Slot, list[Version]] = {}
        for version in versions_of(change):
            if kept is not None and version.index in kept.live:
                continue
            if any(rival.supersedes(version) for rival in self._slots.get(version.slot, ())):
                self._bury(version, change, outcome)
            else:
                fresh.setdefault(version.slot, []).append(version)
        if fresh:
            self._keep_part(change, outcome)
            for slot, versions in fresh.items():
                self._add_versions(slot, versions, outcome)
        elif kept is None:
            self._retire(change.restrict(()))
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

    def _add_versions(self, slot: Slot, versions: list[Version], outcome: Outcome) -> None:
        """Add live versions of one change and slot. None of them can supersede another: only rivals are compared."""
        for rival in self._slots.get(slot, ()):
            if any(version.supersedes(rival) for version in versions):
                self._remove_version(rival, outcome)
        change_id = versions[0].change_id
        for version in versions:
            self._own(version.id, change_id, version.index)
            self._kept[change_id].live.add(version.index)
        survivors = (*self._slots.get(slot, ()), *versions)
        self._slots[slot] = tuple(sorted(survivors, key=lambda one: one.precedence, reverse=True))
        outcome.gained.extend(versions)
        outcome.touched[change_id] = None

    def _remove_version(self, version: Version, outcome: Outcome) -> None:
        survivors = tuple(one for one in self._slots[version.slot] if one.id != version.id)
        if survivors:
            self._slots[version.slot] = survivors
        else:
            del self._slots[version.slot]
        self._disown(version.id)
        kept = self._kept[version.change_id]
        kept.live.remove(version.index)
        outcome.touched[version.change_id] = None
        self._bury(version, kept.change, outcome)
        self._slim(kept.change, outcome)

    def _bury(self, version: Version, change: Change, outcome: Outcome) -> None:
        """Remember that a version has died, so that it costs nothing when it comes again."""
        outcome.retired.append((version, change))
        self._dead[version.id] = None
        if len(self._dead) > DEAD_VERSIONS_MAX:
            self._dead.popitem(last=False)

    def _keep_part(self, change: Change, outcome: Outcome) -> None:
        kept = self._kept.get(change.id)
        if kept is None:
            self._kept[change.id] = _Kept(change, set())
            insort(self._numbers.setdefault(change.writer_id, []), (change.header.seq, change.id))
            outcome.stored[change.id] = None
            return
        joined = kept.change.union(change)
        if joined is not kept.change:
            kept.change = joined
            self._trees.pop(change.id, None)
            outcome.stored[change.id] = None

    def _slim(self, change: Change, outcome: Outcome) -> None:
        """Cut the stored form down to what lives once that is half of it or less, and drop it if nothing lives."""
        kept = self._kept.get(change.id)
        if kept is None or len(kept.live) * 2 > len(kept.change.entries):
            return
        outcome.stored[change.id] = None
        if kept.live:
            kept.change = self._cut(kept, kept.live)
            return
        del self._kept[change.id]
        self._trees.pop(change.id, None)
        numbers = self._numbers[change.writer_id]
        numbers.remove((change.header.seq, change.id))
        if not numbers:
            del self._numbers[change.writer_id]
        self._retire(self._branches.get(change.id) or change.restrict(()))

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
                outcome.touched[branch_id] = outcome.stored[branch_id] = None
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
        outcome.touched[branch_id] = outcome.stored[branch_id] = None
        self._dead.clear()  # what this branch has superseded may live again, where somebody still has it
        kept = self._kept.get(branch_id)
        if kept is None:
            return
        for version in list(versions_of(self._cut(kept, kept.live))):
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
