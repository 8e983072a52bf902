"""The exchange of changes between two nodes that compare what they hold: the answering side of sync.

Keeps no state of a session: each question is answered from the replica as it is, and
each answer has a budget, so that no queue grows. Who asks for more than its allowance
waits for the answer; and who shows its frontier while another peer streams what is lacking
here waits a moment, because both would stream the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..model.change import Change
from ..model.errors import InvalidInput, Rejected, UnknownPolicy
from ..model.limits import SYNC_BATCH_BYTES, SYNC_BUDGET_BYTES
from ..store.live_set import LiveSet
from . import walk
from .allowance import Allowance
from .environment import Environment, LinkId
from .events import ChangeRejected
from .frontier import START_BYTES, Lacks, by_start, known_by, lacks_of
from .link import Link
from .messages import (
    BATCH_CHANGES_MAX,
    Batch,
    Check,
    Checked,
    Given,
    Hinted,
    Hints,
    Walk,
    Walked,
    Want,
    WantPolicies,
)
from .overlay import Overlay
from .replica import Replica

OLD_MS: Final = 5_000
"""Age beyond which a change that sync brings was missed, and not just faster than its push. Only a hint, as clocks are:
it decides how soon others are asked."""
QUESTIONS_WAITING_MAX: Final = 4
"""Questions of a peer that wait for its allowance; of more the oldest are forgotten, since nobody who waits for an
answer asks again before its time is over, and an old one it ignores."""
EXPECT_S: Final = 0.3
"""How long a peer's hints wait, at most, for what other peers are about to stream: a round trip around the world. After
a partition many neighbours offer the same at once."""
ALLOWANCES_MAX: Final = 1_024
"""Peers whose use is remembered, since it outlives their links: of more, those that have used nothing lately are
forgotten, and the first one if there is none."""

Question: TypeAlias = Hints | Walk | Want | WantPolicies
"""What costs something to answer."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one stream has sent: how many changes and bytes, and whether some were left for want of budget."""

    count: int
    bytes: int
    more: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What one batch has brought: changes accepted, those of them that were news, and the old ones of these."""

    count: int
    news: int
    old: int


class Exchange:
    """Sends changes, takes them in, and answers questions about what is here."""

    def __init__(
        self, environment: Environment, replica: Replica, overlay: Overlay, on_taken: Callable[[bytes], None]
    ) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._on_taken = on_taken
        self._allowances: dict[str, Allowance] = {}
        self._waiting: dict[LinkId, deque[Question]] = {}
        self._expected_s: dict[LinkId, float] = {}
        self._held: dict[LinkId, tuple[Link, Hints]] = {}

    def link_down(self, link: Link) -> None:
        """Forget what a peer has asked; what it has used of its allowance is remembered."""
        self._waiting.pop(link.id, None)
        self._held.pop(link.id, None)
        self.expect_no_more(link)

    def expect(self, link: Link) -> None:
        """``link``'s peer is about to stream what is lacking here: others wait with the same, for EXPECT_S at most."""
        self._expected_s[link.id] = self._environment.now.monotonic_s + EXPECT_S

    def expect_no_more(self, link: Link) -> None:
        """It has streamed, or has nothing: whoever waits for it is answered."""
        if self._expected_s.pop(link.id, None) is None:
            return
        for held, hints in list(self._held.values()):
            if not self._expects_from_others(held):
                self._release(held, hints)

    def _expects_from_others(self, link: Link) -> bool:
        now_s = self._environment.now.monotonic_s
        return any(other != link.id and now_s < until_s for other, until_s in self._expected_s.items())

    def _release(self, link: Link, hints: Hints) -> None:
        """Answer hints that were held, unless they have been or their link is gone."""
        if self._held.get(link.id) == (link, hints):
            del self._held[link.id]
            self._answer_in_turn(link, hints)

    def answer(self, link: Link, question: Question | Check) -> None:
        """Answer what the leader of a session asks, now or when it may ask again.

        Raises ProtocolViolation for a question that asks too much.
        """
        if isinstance(question, Check | Hints):
            self.expect_no_more(link)  # who leads has streamed before it goes on
        if isinstance(question, Check):
            checked = Checked(question.request, self._replica.root, self._replica.policy_version)
            self._overlay.send(link, checked)
            return
        if isinstance(question, Walk):
            walk.check_question(question)
        if isinstance(question, Hints) and self._expects_from_others(link):
            self._held[link.id] = (link, question)
            self._environment.call_later(EXPECT_S, lambda: self._release(link, question))
        else:
            self._answer_in_turn(link, question)

    def _answer_in_turn(self, link: Link, question: Question) -> None:
        """Answer now, or when the peer's allowance lets it ask again."""
        waiting = self._waiting.get(link.id)
        if waiting is not None:
            waiting.append(question)
        elif self._wait_s(link) > 0:
            waiting = self._waiting[link.id] = deque((question,), QUESTIONS_WAITING_MAX)
            self._environment.call_later(self._wait_s(link), lambda: self._answer_waiting(link, waiting))
        else:
            self._answer_now(link, question)

    def _answer_waiting(self, link: Link, waiting: deque[Question]) -> None:
        if self._waiting.get(link.id) is not waiting:
            return  # the link is gone
        while waiting and not self._wait_s(link):
            self._answer_now(link, waiting.popleft())
        if waiting:
            self._environment.call_later(self._wait_s(link), lambda: self._answer_waiting(link, waiting))
        else:
            del self._waiting[link.id]

    def _wait_s(self, link: Link) -> float:
        allowance = self._allowances.get(link.node_id)
        return 0.0 if allowance is None else allowance.wait_s(self._environment.now.monotonic_s)

    def _answer_now(self, link: Link, question: Question) -> None:
        now_s = self._environment.now.monotonic_s
        allowance = self._allowances.get(link.node_id)
        if allowance is None:
            allowance = self._new_allowance(link.node_id, now_s)
        match question:
            case Hints():
                change_bytes = self._answer_hints(link, question)
            case Walk():
                self._overlay.send(
                    link, Walked(question.request, tuple(walk.answers(self._replica.live.tree, question)))
                )
                change_bytes = 0
            case Want():
                wanted = self._replica.live.by_change(question.items)
                change_bytes = self.stream(link, whole(self._replica.live, wanted), question.budget).bytes
                self._overlay.send(link, Given(question.request, self._replica.root))
            case WantPolicies():
                policies = self._replica.policies_after(question.have)
                change_bytes = self.stream(link, policies, SYNC_BUDGET_BYTES).bytes
        allowance.spend(change_bytes, now_s)

    def _new_allowance(self, node_id: str, now_s: float) -> Allowance:
        if len(self._allowances) >= ALLOWANCES_MAX:
            self._allowances = {name: one for name, one in self._allowances.items() if not one.is_full(now_s)}
            if len(self._allowances) >= ALLOWANCES_MAX:
                del self._allowances[next(iter(self._allowances))]
        allowance = self._allowances[node_id] = Allowance(now_s)
        return allowance

    def lacked(self, known: Mapping[bytes, int], complete: bool, policy: int) -> Iterator[Change]:
        """What a node seems to lack: policies, then each writer's changes in order of number.

        ``known``: its {beginning of a writer's id: highest number}. ``complete``: a writer that is not among them is
        one of whom it has met nothing.
        """
        live = self._replica.live
        policies = {change.id: change for change in self._replica.policies_after(policy)}
        yield from policies.values()
        for writer in live.writers():
            seq = known.get(writer[:START_BYTES], 0 if complete else None)
            if seq is None:
                continue
            for change_id in live.changes_after(writer, seq):
                if change_id not in policies:
                    part = live.part(change_id)
                    assert part is not None
                    yield from _once_a_slot(part)

    def stream(self, link: Link, changes: Iterable[Change], budget: int) -> Streamed:
        """Send ``changes`` in batches until ``budget`` bytes are sent; at least one is sent if there is any."""
        batch: list[bytes] = []
        count = batched = streamed = 0
        more = False
        for change in changes:
            data = change.encode()
            if streamed and streamed + len(data) > budget:
                more = True
                break
            if batch and (batched + len(data) > SYNC_BATCH_BYTES or len(batch) == BATCH_CHANGES_MAX):
                self._overlay.send(link, Batch(tuple(batch)))
                batch, batched = [], 0
            batch.append(data)
            count += 1
            batched += len(data)
            streamed += len(data)
        if batch:
            self._overlay.send(link, Batch(tuple(batch)))
        return Streamed(count, streamed, more)

    def take(self, link: Link, batch: Batch) -> Taken:
        """Take in what a peer has sent, asked or not: each change is judged on its own."""
        count = news = old = 0
        long_ago_ms = self._environment.now.wall_ms - OLD_MS
        for data in batch.changes:
            change = None
            try:
                change = self._replica.decode(data)
                outcome = self._replica.receive(change, link.node_id, data)
            except UnknownPolicy:
                self._overlay.send(link, WantPolicies(self._replica.policy_version))
                break
            except (InvalidInput, Rejected) as error:
                self._environment.emit(ChangeRejected(link.node_id, str(error)))
                if change is None or not self._replica.excuses(change, error):
                    self._overlay.fault(link, str(error))
                if link.closing:
                    break  # it has had its chances; the rest is not even verified
                continue
            count += 1
            if outcome.is_news:
                news += 1
                old += change.header.time_ms < long_ago_ms
                self._on_taken(data)
        return Taken(count, news, old)

    def _answer_hints(self, link: Link, hints: Hints) -> int:
        """Stream what the peer seems to lack, and say what is lacking here; how many bytes of changes it took."""
        streamed = Streamed(0, 0, False)
        lacks: Lacks = ()
        if hints.root != self._replica.root:
            changes = self.lacked(known_by(hints.frontier), hints.complete, hints.policy)
            streamed = self.stream(link, changes, hints.budget)
            lacks = lacks_of(hints.frontier, by_start(self._replica.live.met()))
            if lacks:
                self.expect(link)
        root, policy = self._replica.root, self._replica.policy_version
        self._overlay.send(link, Hinted(hints.request, root, policy, lacks, streamed.more))
        return streamed.bytes


def _names_a_slot_twice(change: Change) -> bool:
    return len({entry.slot for _, entry in change.entries}) < len(change.entries)


def _once_a_slot(change: Change) -> Iterator[Change]:
    """``change`` in parts that name no slot twice: nearly always itself."""
    if not _names_a_slot_twice(change):
        yield change
        return
    left = dict(change.entries)
    tree = change.tree()
    while left:
        first = {entry.slot: index for index, entry in reversed(left.items())}
        yield change.restrict(first.values(), tree)
        for index in first.values():
            del left[index]


def whole(
    live: LiveSet, wanted: Mapping[bytes, set[int]], given: Callable[[Change], None] = lambda part: None
) -> Iterator[Change]:
    """All that is replicated of each change, whichever entries are wanted: nobody is to apply half of it (invariant 6).

    In the order given, each cut when its turn comes; ``given`` is called for each part that has been taken. A change
    that names a slot twice cannot travel in one part: of that one only what is wanted is sent, so that all of it is
    sent in the end whatever the budget.
    """
    for change_id, indices in wanted.items():
        part = live.part(change_id)
        assert part is not None
        for piece in _once_a_slot(part.restrict(indices) if _names_a_slot_twice(part) else part):
            yield piece
            given(piece)
