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

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from ..model.errors import BadSignature, InvalidInput, Rejected, WrongCluster
from ..trust.membership import Membership
from ..trust.policy import Policy
from ..trust.statement import OPPOSITES, Kind, Notary, SignedStatement, Statement
from .environment import Environment
from .events import Contradiction, Said, SayFailed, StatementRefused
from .link import Link
from .messages import (
    SaidBatch,
    SaidDigest,
    SaidItems,
    SaidNews,
    SaidSubjects,
)
from .overlay import Overlay
from .replica import Replica
from .statement_book import Claim, Held, StatementBook, row_op
from .statement_comparison import Comparison, Peer

Message: TypeAlias = SaidNews | SaidDigest | SaidSubjects | SaidItems | SaidBatch
MESSAGES: Final = (SaidNews, SaidDigest, SaidSubjects, SaidItems, SaidBatch)
"""What this machine takes."""
NEWS_AT_ONCE: Final = 16
"""So many statements of one answer are passed on as news; of more the other peers are shown the digest only, since
they are likely to be told the same by others."""
SHOW_S: Final = 0.2
"""And before many statements that have come at once are shown to the others: what comes with them is shown together."""


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
        self._comparison = Comparison(environment, overlay, self._book, self._knows)
        self._policy: Policy | None = None
        self._members = Membership()
        needed = overlay.is_needed
        overlay.is_needed = lambda link: self._comparison.is_needed(link) or needed(link)

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
        """See `Comparison.link_up`."""
        self._comparison.link_up(link)

    def link_down(self, link: Link) -> None:
        """Forget a peer."""
        self._comparison.link_down(link)

    def dropped(self, link: Link) -> None:
        """See `Comparison.dropped`."""
        self._comparison.dropped(link)

    def handle(self, link: Link, message: Message) -> None:
        """Take one of MESSAGES. Whatever is wrong with a statement ends here."""
        if not link.ready or self._notary is None:
            return
        peer = self._comparison.peer(link)
        match message:
            case SaidNews():
                self._take(peer, message.statement, passes_on=True)
            case SaidBatch():
                self._take_batch(peer, message)
            case _:
                self._comparison.handle(peer, message)

    def settle(self) -> None:
        """The replicated set or the policy is another one: some subjects may have ended, others may matter now."""
        for subject in self._book.subjects():
            if not self._knows(subject):
                self._book.drop(subject)
        self._comparison.settle()
        if self._see_policy():
            for subject in self._book.subjects():
                self._tell(subject)

    # -- taking -----------------------------------------------------------------------------------

    def _take(self, peer: Peer, data: bytes, *, passes_on: bool) -> bool:
        """Take a statement that a peer has sent; whether it was news."""
        try:
            signed = SignedStatement.decode(data)
            statement = signed.statement
            if not self._knows(statement.subject):
                self._comparison.note_unknown(peer, statement.subject)
                return False
            if statement in self._book or not self._is_wanted(statement):
                return False
            if not peer.verified.take(self._environment.now.monotonic_s):
                self._comparison.later(peer)
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

    def _take_batch(self, peer: Peer, batch: SaidBatch) -> None:
        passes_on = len(batch.statements) <= NEWS_AT_ONCE
        news = [self._take(peer, data, passes_on=passes_on) for data in batch.statements]
        if batch.more and any(news) and self._knows(batch.subject):
            self._comparison.ask(peer, batch.subject)
        elif any(news) and not peer.settled:
            self._comparison.later(peer)
        if any(news) and not passes_on:
            for link in self._overlay.ready_links():
                if link is not peer.link:
                    self._comparison.later(self._comparison.peer(link), SHOW_S)

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
