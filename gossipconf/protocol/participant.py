"""A participant of the epochs of one strict prefix: what it promises, and what it may serve.

Invariants

1. No two unfenced participants ever serve different epochs. (Who was shut out by the roots is no
   participant: whoever revokes a node has stopped it, or cut it off from those who read there.)
2. Commit and abort of a stage exclude each other, whoever knows of either.
3. No participant is fenced for ever while all participants live and hear each other. A removal ends
   the wait for who lives no more, unless it takes all members of the new epoch.

Why they hold

- What it has promised is on disk before anybody hears of it; what it says is a function of what is on
  disk. So a crash takes back no word. Who has lost its disk says nothing ever more under its name.
- It says ack or nack to a stage, once: that is (2) for nacks; `certificate` says why for removals.
- It acks only what follows the epoch that it serves, and nothing else before that is resolved. So of two
  stages that follow one epoch at most one is committed: they have a member of that epoch in common
  (`epoch`). By induction there is one chain of epochs; the first is signed by the roots.
- It is fenced from its ack until it knows the outcome. The others cannot serve the new epoch before its
  ack, nor the old one after the commit. That is (1).
- Who serves the epoch before acks after all who do not, and these wait for nobody. So a member that does not
  exist, or does not come, fences no reader: without an ack of theirs the stage can be ended.
- It nacks at once what it will never ack. It waits only for a stage of its own to be resolved, for a
  policy, or without having promised anything. That is (3).

Steps of a participant are atomic: one decision, on disk, then its effects. While a decision is being
written nothing else is decided.

Knows one prefix, and what was said as far as it has come. No network, no disk, no clock; whether
documents are authentic has been judged before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from .certificate import Heard, Nodes, Outcome, is_asked, is_refused, outcome_of, removals
from .epoch import Epoch, Stage, committed_subject, removal_subject
from .record import Record

HORIZON: Final = 8
"""Epochs back to which answers are remembered and repeated: a participant that was away for longer and was no
member meanwhile needs a new node id to be admitted again."""
ANSWERS_MAX: Final = 256
"""Stages answered within the horizon. Beyond it nothing is answered: so many rivals are a fault of whoever makes
them, and forgetting one would break a promise."""

Word: TypeAlias = tuple[bytes, bool]
"""A subject, and whether it is acked or nacked."""


@dataclass(frozen=True, slots=True)
class View:
    """What a participant knows of the world, and may forget.

    stages:      what is proposed, in an order that is the same everywhere
    ending:      the stages whose end somebody has asked for
    heard:       what has been said
    revoked:     all that were ever shut out, as it was after each policy that shut out more, ascending
    revoked_by:  all that were ever shut out up to a policy; None if that policy is not here yet
    """

    stages: tuple[Stage, ...]
    ending: tuple[Stage, ...]
    heard: Heard
    revoked: tuple[frozenset[str], ...]
    revoked_by: Callable[[int], frozenset[str] | None]

    @property
    def shut_out(self) -> frozenset[str]:
        """All that were ever shut out."""
        return self.revoked[-1] if self.revoked else frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """What readers get.

    epoch:     what is served; None: this node is no member
    fence:     the stage whose outcome is open, of a member; None: ``epoch`` can be read
    is_barred: whether the roots have shut this node out
    """

    epoch: Stage | None
    fence: Stage | None = None
    is_barred: bool = False

    @property
    def served(self) -> Stage | None:
        """What can be read now."""
        return self.epoch if self.fence is None else None


@dataclass(frozen=True, slots=True)
class Participant:
    """One node's part in the epochs of one prefix.

    record:   what is on its disk; all that shows outside follows from it
    writing:  what is being written in its place
    """

    node_id: str
    record: Record = field(default_factory=Record)
    writing: Record | None = None

    def step(self, view: View) -> Participant:
        """Decide one thing, if there is one to decide: it has to be written, and then `persisted` be called."""
        if self.writing is not None:
            return self
        decided = decide(self.node_id, self.record, view)
        return self if decided == self.record else replace(self, writing=decided)

    def persisted(self) -> Participant:
        """What was being written is on disk."""
        return self if self.writing is None else Participant(self.node_id, self.writing)

    def failed(self) -> Participant:
        """What was being written is not on disk, and never will be."""
        return Participant(self.node_id, self.record)

    def standing(self, shut_out: Nodes) -> Standing:
        """What readers get now."""
        if self.node_id in shut_out:
            return Standing(None, is_barred=True)
        position, promise = self.record.position, self.record.promise
        if position is None or self.node_id not in position.epoch.members:
            return Standing(None)
        return Standing(position, promise)

    def words(self, heard: Heard, revoked: Iterable[Nodes]) -> Iterator[Word]:
        """All that it has to say by now, said already or not: each may be repeated at any time."""
        for _, stage_id, is_ack in self.record.answers:
            yield stage_id, is_ack
        promise, shut_out = self.record.promise, tuple(revoked)
        if promise is not None:
            for removed in self.record.gave_up:
                yield removal_subject(promise.id, removed), True
        for stage in self.record.committed:
            if is_asked(stage, heard, shut_out):
                yield committed_subject(stage.id), True


def decide(node_id: str, record: Record, view: View) -> Record:
    """The next thing to write, or ``record`` itself if there is nothing to do."""
    if node_id in view.shut_out:
        return record
    if record.promise is not None:
        settled = resolve(record, record.promise, view)
        if settled is not None:
            return settled
    if len(record.answers) < ANSWERS_MAX:
        for stage in (*view.ending, *view.stages):
            if node_id in stage.participants and record.answer_to(stage.id) is None:
                is_ack = answer(node_id, record, stage, view)
                if is_ack is not None:
                    return answered(record, stage, is_ack=is_ack)
    return record


def resolve(record: Record, promise: Stage, view: View) -> Record | None:
    """What becomes of a promise; None: nothing new."""
    outcome = outcome_of(promise, view.heard, view.revoked, record.gave_up)
    if outcome is Outcome.COMMITTED:
        horizon = promise.epoch.number - HORIZON
        return Record(
            position=promise,
            answers=tuple(one for one in record.answers if one[0] > horizon),
            past=tuple(one.bare() for one in record.committed if one.epoch.number > horizon),
        )
    if outcome is Outcome.ABORTED:
        return replace(record, promise=None, gave_up=())
    for removed in removals(promise, view.revoked[-1:]):
        if frozenset(removed) not in record.gave_up:
            return replace(record, gave_up=(*record.gave_up, frozenset(removed)))
    return None


def answer(node_id: str, record: Record, stage: Stage, view: View) -> bool | None:
    """Whether to ack or nack a stage that was not answered yet; None: not yet, or never."""
    epoch, before, position = stage.epoch, stage.before, record.position
    number = 0 if position is None else position.epoch.number
    if epoch.number <= number - HORIZON or is_memory_lost(node_id, record, stage, view.heard):
        return None
    was_member = before is not None and node_id in before.members
    if any(one.id == stage.id for one in view.ending) or is_refused(stage, view.heard):
        return False  # it is over, or should be: who acked it now would have to nack what comes after it
    if record.promise is not None:
        return None if record.promise.id == epoch.before else False
    revoked = view.revoked_by(epoch.policy)
    if revoked is None:
        return None
    former = () if before is None else before.members
    if epoch.removed != tuple(one for one in former if one in revoked) or stage.participants & view.shut_out:
        return False
    if was_member or (position is not None and node_id in position.epoch.members):
        if position is None or position.id != epoch.before:
            return False
        return True if stage.participants.difference(former) <= view.heard.acks(stage.id) else None
    return follows(before, position)


def is_memory_lost(node_id: str, record: Record, stage: Stage, heard: Heard) -> bool:
    """Whether this node has been here before and knows nothing of it: what it said then may be anything.

    It was a member of the epoch before, of which it has no memory; or a word of its own comes back to it.
    """
    before = stage.before
    if before is not None and record.position is None and node_id in before.members:
        return record.answer_to(before.id) is None
    return node_id in heard.acks(stage.id) or node_id in heard.nacks(stage.id)


def follows(before: Epoch | None, position: Stage | None) -> bool:
    """Whether one who serves nothing, and knew ``position`` last, may join after the epoch ``before``."""
    if position is None:
        return True
    at = position.epoch
    return before is not None and (before.number > at.number or before.id == at.id)


def answered(record: Record, stage: Stage, *, is_ack: bool) -> Record:
    """``record`` with an answer to ``stage``; an ack is a promise."""
    answers = (*record.answers, (stage.epoch.number, stage.id, is_ack))
    return replace(record, answers=answers, promise=stage if is_ack else record.promise)


def subjects_of(record: Record, revoked: Iterable[Nodes], stages: Mapping[bytes, Stage]) -> Iterator[bytes]:
    """All of which words matter here: what was answered, what is proposed, and removals from these."""
    shut_out = tuple(revoked)
    known = dict(stages)
    for stage in record.committed:
        known[stage.id] = stage
    if record.promise is not None:
        known[record.promise.id] = record.promise
    for _, stage_id, _ in record.answers:
        yield stage_id
    for stage_id, stage in known.items():
        yield stage_id
        removed = removals(stage, shut_out)
        if removed:
            yield committed_subject(stage_id)
        for one in removed:
            yield removal_subject(stage_id, one)
