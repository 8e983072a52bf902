"""A node's replica: judged changes in, live set and disk writes out.

The one way into the live set, for a publish, a broadcast and a sync alike: decode,
judge under the policy, leave out what is void, add, write. Reads see a change only once
it is on disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ..model.change import INCARNATION_BYTES, Change, Writer
from ..model.clock import seq_of
from ..model.encoding import as_array, as_bytes, decode, encode
from ..model.entry import Slot
from ..model.errors import GossipconfError, InvalidInput, JournalWriteFailed, NotAuthorised, Rejected, StaleReservation
from ..model.hashing import HASH_BYTES
from ..model.key import covers
from ..model.limits import SIGNATURES_MAX, VALUE_BYTES_MAX
from ..model.version import Version
from ..store.checkpoint import Checkpoint
from ..store.journal_ops import DropChange, JournalOp, PutChange, PutMeta, Retire
from ..store.live_set import LiveSet, Outcome
from ..trust.chain import PolicyChain
from ..trust.policy import POLICY_PREFIX, carries_policy, policy_changes, policy_key
from ..trust.signing import Reservation
from ..trust.strict import STAGES_ROOT, is_stage_key
from .conflicts import Conflicts
from .environment import Environment, Persist, Reads, Show
from .events import (
    Applied,
    ChangeRejected,
    ConflictClosed,
    ConflictOpened,
    DiskFailed,
    DiskRecovered,
    ForkFound,
    PolicyAccepted,
    PolicyFork,
    Published,
    PublishFailed,
)
from .history import ROWS_WAITING_MAX, History
from .void import Void

DISK_RETRY_S = 1.0
"""How long after a failed write the next one is tried: room on a disk comes back by a human's hand."""

SAVED_POLICIES = "policies"
"""Name under which the journal keeps the ids of the policy changes that this node has accepted."""

EXCUSED_MAX = 1_000
"""Changes that only a policy without force allows, for which no peer is blamed. Each costs a signature check once; who
has not heard yet that a policy fork is settled sends a few."""

RETIRED_HEADERS_RESTORED_MAX = 1_000
"""Headers of dead changes recalled at a start: each costs a signature check of 0.1 ms."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Pending:
    """A write under way, and the publish that it is the acknowledgement of, or who else waits for it, if any."""

    ops: tuple[JournalOp, ...]
    reads: Reads
    publish: tuple[int, Change] | None
    done: Callable[[str | None], None] | None = None


class _Unwritten:
    """What a failing disk has not taken: names of what to write, so that it is bounded by the state itself."""

    def __init__(self) -> None:
        self.changes: dict[bytes, None] = {}
        self.slots: dict[Slot, None] = {}
        self.retired: list[Retire] = []  # nearly always empty, and an empty deque takes 600 bytes in every node

    def add(self, ops: tuple[JournalOp, ...], reads: Reads) -> None:
        for op in ops:
            if isinstance(op, Retire):
                self.retired.append(op)
                if len(self.retired) > ROWS_WAITING_MAX:
                    del self.retired[0]
            elif isinstance(op, PutChange | DropChange):
                self.changes[op.change_id] = None
        for slot, _ in reads:
            self.slots[slot] = None


class Replica:
    """Policy chain, live set, and what is being written.

    ``revision`` rises whenever the root or the policy version may be another one.
    """

    def __init__(
        self,
        environment: Environment,
        chain: PolicyChain,
        decode_change: Callable[[bytes, bytes], Change] = Change.decode,
    ) -> None:
        self.chain = chain
        self.live = LiveSet()
        self.revision = 0
        self.disk_error: str | None = None
        self.last_change_s = float("-inf")
        self._environment = environment
        self._decode_change = decode_change
        self._pending: dict[int, _Pending] = {}
        self._unwritten = _Unwritten()
        self._last_token = 0
        self._incarnation: bytes | None = None
        self._reserved_seq = 0
        self._published_seq = 0
        self._publishing: dict[bytes, Change] = {}
        self._history = History()
        self.conflicts = Conflicts()
        self._void = Void(environment, chain)
        self._loaded: dict[bytes, Change] = {}
        self._left_behind: list[tuple[Version, Change]] = []
        self._left_names: dict[bytes, None] = {}
        self._excused: dict[bytes, None] = {}
        self._recallable: list[bytes] = []
        self.stage_slots: dict[Slot, None] = {}
        """Slots under `_stages/` that ever held something here: to look through all for them would take long."""
        self.stage_revision = 0
        """Rises whenever one of them may hold something else, but for what a policy voids."""

    @property
    def root(self) -> bytes:
        """The fingerprint."""
        return self.live.root

    @property
    def policy_version(self) -> int:
        """The newest policy here."""
        return self.chain.head.version

    # -- restart ----------------------------------------------------------------------------------

    @property
    def pending_writes(self) -> int:
        """Writes that the disk has not answered yet."""
        return len(self._pending)

    def restore(
        self, changes: Iterable[Change], retired_headers: Iterable[Change], accepted_policies: Iterable[bytes]
    ) -> None:
        """Take over what the journal had: judged before it was written, and judged again now, signatures too.

        Of two policies with one number that the journal holds, the one among
        ``accepted_policies`` (change ids) stays in force. Raises what the judge raises: a
        journal that holds what the policy does not allow has been tampered with.
        """
        kept = list(changes)
        accepted = frozenset(accepted_policies)
        for change in sorted(policy_changes(kept), key=lambda one: (one.header.policy, one.id not in accepted)):
            self.chain.judge(change)
            self._enter(change)
        for change in kept:
            self.chain.judge(change)
            valid, void = self._void.sift(change)
            if valid is not None:
                self._left_behind.extend(self._add(valid).retired)
            if valid is not change:
                self._left_names[change.id] = None
            self._left_behind.extend((version, change) for version in void)
            self._loaded[change.id] = change
        self.conflicts.recall(self.live)
        for header in islice(retired_headers, RETIRED_HEADERS_RESTORED_MAX):
            try:
                self.chain.judge(header)
            except Rejected:
                if not self.is_disputed(header):
                    raise
                continue  # allowed by a policy that was in force here once
            if self._void.is_branch(header):
                self.live.remember_header(header)

    def adopt(self, checkpoint: Checkpoint) -> None:
        """Begin with what a verified checkpoint holds, and a journal by now. Before all else; the chain knows its
        policies."""
        self.live = checkpoint.live
        self.stage_slots = dict.fromkeys(self.live.under(STAGES_ROOT))
        self.stage_revision += 1
        self.conflicts.recall(self.live)
        self.revision += 1

    def merge(self, parts: Iterable[tuple[Change, bytes]]) -> int:
        """Take over changes with their bytes from a checkpoint, each judged as a peer's; return how many were news.

        One that is refused is left out: the checkpoint may know less of the policies than this node by now.
        """
        count = 0
        for change, data in parts:
            try:
                count += self.receive(change, None, data).is_news
            except (InvalidInput, Rejected) as error:
                self._environment.emit(ChangeRejected("the checkpoint", str(error)))
        return count

    def retire_left_behind(self) -> None:
        """Move to history what was still stored among the live: dead entries of a form that was not cut down yet,
        and what a crash has left between the write of a publish and that of what it supersedes."""
        left, self._left_behind = self._left_behind, []
        loaded, self._loaded = self._loaded, {}
        names, self._left_names = self._left_names, {}
        names.update((version.change_id, None) for version, _ in left)
        changed = [change_id for change_id in names if self.live.stored(change_id) is not loaded[change_id]]
        self._persist((*map(self._op_for, changed), *self._retirements(left)), ())

    def add_policies(self, changes: Iterable[Change]) -> None:
        """Take over policy changes from a verified cluster file, and write those that are new."""
        for change in changes:
            self.receive(change, None)

    # -- publishing -------------------------------------------------------------------------------

    def reserve(self, signer: bytes, slots: Iterable[Slot]) -> Reservation:
        """The number under which ``signer`` may publish to ``slots`` next.

        The incarnation is minted at the first call after a start, and again if a live
        version claims to have seen it further than it has come.
        """
        if self._incarnation is None:
            self._mint()
        assert self._incarnation is not None
        writer = Writer(signer, self._incarnation).id
        for slot in slots:
            if any(seq_of(version.entry.seen, writer) > self._published_seq for version in self.live.slot(slot)):
                self._mint()
                break
        self._reserved_seq += 1
        return Reservation(self._incarnation, self._reserved_seq)

    def publish(self, token: int, change: Change, *, is_compared: bool = False) -> None:
        """Judge and write a local publish; `Published` or `PublishFailed` with ``token`` follows.

        ``is_compared``: whoever signed it has compared it with what is live in its slots. It fails with
        StaleReservation if more is live there by now, or is about to be: then it is to be compared again.
        """
        try:
            self._check_publish(change)
            if is_compared:
                self._check_base(change)
        except GossipconfError as error:
            self._environment.emit(PublishFailed(token, error))
            return
        if change.header.writer.incarnation == self._incarnation:
            self._published_seq = change.header.seq
        self._persist((PutChange(change.id, change.encode()),), (), (token, change))

    def _check_publish(self, change: Change) -> None:
        if self.disk_error is not None:
            raise JournalWriteFailed(f"this agent cannot write ({self.disk_error}), so it takes no publish")
        if not change.is_whole:
            raise InvalidInput("only a whole change can be published")
        _check_slots(change)
        self.chain.judge(change)
        self._void.check(change)
        if not self._fits(change):
            raise Rejected("this change has as many signatures as it may have already")
        header = change.header
        if header.writer.incarnation == self._incarnation:
            if header.seq <= self._published_seq:
                raise StaleReservation(
                    f"number {header.seq} has been overtaken by {self._published_seq}; prepare and sign again"
                )
            if header.seq > self._reserved_seq:
                raise Rejected(f"number {header.seq} was not handed out by this agent")
        elif self.live.highest(change.writer_id) >= header.seq and not self.live.has_met(
            change.id, change.writer_id, header.seq
        ):
            raise StaleReservation("this writer's number is taken; prepare and sign again")

    def _check_base(self, change: Change) -> None:
        """Raise StaleReservation for what has not seen all that is live in its slots, or is on its way to the disk."""
        is_early = self.is_publishing(version.slot for version in change.versions)
        for version in change.versions:
            if is_early or not all(map(version.supersedes, self.live.slot(version.slot))):
                raise StaleReservation(f"{version.entry.key!r} has changed since its number was handed out; sign again")

    def is_publishing(self, slots: Iterable[Slot]) -> bool:
        """Whether a publish to one of ``slots`` is on its way to the disk, so that it does not live yet."""
        publishing = {entry.slot for change in self._publishing.values() for _, entry in change.entries}
        return not publishing.isdisjoint(slots)

    def _mint(self) -> None:
        self._incarnation = self._environment.rng.randbytes(INCARNATION_BYTES)
        self._reserved_seq = self._published_seq = 0

    # -- receiving --------------------------------------------------------------------------------

    def decode(self, data: bytes) -> Change:
        """Read a change of this cluster. Raises InvalidInput or Rejected."""
        return self._decode_change(data, self.chain.cluster_id)

    def receive(self, change: Change, source: str | None, data: bytes | None = None) -> Outcome:
        """Judge and add a change from a peer (or the cluster file). Raises InvalidInput or Rejected.

        ``data``: the bytes that it was decoded from, so that they need not be made again for the disk.
        """
        if self.live.holds(change):
            return Outcome()
        _check_slots(change)
        self.chain.judge(change)
        valid, void = self._void.sift(change)
        if void:
            self.live.bury(void)
            kept = self._void.quarantine(void, source)
            self._persist(tuple(self._retirements((version, change) for version in kept)), ())
        if valid is None or not self._fits(valid):
            return Outcome()
        outcome = self._enter(valid)
        self._persist(*self._writes(outcome, received=None if data is None else (change, data)))
        self._report(valid, outcome, source)
        return outcome

    def may_return(self, data: bytes) -> bool:
        """Whether a version from history is neither void nor refused, so that it is worth a `recalled`; signatures are
        checked there."""
        valid, _ = self._void.sift(self.decode(data))
        return valid is not None and bool(valid.entries) and self._void.allows(valid)

    def recalled(self, found: Iterable[bytes]) -> None:
        """Take what history had of slots where something has become void."""
        waiting, self._recallable = self._recallable, []
        for data in (*found, *waiting):
            try:
                valid, _ = self._void.sift(self.decode(data))
                if valid is not None:
                    self.receive(valid, None)
            except Rejected as error:  # what a policy fork holds back, for instance
                self._environment.emit(ChangeRejected("history", str(error)))

    def _fits(self, change: Change) -> bool:
        """Whether what is kept stays authorised with the approvals of ``change``, too.

        A change has room for so many; whoever holds as many keys could push one out that is needed, and every node
        would refuse its own journal at the next start. Then the nodes rather stay apart over who has approved it.
        The same goes for who has signed a policy: one that settles a fork bears no signature but the roots', and of a
        bare header nobody knows that it is one's.
        """
        kept = self.live.stored(change.id)
        if kept is None or not kept.entries:
            return True
        if len(kept.approvals) + len(change.approvals) < SIGNATURES_MAX and not carries_policy(kept):
            return True
        try:
            self.chain.judge(kept.union(change), signatures_checked=True)
        except Rejected:
            return False
        return True

    def _enter(self, change: Change) -> Outcome:
        """Add a judged change; a policy that it carries comes into force."""
        self.revision += 1
        outcome = self._add(change)
        self._accept(change, outcome)
        return outcome

    def _accept(self, change: Change, outcome: Outcome) -> bool:
        """Put the policy that ``change`` carries in force, if it carries one whose turn it is; whether it did."""
        policy = self.chain.accept(change)
        if policy is None:
            return False
        self._environment.emit(PolicyAccepted(policy.version))
        if self._void.policy_accepted(policy, self.live, outcome):
            # What is on its way into history may be missed by who looks there now.
            self._recallable += self._history.waiting()
        if policy.settles:
            self._follow(outcome)
        return True

    def _follow(self, outcome: Outcome) -> None:
        """Put in force what comes after a policy that has settled a fork: it may be here, as what came after the policy
        that had its number before, and nobody would send it again."""
        while True:
            slot = self.live.slot((policy_key(self.policy_version + 1), ""))
            parts = filter(None, (self.live.part(version.change_id) for version in slot))
            if not any(self._void.allows(part) and self._accept(part, outcome) for part in parts):
                return

    def _add(self, change: Change) -> Outcome:
        outcome = self.live.add(change, is_branch=self._void.is_branch(change))
        for version in outcome.gained:
            if is_stage_key(version.entry.key):
                self.stage_slots[version.slot] = None
                self.stage_revision += 1
        return outcome

    def is_excused(self, change: Change, error: Exception) -> bool:
        """Whether an honest peer may have sent a ``change`` that was refused with ``error``: who has accepted another
        branch of a policy fork believes what that allows. No policy allows a forged signature, which costs most."""
        if not isinstance(error, NotAuthorised) or not self.is_disputed(change):
            return False
        if change.id in self._excused or any(number <= change.header.policy for number in self.chain.disputed):
            return True
        if len(self._excused) == EXCUSED_MAX:
            return False
        try:
            self.chain.judge_as_set_aside(change)
        except Rejected:
            return False
        self._excused[change.id] = None
        return True

    def is_disputed(self, change: Change) -> bool:
        """Whether ``change`` names a policy beyond a fork: who has accepted another branch may believe it."""
        return any(number <= change.header.policy for number in self.chain.forked)

    def _report(self, change: Change, outcome: Outcome, source: str | None) -> None:
        if outcome.is_news:
            self.last_change_s = self._environment.now.monotonic_s
            self._environment.emit(Applied(change.id, tuple(outcome.gained), len(outcome.retired), source))
        opened, closed = self.conflicts.follow(
            (*(one.slot for one in outcome.gained), *(one.slot for one, _ in outcome.retired)), self.live
        )
        if opened:
            self._environment.emit(ConflictOpened(opened))
        if closed:
            self._environment.emit(ConflictClosed(closed))
        for writer, seq in outcome.forks:
            self._environment.emit(ForkFound(writer, seq, tuple(self.live.forks()[writer, seq])))
        for version in outcome.gained:
            if covers(POLICY_PREFIX, version.entry.key) and self.chain.is_disputed(change.header.policy + 1):
                self._environment.emit(PolicyFork(change.header.policy + 1))

    # -- writing ----------------------------------------------------------------------------------

    def persisted(self, token: int, error: str | None) -> Change | None:
        """A write ended; return the change that was published by it, now to be spread."""
        pending = self._pending.pop(token)
        if pending.publish is not None:
            self._publishing.pop(pending.publish[1].id, None)
        if error is not None:
            self._write_failed(pending, error)
            if pending.done is not None:
                pending.done(error)
            return None
        self._history.written(pending.ops)
        recovered = self.disk_error is not None
        if recovered:
            self.disk_error = None
            self._environment.emit(DiskRecovered())
        change = None if pending.publish is None else self._acknowledge(*pending.publish)
        if recovered:
            self._write_missed()
        if pending.done is not None:
            pending.done(None)
        return change

    def _acknowledge(self, publish_token: int, change: Change) -> Change | None:
        """A local publish is on disk: now it lives, unless a floor or another policy has come meanwhile."""
        try:
            self.chain.judge(change, signatures_checked=True)
            self._void.check(change)
        except Rejected as error:
            self._environment.emit(PublishFailed(publish_token, error))
            self._persist((self._op_for(change.id), *self._retirements((one, change) for one in change.versions)), ())
            return None
        outcome = self._enter(change)
        ops, reads = self._writes(outcome, written=change)
        unsettled = {slot for other in self._pending.values() for slot, _ in other.reads}
        if unsettled.isdisjoint(slot for slot, _ in reads):
            # All that these reads rest on is on disk, so the acknowledged value can be read at once.
            self._environment.output(Show(reads))
            reads = ()
        self._persist(ops, reads)
        self._environment.emit(Published(publish_token, change.id))
        self._report(change, outcome, None)
        return change

    def write_meta(self, op: PutMeta) -> None:
        """Write a small named state; while the disk refuses it is dropped, since it will be written again."""
        if self.disk_error is None:
            self._persist((op,), ())

    def write_then(self, op: PutMeta, done: Callable[[str | None], None]) -> None:
        """Write a small named state; ``done`` is called with None once it is on disk, or with why it never will be."""
        if self.disk_error is not None:
            done(self.disk_error)
        else:
            self._output(_Pending((op,), (), None, done))

    def _write_failed(self, pending: _Pending, error: str) -> None:
        if self.disk_error is None:
            self._environment.emit(DiskFailed(error))
            self._environment.call_later(DISK_RETRY_S, self._write_again)
        self.disk_error = error
        if pending.publish is not None:
            publish_token, change = pending.publish
            self._environment.emit(PublishFailed(publish_token, JournalWriteFailed(error)))
            if self.live.stored(change.id) is not None:  # what came of it from a peer stays, and only that
                self._unwritten.changes[change.id] = None
        else:
            self._unwritten.add(pending.ops, pending.reads)

    def _write_again(self) -> None:
        """Try to write all that could not be written, as it is now."""
        if self.disk_error is None:
            return
        self._environment.call_later(DISK_RETRY_S, self._write_again)
        if not self._pending:
            self._write_missed(as_a_probe=True)

    def _write_missed(self, *, as_a_probe: bool = False) -> None:
        """Write all that the disk has refused, as it is now; ``as_a_probe``: write something even so."""
        unwritten, self._unwritten = self._unwritten, _Unwritten()
        ops: tuple[JournalOp, ...] = (*map(self._op_for, unwritten.changes), *unwritten.retired)
        reads = tuple((slot, self.live.slot(slot)) for slot in unwritten.slots)
        if as_a_probe or ops or reads:
            # The accepted policies are small and always worth writing: a write of nothing would be no probe.
            ops = (*ops, self._policies_op())
            self._output(_Pending(ops, reads, None))

    def _writes(
        self, outcome: Outcome, *, written: Change | None = None, received: tuple[Change, bytes] | None = None
    ) -> tuple[tuple[JournalOp, ...], Reads]:
        """What must go to disk after ``outcome``, and what readers see then.

        ``written`` is on disk already; ``received`` is a form whose bytes are at hand.
        """
        stored = dict(outcome.stored)
        if written is not None:
            if self.live.stored(written.id) is written:
                stored.pop(written.id, None)
            else:
                stored[written.id] = None  # it was superseded while it was written, at least in part
        ops: list[JournalOp] = [self._op_for(change_id, received) for change_id in stored]
        accepted = self.chain.accepted
        if any(change_id in stored for change_id in accepted) or (written is not None and written.id in accepted):
            ops.append(self._policies_op())
        slots: dict[Slot, None] = {version.slot: None for version in outcome.gained}
        slots.update((version.slot, None) for version, _ in outcome.retired)
        ops.extend(self._retirements(outcome.retired))
        return tuple(ops), tuple((slot, self.live.slot(slot)) for slot in slots)

    def _op_for(self, change_id: bytes, received: tuple[Change, bytes] | None = None) -> JournalOp:
        # A part of a publish may come back before it is on disk: keep what is about to be acknowledged.
        form = self._publishing.get(change_id) or self.live.stored(change_id)
        if form is None:
            return DropChange(change_id)
        return PutChange(change_id, received[1] if received and form is received[0] else form.encode())

    def _policies_op(self) -> JournalOp:
        return PutMeta(SAVED_POLICIES, encode(self.chain.accepted))

    def _retirements(self, retired: Iterable[tuple[Version, Change]]) -> Iterator[Retire]:
        return self._history.rows(retired, self.live, self._environment.now.wall_ms)

    def retiring(self, version_id: bytes) -> bytes | None:
        """A version that has been superseded here and is not in history yet, as an encoded change of one entry."""
        return self._history.get(version_id)

    def _persist(self, ops: tuple[JournalOp, ...], reads: Reads, publish: tuple[int, Change] | None = None) -> None:
        if self.disk_error is not None and publish is None:
            self._unwritten.add(ops, reads)
        elif ops or reads:
            self._output(_Pending(ops, reads, publish))

    def _output(self, pending: _Pending) -> None:
        self._last_token += 1
        self._pending[self._last_token] = pending
        if pending.publish is not None:
            self._publishing[pending.publish[1].id] = pending.publish[1]
        self._environment.output(Persist(self._last_token, pending.ops, pending.reads))

    # -- what peers may ask for -------------------------------------------------------------------

    def policies_after(self, version: int) -> list[Change]:
        """The changes that carry the policies after ``version``, and all of those of which there are several: in order,
        of one version first the one in force."""
        found = []
        accepted = self.chain.accepted
        numbers = {*range(version + 1, self.policy_version + 1), *self.chain.forked}
        for number in sorted(numbers):
            slot = self.live.slot((policy_key(number), ""))
            for one in sorted(slot, key=lambda version: version.change_id not in accepted):
                part = self.live.part(one.change_id)
                assert part is not None
                found.append(part)
        return found


def decode_saved_policies(data: bytes | None) -> tuple[bytes, ...]:
    """The ids of accepted policy changes; none for what cannot be read: then the smallest id of each number counts."""
    if data is None:
        return ()
    try:
        ids = as_array(decode(data, "the accepted policies", VALUE_BYTES_MAX), "the accepted policies")
        return tuple(as_bytes(one, "a change id", HASH_BYTES) for one in ids)
    except InvalidInput:
        return ()


def _check_slots(change: Change) -> None:
    """One form of a change may name a slot once.

    Two entries of one change in one slot are both valid (docs/decisions/002), but they
    travel apart: 16,384 siblings at once would cost minutes to compare.
    """
    if len(change.entries) > 1 and len({entry.slot for _, entry in change.entries}) != len(change.entries):
        raise Rejected("the change names a key twice; such entries travel one by one")
