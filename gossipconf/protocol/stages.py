"""This node's part in the epochs of all strict prefixes, driven by what is replicated and said.

    documents    the entries under `_stages/` (`trust.strict`) are stages and calls for their end
    words        acks and nacks are node-signed statements (`statements`): gossiped, and kept as long as somebody
                 here is interested, which is what `knows` says
    decisions    are `participant`'s; each is on disk before anything follows from it
    readers      are told by `standing` what they get

Knows no reader and no disk; it decides nothing about stages itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..model.errors import GossipconfError, InvalidInput
from ..model.version import Version
from ..trust.membership import Membership
from ..trust.statement import Kind, Statement
from ..trust.strict import StageKey, strict_over, strict_prefixes
from .certificate import Nodes, Outcome, outcome_of
from .environment import Environment
from .epoch import Stage
from .events import EpochCommitted, MemoryMissing, SayFailed, StageAborted, StageAnswered, StageInvalid
from .participant import HORIZON, Participant, Standing, View, is_memory_lost, subjects_of
from .record import Record, row_op
from .replica import DISK_RETRY_S, Replica
from .statement_book import Claim
from .statements import Statements

NEWCOMER_S: Final = 2.0
"""A node without a record answers a stage so long after it has learned of it: if it was here before and its disk was
lost, its own words come back to it meanwhile, and it says nothing."""
CLAIM: Final = b"stage/"
"""Claims of stages begin so; the prefix follows where the roots have made it strict. Of others all have one."""


@dataclass(slots=True)
class _Prefix:
    """What is known of one prefix.

    learned_s:    when a stage was learned of, while this node has no record
    unsaid:       words that could not be said yet
    is_retrying:  whether a look at all this is due anyway
    """

    participant: Participant
    learned_s: dict[bytes, float] = field(default_factory=dict)
    stages: dict[bytes, Stage] = field(default_factory=dict)
    ending: dict[bytes, Stage] = field(default_factory=dict)
    unsaid: frozenset[tuple[bytes, bool]] = frozenset()
    is_retrying: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How a stage stands, as far as is known here.

    acked, nacked, missing:  participants, by name; who is shut out is among ``revoked`` too
    asked_to_end:            whether somebody has asked for its end
    """

    stage: Stage
    outcome: Outcome
    acked: tuple[str, ...]
    nacked: tuple[str, ...]
    missing: tuple[str, ...]
    revoked: tuple[str, ...]
    asked_to_end: bool


class Stages:
    """The epochs of strict prefixes at one node."""

    def __init__(self, environment: Environment, replica: Replica, statements: Statements, node_id: str) -> None:
        self._environment = environment
        self._replica = replica
        self._statements = statements
        self._node_id = node_id
        self._prefixes: dict[str, _Prefix] = {}
        self._strict: tuple[str, ...] = ()
        self._policies: tuple[bytes, ...] | None = None
        self._seen = 0
        self._revoked_by: list[frozenset[str]] = [frozenset()]
        self._revoked: tuple[frozenset[str], ...] = ()
        self._decoded: dict[bytes, Stage | None] = {}
        self._subjects: dict[bytes, tuple[str, frozenset[str]]] = {}
        self._claims: dict[bytes, Claim] = {}
        self._said: dict[bytes, tuple[frozenset[str], frozenset[str]]] = {}
        self._told: set[bytes] = set()
        statements.interest(self)

    # -- reading ----------------------------------------------------------------------------------

    @property
    def strict(self) -> tuple[str, ...]:
        """The prefixes that the policy in force calls strict, ascending."""
        return self._strict

    @property
    def shut_out(self) -> frozenset[str]:
        """All nodes that a policy has ever revoked: they take part no more."""
        return self._revoked_by[-1]

    def prefixes(self) -> list[str]:
        """All prefixes that are strict, or of which something is known, ascending."""
        return sorted({*self._strict, *self._prefixes})

    def strict_over(self, key: str) -> str | None:
        """The strict prefix to which ``key`` belongs; None for an ordinary key."""
        return strict_over(self._strict, key) if self._strict else None

    def standing(self, prefix: str) -> Standing:
        """What readers of a strict prefix get here, now."""
        found = self._prefixes.get(prefix)
        return Standing(None) if found is None else found.participant.standing(self.shut_out)

    def record(self, prefix: str) -> Record:
        """What this node has on disk of a prefix."""
        found = self._prefixes.get(prefix)
        return Record() if found is None else found.participant.record

    def progress(self, prefix: str) -> list[Progress]:
        """How the stages of a prefix stand of which something is known here, by number."""
        found = self._prefixes.get(prefix)
        if found is None:
            return []
        record = found.participant.record
        known = {**found.stages, **{one.id: one for one in record.committed}}
        if record.promise is not None:
            known[record.promise.id] = record.promise
        ordered = sorted(known.values(), key=lambda one: (one.epoch.number, one.id))
        return [self._progress(one, found) for one in ordered]

    def _progress(self, stage: Stage, prefix: _Prefix) -> Progress:
        acked, nacked = (nodes & stage.participants for nodes in self._split(stage.id))
        record = prefix.participant.record
        if any(one.id == stage.id for one in record.committed):
            outcome = Outcome.COMMITTED
        else:
            outcome = outcome_of(stage, self, self._revoked)
        return Progress(
            stage,
            outcome,
            tuple(sorted(acked)),
            tuple(sorted(nacked)),
            tuple(sorted(stage.participants - acked - nacked)),
            tuple(sorted(stage.participants & self.shut_out)),
            stage.id in prefix.ending,
        )

    # -- as what has been said (`certificate.Heard`) --------------------------------------------------

    def acks(self, subject: bytes) -> Nodes:
        """Who has acked ``subject``; also who is shut out by now."""
        return self._split(subject)[0]

    def nacks(self, subject: bytes) -> Nodes:
        """Who has nacked it; also who is shut out by now."""
        return self._split(subject)[1]

    # -- as whoever counts statements ---------------------------------------------------------------

    def knows(self, subject: bytes) -> bool:
        """Whether acks and nacks of ``subject`` matter now."""
        return subject in self._subjects

    def wants(self, statement: Statement) -> bool:
        """Acks and nacks, by participants where it is known who they are."""
        if statement.kind not in (Kind.ACK, Kind.NACK):
            return False
        _, participants = self._subjects[statement.subject]
        return not participants or statement.node_id in participants

    def claim(self, subject: bytes) -> Claim:
        """Its prefix, and how many epochs it is behind: words on what is open go last."""
        return self._claims.get(subject, Claim(CLAIM))

    def heard(self, subject: bytes) -> None:
        """Something else is said of ``subject``."""
        self._said.pop(subject, None)
        prefix, _ = self._subjects[subject]
        self._step(prefix)

    # -- inputs -----------------------------------------------------------------------------------

    def restore(self, records: Mapping[str, Record]) -> None:
        """Take over what the journal had. Before any link, and before the statements, which ask what matters."""
        for prefix, record in records.items():
            self._prefixes[prefix] = _Prefix(Participant(self._node_id, record))
        self._look()
        self._seen = -1  # what the records say may not be said yet

    def settle(self) -> None:
        """The replicated set or the policy is another one."""
        if (self._replica.stage_revision, self._replica.chain.accepted) != (self._seen, self._policies):
            self._look()
            for prefix in list(self._prefixes):
                self._step(prefix)

    # -- inside -----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Learn what is replicated now: policies and documents."""
        self._said.clear()
        self._seen = self._replica.stage_revision
        chain = self._replica.chain
        if chain.accepted != self._policies:
            self._policies = chain.accepted
            self._strict = strict_prefixes(chain.head.parameters)
            self._revoked_by = [frozenset()]
            for version in range(1, chain.head.version + 1):
                self._revoked_by.append(self._revoked_by[-1].union(Membership.of(chain[version]).nodes))
            self._revoked = tuple(nodes for nodes in dict.fromkeys(self._revoked_by) if nodes)
        for prefix in self._prefixes.values():
            prefix.stages, prefix.ending = {}, {}
        current = set[bytes]()
        for slot in sorted(self._replica.stage_slots):
            versions = self._replica.live.slot(slot)
            if versions:
                current.add(versions[0].id)
                self._take(versions[0])
        for version_id in [one for one in self._decoded if one not in current]:
            del self._decoded[version_id]
        for prefix in self._prefixes.values():
            prefix.learned_s = {
                one: at_s for one, at_s in prefix.learned_s.items() if one in prefix.stages or one in prefix.ending
            }
        self._note_subjects()

    def _take(self, version: Version) -> None:
        """Learn a stage, or that somebody asks for its end."""
        named = StageKey.parse(version.entry.key)
        stage = self._decode(version)
        if named is None or stage is None:
            return
        prefix = self._prefixes.setdefault(named.prefix, _Prefix(Participant(self._node_id)))
        if named.is_abort:
            prefix.ending[stage.id] = stage
        else:
            prefix.stages[stage.id] = stage

    def _decode(self, version: Version) -> Stage | None:
        """The document of a version; None if it is none, or another than its key says."""
        if version.id not in self._decoded:
            self._decoded[version.id] = None
            key, value = version.entry.key, version.entry.value
            if value is None:
                return None
            try:
                stage = Stage.decode(value)
                named = StageKey.parse(key)
                if named is None or str(stage.key) != str(StageKey(named.prefix, named.number, named.epoch_id)):
                    raise InvalidInput("it is the document of another stage than its key names")
                if stage.contents is None and not named.is_abort:
                    raise InvalidInput("it has no contents")
                self._decoded[version.id] = stage
            except InvalidInput as error:
                self._environment.emit(StageInvalid(key, str(error)))
        return self._decoded[version.id]

    def _note_subjects(self) -> None:
        """What words matter now, and whose."""
        found: dict[bytes, tuple[str, frozenset[str]]] = {}
        claims: dict[bytes, Claim] = {}
        for name, prefix in self._prefixes.items():
            record = prefix.participant.record
            stages = {**prefix.ending, **prefix.stages}
            claimant = CLAIM + name.encode() if name in self._strict else CLAIM
            numbers = [one.epoch.number for one in stages.values()]
            now = max(numbers, default=0) if record.position is None else record.position.epoch.number + 1
            answered = {stage_id: number for number, stage_id, _ in record.answers}
            for subject in subjects_of(record, self._revoked, stages):
                found[subject] = name, frozenset()
                claims[subject] = Claim(claimant, max(0, now - answered.get(subject, now)))
            for stage in (*stages.values(), *record.committed, *filter(None, (record.promise,))):
                for subject in subjects_of(Record(), self._revoked, {stage.id: stage}):
                    found[subject] = name, stage.participants
                    claims[subject] = Claim(claimant, max(0, now - stage.epoch.number))
        self._subjects, self._claims = found, claims

    def _step(self, name: str) -> None:
        """Decide what is to be decided, and say what is to be said."""
        prefix = self._prefixes[name]
        before = prefix.participant
        prefix.participant = before.step(self._view(prefix))
        if prefix.participant is not before and prefix.participant.writing is not None:
            op = row_op(name, prefix.participant.writing)
            self._replica.write_then(op, lambda error: self._written(name, error))
        self._speak(name)
        self._warn(name)

    def _written(self, name: str, error: str | None) -> None:
        prefix = self._prefixes[name]
        before = prefix.participant
        if error is not None:
            prefix.participant = before.failed()
            self._retry(name)
            return
        prefix.participant = before.persisted()
        self._note_subjects()
        self._tell(name, before.record, prefix.participant.record)
        self._step(name)

    def _retry(self, name: str) -> None:
        prefix = self._prefixes[name]
        if not prefix.is_retrying:
            prefix.is_retrying = True
            self._environment.call_later(DISK_RETRY_S, lambda: self._try_again(name))

    def _try_again(self, name: str) -> None:
        self._prefixes[name].is_retrying = False
        self._step(name)

    def _view(self, prefix: _Prefix) -> View:
        stages, ending = prefix.stages, prefix.ending
        if prefix.participant.record == Record():
            stages = {stage_id: one for stage_id, one in stages.items() if self._is_ripe(prefix, one)}
            ending = {stage_id: one for stage_id, one in ending.items() if self._is_ripe(prefix, one)}
        return View(
            _ordered(stages),
            _ordered(ending),
            self,
            self._revoked,
            lambda version: self._revoked_by[version] if version < len(self._revoked_by) else None,
        )

    def _is_ripe(self, prefix: _Prefix, stage: Stage) -> bool:
        """Whether this node, which has no record, has known of a stage for long enough."""
        now_s = self._environment.now.monotonic_s
        if stage.id not in prefix.learned_s:
            prefix.learned_s[stage.id] = now_s
            self._environment.call_later(NEWCOMER_S, lambda: self._step(stage.epoch.prefix))
        return now_s >= prefix.learned_s[stage.id] + NEWCOMER_S

    def _speak(self, name: str) -> None:
        """Say what this node's record says; what cannot be said now is tried again."""
        prefix = self._prefixes[name]
        unsaid: set[tuple[bytes, bool]] = set()
        for subject, is_ack in prefix.participant.words(self, self._revoked):
            kind = Kind.ACK if is_ack else Kind.NACK
            if subject not in self._subjects or self._statements.has_said(kind, subject):
                continue
            try:
                self._statements.say(kind, subject)
            except GossipconfError as error:
                if (subject, is_ack) not in prefix.unsaid:
                    self._environment.emit(SayFailed(kind, subject, str(error)))
            if not self._statements.has_said(kind, subject):
                unsaid.add((subject, is_ack))
        prefix.unsaid = frozenset(unsaid)
        if unsaid:
            self._retry(name)

    def _tell(self, name: str, before: Record, after: Record) -> None:
        """Tell what has become of a prefix here."""
        for number, stage_id, is_ack in after.answers:
            if before.answer_to(stage_id) is None:
                self._environment.emit(StageAnswered(name, number, stage_id, is_ack))
        position = after.position
        if position is not None and position != before.position:
            is_member = self._node_id in position.epoch.members
            self._environment.emit(EpochCommitted(name, position.epoch.number, position.id, is_member))
        elif before.promise is not None and after.promise is None:
            self._environment.emit(StageAborted(name, before.promise.epoch.number, before.promise.id))

    def _warn(self, name: str) -> None:
        """Tell, once a stage, that this node was here before and has no memory of it."""
        prefix = self._prefixes[name]
        record = prefix.participant.record
        horizon = 0 if record.position is None else record.position.epoch.number - HORIZON
        for stage in prefix.stages.values():
            if (
                stage.id not in self._told
                and self._node_id in stage.participants
                and record.answer_to(stage.id) is None
                and stage.epoch.number > horizon
                and prefix.participant.writing is None
                and is_memory_lost(self._node_id, record, stage, self)
            ):
                self._told.add(stage.id)
                self._environment.emit(MemoryMissing(name, stage.epoch.number))

    def _split(self, subject: bytes) -> tuple[frozenset[str], frozenset[str]]:
        """Who has acked, and who has nacked."""
        found = self._said.get(subject)
        if found is None:
            said = [held.statement for held in self._statements.about(subject)]
            found = self._said[subject] = (
                frozenset(one.node_id for one in said if one.kind is Kind.ACK),
                frozenset(one.node_id for one in said if one.kind is Kind.NACK),
            )
        return found


def _ordered(stages: Mapping[bytes, Stage]) -> tuple[Stage, ...]:
    return tuple(sorted(stages.values(), key=lambda one: (one.epoch.number, one.id)))
