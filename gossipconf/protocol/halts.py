"""Halts: which changes are held off, because as many nodes as an admin has signed have called them unhealthy.

An entry of a variant may carry the condition HALT with a number n. The change is held off once n
nodes, each with a certificate and not shut out by the policy in force, have said
UNHEALTHY about it; by then every node that hears of it reads as if the change were not there.

    the limit    Of a change the smallest number counts that a live entry of it names.
    held off     is a function of the set of votes and of the policy: no node decides, and none
                 takes it back. Only what supersedes the change ends it: an admin's next put,
                 promotion or abort.
    lasting      Votes are on disk wherever they are held, and so is what follows from them.

Votes never change the replicated set, only what reads return: as time does.
"""

from __future__ import annotations

from typing import Final

from ..model.change import Change
from ..model.entry import Entry, MatchKind
from ..trust.statement import Kind, Statement
from .environment import Environment
from .events import Halted, Resumed, Voted
from .replica import Replica
from .statement_book import Claim
from .statements import Statements

LIMITS_REMEMBERED_MAX: Final = 256
"""Changes whose limit is remembered until the next change of state: finding it takes a look at every entry."""


class Halts:
    """What votes hold off."""

    def __init__(self, environment: Environment, replica: Replica, statements: Statements) -> None:
        self._environment = environment
        self._replica = replica
        self._statements = statements
        self._limits: dict[bytes, int | None] = {}
        self._revision = -1
        self._voted: dict[bytes, tuple[str, ...]] = {}
        self.halted: frozenset[bytes] = frozenset()
        """Ids of the changes that are held off."""
        statements.interest(self)

    def limit(self, change_id: bytes) -> int | None:
        """How many votes hold this change off; None if none ever do, or nothing with a limit lives of it."""
        if self._revision != self._replica.revision:
            self._revision = self._replica.revision
            self._limits.clear()
        if change_id not in self._limits:
            if len(self._limits) == LIMITS_REMEMBERED_MAX:
                self._limits.clear()
            self._limits[change_id] = self._find_limit(change_id)
        return self._limits[change_id]

    def votes(self, change_id: bytes) -> tuple[str, ...]:
        """The nodes whose votes on this change count, by name."""
        said = self._statements.of(change_id)
        return tuple(node_id for node_id, one in said.items() if one.kind is Kind.UNHEALTHY)

    # -- as whoever counts statements ---------------------------------------------------------------

    def knows(self, subject: bytes) -> bool:
        """Whether something lives of a change that carries a limit."""
        return self.limit(subject) is not None

    def wants(self, statement: Statement) -> bool:
        """Votes."""
        return statement.kind is Kind.UNHEALTHY

    def claim(self, subject: bytes) -> Claim:
        """Whose canary it is."""
        kept = self._replica.live.stored(subject)
        return Claim(b"" if kept is None else kept.header.writer.key)

    def heard(self, subject: bytes) -> None:
        """Votes have come, or count no more."""
        limit, votes, before = self.limit(subject), self.votes(subject), self._voted.get(subject, ())
        assert limit is not None
        self._voted[subject] = votes
        for node_id in votes:
            if node_id not in before:
                self._environment.emit(Voted(subject, node_id, len(votes), limit))
        self._judge(subject, len(votes) >= limit)

    def settle(self) -> None:
        """The replicated set is another one: what does not live any more is not held off."""
        for subject in [one for one in self._voted if not self.knows(one)]:
            del self._voted[subject]
            self.halted -= {subject}
        for subject in self._voted:  # of a change's entries those that live may name another limit now
            limit = self.limit(subject)
            self._judge(subject, limit is not None and len(self._voted[subject]) >= limit)

    def restore(self) -> None:
        """Count what the journal had; without events: they were told before."""
        for subject in self._statements.subjects():
            limit = self.limit(subject)
            if limit is not None:
                self._voted[subject] = self.votes(subject)
                if len(self._voted[subject]) >= limit:
                    self.halted |= {subject}

    # -- inside -----------------------------------------------------------------------------------

    def _judge(self, change_id: bytes, is_halted: bool) -> None:
        if is_halted == (change_id in self.halted):
            return
        keys = self._keys(change_id)
        if is_halted:
            self.halted |= {change_id}
            self._environment.emit(Halted(change_id, keys, len(self._voted[change_id])))
        else:
            self.halted -= {change_id}
            self._environment.emit(Resumed(change_id, keys, len(self._voted[change_id])))

    def _keys(self, change_id: bytes) -> tuple[str, ...]:
        kept = self._replica.live.stored(change_id)
        return () if kept is None else tuple(dict.fromkeys(entry.key for _, entry in kept.entries))

    def _find_limit(self, change_id: bytes) -> int | None:
        kept = self._replica.live.stored(change_id)
        if kept is None:
            return None
        limits = (limit_of(entry) for _, entry in kept.entries if self._lives(kept, entry))
        return min((limit for limit in limits if limit is not None), default=None)

    def _lives(self, change: Change, entry: Entry) -> bool:
        return bool(entry.match) and any(one.change_id == change.id for one in self._replica.live.slot(entry.slot))


def limit_of(entry: Entry) -> int | None:
    """How many votes hold this entry's change off, by its own word; None if it says nothing of it."""
    for term in entry.match:
        if term.kind is MatchKind.HALT and isinstance(term.operand, int):
            return term.operand
    return None
