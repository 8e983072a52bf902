"""Acks: who has applied a change. A standing question, so that it costs nothing while nobody asks.

The echo algorithm: E. J. H. Chang, "Echo algorithms: depth parallel operations on
general graphs" (1982); A. Segall, "Distributed network protocols" (1983), there called
propagation of information with feedback. An asker sends `Ask` on all its links; whoever
hears it for the first time takes the link over which it came for the way to its
*parent*, and asks on all its other links. So on each link each side says one thing: its
own `Ask`, "I am not your child", or its `Report`, "I am, and this is the tally of my
part". A node reports once every link has answered, or in part if some take too long,
and again whenever its tally changes: a report replaces the one before, and the asker
sees who applies the change as it happens. The lease, a minute at most, ends what nobody
renews or cancels.

    no loops       A node's parent is *above* it: (depth, name) smaller than its own, by
                   the last `Ask` that came from there. The depth that a node tells is
                   fixed in an epoch: whoever loses its parent reports to another one
                   above it, and to nobody if there is none. Along the way from child to
                   parent (depth, name) falls at every step, so no way leads back. Two may
                   tell another depth: one that has forgotten the question and takes part
                   again, and one that has lost its parent and knows of nobody above it:
                   it lets its children go and then begins anew below one of the others.
                   Both tell it on all links, and whoever is not below them any more
                   leaves them. So the order holds of all once what is under way has come.
    no doubles     A node sends its `Report` to one parent; where it leaves one whose
                   link lives, it says so by an `Ask`, and a link that is lost takes the
                   report with it. Both ends see one order, that of the link. So at rest
                   each node is in the report of one parent: it counts once.
    no losses      Whoever loses a link that had led to a child, or had not answered,
                   writes the other's name down as *torn*, and whoever has lost a link or
                   left a parent its own as *mended*, which comes to the asker only by a
                   parent that counts it. A tally with a name torn and not mended is not
                   whole: the asker begins a new epoch, in which all depths and parents
                   are new. Who does not answer at all is named, and asked again.

An epoch costs an `Ask` each way on each link, and a `Report` a node; it is the asker
alone who begins one, at most EPOCHS_PER_S, to renew the lease and where something is torn.

What hostile peers can do: lie about their own part, that is invent or hide nodes, and
call them what they like, as far as the limits of `tally` go; and as they can claim any
depth, a large part can become theirs. They can spoil a question that they have heard
by a later epoch (its asker then asks anew under another id). They can invent nothing for
long and drown nobody: new questions and epochs are taken from each link, and from all,
at a bounded rate, and of too many the oldest of the link with the most give way.
Tallies are hearsay: nothing but what people see may rest on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final

from ..model.errors import InvalidInput, LimitExceeded
from .asker import PATIENCE_S, Asker
from .environment import Environment, LinkId
from .link import Link
from .messages import EPOCH_MAX, HOPS_MAX, LEASE_MS_MAX, NONCE_BYTES, Ask, Cancel, Report
from .overlay import Overlay
from .question import Question, Side
from .replica import Replica
from .subject import Subject
from .token_bucket import TokenBucket

MESSAGES: Final = (Ask, Report, Cancel)
"""What this machine takes."""
ASK_S_MAX: Final = 3_600.0
"""How long an owner may ask at once: longer than any rollout that somebody watches."""
OWN_MAX: Final = 8
"""Questions that one node asks at a time: a few people, and a script."""
HELD_MAX: Final = 64
"""Questions that a node takes part in: each costs about 1 KiB for each link."""
ENDED_MAX: Final = 256
"""Cancelled questions remembered until their lease ends, so that a late `Ask` does not bring them back."""
LINK_PER_S: Final = 2.0
"""New questions and epochs taken from one link a second."""
LINK_BURST: Final = 16.0
"""And at once: several people, after a quiet time."""
ALL_PER_S: Final = 4.0
"""And from all links: what a node relays is at most so many `Ask`s a second on each link, 100 bytes each (2 KiB at
the very most)."""
ALL_BURST: Final = 32.0
"""And at once."""
PATIENCE_LEAST_S: Final = 0.25
"""However deep a node is, its links may take so long."""
HOP_ROUND_TRIPS: Final = 2.0
"""By how many round trips of its link to the parent a node is less patient: its report must come in time."""
AGAIN_S: Final = 2.0
"""A silent link is asked again after this time, and then after twice as much each time."""
PART_LEAST_S: Final = 0.05
"""A node reports in part after this time at the earliest: nearly always all links have answered by then."""
PART_ROUND_TRIPS: Final = 4.0
"""And not before so many round trips of its slowest link."""
SETTLE_S: Final = 1.0
"""A new link counts after this time, or once its peer asks over it: many are opened for a look only, and closed."""
RESEND_S: Final = 1.0
"""After a queue was full, what was lost is sent again so much later."""


class Acks:
    """The questions of one node, its own and others'."""

    def __init__(self, environment: Environment, replica: Replica, overlay: Overlay) -> None:
        self._environment = environment
        self._replica = replica
        self._overlay = overlay
        self._held: dict[bytes, Question] = {}
        self._own: dict[int, Asker] = {}
        self._numbers = itertools.count(1)
        self._ended: dict[bytes, float] = {}
        self._links: dict[LinkId, Link] = {}
        self._from_all = TokenBucket(ALL_PER_S, ALL_BURST)
        self._from_link: dict[LinkId, TokenBucket] = {}
        self._lost_s = float("-inf")
        self._resending: dict[LinkId, None] = {}

    def questions(self) -> list[Question]:
        """All that this node takes part in, the oldest first."""
        return list(self._held.values())

    def askers(self) -> list[Asker]:
        """What is known of each own question, the oldest first."""
        return list(self._own.values())

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, subject: Subject, lease_s: float) -> int:
        """Ask who has applied ``subject``, for ``lease_s``; `AckProgress` follows at once and with each change.

        Raises InvalidInput for a time that is none, LimitExceeded if OWN_MAX are being asked.
        """
        if not 0 < lease_s <= ASK_S_MAX:
            raise InvalidInput(f"a question stands for more than 0 and at most {ASK_S_MAX:g} s, not {lease_s:g} s")
        if len(self._own) >= OWN_MAX:
            raise LimitExceeded(f"{OWN_MAX} questions are being asked here; wait for one to end, or ask another agent")
        for link in self._overlay.ready_links():
            self._settle(link)  # who has started just now and asks is not alone
        number = next(self._numbers)
        now_s = self._environment.now.monotonic_s
        question = self._hold(self._environment.rng.randbytes(NONCE_BYTES), subject, number, now_s + lease_s)
        self._own[number] = Asker(question)
        self._begin(question)
        return number

    def cancel(self, number: int) -> None:
        """Want to know no more. Nothing happens if the question is over."""
        own = self._own.get(number)
        if own is not None:
            self._end(own.question)

    def state_changed(self) -> None:
        """The root is another one."""
        for question in list(self._held.values()):
            applied = question.subject.is_met(self._replica.live)
            if applied is not question.applied:
                question.applied = applied
                question.is_changed = True
                self._work(question)

    # -- links ------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """A new link: whoever is there is asked too, if it lasts."""
        self._environment.call_later(SETTLE_S, lambda: self._settle(link))

    def _settle(self, link: Link) -> None:
        if link.ready and link.id not in self._links:
            self._links[link.id] = link
            for question in list(self._held.values()):
                question.add_side(link, self._now_s, is_late=True)
                self._overlay.send(link, self._ask_of(question))
                self._plan(question)

    def link_down(self, link: Link) -> None:
        """A link has ended: so has the part behind it, or the way to the parent."""
        if self._links.pop(link.id, None) is not None:
            self._lost_s = self._now_s
        self._from_link.pop(link.id, None)
        self._resending.pop(link.id, None)
        for question in list(self._held.values()):
            side = question.sides.get(link.id)
            if side is not None:
                question.lose(side, self._now_s)
                self._keep_parent(question)
                self._work(question)

    def dropped(self, link: Link) -> None:
        """The link's queue was full: what was lost is said again later, as it is then."""
        if link.id not in self._resending:
            self._resending[link.id] = None
            self._environment.call_later(RESEND_S, lambda: self._resend(link))

    def _resend(self, link: Link) -> None:
        if self._resending.pop(link.id, link) is None:
            for question in list(self._held.values()):
                self._repeat(question, link)

    def _repeat(self, question: Question, link: Link) -> None:
        """Say once more what is so for this link."""
        if link.id == question.parent:
            if self._now_s - question.sent_s < RESEND_S:
                return  # it is on its way; and who asks without end is not told without end
            question.sent = None
            question.is_changed = True
            self._work(question)
        else:
            self._overlay.send(link, self._ask_of(question))

    # -- messages ---------------------------------------------------------------------------------

    def handle(self, link: Link, message: Ask | Report | Cancel) -> None:
        """Take one of MESSAGES."""
        self._settle(link)
        match message:
            case Ask():
                self._asked(link, message)
            case Report():
                self._reported(link, message)
            case Cancel():
                question = self._held.get(message.question)
                if question is not None and question.parent == link.id and not question.is_own:
                    self._end(question)

    def _asked(self, link: Link, ask: Ask) -> None:
        question = self._held.get(ask.question)
        if question is not None and ask.epoch <= question.epoch:
            if ask.epoch == question.epoch:
                self._declined(question, link, ask)
        elif question is not None and question.is_own:
            self._spoilt(question)
        elif ask.depth < HOPS_MAX - 1 and self._may_hold(link, ask):
            self._join(question, link, ask)

    def _declined(self, question: Question, link: Link, ask: Ask) -> None:
        """The other end has the question, and is no child."""
        side = question.sides.get(link.id)
        if side is None:
            return
        question.hear_ask(side, ask.depth)
        self._keep_parent(question)
        if ask.again:
            self._repeat(question, link)
        self._work(question)

    def _reported(self, link: Link, report: Report) -> None:
        question = self._held.get(report.question)
        side = None if question is None else question.sides.get(link.id)
        if question is None or side is None or report.epoch != question.epoch:
            return
        question.hear_report(side, report.tally)
        self._keep_parent(question)
        self._work(question)

    # -- taking part ------------------------------------------------------------------------------

    def _may_hold(self, link: Link, ask: Ask) -> bool:
        """Whether a new question or epoch is taken: not after its end, and not too many of them."""
        now_s = self._now_s
        if ask.lease_ms == 0 or self._ended.get(ask.question, now_s) > now_s:
            return False
        bucket = self._from_link.get(link.id)
        if bucket is None:
            bucket = self._from_link[link.id] = TokenBucket(LINK_PER_S, LINK_BURST)
        return bucket.take(now_s) and self._from_all.take(now_s)

    def _join(self, question: Question | None, link: Link, ask: Ask) -> None:
        """The question, or a new epoch of it, is new here: the link is the way to the parent; ask all others."""
        now_s = self._now_s
        expires_s = now_s + ask.lease_ms / 1000
        if question is None:
            self._make_room()
            question = self._hold(ask.question, ask.subject, None, expires_s)
        question.expires_s = expires_s
        hop_s = HOP_ROUND_TRIPS * (link.rtt_s or 0.0)
        patience_s = max(ask.patience_ms / 1000 - hop_s, PATIENCE_LEAST_S)
        has_lost = now_s < self._lost_s + PATIENCE_S  # over that link the question may have been on its way
        question.begin(ask.epoch, ask.depth + 1, link.id, now_s, patience_s, has_lost)
        question.sides[link.id] = Side(link, now_s, 0.0, depth=ask.depth)
        self._ask_others(question)
        self._work(question)

    def _ask_others(self, question: Question) -> None:
        """Ask on all links but that to the parent."""
        others = [link for link in self._links.values() if link.id not in question.sides]
        for link in others:
            question.add_side(link, self._now_s)
        slowest_s = max((link.rtt_s or 0.0 for link in others), default=0.0)
        question.part_s = self._now_s + max(PART_LEAST_S, PART_ROUND_TRIPS * slowest_s)
        self._overlay.send_all(others, self._ask_of(question))

    def _hold(self, question_id: bytes, subject: Subject, number: int | None, expires_s: float) -> Question:
        identity = self._overlay.identity
        applied = subject.is_met(self._replica.live)
        question = Question(question_id, subject, number, identity.node_id, identity.zone, applied, expires_s)
        self._held[question_id] = question
        return question

    def _make_room(self) -> None:
        """If there are too many questions, forget the oldest of the link from which most have come."""
        others = [question for question in self._held.values() if not question.is_own]
        if len(others) < HELD_MAX:
            return
        counts: dict[LinkId | None, int] = {}
        for question in others:
            counts[question.parent] = counts.get(question.parent, 0) + 1
        most = max(counts.values())
        oldest = next(question for question in others if counts[question.parent] == most)
        del self._held[oldest.id]
        self._leave(oldest, oldest.parent)

    def _leave(self, question: Question, parent: LinkId | None) -> None:
        """Take the report back, where the parent is still linked."""
        side = None if parent is None else question.sides.get(parent)
        if side is not None:
            self._overlay.send(side.link, self._ask_of(question))

    def _keep_parent(self, question: Question) -> None:
        """See that the parent is one: after each word of another, and each loss."""
        if question.is_own or question.has_parent():
            return
        former = question.parent
        question.adopt_parent()
        question.part_s = question.begun_s  # at once, even in part: whoever was above has lost all of it
        if question.parent is None and question.rejoin():
            links = [side.link for side in question.sides.values() if side.link.id != question.parent]
            self._overlay.send_all(links, self._ask_of(question))
        else:
            self._leave(question, former)

    # -- what is due ------------------------------------------------------------------------------

    @property
    def _now_s(self) -> float:
        return self._environment.now.monotonic_s

    def _work(self, question: Question) -> None:
        """Do what is due now, and plan the next time."""
        now_s = self._now_s
        if now_s >= question.expires_s:
            self._forget(question)
            return
        overdue = [side for side in question.awaited() if now_s >= side.due_s]
        if overdue:
            self._ask_again(question, overdue)
        if question.is_own:
            self._tell_owner(question)
        elif question.is_changed and question.parent is not None and now_s >= question.report_s():
            self._report(question, question.sides[question.parent])
        self._plan(question)

    def _ask_again(self, question: Question, sides: Iterable[Side]) -> None:
        for side in sides:
            side.wait_s = max(AGAIN_S, 2 * side.wait_s if side.is_silent else 0.0)
            side.due_s = self._now_s + side.wait_s
            side.is_silent = True
        question.is_changed = True
        self._overlay.send_all([side.link for side in sides], self._ask_of(question, again=True))

    def _report(self, question: Question, parent: Side) -> None:
        tally = question.tally()
        if tally != question.sent:
            question.told(tally, self._now_s)
            self._overlay.send(parent.link, Report(question.id, question.epoch, tally))

    def _ask_of(self, question: Question, *, again: bool = False) -> Ask:
        left_ms = int((question.expires_s - self._now_s) * 1000)
        lease_ms = min(max(left_ms, 0), LEASE_MS_MAX)
        patience_ms = int(question.patience_s * 1000)
        return Ask(question.id, question.epoch, question.depth, question.subject, lease_ms, patience_ms, again)

    def _plan(self, question: Question) -> None:
        """Have `_work` called when something is due, if not earlier."""
        due_s = min([question.expires_s, *(side.due_s for side in question.awaited())])
        if question.number is not None:
            due_s = min(due_s, self._own[question.number].due_s(self._now_s))
        elif question.is_changed and question.parent is not None:
            due_s = min(due_s, question.report_s())
        due_s = max(due_s, self._now_s)
        if due_s < question.planned_s:
            question.planned_s = due_s
            self._environment.call_at(due_s, lambda: self._planned(question, due_s))

    def _planned(self, question: Question, due_s: float) -> None:
        if question.planned_s == due_s and self._held.get(question.id) is question:
            question.planned_s = float("inf")
            self._work(question)

    # -- the end ----------------------------------------------------------------------------------

    def _end(self, question: Question) -> None:
        """Forget a cancelled question, and tell those who may have it from here."""
        self._retract(question)
        self._forget(question)

    def _retract(self, question: Question) -> None:
        links = [side.link for side in question.sides.values() if side.report is not None or not side.has_answered]
        self._overlay.send_all(links, Cancel(question.id))
        self._ended[question.id] = min(question.expires_s, self._now_s + LEASE_MS_MAX / 1000)
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _forget(self, question: Question) -> None:
        del self._held[question.id]
        if question.number is not None:
            del self._own[question.number]

    # -- the asker --------------------------------------------------------------------------------

    def _begin(self, question: Question) -> None:
        """Begin an epoch of an own question: all depths and parents are new."""
        assert question.number is not None
        now_s = self._now_s
        self._own[question.number].begin(now_s)
        question.begin(min(question.epoch + 1, EPOCH_MAX), 0, None, now_s, PATIENCE_S, False)
        self._ask_others(question)
        self._work(question)

    def _spoilt(self, question: Question) -> None:
        """Somebody asks this question with an epoch that is not the asker's: ask anew, so that he has no part in it."""
        assert question.number is not None
        if self._own[question.number].epochs.take(self._now_s):
            self._retract(question)
            del self._held[question.id]
            question.id = self._environment.rng.randbytes(NONCE_BYTES)
            question.epoch = 0
            self._held[question.id] = question
            self._begin(question)

    def _tell_owner(self, question: Question) -> None:
        """Tell of a changed tally; and begin a new epoch where the time has come for one."""
        assert question.number is not None
        own = self._own[question.number]
        news = own.look(self._now_s)
        if news is not None:
            self._environment.emit(news)
        if own.wants_epoch(self._now_s):
            self._begin(question)
