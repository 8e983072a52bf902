"""Comparing what nodes have said: how what got lost between two peers is found (`statements` says what is kept).

    digest     Each shows the other a digest of all that it holds, at the start of a link and wherever
               something was dropped. Equal: that was all.
    subjects   Else a digest of each subject, and of those that differ the names of all that is held.
    batch      Who has what is not among the names gives it.

Remembers of a peer what it has named and was asked; knows neither signatures nor what matters here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .environment import Environment, LinkId
from .link import Link
from .messages import SAID_BATCH_MAX, SaidBatch, SaidDigest, SaidItems, SaidSubjects
from .overlay import Overlay
from .statement_book import StatementBook, items_in
from .token_bucket import TokenBucket

Question: TypeAlias = SaidDigest | SaidSubjects | SaidItems
"""What asks, and is answered here."""
VERIFIED_PER_S: Final = 100.0
"""Statements of one peer that are verified a second: 0.4 ms each, with the certificates."""
VERIFIED_BURST: Final = 2_048.0
"""And at once: both kinds of a stage of 1,000 participants."""
UNKNOWN_MAX: Final = 64
"""Subjects that a link has named and nobody here knows, remembered until they are known: the latest."""
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
COMPARE_S: Final = 1.0
"""Pause before a peer is shown the digest again: what is dropped meanwhile is compared together."""
ASKED_MAX: Final = 1_024
"""Subjects remembered for that of each peer: four times as many as there can be."""
AGAIN_S: Final = 5.0
"""A peer is not asked twice about a subject within this time, unless it has said that there is more."""
YOUNG_S: Final = 10.0
"""A link is kept for a comparison at most so long: it may be the only one into another half."""


@dataclass(slots=True)
class Peer:
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


class Comparison:
    """What is held here beside what each peer holds.

    ``knows``: whether statements about a subject matter here.
    """

    def __init__(
        self, environment: Environment, overlay: Overlay, book: StatementBook, knows: Callable[[bytes], bool]
    ) -> None:
        self._environment = environment
        self._overlay = overlay
        self._book = book
        self._knows = knows
        self.peers: dict[LinkId, Peer] = {}

    # -- inputs -----------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Show a new peer the digest; who has nothing to show waits for the other's."""
        if self._book.subjects():
            self.peer(link)
            self._overlay.send(link, SaidDigest(self._book.digest()))

    def link_down(self, link: Link) -> None:
        """Forget a peer."""
        self.peers.pop(link.id, None)

    def dropped(self, link: Link) -> None:
        """The link's queue was full: what was lost is found by a comparison."""
        peer = self.peers.get(link.id)
        if self._book.subjects() or (peer is not None and peer.asked_s):  # else nothing can have been lost
            self.later(self.peer(link))

    def handle(self, peer: Peer, question: Question) -> None:
        """Answer what a peer shows, if it does not ask too much."""
        match question:
            case SaidDigest():
                self._compare(peer, question.digest)
            case SaidSubjects():
                self._compare_subjects(peer, dict(question.subjects))
            case SaidItems():
                self._give(peer, question.subject, items_in(question.items))

    def settle(self) -> None:
        """What peers have named may be known by now: ask for it, each subject of one of them."""
        asked: set[bytes] = set()
        for peer in list(self.peers.values()):
            for subject in [one for one in peer.unknown if self._knows(one)]:
                del peer.unknown[subject]
                if subject in asked:
                    self.later(peer)
                else:
                    asked.add(subject)
                    self.ask(peer, subject)

    # -- for who takes statements -----------------------------------------------------------------

    def peer(self, link: Link) -> Peer:
        """What is remembered of a link, from now on."""
        peer = self.peers.get(link.id)
        if peer is None:
            peer = self.peers[link.id] = Peer(link)
        return peer

    def note_unknown(self, peer: Peer, subject: bytes) -> None:
        """A peer has named a subject that nobody here knows yet."""
        peer.unknown[subject] = None
        peer.unknown.move_to_end(subject)
        if len(peer.unknown) > UNKNOWN_MAX:
            peer.unknown.popitem(last=False)

    def ask(self, peer: Peer, subject: bytes) -> None:
        """Tell a peer what is held here of a subject: it gives what is missing."""
        peer.asked_s[subject] = self._environment.now.monotonic_s
        if len(peer.asked_s) > ASKED_MAX:
            del peer.asked_s[next(iter(peer.asked_s))]
        self._overlay.send(peer.link, SaidItems(subject, b"".join(self._book.about(subject))))

    def later(self, peer: Peer, pause_s: float = COMPARE_S) -> None:
        """Show a peer the digest again, soon."""
        if not peer.comparing:
            peer.comparing = True
            self._environment.call_later(pause_s, lambda: self._show_digest(peer))

    def is_needed(self, link: Link) -> bool:
        """Whether a new link must stay until statements have been compared."""
        peer = self.peers.get(link.id)
        young = self._environment.now.monotonic_s < link.opened_s + YOUNG_S
        return peer is not None and young and not peer.settled

    # -- answering --------------------------------------------------------------------------------

    def _compare(self, peer: Peer, digest: bytes) -> None:
        """A peer has shown its digest: show it the subjects if it is another one."""
        peer.settled = digest == self._book.digest()
        if peer.settled:
            self._overlay.close_probe(peer.link)
        elif self._may_answer(peer):
            self._overlay.send(peer.link, SaidSubjects(tuple(self._book.digests())))

    def _compare_subjects(self, peer: Peer, theirs: Mapping[bytes, bytes]) -> None:
        """A peer has shown its subjects: tell it what is held here of those that differ, which asks for the rest."""
        if not self._may_answer(peer):
            return
        ours = dict(self._book.digests())
        peer.settled = theirs == ours
        for subject in [one for one in {**theirs, **ours} if theirs.get(one) != ours.get(one)]:
            if not self._knows(subject):
                self.note_unknown(peer, subject)
            elif self._was_asked(peer, subject):
                self.later(peer)
            else:
                self.ask(peer, subject)

    def _give(self, peer: Peer, subject: bytes, theirs: frozenset[bytes]) -> None:
        """A peer has told what it holds of a subject: give it what it lacks, and ask for what is lacking here."""
        if not self._knows(subject):
            if theirs:
                self.note_unknown(peer, subject)
            return
        if not self._may_answer(peer):
            return
        held = self._book.about(subject)
        missing = [one.data for item, one in held.items() if item not in theirs]
        if missing and peer.batches.take(self._environment.now.monotonic_s):
            batch = _first(missing, BATCH_BYTES)
            self._overlay.send(peer.link, SaidBatch(subject, batch, len(batch) < len(missing)))
        elif missing:
            self.later(peer)
        if any(item not in held for item in theirs) and not self._was_asked(peer, subject):
            self.ask(peer, subject)

    def _was_asked(self, peer: Peer, subject: bytes) -> bool:
        """Whether a peer was asked so lately that it is not asked again: an answer may be on its way."""
        return self._environment.now.monotonic_s < peer.asked_s.get(subject, float("-inf")) + AGAIN_S

    def _may_answer(self, peer: Peer) -> bool:
        if peer.answered.take(self._environment.now.monotonic_s):
            return True
        self.later(peer)
        return False

    def _show_digest(self, peer: Peer) -> None:
        peer.comparing = False
        if self.peers.get(peer.link.id) is peer and peer.link.ready:
            self._overlay.send(peer.link, SaidDigest(self._book.digest()))


def _first(forms: Iterable[bytes], bytes_max: int) -> tuple[bytes, ...]:
    """As many as ``bytes_max`` and a message have room for, and at least one."""
    taken: list[bytes] = []
    for form in forms:
        bytes_max -= len(form)
        if taken and (bytes_max < 0 or len(taken) == SAID_BATCH_MAX):
            break
        taken.append(form)
    return tuple(taken)
