"""A session of sync, on the side that leads it: questions, and what follows from the answers.

    HINTED          the frontier was sent; the peer streams what that seems to lack, and names what it lacks itself
    HINTS_CHECKED   that was given; what is its root now?
    WALKED          tree nodes were asked for, where hashes differ
    GIVEN           items that only this node has were given, those that only the peer has were asked for
    WALK_CHECKED    there was nothing to ask for; what is its root now?

Every step brings progress or the session ends. A walk settles what it has found before
it looks for more, so that its lists stay short however much differs. The first walk of a
session is a cut one, the later ones are exact (`walk`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from ..model.change import Change
from ..model.errors import ProtocolViolation
from ..model.limits import FRONTIER_WRITERS_MAX
from ..store.hash_tree import Prefix
from ..store.live_set import items_of
from . import walk
from .exchange import Exchange, Taken, whole
from .frontier import Frontier, frontier_of, known_behind
from .link import Link
from .messages import (
    WANTED_ITEMS_MAX,
    Check,
    Checked,
    Given,
    Hinted,
    Hints,
    Walked,
    Want,
)
from .overlay import Overlay
from .replica import Replica

WALK_STACK_MAX: Final = 1 << 16
"""Tree nodes still to be asked for: a walk through 16 million ids, all of which differ, keeps half as many, since it
goes deep first; a peer that invents nodes could otherwise go on to the depth of 64."""
WALKS_MAX: Final = 4
"""Walks in one session: each makes progress or is the last, but that an exact one follows a cut one that found
nothing."""

Reply = Hinted | Checked | Walked | Given

ON_ITS_WAY: Final = "what differs is on its way"
"""Why a session ends without a walk while changes are being published."""


class _Step(enum.Enum):
    """What the leader is waiting for."""

    HINTED = enum.auto()
    HINTS_CHECKED = enum.auto()
    WALKED = enum.auto()
    GIVEN = enum.auto()
    WALK_CHECKED = enum.auto()


class Session:
    """A sync with one peer that this node leads.

    ``budget``: bytes of changes that are asked for, or given, at a time. ``end(equal, reason)`` is called once, as
    the last thing.
    """

    def __init__(
        self,
        link: Link,
        replica: Replica,
        overlay: Overlay,
        exchange: Exchange,
        *,
        budget: int,
        next_request: Callable[[], int],
        may_walk: Callable[[], bool],
        end: Callable[[bool, str], None],
    ) -> None:
        self.link = link
        self.received = 0
        self.news = 0
        self.sent = 0
        self.walks = 0
        self._replica = replica
        self._overlay = overlay
        self._exchange = exchange
        self._budget = budget
        self._next_request = next_request
        self._may_walk = may_walk
        self._end = end
        self._step = _Step.HINTED
        self._request = 0
        self._progress = 0
        self._frontier: Frontier = (b"", ())
        self._given: dict[bytes, int] = {}
        self._asked: dict[Prefix, None] = {}
        self._asked_items: tuple[bytes, ...] = ()
        self._stack: list[Prefix] = []
        self._found = False
        self._wanted: list[bytes] = []
        self._owed: list[bytes] = []

    def begin(self) -> None:
        """Ask for what this node's frontier seems to lack."""
        self._progress = 0
        recent, complete = self._replica.live.frontier(FRONTIER_WRITERS_MAX)
        self._frontier = frontier_of(recent)
        hints = Hints(
            self._ask(_Step.HINTED),
            self._replica.root,
            self._replica.policy_version,
            self._frontier,
            complete,
            self._budget,
        )
        self._overlay.send(self.link, hints)

    def took(self, taken: Taken) -> None:
        """The peer has sent changes."""
        self.received += taken.count
        self.news += taken.news
        self._progress += taken.news

    def answers(self, reply: Reply) -> bool:
        """Whether ``reply`` is to the last question; one to an earlier question is to be ignored."""
        return reply.request == self._request

    def advance(self, reply: Reply) -> None:
        """Go on with what has come. Raises ProtocolViolation for an answer of the wrong kind."""
        match self._step, reply:
            case _Step.HINTED, Hinted():
                self._hinted(reply)
            case _Step.HINTS_CHECKED, Checked():
                self._judge(reply.root)
            case _Step.WALKED, Walked():
                self._walked(reply)
            case _Step.GIVEN, Given():
                missing = [item for item in self._asked_items if not self._replica.live.tree.starting_with(item)]
                if len(missing) < len(self._asked_items):
                    self._wanted.extend(missing)
                self._settled(reply.root)
            case _Step.WALK_CHECKED, Checked():
                self._settled(reply.root)
            case _:
                raise ProtocolViolation(f"{type(reply).__name__} answers another question than was asked")

    def _ask(self, step: _Step) -> int:
        self._request = self._next_request()
        self._step = step
        return self._request

    def _judge(self, their_root: bytes) -> None:
        """All is said for now: equal, or another walk, or enough."""
        if their_root == self._replica.root:
            self._end(True, "equal")
        elif self.walks == 0 and not self._may_walk():
            self._end(False, ON_ITS_WAY)
        elif self.walks == 0 or (self.walks == 1 and not self._found) or (self._progress and self.walks < WALKS_MAX):
            self.walks += 1
            self._found = False
            self._progress = 0
            self._stack = [()]
            self._walk_on()
        else:
            self._end(False, "the peer's set still differs")

    # -- hints ------------------------------------------------------------------------------------

    def _hinted(self, reply: Hinted) -> None:
        if reply.root == self._replica.root:
            self._judge(reply.root)
            return
        known = known_behind(self._frontier, reply.lacks)
        lacking = self._exchange.lacked(known, False, reply.policy)
        streamed = self._exchange.stream(self.link, lacking, self._budget)
        self.sent += streamed.count
        if known != self._given:  # giving the same again would bring nothing
            self._given = known
            self._progress += streamed.count
        if (reply.more or streamed.more) and self._progress:
            self.begin()
        elif streamed.count:
            self._overlay.send(self.link, Check(self._ask(_Step.HINTS_CHECKED)))
        else:
            self._judge(reply.root)

    # -- walk -------------------------------------------------------------------------------------

    def _walk_on(self) -> None:
        """The next step of a walk: look further while little is found, else settle what is."""
        if self._stack and len(self._wanted) < WANTED_ITEMS_MAX and len(self._owed) < WANTED_ITEMS_MAX:
            width = walk.width_of(self.walks)
            first = max(0, len(self._stack) - walk.nodes_at_once(width))
            prefixes, self._stack = self._stack[first:], self._stack[:first]
            self._asked = dict.fromkeys(prefixes)
            tree = self._replica.live.tree
            self._overlay.send(self.link, walk.question(self._ask(_Step.WALKED), tree, prefixes, width))
            return
        self._give_owed()
        self._asked_items = self._next_wanted()
        if self._asked_items:
            self._overlay.send(self.link, Want(self._ask(_Step.GIVEN), self._asked_items, self._budget))
        else:
            self._overlay.send(self.link, Check(self._ask(_Step.WALK_CHECKED)))

    def _settled(self, their_root: bytes) -> None:
        """What was found up to now is exchanged, or as much of it as a budget allows."""
        if self._owed or self._wanted or self._stack:
            self._walk_on()
        else:
            self._judge(their_root)

    def _next_wanted(self) -> tuple[bytes, ...]:
        """Items to ask for next, without those that have come with others: parts bring more than is asked."""
        tree = self._replica.live.tree
        wanted: list[bytes] = []
        while self._wanted and len(wanted) < WANTED_ITEMS_MAX:
            item = self._wanted.pop()
            if not tree.starting_with(item):
                wanted.append(item)
        return tuple(wanted)

    def _give_owed(self) -> None:
        """Stream owed items up to the budget; the rest stays owed."""
        items, self._owed = self._owed[:WANTED_ITEMS_MAX], self._owed[WANTED_ITEMS_MAX:]
        live = self._replica.live
        wanted = live.by_change(item for item in items if item in live.tree)
        done: dict[bytes, None] = {}

        def note(part: Change) -> None:
            done.update(dict.fromkeys(items_of(part)))

        given = self._exchange.stream(self.link, whole(live, wanted, note), self._budget).count
        self._owed = [item for item in (*items, *self._owed) if item in live.tree and item not in done]
        self.sent += given
        self._progress += given

    def _walked(self, reply: Walked) -> None:
        for told in reply.nodes:
            if told.prefix not in self._asked:
                raise ProtocolViolation("a tree node that was not asked for, or told already")
            del self._asked[told.prefix]
            found = walk.compare(self._replica.live.tree, told, walk.width_of(self.walks))
            self._found = self._found or bool(found.wanted or found.owed)
            self._wanted.extend(found.wanted)
            self._owed.extend(found.owed)
            self._stack.extend(found.children)
            if len(self._stack) > WALK_STACK_MAX:
                raise ProtocolViolation("a tree that branches everywhere: ids are hashes and spread evenly")
        self._walk_on()
