"""A session of sync, on the side that leads it: questions, and what follows from the answers.

    HINTED          the frontier was sent; the peer streams what that seems to lack, and names what it lacks itself
    HINTS_CHECKED   that was given; what is its root now?
    WALKED          tree nodes were asked for, where hashes differ
    GIVEN           items that only the peer has were asked for
    WALK_CHECKED    items that only this node has were given, or nothing is left to ask; what is its root now?

Every step brings progress or the session ends. A walk settles what it has found before
it looks for more, so that its lists stay short however much differs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from ..model.change import Change
from ..model.clock import Clock
from ..model.errors import ProtocolViolation
from ..model.limits import FRONTIER_WRITERS_MAX, SYNC_BUDGET_BYTES
from ..store.hash_tree import EMPTY_HASH, Inner, Prefix
from ..store.live_set import fork_item
from .exchange import Exchange, Taken, whole
from .link import Link
from .messages import (
    ITEM_BYTES,
    WALK_NODES_MAX,
    WANTED_ITEMS_MAX,
    Check,
    Checked,
    Given,
    Hinted,
    Hints,
    Told,
    Walk,
    Walked,
    Want,
)
from .overlay import Overlay
from .replica import Replica

WALK_STACK_MAX: Final = 1 << 16
"""Tree nodes still to be asked for: eight times what a walk through 16 million ids keeps; a peer that invents nodes
could otherwise go on to the depth of 64."""
WALKS_MAX: Final = 4
"""Walks in one session: each makes progress or is the last."""

Reply = Hinted | Checked | Walked | Given


class _Step(enum.Enum):
    """What the leader is waiting for."""

    HINTED = enum.auto()
    HINTS_CHECKED = enum.auto()
    WALKED = enum.auto()
    GIVEN = enum.auto()
    WALK_CHECKED = enum.auto()


class Session:
    """A sync with one peer that this node leads. ``end(equal, reason)`` is called once, as the last thing."""

    def __init__(
        self,
        link: Link,
        replica: Replica,
        overlay: Overlay,
        exchange: Exchange,
        *,
        next_request: Callable[[], int],
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
        self._next_request = next_request
        self._end = end
        self._step = _Step.HINTED
        self._request = 0
        self._progress = 0
        self._more = False
        self._lacks: Clock = ()
        self._asked: dict[Prefix, None] = {}
        self._asked_items: tuple[bytes, ...] = ()
        self._stack: list[Prefix] = []
        self._wanted: list[bytes] = []
        self._owed: list[bytes] = []

    def begin(self) -> None:
        """Ask for what this node's frontier seems to lack."""
        self._progress = 0
        self._more = False
        frontier, complete = self._replica.live.frontier(FRONTIER_WRITERS_MAX)
        hints = Hints(
            self._ask(_Step.HINTED),
            self._replica.root,
            self._replica.policy_version,
            frontier,
            complete,
            SYNC_BUDGET_BYTES,
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
                if self._more and self._progress:
                    self.begin()
                else:
                    self._judge(reply.root)
            case _Step.WALKED, Walked():
                self._walked(reply)
            case _Step.GIVEN, Given():
                missing = [item for item in self._asked_items if not self._replica.live.tree.starting_with(item)]
                if len(missing) < len(self._asked_items):
                    self._wanted.extend(missing)
                self._walk_on()
            case _Step.WALK_CHECKED, Checked():
                if self._owed or self._wanted or self._stack:
                    self._walk_on()
                else:
                    self._judge(reply.root)
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
        elif self.walks == 0 or (self._progress and self.walks < WALKS_MAX):
            self.walks += 1
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
        lacking = self._exchange.lacked(reply.lacks, False, reply.policy)
        streamed = self._exchange.stream(self.link, lacking, SYNC_BUDGET_BYTES)
        self.sent += streamed.count
        self._more = reply.more or streamed.more
        if reply.lacks != self._lacks:  # giving the same again would bring nothing
            self._lacks = reply.lacks
            self._progress += streamed.count
        if streamed.count or self._more:
            self._overlay.send(self.link, Check(self._ask(_Step.HINTS_CHECKED)))
        else:
            self._judge(reply.root)

    # -- walk -------------------------------------------------------------------------------------

    def _walk_on(self) -> None:
        """The next step of a walk."""
        tree = self._replica.live.tree
        self._wanted = [item for item in self._wanted if not tree.starting_with(item)]  # parts bring more than is asked
        many = WANTED_ITEMS_MAX if self._stack else 1
        if len(self._wanted) >= many:
            wanted, self._wanted = self._wanted[:WANTED_ITEMS_MAX], self._wanted[WANTED_ITEMS_MAX:]
            self._asked_items = tuple(wanted)
            self._overlay.send(self.link, Want(self._ask(_Step.GIVEN), self._asked_items, SYNC_BUDGET_BYTES))
        elif len(self._owed) >= many:
            self._give_owed()
            self._overlay.send(self.link, Check(self._ask(_Step.WALK_CHECKED)))
        elif self._stack:
            first = max(0, len(self._stack) - WALK_NODES_MAX)
            prefixes, self._stack = self._stack[first:], self._stack[:first]
            self._asked = dict.fromkeys(prefixes)
            nodes = tuple((prefix, tree.hash_at(prefix)) for prefix in prefixes)
            self._overlay.send(self.link, Walk(self._ask(_Step.WALKED), nodes))
        else:
            self._overlay.send(self.link, Check(self._ask(_Step.WALK_CHECKED)))

    def _give_owed(self) -> None:
        """Stream owed items up to the budget; the rest stays owed."""
        items, self._owed = self._owed[:WANTED_ITEMS_MAX], self._owed[WANTED_ITEMS_MAX:]
        live = self._replica.live
        wanted = live.by_change(item for item in items if item in live.tree)
        done: dict[bytes, None] = {}

        def note(part: Change) -> None:
            done.update(dict.fromkeys(version.id for version in part.versions))
            done[fork_item(part.id)] = None

        given = self._exchange.stream(self.link, whole(live, wanted, note), SYNC_BUDGET_BYTES).count
        self._owed = [item for item in (*items, *self._owed) if item in live.tree and item not in done]
        self.sent += given
        self._progress += given

    def _walked(self, reply: Walked) -> None:
        for told in reply.nodes:
            if told.prefix not in self._asked:
                raise ProtocolViolation("a tree node that was not asked for, or told already")
            del self._asked[told.prefix]
            self._compare_node(told)
        self._walk_on()

    def _compare_node(self, told: Told) -> None:
        tree = self._replica.live.tree
        if not isinstance(told.summary, Inner):
            mine = tree.items(told.prefix)
            here = {item[:ITEM_BYTES] for item in mine}
            theirs = frozenset(told.summary.items)
            self._wanted.extend(item for item in told.summary.items if item not in here)
            self._owed.extend(item for item in mine if item[:ITEM_BYTES] not in theirs)
            return
        if len(self._stack) > WALK_STACK_MAX:
            raise ProtocolViolation("a tree that branches everywhere: ids are hashes and spread evenly")
        for nibble, digest in enumerate(told.summary.hashes):
            child = (*told.prefix, nibble)
            if digest == tree.hash_at(child):
                continue
            if digest == EMPTY_HASH:
                self._owed.extend(tree.items(child))
            else:
                self._stack.append(child)
