"""What nodes say of changes, signed: votes on a canary, acks and nacks of a stage (`trust.statement`).

    wanted     Statements are kept and passed on only about what somebody here is interested in: a
               live canary with a limit, an open stage. So nobody but an admin makes a subject,
               and what is said of it ends with it.
    the set    what is held of a subject is a function of which valid statements about it have
               come, up to the bounds of `statement_book`: neither the order of arrival, nor a
               clock, nor the policy is asked. So two nodes that are interested in the same and
               have met the same hold the same.
    spread     what is news here goes once over each other link. What got lost so is found by
               comparison: a digest of all names at the start of each link, and again wherever
               something was dropped; then those subjects, and of them those statements, that
               differ. So all that are connected come to hold the same.
    durable    A node's own statement is sent once it is on disk, and no other that contradicts
               it is ever made there. What others have said is written too.
    revoked    Whom the policy in force shuts out is not counted (`of`); what it has said stays
               here as evidence (`about`), and counts again if the policy takes it back.

A statement may come before the change that it speaks of. It is not kept then; which link has
named the subject is, and once the change is here that link is asked.

What hostile peers can do: have UNKNOWN_MAX ids of 32 bytes remembered for each of their links,
have VERIFIED_PER_S signatures verified a second, be told what is held here at a bounded rate,
and hold back what they know. A hostile node with a certificate can say each kind once of each
open subject, and no more: two words of it that contradict each other are told as an event, and
both are kept, so that everybody can see it. Whoever counts must let a NACK prevail: it holds
things as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from ..model.errors import BadSignature, InvalidInput, Rejected, WrongCluster
from ..trust.membership import Membership
from ..trust.policy import Policy
from ..trust.statement import OPPOSITES, Kind, Notary, SignedStatement, Statement
from .environment import Environment, LinkId
from .events import Contradiction, Said, SayFailed, StatementRefused
from .link import Link
from .messages import (
    SAID_BATCH_MAX,
    SaidBatch,
    SaidDigest,
    SaidItems,
    SaidNews,
    SaidSubjects,
)
from .overlay import Overlay
from .replica import Replica
from .statement_book import Claim, Held, StatementBook, items_in, row_op
from .token_bucket import TokenBucket

Message: TypeAlias = SaidNews | SaidDigest | SaidSubjects | SaidItems | SaidBatch
MESSAGES: Final = (SaidNews, SaidDigest, SaidSubjects, SaidItems, SaidBatch)
"""What this machine takes."""
UNKNOWN_MAX: Final = 64
"""Subjects that a link has named and nobody here knows, remembered until they are known: the latest."""
VERIFIED_PER_S: Final = 100.0
"""Statements of one peer that are verified a second: 0.4 ms each, with the certificates."""
VERIFIED_BURST: Final = 2_048.0
"""And at once: both kinds of a stage of 1,000 participants."""
ANSWERED_PER_S: Final = 16.0
"""Questions of one peer that are answered a second."""
ANSWERED_BURST: Final = 512.0
"""And at once: one for each subject, twice over."""
BATCHES_PER_S: Final = 4.0
"""Answers with statements among them: 1 MB/s."""
BATCHES_BURST: Final = 64.0
"""And at once."""
BATCH_BYTES: Final = 256 << 10
"""Statements in one answer: a stage of 1,000 participants takes four turns, and other sync still has room."""
NEWS_AT_ONCE: Final = 16
"""So many statements of one answer are passed on as news; of more the other peers are shown the digest only, since
they are likely to be told the same by others."""
COMPARE_S: Final = 1.0
"""Pause before a peer is shown the digest again: what is dropped meanwhile is compared together."""
SHOW_S: Final = 0.2
"""And before many statements that have come at once are shown to the others: what comes with them is shown together."""
ASKED_MAX: Final = 1_024
"""Subjects remembered for that of each peer: four times as many as there can be."""
AGAIN_S: Final = 5.0
"""A peer is not asked twice about a subject within this time, unless it has said that there is more."""
YOUNG_S: Final = 10.0
"""A link is kept for a comparison at most so long: it may be the only one into another half."""


class Interest(Protocol):
    """Whoever counts statements: asked what is to be kept, told what has come."""

    def knows(self, subject: bytes) -> bool:
        """Whether statements about ``subject`` matter now. A look-up: it is asked often."""

    def wants(self, statement: Statement) -> bool:
        """Whether this one does, about a subject that is known."""

    def claim(self, subject: bytes) -> Claim:
        """On whose account ``subject``, which is known, takes room."""

    def heard(self, subject: bytes) -> None:
        """What is held or counted of ``subject`` is something else now."""


@dataclass(slots=True)
class _Peer:
    """What is remembered of a link over which something was said: as a rule of none.

    unknown:   subjects that it has named and nobody here knows, the latest last
    asked_s:   when it was told last what is held here of a subject, which asks for the rest
    settled:   whether it was found to hold the same
    """

    link: Link
    unknown: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    asked_s: dict[bytes, float] = field(default_factory=dict)
    settled: bool = False
    comparing: bool = False
    verified: TokenBucket = field(default_factory=lambda: TokenBucket(VERIFIED_PER_S, VERIFIED_BURST))
    answered: TokenBucket = field(default_factory=lambda: TokenBucket(ANSWERED_PER_S, ANSWERED_BURST))
    batches: TokenBucket = field(default_factory=lambda: TokenBucket(BATCHES_PER_S, BATCHES_BURST))


class Statements:
    """What nodes have said of what matters here.

    ``notary``: how statements are signed and verified; without one this node says nothing and believes nobody.
    """

    def __init__(
        self, environment: Environment, replica: Replica, overlay: Overlay, notary: Notary | None = None
    ) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._notary = notary
        self._interests: list[Interest] = []
        self._book = StatementBook()
        self._saying: dict[bytes, Statement] = {}
        self._peers: dict[LinkId, _Peer] = {}
        self._policy: Policy | None = None
        self._members = Membership()
        needed = overlay.is_needed
        overlay.is_needed = lambda link: self._is_needed(link) or needed(link)

    def interest(self, interest: Interest) -> None:
        """Ask ``interest`` too from now on. To be called before `restore`."""
        self._interests.append(interest)

    def restore(self, rows: Mapping[int, bytes]) -> None:
        """Take over what the journal had; what matters no more, or is not true, is left out. Before any link."""
        for row, data in self._book.restored(rows):
            try:
                signed = SignedStatement.decode(data)
                if self._is_wanted(signed.statement) and signed.statement not in self._book:
                    certificates = self._verify(signed)
                    if (crowded := self._crowded_out(signed.statement, data)) is not None:
                        self._add(crowded, signed.statement, data, certificates, row)
            except (InvalidInput, Rejected) as error:
                self._environment.emit(StatementRefused("the journal", str(error)))
        self._see_policy()

    # -- reading ----------------------------------------------------------------------------------

    def subjects(self) -> list[bytes]:
        """All of which anything is held."""
        return self._book.subjects()

    def of(self, subject: bytes) -> Mapping[str, Statement]:
        """What counts of what was said of ``subject``, by node, in order. Of a node that has said ack and nack the nack
        counts."""
        counted: dict[str, Statement] = {}
        for held in sorted(self._book.about(subject).values(), key=lambda one: one.statement.kind):
            if self._refusal(held) is None:
                counted[held.statement.node_id] = held.statement
        return dict(sorted(counted.items()))

    def about(self, subject: bytes) -> list[Held]:
        """All that is held of ``subject``, also of those who are shut out, by node and kind."""
        return sorted(self._book.about(subject).values(), key=lambda one: (one.statement.node_id, one.statement.kind))

    def has_said(self, kind: Kind, subject: bytes) -> bool:
        """Whether this node has said it, or is about to."""
        statement = self._own(kind, subject)
        return statement in self._book or statement.item in self._saying

    # -- saying -----------------------------------------------------------------------------------

    def say(self, kind: Kind, subject: bytes) -> None:
        """Say it, once it is on disk: `Said` follows, or `SayFailed`; at once if it is said already.

        Raises Rejected if nobody here is interested, there is no room, or it contradicts what was said; KeyFileError
        if it cannot be signed.
        """
        statement = self._own(kind, subject)
        if statement in self._book:
            self._environment.emit(Said(kind, subject))
        if self.has_said(kind, subject):
            return
        if not self._is_wanted(statement):
            raise Rejected(f"nothing here waits for a word on {subject.hex()[:8]}…")
        opposite = OPPOSITES.get(kind)
        if opposite is not None and self.has_said(opposite, subject):
            raise Rejected(f"this node has said {opposite.name.lower()} already, and cannot take it back")
        if self._notary is None:
            raise Rejected("this node has no certificate to speak with")
        signed = self._notary.sign(statement)
        data = signed.encode()
        SignedStatement.decode(data)
        if self._crowded_out(statement, data) is None:
            raise Rejected(f"there is no room for a word on {subject.hex()[:8]}… beside others that matter more")
        certificates = self._notary.verify(signed)
        row = self._book.take_row()
        self._saying[statement.item] = statement
        self._replica.write_then(row_op(row, data), lambda error: self._said(statement, data, certificates, row, error))

    def _said(
        self, statement: Statement, data: bytes, certificates: tuple[bytes, ...], row: int, error: str | None
    ) -> None:
        """An own statement is on disk, or will never be."""
        del self._saying[statement.item]
        if error is None and not self._is_wanted(statement):
            error = "it matters no more"
        crowded = self._crowded_out(statement, data) if error is None else ()
        if error is None and (crowded is None or not self._add(crowded, statement, data, certificates, row)):
            error = "there is no room for it"
        if error is not None:
            self._book.return_row(row)
            self._environment.emit(SayFailed(statement.kind, statement.subject, error))
            return
        for subject in crowded or ():
            self._tell(subject)
        self._overlay.send_all(self._overlay.ready_links(), SaidNews(data))
        self._environment.emit(Said(statement.kind, statement.subject))
        self._tell(statement.subject)

    def _own(self, kind: Kind, subject: bytes) -> Statement:
        return Statement(
            self._replica.chain.cluster_id,
            kind,
            subject,
            self._overlay.identity.node_id,
            self._environment.now.wall_ms,
        )

    # -- inputs -----------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Show a new peer the digest; who has nothing to show waits for the other's."""
        if self._book.subjects():
            self._peer(link)
            self._overlay.send(link, SaidDigest(self._book.digest()))

    def link_down(self, link: Link) -> None:
        """Forget a peer."""
        self._peers.pop(link.id, None)

    def dropped(self, link: Link) -> None:
        """The link's queue was full: what was lost is found by a comparison."""
        peer = self._peers.get(link.id)
        if self._book.subjects() or (peer is not None and peer.asked_s):  # else nothing can have been lost
            self._compare_later(self._peer(link))

    def handle(self, link: Link, message: Message) -> None:
        """Take one of MESSAGES. Whatever is wrong with a statement ends here."""
        if not link.ready or self._notary is None:
            return
        peer = self._peer(link)
        match message:
            case SaidNews():
                self._take(peer, message.statement, passes_on=True)
            case SaidBatch():
                self._take_batch(peer, message)
            case SaidDigest():
                self._compare(peer, message.digest)
            case SaidSubjects():
                self._compare_subjects(peer, dict(message.subjects))
            case SaidItems():
                self._give(peer, message.subject, items_in(message.items))

    def settle(self) -> None:
        """The replicated set or the policy is another one: some subjects may have ended, others may matter now."""
        for subject in self._book.subjects():
            if not self._knows(subject):
                self._book.drop(subject)
        asked: set[bytes] = set()
        for peer in list(self._peers.values()):
            for subject in [one for one in peer.unknown if self._knows(one)]:
                del peer.unknown[subject]
                if subject in asked:
                    self._compare_later(peer)
                else:
                    asked.add(subject)
                    self._ask(peer, subject)
        if self._see_policy():
            for subject in self._book.subjects():
                self._tell(subject)

    # -- taking -----------------------------------------------------------------------------------

    def _take(self, peer: _Peer, data: bytes, *, passes_on: bool) -> bool:
        """Take a statement that a peer has sent; whether it was news."""
        try:
            signed = SignedStatement.decode(data)
            statement = signed.statement
            if not self._knows(statement.subject):
                self._note_unknown(peer, statement.subject)
                return False
            if statement in self._book or not self._is_wanted(statement):
                return False
            if not peer.verified.take(self._environment.now.monotonic_s):
                self._compare_later(peer)
                return False
            crowded = self._crowded_out(statement, data)
            if crowded is None:
                return False
            certificates = self._verify(signed)
        except (WrongCluster, BadSignature, InvalidInput) as error:  # what no honest peer passes on
            self._overlay.fault(peer.link, str(error))
            self._environment.emit(StatementRefused(peer.link.node_id, str(error)))
            return False
        except Rejected as error:  # an honest peer may know other CAs
            self._environment.emit(StatementRefused(peer.link.node_id, str(error)))
            return False
        if not self._add(crowded, statement, data, certificates):
            return False
        for subject in crowded:
            self._tell(subject)
        self._replica.write_meta(self._book.row_op(statement))
        if passes_on:
            others = [link for link in self._overlay.ready_links() if link is not peer.link]
            self._overlay.send_all(others, SaidNews(data))
        self._look_for_contradiction(statement)
        self._tell(statement.subject)
        return True

    def _take_batch(self, peer: _Peer, batch: SaidBatch) -> None:
        passes_on = len(batch.statements) <= NEWS_AT_ONCE
        news = [self._take(peer, data, passes_on=passes_on) for data in batch.statements]
        if batch.more and any(news) and self._knows(batch.subject):
            self._ask(peer, batch.subject)
        elif any(news) and not peer.settled:
            self._compare_later(peer)
        if any(news) and not passes_on:
            for link in self._overlay.ready_links():
                if link is not peer.link:
                    self._compare_later(self._peer(link), SHOW_S)

    def _verify(self, signed: SignedStatement) -> tuple[bytes, ...]:
        """Raises a Rejected that says why it is not to be believed; returns the fingerprints of its certificates."""
        statement, cluster_id = signed.statement, self._replica.chain.cluster_id
        if statement.cluster != cluster_id:
            raise WrongCluster(
                f"the statement belongs to cluster {statement.cluster.hex()[:8]}…, this is {cluster_id.hex()[:8]}…"
            )
        if self._notary is None:
            raise Rejected("this node has no certificates to verify statements by")
        return self._notary.verify(signed)

    def _crowded_out(self, statement: Statement, data: bytes) -> Sequence[bytes] | None:
        """What has to go for a statement; None: there is no room for it."""
        return self._book.crowded_out(statement, len(data), self._claim)

    def _claim(self, subject: bytes) -> Claim:
        return next((one.claim(subject) for one in self._interests if one.knows(subject)), Claim(b""))

    def _add(
        self,
        crowded: Iterable[bytes],
        statement: Statement,
        data: bytes,
        certificates: tuple[bytes, ...],
        row: int | None = None,
    ) -> bool:
        """Keep a verified statement, after what it crowds out was dropped; False if others prevail."""
        for subject in crowded:
            self._book.drop(subject)
        return self._book.add(statement, data, certificates, row)

    def _look_for_contradiction(self, statement: Statement) -> None:
        opposite = OPPOSITES.get(statement.kind)
        if opposite is not None:
            other = Statement(statement.cluster, opposite, statement.subject, statement.node_id, 0)
            if other in self._book:
                self._environment.emit(Contradiction(statement.node_id, statement.subject))

    # -- comparing --------------------------------------------------------------------------------

    def _compare(self, peer: _Peer, digest: bytes) -> None:
        """A peer has shown its digest: show it the subjects if it is another one."""
        peer.settled = digest == self._book.digest()
        if peer.settled:
            self._overlay.close_probe(peer.link)
        elif self._may_answer(peer):
            self._overlay.send(peer.link, SaidSubjects(tuple(self._book.digests())))

    def _compare_subjects(self, peer: _Peer, theirs: Mapping[bytes, bytes]) -> None:
        """A peer has shown its subjects: tell it what is held here of those that differ, which asks for the rest."""
        if not self._may_answer(peer):
            return
        ours = dict(self._book.digests())
        peer.settled = theirs == ours
        for subject in [one for one in {**theirs, **ours} if theirs.get(one) != ours.get(one)]:
            if not self._knows(subject):
                self._note_unknown(peer, subject)
            elif self._was_asked(peer, subject):
                self._compare_later(peer)
            else:
                self._ask(peer, subject)

    def _give(self, peer: _Peer, subject: bytes, theirs: frozenset[bytes]) -> None:
        """A peer has told what it holds of a subject: give it what it lacks, and ask for what is lacking here."""
        if not self._knows(subject):
            if theirs:
                self._note_unknown(peer, subject)
            return
        if not self._may_answer(peer):
            return
        held = self._book.about(subject)
        missing = [one.data for item, one in held.items() if item not in theirs]
        if missing and peer.batches.take(self._environment.now.monotonic_s):
            batch = _first(missing, BATCH_BYTES)
            self._overlay.send(peer.link, SaidBatch(subject, batch, len(batch) < len(missing)))
        elif missing:
            self._compare_later(peer)
        if any(item not in held for item in theirs) and not self._was_asked(peer, subject):
            self._ask(peer, subject)

    def _was_asked(self, peer: _Peer, subject: bytes) -> bool:
        """Whether a peer was asked so lately that it is not asked again: an answer may be on its way."""
        return self._environment.now.monotonic_s < peer.asked_s.get(subject, float("-inf")) + AGAIN_S

    def _ask(self, peer: _Peer, subject: bytes) -> None:
        """Tell a peer what is held here of a subject: it gives what is missing."""
        peer.asked_s[subject] = self._environment.now.monotonic_s
        if len(peer.asked_s) > ASKED_MAX:
            del peer.asked_s[next(iter(peer.asked_s))]
        self._overlay.send(peer.link, SaidItems(subject, b"".join(self._book.about(subject))))

    def _may_answer(self, peer: _Peer) -> bool:
        if peer.answered.take(self._environment.now.monotonic_s):
            return True
        self._compare_later(peer)
        return False

    def _compare_later(self, peer: _Peer, pause_s: float = COMPARE_S) -> None:
        """Show a peer the digest again, soon."""
        if not peer.comparing:
            peer.comparing = True
            self._environment.call_later(pause_s, lambda: self._show_digest(peer))

    def _show_digest(self, peer: _Peer) -> None:
        peer.comparing = False
        if self._peers.get(peer.link.id) is peer and peer.link.ready:
            self._overlay.send(peer.link, SaidDigest(self._book.digest()))

    def _peer(self, link: Link) -> _Peer:
        peer = self._peers.get(link.id)
        if peer is None:
            peer = self._peers[link.id] = _Peer(link)
        return peer

    def _note_unknown(self, peer: _Peer, subject: bytes) -> None:
        peer.unknown[subject] = None
        peer.unknown.move_to_end(subject)
        if len(peer.unknown) > UNKNOWN_MAX:
            peer.unknown.popitem(last=False)

    def _is_needed(self, link: Link) -> bool:
        """Whether a new link must stay until statements have been compared."""
        peer = self._peers.get(link.id)
        young = self._environment.now.monotonic_s < link.opened_s + YOUNG_S
        return peer is not None and young and not peer.settled

    # -- interest ---------------------------------------------------------------------------------

    def _knows(self, subject: bytes) -> bool:
        return any(interest.knows(subject) for interest in self._interests)

    def _is_wanted(self, statement: Statement) -> bool:
        return any(one.knows(statement.subject) and one.wants(statement) for one in self._interests)

    def _tell(self, subject: bytes) -> None:
        for interest in self._interests:
            if interest.knows(subject):
                interest.heard(subject)

    def _see_policy(self) -> bool:
        """Take over what the policy in force says of nodes; whether it is another one."""
        head = self._replica.chain.head
        if head is self._policy:
            return False
        self._policy, before = head, self._members
        self._members = Membership.of(head)
        return (self._members.nodes, self._members.certificates) != (before.nodes, before.certificates)

    def _refusal(self, held: Held) -> str | None:
        return self._members.refusal(held.statement.node_id, held.certificates)


def _first(forms: Iterable[bytes], bytes_max: int) -> tuple[bytes, ...]:
    """As many as ``bytes_max`` and a message have room for, and at least one."""
    taken: list[bytes] = []
    for form in forms:
        bytes_max -= len(form)
        if taken and (bytes_max < 0 or len(taken) == SAID_BATCH_MAX):
            break
        taken.append(form)
    return tuple(taken)
