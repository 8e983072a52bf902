"""The live set: every version that nothing known supersedes, and proof of every fork.

The replicated set has three kinds of items, all in the hash tree:

- live versions;
- branches of forks: bare headers of different changes with the same writer and
  sequence number. Of each fork the FORK_BRANCHES_MAX smallest change ids are kept, dead
  or alive; a version of a further branch is void, as if never received, unless it is a policy;
- signers: who has approved a change of which something lives. The sets of approvals of one
  change merge by union, and who lacks one finds out by the tree. Which of several valid
  signatures by one key is kept is no part of it (docs/decisions/015).

State is a function of what has been added, whatever the order:

    live(S ∪ T) = live(live(S) ∪ live(T))       smallest(A ∪ B) = smallest(smallest(A) ∪ smallest(B))

(of approvals too the smallest keys are kept, if there are more than a change may have).

The branches of a fork only ever move towards the smallest ids, so they settle first;
under settled branches the live versions join by the first law. What a floor voids
(`trust.floor`) is left out of S and T alike, whenever it comes. (A version that died
because of one that was voided later may be gone from one replica and alive in
another; as the trees differ, sync carries it back.)

Bodies must have been judged before they are added. No I/O, no clock.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final, TypeAlias

from ..model.change import Change
from ..model.clock import Clock
from ..model.entry import Slot
from ..model.hashing import FORK_TAG, SIGNER_TAG, tagged_hash
from ..model.key import covers
from ..model.limits import FORK_BRANCHES_MAX, RETIRED_HEADERS_MAX, SIGNATURES_MAX
from ..model.merkle import SparseTree
from ..model.version import Version
from ..trust.policy import carries_policy
from .hash_tree import HashTree

WRITERS_REMEMBERED_MAX: Final = 10_000
"""Writers whose highest number is remembered for the frontier; each start of a publishing agent makes one."""

DEAD_VERSIONS_MAX: Final = 50_000
"""Ids of dead versions remembered (about 5 MB): a peer that replays old changes must not cause work or writes."""
LARGE_CHANGE_ENTRIES: Final = 64
"""From this size on a change's tree is worth remembering: hashing 10,000 entries takes 50 ms."""
TREES_REMEMBERED_MAX: Final = 16
"""Trees remembered: a few MB each for the largest changes, and few changes are as large."""

Approvals: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""(key, signature) pairs, as a change has them."""

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


class LiveSet:
    """The replicated set of one node.

    Of a change of which something lives the stored form is kept, which is cut down only
    when half of it is dead: superseding one entry of 10,000 must not cost as much as the
    10,000, in memory or on disk. Nearly always all of it lives; what does not is noted.

    A live key costs a few references here: the versions, slots and ids belong to the
    change, so that many sets in one process share them.
    """

    def __init__(self) -> None:
        self.tree = HashTree()
        self._live: dict[bytes, Version] = {}  # version id ->
        self._slots: dict[Slot, tuple[Version, ...]] = {}
        self._kept: dict[bytes, Change] = {}  # change id -> stored form of a change of which something lives
        self._dead_within: dict[bytes, set[int]] = {}  # change id -> dead entries of its stored form, once it has some
        self._no_branches: set[bytes] = set()  # ids of kept changes that floors let be no branch of a fork
        self._places: dict[bytes, list[tuple[int, bytes]]] = {}  # writer -> places of kept changes, ascending
        self._forks: dict[Number, dict[bytes, Change]] = {}  # -> change id -> bare header
        self._branches: dict[bytes, Change] = {}  # change id -> bare header, of every fork
        self._branch_items: dict[bytes, bytes] = {}  # tree item that stands for a branch -> change id
        self._signer_items: dict[bytes, bytes] = {}  # tree item that stands for an approval -> change id
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
        return len(self._live)

    def slot(self, slot: Slot) -> tuple[Version, ...]:
        """The live versions of ``slot``, the winner first."""
        return self._slots.get(slot, ())

    def slots(self) -> Mapping[Slot, tuple[Version, ...]]:
        """Every slot with its live versions, the winner first."""
        return self._slots

    def stored(self, change_id: bytes) -> Change | None:
        """What is kept of a change, dead entries included as long as they are fewer than the live ones."""
        return self._kept.get(change_id) or self._branches.get(change_id)

    def part(self, change_id: bytes) -> Change | None:
        """What is replicated of a change: its live entries, or the bare header of a fork's branch, or None."""
        kept = self._kept.get(change_id)
        return self._branches.get(change_id) if kept is None else self._living(kept)

    @property
    def part_count(self) -> int:
        """Of how many changes something is replicated."""
        return len(self._kept.keys() | self._branches.keys()) if self._branches else len(self._kept)

    def has_live_part(self, change_id: bytes) -> bool:
        """Whether anything of a change lives."""
        return change_id in self._kept

    def parts(self) -> Iterator[Change]:
        """What is replicated of every change: enough to rebuild this set."""
        for kept in self._kept.values():
            yield self._living(kept)
        for change_id, header in self._branches.items():
            if change_id not in self._kept:
                yield header

    def holds(self, change: Change) -> bool:
        """Whether adding ``change`` could bring nothing: every entry of it that is here lives, or has died here, and
        everybody who has approved it is known to have."""
        if change.approvals and not self._knows_signers(change):
            return False
        if not change.entries:
            return self.has_met(change.id, change.writer_id, change.header.seq)
        return all(version.id in self._live or version.id in self._dead for version in change.versions)

    def _knows_signers(self, change: Change) -> bool:
        """Whether nobody has approved ``change`` who is not known to have. Of what is dead nobody asks."""
        kept = self._kept.get(change.id)
        return kept is None or {key for key, _ in change.approvals} <= {key for key, _ in kept.approvals}

    def has_met(self, change_id: bytes, writer: bytes, seq: int) -> bool:
        """Whether a change was added: something of it lives, or all has died since and its header is remembered."""
        retired = self._retired.get((writer, seq))
        return self.stored(change_id) is not None or (retired is not None and retired.id == change_id)

    def named(self, start: str) -> list[Change]:
        """What is kept of the changes whose ids begin with the hex digits ``start``; of dead ones their headers."""
        known = itertools.chain(self._retired.values(), self._branches.values(), self._kept.values())
        return list({change.id: change for change in known if change.id.hex().startswith(start)}.values())

    def parts_in(self, slots: Iterable[Slot]) -> list[Change]:
        """What lives in ``slots``, as parts of changes that hold nothing else: what a signer replaces there."""
        wanted: dict[bytes, set[int]] = {}
        for slot in slots:
            for version in self.slot(slot):
                wanted.setdefault(version.change_id, set()).add(version.index)
        parts = []
        for change_id, indices in wanted.items():
            part = self.part(change_id)
            assert part is not None
            parts.append(part.restrict(indices))
        return parts

    def by_change(self, items: Iterable[bytes]) -> dict[bytes, set[int]]:
        """The tree ``items`` (whole ids, or their beginnings) as change ids, by policy, and indices of entries.

        What stands for a fork's branch or for an approval has no index.
        """
        found: dict[bytes, set[int]] = {}
        for start in items:
            for item in self.tree.starting_with(start):
                version = self._live.get(item)
                if version is None:
                    found.setdefault(self._branch_items.get(item) or self._signer_items[item], set())
                else:
                    found.setdefault(version.change_id, set()).add(version.index)
        forms = {change_id: self._kept.get(change_id) or self._branches[change_id] for change_id in found}
        return {one: found[one] for one in sorted(found, key=lambda change_id: forms[change_id].header.policy)}

    def _living(self, kept: Change) -> Change:
        """A stored change with those of its entries that live."""
        dead = self._dead_within.get(kept.id)
        return kept if dead is None else self._cut(kept, {index for index, _ in kept.entries if index not in dead})

    def _cut(self, kept: Change, indices: set[int]) -> Change:
        """A stored change with only some of its entries. The trees of large ones are remembered."""
        return kept if len(indices) == len(kept.entries) else kept.restrict(indices, self.tree_of(kept))

    def tree_of(self, change: Change) -> SparseTree:
        """The Merkle tree of ``change``; remembered if it is the stored form of a large one."""
        if self._kept.get(change.id) is not change or len(change.entries) < LARGE_CHANGE_ENTRIES:
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

    def met(self) -> Iterable[tuple[bytes, int]]:
        """(writer, highest seq met) of all writers that are remembered."""
        return self._highest.items()

    def highest(self, writer: bytes) -> int:
        """The highest sequence number met of ``writer``, 0 if none."""
        return self._highest.get(writer, 0)

    def changes_after(self, writer: bytes, seq: int) -> Iterator[bytes]:
        """Ids of kept changes of ``writer`` with numbers above ``seq``, ascending by number."""
        places = self._places.get(writer, [])
        for _, change_id in places[bisect_left(places, (seq + 1, b"")) :]:
            yield change_id

    def writers(self) -> list[bytes]:
        """Writers with kept changes, in order of their ids."""
        return sorted(self._places)

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

    def add(self, change: Change, *, is_branch: bool = True) -> Outcome:
        """Add a judged change, whole or in part, without what is void of it.

        ``is_branch``: whether it counts where two changes have one number; not if a floor says that it is void.
        """
        outcome = Outcome()
        if change.entries:
            self._meet(change)
        if is_branch and not self._settle_fork(change, outcome):
            for version in change.versions:
                self._bury(version, change, outcome)
            return outcome
        fresh: dict[Slot, list[Version]] = {}
        stale: list[Version] = []
        for version in change.versions:
            if version.id in self._live:
                continue
            if any(rival.supersedes(version) for rival in self._slots.get(version.slot, ())):
                self._bury(version, change, outcome)
                stale.append(version)
            else:
                fresh.setdefault(version.slot, []).append(version)
        if fresh:
            self._keep_part(change, outcome)
            if not is_branch:
                self._no_branches.add(change.id)
            self._note_dead(stale)
            for slot, versions in fresh.items():
                # All of a change's versions are a tuple that is there already, and shared: nearly always.
                some = len(versions) < len(change.versions)
                self._add_versions(slot, tuple(versions) if some else change.versions, outcome)
        elif change.id not in self._kept:
            if is_branch:
                self._retire(change.restrict(()))
        elif change.approvals:
            self._join_signers(change, outcome)
        return outcome

    def void(self, is_void: Callable[[Version], bool], is_branch_void: Callable[[Change], bool]) -> Outcome:
        """Remove what has become void, as if it had never been added; every version is asked about.

        Stored forms are cut down to what lives: what is dead in them may be what a policy allows no more, and a journal
        that holds such a form is refused at the next start.
        """
        outcome = Outcome()
        for version in [one for one in self._live.values() if is_void(one)]:
            self._remove_version(version, outcome)
        for change_id in list(self._dead_within):
            self._cut_down(self._kept[change_id], outcome)
        for number, branches in list(self._forks.items()):
            gone = [branch_id for branch_id, header in branches.items() if is_branch_void(header)]
            if gone:
                self._void_branches(number, gone, outcome)
        for number in [number for number, header in self._retired.items() if is_branch_void(header)]:
            del self._retired[number]
        self._count_branches(is_branch_void, outcome)
        self._dead.clear()  # what was superseded by what is void may live again
        self.bury(version for version, _ in outcome.retired)
        return outcome

    def keep_signers(self, may_have_signed: Callable[[Change, bytes], bool]) -> Outcome:
        """Forget approvals: of each change that is kept those by keys that may not have signed it."""
        outcome = Outcome()
        for kept in [one for one in self._kept.values() if one.approvals]:
            left = tuple(pair for pair in kept.approvals if may_have_signed(kept, pair[0]))
            if left != kept.approvals:
                self._kept[kept.id] = replace(kept, approvals=left)
                outcome.stored[kept.id] = None
                self._count_signers(kept.id, kept.approvals, left, outcome)
        return outcome

    def _count_branches(self, is_branch_void: Callable[[Change], bool], outcome: Outcome) -> None:
        """Note which kept changes are no branches of forks now; those that are again may make one."""
        void = {one for one, kept in self._kept.items() if is_branch_void(_bare(kept))}
        for change_id in sorted(self._no_branches - void):
            kept = self._kept[change_id]
            if not self._settle_fork(kept, outcome):
                self._remove_versions(kept, outcome)
            self._no_branches.discard(change_id)  # only now: it would be taken for a branch that is known
        self._no_branches = void & self._kept.keys()

    def bury(self, versions: Iterable[Version]) -> None:
        """Remember that these are dead or void, so that they cost nothing when they come again."""
        for version in versions:
            self._dead[version.id] = None
            if len(self._dead) > DEAD_VERSIONS_MAX:
                self._dead.popitem(last=False)

    @classmethod
    def of(
        cls,
        parts: Iterable[Change],
        frontier: Clock = (),
        is_branch_void: Callable[[Change], bool] | None = None,
    ) -> LiveSet:
        """The set of these judged ``parts``, which are nearly all alone in their slots: a quarter of the work of `add`.

        ``frontier``: numbers of writers met, also of those of whom nothing lives. ``is_branch_void``: what does not
        count where two changes have one number, if floors say that of any.
        """
        live = cls()
        live._highest.update(frontier)
        kept, slots, signer_items = live._kept, live._slots, live._signer_items
        parts = list(parts)
        places, rivals = _places_of(parts)
        crowded = []
        for part in parts:
            if part.id in rivals or (is_branch_void and is_branch_void(part)) or not _take_slots(slots, part.versions):
                crowded.append(part)
                continue
            kept[part.id] = part
            if part.approvals:
                signer_items.update((signer_item(part.id, key), part.id) for key, _ in part.approvals)
        live._live = {version.id: version for part in kept.values() for version in part.versions}
        live.tree = HashTree.of([*live._live, *signer_items])
        live._places = _places_of(kept.values())[0] if crowded else places
        for writer, found in live._places.items():
            live._highest[writer] = max(live._highest.get(writer, 0), found[-1][0])
        for part in crowded:
            live.add(part, is_branch=is_branch_void is None or not is_branch_void(part))
        while len(live._highest) > WRITERS_REMEMBERED_MAX:
            live._highest.popitem(last=False)
            live._writers_forgotten = True
        return live

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

    def _add_versions(self, slot: Slot, versions: tuple[Version, ...], outcome: Outcome) -> None:
        """Add live versions of one change and slot. None of them can supersede another: only rivals are compared."""
        for rival in self._slots.get(slot, ()):
            if any(version.supersedes(rival) for version in versions):
                self._remove_version(rival, outcome)
        change_id = versions[0].change_id
        for version in versions:
            self.tree.add(version.id)
            self._live[version.id] = version
        dead = self._dead_within.get(change_id)
        if dead is not None:
            dead.difference_update(version.index for version in versions)
        together = self._slots.get(slot, ()) + versions
        if len(together) > 1:
            together = tuple(sorted(together, key=lambda one: one.precedence, reverse=True))
        self._slots[slot] = together
        outcome.gained.extend(versions)
        outcome.touched[change_id] = None

    def _remove_version(self, version: Version, outcome: Outcome) -> None:
        survivors = tuple(one for one in self._slots[version.slot] if one.id != version.id)
        if survivors:
            self._slots[version.slot] = survivors
        else:
            del self._slots[version.slot]
        self.tree.remove(version.id)
        del self._live[version.id]
        kept = self._kept[version.change_id]
        self._note_dead((version,))
        outcome.touched[version.change_id] = None
        self._bury(version, kept, outcome)
        self._slim(kept, outcome)

    def _note_dead(self, versions: Iterable[Version]) -> None:
        """Note that these entries of stored forms do not live."""
        for version in versions:
            self._dead_within.setdefault(version.change_id, set()).add(version.index)

    def _bury(self, version: Version, change: Change, outcome: Outcome) -> None:
        outcome.retired.append((version, change))
        self.bury((version,))

    def _keep_part(self, change: Change, outcome: Outcome) -> None:
        kept = self._kept.get(change.id)
        if kept is None:
            retired = self._retired.get((change.writer_id, change.header.seq))
            earlier = retired if retired is not None and retired.id == change.id else self._branches.get(change.id)
            # Never so many that one which is needed would give way; and who may sign a policy no bare header tells.
            if (
                earlier is not None
                and 0 < len(earlier.approvals) < SIGNATURES_MAX - len(change.approvals)
                and not carries_policy(change)
            ):
                change = change.union(earlier)
            self._kept[change.id] = change
            insort(self._places.setdefault(change.writer_id, []), change.place)
            outcome.stored[change.id] = None
            self._count_signers(change.id, (), change.approvals, outcome)
            return
        joined = kept.union(change)
        if joined is not kept:
            self._kept[change.id] = joined
            self._trees.pop(change.id, None)
            outcome.stored[change.id] = None
            self._count_signers(change.id, kept.approvals, joined.approvals, outcome)

    def _join_signers(self, change: Change, outcome: Outcome) -> None:
        """Add the approvals of a form that brings nothing else: its entries live already, or are dead."""
        self._keep_part(_bare(change), outcome)

    def _count_signers(self, change_id: bytes, before: Approvals, after: Approvals, outcome: Outcome) -> None:
        """Keep the tree in step with the approvals of a change that is kept."""
        if before == after:  # nearly always: nobody has approved it
            return
        former, present = dict(before), dict(after)
        for key in former:
            if key not in present:
                item = signer_item(change_id, key)
                self.tree.remove(item)
                del self._signer_items[item]
                outcome.touched[change_id] = None
        for key in present:
            if key not in former:
                item = signer_item(change_id, key)
                self.tree.add(item)
                self._signer_items[item] = change_id
                outcome.touched[change_id] = None

    def _slim(self, kept: Change, outcome: Outcome) -> None:
        """Cut the stored form down to what lives once that is half of it or less, and drop it if nothing lives."""
        dead = self._dead_within[kept.id]
        if 2 * len(dead) < len(kept.entries):
            return
        if len(dead) < len(kept.entries):
            self._cut_down(kept, outcome)
            return
        outcome.stored[kept.id] = None
        del self._kept[kept.id]
        del self._dead_within[kept.id]
        self._trees.pop(kept.id, None)
        is_branch = kept.id not in self._no_branches
        self._no_branches.discard(kept.id)
        self._count_signers(kept.id, kept.approvals, (), outcome)
        places = self._places[kept.writer_id]
        places.remove(kept.place)
        if not places:
            del self._places[kept.writer_id]
        if is_branch:
            self._retire(kept.restrict(()))

    def _cut_down(self, kept: Change, outcome: Outcome) -> None:
        """Store no more of a change than what lives, which is something."""
        outcome.stored[kept.id] = None
        self._kept[kept.id] = self._living(kept)
        del self._dead_within[kept.id]

    def _retire(self, header: Change) -> None:
        number = (header.writer_id, header.header.seq)
        earlier = self._branches.get(header.id) or self._retired.get(number)
        if earlier is not None and earlier.id == header.id and header.approvals:
            header = earlier.union(header)
        if header.id in self._branches:
            self._branches[header.id] = header
        elif number not in self._forks:
            self._retired[number] = header
            if len(self._retired) > RETIRED_HEADERS_MAX:
                self._retired.popitem(last=False)

    # -- forks ------------------------------------------------------------------------------------

    def _settle_fork(self, change: Change, outcome: Outcome) -> bool:
        """Compare ``change`` with others of its number; False if it is a branch that is not kept, and must not live.

        Policies live on all the same. A bare header needs one key only: whoever has one root's could otherwise push out
        every policy that this root has written, with which all that names it would go.
        """
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
                item = fork_item(branch_id)
                self.tree.add(item)
                self._branch_items[item] = branch_id
                self._branches[branch_id] = branches[branch_id]
                outcome.touched[branch_id] = outcome.stored[branch_id] = None
        if kept != former:
            self._forks[number] = kept
            self._retired.pop(number, None)
            outcome.forks.append(number)
        return change.id in kept or carries_policy(change)

    def _known_branches(self, number: Number) -> dict[bytes, Change]:
        """Bare headers of every change known with ``number``."""
        if number in self._forks:
            return dict(self._forks[number])
        writer, seq = number
        found = {}
        places = self._places.get(writer, [])
        for _, change_id in places[bisect_left(places, (seq, b"")) : bisect_left(places, (seq + 1, b""))]:
            if change_id not in self._no_branches:
                found[change_id] = self._kept[change_id].restrict(())
        retired = self._retired.get(number)
        if retired is not None:
            found[retired.id] = retired
        return found

    def _void_branches(self, number: Number, gone: Iterable[bytes], outcome: Outcome) -> None:
        """Forget branches that are void. Where one is left it is a change like any other."""
        left = dict(self._forks.pop(number))
        for branch_id in gone:
            del left[branch_id]
            self._forget_branch(branch_id, outcome)
        if len(left) > 1:
            self._forks[number] = left
            return
        for branch_id, header in left.items():
            self._forget_branch(branch_id, outcome)
            if branch_id not in self._kept:
                self._retire(header)

    def _void_branch(self, branch_id: bytes, outcome: Outcome) -> None:
        """Remove a branch that smaller ids have pushed out, and what of it lived."""
        self._forget_branch(branch_id, outcome)
        self._dead.clear()  # what this branch has superseded may live again, where somebody still has it
        kept = self._kept.get(branch_id)
        if kept is not None and not carries_policy(kept):
            self._remove_versions(kept, outcome)

    def _remove_versions(self, kept: Change, outcome: Outcome) -> None:
        for version in kept.versions:
            if version.id in self._live:
                self._remove_version(version, outcome)

    def _forget_branch(self, branch_id: bytes, outcome: Outcome) -> None:
        item = fork_item(branch_id)
        self.tree.remove(item)
        del self._branch_items[item]
        del self._branches[branch_id]
        outcome.touched[branch_id] = outcome.stored[branch_id] = None


def _bare(change: Change) -> Change:
    """What tells who has signed a change, without entries and without proof."""
    return Change(change.header, change.signature, (), (), change.approvals)


def _places_of(parts: Iterable[Change]) -> tuple[dict[bytes, list[tuple[int, bytes]]], set[bytes]]:
    """The places of ``parts`` by writer, ascending; and the ids of parts whose number an earlier part has."""
    places: dict[bytes, list[tuple[int, bytes]]] = {}
    for part in parts:
        places.setdefault(part.writer_id, []).append(part.place)
    rivals: set[bytes] = set()
    for found in places.values():
        found.sort(key=itemgetter(0))  # ids need no order where there are no rivals
        rivals.update(two[1] for one, two in itertools.pairwise(found) if one[0] == two[0])
    return places, rivals


def _take_slots(slots: dict[Slot, tuple[Version, ...]], versions: tuple[Version, ...]) -> bool:
    """Put ``versions`` into ``slots`` if each has one to itself. False, and nothing is done, if not, or without any."""
    if len(versions) == 1:  # a tuple that is there already, and shared
        return slots.setdefault(versions[0].entry.slot, versions) is versions
    own = {version.entry.slot: (version,) for version in versions}
    if not versions or len(own) < len(versions) or not slots.keys().isdisjoint(own):
        return False
    slots.update(own)
    return True


def fork_item(change_id: bytes) -> bytes:
    """The tree item that stands for a fork's branch."""
    return tagged_hash(FORK_TAG, change_id)


def signer_item(change_id: bytes, key: bytes) -> bytes:
    """The tree item that says that ``key`` has approved a change."""
    return tagged_hash(SIGNER_TAG, change_id, key)


def items_of(part: Change) -> Iterator[bytes]:
    """Every tree item that ``part`` can stand for where it is replicated."""
    for version in part.versions:
        yield version.id
    for key, _ in part.approvals:
        yield signer_item(part.id, key)
    yield fork_item(part.id)
