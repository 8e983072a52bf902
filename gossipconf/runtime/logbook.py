"""The logbook: the changes that an agent has, living and replaced, the last signed first.

Puts together what readers see and what the journal's history has of each change. Hands out
signed parts of changes as they are; whoever asks verifies them (see `control`). What is
said beside them, how many entries there are and which of them live, is the agent's word.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio

from ..model.change import PUBLIC_KEY_BYTES, Change
from ..model.errors import InvalidInput
from ..model.hashing import HASH_BYTES
from ..model.key import check_key, check_prefix
from ..model.limits import TIME_MS_MAX
from ..model.version import Version
from ..store.journal import Journal
from ..store.journal_log import Place, Selection
from .control_request import PAGE_BYTES_MAX, hex_of, limit_of, text_of

if TYPE_CHECKING:
    from .agent import Agent

KEYS_AT_ONCE: Final = 1_000
"""Keys looked through before others have their turn: about a millisecond."""
CHANGES_AT_ONCE: Final = 20
"""Changes whose history is held for one asker: each may have 8 MiB of values."""
SPARE_FACTOR: Final = 4
"""So many times more changes than are asked for are collected before the oldest of them are dropped."""
NAMED_MAX: Final = 100
"""Changes told at once that begin with the same digits: whoever meant one has given too few."""
SIGNERS_MAX: Final = 1_000
"""Keys that may be asked for: those of a large role."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: versions as ``chosen`` says, by ``signers`` (public keys; None: anybody's).

    limit, before:  how many changes, and the place before which they stand
    entries:        how many entries of each are wanted; None: all
    """

    chosen: Selection
    signers: frozenset[bytes] | None
    limit: int
    before: Place | None
    entries: int | None

    @classmethod
    def of(cls, request: dict[str, Any]) -> Question:
        """Read a request. Raises InvalidInput or LimitExceeded."""
        key = check_key(text_of(request, "key")) if request.get("key") is not None else None
        prefix = None if key is not None else check_prefix(text_of(request, "prefix"))
        since_ms, until_ms = (_number(request, name) for name in ("since_ms", "until_ms"))
        return cls(
            Selection(key, prefix, since_ms, until_ms),
            _signers_of(request),
            limit_of(request),
            _place_of(request),
            _number(request, "entries", least=1),
        )

    def takes(self, version: Version) -> bool:
        """Whether a version is one of those that are asked for, its key apart."""
        header = version.header
        return (
            (self.chosen.since_ms is None or header.time_ms >= self.chosen.since_ms)
            and (self.chosen.until_ms is None or header.time_ms < self.chosen.until_ms)
            and (self.before is None or (header.time_ms, version.change_id) < self.before)
            and (self.signers is None or header.writer.key in self.signers)
        )


async def page(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """A page of changes, the last signed first; ``next`` is the place that the following one asks for, None at the end.

    Raises InvalidInput or LimitExceeded for a malformed request, JournalCorrupt.
    """
    question = Question.of(request)
    chosen = question.chosen
    if question.signers is not None:
        chosen = replace(chosen, writers=await _writers_of(agent, question.signers))
    living = await _living(agent, question)
    places = set(_places(living))
    places.update(
        await agent.writer.read(lambda one: one.log_places(chosen, question.before, limit=question.limit + 1))
    )
    newest = heapq.nlargest(question.limit + 1, places)
    wanted = [change_id for _, change_id in newest[: question.limit]]
    changes = await _told(agent, chosen, {one: living.get(one, ()) for one in wanted}, question.entries)
    is_end = len(changes) == len(newest)
    return {"changes": changes, "next": None if is_end else list(newest[len(changes) - 1])}


async def named(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """The changes whose ids begin with the hex digits ``change``, each with all of its entries that are here.

    Raises InvalidInput, JournalCorrupt.
    """
    start = hex_of(request, "change")
    live = agent.node.replica.live
    found = {change.id for change in live.named(start)}
    found.update(await agent.writer.read(lambda journal: journal.log_named(start)))
    if len(found) > NAMED_MAX:
        raise InvalidInput(f"{len(found)} changes begin with {start}; give more digits")
    parts = {one: live.part(one) for one in sorted(found)}
    living = {one: () if part is None else part.versions for one, part in parts.items()}
    return {"changes": await _told(agent, Selection(), living, None)}


async def _told(
    agent: Agent, chosen: Selection, living: Mapping[bytes, Sequence[Version]], limit: int | None
) -> list[dict[str, Any]]:
    """What is told of each of these changes, as many as fit into a page; of each at most ``limit`` entries.

    ``living``: by change the versions of it that live.
    """
    told: list[dict[str, Any]] = []
    size = 0
    for begin in range(0, len(living), CHANGES_AT_ONCE):
        some = dict(islice(living.items(), begin, begin + CHANGES_AT_ONCE))
        # First what lives: what is replaced before history is read is told once, as living.
        now = {change_id: _still_living(agent, versions) for change_id, versions in some.items()}
        parts = {change_id: _part(agent, change_id, versions[:limit]) for change_id, versions in now.items()}
        await agent.writer.flushed()
        found = await agent.writer.read(partial(Journal.log_rows, chosen=chosen, change_ids=list(some), limit=limit))
        for change_id, versions in now.items():
            ids = {version.id for version in versions}
            past = found[change_id]
            forms: list[tuple[bytes, int | None]] = [*parts[change_id]]
            forms += [(one.data, one.retired_ms) for one in past.rows if one.version_id not in ids]
            told.append({"parts": forms, "live": len(ids), "retired": len(past.ids - ids)})
            size += sum(len(data) for data, _ in forms)
            if size > PAGE_BYTES_MAX:
                return told
    return told


def _still_living(agent: Agent, versions: Sequence[Version]) -> list[Version]:
    live = agent.node.replica.live
    return [version for version in versions if any(one.id == version.id for one in live.slot(version.slot))]


def _part(agent: Agent, change_id: bytes, versions: Sequence[Version]) -> list[tuple[bytes, None]]:
    """A change with just these of its entries, which live; nothing for none."""
    live = agent.node.replica.live
    change = live.stored(change_id)
    if change is None or not versions:
        return []
    return [(change.restrict((version.index for version in versions), live.tree_of(change)).encode(), None)]


async def _living(agent: Agent, question: Question) -> dict[bytes, list[Version]]:
    """By change the versions that readers see and ``question`` takes, of more changes than it asks for.

    Whatever is older than enough others is passed over by its time alone: of 100,000 keys nearly all are.
    """
    found: dict[bytes, list[Version]] = {}
    enough = question.limit + 1
    since_ms = question.chosen.since_ms or 0
    for keys in _pages(agent, question.chosen):
        for version in agent.reads.versions_of(keys):
            if version.header.time_ms >= since_ms and question.takes(version):
                found.setdefault(version.change_id, []).append(version)
        if len(found) > SPARE_FACTOR * enough:
            newest = heapq.nlargest(enough, _places(found))
            found = {change_id: found[change_id] for _, change_id in newest}
            since_ms, _ = newest[-1]
        await trio.lowlevel.checkpoint()
    return found


def _places(living: Mapping[bytes, Sequence[Version]]) -> Iterator[Place]:
    return ((versions[0].header.time_ms, change_id) for change_id, versions in living.items())


def _pages(agent: Agent, chosen: Selection) -> Iterator[Sequence[str]]:
    """The keys chosen, some at a time: others may be added or go between two pages."""
    if chosen.key is not None:
        yield [chosen.key]
        return
    after: str | None = None
    while keys := list(islice(agent.reads.ordinary_keys(chosen.prefix or "", after), KEYS_AT_ONCE)):
        yield keys
        after = keys[-1]


async def _writers_of(agent: Agent, signers: frozenset[bytes]) -> tuple[bytes, ...]:
    """Ids of the writers in history that have one of these keys."""
    cluster_id = agent.node.replica.chain.cluster_id
    rows = await agent.writer.read(lambda journal: journal.log_writers())
    return tuple(row.writer for row in rows if Change.decode(row.data, cluster_id).header.writer.key in signers)


# -- requests -------------------------------------------------------------------------------------


def _number(request: dict[str, Any], name: str, *, least: int = 0) -> int | None:
    value = request.get(name)
    if value is not None and (type(value) is not int or not least <= value <= TIME_MS_MAX):
        raise InvalidInput(f"{name!r} must be a whole number, at least {least}")
    return value


def _signers_of(request: dict[str, Any]) -> frozenset[bytes] | None:
    value = request.get("signers")
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) > SIGNERS_MAX
        or not all(isinstance(one, bytes) and len(one) == PUBLIC_KEY_BYTES for one in value)
    ):
        raise InvalidInput(f"'signers' must be a list of at most {SIGNERS_MAX} public keys of {PUBLIC_KEY_BYTES} bytes")
    return frozenset(value)


def _place_of(request: dict[str, Any]) -> Place | None:
    match request.get("before"):
        case None:
            return None
        case [int(time_ms), bytes(change_id)] if 0 <= time_ms <= TIME_MS_MAX and len(change_id) == HASH_BYTES:
            return time_ms, change_id
    raise InvalidInput("'before' must be a place as a reply has it: a time and a change id")
